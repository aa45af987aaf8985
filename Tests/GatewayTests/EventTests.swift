import AMQP
import Domain
import HTTPServer
import HTTPTypes
import Lifecycle
import Messaging
import Postgres
import Store
import Telemetry
import TestSupport
import Threads
import Testing

@testable import Gateway

@Suite struct EventTests {
    private func events(_ answer: World.Answer) -> [JSONValue] { answer.data.array ?? [] }

    @Test func `pages tell every event once and in order while writers append`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            let writers = (0..<4).map { writer in
                Task {
                    for number in 0..<50 {
                        try await world.append(
                            .agentTurn, to: id, ["turn": JSONValue(number), "writer": JSONValue(writer)])
                    }
                }
            }
            var seen: [Int64] = []
            var after: String?
            while seen.count < 201 {
                let page = try await world.get(
                    "/v1/tasks/\(id)/events?limit=7&wait=20" + (after.map { "&after=\($0)" } ?? ""))
                #expect(!events(page).isEmpty)
                seen += events(page).compactMap { $0["seq"]?.integer }
                after = events(page).last?["event_id"]?.string
            }
            for writer in writers { try await writer.value }
            #expect(seen == Array(1...201))
        }
    }

    @Test func `events are told newest first, by type, and from behind any event`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            for turn in 1...3 {
                try await world.append(
                    .agentTurn, to: id, ["turn": JSONValue(turn), "text_preview": "\"quoted\" ünd\n"])
                try await world.append(.agentToolCall, to: id, ["tool_name": "Bash"])
            }
            let all = try await world.get("/v1/tasks/\(id)/events")
            #expect(events(all).count == 7)
            #expect(!all.hasMore)
            #expect(events(all)[1]["metadata"]?["text_preview"]?.string == "\"quoted\" ünd\n")
            #expect(events(all)[1]["trace_id"]?.string?.utf8.count == 32)
            let turns = try await world.get("/v1/tasks/\(id)/events?type=agent_turn&limit=2")
            #expect(events(turns).compactMap { $0["seq"]?.integer } == [2, 4])
            #expect(turns.hasMore)
            let rest = try await world.get("/v1/tasks/\(id)/events?type=agent_turn&next_token=\(turns.next ?? "")")
            #expect(events(rest).compactMap { $0["seq"]?.integer } == [6])
            let newest = try await world.get("/v1/tasks/\(id)/events?desc=1&limit=2")
            #expect(events(newest).compactMap { $0["seq"]?.integer } == [7, 6])
            #expect(newest.next == nil)
            let third = events(all)[2]["event_id"]?.string ?? ""
            let behind = try await world.get("/v1/tasks/\(id)/events?after=\(third.lowercased())")
            #expect(events(behind).compactMap { $0["seq"]?.integer } == [4, 5, 6, 7])
        }
    }

    @Test func `who waits is told as soon as an event lands, hinted by the broker`() async throws {
        try await withScratchVhost { amqpURL in
            // No sweep comes to help: what wakes the waiting is the hint alone.
            try await World.with({ $0.watchTick = .seconds(3600) }) { world async throws in
                let amqp = try AMQPConfig(url: amqpURL)
                let broker = try await AMQPConnection.open(amqp)
                try await broker.declare(Exchanges.platform(backends: []))
                let hints = Task {
                    try await WakeHints("gateway", amqp: amqp, log: .silent) { [watch = world.api.watch] in
                        watch.hint($0)
                    }.run()
                }
                let id = try await world.submit()
                let first = try await world.get("/v1/tasks/\(id)/events")
                let after = events(first)[0]["event_id"]?.string ?? ""
                let waiting = Task { try await world.get("/v1/tasks/\(id)/events?after=\(after)&wait=25") }
                try await eventually("one waits") { world.api.watch.count == 1 }
                try await world.append(.agentTurn, to: id, ["turn": 1])
                var hint = Publishing(exchange: "task.events", routingKey: "\(id).agent_turn", body: [])
                hint.mandatory = true
                let message = hint
                // A hint may come before the gateway listens; it is one, so it can be given again.
                let giving = Task {
                    try await eventually("the watcher is gone") {
                        _ = try await broker.publish([message])
                        return world.api.watch.count == 0
                    }
                }
                let told = try await waiting.value
                #expect(events(told).compactMap { $0["seq"]?.integer } == [2])
                try await giving.value
                hints.cancel()
                _ = await hints.result
                await broker.close()
            }
        }
    }

    @Test func `who waits is told without any broker`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            let quiet = try await world.submit()
            let waiting = (0..<20).map { number in
                Task {
                    try await world.get(
                        "/v1/tasks/\(id)/events?wait=25&type=agent_turn&limit=\(number + 1)")
                }
            }
            try await eventually("all wait") { world.api.watch.count == 20 }
            let gauge = world.metrics.exposition()
            #expect(gauge.contains("bgagent_watchers 20"))
            try await world.append(.agentToolCall, to: id)
            try await world.append(.agentTurn, to: quiet)
            #expect(world.api.watch.count == 20)
            try await world.append(.agentTurn, to: id)
            for waiter in waiting {
                let page = try await waiter.value
                #expect(events(page).compactMap { $0["seq"]?.integer } == [3])
            }
            #expect(world.api.watch.count == 0)
        }
    }

    @Test func `a wait without an event ends empty, and a final task is not waited for`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            let after = events(try await world.get("/v1/tasks/\(id)/events")).last?["event_id"]?.string ?? ""
            let empty = try await world.get("/v1/tasks/\(id)/events?after=\(after)&wait=1")
            #expect(empty.status == 200)
            #expect(events(empty).isEmpty)
            #expect(!empty.hasMore)
            try await world.bring(id, to: .cancelled)
            let end = events(try await world.get("/v1/tasks/\(id)/events")).last?["event_id"]?.string ?? ""
            let start = ContinuousClock.now
            let over = try await world.get("/v1/tasks/\(id)/events?after=\(end)&wait=25")
            #expect(events(over).isEmpty)
            #expect(ContinuousClock.now - start < .seconds(15))
            #expect(world.api.watch.count == 0)
        }
    }

    @Test func `a gateway that stops answers those who wait`() async throws {
        try await World.with({ $0.watchTick = .seconds(3600) }) { world async throws in
            let id = try await world.submit()
            let waiting = Task { try await world.get("/v1/tasks/\(id)/events?type=agent_turn&wait=25") }
            try await eventually("one waits") { world.api.watch.count == 1 }
            let server = world.api.server
            let threads = IOThreads(name: "stop", count: 1)
            try await threads.run { server.stop() }
            let answer = try await waiting.value
            #expect(answer.status == 200)
            #expect(events(answer).isEmpty)
            #expect(world.api.watch.count == 0)
            await threads.stopped()
        }
    }

    @Test func `a client that leaves is forgotten`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            let waiting = Task {
                try await world.call("GET", "/v1/tasks/\(id)/events?type=agent_turn&wait=25")
            }
            try await eventually("one waits") { world.api.watch.count == 1 }
            waiting.cancel()
            try await eventually("nobody waits") { world.api.watch.count == 0 }
            _ = await waiting.result
        }
    }
}
