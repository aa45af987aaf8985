import Domain
import Notifications
import TestSupport
import Testing

@testable import DispatchEmail

@Suite struct MailServerCheckTests {
    @Test func `a mail server is greeted and gets no mail`() async throws {
        try await Rehearsal.with("smtp") { smtp in
            let channel = try EmailUnderTest(smtp: smtp).makeChannel()
            #expect(await channel.check().allSatisfy(\.ok))
            #expect(try await smtp.state()["mails"]?.array?.isEmpty == true)
            try await smtp.order("status", match: ["method": "EHLO"], times: 10, status: 554)
            try await smtp.order("status", match: ["method": "HELO"], times: 10, status: 554)
            let refused = await channel.check()
            #expect(refused.first?.ok == false)
            #expect(refused.first?.remedy?.contains("BGAGENT_SMTP_URL") == true)
        }
    }
}
