import Config
import Domain
import Notifications
import TestSupport
import Testing

@testable import DispatchSlack

/// Slack as the conformance suite sees it.
struct SlackUnderTest: ChannelUnderTest {
    let slack: Rehearsal
    var target = "C0BGAGENT"
    let canLookUp = true

    func makeChannel() throws -> SlackChannel {
        try Environment.read(
            { environment in
                SlackChannel(
                    &environment, ServiceConfig(&environment, name: "dispatch-slack", postgres: false, amqp: false))
            }, from: Environment(["BGAGENT_SLACK_API_URL": slack.url, "BGAGENT_SLACK_TOKEN": "t0ken"]))
    }

    func messages(_ task: TaskID) async throws -> [JSONValue] {
        (try await slack.state()["messages"]?.array ?? []).filter {
            $0["metadata"]?["event_payload"]?["task_id"]?.string == task.rawValue
        }
    }

    func arrived(_ task: TaskID) async throws -> [String] {
        try await messages(task).compactMap { $0["metadata"]?["event_payload"]?["effect_id"]?.string }
    }

    private static let post: JSONValue = ["path_regex": "chat.postMessage"]

    func orderLateCommit() async throws { try await slack.order("late_commit", match: Self.post) }
    func orderDrop() async throws { try await slack.order("drop", match: Self.post) }
    func orderBusy(retryAfter: Int) async throws {
        try await slack.order(
            "status", match: Self.post, status: 429, headers: ["Retry-After": .string("\(retryAfter)")])
    }
    func orderRefusal() async throws {
        try await slack.order(
            "status", match: Self.post, status: 200, body: ["ok": false, "error": "is_archived"])
    }
}

@Suite struct SlackChannelTests {
    @Test(arguments: ChannelRule.allCases)
    func `slack keeps the rules of channels`(_ rule: ChannelRule) async throws {
        try await Rehearsal.with("slack", ["--token", "t0ken"]) { try await rule.hold(SlackUnderTest(slack: $0)) }
    }

    @Test func `the first message is the task's root and what follows is in its thread`() async throws {
        try await Self.with { bench, fixture in
            let task = try await fixture.submit()
            for (index, type) in [TaskEventType.prCreated, .agentError, .taskCompleted].enumerated() {
                _ = try await bench.plan(type, of: task)
                try await bench.work(task, until: Array(repeating: "sent", count: index + 1))
            }
            let messages = try await bench.subject.messages(task)
            let root = try #require(messages.first?["ts"]?.string)
            #expect(messages.map { $0["thread_ts"]?.string } == [nil, root, root])
        }
    }

    @Test func `a task whose root was deleted gets another`() async throws {
        try await Self.with { bench, fixture in
            let task = try await fixture.submit()
            _ = try await bench.plan(.prCreated, of: task)
            try await bench.work(task, until: ["sent"])
            try await bench.subject.slack.order(
                "status", match: ["path_regex": "chat.postMessage", "body_regex": "thread_ts"], status: 200,
                body: ["ok": false, "error": "thread_not_found"])
            _ = try await bench.plan(.agentError, of: task)
            _ = try await bench.plan(.taskFailed, of: task)
            try await bench.work(task, until: ["sent", "sent", "sent"])
            let messages = try await bench.subject.messages(task)
            let second = try #require(messages.dropFirst().first?["ts"]?.string)
            #expect(messages.map { $0["thread_ts"]?.string } == [nil, nil, second])
        }
    }

    @Test func `a root that was posted and never answered is found by a channel's name too`() async throws {
        try await Self.with(target: "#bgagent") { bench, fixture in
            try await bench.subject.orderLateCommit()
            let task = try await fixture.submit()
            _ = try await bench.plan(.prCreated, of: task)
            try await bench.work(task, until: ["sent"])
            _ = try await bench.plan(.taskCompleted, of: task)
            try await bench.work(task, until: ["sent", "sent"])
            #expect(try await bench.subject.messages(task).filter { $0["thread_ts"] == nil }.count == 1)
        }
    }

    @Test func `a channel and a token that are wrong are refused with Slack's word for it`() async throws {
        try await Self.with(target: "C0NOTHERE") { bench, fixture in
            let task = try await fixture.submit()
            _ = try await bench.plan(.taskFailed, of: task)
            try await bench.work(task, until: ["dead"])
            #expect(try await fixture.ledger(task).first?.lastError?.contains("channel_not_found") == true)
        }
        #expect(SlackAPI.kind(of: "invalid_auth") == .refused)
    }

    @Test func `what people wrote cannot mention, link or format`() {
        var notification = Self.sample
        notification.task.title = "<!channel> & <https://evil|here>"
        let text = SlackMessage(notification).root
        #expect(text.contains("&lt;!channel&gt; &amp; &lt;https://evil|here&gt;"))
        #expect(!text.contains("<!"))
    }

    @Test func `a message is never longer than Slack takes, and no entity is cut`() {
        var notification = Self.sample
        notification.task.repo = String(repeating: "&", count: 30_000)
        let text = SlackMessage(notification).root
        #expect(text.unicodeScalars.count <= SlackMessage.longest)
        #expect(text.hasSuffix("&amp;…"))
    }

    @Test func `a failure says what happened, what to do and where to look`() {
        let text = SlackMessage(Self.sample).root
        #expect(
            text == """
                *acme/shop* · fix the failing test
                *Failed: Tests are red*
                > 2 of 3 fail
                What to do: Look at the output
                <https://github.com/acme/shop/pull/8|Pull request #8>
                Cost $0.42 · Duration 3 min 12 s · Turns 7
                `bgagent status 01BX5ZZKBKACTAV9WEVGEMMVRZ`
                """)
    }

    static var sample: TaskNotification {
        var notification = TaskNotification(
            event: .init(
                id: "01BX5ZZKBKACTAV9WEVGEMMVS0", seq: 9, type: "task_failed", timestamp: "2025-01-31T12:00:00Z",
                metadata: [
                    "error": [
                        "title": "Tests are red", "description": "2 of 3 fail", "remedy": "Look at the output",
                    ]
                ]),
            task: .init(
                id: "01BX5ZZKBKACTAV9WEVGEMMVRZ", repo: "acme/shop", status: "FAILED", issue: 7,
                title: "fix the failing test", costMicros: 420_000, turns: 7))
        notification.task.pullRequest = 8
        notification.task.pullRequestURL = "https://github.com/acme/shop/pull/8"
        notification.task.durationSeconds = 192
        return notification
    }

    private static func with(
        target: String = "C0BGAGENT",
        _ body: (ChannelBench<SlackUnderTest>, LedgerFixture) async throws -> Void
    ) async throws {
        try await Rehearsal.with("slack") { slack in
            try await LedgerFixture.with { fixture in
                try await body(try ChannelBench(SlackUnderTest(slack: slack, target: target), fixture), fixture)
            }
        }
    }
}
