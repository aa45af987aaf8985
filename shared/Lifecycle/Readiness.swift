/// Whether this process can take work, as `/ready` tells: every part names a flag and raises it when it can work.
package final class Readiness: Sendable {
    private let flags = Lock<[String: Bool]>([:])

    /// Without flags, a process is ready.
    package init() {}

    /// Raises or lowers a flag. A part that must connect first lowers its own at once, so that "not yet" is visible.
    package func set(_ name: String, _ isUp: Bool) {
        flags.withLock { $0[name] = isUp }
    }

    /// True when no flag is down.
    package var isReady: Bool {
        flags.withLock { $0.values.allSatisfy { $0 } }
    }

    /// The flags that are down, by name.
    package var missing: [String] {
        flags.withLock { $0.filter { !$0.value }.keys.sorted() }
    }

    /// All flags by name.
    package var all: [(name: String, isUp: Bool)] {
        flags.withLock { $0.map { (name: $0.key, isUp: $0.value) }.sorted { $0.name < $1.name } }
    }
}
