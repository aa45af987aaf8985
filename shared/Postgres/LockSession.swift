import Threads

/// The session that holds advisory locks; touched by the lock's thread alone.
final class LockSession: @unchecked Sendable {
    // Sendable because only the thread of the AdvisoryLock that made it ever calls it.
    private let config: PostgresConfig
    private var connection: Connection?
    private var serverProcess: Int32 = 0

    init(_ config: PostgresConfig, timing: AdvisoryLock.Timing) {
        var config = config
        config.settings.append(("idle_session_timeout", "\(timing.sessionTimeout.wholeMilliseconds)"))
        config.statementTimeout = min(config.statementTimeout, .seconds(2))
        if config.statementTimeout == .zero { config.statementTimeout = .seconds(2) }
        // An unanswered proof is a loss while the last one is still believed.
        config.silence = timing.trust - timing.ping
        config.liveness.connectTimeout = .seconds(2)
        config.liveness.keepaliveIdle = .seconds(1)
        config.liveness.keepaliveInterval = .seconds(1)
        config.liveness.userTimeout = .seconds(3)
        self.config = config
    }

    var isOpen: Bool { connection.map { !$0.isBroken } ?? false }
    var socket: Int32 { connection?.socket ?? -1 }
    var processID: Int32? { isOpen ? serverProcess : nil }

    func looksAlive() -> Bool { connection?.looksAlive() ?? false }

    func close() {
        connection = nil
    }

    /// Takes the lock if it is free; connects first when there is no session.
    func lock(_ key: Int64) throws -> Bool {
        let connection = try open()
        return try sameSession {
            try connection.query("SELECT pg_backend_pid() AS pid, pg_try_advisory_lock(\(key)) AS locked").only()
        }.get("locked")
    }

    func unlock(_ key: Int64) throws {
        guard let connection, isOpen else { return }
        _ = try sameSession {
            try connection.query("SELECT pg_backend_pid() AS pid, pg_advisory_unlock(\(key)) AS unlocked").only()
        }
    }

    /// Proves that the session is still the one that took the locks.
    func ping() throws {
        guard let connection, isOpen else { throw PostgresError(.connectionLost, "there is no session") }
        _ = try sameSession { try connection.query("SELECT pg_backend_pid() AS pid").only() }
    }

    private func sameSession(_ body: () throws -> Row) throws -> Row {
        do {
            let row = try body()
            guard try row.get("pid", as: Int32.self) == serverProcess else { throw Self.pooled }
            return row
        } catch {
            // Whatever it was: a session whose locks are in doubt is ended, so that they are surely free.
            connection = nil
            throw error
        }
    }

    private func open() throws -> Connection {
        if let connection, isOpen { return connection }
        let opened = try Connection(config)
        let process = try Self.process(opened)
        if process != opened.processID { try refusePooler(opened, process) }
        connection = opened
        serverProcess = process
        return opened
    }

    /// A proxy stands between, since it names another process than the one that works for us. One that ties a session
    /// to a client is fine; one that lends it per transaction is not: then a second client gets our process while we
    /// are idle, or we get another one while that client is busy.
    private func refusePooler(_ opened: Connection, _ process: Int32) throws {
        let other = try Connection(config)
        let isPooled: Bool
        do {
            isPooled = try other.transaction { _ in
                try Self.process(other) == process || Self.process(opened) != process
            }
        } catch let error as PostgresError where ["42P05", "26000"].contains(error.sqlState) {
            isPooled = true  // it met a statement that someone else had prepared, or missed its own
        }
        if isPooled { throw Self.pooled }
    }

    private static func process(_ connection: Connection) throws -> Int32 {
        try connection.query("SELECT pg_backend_pid()").only().get(0)
    }

    private static let pooled = PostgresError(
        .configuration,
        "session locks need a session of their own, but the URL leads to a transaction pooler: use the server itself")
}
