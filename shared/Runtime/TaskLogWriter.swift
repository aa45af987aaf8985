import Domain
import Lifecycle
import Patterns
import Postgres
import Store
import Telemetry

/// Brings the lines that a `TaskLogSink` kept into the tasks' logs: in batches, twice a second, on a connection of its
/// own. A database that is away delays them; what does not fit into the buffer meanwhile is counted as dropped.
package actor TaskLogWriter: Service {
    package nonisolated let name = "task log"
    private static let batch = 500

    private let sink: TaskLogSink
    private let service: String
    private let instance: String
    private let pool: Pool
    private let redactor: Redactor
    private let log: Logger
    /// Taken out of the sink and not yet committed.
    private var pending: [[UInt8]] = []

    /// Throws when the patterns of secrets do not compile, which a test of this build would have shown.
    package init(_ sink: TaskLogSink, service: String, instance: String, pool: Pool, log: Logger) throws {
        self.sink = sink
        self.service = service
        self.instance = instance
        self.pool = pool
        self.log = log
        redactor = try Redactor()
    }

    package func run() async throws {
        while !Task.isCancelled {
            await flush()
            try? await Task.sleep(for: .milliseconds(500))
        }
        await flush()
        await pool.close()
    }

    /// Writes all that is there, or leaves it for the next time.
    package func flush() async {
        while true {
            if pending.isEmpty { pending = sink.take(Self.batch) }
            if pending.isEmpty { return }
            do {
                let statements = try statements(pending)
                if !statements.isEmpty {
                    try await pool.transaction { tx in
                        // No truth: a line may be lost with the database, and no commit waits for the disk.
                        try tx.query("SET LOCAL synchronous_commit = off")
                        try tx.pipeline(statements)
                    }
                }
            } catch let error as PostgresError where error.isUnavailable || error.isRetryable {
                return
            } catch {
                sink.lost(pending.count)
                log.warning("lines about tasks could not be kept", ["lines": pending.count, "error": "\(error)"])
            }
            pending = []
        }
    }

    /// One statement a task, by the tasks' ids: two processes that write at once lock in one order.
    private func statements(_ lines: [[UInt8]]) throws -> [Query] {
        var byTask: [TaskID: [TaskLogLine]] = [:]
        for line in lines {
            guard let (task, parsed) = Self.parse(line, redactor) else { continue }
            byTask[task, default: []].append(parsed)
        }
        return try byTask.sorted { $0.key < $1.key }.map { task, lines in
            try TaskLogStore.append(lines, to: task, service: service, instance: instance)
        }
    }

    /// A logger's own line again. Nil for one below info, and for what is no such line.
    static func parse(_ line: [UInt8], _ redactor: Redactor) -> (TaskID, TaskLogLine)? {
        guard let value = try? JSONText.decode(JSONValue.self, bytes: line), var fields = value.object,
            let task = fields["task_id"]?.string.flatMap({ TaskID(rawValue: $0) }),
            let level = fields["level"]?.string, level != Logger.Level.debug.rawValue
        else { return nil }
        let attempt = fields["attempt"]?.integer.flatMap { Int(exactly: $0) }.flatMap { (0...9999) ~= $0 ? $0 : nil }
        let (at, message) = (fields["time"]?.string, fields["message"]?.string ?? "")
        for known in ["time", "level", "service", "message", "task_id", "attempt"] { fields[known] = nil }
        return (
            task,
            TaskLogLine(
                at: at, attempt: attempt, level: level, message: clean(message, redactor),
                fields: fields.mapValues { value in value.string.map { JSONValue.string(clean($0, redactor)) } ?? value
                })
        )
    }

    private static func clean(_ text: String, _ redactor: Redactor) -> String {
        // Postgres text and jsonb cannot hold a NUL.
        redactor.redact(text.contains("\0") ? String(text.map { $0 == "\0" ? "\u{FFFD}" : $0 }) : text)
    }
}
