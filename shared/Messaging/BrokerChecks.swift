import AMQP
import Domain
import Lifecycle

/// Looks at the broker for the self-report of the process that needs most of it. Leaves nothing behind there.
package struct BrokerChecks: Sendable {
    /// The oldest release that everything was tried on.
    private static let oldest = (major: 3, minor: 10)

    private let amqp: AMQPConfig

    package init(_ amqp: AMQPConfig) {
        self.amqp = amqp
    }

    /// Whether it is there, what release it is, whether it has its plugin, and what is missing of these streams.
    package func look(_ streams: [TaskStream], queues: [String] = []) async -> [Check] {
        let broker: AMQPConnection
        do {
            broker = try await AMQPConnection.open(amqp)
        } catch {
            return [
                .failed(
                    "broker", "RabbitMQ is not reached: \(error)",
                    remedy: "Start RabbitMQ, and compare BGAGENT_AMQP_URL with its address, user and virtual host.")
            ]
        }
        var checks = [Self.judge(version: broker.brokerVersion)]
        checks.append(await topology(broker, streams, queues))
        await broker.close()
        checks.append(await plugin())
        return checks
    }

    static func judge(version: String) -> Check {
        let numbers = version.split(separator: ".").prefix(2).compactMap { Int($0) }
        guard numbers.count == 2 else { return .passed("broker", "RabbitMQ, its release is not told") }
        let isOld = (numbers[0], numbers[1]) < (oldest.major, oldest.minor)
        return isOld
            ? .failed(
                "broker", "RabbitMQ \(version)",
                remedy: "Update RabbitMQ to \(oldest.major).\(oldest.minor) or newer.")
            : .passed("broker", "RabbitMQ \(version)")
    }

    private func topology(_ broker: AMQPConnection, _ streams: [TaskStream], _ queues: [String]) async -> Check {
        var missing: [String] = []
        let exchanges = streams.flatMap { [$0.exchange, $0.byTask] } + [Exchanges.compute, Exchanges.deadLetters]
        do {
            for name in Set(exchanges).sorted()
            where try await isMissing({ try await broker.passiveDeclare(exchange: name) }) {
                missing.append("exchange \(name)")
            }
            let wanted = streams.flatMap(\.queues) + [Exchanges.deadLetters] + queues
            for name in wanted where try await isMissing({ try await broker.passiveDeclare(queue: name) }) {
                missing.append("queue \(name)")
            }
        } catch {
            return .failed("queues", "cannot be looked at: \(error)", remedy: "Look at RabbitMQ's own log.")
        }
        guard !missing.isEmpty else { return .passed("queues", "\(streams.count) streams with all their queues") }
        return .failed(
            "queues", "missing: \(missing.prefix(5).joined(separator: ", "))\(missing.count > 5 ? " …" : "")",
            remedy: "Run bgagent-migrate; a channel's own queues come back when its dispatcher is restarted.")
    }

    private func isMissing(_ declare: () async throws -> Void) async throws -> Bool {
        do {
            try await declare()
            return false
        } catch let error as AMQPError where error.replyCode == 404 {
            return true
        }
    }

    /// Makes an exchange of the plugin's kind and takes it away: without the plugin the broker ends the connection.
    private func plugin() async -> Check {
        let probe = "bgagent.check.\(UInt64.random(in: 0...(.max)))"
        do {
            let broker = try await AMQPConnection.open(amqp)
            do {
                let exchange = Exchange(probe, .xConsistentHash(hashProperty: "correlation_id"), durable: false)
                try await broker.declare(Topology(exchanges: [exchange]))
                try await broker.delete(exchange: probe)
            } catch {
                await broker.close()
                throw error
            }
            await broker.close()
            return .passed("plugin", "rabbitmq_consistent_hash_exchange is there")
        } catch let error as AMQPError where error.replyCode == 403 {
            return .passed("plugin", "not looked at: our account may not declare \(probe.prefix(14))…")
        } catch {
            return .failed(
                "plugin", "an exchange of kind x-consistent-hash is refused: \(error)",
                remedy: "rabbitmq-plugins enable rabbitmq_consistent_hash_exchange")
        }
    }
}
