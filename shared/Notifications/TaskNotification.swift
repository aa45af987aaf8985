import Crypto
import Domain

/// One fact about one task, for people: the event and what was known of the task when fanout saw it.
///
/// Stored as the payload of the ledger row, so what is rendered never depends on when it is sent.
package struct TaskNotification: Sendable, Hashable, Codable {
    /// The event that it tells.
    package struct Event: Sendable, Hashable, Codable {
        package var id: String
        package var seq: Int64
        package var type: String
        /// As the event's row says.
        package var timestamp: String
        package var attempt: Int
        package var metadata: JSONValue

        package init(
            id: String, seq: Int64, type: String, timestamp: String, attempt: Int = 1, metadata: JSONValue = [:]
        ) {
            self.id = id
            self.seq = seq
            self.type = type
            self.timestamp = timestamp
            self.attempt = attempt
            self.metadata = metadata
        }
    }

    /// What is known of the task.
    package struct Subject: Sendable, Hashable, Codable {
        package var id: String
        package var repo: String
        package var status: String
        package var issue: Int?
        /// The first line of what was asked for.
        package var title: String?
        package var branch: String?
        package var outcome: String?
        /// What the agent said where there was nothing to commit.
        package var answer: String?
        package var pullRequest: Int?
        package var pullRequestURL: String?
        package var error: JSONValue?
        package var costMicros: Int64
        package var turns: Int
        package var durationSeconds: Int?
        /// Which credential of the repository to use; the name of a file, not a secret.
        package var credentialRef: String?

        package init(
            id: String, repo: String, status: String, issue: Int? = nil, title: String? = nil, costMicros: Int64 = 0,
            turns: Int = 0
        ) {
            self.id = id
            self.repo = repo
            self.status = status
            self.issue = issue
            self.title = title
            self.costMicros = costMicros
            self.turns = turns
        }

        private enum CodingKeys: String, CodingKey {
            case id = "task_id"
            case repo, status, issue, title, branch, outcome, answer, error, turns
            case pullRequest = "pr_number"
            case pullRequestURL = "pr_url"
            case costMicros = "cost_micros"
            case durationSeconds = "duration_s"
            case credentialRef = "credential_ref"
        }
    }

    package var event: Event
    package var task: Subject

    package init(event: Event, task: Subject) {
        self.event = event
        self.task = task
    }

    /// The event's type, where this build knows it.
    package var type: TaskEventType? { TaskEventType(rawValue: event.type) }

    /// The id of the notification of an event to one target: always the same, so a replay plans nothing twice.
    ///
    /// Throws when the cryptographic library cannot work.
    package static func id(event: String, channel: String, target: String) throws -> String {
        try SHA256.hex("\(event)\n\(channel)\n\(target)")
    }

    /// The first line of a text, at most `limit` characters.
    package static func firstLine(_ text: String, limit: Int = 120) -> String? {
        guard let line = text.split(whereSeparator: \.isNewline).first else { return nil }
        return line.count <= limit ? String(line) : line.prefix(limit - 1) + "…"
    }
}
