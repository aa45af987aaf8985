import Glibc
import Telemetry
import Threads

/// Passes every line on, and keeps those that name a task for `bgagent logs`.
///
/// Costs the writer of a line one search in its bytes and at most one short lock. What the buffer cannot hold is lost
/// from its old end, and counted: logging never stops the work.
package final class TaskLogSink: LogSink {
    private struct State {
        var lines: [[UInt8]] = []
        var head = 0

        var count: Int { lines.count - head }

        mutating func drop(_ number: Int) {
            head += number
            if head >= 512, head * 2 >= lines.count {
                lines.removeFirst(head)
                head = 0
            }
        }
    }

    /// Inside a text a quote stands behind a backslash, so this is always the field itself.
    private static let mark = Array(#""task_id":""#.utf8)

    private let next: any LogSink
    private let capacity: Int
    private let dropped: Counter
    private let state = Lock(State())

    package init(_ next: any LogSink, capacity: Int = 2000, metrics: Metrics = .process) {
        self.next = next
        self.capacity = capacity
        dropped = metrics.counter(
            "bgagent_task_log_dropped_total", "Lines about tasks that did not get into the tasks' logs")
    }

    package func write(_ line: [UInt8]) {
        next.write(line)
        guard Self.namesTask(line) else { return }
        let isOver = state.withLock { state in
            state.lines.append(line)
            guard state.count > capacity else { return false }
            state.drop(1)
            return true
        }
        if isOver { dropped.increment() }
    }

    /// Takes the oldest lines out.
    func take(_ limit: Int) -> [[UInt8]] {
        state.withLock { state in
            let taken = Array(state.lines[state.head...].prefix(limit))
            state.drop(taken.count)
            return taken
        }
    }

    /// Counts lines that were taken and could not be kept.
    func lost(_ number: Int) {
        if number > 0 { dropped.increment(by: Double(number)) }
    }

    static func namesTask(_ line: [UInt8]) -> Bool {
        let mark = Self.mark
        return line.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return false }
            var place = 0
            // From quote to quote, as fast as the C library finds them.
            while place + mark.count <= bytes.count,
                let quote = memchr(base + place, Int32(mark[0]), bytes.count - place)
            {
                place = UnsafeRawPointer(quote) - base
                guard place + mark.count <= bytes.count else { return false }
                if memcmp(base + place, mark, mark.count) == 0 { return true }
                place += 1
            }
            return false
        }
    }
}
