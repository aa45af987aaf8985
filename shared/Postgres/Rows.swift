import CPostgres
import Glibc
import Synchronization

/// Owns one result of libpq.
final class ResultHandle: @unchecked Sendable {
    // Sendable because a result never changes after libpq handed it out; reading it is safe from any thread.
    let raw: OpaquePointer
    /// Where the last column was found. Rows are read in the order of their columns, so the next one stands behind it;
    /// a wrong guess, of another thread for instance, costs a longer look and nothing else.
    private let last = Atomic<Int32>(-1)

    init(_ raw: OpaquePointer) {
        self.raw = raw
    }

    deinit {
        PQclear(raw)
    }

    /// The column of that name, or nil.
    func column(_ name: String) -> Int32? {
        let count = PQnfields(raw)
        let start = last.load(ordering: .relaxed) + 1
        var name = name
        return name.withUTF8 { wanted in
            for step in 0..<count {
                let index = start + step < count ? start + step : start + step - count
                guard let found = PQfname(raw, index), Self.isSame(found, wanted) else { continue }
                last.store(index, ordering: .relaxed)
                return index
            }
            return nil
        }
    }

    private static func isSame(_ found: UnsafePointer<CChar>, _ wanted: UnsafeBufferPointer<UInt8>) -> Bool {
        guard let start = wanted.baseAddress else { return found.pointee == 0 }
        return strncmp(found, start, wanted.count) == 0 && found[wanted.count] == 0
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
        guard let found = result.column(column) else {
            throw PostgresError(.decoding, "there is no column \(column)")
        }
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
