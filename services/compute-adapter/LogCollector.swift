import Domain
import Patterns
import Postgres
import Store
import Telemetry
import Threads

/// Brings the output of sandboxes into the logs of their tasks, whole lines, without secrets.
///
/// The position stands in the session's row and moves in the transaction that keeps the lines: an adapter that starts
/// again goes on where the last one committed. What cannot be read is told and left behind; what cannot be committed
/// keeps the sandbox's leftovers until it can.
struct LogCollector: Sendable {
    /// One read; also the longest line, which is cut there.
    static let chunk = 64 << 10
    /// Of one sandbox in one pass, so that one that talks without end does not hold up the others.
    private static let chunksPerPass = 16

    private let backend: any ComputeBackend
    private let node: String
    private let pool: Pool
    private let threads: IOThreads
    private let redactor: Redactor
    private let log: Logger

    /// Throws when the patterns of secrets do not compile, which a test of this build would have shown.
    init(backend: any ComputeBackend, node: String, pool: Pool, threads: IOThreads, log: Logger) throws {
        self.backend = backend
        self.node = node
        self.pool = pool
        self.threads = threads
        self.log = log
        redactor = try Redactor()
    }

    /// Takes what is new in a sandbox's output.
    ///
    /// - Parameter hasEnded: then the last line counts as whole although nothing ends it, and all of it is taken.
    /// - Throws: only what the database says.
    func collect(_ name: String, hasEnded: Bool) async throws {
        guard let (task, attempt) = SandboxName.parse(name) else { return }
        let position = try await pool.run { try OutputStore.position(of: task, attempt: attempt, in: $0) }
        guard let position, !position.isFull else { return }
        var offset = position.offset
        for round in 1... {
            let backend = self.backend
            let from = offset
            let bytes: [UInt8]
            do {
                bytes = try await threads.run { try backend.output(name, from: from, limit: Self.chunk) }
            } catch {
                log.warning("output not read", ["task_id": task.rawValue, "attempt": attempt, "error": "\(error)"])
                return
            }
            let cut = Self.cut(bytes, isFull: bytes.count >= Self.chunk, hasEnded: hasEnded)
            guard cut > 0 else { return }
            let lines = Self.lines(bytes.prefix(cut), attempt: attempt, redactor)
            let node = self.node
            let taken = try await pool.transaction {
                try OutputStore.take(lines, of: task, attempt: attempt, node: node, from: from, bytes: cut, in: $0)
            }
            // Somebody else collects here; the next pass sees how far.
            guard taken else { return }
            offset += cut
            if bytes.count < Self.chunk || (!hasEnded && round >= Self.chunksPerPass) { return }
        }
    }

    /// How many bytes are whole lines. Pure.
    static func cut(_ bytes: [UInt8], isFull: Bool, hasEnded: Bool) -> Int {
        if let last = bytes.lastIndex(of: UInt8(ascii: "\n")) {
            if hasEnded, !isFull { return bytes.count }
            let whole = last + 1
            // A key of several lines is held back until its end is there, or it would be kept in halves that look
            // like none. No key is longer than the rules of redaction know, so nothing is held back for ever.
            guard let open = openKey(bytes[..<whole]), whole - open < 12_000, open > 0 || !isFull else { return whole }
            return open
        }
        if hasEnded, !isFull { return bytes.count }
        guard isFull else { return 0 }
        // One line longer than a chunk: cut between characters.
        var end = bytes.count
        while end > bytes.count - 4, end > 1, bytes[end - 1] & 0xC0 == 0x80 { end -= 1 }
        return end > 1 && bytes[end - 1] >= 0xC0 ? end - 1 : bytes.count
    }

    /// Where the line of a private key's beginning starts, when the key does not end here.
    private static func openKey(_ bytes: ArraySlice<UInt8>) -> Int? {
        guard let begin = last("-----BEGIN ", in: bytes),
            last("PRIVATE KEY-----", in: bytes).map({ $0 > begin }) ?? false,
            last("-----END ", in: bytes).map({ $0 < begin }) ?? true
        else { return nil }
        return bytes[..<begin].lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
    }

    /// Where a text stands last.
    private static func last(_ wanted: String, in bytes: ArraySlice<UInt8>) -> Int? {
        let mark = Array(wanted.utf8)
        var place = bytes.endIndex
        while let dash = bytes[..<place].lastIndex(of: mark[0]) {
            if bytes[dash...].starts(with: mark) { return dash }
            place = dash
        }
        return nil
    }

    /// The lines as they are kept: a line of the harness by its own level and message, any other as it is.
    static func lines(_ bytes: ArraySlice<UInt8>, attempt: Int, _ redactor: Redactor) -> [TaskLogLine] {
        let text = String(decoding: bytes, as: UTF8.self)
        let plain = text.contains("\0") ? String(text.map { $0 == "\0" ? "\u{FFFD}" : $0 }) : text
        return redactor.redact(plain).split(whereSeparator: \.isNewline).map { line in
            harness(line, attempt: attempt) ?? TaskLogLine(attempt: attempt, level: "info", message: String(line))
        }
    }

    private static func harness(_ line: Substring, attempt: Int) -> TaskLogLine? {
        guard line.first == "{", let value = try? JSONText.decode(JSONValue.self, String(line)),
            var fields = value.object, let level = fields["level"]?.string, let message = fields["message"]?.string
        else { return nil }
        for known in ["timestamp", "level", "service", "message", "task_id", "attempt"] { fields[known] = nil }
        return TaskLogLine(attempt: attempt, level: level, message: message, fields: fields)
    }
}

/// The name of a sandbox says whose it is.
enum SandboxName {
    /// `bgagent-<task>-<attempt>`; nil for anything else.
    static func parse(_ name: String) -> (task: TaskID, attempt: Int)? {
        let parts = name.split(separator: "-")
        guard parts.count == 3, parts[0] == "bgagent", let task = TaskID(rawValue: String(parts[1])),
            let attempt = Int(parts[2])
        else { return nil }
        return (task, attempt)
    }
}
