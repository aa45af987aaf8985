import Domain
import Lifecycle
import Notifications
import Testing

@Suite struct RateGateTests {
    @Test func `a burst, then the pace, and nothing saved up beyond the burst`() {
        let gate = RateGate(Pace(perSecond: 2, burst: 3))
        let start = MonotonicTime(nanoseconds: 0)
        #expect((0..<4).map { _ in gate.take("a", now: start) } == [true, true, true, false])
        #expect(gate.take("b", now: start))
        #expect(!gate.take("a", now: start + .milliseconds(400)))
        #expect(gate.take("a", now: start + .milliseconds(500)))
        let later = start + .seconds(3600)
        #expect((0..<4).map { _ in gate.take("a", now: later) } == [true, true, true, false])
    }

    @Test func `what the other side asked to wait is waited, and what was not used is given back`() {
        let gate = RateGate(Pace(perSecond: 1, burst: 1))
        let start = MonotonicTime(nanoseconds: 0)
        gate.hold("a", for: .seconds(5), now: start)
        #expect(!gate.take("a", now: start + .seconds(4)))
        #expect(gate.take("a", now: start + .seconds(5)))
        gate.giveBack("a")
        #expect(gate.take("a", now: start + .seconds(5)))
    }
}

@Suite struct NotificationTextTests {
    @Test(
        arguments: [
            ("task_completed", ["outcome": "pull_request"], "Finished: the pull request is ready"),
            ("task_completed", ["outcome": "no_change"], "Finished without a change"),
            ("task_failed", ["error": ["title": "Tests are red"]], "Failed: Tests are red"),
            ("task_failed", [:], "Failed"), ("task_cancelled", [:], "Cancelled"),
            ("pr_created", ["draft": true], "Draft pull request opened"), ("pr_created", [:], "Pull request opened"),
            ("attempt_lost", [:], "Attempt lost"), ("of_tomorrow", [:], "Of tomorrow"),
        ] as [(String, JSONValue, String)])
    func `what happened is said in a few words`(_ type: String, _ metadata: JSONValue, _ title: String) {
        #expect(NotificationText(Self.notification(type, metadata)).title == title)
    }

    @Test func `a remedy belongs to a failure`() {
        let error: JSONValue = ["error": ["title": "x", "description": "why", "remedy": "do this"]]
        #expect(NotificationText(Self.notification("task_failed", error)).remedy == "do this")
        #expect(NotificationText(Self.notification("task_failed", error)).detail == "why")
        #expect(NotificationText(Self.notification("task_completed", error)).remedy == nil)
    }

    @Test func `what an agent answers is in what is told of it`() {
        let text = NotificationText(Self.notification("status_response", ["content": "Half way.", "turn": 3]))
        #expect(text.detail == "Half way.")
    }

    @Test func `every text says how to look`() {
        for type in TaskEventType.allCases {
            let text = NotificationText(Self.notification(type.rawValue, [:]))
            #expect(text.command == "bgagent status 01BX5ZZKBKACTAV9WEVGEMMVRZ")
            #expect(!text.title.isEmpty)
        }
    }

    @Test func `a long detail is cut`() {
        let text = NotificationText(
            Self.notification("question_asked", ["question": .string(String(repeating: "x", count: 5_000))]))
        #expect(text.detail?.count == 2_000)
    }

    @Test(arguments: [(0, "0 s"), (59, "59 s"), (192, "3 min 12 s"), (7_500, "2 h 5 min"), (-5, "0 s")])
    func `a duration as people read it`(_ seconds: Int, _ text: String) {
        #expect(Amounts.time(seconds: seconds) == text)
    }

    @Test(arguments: [(0, "$0.00"), (4_999, "< $0.01"), (5_000, "$0.01"), (421_300, "$0.42"), (12_345_678, "$12.35")])
    func `money as people read it`(_ micros: Int64, _ text: String) {
        #expect(Amounts.money(USD(micros: micros)) == text)
    }

    private static func notification(_ type: String, _ metadata: JSONValue) -> TaskNotification {
        TaskNotification(
            event: .init(id: "e", seq: 1, type: type, timestamp: "t", metadata: metadata),
            task: .init(id: "01BX5ZZKBKACTAV9WEVGEMMVRZ", repo: "acme/shop", status: "RUNNING"))
    }
}

@Suite struct TaskNotificationTests {
    @Test func `the same event, channel and target have the same id, and others another`() throws {
        let ids = try [("e", "c", "t"), ("e", "c", "u"), ("e", "d", "t"), ("f", "c", "t")].map {
            try TaskNotification.id(event: $0.0, channel: $0.1, target: $0.2)
        }
        #expect(Set(ids).count == 4)
        #expect(try TaskNotification.id(event: "e", channel: "c", target: "t") == ids[0])
        #expect(ids[0].utf8.count == 64)
    }

    @Test func `a payload reads back as it was written`() throws {
        var notification = TaskNotification(
            event: .init(id: "e", seq: 3, type: "pr_created", timestamp: "t", metadata: ["draft": true]),
            task: .init(id: "01BX5ZZKBKACTAV9WEVGEMMVRZ", repo: "acme/shop", status: "RUNNING", issue: 7))
        notification.task.pullRequest = 8
        notification.task.durationSeconds = 3
        let text = try JSONText.encode(notification)
        #expect(try JSONText.decode(TaskNotification.self, text) == notification)
        #expect(text.contains("\"pr_number\":8"))
    }

    @Test func `a target schema reads back, and an unknown one is a plain preference`() {
        let schema = TargetSchema(setting: "channel", sources: [.setting, .userEmail], purpose: "x")
        #expect(TargetSchema(schema.json) == schema)
        #expect(TargetSchema([:]).sources == [.setting])
        #expect(TargetSchema(["sources": ["moon"]]).sources == [.setting])
    }
}
