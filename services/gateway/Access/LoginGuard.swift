import Threads

/// Slows down guessing at one account's password. Per process and in memory.
///
/// The first attempts of a row are free; each one more doubles the wait for the next, up to a quarter of an hour. An
/// attempt counts when it begins, so that many at once are no way around it, and a success forgets the row. Names that
/// nobody has are counted as well: being slowed down tells nothing about who is here.
final class LoginGuard: Sendable {
    /// A row that rests for so long is forgotten.
    private static let memory = Duration.seconds(3600)
    private static let longest = 900.0

    private struct Row {
        var attempts = 0
        var until: MonotonicTime
        var last: MonotonicTime
    }

    private struct State {
        var rows: [String: Row] = [:]
        /// Refused attempts on names that nobody has, since `strangersSince`.
        var strangers = 0
        var strangersSince = MonotonicTime(nanoseconds: 0)
    }

    private let free: Int
    private let capacity: Int
    private let state = Lock(State())

    /// - Parameters:
    ///   - perMinute: attempts that are free; 0 = no guard.
    ///   - capacity: how many names are remembered at most.
    init(perMinute: Int, capacity: Int = 10_000) {
        free = perMinute
        self.capacity = max(capacity, 2)
    }

    /// How many names are remembered.
    var count: Int { state.withLock { $0.rows.count } }

    /// Counts an attempt that begins. Nil: go on; otherwise the whole seconds to wait, and nothing was counted.
    func begin(_ name: String, now: MonotonicTime = .now) -> Int? {
        guard free > 0 else { return nil }
        let key = String(name.prefix(64))
        return state.withLock { state in
            var row = state.rows[key] ?? Row(until: now, last: now)
            if now - row.last > Self.memory { row = Row(until: now, last: now) }
            if row.until > now { return max(1, Int((row.until - now).inSeconds.rounded(.up))) }
            row.attempts += 1
            row.last = now
            row.until = now + .seconds(wait(after: row.attempts))
            if state.rows[key] == nil, state.rows.count >= capacity { drop(&state, now) }
            state.rows[key] = row
            return nil
        }
    }

    /// The password was right.
    ///
    /// - Returns: attempts of the row before this one.
    @discardableResult
    func succeeded(_ name: String) -> Int {
        state.withLock { state in max((state.rows.removeValue(forKey: String(name.prefix(64)))?.attempts ?? 1) - 1, 0) }
    }

    /// The attempt was refused. Returns how many of this row were, when that is worth a line in the audit log: the first,
    /// the second, the fourth and so on, so that a flood leaves a few lines with its size and not a flood of lines.
    ///
    /// - Parameter isKnown: whether there is an account of that name; all others are counted together.
    func refused(_ name: String, isKnown: Bool, now: MonotonicTime = .now) -> Int? {
        let count = state.withLock { state in
            if isKnown { return state.rows[String(name.prefix(64))]?.attempts ?? 1 }
            if now - state.strangersSince > Self.memory { (state.strangers, state.strangersSince) = (0, now) }
            state.strangers += 1
            return state.strangers
        }
        return count & (count - 1) == 0 ? count : nil
    }

    private func wait(after attempts: Int) -> Double {
        guard attempts >= free else { return 0 }
        var seconds = 60 / Double(free)
        for _ in free..<attempts where seconds < Self.longest { seconds *= 2 }
        return min(seconds, Self.longest)
    }

    /// Makes room: rows at rest go first, then those with the fewest attempts, so that nobody's row can be washed away by
    /// attempts on other names.
    private func drop(_ state: inout State, _ now: MonotonicTime) {
        state.rows = state.rows.filter { now - $0.value.last <= Self.memory }
        guard state.rows.count >= capacity else { return }
        let weakest = state.rows.sorted { $0.value.attempts < $1.value.attempts }.prefix(capacity / 2)
        for (key, _) in weakest { state.rows[key] = nil }
    }
}
