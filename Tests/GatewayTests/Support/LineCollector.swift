import Telemetry
import Threads

/// Keeps what a logger writes.
final class LineCollector: LogSink {
    private let lines = Lock<[UInt8]>([])

    func write(_ line: [UInt8]) {
        lines.withLock { $0 += line }
    }

    var text: String { String(decoding: lines.withLock { $0 }, as: UTF8.self) }
}
