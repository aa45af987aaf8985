import Domain
import Postgres

/// What becomes of a task whose question nobody answered in time.
package enum UnansweredQuestion: String, Sendable, CaseIterable, PostgresEncodable, PostgresDecodable {
    /// Its agent is told that there is no answer, and goes on without.
    case `continue`
    /// It is put aside until somebody answers.
    case park
}

/// A repository as onboarded. Nil = the platform's value.
package struct RepoRecord: Sendable {
    package let repo: String
    package let forge: String
    package let defaultBranch: String?
    package let model: String?
    package let maxTurns: Int?
    package let maxBudget: Money?
    package let maxDurationSeconds: Int?
    package let maxConcurrent: Int?
    package let setupCommand: String?
    package let buildCommand: String?
    package let testCommand: String?
    package let lintCommand: String?
    package let systemPromptOverrides: String?
    package let credentialRef: String?
    package let allowsCIChanges: Bool
    /// Agents ask people before they do what the soft rules name.
    package let hasGates: Bool
    /// Its own rules in Cedar, beside the built-in ones.
    package let policies: String
    /// Names of the users who may approve; empty = whoever may steer the task.
    package let approvers: [String]
    /// Nobody approves what they submitted themselves.
    package let needsSecondPerson: Bool
    /// How often a task may ask.
    package let gateCap: Int
    /// No gate waits longer for a decision; nil = as long as the rules say.
    package let approvalTimeoutSeconds: Int?
    /// A push that seems to hold secrets is let through.
    package let allowsSecrets: Bool
    package let unansweredQuestion: UnansweredQuestion
    package let commitName: String?
    package let commitEmail: String?
    package let access: RepoAccess
    /// The repository's notification settings as JSON text.
    package let notifications: String
    package let createdAt: Timestamp
    package let updatedAt: Timestamp
    package let deletedAt: Timestamp?

    /// The columns that a person sets.
    package static let settings = [
        "forge", "default_branch", "model", "max_turns", "max_budget_usd", "max_duration_s", "max_concurrent",
        "setup_command", "build_command", "test_command", "lint_command", "system_prompt_overrides", "credential_ref",
        "allow_ci_changes", "approval_gates", "policies", "approvers", "second_person", "approval_gate_cap",
        "approval_timeout_s", "allow_secrets", "unanswered_question", "commit_name", "commit_email", "access",
        "notifications",
    ]

    /// The columns that `init(row:)` reads, of the table alias `r`.
    static let columns: Query = """
        r.repo, r.forge, r.default_branch, r.model, r.max_turns, r.max_budget_usd, r.max_duration_s, r.max_concurrent,
        r.setup_command, r.build_command, r.test_command, r.lint_command, r.system_prompt_overrides, r.credential_ref,
        r.allow_ci_changes, r.approval_gates, r.policies, r.approvers, r.second_person, r.approval_gate_cap,
        r.approval_timeout_s, r.allow_secrets, r.unanswered_question, r.commit_name, r.commit_email, r.access,
        r.notifications::text AS notifications, r.created_at, r.updated_at, r.deleted_at
        """

    init(row: Row) throws {
        repo = try row.get("repo", as: String.self)
        forge = try row.get("forge", as: String.self)
        defaultBranch = try row.get("default_branch", as: String?.self)
        model = try row.get("model", as: String?.self)
        maxTurns = try row.get("max_turns", as: Int?.self)
        maxBudget = try row.get("max_budget_usd", as: Money?.self)
        maxDurationSeconds = try row.get("max_duration_s", as: Int?.self)
        maxConcurrent = try row.get("max_concurrent", as: Int?.self)
        setupCommand = try row.get("setup_command", as: String?.self)
        buildCommand = try row.get("build_command", as: String?.self)
        testCommand = try row.get("test_command", as: String?.self)
        lintCommand = try row.get("lint_command", as: String?.self)
        systemPromptOverrides = try row.get("system_prompt_overrides", as: String?.self)
        credentialRef = try row.get("credential_ref", as: String?.self)
        allowsCIChanges = try row.get("allow_ci_changes", as: Bool.self)
        hasGates = try row.get("approval_gates", as: Bool.self)
        policies = try row.get("policies", as: String.self)
        approvers = try row.get("approvers", as: [String].self)
        needsSecondPerson = try row.get("second_person", as: Bool.self)
        gateCap = try row.get("approval_gate_cap", as: Int.self)
        approvalTimeoutSeconds = try row.get("approval_timeout_s", as: Int?.self)
        allowsSecrets = try row.get("allow_secrets", as: Bool.self)
        unansweredQuestion = try row.get("unanswered_question", as: UnansweredQuestion.self)
        commitName = try row.get("commit_name", as: String?.self)
        commitEmail = try row.get("commit_email", as: String?.self)
        access = try row.get("access", as: RepoAccess.self)
        notifications = try row.get("notifications", as: String.self)
        createdAt = try row.get("created_at", as: Timestamp.self)
        updatedAt = try row.get("updated_at", as: Timestamp.self)
        deletedAt = try row.get("deleted_at", as: Timestamp?.self)
    }

    /// What a task freezes of the repository at submit.
    package var taskSettings: JSONValue {
        [
            "setup_command": JSONValue(setupCommand), "build_command": JSONValue(buildCommand),
            "test_command": JSONValue(testCommand), "lint_command": JSONValue(lintCommand),
            "system_prompt_overrides": JSONValue(systemPromptOverrides), "credential_ref": JSONValue(credentialRef),
            "allow_ci_changes": JSONValue(allowsCIChanges), "allow_secrets": JSONValue(allowsSecrets),
            "approval_gates": JSONValue(hasGates), "policies": .string(policies),
            "approvers": .array(approvers.map { .string($0) }), "second_person": JSONValue(needsSecondPerson),
            "approval_gate_cap": JSONValue(gateCap), "approval_timeout_s": JSONValue(approvalTimeoutSeconds),
            "unanswered_question": .string(unansweredQuestion.rawValue),
            "commit_name": JSONValue(commitName), "commit_email": JSONValue(commitEmail),
        ]
    }
}

/// Onboarded repositories. Taken off, they stay as rows: their tasks go on naming them.
package enum RepoStore {
    /// Nil when it was never onboarded or was taken off.
    package static func find(_ repo: RepoName, in connection: Connection) throws -> RepoRecord? {
        try connection.query(
            """
            SELECT \(RepoRecord.columns) FROM repos r WHERE r.repo = \(repo.rawValue) AND r.deleted_at IS NULL
            """
        ).first.map(RepoRecord.init(row:))
    }

    /// By name, from behind `after` on.
    ///
    /// - Parameter asker: whose view it is; nil = everything.
    package static func list(
        for asker: UserID?, after: String?, limit: Int, in connection: Connection
    ) throws -> [RepoRecord] {
        try connection.query(
            """
            SELECT \(RepoRecord.columns) FROM repos r
            WHERE r.deleted_at IS NULL AND (\(after)::text IS NULL OR r.repo > \(after))
                AND (r.access = 'open' OR \(asker?.rawValue)::text IS NULL OR EXISTS (SELECT FROM repo_grants g
                    WHERE g.repo = r.repo AND g.user_id = \(asker?.rawValue)))
            ORDER BY r.repo LIMIT \(limit)
            """
        ).map(RepoRecord.init(row:))
    }

    /// Takes a repository on, or takes one back that was off, with these settings, defaults for all others, and nobody's
    /// grants. Nil: it is on already.
    package static func create(
        _ repo: RepoName, _ values: [ColumnValue], in tx: Connection
    ) throws -> RepoRecord? {
        let all = [ColumnValue("repo", "\(repo.rawValue)")] + values
        let renewed: [Query] = RepoRecord.settings.map { "\(identifier: $0) = excluded.\(identifier: $0)" }
        let query: Query = """
            INSERT INTO repos AS r (\(ColumnValue.names(all))) VALUES (\(ColumnValue.values(all)))
            ON CONFLICT (repo) DO UPDATE SET \(.joined(renewed, by: ", ")), created_at = clock_timestamp(),
                updated_at = clock_timestamp(), deleted_at = NULL
            WHERE r.deleted_at IS NOT NULL RETURNING \(RepoRecord.columns)
            """
        guard let row = try tx.query(query).first else { return nil }
        try tx.query("DELETE FROM repo_grants WHERE repo = \(repo.rawValue)")
        return try RepoRecord(row: row)
    }

    /// Nil when there is none.
    package static func update(_ repo: RepoName, _ values: [ColumnValue], in tx: Connection) throws -> RepoRecord? {
        let all = values + [ColumnValue("updated_at", "clock_timestamp()")]
        return try tx.query(
            """
            UPDATE repos r SET \(ColumnValue.assignments(all))
            WHERE r.repo = \(repo.rawValue) AND r.deleted_at IS NULL RETURNING \(RepoRecord.columns)
            """
        ).first.map(RepoRecord.init(row:))
    }
}
