/// Header fields in the order they were sent. Names compare without regard to case; a name may stand more than once.
///
/// Written as a literal either way: `[("Content-Type", "text/plain")]` or `["Content-Type": "text/plain"]`.
package struct Headers: Sendable, RandomAccessCollection, MutableCollection, RangeReplaceableCollection {
    /// One field. Servers and clients refuse a line break in either part.
    package typealias Element = (name: String, value: String)

    private var fields: [Element] = []

    package init() {}

    package var startIndex: Int { fields.startIndex }
    package var endIndex: Int { fields.endIndex }

    package subscript(position: Int) -> Element {
        get { fields[position] }
        set { fields[position] = newValue }
    }

    package mutating func replaceSubrange(
        _ range: Range<Int>, with elements: some Collection<Element>
    ) {
        fields.replaceSubrange(range, with: elements)
    }

    /// The first value of that name. Assigning replaces every field of the name by one; nil removes them.
    package subscript(name: String) -> String? {
        get { fields.first { Self.sameName($0.name, name) }?.value }
        set {
            guard let first = fields.firstIndex(where: { Self.sameName($0.name, name) }) else {
                if let newValue { fields.append((name, newValue)) }
                return
            }
            if let newValue {
                fields[first].value = newValue
                let rest = fields[(first + 1)...].filter { !Self.sameName($0.name, name) }
                fields.replaceSubrange((first + 1)..., with: rest)
            } else {
                fields.removeAll { Self.sameName($0.name, name) }
            }
        }
    }

    /// Every value of that name, in order.
    package func values(of name: String) -> [String] {
        fields.filter { Self.sameName($0.name, name) }.map(\.value)
    }

    /// Field names are ASCII and compare without regard to case.
    package static func sameName(_ left: String, _ right: String) -> Bool {
        left.utf8.count == right.utf8.count
            && zip(left.utf8, right.utf8).allSatisfy { $0 == $1 || lowered($0) == lowered($1) }
    }

    private static func lowered(_ byte: UInt8) -> UInt8 {
        byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
    }
}

extension Headers: ExpressibleByArrayLiteral {
    package init(arrayLiteral elements: Element...) {
        fields = elements
    }
}

extension Headers: ExpressibleByDictionaryLiteral {
    package init(dictionaryLiteral elements: (String, String)...) {
        fields = elements.map { (name: $0.0, value: $0.1) }
    }
}

extension Headers: CustomStringConvertible, CustomDebugStringConvertible {
    /// The names alone: values carry credentials, and descriptions end in logs.
    package var description: String {
        "[\(fields.map(\.name).joined(separator: ", "))]"
    }

    package var debugDescription: String {
        description
    }
}
