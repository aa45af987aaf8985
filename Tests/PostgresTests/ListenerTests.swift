import Postgres
import TestSupport
import Testing

@Suite(.scratchDatabase, .timeLimit(.minutes(1)))
struct ListenerTests {
    @Test func `payloads arrive in order, from any session`() async throws {
        let listener = try Listener(try scratchConfig(), channel: "Odd \"channel")
        let running = Task { try await listener.run() }
        var payloads = listener.notifications.makeAsyncIterator()
        #expect(await payloads.next() == "")
        for number in 1...50 { try connect().query("SELECT pg_notify('Odd \"channel', \("\(number)"))") }
        for number in 1...50 { #expect(await payloads.next() == "\(number)") }
        running.cancel()
        try await running.value
        #expect(await payloads.next() == nil)
    }

    @Test func `after a lost connection it listens again and says that something may be missed`() async throws {
        let listener = try Listener(try scratchConfig(), channel: "hints")
        let running = Task { try await listener.run() }
        var payloads = listener.notifications.makeAsyncIterator()
        #expect(await payloads.next() == "")
        for _ in 1...3 {
            try terminateAll()
            #expect(await payloads.next() == "")
            try connect().query("NOTIFY hints, 'again'")
            #expect(await payloads.next() == "again")
        }
        running.cancel()
        try await running.value
    }

    @Test func `a listener that never connected stops as well`() async throws {
        let config = try PostgresConfig(url: "postgres://nobody@127.0.0.1:1/x", applicationName: "test")
        let listener = try Listener(config, channel: "hints")
        let running = Task { try await listener.run() }
        running.cancel()
        try await running.value
    }
}
