import AMQP
import Config
import Domain
import Lifecycle
import Messaging
import Postgres
import Runtime
import Store
import Telemetry

/// A notification channel as a service: registers the channel, declares its queues, and sends what the ledger plans.
///
/// Messages only wake: the ledger is the queue. So a lost message delays a notification by one pass, a doubled one
/// changes nothing, and what was planned while no dispatcher ran is sent when one comes.
package final class Dispatcher<Channel: NotificationChannel>: Service {
    package let name = "dispatcher \(Channel.name)"
    private let channel: Channel
    private let runtime: ServiceRuntime
    private let settings: DispatcherSettings
    private let engine: LaneEngine<Channel>
    private let consumer: OrderedConsumer
    private let amqp: AMQPConfig

    /// A whole dispatcher process; never returns.
    package static func main() async throws {
        let config = Environment.load(DispatcherConfig<Channel>.init)
        let runtime = try ServiceRuntime(config.service)
        await runtime.runAndExit([try Dispatcher(config.channel, runtime, settings: config.settings)])
    }

    /// Starts nothing. Throws when the broker's address cannot be read, or the process has no descriptor left.
    package init(_ channel: Channel, _ runtime: ServiceRuntime, settings: DispatcherSettings) throws {
        self.channel = channel
        self.runtime = runtime
        self.settings = settings
        amqp = try runtime.amqp()
        let worker = LaneWorker(
            channel, pool: runtime.pool, settings: settings, tracer: runtime.tracer, log: runtime.log)
        engine = LaneEngine(worker, width: settings.width)
        consumer = try runtime.consumer(
            .notifications(Channel.name), WakeHandler(consumer: "dispatch.\(Channel.name)", engine: engine))
        runtime.readiness.set("channel", false)
        runtime.checks.addOutside { await channel.check() }
    }

    package func run() async throws {
        do {
            try await register()
        } catch is CancellationError {
            return
        }
        runtime.readiness.set("channel", true)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.consumer.run() }
            group.addTask { try await self.passes().run() }
            try await group.waitForAll()
        }
        await engine.drain()
    }

    /// The queues first: from the moment the row is there, fanout plans for this channel.
    private func register() async throws {
        let amqp = self.amqp
        try await retrying("declare the channel's queues", log: runtime.log) {
            let broker = try await AMQPConnection.open(amqp)
            do {
                try await broker.declare(TaskStream.notifications(Channel.name).topology)
            } catch {
                await broker.close()
                throw error
            }
            await broker.close()
        }
        let row = RegisteredChannel(channel)
        try await retrying("register the channel", log: runtime.log) { [pool = runtime.pool] in
            try await pool.run { try ChannelStore.register(row, in: $0) }
        }
    }

    private func passes() -> Periodic {
        let pass = LedgerPass(pool: runtime.pool, settings: settings, engine: engine)
        return Periodic("ledger pass \(Channel.name)", every: settings.passEvery, log: runtime.log) {
            try await pass.runOnce()
        }
    }
}

extension RegisteredChannel {
    /// The row that a channel writes of itself.
    package init<Channel: NotificationChannel>(_ channel: Channel) {
        self.init(
            name: Channel.name, defaultEvents: Set(Channel.defaultEvents.map(\.rawValue)),
            verboseEvents: Set(Channel.verboseEvents.map(\.rawValue)), targetSchema: Channel.targetSchema.json,
            defaultTarget: channel.defaultTarget)
    }
}

/// Finds what no message woke: retries and look-ups that are due, claims that ran out.
package struct LedgerPass<Channel: NotificationChannel>: Sendable {
    let pool: Pool
    let settings: DispatcherSettings
    let engine: LaneEngine<Channel>

    package init(pool: Pool, settings: DispatcherSettings, engine: LaneEngine<Channel>) {
        self.pool = pool
        self.settings = settings
        self.engine = engine
    }

    /// One look at the ledger. Lanes that are at work already look once more, which costs one statement.
    package func runOnce() async throws {
        let settle = settings.settle.inSeconds
        let lanes = try await pool.run { connection in
            try ChannelStore.touch(Channel.name, in: connection)
            _ = try EffectStore.expireClaims(Channel.name, settleSeconds: settle, in: connection)
            return try EffectStore.dueLanes(Channel.name, limit: 1_000, in: connection)
        }
        await engine.wake(lanes)
    }
}

/// Takes the channel's messages: each wakes its lane. The ledger knows what was sent, in what order, so the messages'
/// own order needs no keeping.
struct WakeHandler<Channel: NotificationChannel>: MessageHandler {
    let consumer: String
    let callsOutside = false
    let keepsPosition = false
    let engine: LaneEngine<Channel>

    func handle(_ message: Message, _ step: Step) async throws -> Outcome {
        guard let target = message.body["target"]?.string else { return .deadLetter(reason: "target is missing") }
        await engine.wake(EffectLane(task: message.taskID, target: target))
        return .done
    }
}
