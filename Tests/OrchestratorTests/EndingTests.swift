import Domain
import Forge
import Testing

@testable import Orchestrator

@Suite struct EndingTests {
    private struct Case: Sendable {
        let outcome: String
        let commit: Bool
        let trigger: TaskTrigger
        let code: String?
        let opens: Bool
        let draft: Bool
    }

    private static let cases = [
        Case(outcome: "completed", commit: true, trigger: .completed, code: nil, opens: true, draft: false),
        Case(outcome: "completed", commit: false, trigger: .completed, code: nil, opens: false, draft: false),
        Case(outcome: "no_change", commit: false, trigger: .completed, code: nil, opens: false, draft: false),
        Case(
            outcome: "verification_failed", commit: true, trigger: .failed, code: "verification_failed", opens: true,
            draft: true),
        Case(outcome: "max_turns", commit: true, trigger: .failed, code: "max_turns", opens: false, draft: false),
        Case(
            outcome: "budget_exhausted", commit: true, trigger: .failed, code: "budget_exhausted", opens: false,
            draft: false),
        Case(outcome: "timed_out", commit: true, trigger: .timedOut, code: nil, opens: false, draft: false),
        Case(outcome: "cancelled", commit: true, trigger: .failed, code: "agent_stopped", opens: false, draft: false),
        Case(outcome: "failed", commit: false, trigger: .failed, code: "agent_stopped", opens: false, draft: false),
        Case(
            outcome: "nonsense", commit: true, trigger: .failed, code: "result_not_understood", opens: false,
            draft: false),
    ]

    @Test func `every outcome of the agent has its end`() throws {
        for item in Self.cases {
            let ending = Ending.of(Self.result(item), task: try Samples.task(), isIntended: false)
            #expect(ending.trigger == item.trigger, "\(item.outcome)")
            #expect(ending.failure?.code == item.code, "\(item.outcome)")
            #expect(ending.opensPullRequest == item.opens, "\(item.outcome)")
            #expect(ending.isDraft == (item.opens && item.draft), "\(item.outcome)")
        }
    }

    @Test func `a cancel in time wins over every outcome and opens nothing`() throws {
        for item in Self.cases {
            let task = try Samples.task(cancelRequested: true)
            let ending = Ending.of(Self.result(item), task: task, isIntended: false)
            #expect(ending.trigger == .cancelled)
            #expect(!ending.opensPullRequest)
            // The database refuses a cancel behind the intent of the pull request.
            #expect(Ending.of(Self.result(item), task: task, isIntended: true).trigger == item.trigger)
        }
    }

    @Test func `a cancel after the pull request's intent comes too late`() throws {
        let ending = Ending.of(
            ["outcome": "completed", "commit": "abc"], task: try Samples.task(cancelRequested: true), isIntended: true)
        #expect(ending.trigger == .completed)
        #expect(ending.opensPullRequest)
    }

    @Test func `work that an earlier attempt pushed becomes a draft pull request`() throws {
        let ending = Ending.of(["outcome": "no_change"], task: try Samples.task(), isIntended: false).withEarlierWork()
        #expect(ending.trigger == .completed)
        #expect(ending.opensPullRequest && ending.isDraft)
        let failed = Ending.of(["outcome": "max_turns"], task: try Samples.task(), isIntended: false)
        #expect(!failed.withEarlierWork().opensPullRequest)
    }

    @Test func `a structured error of the agent is kept as it is`() throws {
        let failure = TaskFailure(
            code: "clone_failed", category: .network, title: "t", description: "d", remedy: "r", retryable: true)
        let error = try JSONText.decode(JSONValue.self, JSONText.encode(failure))
        let ending = Ending.of(["outcome": "failed", "error": error], task: try Samples.task(), isIntended: false)
        #expect(ending.failure == failure)
    }

    private static func result(_ item: Case) -> JSONValue {
        ["outcome": .string(item.outcome), "commit": item.commit ? "abc" : nil]
    }
}

@Suite struct PullRequestTextTests {
    @Test func `the pull request resolves its issue and shows the verification`() throws {
        let text = PullRequestText.make(
            try Samples.task(issue: 7),
            result: [
                "summary": "Rounded half up.",
                "verification": ["command": "make test | tee log", "passed": true, "attempts": 2],
            ], issueTitle: "Totals are wrong", isDraft: false, cost: USD(micros: 1_234_567), turns: 9)
        #expect(text.title == "Totals are wrong")
        #expect(text.body.contains("Resolves #7"))
        #expect(text.body.contains("| `make test \\| tee log` | pass | 2 |"))
        #expect(text.body.contains("$1.23"))
        #expect(!text.isDraft)
    }

    @Test func `a long description is cut to a title of one line`() throws {
        let text = PullRequestText.make(
            try Samples.task(description: String(repeating: "long ", count: 40) + "\nsecond line"), result: [:],
            issueTitle: nil, isDraft: true, cost: .zero, turns: 1)
        #expect(text.title.count <= 72)
        #expect(!text.title.contains("\n"))
        #expect(text.body.contains("Draft"))
        #expect(text.body.contains("No tests were found to run."))
    }
}
