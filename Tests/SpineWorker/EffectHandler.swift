import Domain
import Glibc
import Messaging
import Postgres

/// Writes one row per message, in the transaction of its position; `spine_effects` takes no row twice.
struct EffectHandler: MessageHandler {
    let consumer = "spine"
    let callsOutside = false
    let worker: String
    /// True takes milliseconds for a message, and fails now and then.
    var isSlow = false

    func handle(_ message: Message, _ step: Step) async throws -> Outcome {
        if message.type == "poison" { _exit(9) }
        for _ in 0..<Int.random(in: 0..<50) { await Task.yield() }
        if Int.random(in: 0..<200) == 0 { return .retry(after: .milliseconds(20), reason: "by chance") }
        if isSlow {
            let work = Duration.milliseconds(Int.random(in: 0..<40) == 0 ? 100 : 2)
            try await ContinuousClock().sleep(for: work)
            if Int.random(in: 0..<100) == 0 { throw ByChance() }
        }
        let worker = self.worker
        try await step.commit { tx in
            _ = try tx.query(
                """
                INSERT INTO spine_effects (task_id, seq, worker, queue)
                VALUES (\(message.taskID.rawValue), \(message.seq), \(worker), \(message.queue))
                """)
        }
        return .done
    }
}

/// What a handler throws that fails.
private struct ByChance: Error {}
