import AMQP
import Domain
import Telemetry
import TestSupport
import Testing
import Threads

@testable import Messaging

@Suite struct WakeHintsTests {
    @Test func `who wants some types of events hears of them and of no others`() async throws {
        try await withScratchVhost { url in
            let amqp = try AMQPConfig(url: url)
            let broker = try await AMQPConnection.open(amqp)
            try await broker.declare(Exchanges.platform(backends: []))
            let one = try #require(TaskID(rawValue: "01ARZ3NDEKTSV4RRFFQ69G5FAV"))
            let two = try #require(TaskID(rawValue: "01ARZ3NDEKTSV4RRFFQ69G5FAW"))
            let heard = Lock<[TaskID]>([])
            let hints = Task {
                try await WakeHints("test", types: [.nudgeAccepted, .approvalDecided], amqp: amqp, log: .silent) { id in
                    heard.withLock { $0.append(id) }
                }.run()
            }
            // A queue is emptied in order: what comes last shows that what came before was not for it.
            let messages = ["\(one).agent_turn", "\(one).question_asked", "\(two).approval_decided"].map {
                Publishing(exchange: "task.events", routingKey: $0, body: [])
            }
            try await eventually("the last is heard") {
                _ = try await broker.publish(messages)
                return heard.withLock { !$0.isEmpty }
            }
            #expect(heard.withLock { $0.allSatisfy { $0 == two } })
            hints.cancel()
            _ = await hints.result
            await broker.close()
        }
    }
}
