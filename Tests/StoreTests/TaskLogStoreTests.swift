import Domain
import Postgres
import Store
import TestSupport
import Testing
import Threads

@Suite struct TaskLogStoreTests {
    @Test func `who pages by seq misses no line, however many write at once`() async throws {
        try await Fixture.with { fixture in
            let id = try fixture.submit(try fixture.connection())
            let (writers, each) = (4, 60)
            let threads = IOThreads(name: "writers", count: writers)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<writers {
                    group.addTask {
                        try await threads.run {
                            let connection = try fixture.connection()
                            for number in 0..<each {
                                let line = TaskLogLine(level: "info", message: "\(number)")
                                try connection.query(
                                    try TaskLogStore.append([line], to: id, service: "s\(writer)", instance: "i"))
                            }
                        }
                    }
                }
                group.addTask {
                    let reader = try fixture.connection()
                    var filter = TaskLogFilter()
                    filter.limit = 7
                    var seen: [String: [String]] = [:]
                    try await eventually("every line was read") {
                        let page = try TaskLogStore.page(of: id, filter, in: reader)
                        for line in page.lines { seen[line.service, default: []].append(line.message) }
                        filter.after = page.lines.last?.seq ?? filter.after
                        return seen.values.map(\.count).reduce(0, +) == writers * each
                    }
                    for lines in seen.values { #expect(lines == (0..<each).map(String.init)) }
                    #expect(filter.after == Int64(writers * each))
                }
                try await group.waitForAll()
            }
            await threads.stopped()
        }
    }

    @Test func `a service that writes without end gets one line that says so`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let id = try fixture.submit(connection)
            let lines = (1...1500).map { TaskLogLine(level: "info", message: "\($0)") }
            for _ in 0..<3 {
                try connection.query(try TaskLogStore.append(lines, to: id, service: "relay", instance: "i"))
            }
            try connection.query(
                try TaskLogStore.append(Array(lines.prefix(1)), to: id, service: "fanout", instance: "i"))
            let counts = try connection.query(
                "SELECT count(*) FILTER (WHERE service = 'relay') AS relay, max(seq) AS seq FROM task_logs"
            ).only()
            #expect(try counts.get("relay", as: Int.self) == TaskLogStore.maxLines + 1)
            #expect(try counts.get("seq", as: Int.self) == TaskLogStore.maxLines + 2)
            var filter = TaskLogFilter()
            filter.level = "warning"
            let marker = try TaskLogStore.page(of: id, filter, in: connection).lines
            #expect(marker.map(\.message).first?.contains("more than 2000 lines") == true)
        }
    }

    @Test func `the output of sandboxes is kept up to its bound and goes on where it stopped`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let id = try fixture.submit(connection)
            try connection.query(
                "INSERT INTO sessions (task_id, attempt, backend, payload) VALUES (\(id.rawValue), 1, 'process', '{}')")
            func take(from offset: Int, bytes: Int) throws -> Bool {
                let line = TaskLogLine(attempt: 1, level: "info", message: "out")
                return try connection.transaction {
                    try OutputStore.take([line], of: id, attempt: 1, node: "n1", from: offset, bytes: bytes, in: $0)
                }
            }
            #expect(try take(from: 0, bytes: 100))
            // What was taken is not taken again, as by an adapter that had not heard of its own commit.
            #expect(try !take(from: 0, bytes: 100))
            #expect(try OutputStore.position(of: id, attempt: 1, in: connection)?.offset == 100)
            #expect(try take(from: 100, bytes: TaskLogStore.maxOutputBytes))
            #expect(try OutputStore.position(of: id, attempt: 1, in: connection)?.isFull == true)
            let lines = try TaskLogStore.page(of: id, TaskLogFilter(), in: connection).lines
            #expect(lines.count == 2)
            #expect(lines.last?.message.contains("the rest is not kept") == true)
        }
    }

    @Test func `a task's log goes with the task`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let id = try fixture.submit(connection)
            try connection.query(
                try TaskLogStore.append(
                    [TaskLogLine(level: "info", message: "x")], to: id, service: "relay", instance: "i"))
            try connection.query("DELETE FROM task_heads WHERE task_id = \(id.rawValue)")
            try connection.query("DELETE FROM tasks WHERE task_id = \(id.rawValue)")
            #expect(try connection.query("SELECT FROM task_logs").isEmpty)
            #expect(try connection.query("SELECT FROM task_log_heads").isEmpty)
        }
    }

    @Test func `a check that is asked for during a check stays open`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            _ = try RepoCheckStore.request("acme/shop", in: connection)
            let taken = try #require(try RepoCheckStore.take(limit: 4, in: connection).first)
            #expect(try RepoCheckStore.take(limit: 4, in: connection).isEmpty)
            _ = try RepoCheckStore.request("acme/shop", in: connection)
            try RepoCheckStore.answer(
                taken.repo, requestedAt: taken.requestedAt, [.passed("push", "old")], in: connection)
            #expect(try RepoCheckStore.find("acme/shop", in: connection)?.isDone == false)
            let again = try #require(try RepoCheckStore.take(limit: 4, in: connection).first)
            try RepoCheckStore.answer(
                again.repo, requestedAt: again.requestedAt, [.failed("push", "new", remedy: "r")], in: connection)
            let found = try #require(try RepoCheckStore.find("acme/shop", in: connection))
            #expect(found.isDone && found.checks.map(\.detail) == ["new"])
        }
    }

    @Test func `a report is forgotten after a day`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            func write(_ service: String) throws {
                try ReportStore.write(
                    ServiceReport(
                        service: service, instance: "h:1", version: "1", schema: 8, everySeconds: 15, checks: []),
                    uptime: 10, in: connection)
            }
            try write("relay")
            try connection.query("UPDATE service_reports SET seen_at = now() - interval '50 s'")
            #expect(try ReportStore.all(in: connection).map(\.isSilent) == [true])
            try connection.query("UPDATE service_reports SET seen_at = now() - interval '25 h'")
            try write("fanout")
            #expect(try ReportStore.all(in: connection).map(\.report.service) == ["fanout"])
        }
    }
}
