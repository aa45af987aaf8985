import Domain
import Postgres
import Store
import Testing

@testable import Gateway

@Suite struct CancelTests {
    @Test(arguments: [TaskStatus.submitted, .queued, .parked, .hydrating])
    func `a task without an agent is over at once`(status: TaskStatus) async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            try await world.bring(id, to: status)
            let before = try await world.commands(id)
            let answer = try await world.call("DELETE", "/v1/tasks/\(id)")
            #expect(answer.status == 200)
            #expect(answer.data["status"] == "CANCELLED")
            #expect(answer.data["cancelled_at"]?.string != nil)
            #expect(try await world.timeline(id).suffix(2) == ["cancel_requested", "task_cancelled"])
            let sent = try await world.commands(id).dropFirst(before.count)
            #expect(sent == (status.holdsSlot ? ["slot_free"] : []))
            let again = try await world.call("DELETE", "/v1/tasks/\(id)")
            #expect(again.status == 409)
            #expect(again.code == "TASK_ALREADY_TERMINAL")
            #expect(try await world.count("SELECT coalesce(sum(running), 0) FROM user_concurrency") == 0)
            #expect(try await world.count("SELECT count(*) FROM task_events WHERE event_type = 'task_cancelled'") == 1)
        }
    }

    @Test(arguments: [TaskStatus.running, .awaitingApproval, .finalizing])
    func `an agent at work is told once and gets its grace`(status: TaskStatus) async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            try await world.bring(id, to: status)
            for _ in 0..<2 {
                let answer = try await world.call("DELETE", "/v1/tasks/\(id)")
                #expect(answer.status == 202)
                #expect(answer.data["status"]?.string == status.rawValue)
                #expect(answer.data["cancel_requested_at"]?.string != nil)
            }
            #expect(try await world.timeline(id).filter { $0 == "cancel_requested" }.count == 1)
            #expect(try await world.commands(id).filter { $0 == "cancel_requested" }.count == 1)
            let inbox = try await world.pool.run { try InboxStore.open(id, attempt: 1, in: $0) }
            #expect(inbox.map(\.kind) == ["cancel"])
            let due = try await world.count(
                """
                SELECT extract(epoch FROM due_at - clock_timestamp())::int FROM timers
                WHERE task_id = \(id.rawValue) AND kind = 'cancel_grace'
                """)
            #expect((20...30).contains(due))
            let waiting = try await world.get("/v1/tasks/\(id)/status").data["waiting_for"]
            #expect(waiting?["kind"] == "cancel")
        }
    }

    @Test(arguments: [TaskStatus.completed, .failed, .cancelled, .timedOut])
    func `what has ended cannot be cancelled`(status: TaskStatus) async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            try await world.bring(id, to: status)
            let before = try await world.timeline(id)
            let answer = try await world.call("DELETE", "/v1/tasks/\(id)")
            #expect(answer.status == 409)
            #expect(answer.code == "TASK_ALREADY_TERMINAL")
            #expect(answer.message.contains(status.rawValue))
            #expect(try await world.timeline(id) == before)
        }
    }

    @Test func `of many cancels at once one ends the task`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<8 {
                    group.addTask { try await world.call("DELETE", "/v1/tasks/\(id)").status }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.filter { $0 == 200 }.count == 1)
            #expect(statuses.filter { $0 == 409 }.count == 7)
            #expect(try await world.timeline(id) == ["task_created", "cancel_requested", "task_cancelled"])
        }
    }

    @Test func `a cancel that crosses an approval has one outcome, whoever comes first`() async throws {
        try await World.with { world async throws in
            for number in 0..<12 {
                let id = try await world.submit()
                try await world.bring(id, to: .running)
                let gate = try await world.pool.transaction { tx in
                    try ApprovalStore.open(
                        ["tool_name": "Bash", "scopes": ["this_call"]], clientID: "\(number)", seconds: 300,
                        of: try #require(try TaskStore.lock(id, in: tx)), in: tx)
                }
                let path = "/v1/tasks/\(id)/approvals/\(try #require(gate).id)"
                async let approving = world.call("POST", path, body: ["decision": "approve"])
                async let cancelling = world.call("DELETE", "/v1/tasks/\(id)")
                let (approved, cancelled) = (try await approving, try await cancelling)
                #expect(cancelled.status == 202)
                #expect(approved.status == 200 || approved.code == "TASK_CANCELLING", "\(approved.status)")
                let timeline = try await world.timeline(id)
                let decided = timeline.firstIndex(of: "approval_decided")
                #expect((decided != nil) == (approved.status == 200))
                #expect(timeline.filter { $0 == "cancel_requested" }.count == 1)
                if let decided, let cancel = timeline.firstIndex(of: "cancel_requested") { #expect(decided < cancel) }
            }
        }
    }

    @Test func `a lost attempt of a task that is being cancelled is its end, once`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            try await world.bring(id, to: .running)
            #expect(try await world.call("DELETE", "/v1/tasks/\(id)").status == 202)
            let failure = TaskFailure(
                code: "lease_lost", category: .compute, title: "", description: "", remedy: "", retryable: true)
            let lost = try await world.pool.transaction { tx in
                try TaskStore.loseAttempt(try #require(try TaskStore.lock(id, in: tx)), failure, in: tx)
            }
            #expect(lost.status == .cancelled)
            #expect(lost.attempt == 1)
            let timeline = try await world.timeline(id)
            #expect(timeline.suffix(3) == ["cancel_requested", "attempt_lost", "task_cancelled"])
            #expect(try await world.call("DELETE", "/v1/tasks/\(id)").code == "TASK_ALREADY_TERMINAL")
        }
    }

    @Test func `a cancel is in the audit log once`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            try await world.bring(id, to: .running)
            for _ in 0..<2 { _ = try await world.call("DELETE", "/v1/tasks/\(id)") }
            let told = try await world.count(
                "SELECT count(*) FROM audit_log WHERE action = 'task.cancel' AND subject = \(id.rawValue)")
            #expect(told == 1)
        }
    }
}
