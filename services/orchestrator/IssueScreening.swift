import Domain
import Forge
import Screening
import Threads

/// Looks at what other people wrote before an agent reads it.
struct IssueScreening: Sendable {
    private let screener: Screener
    private let threads = IOThreads(name: "screen", count: 4)

    init(_ screener: Screener) {
        self.screener = screener
    }

    /// Throws the `TaskFailure` that ends the task, or, where nobody can say, the one that another try may mend.
    func require(_ issue: ForgeIssue) async throws {
        let parts = [
            ("Issue #\(issue.number)", "\(issue.title)\n\n\(issue.body)"),
            ("A comment on issue #\(issue.number)", issue.comments.map(\.body).joined(separator: "\n\n")),
        ]
        for (name, text) in parts where !text.isEmpty {
            let finding: ScreeningFinding?
            do {
                finding = try await threads.run { try screener.screen(text, from: "issue") }
            } catch is Screener.Unavailable {
                throw OrchestratorFailures.screenerAway
            }
            if let finding { throw OrchestratorFailures.guardrail(finding, in: name, version: screener.version) }
        }
    }
}
