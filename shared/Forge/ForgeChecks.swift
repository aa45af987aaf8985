import Domain
import HTTPClient

/// What can be said of the forge without touching anything there.
extension ForgeAccess {
    /// Whether the forge answers, and whether it knows the platform's own token.
    package func check() async -> [Check] {
        var request = ClientRequest(url: apiURL, timeout: .seconds(8), connectTimeout: .seconds(4))
        request.followRedirects = false
        do {
            let status = try await http.send(request).status
            guard status < 500 else {
                return [unreachable("\(apiURL) answers with status \(status)")]
            }
        } catch {
            return [unreachable("\(apiURL) does not answer: \(error)")]
        }
        let answers = Check.passed("forge", "\(apiURL) answers")
        guard hasToken else {
            return [answers, .passed("forge token", "none is set; every repository names its own credential")]
        }
        do {
            let account = try await forge(credentialRef: nil).account()
            return [answers, .passed("forge token", "belongs to \(account)")]
        } catch let error as ForgeError where [.forbidden, .notFound].contains(error.kind) {
            return [answers, .passed("forge token", "may not ask who it is, as a GitHub App's may not")]
        } catch {
            return [
                answers,
                .failed(
                    "forge token", "the forge does not take BGAGENT_GITHUB_TOKEN: \(error)",
                    remedy: "Set BGAGENT_GITHUB_TOKEN to a valid token and restart the service."),
            ]
        }
    }

    private func unreachable(_ detail: String) -> Check {
        .failed(
            "forge", detail,
            remedy: "Make the address of BGAGENT_GITHUB_API_URL reachable from this service (DNS, proxy, firewall).")
    }

    /// Whether tasks can work on a repository with its credential: one check a question, none after one that fails.
    package func check(_ repo: RepoName, credentialRef: String?) async -> [Check] {
        let forge: any Forge
        do {
            forge = try self.forge(credentialRef: credentialRef)
        } catch {
            let failure = error as? TaskFailure
            return [
                .failed(
                    "credential", failure?.description ?? "\(error)",
                    remedy: failure?.remedy ?? "Name a credential: bgagent repo set \(repo) --credential-ref NAME")
            ]
        }
        do {
            return try await look(at: repo, forge)
        } catch {
            let failure = (error as? ForgeError)?.failure(repo, doing: "Looking")
            let whose = credentialRef.map { "the credential file \($0)" } ?? "BGAGENT_GITHUB_TOKEN"
            return [
                .failed(
                    "repository", failure?.description ?? "\(error)",
                    remedy: Self.remedy(error, repo, whose) ?? failure?.remedy
                        ?? "Try again: bgagent repo check \(repo)")
            ]
        }
    }

    private static func remedy(_ error: any Error, _ repo: RepoName, _ whose: String) -> String? {
        switch (error as? ForgeError)?.kind {
        case .unauthorized: "Put a valid token into \(whose)."
        case .forbidden, .notFound: "Check the name, and give the token of \(whose) access to \(repo)."
        case .unavailable: "Make the forge reachable from the orchestrator (DNS, proxy, firewall)."
        case .rateLimited: "Wait for the forge's limit to pass, then: bgagent repo check \(repo)"
        case .invalid, nil: nil
        }
    }

    private func look(at repo: RepoName, _ forge: any Forge) async throws -> [Check] {
        let found = try await forge.repository(repo)
        var checks = [Check.passed("repository", "\(repo) is there")]
        if found.isArchived {
            return checks + [
                .failed("archived", "\(repo) is archived, so read-only", remedy: "Unarchive \(repo) on the forge.")
            ]
        }
        guard try await forge.branchHead(found.defaultBranch, of: repo) != nil else {
            return checks + [
                .failed(
                    "default branch", "\(found.defaultBranch) has no commit",
                    remedy: "Push a first commit to \(found.defaultBranch).")
            ]
        }
        checks.append(.passed("default branch", found.defaultBranch))
        guard found.canPush else {
            return checks + [
                .failed(
                    "push", "the credential can read \(repo) but not push to it",
                    remedy: "Give the token write access to the contents of \(repo).")
            ]
        }
        checks.append(.passed("push", "the credential may push"))
        let mayOpen = try await forge.mayOpenPullRequests(repo, base: found.defaultBranch)
        checks.append(
            mayOpen
                ? .passed("pull requests", "the credential may open them")
                : .failed(
                    "pull requests", "the credential may not open pull requests in \(repo)",
                    remedy: "Give the token write access to the pull requests of \(repo)."))
        return checks
    }
}
