import Config
import Domain
import Forge
import HTTPClient
import Notifications

/// GitHub: one comment per task on its issue, else on its pull request, edited in place.
///
/// The marker is the comment's first line. Editing is repeated freely; only a new comment has to be looked for first,
/// among the comments of our own account.
struct GitHubChannel: NotificationChannel {
    static let name = "github"
    static let defaultEvents: Set<TaskEventType> = TaskEventType.finals.union([.prCreated])
    static let targetSchema = TargetSchema(
        setting: "channel", sources: [.subject], purpose: "owner/name#number of an issue or pull request")
    static let editsInPlace = true
    /// GitHub asks for no more than 80 new contents a minute; edits count as well.
    static let pace = Pace(perSecond: 1, burst: 10)

    private let forges: ForgeAccess

    init(_ environment: inout Environment, _ service: ServiceConfig) {
        forges = ForgeAccess(
            ForgeConfig(&environment, secretsDirectory: service.secretsDirectory),
            http: HTTPClient(.init(name: "github", threads: 16, caFile: service.caFile)))
    }

    func check() async -> [Check] { await forges.check() }

    static func bucket(of target: String) -> String { String(target.prefix { $0 != "#" }) }

    func render(_ notification: TaskNotification) -> GitHubComment { GitHubComment(notification) }

    func send(_ comment: GitHubComment, as delivery: ChannelDelivery) async throws(SendError) -> Receipt {
        let (place, forge) = try open(comment, delivery)
        if let id = delivery.state?["comment_id"]?.integer {
            do {
                try await forge.updateComment(id, body: comment.body, of: place.repo)
                return receipt(id)
            } catch let error as ForgeError where error.kind == .notFound {
                // Somebody deleted it: it is written anew below.
            } catch {
                // An edit that may have happened does no harm when it happens again.
                throw GitHubChannel.sendError(error, isRepeatable: true)
            }
        }
        do {
            return receipt(try await forge.createComment(comment.body, onIssue: place.number, of: place.repo).id)
        } catch {
            throw GitHubChannel.sendError(error, isRepeatable: false)
        }
    }

    func lookUp(_ comment: GitHubComment, as delivery: ChannelDelivery) async throws(SendError) -> LookUp {
        let (place, forge) = try open(comment, delivery)
        do {
            let us = try await forge.account()
            let known = delivery.state?["comment_id"]?.integer
            let ours = try await forge.comments(ofIssue: place.number, of: place.repo)
                .filter { $0.author == us && $0.body.hasPrefix(comment.marker) }
            // One that we knew before is the old text: it is edited. The unknown try made another only if that was gone.
            guard let found = ours.first(where: { $0.id != known }), !ours.contains(where: { $0.id == known }) else {
                return .absent
            }
            return .found(receipt(found.id))
        } catch {
            throw GitHubChannel.sendError(error, isRepeatable: true)
        }
    }

    private func receipt(_ id: Int64) -> Receipt {
        Receipt(externalRef: "\(id)", state: ["comment_id": .integer(id)])
    }

    private func open(
        _ comment: GitHubComment, _ delivery: ChannelDelivery
    ) throws(SendError) -> (place: Place, forge: any Forge) {
        guard let place = Place(delivery.target) else {
            throw SendError(.refused, "the target is not owner/name#number")
        }
        do {
            return (place, try forges.forge(credentialRef: comment.credentialRef))
        } catch {
            // A credential may be put in place at any time.
            throw SendError(.unavailable, "\(error)")
        }
    }

    static func sendError(_ error: any Error, isRepeatable: Bool) -> SendError {
        guard let error = error as? ForgeError else { return SendError(.unavailable, "\(error)") }
        switch error.kind {
        case .rateLimited:
            // Without a word of how long, GitHub wants a minute at least.
            return SendError(.rateLimited(retryAfter: .seconds(error.retryAfter ?? 60)), "\(error)")
        case .unavailable:
            return SendError(error.mayHaveHappened && !isRepeatable ? .unknown : .unavailable, "\(error)")
        case .unauthorized, .forbidden, .notFound, .invalid:
            return SendError(.refused, "\(error)")
        }
    }
}

/// An issue or pull request.
struct Place: Sendable, Hashable {
    let repo: RepoName
    let number: Int

    init?(_ target: String) {
        let parts = target.split(separator: "#", omittingEmptySubsequences: false)
        guard parts.count == 2, let repo = RepoName(rawValue: String(parts[0])), let number = Int(parts[1]), number > 0
        else { return nil }
        self.repo = repo
        self.number = number
    }
}
