import CPostgres
import Glibc
import Threads

/// Owns one `PGconn` and speaks libpq's non-blocking calls to it, waiting in `poll` of its own.
///
/// Non-blocking, because in pipeline mode a client that only writes and a server that only writes block each other.
final class ConnectionHandle {
    private let raw: OpaquePointer
    private let silenceLimit: Duration?
    /// Set once the connection cannot be used any more, for whatever reason.
    private(set) var isBroken = false

    /// Connects; blocks for at most the connect timeout per host.
    init(_ config: PostgresConfig) throws {
        let parameters = config.parameters
        silenceLimit = config.silenceLimit
        let names = CStrings(parameters.map(\.name))
        let values = CStrings(parameters.map(\.value))
        let opened = withExtendedLifetime((names, values)) {
            PQconnectdbParams(names.pointers, values.pointers, 1)
        }
        guard let raw = opened else { throw PostgresError(.connectFailed, "out of memory") }
        self.raw = raw
        guard PQstatus(raw) == CONNECTION_OK else {
            throw PostgresError(.connectFailed, PostgresError.withAdvice(Self.message(raw)))
        }
        PQsetNoticeReceiver(raw, { _, _ in }, nil)
        guard PQsetnonblocking(raw, 1) == 0, PQenterPipelineMode(raw) == 1 else {
            throw PostgresError(.connectFailed, Self.message(raw))
        }
    }

    deinit {
        PQfinish(raw)
    }

    /// The server process as the server named it when the session began; a proxy may have made it up.
    var processID: Int32 { PQbackendPID(raw) }

    /// The descriptor to wait on.
    var socket: Int32 { PQsocket(raw) }

    /// Where the session stands, as of the last answer.
    var transactionStatus: PGTransactionStatusType { PQtransactionStatus(raw) }

    /// True when no transaction is open.
    var isIdle: Bool { transactionStatus == PQTRANS_IDLE }

    /// Looks, without waiting, whether the server has said farewell since its last answer.
    ///
    /// A server that owes nothing sends nothing, so any byte, as well as the end of the stream, counts as a farewell.
    func looksAlive() -> Bool {
        guard !isBroken, PQstatus(raw) == CONNECTION_OK else { return false }
        var entry = pollfd(fd: PQsocket(raw), events: Int16(POLLIN), revents: 0)
        if poll(&entry, 1, 0) != 0 { isBroken = true }
        return !isBroken
    }

    // MARK: Sending

    /// Queues the preparation of a statement.
    func sendPrepare(_ name: String, _ query: Query) throws {
        try query.withValues { _, types in
            try check(PQsendPrepare(raw, name, query.sql, Int32(types.count), types))
        }
    }

    /// Queues one execution of a prepared statement.
    func sendExecute(_ name: String, _ query: Query) throws {
        try query.withValues { texts, _ in
            try check(PQsendQueryPrepared(raw, name, Int32(texts.count), texts, nil, nil, 0))
        }
    }

    /// Ends the flight and puts everything queued on the wire, reading meanwhile what already comes back.
    func sendSync() throws {
        if PQpipelineSync(raw) == 1 {
            try flush()
        } else if PQstatus(raw) == CONNECTION_OK {
            throw lost()
        }  // else the server's last words, read while writing failed, are among the results
    }

    /// Sends a script in the simple protocol, outside pipeline mode. Call `leaveScript` after its last result.
    func sendScript(_ script: String) throws {
        try check(PQexitPipelineMode(raw))
        try check(PQsendQuery(raw, script))
        try flush()
    }

    /// Back to pipeline mode.
    func leaveScript() throws {
        try check(PQenterPipelineMode(raw))
    }

    private func flush() throws {
        while PQflush(raw) == 1, PQstatus(raw) == CONNECTION_OK {
            let events = try wait(for: Int16(POLLIN) | Int16(POLLOUT))
            // A failed read is reported with its reason by `nextResult`.
            if events & Int16(POLLIN) != 0, PQconsumeInput(raw) == 0 { return }
        }
    }

    private func check(_ result: Int32) throws {
        guard result == 1 else { throw lost() }
    }

    // MARK: Receiving

    /// The next result, or nil where a statement's results end. Blocks until it is there.
    func nextResult() throws -> ResultHandle? {
        while PQisBusy(raw) == 1, PQstatus(raw) == CONNECTION_OK {
            try wait(for: Int16(POLLIN))
            if PQconsumeInput(raw) == 0 { break }  // what was read before the end still counts
        }
        let result = PQgetResult(raw)
        if PQstatus(raw) != CONNECTION_OK { isBroken = true }
        return result.map { ResultHandle($0) }
    }

    /// Takes in what the server sent by itself; false when the connection is gone.
    func consumeNotifications() -> [(channel: String, payload: String)]? {
        guard PQconsumeInput(raw) == 1 else {
            isBroken = true
            return nil
        }
        var notifications: [(String, String)] = []
        while let notification = PQnotifies(raw) {
            let payload = notification.pointee.extra.map { String(cString: $0) } ?? ""
            notifications.append((String(cString: notification.pointee.relname), payload))
            PQfreemem(notification)
        }
        return notifications
    }

    /// Marks the connection unusable and says why.
    func lost() -> PostgresError {
        isBroken = true
        return PostgresError(.connectionLost, Self.message(raw))
    }

    @discardableResult
    private func wait(for events: Int16) throws -> Int16 {
        let deadline = silenceLimit.map { Deadline.after($0) } ?? .never
        while true {
            var entry = pollfd(fd: PQsocket(raw), events: events, revents: 0)
            let milliseconds = deadline.remaining.map { Int32(clamping: $0.wholeMilliseconds + 1) } ?? -1
            let ready = poll(&entry, 1, milliseconds)
            if ready > 0 { return entry.revents }
            if ready < 0 && errno != EINTR || deadline.isOver {
                isBroken = true
                throw PostgresError(.connectionLost, "the server has been silent for too long")
            }
        }
    }

    private static func message(_ raw: OpaquePointer) -> String {
        let text = PQerrorMessage(raw).map { PostgresError.oneLine(String(cString: $0)) } ?? ""
        return text.isEmpty ? "the connection is closed" : text
    }
}

/// Texts as C wants them: an array of pointers with a null at its end.
private final class CStrings {
    let pointers: [UnsafePointer<CChar>?]

    init(_ texts: [String]) {
        pointers = texts.map { UnsafePointer(strdup($0)) } + [nil]
    }

    deinit {
        for case .some(let pointer) in pointers { free(UnsafeMutablePointer(mutating: pointer)) }
    }
}
