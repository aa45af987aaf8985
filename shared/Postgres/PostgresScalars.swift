import FoundationEssentials

extension String: PostgresEncodable, PostgresDecodable {
    /// Inferred, so that text also serves enums, intervals and other types written as text. Where nothing says what it
    /// is (`jsonb_build_object`, `unnest`), write the cast: `\(name)::text`.
    package static var postgresType: PostgresType { .inferred }

    package func encode(into text: inout [UInt8]) -> Bool {
        text.append(contentsOf: utf8)
        return true
    }

    package init(cell: Cell) throws {
        self = try cell.text()
    }
}

extension Bool: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .bool }

    package func encode(into text: inout [UInt8]) -> Bool {
        text.append(UInt8(ascii: self ? "t" : "f"))
        return true
    }

    package init(cell: Cell) throws {
        switch try cell.content().first {
        case UInt8(ascii: "t"): self = true
        case UInt8(ascii: "f"): self = false
        default: throw cell.mismatch(Bool.self)
        }
    }
}

extension PostgresEncodable where Self: FixedWidthInteger {
    package func encode(into text: inout [UInt8]) -> Bool {
        text.append(contentsOf: String(self).utf8)
        return true
    }
}

extension PostgresDecodable where Self: FixedWidthInteger {
    /// A value that does not fit is an error, never cut.
    package init(cell: Cell) throws {
        let content = try cell.content()
        var digits = content[...]
        let isNegative = digits.first == UInt8(ascii: "-")
        if isNegative { digits = digits.dropFirst() }
        var value: Self = 0
        var fits = !digits.isEmpty
        for byte in digits {
            guard byte >= 0x30, byte <= 0x39 else { throw cell.mismatch(Self.self) }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let digit = Self(byte - 0x30)
            let (sum, late) =
                isNegative ? product.subtractingReportingOverflow(digit) : product.addingReportingOverflow(digit)
            fits = fits && !overflow && !late
            value = sum
        }
        guard fits else { throw cell.mismatch(Self.self) }
        self = value
    }
}

extension Int: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .int8 }
}

extension Int64: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .int8 }
}

extension Int32: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .int4 }
}

extension Double: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .float8 }

    package func encode(into text: inout [UInt8]) -> Bool {
        text.append(contentsOf: (isInfinite ? (self < 0 ? "-Infinity" : "Infinity") : isNaN ? "NaN" : "\(self)").utf8)
        return true
    }

    package init(cell: Cell) throws {
        guard let value = Double(try cell.text()) else { throw cell.mismatch(Double.self) }
        self = value
    }
}

extension Data: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .bytea }

    package func encode(into text: inout [UInt8]) -> Bool {
        let hex = Array("0123456789abcdef".utf8)
        text.append(contentsOf: "\\x".utf8)
        for byte in self {
            text.append(hex[Int(byte >> 4)])
            text.append(hex[Int(byte & 15)])
        }
        return true
    }

    package init(cell: Cell) throws {
        let text = try cell.content()
        guard text.count >= 2, text.count % 2 == 0, text[0] == UInt8(ascii: "\\"), text[1] == UInt8(ascii: "x") else {
            throw cell.mismatch(Data.self)
        }
        var bytes = Data(capacity: text.count / 2 - 1)
        for index in stride(from: 2, to: text.count, by: 2) {
            guard let high = Self.nibble(text[index]), let low = Self.nibble(text[index + 1]) else {
                throw cell.mismatch(Data.self)
            }
            bytes.append(high << 4 | low)
        }
        self = bytes
    }

    private static func nibble(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}

extension Decimal: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .numeric }

    package func encode(into text: inout [UInt8]) -> Bool {
        text.append(contentsOf: description.utf8)
        return true
    }

    package init(cell: Cell) throws {
        guard let value = Decimal(string: try cell.text()) else { throw cell.mismatch(Decimal.self) }
        self = value
    }
}

extension Date: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .timestamptz }

    package func encode(into text: inout [UInt8]) -> Bool {
        Timestamp(self).encode(into: &text)
    }

    package init(cell: Cell) throws {
        self = try Timestamp(cell: cell).date
    }
}
