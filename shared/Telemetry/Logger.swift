import Glibc

/// Fields of a log line, in the order they are written. A nil value leaves its field out.
///
/// Numbers and booleans stay what they are; an `Error` or anything else is written as its description.
package typealias LogFields = KeyValuePairs<String, (any Sendable)?>

/// Writes JSON lines: `{"time":…,"level":…,"service":…,"message":…,<fields>}`.
///
/// A value: pass it on, and `with` adds fields for a part of the work. Fields of the task-local `LogContext` are
/// added to every line. A field whose name speaks of a secret (`password`, `token`, `authorization` …) and a
/// password inside a URL are written as `<redacted>`; what else a text must not say, `redact` takes out.
package struct Logger: Sendable {
    /// How much a line matters.
    package enum Level: String, Sendable, CaseIterable, Comparable {
        /// For a developer who looks at one process.
        case debug
        /// Something happened, as it should.
        case info
        /// Something went wrong and mended itself, or will be tried again.
        case warning
        /// Someone should look.
        case error

        package static func < (left: Level, right: Level) -> Bool {
            left.rank < right.rank
        }

        private var rank: Int {
            switch self {
            case .debug: 0
            case .info: 1
            case .warning: 2
            case .error: 3
            }
        }
    }

    /// Lines below this level are not written; their arguments are not evaluated either.
    package var level: Level
    private let service: String
    private let sink: any LogSink
    private let redact: @Sendable (String) -> String
    private var fields: [(String, (any Sendable)?)] = []

    /// A logger for one process.
    ///
    /// - Parameters:
    ///   - service: who writes; a field of every line.
    ///   - redact: takes secrets out of messages and texts, before they are cut.
    package init(
        service: String, level: Level = .info, sink: any LogSink = StandardErrorSink(),
        redact: @escaping @Sendable (String) -> String = { $0 }
    ) {
        self.service = service
        self.level = level
        self.sink = sink
        self.redact = redact
    }

    /// A logger that writes nothing, for code whose caller does not care.
    package static let silent = Logger(service: "", sink: NullSink())

    /// The same logger with more fields on every line; a field of the same name takes the older one's place.
    package func with(_ more: LogFields) -> Logger {
        var copy = self
        for (name, value) in more {
            copy.fields.removeAll { $0.0 == name }
            copy.fields.append((name, value))
        }
        return copy
    }

    package func debug(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> LogFields = [:]) {
        write(.debug, message, fields)
    }

    package func info(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> LogFields = [:]) {
        write(.info, message, fields)
    }

    package func warning(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> LogFields = [:]) {
        write(.warning, message, fields)
    }

    package func error(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> LogFields = [:]) {
        write(.error, message, fields)
    }

    /// Writes a line of a level that is known only at run time.
    package func log(
        _ level: Level, _ message: @autoclosure () -> String, _ fields: @autoclosure () -> LogFields = [:]
    ) {
        write(level, message, fields)
    }

    private func write(_ level: Level, _ message: () -> String, _ more: () -> LogFields) {
        guard level >= self.level else { return }
        var line = LogLine(redact: redact)
        line.add("time", LogLine.timestamp())
        line.add("level", level.rawValue)
        line.add("service", service)
        line.add("message", message())
        let more = more()
        let context = LogContext.current
        for (name, value) in context.fields where !more.contains(where: { $0.key == name }) {
            line.add(name, value)
        }
        for (name, value) in fields
        where !more.contains(where: { $0.key == name }) && context.fields.first(where: { $0.0 == name }) == nil {
            line.add(name, value)
        }
        for (name, value) in more { line.add(name, value) }
        sink.write(line.finished())
    }

    private struct NullSink: LogSink {
        func write(_ line: [UInt8]) {}
    }
}

/// What every log line written by the current Swift task and its children carries: `task_id`, `trace_id`.
///
/// Bound to the Swift task, so it is not seen on threads of our own (`IOThreads`): there use `Logger.with`.
package struct LogContext: Sendable {
    @TaskLocal package static var current = LogContext()

    /// The fields, in order.
    package var fields: [(String, String)] = []

    package init() {}

    /// A context with these two; nil leaves the one out.
    package init(taskID: String?, traceID: String? = nil) {
        if let taskID { fields.append(("task_id", taskID)) }
        if let traceID { fields.append(("trace_id", traceID)) }
    }

    /// Runs `body` with this context on every line it writes.
    package func run<Result>(
        isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result
    ) async rethrows -> Result {
        try await LogContext.$current.withValue(self, operation: body, isolation: isolation)
    }
}
