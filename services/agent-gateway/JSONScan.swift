import Domain

/// A JSON document that remembers where in the text each part stands, so that a part can be changed and every other
/// byte stays as it was.
struct JSONNode: Sendable {
    enum Content: Sendable {
        case object([Member])
        case array([JSONNode])
        case string(String)
        case number
        case bool(Bool)
        case null
    }

    struct Member: Sendable {
        let key: String
        let keyRange: Range<Int>
        let value: JSONNode
    }

    /// Byte offsets in the document; of a string, its quotes included.
    let range: Range<Int>
    let content: Content

    subscript(_ key: String) -> JSONNode? { members?.first { $0.key == key }?.value }
    var members: [Member]? { if case .object(let members) = content { members } else { nil } }
    var items: [JSONNode]? { if case .array(let items) = content { items } else { nil } }
    var string: String? { if case .string(let text) = content { text } else { nil } }
    var bool: Bool? { if case .bool(let value) = content { value } else { nil } }
    var isNull: Bool { if case .null = content { true } else { false } }
}

/// Why a text is not the JSON that is taken here.
struct JSONFault: Error, Sendable {
    let reason: String
    let offset: Int
}

/// Reads JSON (RFC 8259) strictly. A name that stands twice in one object is refused, because two readers would see two
/// different documents.
struct JSONScan {
    private static let deepest = 200
    private let bytes: [UInt8]
    private var position = 0

    static func read(_ bytes: [UInt8]) throws(JSONFault) -> JSONNode {
        guard String(validating: bytes, as: UTF8.self) != nil else { throw JSONFault(reason: "not UTF-8", offset: 0) }
        var scan = JSONScan(bytes: bytes)
        let node = try scan.value(depth: 0)
        scan.skipSpace()
        guard scan.position == bytes.count else { throw scan.fault("text after the document") }
        return node
    }

    private init(bytes: [UInt8]) { self.bytes = bytes }

    private func fault(_ reason: String) -> JSONFault { JSONFault(reason: reason, offset: position) }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = current, byte == 32 || byte == 10 || byte == 13 || byte == 9 { position += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        skipSpace()
        guard current == byte else { return false }
        position += 1
        return true
    }

    private mutating func value(depth: Int) throws(JSONFault) -> JSONNode {
        guard depth < JSONScan.deepest else { throw fault("too deep") }
        skipSpace()
        let start = position
        let content: JSONNode.Content
        switch current {
        case UInt8(ascii: "{"): content = .object(try members(depth))
        case UInt8(ascii: "["): content = .array(try items(depth))
        case UInt8(ascii: "\""): content = .string(try text())
        case UInt8(ascii: "t"): content = try word("true", .bool(true))
        case UInt8(ascii: "f"): content = try word("false", .bool(false))
        case UInt8(ascii: "n"): content = try word("null", .null)
        default:
            try number()
            content = .number
        }
        return JSONNode(range: start..<position, content: content)
    }

    private mutating func members(_ depth: Int) throws(JSONFault) -> [JSONNode.Member] {
        position += 1
        if take(UInt8(ascii: "}")) { return [] }
        var found: [JSONNode.Member] = []
        var names: Set<String> = []
        repeat {
            skipSpace()
            let start = position
            guard current == UInt8(ascii: "\"") else { throw fault("a name is missing") }
            let key = try text()
            let end = position
            guard names.insert(key).inserted else { throw fault("\(key.prefix(100)) stands twice") }
            guard take(UInt8(ascii: ":")) else { throw fault("a colon is missing") }
            found.append(.init(key: key, keyRange: start..<end, value: try value(depth: depth + 1)))
        } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "}")) else { throw fault("an object does not end") }
        return found
    }

    private mutating func items(_ depth: Int) throws(JSONFault) -> [JSONNode] {
        position += 1
        if take(UInt8(ascii: "]")) { return [] }
        var found: [JSONNode] = []
        repeat { found.append(try value(depth: depth + 1)) } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "]")) else { throw fault("a list does not end") }
        return found
    }

    private mutating func word(_ word: String, _ content: JSONNode.Content) throws(JSONFault) -> JSONNode.Content {
        guard bytes[position...].starts(with: word.utf8) else { throw fault("not a value") }
        position += word.utf8.count
        return content
    }

    private mutating func digits() throws(JSONFault) {
        let start = position
        while let byte = current, (48...57).contains(byte) { position += 1 }
        if position == start { throw fault("not a value") }
    }

    private mutating func number() throws(JSONFault) {
        if current == UInt8(ascii: "-") { position += 1 }
        if current == UInt8(ascii: "0") { position += 1 } else { try digits() }
        if current == UInt8(ascii: ".") {
            position += 1
            try digits()
        }
        if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
            position += 1
            if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { position += 1 }
            try digits()
        }
    }

    private mutating func text() throws(JSONFault) -> String {
        let start = position + 1
        position = start
        var isPlain = true
        while let byte = current {
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                let raw = bytes[start..<(position - 1)]
                if isPlain { return String(decoding: raw, as: UTF8.self) }
                guard let walk = JSONText.Walk(raw) else { throw fault("a broken escape") }
                return walk.text
            case UInt8(ascii: "\\"):
                isPlain = false
                position += 2
            case 0..<32: throw fault("a control character in a string")
            default: position += 1
            }
        }
        throw fault("a string does not end")
    }
}

extension JSONText {
    /// The inside of a JSON string, unescaped, with the way back from places in the text to places in the bytes.
    struct Walk {
        private var decoded: [UInt8] = []
        /// Where a stretch that maps byte by byte begins: in the text, and in the raw bytes.
        private var anchors: [(decoded: Int, raw: Int)] = []

        var text: String { String(decoding: decoded, as: UTF8.self) }

        /// Nil when an escape is broken. Half of a surrogate pair counts as U+FFFD.
        init?(_ raw: ArraySlice<UInt8>) {
            decoded.reserveCapacity(raw.count)
            var index = raw.startIndex
            anchors.append((0, index))
            while index < raw.endIndex {
                guard raw[index] == UInt8(ascii: "\\") else {
                    decoded.append(raw[index])
                    index += 1
                    continue
                }
                guard let (scalar, length) = Walk.escape(raw[index...]) else { return nil }
                anchors.append((decoded.count, index))
                decoded.append(contentsOf: String(Character(scalar)).utf8)
                index += length
                anchors.append((decoded.count, index))
            }
        }

        /// The raw offset of a place in the text, which must be a character's edge.
        func rawOffset(of offset: Int) -> Int {
            var low = 0
            var high = anchors.count
            while high - low > 1 {
                let middle = (low + high) / 2
                if anchors[middle].decoded <= offset { low = middle } else { high = middle }
            }
            return anchors[low].raw + offset - anchors[low].decoded
        }

        private static func escape(_ raw: ArraySlice<UInt8>) -> (Unicode.Scalar, Int)? {
            let start = raw.startIndex
            guard start + 1 < raw.endIndex else { return nil }
            switch raw[start + 1] {
            case UInt8(ascii: "n"): return ("\n", 2)
            case UInt8(ascii: "t"): return ("\t", 2)
            case UInt8(ascii: "r"): return ("\r", 2)
            case UInt8(ascii: "b"): return ("\u{8}", 2)
            case UInt8(ascii: "f"): return ("\u{c}", 2)
            case UInt8(ascii: "\""): return ("\"", 2)
            case UInt8(ascii: "\\"): return ("\\", 2)
            case UInt8(ascii: "/"): return ("/", 2)
            case UInt8(ascii: "u"):
                guard let unit = unit(raw, at: start) else { return nil }
                if let scalar = Unicode.Scalar(unit) { return (scalar, 6) }
                if unit < 0xDC00, let low = Walk.unit(raw, at: start + 6), (0xDC00..<0xE000).contains(low),
                    let scalar = Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00))
                {
                    return (scalar, 12)
                }
                return ("\u{FFFD}", 6)
            default: return nil
            }
        }

        /// The four digits of `\uXXXX` at `start`.
        private static func unit(_ raw: ArraySlice<UInt8>, at start: Int) -> UInt32? {
            guard start + 6 <= raw.endIndex, raw[start] == UInt8(ascii: "\\"), raw[start + 1] == UInt8(ascii: "u")
            else { return nil }
            let digits = raw[(start + 2)..<(start + 6)]
            guard digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }) else { return nil }
            return UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
        }
    }
}
