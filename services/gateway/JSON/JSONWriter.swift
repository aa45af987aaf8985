import Domain
import Postgres

/// Writes JSON straight into bytes: answers are made of rows without a tree in between, which is what lets one core
/// answer thousands of reads a second.
struct JSONWriter {
    private(set) var bytes: [UInt8] = []
    private var needsComma = false

    init() {
        bytes.reserveCapacity(1024)
    }

    // MARK: - Containers

    mutating func object(_ body: (inout JSONWriter) throws -> Void) rethrows {
        open(UInt8(ascii: "{"))
        try body(&self)
        close(UInt8(ascii: "}"))
    }

    mutating func array(_ body: (inout JSONWriter) throws -> Void) rethrows {
        open(UInt8(ascii: "["))
        try body(&self)
        close(UInt8(ascii: "]"))
    }

    /// The name of the member that follows.
    mutating func name(_ name: StaticString) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    // MARK: - Members

    mutating func member(_ name: StaticString, _ value: String?) {
        self.name(name)
        if let value { string(value) } else { raw("null") }
    }

    mutating func member(_ name: StaticString, _ value: (some BinaryInteger)?) {
        self.name(name)
        guard let value else { return raw("null") }
        number(Int64(value))
    }

    mutating func member(_ name: StaticString, _ value: Bool) {
        self.name(name)
        raw(value ? "true" : "false")
    }

    mutating func member(_ name: StaticString, _ value: Timestamp?) {
        self.name(name)
        guard let value else { return raw("null") }
        bytes.append(UInt8(ascii: "\""))
        value.appendISO8601(to: &bytes)
        bytes.append(UInt8(ascii: "\""))
        needsComma = true
    }

    /// An exact amount as a number without trailing zeros.
    mutating func member(_ name: StaticString, _ value: Money?) {
        self.name(name)
        raw(value.map { Self.plain($0.description) } ?? "null")
    }

    /// A value that is JSON already.
    mutating func member(_ name: StaticString, json text: String) {
        self.name(name)
        raw(text)
    }

    mutating func member(_ name: StaticString, object body: (inout JSONWriter) throws -> Void) rethrows {
        self.name(name)
        try object(body)
    }

    // MARK: - Values

    private mutating func number(_ value: Int64) {
        bytes.append(contentsOf: String(value).utf8)
        needsComma = true
    }

    /// Text that is JSON already.
    mutating func raw(_ text: String) {
        separate()
        bytes.append(contentsOf: text.utf8)
        needsComma = true
    }

    mutating func string(_ text: String) {
        separate()
        JSONText.append(quoted: text, to: &bytes)
        needsComma = true
    }

    private mutating func open(_ bracket: UInt8) {
        separate()
        bytes.append(bracket)
        needsComma = false
    }

    private mutating func close(_ bracket: UInt8) {
        bytes.append(bracket)
        needsComma = true
    }

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
    }

    /// `0.423100` → `0.4231`, `5.000000` → `5`.
    private static func plain(_ number: String) -> String {
        guard number.utf8.contains(UInt8(ascii: ".")) else { return number }
        var digits = Substring(number)
        while digits.utf8.last == UInt8(ascii: "0") { digits.removeLast() }
        if digits.utf8.last == UInt8(ascii: ".") { digits.removeLast() }
        return digits.isEmpty || digits == "-" ? "0" : String(digits)
    }
}
