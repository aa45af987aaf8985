import AMQP
import Domain
import TestSupport
import Testing

@testable import Messaging

@Suite struct BrokerCheckTests {
    @Test func `a broker is judged by its release`() {
        #expect(BrokerChecks.judge(version: "3.10.8").ok)
        #expect(BrokerChecks.judge(version: "4.0.5").ok)
        #expect(BrokerChecks.judge(version: "3.9.29").remedy?.contains("3.10") == true)
        #expect(BrokerChecks.judge(version: "").ok)
    }

    @Test func `missing queues are named and a broker that is away is told`() async throws {
        try await withScratchVhost { url in
            let config = try AMQPConfig(url: url)
            let checks = BrokerChecks(config)
            let bare = await checks.look([.commands])
            #expect(bare.first { $0.name == "broker" }?.detail.hasPrefix("RabbitMQ ") == true)
            #expect(bare.first { $0.name == "plugin" }?.ok == true)
            let missing = bare.first { $0.name == "queues" }
            #expect(missing?.ok == false && missing?.detail.contains("task.commands") == true)
            #expect(missing?.remedy?.contains("bgagent-migrate") == true)
            let broker = try await AMQPConnection.open(config)
            try await broker.declare(Exchanges.platform(backends: ["process"]))
            #expect(await checks.look([.commands, .events]).allSatisfy { $0.ok })
            try await broker.delete(queue: TaskStream.events.queues[3])
            let one = await checks.look([.commands, .events]).filter { !$0.ok }
            #expect(one.map(\.detail) == ["missing: queue \(TaskStream.events.queues[3])"])
            await broker.close()
        }
        let away = await BrokerChecks(try AMQPConfig(url: "amqp://guest:guest@127.0.0.1:1")).look([.commands])
        #expect(away.map(\.name) == ["broker"] && away.allSatisfy { !$0.ok })
    }
}
