import Domain
import HTTPServer
import HTTPTypes
import Lifecycle
import Postgres
import Store
import Telemetry
import Threads

/// Everybody who waits for a task's next event.
///
/// A hint (see `WakeHints`) causes one read of the hinted task, however many wait for it; once a second one query over
/// all watched tasks finds what no hint told of. So hints may be lost, late or missing altogether.
final class EventWatch: Service {
    let name = "event watch"

    /// Somebody who waits, by number.
    struct Watcher: Sendable, Hashable {
        fileprivate let task: TaskID
        fileprivate let number: UInt64
    }

    private struct Waiting {
        let filter: EventFilter
        let asker: Asker
        /// Events up to this number are known to be none of those waited for.
        var seen: Int64
        let responder: Responder
    }

    private struct Watched {
        /// Registered, with their first read still under way.
        var arriving: [UInt64: EventFilter] = [:]
        var waiting: [UInt64: Waiting] = [:]
        var source: EventSource?
        /// Something happened since the last read began.
        var isHinted = false
        var isReading = false

        var isEmpty: Bool { arriving.isEmpty && waiting.isEmpty }
    }

    private struct State {
        var tasks: [TaskID: Watched] = [:]
        var lastNumber: UInt64 = 0
        var count = 0
    }

    /// Events that one read takes; more are found by the next.
    private static let page = 200

    private let pool: Pool
    private let tick: Duration
    private let log: Logger
    private let threads = IOThreads(name: "watch", count: 2)
    private let state = Lock(State())

    init(pool: Pool, tick: Duration, metrics: Metrics = .process, log: Logger) {
        self.pool = pool
        self.tick = tick
        self.log = log
        metrics.gauge("bgagent_watchers", "Requests that wait for an event.") { [weak self] in
            self.map { Double($0.count) }
        }
    }

    /// How many wait.
    var count: Int { state.withLock { $0.count } }

    func run() async throws {
        try await periodically(every: tick) {
            do {
                try await threads.run { try self.sweep() }
            } catch {
                if !Task.isCancelled { log.debug("watched tasks could not be looked at", ["error": "\(error)"]) }
            }
        }
        await threads.stopped()
    }

    // MARK: - Waiting

    /// Begins to listen for a task. Every watcher is either removed or handed to `wait`.
    func register(_ task: TaskID, _ filter: EventFilter) -> Watcher {
        state.withLock { state in
            state.lastNumber += 1
            state.count += 1
            state.tasks[task, default: Watched()].arriving[state.lastNumber] = filter
            return Watcher(task: task, number: state.lastNumber)
        }
    }

    func remove(_ watcher: Watcher) {
        state.withLock { Self.remove(watcher, &$0) }
    }

    /// Waits on: the responder is answered with the first page that is not empty. Until then the server's own deadline
    /// and its stop may answer it instead.
    ///
    /// - Parameters:
    ///   - source: as read after `register`, and then without an event for this watcher.
    ///   - asker: who may see the task now; looked at again when there is something to see.
    func wait(_ watcher: Watcher, from source: EventSource, for asker: Asker, _ responder: Responder) {
        let needsRead = state.withLock { state in
            guard var watched = state.tasks[watcher.task],
                let filter = watched.arriving.removeValue(forKey: watcher.number)
            else { return false }
            watched.waiting[watcher.number] = Waiting(
                filter: filter, asker: asker, seen: source.seq, responder: responder)
            watched.source = source
            state.tasks[watcher.task] = watched
            return watched.isHinted
        }
        responder.whenAbandoned { [weak self] in self?.remove(watcher) }
        if needsRead { read(watcher.task) }
    }

    /// Something may have happened to this task. Cheap when nobody waits for it.
    func hint(_ task: TaskID) {
        let isWatched = state.withLock { state in
            guard state.tasks[task] != nil else { return false }
            state.tasks[task]?.isHinted = true
            return true
        }
        if isWatched { read(task) }
    }

    private static func remove(_ watcher: Watcher, _ state: inout State) {
        guard var watched = state.tasks[watcher.task] else { return }
        let isThere =
            watched.arriving.removeValue(forKey: watcher.number) != nil
            || watched.waiting.removeValue(forKey: watcher.number) != nil
        if isThere { state.count -= 1 }
        state.tasks[watcher.task] = watched.isEmpty ? nil : watched
    }

    // MARK: - Reading

    /// One look at the heads of all watched tasks.
    private func sweep() throws {
        let watched = state.withLock { Array($0.tasks.keys) }
        guard !watched.isEmpty else { return }
        let heads = try pool.withConnection { try EventQueries.heads(of: watched, in: $0) }
        for (task, seq) in heads {
            let isBehind = state.withLock { $0.tasks[task]?.waiting.values.contains { $0.seen < seq } ?? false }
            if isBehind { hint(task) }
        }
    }

    /// Reads a hinted task on a thread of our own, one read of a task at a time.
    private func read(_ task: TaskID) {
        let isMine = state.withLock { state in
            guard let watched = state.tasks[task], watched.isHinted, !watched.isReading, !watched.waiting.isEmpty else {
                return false
            }
            state.tasks[task]?.isReading = true
            return true
        }
        guard isMine else { return }
        let isAccepted = threads.submit { self.readOnce(task) }
        if !isAccepted { state.withLock { $0.tasks[task]?.isReading = false } }
    }

    private func readOnce(_ task: TaskID) {
        let (seen, askers) = state.withLock { state -> (Int64?, Set<Principal>) in
            state.tasks[task]?.isHinted = false
            let waiting = state.tasks[task]?.waiting.values
            return (waiting?.map(\.seen).min(), Set(waiting?.map(\.asker.principal) ?? []))
        }
        var events: [EventRecord] = []
        // Only whom this read found allowed is shown what it found; a later one is read for once more.
        var allowed: Set<Principal> = []
        if let seen {
            do {
                try pool.withConnection { connection in
                    events = try EventQueries.events(of: task, behind: seen, limit: Self.page, in: connection)
                    guard !events.isEmpty else { return }
                    allowed = try Asker.allowed(askers, to: task, in: connection)
                }
            } catch {
                events = []
                // They go on waiting; the next sweep looks again.
                log.debug("a watched task could not be read", ["task_id": task, "error": "\(error)"])
            }
        }
        let (answers, again) = state.withLock { Self.hand(events, of: task, asked: askers, allowed: allowed, &$0) }
        for (responder, response) in answers { responder.send(response) }
        if again { read(task) }
    }

    /// Gives each watcher what it waited for, and says whether to read again.
    private static func hand(
        _ events: [EventRecord], of task: TaskID, asked: Set<Principal>, allowed: Set<Principal>, _ state: inout State
    ) -> (answers: [(Responder, Response)], again: Bool) {
        guard var watched = state.tasks[task] else { return ([], false) }
        watched.isReading = false
        let isWhole = events.count < page
        var answers: [(Responder, Response)] = []
        if let source = watched.source, let last = events.last {
            for (number, waiting) in watched.waiting {
                guard asked.contains(waiting.asker.principal) else {
                    watched.isHinted = true
                    continue
                }
                let fresh = events.filter { event in
                    event.seq > waiting.seen && waiting.filter.after.map { $0 < event.id } ?? true
                        && waiting.filter.type.map { $0.rawValue == event.type } ?? true
                }
                guard !fresh.isEmpty else {
                    watched.waiting[number]?.seen = max(waiting.seen, last.seq)
                    continue
                }
                let limit = waiting.filter.limit
                let found = EventPage(
                    source: source, events: Array(fresh.prefix(limit)), hasMore: fresh.count > limit || !isWhole)
                let isAllowed = allowed.contains(waiting.asker.principal)
                answers.append(
                    (waiting.responder, isAllowed ? found.response(isDescending: false) : waiting.asker.refusal))
                watched.waiting[number] = nil
                state.count -= 1
            }
        }
        let again = watched.isHinted || (!isWhole && !watched.waiting.isEmpty)
        if again { watched.isHinted = true }
        state.tasks[task] = watched.isEmpty ? nil : watched
        return (answers, again)
    }
}
