import Config
import Domain
import Notifications
import TestSupport
import Testing

@testable import DispatchGitHub

/// GitHub as the conformance suite sees it.
struct GitHubUnderTest: ChannelUnderTest {
    let github: Rehearsal
    let target = "acme/shop#7"
    let canLookUp = true

    func makeChannel() throws -> GitHubChannel {
        try Environment.read(
            { environment in
                GitHubChannel(
                    &environment, ServiceConfig(&environment, name: "dispatch-github", postgres: false, amqp: false))
            }, from: Environment(["BGAGENT_GITHUB_API_URL": github.url, "BGAGENT_GITHUB_TOKEN": "t0ken"]))
    }

    func comments(_ task: TaskID) async throws -> [JSONValue] {
        let repo = try await github.state()["repos"]?["acme/shop"]
        return (repo?["comments"]?.array ?? []).filter {
            $0["body"]?.string?.hasPrefix(GitHubComment.marker(of: task.rawValue)) ?? false
        }
    }

    func arrived(_ task: TaskID) async throws -> [String] {
        try await comments(task).compactMap { $0["id"]?.integer.map { "\($0)" } }
    }

    static let post: JSONValue = ["method": "POST", "path_regex": "/comments$"]

    func orderLateCommit() async throws { try await github.order("late_commit", match: Self.post) }
    func orderDrop() async throws { try await github.order("drop", match: Self.post) }
    func orderBusy(retryAfter: Int) async throws {
        try await github.order(
            "status", match: Self.post, status: 403, headers: ["Retry-After": .string("\(retryAfter)")])
    }
    func orderRefusal() async throws { try await github.order("status", match: Self.post, status: 403) }

    /// Runs `body` with a simulator that has the repository and its issue.
    static func with(_ body: (GitHubUnderTest) async throws -> Void) async throws {
        try await Rehearsal.with("github", ["--token", "t0ken"]) { github in
            try await github.seed([
                "repo": "acme/shop", "bundle_or_dir": .string("\(Rehearsal.samples)/pricing"),
                "issues": [["number": 7, "title": "Totals are wrong", "body": "", "comments": []]],
            ])
            try await body(GitHubUnderTest(github: github))
        }
    }
}

@Suite struct GitHubChannelTests {
    @Test(arguments: ChannelRule.allCases)
    func `github keeps the rules of channels`(_ rule: ChannelRule) async throws {
        try await GitHubUnderTest.with { try await rule.hold($0) }
    }

    @Test func `one comment is edited in place and shows the newest`() async throws {
        try await Self.with { bench, task in
            for (index, type) in [TaskEventType.prCreated, .taskCompleted].enumerated() {
                _ = try await bench.plan(type, of: task)
                try await bench.work(task, until: Array(repeating: "sent", count: index + 1))
            }
            let body = try #require(try await bench.subject.comments(task).first?["body"]?.string)
            #expect(body.hasPrefix("<!-- bgagent:task-id=\(task) -->\n"))
            #expect(body.contains("task\\_completed"))
        }
    }

    @Test func `a comment that somebody deleted is written anew`() async throws {
        try await Self.with { bench, task in
            _ = try await bench.plan(.prCreated, of: task)
            try await bench.work(task, until: ["sent"])
            try await bench.subject.github.order("status", match: ["method": "PATCH"], status: 404)
            _ = try await bench.plan(.taskCompleted, of: task)
            try await bench.work(task, until: ["sent", "sent"])
            #expect(try await bench.subject.comments(task).count == 2)
            let refs = try await bench.fixture.ledger(task).map(\.externalRef)
            #expect(Set(refs).count == 2)
        }
    }

    @Test func `an edit that was never answered is made again and harms nothing`() async throws {
        try await Self.with { bench, task in
            _ = try await bench.plan(.prCreated, of: task)
            try await bench.work(task, until: ["sent"])
            try await bench.subject.github.order("late_commit", match: ["method": "PATCH"])
            _ = try await bench.plan(.taskCompleted, of: task)
            try await bench.work(task, until: ["sent", "sent"])
            #expect(try await bench.subject.comments(task).count == 1)
        }
    }

    @Test func `somebody else's comment with our marker is left alone`() async throws {
        try await Self.with { bench, task in
            let marker = GitHubComment.marker(of: task.rawValue)
            try await bench.subject.github.seed([
                "repo": "acme/shop", "bundle_or_dir": .string("\(Rehearsal.samples)/pricing"),
                "issues": [
                    [
                        "number": 7, "title": "Totals are wrong", "body": "",
                        "comments": [["author": "mallory", "body": .string(marker)]],
                    ]
                ],
            ])
            try await bench.subject.orderDrop()
            _ = try await bench.plan(.taskFailed, of: task)
            try await bench.work(task, until: ["sent"])
            #expect(try await bench.subject.comments(task).count == 2)
        }
    }

    @Test func `a token that is rejected ends the notification with GitHub's reason`() async throws {
        try await Self.with { bench, task in
            try await bench.subject.github.order("status", match: GitHubUnderTest.post, status: 401)
            _ = try await bench.plan(.taskFailed, of: task)
            try await bench.work(task, until: ["dead"])
            #expect(try await bench.fixture.ledger(task).first?.lastError?.contains("Bad credentials") == true)
        }
    }

    @Test func `what people wrote can neither mention nor format nor leave its cell or its block`() {
        #expect(GitHubComment.cell("a|b\nc @ada <b>*") == "a\\|b c @\u{200B}ada &lt;b&gt;\\*")
        #expect(GitHubComment.fenced("x ```` y") == "`````text\nx ```` y\n`````")
    }

    @Test func `a comment is never longer than GitHub takes`() {
        var notification = TaskNotification(
            event: .init(id: "e", seq: 1, type: "task_failed", timestamp: "t"),
            task: .init(id: "01BX5ZZKBKACTAV9WEVGEMMVRZ", repo: String(repeating: "r", count: 90_000), status: "FAILED")
        )
        notification.task.pullRequest = 8
        let body = GitHubComment(notification).body
        #expect(body.unicodeScalars.count == GitHubComment.longest)
        #expect(body.hasPrefix("<!-- bgagent:task-id=01BX5ZZKBKACTAV9WEVGEMMVRZ -->\n"))
    }

    @Test func `a target is an issue or pull request of a repository`() {
        #expect(Place("acme/shop#7")?.number == 7)
        for text in ["acme/shop", "acme/shop#0", "acme/shop#x", "shop#7", "acme/shop#7#8", ""] {
            #expect(Place(text) == nil, "\(text)")
        }
    }

    private static func with(
        _ body: (ChannelBench<GitHubUnderTest>, TaskID) async throws -> Void
    ) async throws {
        try await GitHubUnderTest.with { subject in
            try await LedgerFixture.with { fixture in
                try await body(try ChannelBench(subject, fixture), try await fixture.submit())
            }
        }
    }
}
