import Domain
import Notifications
import TestSupport
import Testing

@testable import DispatchSlack

@Suite struct SlackCheckTests {
    @Test func `a token that Slack takes is told from one that it refuses and from a Slack that is away`() async throws
    {
        try await Rehearsal.with("slack", ["--token", "t0ken"]) { slack in
            let channel = try SlackUnderTest(slack: slack).makeChannel()
            #expect(await channel.check().allSatisfy { $0.ok })
            try await slack.order("status", match: ["path_regex": "auth.test"], status: 503)
            #expect(await channel.check().first?.remedy?.contains("BGAGENT_SLACK_API_URL") == true)
        }
        try await Rehearsal.with("slack", ["--token", "another"]) { slack in
            let channel = try SlackUnderTest(slack: slack).makeChannel()
            let refused = await channel.check()
            #expect(refused.first?.remedy?.contains("BGAGENT_SLACK_TOKEN") == true)
        }
    }
}
