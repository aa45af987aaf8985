import FoundationEssentials
import Telemetry
import Threads

/// Keeps the lines of a logger for a test to look at.
package final class CapturingLog: LogSink {
    private let kept = Lock<[String]>([])

    package init() {}

    /// A logger that writes here, every level.
    package var logger: Logger {
        Logger(service: "test", level: .debug, sink: self)
    }

    package func write(_ line: [UInt8]) {
        kept.withLock { $0.append(String(decoding: line, as: UTF8.self)) }
    }

    /// All lines, each with its newline.
    package var lines: [String] {
        kept.withLock { $0 }
    }

    /// True when one line contains all of these fragments.
    package func contains(_ fragments: String...) -> Bool {
        lines.contains { line in fragments.allSatisfy { line.contains($0) } }
    }
}
