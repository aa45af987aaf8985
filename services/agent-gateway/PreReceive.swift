import Config
import Domain
import Forge
import FoundationEssentials
import Glibc
import HTTPClient
import Postgres
import Store

/// The hook that decides a push, in a process that git starts. What it publishes is on the forge before git tells the
/// agent that the push went well; what it refuses is told with the reason.
struct PreReceive {
    let config: AgentGatewayConfig
    let task: TaskID
    let attempt: Int
    let git: GitCommand

    /// Exit code 0 lets git take the push. Whatever is said on standard error reaches the agent's git as `remote:`.
    static func run(_ config: AgentGatewayConfig) -> Int32 {
        let variables = ProcessInfo.processInfo.environment
        guard let task = variables["BGAGENT_PUSH_TASK"].flatMap(TaskID.init(rawValue:)),
            let attempt = variables["BGAGENT_PUSH_ATTEMPT"].flatMap({ Int($0) })
        else {
            say("this hook runs under the agent gateway only")
            return 1
        }
        do {
            try PreReceive(config: config, task: task, attempt: attempt, git: config.git).decide(readUpdates())
            return 0
        } catch let refusal as Refused {
            say(refusal.reason)
        } catch {
            // The agent knows these words (git.py) and pushes again: nobody has looked at it.
            say("the platform cannot take the push now: \(error)")
        }
        return 1
    }

    private struct Refused: Error {
        let reason: String
    }

    private func decide(_ updates: [RefUpdate]) throws {
        let connection = try Connection(
            PostgresConfig(
                url: config.service.postgresURL.revealed, applicationName: "bgagent-pre-receive",
                authorities: config.service.caFile))
        // A next attempt prepares behind this lock: what is published here under the old epoch, it starts from.
        let lock = try FileLock(StagingStore.lockPath(task, in: config.service.dataDirectory))
        defer { lock.release() }
        guard let task = try current(in: connection) else { throw Refused(reason: "this attempt is over") }
        let allowsCI = task.settings["allow_ci_changes"]?.bool ?? false
        let allowsSecrets = task.settings["allow_secrets"]?.bool ?? false
        var verdicts: [(RefUpdate, PushPolicy.Verdict)] = []
        for update in updates {
            let verdict = PushPolicy.decide(
                update, try facts(update, base: task.baseBranch ?? "main", scans: !allowsSecrets), task: task.id,
                branch: task.branchName, allowsCI: allowsCI, maxBlobBytes: config.maxBlobBytes)
            verdicts.append((update, verdict))
        }
        for (update, verdict) in verdicts {
            if case .refuse(let reason) = verdict {
                try note(update, "refused", reason, in: connection)
                throw Refused(reason: reason)
            }
        }
        for (update, verdict) in verdicts {
            if verdict == .publish {
                do {
                    try publish(update, task)
                } catch let refusal as Refused {
                    try note(update, "refused", refusal.reason, in: connection)
                    throw refusal
                }
            }
            // Once more after the slow part: an attempt that was moved meanwhile must not report success.
            guard try current(in: connection) != nil else { throw Refused(reason: "this attempt is over") }
            try note(update, "accepted", nil, in: connection)
        }
    }

    private func current(in connection: Connection) throws -> TaskRecord? {
        guard let session = try SessionStore.load(task, attempt: attempt, in: connection) else { return nil }
        return try? SessionAccess().current(session, in: connection)
    }

    private func facts(_ update: RefUpdate, base: String, scans: Bool) throws -> PushFacts {
        var facts = PushFacts()
        if update.isDelete { return facts }
        if !update.isCreate {
            facts.isFastForward = try git.run(
                ["merge-base", "--is-ancestor", update.old, update.new], environment: quarantine
            ).isSuccess
        }
        let from = try start(of: update, base: base)
        let changed = try git.check(
            ["diff", "--name-only", "-z", "--no-renames", from, update.new], environment: quarantine)
        facts.changedPaths = changed.split(separator: "\0").map(String.init)
        facts.largestBlob = try PreReceive.largestBlob(
            in: update.new, over: config.maxBlobBytes, git, environment: quarantine)
        if scans, update.ref != PushPolicy.wip(task) { facts.secret = try secret(in: update.new) }
        return facts
    }

    /// The first secret that a new commit adds, whether or not a later one takes it out again: it would be on the forge.
    private func secret(in commit: String) throws -> FoundSecret? {
        let patch = try git.check(
            [
                "log", "--format=", "--patch", "--unified=0", "--no-color", "--no-renames", "--no-ext-diff",
                "--no-textconv", "--diff-merges=first-parent", commit, "--not", "--branches", "--tags",
            ], environment: quarantine)
        return try SecretScan().first(in: patch)
    }

    /// A blob of more than `limit` bytes that no branch has yet, if there is one. Saved work does not count as having it:
    /// that is let in without a look.
    static func largestBlob(
        in commit: String, over limit: Int64, _ git: GitCommand, directory: String? = nil,
        environment: [String: String] = [:]
    ) throws -> (path: String, bytes: Int64)? {
        let omitted = try git.check(
            [
                "rev-list", "--objects", "--filter=blob:limit=\(limit + 1)", "--filter-print-omitted", commit, "--not",
                "--branches", "--tags",
            ], in: directory, environment: environment)
        guard let large = omitted.split(separator: "\n").first(where: { $0.hasPrefix("~") }) else { return nil }
        let name = String(large.dropFirst())
        let size = try git.check(["cat-file", "-s", name], in: directory, environment: environment)
        return (path: "blob \(name)", bytes: Int64(size.filter(\.isNumber)) ?? .max)
    }

    /// Where the branch left the base; what has no history in common with it is all new.
    private func start(of update: RefUpdate, base: String) throws -> String {
        let found = try git.run(["merge-base", "refs/heads/\(base)", update.new], environment: quarantine)
        let commit = found.text.prefix { $0.isHexDigit }
        return found.isSuccess && !commit.isEmpty ? String(commit) : PreReceive.emptyTree
    }

    /// Known to every git without being stored.
    private static let emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

    /// Plain fast-forward to the forge. A push whose answer was lost finds the branch where it should be and succeeds.
    private func publish(_ update: RefUpdate, _ task: TaskRecord) throws {
        let forges = ForgeAccess(config.forge, http: HTTPClient(.init(caFile: config.service.caFile)))
        let reference = task.settings["credential_ref"]?.string
        let url = try forges.forge(credentialRef: reference).cloneURL(of: task.repo)
        var environment = quarantine
        environment["GIT_QUARANTINE_PATH"] = nil
        let outcome = try git.run(
            ["push", "--quiet", "--no-verify", url, "\(update.new):\(update.ref)"],
            credential: .init(password: try forges.token(reference)), environment: environment,
            deadline: config.pushDeadline)
        guard outcome.isSuccess else {
            throw Refused(reason: "the forge did not take the branch: \(Self.words(of: outcome.errors))")
        }
    }

    /// What the forge itself says about a push, which it says first; else the end of what git says.
    static func words(of errors: String) -> String {
        let said = errors.split(separator: "\n").filter { $0.hasPrefix("remote:") }
            .map { $0.dropFirst(7).drop { $0 == " " } }.filter { !$0.isEmpty }
        return said.isEmpty ? String(errors.suffix(500)) : String(said.joined(separator: "; ").prefix(500))
    }

    /// Where git keeps the objects of a push that is not accepted yet.
    private var quarantine: [String: String] {
        let names = ["GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH"]
        var found: [String: String] = [:]
        for name in names { found[name] = ProcessInfo.processInfo.environment[name] }
        return found
    }

    private func note(_ update: RefUpdate, _ verdict: String, _ reason: String?, in connection: Connection) throws {
        try connection.query(
            """
            INSERT INTO git_pushes (task_id, attempt, ref, old_sha, new_sha, verdict, reason)
            VALUES (\(task.rawValue), \(attempt), \(String(update.ref.prefix(500))), \(update.old), \(update.new),
                \(verdict), \(reason))
            """)
    }

    private static func readUpdates() -> [RefUpdate] {
        var updates: [RefUpdate] = []
        while let line = readLine() {
            let parts = line.split(separator: " ", maxSplits: 2).map(String.init)
            if parts.count == 3 { updates.append(RefUpdate(old: parts[0], new: parts[1], ref: parts[2])) }
        }
        return updates
    }

    private static func say(_ text: String) {
        let line = "bgagent: \(text.split(whereSeparator: \.isNewline).joined(separator: " "))\n"
        _ = line.utf8CString.withUnsafeBytes { write(2, $0.baseAddress, $0.count - 1) }
    }
}
