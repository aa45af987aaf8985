import Config
import Domain
import Notifications
import TestSupport
import Testing

@testable import DispatchEmail

@Suite struct MailServerCheckTests {
    @Test func `a mail server is greeted and gets no mail`() async throws {
        try await Rehearsal.with("smtp") { smtp in
            let channel = try EmailUnderTest(smtp: smtp).makeChannel()
            #expect(await channel.check().allSatisfy { $0.ok })
            #expect(try await smtp.state()["mails"]?.array?.isEmpty == true)
        }
    }

    @Test func `a mail server that is away is told with what to compare`() async throws {
        let channel = try Environment.read(
            { environment in
                EmailChannel(
                    &environment, ServiceConfig(&environment, name: "dispatch-email", postgres: false, amqp: false))
            }, from: Environment(["BGAGENT_SMTP_URL": "smtp://127.0.0.1:1"]))
        let away = await channel.check()
        #expect(away.map(\.ok) == [false])
        #expect(away.first?.remedy?.contains("BGAGENT_SMTP_URL") == true)
    }
}
