import Domain
import Messaging
import Postgres
import Store
import Telemetry

/// The orchestrator's side of `task.commands`: reads the task, decides, and performs what was decided.
///
/// Every effect on the task commits together with the command's position, by compare-and-set on the task's version; a
/// crash before that leaves the command to be handled again.
struct CommandHandler: MessageHandler {
    let consumer = "orchestrator"
    let callsOutside = true
    let pool: Pool
    let admission: Admission
    let preparation: Preparation
    let finalization: Finalization
    let settings: OrchestratorSettings
    let log: Logger

    func handle(_ message: Message, _ step: Step) async throws -> Outcome {
        guard let command = TaskCommand(rawValue: message.type) else {
            return .deadLetter(reason: "unknown command \(message.type)")
        }
        let id = message.taskID
        guard let task = try await pool.run({ try TaskStore.load(id, in: $0) }) else { return .done }
        let payload = message.body["payload"] ?? [:]
        let timer = payload["kind"]?.string.flatMap(TimerKind.init(rawValue:))
        let action = Decision.decide(
            command, status: task.status, attempt: message.attempt, current: task.attempt, timer: timer,
            cancelRequested: task.cancelRequested,
            outcome: payload["outcome"]?.string.flatMap(TaskOutcome.init(rawValue:)))
        log.debug("decided", ["command": command.rawValue, "action": "\(action)"])
        do {
            return try await perform(action, task, payload, step)
        } catch StoreError.conflict {
            // Somebody moved the task between the read and the commit: look again at once.
            return .snooze(for: .milliseconds(10), reason: "the task was moved meanwhile")
        } catch StoreError.forbidden {
            return .snooze(for: .milliseconds(10), reason: "the task was moved meanwhile")
        }
    }

    private func perform(
        _ action: OrchestratorAction, _ task: TaskRecord, _ payload: JSONValue, _ step: Step
    ) async throws -> Outcome {
        let settings = self.settings
        switch action {
        case .ignore:
            return .done
        case .wakeAdmission:
            try await step.commit { _ in }
            await admission.wake()
            return .done
        case .prepare:
            return try await preparation.prepare(task, step)
        case .finalize:
            return try await finalization.finalize(task, step)
        case .run:
            try await step.commit { tx in
                let session = try SessionStore.load(task.id, attempt: task.attempt, in: tx)
                try TaskStore.move(
                    task, on: .sessionStarted, event: .sessionStarted,
                    metadata: [
                        "session_id": .string("bgagent-\(task.id)-\(task.attempt)"), "attempt": JSONValue(task.attempt),
                        "node": JSONValue(session?.node), "backend": JSONValue(session?.backend),
                    ], in: tx)
                try TimerStore.set(
                    .duration, of: task.id, attempt: task.attempt, inSeconds: Double(task.remainingSeconds), in: tx)
            }
            return .done
        case .accept:
            try await step.commit { tx in
                try TaskStore.move(
                    task, on: .resultReceived, event: .agentMilestone,
                    metadata: ["milestone": "step:finalize:start", "outcome": payload["outcome"] ?? .null], in: tx)
                try TaskLog.send(.finalize, to: task.id, attempt: task.attempt, in: tx)
            }
            return .done
        case .park:
            let (question, limit) = (payload["parked_on"]?["id"]?.string, settings.parkedSeconds)
            try await step.commit { tx in
                try ParkingStore.park(task, onQuestion: question, limitSeconds: limit, in: tx)
            }
            return .done
        case .giveUpParked:
            try await step.commit { tx in
                _ = try TaskStore.move(task, on: .failed, .failure(OrchestratorFailures.unanswered), in: tx)
            }
            return .done
        case .loseAttempt:
            let failure = payload.failure ?? OrchestratorFailures.sessionLost(payload["reason"]?.string)
            try await step.commit { tx -> Void in
                // What another attempt would run into as well is told at once.
                if failure.retryable || task.cancelRequested {
                    _ = try TaskStore.loseAttempt(task, failure, in: tx)
                } else {
                    _ = try TaskStore.move(task, on: .failed, .failure(failure), in: tx)
                }
            }
            await admission.wake()
            return .done
        case .announceTimeUp:
            try await step.commit { tx in
                try InboxStore.put("time_up", for: task.id, ["reason": "duration"], in: tx)
                try TimerStore.set(
                    .durationGrace, of: task.id, attempt: task.attempt, inSeconds: Double(settings.graceSeconds), in: tx
                )
            }
            return .done
        case .endTimedOut:
            try await step.commit { tx in _ = try TaskStore.move(task, on: .timedOut, in: tx) }
            return .done
        case .endCancelled:
            try await step.commit { tx in _ = try TaskStore.move(task, on: .cancelled, in: tx) }
            return .done
        }
    }
}

extension JSONValue {
    /// The structured error of a result; nil when there is none or it is not whole.
    var failure: TaskFailure? {
        guard let error = self["error"], !error.isNull else { return nil }
        return try? JSONText.decode(TaskFailure.self, error.text)
    }
}
