import CPostgres
import Glibc

/// Owns one result of libpq.
final class ResultHandle: @unchecked Sendable {
    // Sendable because a result never changes after libpq handed it out; reading it is safe from any thread.
    let raw: OpaquePointer

    init(_ raw: OpaquePointer) {
        self.raw = raw
    }

    deinit {
        PQclear(raw)
    }

    func name(of column: Int) -> String {
        PQfname(raw, Int32(column)).map { String(cString: $0) } ?? "\(column)"
    }
}

/// What a statement returned. Keeps the server's answer alive as long as any of its rows is.
package struct Rows: RandomAccessCollection, Sendable {
    private let result: ResultHandle
    package let startIndex = 0
    package let endIndex: Int

    init(_ result: ResultHandle) {
        self.result = result
        endIndex = Int(PQntuples(result.raw))
    }

    package subscript(position: Int) -> Row {
        precondition(position >= 0 && position < endIndex, "row \(position) of \(endIndex)")
        return Row(result: result, index: Int32(position))
    }

    /// How many rows were inserted, changed, deleted or returned.
    package var affected: Int {
        PQcmdTuples(result.raw).flatMap { Int(String(cString: $0)) } ?? 0
    }

    /// The columns' names in order.
    package var columns: [String] {
        (0..<Int(PQnfields(result.raw))).map { result.name(of: $0) }
    }

    /// The command's tag: `INSERT 0 1`, `COMMIT` …
    var tag: String {
        PQcmdStatus(result.raw).map { String(cString: $0) } ?? ""
    }

    /// The only row. Throws `decoding` when there is none or more than one.
    package func only() throws -> Row {
        guard count == 1 else { throw PostgresError(.decoding, "expected one row, got \(count)") }
        return self[0]
    }
}

/// One row.
package struct Row: Sendable {
    fileprivate let result: ResultHandle
    fileprivate let index: Int32

    /// The column's value by name, as the statement spells it. NULL needs an optional type.
    package func get<Value: PostgresDecodable>(_ column: String, as type: Value.Type = Value.self) throws -> Value {
        let count = PQnfields(result.raw)
        let found = column.withCString { name in
            (0..<count).first { PQfname(result.raw, $0).map { strcmp($0, name) == 0 } ?? false }
        }
        guard let found else { throw PostgresError(.decoding, "there is no column \(column)") }
        return try value(at: found)
    }

    /// The column's value by position, from 0.
    package func get<Value: PostgresDecodable>(_ index: Int, as type: Value.Type = Value.self) throws -> Value {
        guard index >= 0, index < Int(PQnfields(result.raw)) else {
            throw PostgresError(.decoding, "there is no column \(index)")
        }
        return try value(at: Int32(index))
    }

    private func value<Value: PostgresDecodable>(at column: Int32) throws -> Value {
        let result = result
        var bytes: UnsafeBufferPointer<UInt8>?
        if PQgetisnull(result.raw, index, column) == 0, let text = PQgetvalue(result.raw, index, column) {
            let count = Int(PQgetlength(result.raw, index, column))
            bytes = UnsafeRawBufferPointer(start: text, count: count).bindMemory(to: UInt8.self)
        }
        return try withExtendedLifetime(result) {
            try Value(cell: Cell(bytes: bytes, result: result, index: column))
        }
    }
}
