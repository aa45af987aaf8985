import Config
import Domain
import HTTPClient
import Lifecycle
import Notifications

/// E-mail over SMTP: one mail per notification, all mails of a task in one thread.
///
/// Mail cannot be looked up. A send without an answer is repeated with the same Message-ID, so a mail may arrive twice
/// and mail programs that know about it show it once.
struct EmailChannel: NotificationChannel {
    static let name = "email"
    static let defaultEvents: Set<TaskEventType> = [
        .taskCompleted, .taskFailed, .taskTimedOut, .taskStranded, .approvalRequired, .questionAsked, .budgetExhausted,
    ]
    static let targetSchema = TargetSchema(
        setting: "channel", sources: [.setting, .userEmail],
        purpose: "an e-mail address; the user's own where none is named"
    )

    let defaultTarget: String?
    private let from: String
    private let smtp: SMTPConfig
    private let threads: IOThreads

    init(_ environment: inout Environment, _ service: ServiceConfig) {
        let url = environment.url(
            "BGAGENT_SMTP_URL", default: "smtp://127.0.0.1:25", schemes: ["smtp", "smtps"], "the server that takes mail"
        )
        let user = environment.optionalString("BGAGENT_SMTP_USER", "its account, where it wants one")
        let password = environment.optionalSecret("BGAGENT_SMTP_PASSWORD", "the account's password")
        let security = environment.choice(
            "BGAGENT_SMTP_SECURITY", of: ["none", "offered", "required"], default: user == nil ? "offered" : "required",
            "STARTTLS: never, when the server offers it, or always; without a word: always when there is an account")
        let sender = environment.string(
            "BGAGENT_SMTP_FROM", default: "bgagent@localhost", "the address that mails come from")
        if MailAddress.plain(sender) == nil { environment.reject("BGAGENT_SMTP_FROM is not a plain e-mail address.") }
        from = sender
        let fallback = environment.optionalString("BGAGENT_EMAIL_TO", "whom to tell when the user has no address")
        if let fallback, MailAddress.plain(fallback) == nil {
            environment.reject("BGAGENT_EMAIL_TO is not a plain e-mail address.")
        }
        defaultTarget = fallback
        var config = SMTPConfig(
            url: url, user: user, password: password?.revealed,
            security: security == "none" ? .none : security == "required" ? .required : .whenOffered)
        config.timeout = .seconds(25)
        config.caFile = service.caFile
        config.clientName = MailAddress.domain(from)
        smtp = config
        threads = IOThreads(name: "smtp", count: 8)
    }

    func check() async -> [Check] {
        var smtp = self.smtp
        smtp.timeout = .seconds(8)
        let config = smtp
        do {
            try await threads.run { try HTTPClient.greetMailServer(config) }
            return [.passed("mail server", "\(config.url) takes us")]
        } catch {
            return [
                .failed(
                    "mail server", "\(config.url): \(error)",
                    remedy:
                        "Compare BGAGENT_SMTP_URL, BGAGENT_SMTP_USER and BGAGENT_SMTP_SECURITY with the mail server's.")
            ]
        }
    }

    func render(_ notification: TaskNotification) -> MailText { MailText(notification) }

    func send(_ text: MailText, as delivery: ChannelDelivery) async throws(SendError) -> Receipt {
        guard let to = MailAddress.plain(delivery.target) else {
            throw SendError(.refused, "the target is not a plain e-mail address")
        }
        let mail = format(text, to: to, delivery)
        let (message, smtp) = (SMTPMessage(from: from, recipients: [to], content: mail.bytes), self.smtp)
        do {
            _ = try await threads.run { try HTTPClient.sendMail(message, smtp) }
        } catch let error as SMTPError {
            throw SendError(EmailChannel.kind(of: error), "\(error)")
        } catch {
            throw SendError(.unavailable, "\(error)")
        }
        return Receipt(externalRef: mail.messageID)
    }

    func lookUp(_ text: MailText, as delivery: ChannelDelivery) async throws(SendError) -> LookUp { .impossible }

    func format(_ text: MailText, to: String, _ delivery: ChannelDelivery) -> MailFormat {
        let host = MailAddress.domain(from)
        return MailFormat(
            from: "bgagent <\(from)>", to: to, subject: text.subject, date: MailDate.text(delivery.plannedAt),
            messageID: "\(delivery.effectID)@\(host)", thread: "task-\(text.taskID)@\(host)",
            headers: [("X-Bgagent-Task", text.taskID), ("X-Bgagent-Repo", text.repo)], plain: text.plain,
            html: text.html, boundary: "=_bgagent_\(delivery.effectID.prefix(32))")
    }

    /// Only a verdict of 5xx is for ever; a mail that went out whole without a verdict may arrive.
    static func kind(of error: SMTPError) -> SendError.Kind {
        if error.mayHaveBeenAccepted { return .unknown }
        return error.isRetryable ? .unavailable : .refused
    }
}
