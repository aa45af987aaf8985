import Domain
import HTTPTypes

/// The gateway said no. Keeps what a caller branches on and what a person can quote.
package struct APIError: Error, Sendable, Equatable {
    package let status: Int
    /// The contract's code, or `HTTP_<status>` when the answer was not the gateway's own.
    package let code: String
    package let message: String
    package let requestID: String?
    /// True when an earlier try of the same call may have reached the gateway.
    package let followsLostAnswer: Bool

    package init(_ response: Response, followsLostAnswer: Bool = false) {
        let error = (try? JSONValue(parsing: response.body))?.member("error")
        status = response.status
        code = error?.text("code") ?? "HTTP_\(response.status)"
        message = error?.text("message") ?? Self.guess(response)
        requestID = error?.text("request_id") ?? response.headers["X-Request-Id"]
        self.followsLostAnswer = followsLostAnswer
    }

    /// What to type or look at next.
    ///
    /// - Parameter task: the task that the command was about, which then stands in what there is to type.
    package func advice(_ account: Account, task: String? = nil) -> String {
        let general = advice(as: account)
        return task.map { general.replacing(" TASK", with: " " + Text.visible($0)) } ?? general
    }

    private func advice(as account: Account) -> String {
        let profile =
            account.profile == "default" || account.profile == "environment" ? "" : " --profile \(account.profile)"
        return switch code {
        case "UNAUTHORIZED":
            account.profile == "environment"
                ? "The gateway does not accept BGAGENT_TOKEN. An admin makes a new one: bgagent token add USER"
                : "The token is unknown, revoked or expired. bgagent login\(profile), or save one: bgagent configure\(profile)"
        case "FORBIDDEN": "Your account may not do this. bgagent whoami shows your role; an admin can change it."
        case "PASSWORD_WRONG":
            "Type the password that you log in with. An admin gives a new one: bgagent user password USER"
        case "LAST_ADMIN": "Make another administrator first: bgagent user set USER --role admin"
        case "USER_CLOSED": "Open the account first: bgagent user enable USER"
        case "USER_NOT_FOUND": "bgagent user list shows the accounts."
        case "GRANT_NOT_FOUND": "bgagent repo grants OWNER/NAME shows who has one."
        case "TASK_NOT_FOUND": "bgagent list shows the tasks you may see."
        case "REPO_NOT_ONBOARDED", "REPO_NOT_FOUND":
            "bgagent repo list shows the repositories; an admin adds one: bgagent repo add OWNER/NAME"
        case "TASK_ALREADY_TERMINAL": "The task has ended. bgagent status TASK shows how."
        case "NUDGE_TAKEN": "bgagent nudges TASK shows how far each has come; what you say next can correct it."
        case "INVALID_POLICY": "bgagent policies lint FILE reads rules and stores nothing."
        case "TASK_NOT_OVER": "bgagent watch TASK follows it; bgagent cancel TASK --wait ends it."
        case "ASK_OPEN": "bgagent asks list TASK shows it and its answer."
        case "REQUEST_ALREADY_DECIDED", "REQUEST_EXPIRED", "REQUEST_VOID": "bgagent pending shows what still waits."
        case "RATE_LIMIT_EXCEEDED": "Too many requests or queued tasks. Wait a little, or cancel some: bgagent list"
        case "VALIDATION_ERROR": "Change what the message names. bgagent help COMMAND shows what it takes."
        case "IDEMPOTENCY_KEY_REUSED", "IDEMPOTENCY_MISMATCH":
            "That key belongs to another request. Use a new --idempotency-key, or none."
        case "SERVICE_UNAVAILABLE": "The gateway or its database is busy or starting. Try again in a moment."
        case "INTERNAL_ERROR": "The gateway's log tells more under the request id."
        default:
            code.hasPrefix("HTTP_")
                ? "Is \(account.apiURL) the gateway? Set it: bgagent configure\(profile) --api-url URL"
                : "bgagent help COMMAND shows what a command takes; the gateway's log tells more under the request id."
        }
    }

    /// The line a person reads.
    package var line: String {
        let request = requestID.map { ", request \($0)" } ?? ""
        return Text.visible("\(message) (\(code)\(request))")
    }

    private static func guess(_ response: Response) -> String {
        (300..<400).contains(response.status)
            ? "the address answers with a redirect to \(response.headers["Location"] ?? "elsewhere")"
            : "the address answered with status \(response.status), not as the gateway does"
    }
}
