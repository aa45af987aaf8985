/// Why a text is no JSON, and where.
package struct MalformedJSON: Error, Hashable {
    package let problem: String
    /// Both from 1; columns count bytes.
    package let line: Int
    package let column: Int
}

/// Reads a JSON text strictly (RFC 8259): a name that stands twice, a lone surrogate and text behind the end are
/// errors with their place, which Foundation's decoder either lets pass or cannot locate. It is also ten times as fast:
/// a value of any shape makes that decoder try, and throw, for every shape.
package struct JSONReader {
    private let bytes: UnsafeBufferPointer<UInt8>
    private let maxDepth: Int
    private var position = 0

    private init(_ bytes: UnsafeBufferPointer<UInt8>, maxDepth: Int) {
        self.bytes = bytes
        self.maxDepth = maxDepth
    }

    /// - Parameter maxDepth: documents that nest deeper are refused, because recursion costs stack.
    package static func read(_ bytes: [UInt8], maxDepth: Int = 32) throws(MalformedJSON) -> JSONValue {
        let result = bytes.withUnsafeBufferPointer { read($0, maxDepth) }
        return try result.get()
    }

    static func read(_ text: String, maxDepth: Int) throws(MalformedJSON) -> JSONValue {
        var text = text
        let result = text.withUTF8 { read($0, maxDepth) }
        return try result.get()
    }

    private static func read(_ bytes: UnsafeBufferPointer<UInt8>, _ maxDepth: Int) -> Result<JSONValue, MalformedJSON> {
        var reader = JSONReader(bytes, maxDepth: maxDepth)
        do throws(MalformedJSON) {
            let value = try reader.value(depth: 0)
            reader.skipBlanks()
            if reader.position < bytes.count { throw reader.failure("there is text behind the end") }
            return .success(value)
        } catch {
            return .failure(error)
        }
    }

    private mutating func value(depth: Int) throws(MalformedJSON) -> JSONValue {
        skipBlanks()
        guard depth < maxDepth else { throw failure("it is nested too deeply") }
        guard let first = peek else { throw failure("it ends too early") }
        switch first {
        case UInt8(ascii: "{"): return .object(try object(depth))
        case UInt8(ascii: "["): return .array(try array(depth))
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw failure("a value is expected")
        }
    }

    private mutating func object(_ depth: Int) throws(MalformedJSON) -> [String: JSONValue] {
        position += 1
        var members: [String: JSONValue] = [:]
        skipBlanks()
        if take(UInt8(ascii: "}")) { return members }
        while true {
            skipBlanks()
            guard peek == UInt8(ascii: "\"") else { throw failure("a name in quotes is expected") }
            let start = position
            let name = try string()
            skipBlanks()
            guard take(UInt8(ascii: ":")) else { throw failure("':' is expected") }
            if members[name] != nil {
                position = start
                throw failure("the name stands twice in its object")
            }
            members[name] = try value(depth: depth + 1)
            skipBlanks()
            if take(UInt8(ascii: "}")) { return members }
            guard take(UInt8(ascii: ",")) else { throw failure("',' or '}' is expected") }
        }
    }

    private mutating func array(_ depth: Int) throws(MalformedJSON) -> [JSONValue] {
        position += 1
        var elements: [JSONValue] = []
        skipBlanks()
        if take(UInt8(ascii: "]")) { return elements }
        while true {
            elements.append(try value(depth: depth + 1))
            skipBlanks()
            if take(UInt8(ascii: "]")) { return elements }
            guard take(UInt8(ascii: ",")) else { throw failure("',' or ']' is expected") }
        }
    }

    private mutating func string() throws(MalformedJSON) -> String {
        position += 1
        let start = position
        while let byte = peek, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { position += 1 }
        var text = Array(bytes[start..<position])
        while let byte = peek {
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                guard let text = String(validating: text, as: UTF8.self) else {
                    position = start
                    throw failure("the text is no UTF-8")
                }
                return text
            case UInt8(ascii: "\\"):
                position += 1
                try escape(into: &text)
            case 0..<0x20: throw failure("a control character stands in a text")
            default:
                text.append(byte)
                position += 1
            }
        }
        throw failure("a text has no end")
    }

    private mutating func escape(into text: inout [UInt8]) throws(MalformedJSON) {
        guard let byte = peek else { throw failure("a text has no end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var code = try hex()
            if (0xD800..<0xDC00).contains(code), take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) {
                let low = try hex()
                guard (0xDC00..<0xE000).contains(low) else { throw failure("an escape is half a character") }
                code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw failure("an escape is half a character") }
            text.append(contentsOf: Character(scalar).utf8)
        default:
            position -= 1
            throw failure("an escape is unknown")
        }
    }

    private mutating func hex() throws(MalformedJSON) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = peek, let value = Character(Unicode.Scalar(digit)).hexDigitValue else {
                throw failure("an escape needs four hex digits")
            }
            code = code << 4 | UInt32(value)
            position += 1
        }
        return code
    }

    private mutating func number() throws(MalformedJSON) -> JSONValue {
        let start = position
        _ = take(UInt8(ascii: "-"))
        let leading = peek
        let whole = digits()
        guard whole > 0, leading != UInt8(ascii: "0") || whole == 1 else { throw failure("a number is malformed") }
        var isWhole = true
        if take(UInt8(ascii: ".")) {
            isWhole = false
            guard digits() > 0 else { throw failure("a number is malformed") }
        }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            isWhole = false
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            guard digits() > 0 else { throw failure("a number is malformed") }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isWhole, let integer = Int64(text) { return .integer(integer) }
        guard let number = Double(text), number.isFinite else { throw failure("a number is too large") }
        // 5, 5.0 and 5e0 are one value, however written.
        if number.magnitude < 0x1p53, let integer = Int64(exactly: number) { return .integer(integer) }
        return .number(number)
    }

    private mutating func digits() -> Int {
        let start = position
        while let byte = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        return position - start
    }

    private mutating func word(_ word: StaticString, _ value: JSONValue) throws(MalformedJSON) -> JSONValue {
        let end = position + word.utf8CodeUnitCount
        let expected = UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)
        guard end <= bytes.count, bytes[position..<end].elementsEqual(expected) else {
            throw failure("a value is expected")
        }
        position = end
        return value
    }

    private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard peek == byte else { return false }
        position += 1
        return true
    }

    private mutating func skipBlanks() {
        while let byte = peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    private func failure(_ problem: String) -> MalformedJSON {
        let before = bytes[..<position]
        let line = before.reduce(1) { $1 == 0x0A ? $0 + 1 : $0 }
        let start = before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
        return MalformedJSON(problem: problem, line: line, column: position - start + 1)
    }
}
