/// Keeps what must not be read out of logs.
package enum Redaction {
    /// What stands in a secret's place.
    package static let mark = "<redacted>"

    private static let words = [
        "password", "passwd", "secret", "token", "authorization", "api_key", "apikey", "credential", "cookie",
        "signature",
    ]

    /// True for a field name that speaks of a secret. Numbers under such a name (`input_tokens`) are still written.
    package static func isSecret(field name: String) -> Bool {
        let name = name.lowercased()
        return words.contains { name.contains($0) }
    }

    /// The text with the password of every `scheme://user:password@host` taken out.
    package static func withoutPasswords(_ text: String) -> String {
        let bytes = Array(text.utf8)
        guard let first = authority(in: bytes, from: 0) else { return text }
        var kept: [UInt8] = []
        kept.reserveCapacity(bytes.count)
        var copied = 0
        var next: Int? = first
        while let start = next {
            // The user part ends at the LAST @ before the path: a password may hold an @ of its own.
            var end = start
            var at: Int?
            while end < bytes.count, !Self.endsAuthority(bytes[end]) {
                if bytes[end] == UInt8(ascii: "@") { at = end }
                end += 1
            }
            if let at, let colon = bytes[start..<at].firstIndex(of: UInt8(ascii: ":")) {
                kept.append(contentsOf: bytes[copied...colon])
                kept.append(contentsOf: mark.utf8)
                copied = at
            }
            next = authority(in: bytes, from: end)
        }
        kept.append(contentsOf: bytes[copied...])
        return String(decoding: kept, as: UTF8.self)
    }

    private static func endsAuthority(_ byte: UInt8) -> Bool {
        switch byte {
        case 0...0x20, UInt8(ascii: "/"), UInt8(ascii: "?"), UInt8(ascii: "#"), UInt8(ascii: "\""), UInt8(ascii: "<"):
            true
        default: false
        }
    }

    /// Where the first authority after `://` begins.
    private static func authority(in bytes: [UInt8], from start: Int) -> Int? {
        var index = start
        while index + 2 < bytes.count {
            if bytes[index] == UInt8(ascii: ":"), bytes[index + 1] == UInt8(ascii: "/"),
                bytes[index + 2] == UInt8(ascii: "/")
            {
                return index + 3
            }
            index += 1
        }
        return nil
    }
}
