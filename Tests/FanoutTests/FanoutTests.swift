import Domain
import Notifications
import Store
import Testing

@testable import Fanout

/// A row of the table: what happens, what was asked for, who hears of it.
struct RouteCase: Sendable, CustomTestStringConvertible {
    var name: String
    var type: TaskEventType
    var metadata: JSONValue = [:]
    var task: JSONValue = [:]
    var repo: JSONValue = [:]
    var user: JSONValue = [:]
    var platform: JSONValue = [:]
    var origin = "api"
    var originMetadata: JSONValue = [:]
    var email: String? = "ada@example.org"
    var issue: Int? = 7
    var pullRequest: Int?
    var expected: [String]

    var testDescription: String { name }
    var heard: [String] {
        let event = TaskNotification.Event(id: "e", seq: 1, type: type.rawValue, timestamp: "t", metadata: metadata)
        let audience = Audience(
            levels: [task, repo, user, platform], origin: origin, originMetadata: originMetadata, userEmail: email,
            repo: "acme/shop", issue: issue, pullRequest: pullRequest)
        return route(event, to: RouteCase.channels, audience).map { "\($0.channel):\($0.target)" }
    }

    static let channels = [
        RegisteredChannel(
            name: "email", defaultEvents: ["task_completed", "task_failed", "approval_required"],
            targetSchema: TargetSchema(setting: "channel", sources: [.setting, .userEmail]).json,
            defaultTarget: "team@example.org"),
        RegisteredChannel(
            name: "github", defaultEvents: ["pr_created", "task_completed", "task_failed"],
            targetSchema: TargetSchema(setting: "channel", sources: [.subject]).json),
        RegisteredChannel(
            name: "slack", defaultEvents: ["pr_created", "task_completed", "task_failed"],
            verboseEvents: ["agent_milestone"], targetSchema: TargetSchema(setting: "channel").json,
            defaultTarget: "C0TEAM"),
    ]

    private static let progress: JSONValue = ["milestone": "progress"]

    static let table: [RouteCase] = [
        .init(
            name: "the defaults reach everybody", type: .taskCompleted,
            expected: ["email:ada@example.org", "github:acme/shop#7", "slack:C0TEAM"]),
        .init(
            name: "each channel has its own defaults", type: .prCreated,
            expected: ["github:acme/shop#7", "slack:C0TEAM"]),
        .init(name: "the agent's stream reaches nobody", type: .agentTurn, expected: []),
        .init(
            name: "not even by name, where no channel carries it", type: .agentToolCall,
            task: ["slack": ["events": ["agent_tool_call"]]], expected: []),
        .init(name: "what is no default and was not asked for reaches nobody", type: .sessionStarted, expected: []),
        .init(
            name: "an event by name", type: .sessionStarted, repo: ["slack": ["events": ["session_started"]]],
            expected: ["slack:C0TEAM"]),
        .init(
            name: "a list of names replaces the defaults", type: .taskCompleted,
            repo: ["slack": ["events": ["session_started"]]],
            expected: ["email:ada@example.org", "github:acme/shop#7"]),
        .init(
            name: "names beside the defaults", type: .taskCompleted,
            repo: ["slack": ["events": ["default", "session_started"]]],
            expected: ["email:ada@example.org", "github:acme/shop#7", "slack:C0TEAM"]),
        .init(name: "milestones are verbose", type: .agentMilestone, metadata: progress, expected: []),
        .init(
            name: "verbose holds the milestones of the list", type: .agentMilestone, metadata: progress,
            user: ["slack": ["events": ["verbose"]]], expected: ["slack:C0TEAM"]),
        .init(
            name: "verbose holds the defaults too", type: .prCreated, user: ["slack": ["events": ["verbose"]]],
            expected: ["github:acme/shop#7", "slack:C0TEAM"]),
        .init(
            name: "a milestone beside the list is no news", type: .agentMilestone,
            metadata: ["milestone": "repo_cloned"], user: ["slack": ["events": ["verbose"]]], expected: []),
        .init(
            name: "a fact with a type of its own is told once, not as a milestone again", type: .agentMilestone,
            metadata: ["milestone": "pr_created"], user: ["slack": ["events": ["verbose", "pr_created"]]],
            expected: []),
        .init(
            name: "the task stands over the repository", type: .taskCompleted,
            task: ["slack": ["channel": "C0TASK"]], repo: ["slack": ["channel": "C0REPO"]],
            expected: ["email:ada@example.org", "github:acme/shop#7", "slack:C0TASK"]),
        .init(
            name: "the repository over the user, the user over the platform, key by key", type: .sessionStarted,
            repo: ["slack": ["channel": "C0REPO"]], user: ["slack": ["channel": "C0USER"]],
            platform: ["slack": ["events": ["session_started"]]], expected: ["slack:C0REPO"]),
        .init(
            name: "levels merge per channel", type: .taskCompleted, task: ["slack": ["enabled": false]],
            user: ["email": ["channel": "ada@home.example"]],
            expected: ["email:ada@home.example", "github:acme/shop#7"]),
        .init(
            name: "switched off below and on above", type: .taskCompleted, task: ["slack": ["enabled": true]],
            platform: ["slack": ["enabled": false], "email": ["enabled": false], "github": ["enabled": false]],
            expected: ["slack:C0TEAM"]),
        .init(
            name: "several targets, each once", type: .prCreated,
            repo: ["slack": ["channel": ["C0ONE", "C0TWO", "C0ONE"]], "github": ["enabled": false]],
            expected: ["slack:C0ONE", "slack:C0TWO"]),
        .init(
            name: "a user without an address", type: .approvalRequired, email: nil,
            expected: ["email:team@example.org"]),
        .init(
            name: "GitHub before there is an issue or a pull request", type: .taskFailed,
            task: ["slack": ["enabled": false], "email": ["enabled": false]], issue: nil, expected: []),
        .init(
            name: "GitHub on the pull request where there is no issue", type: .prCreated,
            task: ["slack": ["enabled": false]], issue: nil, pullRequest: 8, expected: ["github:acme/shop#8"]),
        .init(
            name: "the origin hears where the task was started", type: .taskCompleted,
            repo: ["email": ["enabled": false], "github": ["enabled": false], "slack": ["channel": "C0REPO"]],
            origin: "slack", originMetadata: ["channel": "C0HERE"], expected: ["slack:C0HERE"]),
        .init(
            name: "the task's own word stands over its origin", type: .taskCompleted,
            task: ["slack": ["channel": "C0TASK"], "email": ["enabled": false], "github": ["enabled": false]],
            origin: "slack", originMetadata: ["channel": "C0HERE"], expected: ["slack:C0TASK"]),
        .init(
            name: "the origin hears of the end whatever was asked for", type: .taskFailed,
            repo: ["slack": ["events": ["pr_created"]], "email": ["enabled": false], "github": ["enabled": false]],
            origin: "slack", expected: ["slack:C0TEAM"]),
        .init(
            name: "and of what waits for a person", type: .questionAsked, origin: "slack", expected: ["slack:C0TEAM"]),
        .init(
            name: "unless it was switched off", type: .taskFailed, task: ["slack": ["enabled": false]],
            repo: ["email": ["enabled": false], "github": ["enabled": false]], origin: "slack", expected: []),
        .init(
            name: "preferences of the wrong shape count as not said", type: .prCreated,
            task: ["slack": ["enabled": "no", "events": 7, "channel": true], "github": "off"],
            expected: ["github:acme/shop#7", "slack:C0TEAM"]),
    ]
}

@Suite struct RouteTests {
    @Test(arguments: RouteCase.table)
    func `who hears of what`(_ row: RouteCase) {
        #expect(row.heard == row.expected)
    }

    @Test func `nobody hears where no channel is registered`() {
        let event = TaskNotification.Event(id: "e", seq: 1, type: "task_failed", timestamp: "t")
        #expect(!Relevance.mayConcernAnybody(event, []))
    }

    @Test func `a channel that carries everything hears the agent's stream`() {
        let everything = RegisteredChannel(
            name: "webhook", defaultEvents: Set(TaskEventType.allCases.map(\.rawValue)), defaultTarget: "all")
        let event = TaskNotification.Event(id: "e", seq: 1, type: "agent_turn", timestamp: "t")
        let audience = Audience(levels: [], origin: "api", originMetadata: [:], repo: "acme/shop")
        #expect(route(event, to: [everything], audience) == [Route(channel: "webhook", target: "all")])
    }
}
