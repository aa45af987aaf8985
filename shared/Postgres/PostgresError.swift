import CPostgres

/// What went wrong between us and the database, and what a caller may do about it.
///
/// The text never holds a bound value: `detail`, which may quote a row, stays out of `description`.
package struct PostgresError: Error, Sendable {
    /// Where it went wrong.
    package enum Kind: Sendable, Equatable {
        /// The server refused a statement; `sqlState` says why.
        case statement
        /// The server refused COMMIT; nothing of the transaction was kept.
        case commitFailed
        /// The connection broke after COMMIT was sent: the transaction may be committed or not. Look before you repeat.
        case outcomeUnknown
        /// A statement failed, its error was swallowed, and the transaction could only be rolled back.
        case transactionAborted
        /// The connection broke. Inside a transaction nothing was kept; a single statement may have been applied.
        case connectionLost
        /// No connection could be opened.
        case connectFailed
        /// No connection of the pool was free in time.
        case poolExhausted
        /// The pool, listener or lock was closed.
        case closed
        /// A column does not hold what was asked for.
        case decoding
        /// The database URL is wrong, or names a server that cannot be used this way.
        case configuration
        /// The caller broke a rule of this module.
        case misuse
    }

    /// Where it went wrong.
    package var kind: Kind
    /// The five characters of the server, or empty when it did not say any.
    package let sqlState: String
    /// The reason in words.
    package let message: String
    /// The server's details. May quote stored or bound values: not for logs.
    package let detail: String?
    /// The constraint that was violated.
    package let constraint: String?
    /// The table it concerns.
    package let table: String?
    /// True when the connection cannot be used any more.
    package var isConnectionLost: Bool
    /// True when a prepared statement no longer fits the tables; the next try prepares it again.
    let isStalePlan: Bool

    init(_ kind: Kind, _ message: String, sqlState: String = "") {
        self.kind = kind
        self.message = message
        self.sqlState = sqlState
        self.detail = nil
        self.constraint = nil
        self.table = nil
        self.isConnectionLost = kind == .connectionLost
        self.isStalePlan = false
    }

    /// Reads the error fields of a failed result.
    init(_ kind: Kind, result: OpaquePointer) {
        func field(_ code: Character) -> String? {
            guard let ascii = code.asciiValue, let text = PQresultErrorField(result, Int32(ascii)) else { return nil }
            return String(cString: text)
        }
        self.kind = kind
        sqlState = field("C") ?? ""
        let text = field("M") ?? String(cString: PQresultErrorMessage(result))
        message = sqlState.hasPrefix("22") ? Self.withoutQuotes(text) : Self.oneLine(text)
        detail = field("D")
        constraint = field("n")
        table = field("t")
        isConnectionLost = false
        // By the server's function name, since the message is translated.
        isStalePlan = (sqlState == "0A000" && field("R") == "RevalidateCachedQuery") || sqlState == "26000"
    }

    /// No connection was free in time.
    package static let poolExhausted = PostgresError(.poolExhausted, "no database connection was free in time")

    /// True when nothing was kept and the same work may succeed when it is done again from the start.
    package var isRetryable: Bool {
        isSerializationConflict || sqlState == "55P03" || isStalePlan
    }

    /// True for a serialization failure or a deadlock: the server asks to run the transaction again.
    package var isSerializationConflict: Bool {
        sqlState == "40001" || sqlState == "40P01"
    }

    /// True when the database cannot be reached or does not serve just now: answer 503 and try again later.
    package var isUnavailable: Bool {
        switch kind {
        case .connectionLost, .connectFailed, .poolExhausted, .closed, .outcomeUnknown: true
        default:
            isConnectionLost || sqlState.hasPrefix("08") || sqlState == "53300"
                || ["57P01", "57P02", "57P03", "57P05"].contains(sqlState)
        }
    }

    /// True when a unique constraint was violated, of this name if one is given.
    package func isUniqueViolation(of name: String? = nil) -> Bool {
        sqlState == "23505" && (name == nil || name == constraint)
    }

    /// libpq's messages end in newlines and span lines.
    static func oneLine(_ text: String) -> String {
        text.split(whereSeparator: \.isNewline).joined(separator: " ")
    }

    /// `invalid input syntax for type integer: "…"`: data errors quote the value, so what is quoted goes.
    private static func withoutQuotes(_ text: String) -> String {
        guard let open = text.firstIndex(of: "\""), let close = text.lastIndex(of: "\""), open < close else {
            return oneLine(text)
        }
        return oneLine("\(text[...open])…\(text[close...])")
    }
}

extension PostgresError: CustomStringConvertible {
    /// Kind, state, message and constraint on one line.
    package var description: String {
        var text = "postgres \(kind)"
        if !sqlState.isEmpty { text += " \(sqlState)" }
        text += ": \(message)"
        if let constraint { text += " (constraint \(constraint))" }
        return text
    }
}
