import Lifecycle
import Store

/// What a relay knows of the messages that it has read: which are with the broker, which are done, which wait.
struct RelayState {
    var floor = OutboxFloor()
    var heldUntil: [String: MonotonicTime] = [:]
    /// What the broker has and the table still holds.
    var confirmed: Set<Int64> = []
    /// What was given to the broker, or will be in a later round, and has no answer yet.
    var underWay: Set<Int64> = []
    var lanesUnderWay: Set<String> = []
    /// Why a page could not be published: the connection is given up.
    var failure: (any Error)?

    /// Of a page, what can go to the broker now; it is under way from here on. A lane of which something is under
    /// way waits, so that its order stands.
    ///
    /// - Parameter done: what was confirmed when the page was asked for: the page may show what is gone since.
    mutating func take(_ rows: [OutboxRow], done: Set<Int64>) -> [OutboxRow] {
        let free = rows.filter { row in
            !done.contains(row.id) && !confirmed.contains(row.id) && !underWay.contains(row.id)
                && heldUntil[row.lane] == nil && !(row.isOrdered && lanesUnderWay.contains(row.lane))
        }
        underWay.formUnion(free.map(\.id))
        lanesUnderWay.formUnion(free.filter(\.isOrdered).map(\.lane))
        return free
    }

    /// These are not under way any more, but for what is left of them: its lanes stay taken.
    mutating func release(_ rows: [OutboxRow], but left: [OutboxRow] = []) {
        let stay = Set(left.map(\.lane))
        underWay.subtract(rows.map(\.id))
        underWay.formUnion(left.map(\.id))
        lanesUnderWay.subtract(rows.map(\.lane).filter { !stay.contains($0) })
    }
}
