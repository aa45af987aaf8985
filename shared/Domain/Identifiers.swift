import Synchronization

/// A ULID of one kind of thing, so that a task's id cannot be passed where a user's is meant.
///
/// Text of 26 characters in Crockford's alphabet, upper case; sorts by the database's clock, which makes it.
package struct ID<Tag>: RawRepresentable, Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
    package let rawValue: String

    /// Takes any case, keeps upper case. Nil when the text is no ULID.
    package init?(rawValue: String) {
        var text = rawValue
        guard let isUpper = text.withUTF8({ ULID.isUpper($0) }) else { return nil }
        self.rawValue = isUpper ? text : text.uppercased()
    }

    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let id = ID(rawValue: text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "\(text) is not an id"))
        }
        self = id
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }

    package var description: String { rawValue }

    package static func < (left: ID, right: ID) -> Bool {
        left.rawValue.utf8.lexicographicallyPrecedes(right.rawValue.utf8)
    }
}

package enum TaskTag {}
package enum UserTag {}
package enum EventTag {}
package enum TokenTag {}

/// A task's id: the key of every message, lane and lease.
package typealias TaskID = ID<TaskTag>
package typealias UserID = ID<UserTag>
package typealias EventID = ID<EventTag>
package typealias TokenID = ID<TokenTag>

/// The text form of ids.
package enum ULID {
    /// Crockford's base 32: no I, L, O, U.
    package static let alphabet = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)

    /// For each byte 0 = not of the alphabet, 1 = of it, 2 = its lower case.
    private static let kinds: [UInt8] = (0...255).map { (byte: UInt8) in
        if alphabet.contains(byte) { return 1 }
        return (97...122).contains(byte) && alphabet.contains(byte - 32) ? 2 : 0
    }

    /// Whether a ULID is in upper case throughout; nil when the text is none.
    static func isUpper(_ text: UnsafeBufferPointer<UInt8>) -> Bool? {
        guard text.count == 26, text[0] <= UInt8(ascii: "7") else { return nil }
        return kinds.withUnsafeBufferPointer { kinds in
            var isUpper = true
            for byte in text {
                let kind = kinds[Int(byte)]
                if kind == 0 { return nil }
                if kind == 2 { isUpper = false }
            }
            return isUpper
        }
    }

    /// A ULID for `milliseconds` since 1970 with `random` as its tail; only the low 5 bits of each byte count.
    ///
    /// Ids of tasks and events come from the database; this one is for what is not stored there.
    package static func make(milliseconds: Int64, random: some Sequence<UInt8>) -> String {
        var text: [UInt8] = []
        for position in stride(from: 45, through: 0, by: -5) {
            text.append(alphabet[Int((milliseconds >> Int64(position)) & 31)])
        }
        text.append(contentsOf: random.prefix(16).map { alphabet[Int($0 & 31)] })
        return String(decoding: text, as: UTF8.self)
    }

    /// A ULID of a moment and a tail of 80 bits.
    static func make(milliseconds: UInt64, high: UInt16, low: UInt64) -> String {
        alphabet.withUnsafeBufferPointer { alphabet in
            String(unsafeUninitializedCapacity: 26) { text in
                func write(_ bits: UInt64, _ range: Range<Int>) {
                    for position in range {
                        let shift = UInt64(5 * (range.upperBound - 1 - position))
                        text[position] = alphabet[Int(truncatingIfNeeded: bits >> shift & 31)]
                    }
                }
                write(milliseconds, 0..<10)
                // The tail's sixteen letters: four of its first twenty bits, twelve of the sixty that are left.
                write(UInt64(high) << 4 | low >> 60, 10..<14)
                write(low, 14..<26)
                return 26
            }
        }
    }
}

/// Ids for what a process meets by the thousand: they differ from each other and from those of every other process, and
/// anybody who knows one can guess the next. A random start and a count, because asking the kernel for randomness costs
/// more than a small request.
package final class ULIDSource: Sendable {
    private let high: UInt16
    private let low: Atomic<UInt64>

    package convenience init() {
        self.init(high: .random(in: 0...(.max)), low: .random(in: 0...(.max)))
    }

    init(high: UInt16, low: UInt64) {
        self.high = high
        self.low = Atomic(low)
    }

    /// The next id, for a moment in milliseconds since 1970.
    package func next(milliseconds: Int64) -> String {
        let low = low.wrappingAdd(1, ordering: .relaxed).newValue
        return ULID.make(milliseconds: UInt64(max(milliseconds, 0)), high: high, low: low)
    }
}
