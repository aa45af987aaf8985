import Domain
import Postgres
import Store
import Testing
import TestSupport
import Threads

@Suite struct CursorTests {
    @Test func `sixteen writers and eight readers: no event is skipped and none is seen twice`() async throws {
        let tasks = 20
        let perWriter = 1250
        try await Fixture.with { fixture in
            let setup = try fixture.connection()
            let ids = try (0..<tasks).map { _ in try fixture.submit(setup) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                let threads = IOThreads(name: "cursor", count: 24)
                let writing = Lock(16)
                for _ in 0..<16 {
                    group.addTask {
                        try await threads.run {
                            let connection = try fixture.connection()
                            for index in 0..<perWriter {
                                let task = ids[(index &* 7 &+ Int.random(in: 0..<tasks)) % tasks]
                                try TaskLog.append(
                                    .agentTurn, to: task, attempt: 1, ["turn": JSONValue(index)], in: connection)
                            }
                            writing.withLock { $0 -= 1 }
                        }
                    }
                }
                for _ in 0..<8 {
                    group.addTask {
                        let problem = try await threads.run { () -> String? in
                            try Self.read(ids, fixture.connection()) { writing.withLock { $0 } > 0 }
                        }
                        #expect(problem == nil)
                    }
                }
                try await group.waitForAll()
                threads.stop()
            }
            let total = try setup.query("SELECT count(*) AS n FROM task_events").only().get("n", as: Int.self)
            #expect(total == 16 * perWriter + tasks)
        }
    }

    /// Pages through all tasks by cursor until the writers are done and a last look finds nothing. Returns what is wrong.
    private static func read(_ ids: [TaskID], _ connection: Connection, isWriting: () -> Bool) throws -> String? {
        var cursors: [TaskID: String] = [:]
        var seen: [TaskID: Int64] = [:]
        while true {
            let last = !isWriting()
            var found = 0
            for id in ids {
                let rows = try connection.query(
                    """
                    SELECT seq, event_id FROM task_events
                    WHERE task_id = \(id.rawValue) AND event_id > \(cursors[id] ?? "") ORDER BY event_id LIMIT 100
                    """)
                for row in rows {
                    let seq = try row.get("seq", as: Int64.self)
                    guard seq == (seen[id] ?? 0) + 1 else { return "after \(seen[id] ?? 0) came \(seq)" }
                    seen[id] = seq
                    cursors[id] = try row.get("event_id", as: String.self)
                    found += 1
                }
            }
            if last && found == 0 { return nil }
        }
    }
}
