/// One place where a pattern fits.
package struct Match: Sendable {
    /// Byte offsets into the text's UTF-8, one range a group, the whole match first; nil for a group that took no part.
    package let ranges: [Range<Int>?]
    private let texts: [String?]
    private let names: [String: Int]

    init(ranges: [Range<Int>?], in bytes: [UInt8], names: [String: Int]) {
        self.ranges = ranges
        self.names = names
        texts = ranges.map { $0.map { String(decoding: bytes[$0], as: UTF8.self) } }
    }

    /// Where the whole match lies, in UTF-8 bytes.
    package var range: Range<Int> {
        ranges.first.flatMap { $0 } ?? 0..<0
    }

    /// The matched text.
    package var text: String {
        self[0] ?? ""
    }

    /// The text of a group by number, 0 = the whole match; nil when it took no part or does not exist.
    package subscript(group: Int) -> String? {
        texts.indices.contains(group) ? texts[group] : nil
    }

    /// Where a group lies, in UTF-8 bytes; nil when it took no part or does not exist.
    package func range(of name: String) -> Range<Int>? {
        names[name].flatMap { ranges.indices.contains($0) ? ranges[$0] : nil }
    }

    /// The text of a group by name; nil when it took no part or does not exist.
    package subscript(name: String) -> String? {
        names[name].flatMap { self[$0] }
    }
}
