import Domain
import FoundationEssentials
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@testable import AgentGateway

@Suite struct StagingTests {
    @Test func `branches follow the forge, one that became a folder included, and the task's own stays`() throws {
        try Self.withDirectory { directory in
            let git = GitCommand(askpass: "/bin/false", home: directory)
            let store = StagingStore(directory: directory, hookBinary: "", git: git)
            let (mirror, staging) = ("\(directory)/mirror.git", "\(directory)/staging.git")
            for path in [mirror, staging] { try git.check(["init", "--bare", "--quiet", path]) }
            let commit = try Self.commit(git, mirror)
            try Data("\(mirror)/objects\n".utf8).write(to: URL(filePath: "\(staging)/objects/info/alternates"))
            for ref in ["main", "topic"] { try git.check(["update-ref", "refs/heads/\(ref)", commit], in: mirror) }
            try store.copyBranches(from: mirror, to: staging, base: "main", own: "bgagent/x/fix")
            try git.check(["update-ref", "refs/heads/bgagent/x/fix", commit], in: staging)
            try git.check(["update-ref", "-d", "refs/heads/topic"], in: mirror)
            try git.check(["update-ref", "refs/heads/topic/next", commit], in: mirror)
            try store.copyBranches(from: mirror, to: staging, base: "main", own: "bgagent/x/fix")
            let refs = try git.check(["for-each-ref", "--format=%(refname:short)"], in: staging)
            #expect(refs.split(separator: "\n") == ["bgagent/x/fix", "main", "topic/next"])
        }
    }

    @Test func `a large file is seen in a branch although saved work had brought it before`() throws {
        try Self.withDirectory { directory in
            let git = GitCommand(askpass: "/bin/false", home: directory)
            let path = "\(directory)/staging.git"
            try git.check(["init", "--bare", "--quiet", path])
            let base = try Self.commit(git, path)
            try git.check(["update-ref", "refs/heads/main", base], in: path)
            let work = try Self.commit(git, path, content: String(repeating: "x", count: 5000), parent: base)
            try git.check(["update-ref", "refs/bgagent/x/wip", work], in: path)
            #expect(try PreReceive.largestBlob(in: work, over: 1000, git, directory: path)?.bytes == 5000)
            #expect(try PreReceive.largestBlob(in: work, over: 5000, git, directory: path) == nil)
            #expect(try PreReceive.largestBlob(in: base, over: 1, git, directory: path) == nil)
        }
    }

    @Test func `what a task left is cleared when it has been over for long enough`() async throws {
        try await withScratchDatabase { url in
            let directory = "/tmp/bgagent-staging-\(UUID().uuidString)"
            let config = try PostgresConfig(url: url, applicationName: "agent-gateway-tests")
            let connection = try Connection(config)
            _ = try Migrator.run(on: connection)
            let open = try Self.task(connection), fresh = try Self.task(connection), old = try Self.task(connection)
            let unknown = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
            try connection.query(
                "UPDATE tasks SET status = 'CANCELLED' WHERE task_id = ANY(\([fresh.rawValue, old.rawValue]))")
            try connection.query(
                "UPDATE tasks SET completed_at = now() - interval '2 days' WHERE task_id = \(old.rawValue)")
            for name in [open.rawValue, fresh.rawValue, old.rawValue, unknown] {
                for path in ["staging/\(name).git/objects", "staging/\(name).git.draft-1", "locks/task-\(name)"] {
                    try FileManager.default.createDirectory(
                        atPath: "\(directory)/\(path)", withIntermediateDirectories: true)
                }
            }
            for path in ["locks/acme-shop", "artifacts/\(old.rawValue)", "artifacts/\(unknown)"] {
                try FileManager.default.createDirectory(
                    atPath: "\(directory)/\(path)", withIntermediateDirectories: true)
            }
            let pool = Pool(config, size: 1)
            let sweep = StagingSweep(pool: pool, directory: directory, keep: .seconds(86_400), log: .silent)
            #expect(try await sweep.runOnce() == 3)
            let kept = [open.rawValue, fresh.rawValue]
            #expect(
                try Set(FileManager.default.contentsOfDirectory(atPath: "\(directory)/staging"))
                    == Set(kept.flatMap { ["\($0).git", "\($0).git.draft-1"] }))
            #expect(
                try Set(FileManager.default.contentsOfDirectory(atPath: "\(directory)/locks"))
                    == Set(kept.map { "task-\($0)" } + ["acme-shop"]))
            // What was kept of a task stays as long as the task does.
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: "\(directory)/artifacts") == [old.rawValue])
            await pool.close()
            try FileManager.default.removeItem(atPath: directory)
        }
    }

    private static func withDirectory(_ body: (String) throws -> Void) throws {
        let directory = "/tmp/bgagent-staging-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try body(directory)
    }

    /// A commit of one file, made without a work tree.
    private static func commit(
        _ git: GitCommand, _ repository: String, content: String = "one", parent: String? = nil
    ) throws -> String {
        func line(_ text: String) -> String { String(text.prefix { $0 != "\n" }) }
        let blob = line(try git.check(["hash-object", "-w", "--stdin"], in: repository, input: content))
        let tree = line(try git.check(["mktree"], in: repository, input: "100644 blob \(blob)\tfile\n"))
        let who = [
            "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
        ]
        let parents = parent.map { ["-p", $0] } ?? []
        return line(
            try git.check(["commit-tree", tree, "-m", "m"] + parents, in: repository, environment: who))
    }

    private static func task(_ connection: Connection) throws -> TaskID {
        let user = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
        try connection.query("INSERT INTO users (user_id, name) VALUES (\(user), 'ada') ON CONFLICT DO NOTHING")
        try connection.query("INSERT INTO repos (repo) VALUES ('acme/shop') ON CONFLICT DO NOTHING")
        let id: TaskID = try connection.query("SELECT new_ulid(now_ms()) AS id").only().ulid("id")
        try connection.query(
            """
            INSERT INTO tasks (task_id, user_id, repo, task_description, branch_name, model, max_turns, max_duration_s,
                traceparent) VALUES (\(id.rawValue), \(user), 'acme/shop', 'x', 'b', 'm', 10, 100, '')
            """)
        return id
    }
}
