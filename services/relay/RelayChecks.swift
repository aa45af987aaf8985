import Domain
import Messaging
import Postgres
import Runtime
import Store

/// What the relay looks at: the broker with all that it publishes to, and what waits to be published.
struct RelayChecks: Sendable {
    let pool: Pool
    let broker: BrokerChecks
    /// A message that waits longer has not merely met a busy moment.
    private static let patience = 30.0

    func add(to checks: CheckList) {
        checks.add { [await backlog()] }
        checks.addOutside { await broker.look(await streams()) }
    }

    private func streams() async -> [TaskStream] {
        let channels = (try? await pool.run { try ChannelStore.all(in: $0) }) ?? []
        return [.commands, .events] + channels.map { .notifications($0.name) }
    }

    private func backlog() async -> Check {
        do {
            let backlog = try await pool.run { try OutboxStore.backlog(in: $0) }
            return Self.judge(count: backlog.count, oldest: backlog.oldestSeconds)
        } catch {
            return .failed("outbox", "cannot be read: \(error)", remedy: "Start Postgres, or look at its log.")
        }
    }

    static func judge(count: Int64, oldest: Double) -> Check {
        guard oldest > patience else { return .passed("outbox", "\(count) messages wait") }
        return .failed(
            "outbox", "\(count) messages wait, the oldest for \(Int(oldest)) s",
            remedy: "Mend what the checks of the broker name; if they name nothing, restart the relay.")
    }
}
