/// A ULID of one kind of thing, so that a task's id cannot be passed where a user's is meant.
///
/// Text of 26 characters in Crockford's alphabet, upper case; sorts by the database's clock, which makes it.
package struct ID<Tag>: RawRepresentable, Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
    package let rawValue: String

    /// Takes any case, keeps upper case. Nil when the text is no ULID.
    package init?(rawValue: String) {
        guard rawValue.utf8.count == 26 else { return nil }
        var upper: [UInt8] = []
        upper.reserveCapacity(26)
        for (index, byte) in rawValue.utf8.enumerated() {
            let letter = (97...122).contains(byte) ? byte - 32 : byte
            guard ULID.alphabet.contains(letter), index > 0 || letter <= 55 else { return nil }
            upper.append(letter)
        }
        self.rawValue = String(decoding: upper, as: UTF8.self)
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
}
