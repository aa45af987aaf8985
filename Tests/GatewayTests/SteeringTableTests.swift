import Domain
import HTTPTypes
import Postgres
import Store
import TestSupport
import Testing

@testable import Gateway

/// What every command of a person does in every state of a task: one table, no pair left out.
@Suite struct SteeringTableTests {
    private enum Command: CaseIterable {
        case nudge, withdraw, ask, answer, approve, deny, cancel, retry
    }

    /// Status and code of the answer.
    private struct Outcome: Hashable, CustomStringConvertible {
        let status: Int
        var code = ""
        var description: String { code.isEmpty ? "\(status)" : "\(status) \(code)" }
    }

    private static let over = Outcome(status: 409, code: "TASK_ALREADY_TERMINAL")

    private static func expected(_ command: Command, _ status: TaskStatus) -> Outcome {
        if command == .retry {
            return status.isFinal ? Outcome(status: 201) : Outcome(status: 409, code: "TASK_NOT_OVER")
        }
        if status.isFinal { return over }
        // What is parked has no agent: what it waited for is void.
        switch command {
        case .answer where status == .parked: return Outcome(status: 409, code: "QUESTION_CLOSED")
        case .approve where status == .parked, .deny where status == .parked:
            return Outcome(status: 409, code: "REQUEST_VOID")
        case .nudge, .ask: return Outcome(status: 202)
        case .withdraw, .answer, .approve, .deny: return Outcome(status: 200)
        case .cancel:
            // What has not begun ends at once; an agent at work is asked to save its work first.
            let isAtOnce = [TaskStatus.submitted, .queued, .parked, .hydrating].contains(status)
            return Outcome(status: isAtOnce ? 200 : 202)
        case .retry: return over
        }
    }

    /// What waits of a task: ids that the commands name.
    private struct Waiting {
        let nudge: String
        let question: String
        let gate: String
    }

    @Test(arguments: TaskStatus.allCases)
    func `every command of a person has its answer in every state`(status: TaskStatus) async throws {
        try await World.with { world async throws in
            for command in Command.allCases {
                let id = try await world.submit()
                let waiting = try await wait(id, world)
                try await world.bring(id, to: status)
                let answer = try await send(command, id, waiting, world)
                #expect(
                    Outcome(status: answer.status, code: answer.status < 400 ? "" : answer.code ?? "")
                        == Self.expected(command, status), "\(command) in \(status): \(answer.message)")
            }
        }
    }

    @Test func `what is being cancelled hears nothing more`() async throws {
        try await World.with { world async throws in
            for command in Command.allCases where ![.withdraw, .cancel, .retry].contains(command) {
                let id = try await world.submit()
                let waiting = try await wait(id, world)
                try await world.bring(id, to: .running)
                #expect(try await world.call("DELETE", "/v1/tasks/\(id)").status == 202)
                let answer = try await send(command, id, waiting, world)
                #expect(answer.code == "TASK_CANCELLING", "\(command): \(answer.status)")
            }
        }
    }

    /// A nudge, a question and a gate, written as an agent would have left them.
    private func wait(_ id: TaskID, _ world: World) async throws -> Waiting {
        let nudge = try await world.call("POST", "/v1/tasks/\(id)/nudge", body: ["message": "first"])
        return try await world.pool.run { connection in
            let question = try connection.query(
                """
                INSERT INTO task_questions (task_id, attempt, client_id, question, expires_at)
                VALUES (\(id.rawValue), 1, 'q', 'yes?', clock_timestamp() + interval '1 hour') RETURNING question_id
                """
            ).only()
            let gate = try connection.query(
                """
                INSERT INTO task_approvals (task_id, attempt, client_id, request, created_at, expires_at)
                VALUES (\(id.rawValue), 1, 'g', '{"tool_name": "Bash", "scopes": ["this_call"]}', clock_timestamp(),
                    clock_timestamp() + interval '1 hour')
                RETURNING request_id
                """
            ).only()
            return Waiting(
                nudge: nudge.data["nudge_id"]?.string ?? "", question: try question.get("question_id", as: String.self),
                gate: try gate.get("request_id", as: String.self))
        }
    }

    private func send(
        _ command: Command, _ id: TaskID, _ waiting: Waiting, _ world: World
    ) async throws -> World.Answer {
        let task = "/v1/tasks/\(id)"
        return switch command {
        case .nudge: try await world.call("POST", task + "/nudge", body: ["message": "go on"])
        case .withdraw: try await world.call("DELETE", task + "/nudges/\(waiting.nudge)")
        case .ask: try await world.call("POST", task + "/asks", body: ["question": "how far?"])
        case .answer:
            try await world.call("POST", task + "/questions/\(waiting.question)", body: ["answer": "yes"])
        case .approve: try await world.call("POST", task + "/approvals/\(waiting.gate)/approve", body: [:])
        case .deny: try await world.call("POST", task + "/approvals/\(waiting.gate)/deny", body: [:])
        case .cancel: try await world.call("DELETE", task)
        case .retry: try await world.call("POST", task + "/retry")
        }
    }
}
