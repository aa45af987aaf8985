import CPostgres
import Threads

/// Where the database is, and the limits every session of this process puts on itself.
///
/// The limits travel in the startup packet, so no statement of such a session ever runs without them. A pooler that
/// hands one session to many clients is not supported: prepared statements and these settings belong to the session.
package struct PostgresConfig: Sendable {
    /// How soon a peer that silently disappeared is noticed.
    package struct Liveness: Sendable, Equatable {
        /// Longest wait for one host to accept the connection; libpq counts whole seconds, at least 2.
        package var connectTimeout: Duration = .seconds(5)
        /// Silence after which the kernel probes the peer.
        package var keepaliveIdle: Duration = .seconds(5)
        /// Time between probes; the third unanswered one ends the connection.
        package var keepaliveInterval: Duration = .seconds(2)
        /// Sent bytes that stay unacknowledged for so long end the connection.
        package var userTimeout: Duration = .seconds(10)

        package init() {}
    }

    /// Shown in `pg_stat_activity`.
    package var applicationName: String
    /// Longest wait for a row or table lock (55P03 after it); zero = no limit.
    package var lockTimeout: Duration
    /// Longest run of one statement (57014 after it); zero = no limit.
    ///
    /// A server that sends nothing at all for ten seconds longer than this is taken for lost. So a statement that
    /// needs more time wants a config of its own, not `SET statement_timeout`.
    package var statementTimeout: Duration
    /// Longest pause inside a transaction; the server ends the session after it (25P03). Zero = no limit.
    package var idleInTransactionTimeout: Duration
    /// How soon a peer that silently disappeared is noticed; what the URL says itself stands above this.
    package var liveness = Liveness()

    /// Further settings of the session, by name.
    var settings: [(name: String, value: String)] = []

    /// How long the server may be silent while it owes an answer, when that is not ten seconds more than a statement.
    var silence: Duration?

    private let url: String
    private let urlOptions: String
    private let urlKeywords: Set<String>
    private let place: String
    private let authorities: String?

    /// Reads a URL: `postgres://user:password@host:5432/database?sslmode=verify-full`, several hosts, a Unix socket
    /// as `postgres:///database?host=/run/postgresql`, or libpq's own `key=value` form.
    ///
    /// - Parameter authorities: a PEM file of authorities that a server's certificate may come from, unless the URL
    ///   names one as `sslrootcert`. Whether it has to show one is the URL's `sslmode`.
    /// - Throws: `PostgresError` of kind `configuration`, which never repeats any part of the URL.
    package init(
        url: String, applicationName: String, lockTimeout: Duration = .seconds(2),
        statementTimeout: Duration = .seconds(5), idleInTransactionTimeout: Duration = .seconds(10),
        authorities: String? = nil
    ) throws {
        var options: [String: String] = [:]
        guard !url.isEmpty, let parsed = PQconninfoParse(url, nil) else {
            throw PostgresError(.configuration, "the database URL cannot be read")
        }
        defer { PQconninfoFree(parsed) }
        var next = parsed
        while let keyword = next.pointee.keyword {
            if let value = next.pointee.val { options[String(cString: keyword)] = String(cString: value) }
            next += 1
        }
        self.url = url
        self.urlOptions = options["options"] ?? ""
        self.urlKeywords = Set(options.keys)
        let host = options["host"] ?? options["hostaddr"] ?? "the local socket"
        self.place = "\(host):\(options["port"] ?? "5432")/\(options["dbname"] ?? "")"
        self.applicationName = applicationName
        self.lockTimeout = lockTimeout
        self.statementTimeout = statementTimeout
        self.idleInTransactionTimeout = idleInTransactionTimeout
        self.authorities = authorities
    }

    /// libpq's connection parameters, in the order in which later ones win.
    var parameters: [(name: String, value: String)] {
        let liveness: [(String, String)] = [
            ("connect_timeout", "\(max(2, liveness.connectTimeout.components.seconds))"),
            ("keepalives", "1"),
            ("keepalives_idle", "\(max(1, liveness.keepaliveIdle.components.seconds))"),
            ("keepalives_interval", "\(max(1, liveness.keepaliveInterval.components.seconds))"),
            ("keepalives_count", "3"),
            ("tcp_user_timeout", "\(liveness.userTimeout.wholeMilliseconds)"),
        ]
        let trust = authorities.map { [("sslrootcert", $0)] } ?? []
        return [("dbname", url), ("application_name", applicationName), ("client_encoding", "UTF8")]
            + (liveness + trust).filter { !urlKeywords.contains($0.0) }
            + [("options", options)]
    }

    /// How long the server may be silent while it owes an answer; nil = for ever.
    var silenceLimit: Duration? {
        silence ?? (statementTimeout == .zero ? nil : statementTimeout + .seconds(10))
    }

    /// The session settings as a command line: the text forms that `Row.get` reads are fixed here too.
    private var options: String {
        let limits = [
            ("lock_timeout", "\(lockTimeout.wholeMilliseconds)"),
            ("statement_timeout", "\(statementTimeout.wholeMilliseconds)"),
            ("idle_in_transaction_session_timeout", "\(idleInTransactionTimeout.wholeMilliseconds)"),
            // A session keeps its plans, and of a table that was empty when they were made the planner thinks that reading it
            // whole costs nothing. Every statement that matters has its index. (What has none costs the same as before, but
            // looks so dear that it would be compiled first.)
            ("enable_seqscan", "off"), ("jit", "off"),
            ("DateStyle", "ISO"), ("TimeZone", "UTC"), ("bytea_output", "hex"), ("client_min_messages", "warning"),
        ]
        let flags = (limits + settings.map { ($0.name, $0.value) }).map { "-c \($0)=\($1)" }
        return ([urlOptions] + flags).filter { !$0.isEmpty }.joined(separator: " ")
    }
}

extension PostgresConfig: CustomStringConvertible, CustomReflectable {
    /// Host, port and database; never the user or the password.
    package var description: String { place }

    /// Keeps the URL out of `dump` and of failure messages in tests.
    package var customMirror: Mirror { Mirror(self, children: ["place": place]) }
}
