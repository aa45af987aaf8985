/// Arrays of one dimension: `= ANY(\(ids))`, `unnest(\(ids))`.
extension Array: PostgresEncodable where Element: PostgresEncodable {
    package static var postgresType: PostgresType {
        PostgresType(oid: Element.postgresType.arrayOID, arrayOID: 0)
    }

    package func encode(into text: inout [UInt8]) -> Bool {
        text.append(UInt8(ascii: "{"))
        var element: [UInt8] = []
        for (index, value) in enumerated() {
            if index > 0 { text.append(UInt8(ascii: ",")) }
            element.removeAll(keepingCapacity: true)
            guard value.encode(into: &element) else {
                text.append(contentsOf: "NULL".utf8)
                continue
            }
            // Always quoted: then braces, commas, blanks, an empty text and the word NULL are only text.
            text.append(UInt8(ascii: "\""))
            for byte in element {
                if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { text.append(UInt8(ascii: "\\")) }
                text.append(byte)
            }
            text.append(UInt8(ascii: "\""))
        }
        text.append(UInt8(ascii: "}"))
        return true
    }
}

extension Array: PostgresDecodable where Element: PostgresDecodable {
    package init(cell: Cell) throws {
        var reader = ArrayReader(text: try cell.content())
        var values: [Element] = []
        guard reader.open() else { throw cell.mismatch([Element].self) }
        while let item = reader.next() {
            let (result, index) = (cell.result, cell.index)
            values.append(
                try item.withBytes { try Element(cell: Cell(bytes: $0, result: result, index: index)) })
        }
        guard reader.isComplete else { throw cell.mismatch([Element].self) }
        self = values
    }
}

/// Takes an array's text form apart.
private struct ArrayReader {
    /// One element; nil bytes stand for NULL.
    struct Item {
        let bytes: [UInt8]?

        func withBytes<Result>(_ body: (UnsafeBufferPointer<UInt8>?) throws -> Result) rethrows -> Result {
            guard let bytes else { return try body(nil) }
            return try bytes.withUnsafeBufferPointer { try body($0) }
        }
    }

    let text: UnsafeBufferPointer<UInt8>
    private var position = 0

    init(text: UnsafeBufferPointer<UInt8>) {
        self.text = text
    }

    /// True when the closing brace was the last byte.
    var isComplete: Bool { position == text.count && text.last == UInt8(ascii: "}") }

    /// Steps over the opening brace.
    mutating func open() -> Bool {
        guard text.first == UInt8(ascii: "{") else { return false }
        position = 1
        if text.count == 2, text[1] == UInt8(ascii: "}") { position = 2 }
        return true
    }

    /// The next element with its comma or closing brace, or nil at the end and where the text makes no sense: a brace
    /// inside (a second dimension) stops before the end, so `isComplete` stays false.
    mutating func next() -> Item? {
        guard position < text.count else { return nil }
        var bytes: [UInt8] = []
        let isQuoted = text[position] == UInt8(ascii: "\"")
        if isQuoted { position += 1 }
        while position < text.count {
            let byte = text[position]
            if isQuoted {
                if byte == UInt8(ascii: "\"") { break }
            } else if byte == UInt8(ascii: ",") || byte == UInt8(ascii: "}") {
                break
            } else if byte == UInt8(ascii: "{") {
                return nil
            }
            if byte == UInt8(ascii: "\\") { position += 1 }
            guard position < text.count else { return nil }
            bytes.append(text[position])
            position += 1
        }
        if isQuoted { position += 1 }
        guard position < text.count else { return nil }
        position += 1
        let isNull = !isQuoted && bytes.elementsEqual("NULL".utf8)
        return Item(bytes: isNull ? nil : bytes)
    }
}
