import Domain
import Glibc
import Messaging
import Postgres

/// Writes one row per message, in the transaction of its position; `spine_effects` takes no row twice.
struct EffectHandler: MessageHandler {
    let consumer = "spine"
    let callsOutside = false
    let worker: String

    func handle(_ message: Message, _ step: Step) async throws -> Outcome {
        if message.type == "poison" { _exit(9) }
        for _ in 0..<Int.random(in: 0..<50) { await Task.yield() }
        if Int.random(in: 0..<200) == 0 { return .retry(after: .milliseconds(20), reason: "by chance") }
        let worker = self.worker
        try await step.commit { tx in
            _ = try tx.query(
                """
                INSERT INTO spine_effects (task_id, seq, worker)
                VALUES (\(message.taskID.rawValue), \(message.seq), \(worker))
                """)
        }
        return .done
    }
}
