import Domain
import HTTPServer
import HTTPTypes
import Lifecycle
import Postgres
import Store
import Telemetry
import Threads

/// Everybody who waits for the next line of a task's log.
///
/// No message tells of lines, so one query a tick over all watched tasks does; only a task whose log has grown is read.
final class LogWatch: Service {
    let name = "log watch"

    private struct Waiting {
        let task: TaskID
        let filter: TaskLogFilter
        let asker: Asker
        /// Lines up to this number are known to be none of those waited for.
        var seen: Int64
        let responder: Responder
    }

    private struct State {
        var waiting: [UInt64: Waiting] = [:]
        var lastNumber: UInt64 = 0
    }

    private let pool: Pool
    private let tick: Duration
    private let log: Logger
    private let threads = IOThreads(name: "log-watch", count: 1)
    private let state = Lock(State())

    init(pool: Pool, tick: Duration, log: Logger) {
        self.pool = pool
        self.tick = tick
        self.log = log
    }

    /// Requests that wait.
    var count: Int { state.withLock { $0.waiting.count } }

    func run() async throws {
        try await periodically(every: tick) {
            do {
                try await threads.run { try self.sweep() }
            } catch {
                if !Task.isCancelled { log.debug("watched logs could not be looked at", ["error": "\(error)"]) }
            }
        }
        await threads.stopped()
    }

    /// Answers with the first page that is not empty. The server's own deadline may answer before.
    ///
    /// - Parameters:
    ///   - asker: who may see the task now; looked at again when there is a line.
    ///   - seen: how far the log had come at least when nothing was found for this filter.
    func wait(
        for task: TaskID, _ filter: TaskLogFilter, _ asker: Asker, behind seen: Int64, _ responder: Responder
    ) {
        let number = state.withLock { state in
            state.lastNumber += 1
            state.waiting[state.lastNumber] = Waiting(
                task: task, filter: filter, asker: asker, seen: seen, responder: responder)
            return state.lastNumber
        }
        responder.whenAbandoned { [weak self] in
            self?.state.withLock { $0.waiting[number] = nil }
        }
    }

    private func sweep() throws {
        let tasks = state.withLock { Set($0.waiting.values.map(\.task)) }
        guard !tasks.isEmpty else { return }
        let heads = try pool.withConnection { try TaskLogStore.heads(of: Array(tasks), in: $0) }
        let behind = state.withLock { state in
            state.waiting.filter { entry in heads[entry.value.task].map { entry.value.seen < $0 } ?? false }
        }
        for (number, waiting) in behind {
            let asker = waiting.asker.principal
            let (page, isAllowed) = try pool.withConnection { connection in
                let page = try TaskLogStore.page(of: waiting.task, waiting.filter, in: connection)
                guard !page.lines.isEmpty else { return (page, true) }
                return (page, try Asker.allowed([asker], to: waiting.task, in: connection).contains(asker))
            }
            if page.lines.isEmpty {
                state.withLock { $0.waiting[number]?.seen = page.head }
            } else {
                state.withLock { $0.waiting[number] = nil }
                let found = LogRoutes.answer(page.lines, hasMore: page.hasMore)
                waiting.responder.send(isAllowed ? found : waiting.asker.refusal)
            }
        }
    }
}
