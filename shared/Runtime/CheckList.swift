import Domain
import Lifecycle
import Threads

/// What a process looks at for its self-report. Each part adds the checks of what it holds.
package final class CheckList: Sendable {
    package typealias Body = @Sendable () async -> [Check]

    private struct Entry: Sendable {
        let interval: Duration
        let body: Body
        var found: [Check] = []
        var due: MonotonicTime?
    }

    private let entries = Lock<[Entry]>([])
    private let outsideEvery: Duration

    /// - Parameter outsideEvery: how long the answer of somebody else's system stands.
    package init(outsideEvery: Duration = .seconds(60)) {
        self.outsideEvery = outsideEvery
    }

    /// Adds checks that are made for every report: of what is at hand.
    package func add(_ body: @escaping Body) {
        entries.withLock { $0.append(Entry(interval: .zero, body: body)) }
    }

    /// Adds checks of somebody else's system, which are made less often; in between the last answer stands.
    ///
    /// - Parameter body: ends within ten seconds, whatever it looks at, and has no effect there.
    package func addOutside(_ body: @escaping Body) {
        entries.withLock { [outsideEvery] in $0.append(Entry(interval: outsideEvery, body: body)) }
    }

    /// Makes what is due, all at once, and returns what is known of everything.
    package func look() async -> [Check] {
        let now = MonotonicTime.now
        let due = entries.withLock { entries in
            entries.enumerated().filter { $0.element.due.map { $0 <= now } ?? true }
        }
        await withTaskGroup(of: (Int, [Check]).self) { group in
            for (index, entry) in due {
                group.addTask { (index, await entry.body()) }
            }
            for await (index, found) in group {
                entries.withLock { entries in
                    entries[index].found = found
                    entries[index].due = now + entries[index].interval
                }
            }
        }
        return entries.withLock { $0.flatMap(\.found) }
    }
}
