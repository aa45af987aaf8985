import Glibc

/// Addresses of clients, as limits see them.
enum ClientAddress {
    /// The bytes of an address, 4 or 16; nil for what is none. An IPv4 address in the clothes of IPv6 is the same client
    /// as without.
    static func bytes(_ text: String) -> [UInt8]? {
        var four = in_addr()
        if inet_pton(AF_INET, text, &four) == 1 { return withUnsafeBytes(of: &four) { Array($0) } }
        var six = in6_addr()
        // A zone says which wire, not who.
        guard inet_pton(AF_INET6, String(text.prefix { $0 != "%" }), &six) == 1 else { return nil }
        let bytes = withUnsafeBytes(of: &six) { Array($0) }
        let isMapped = bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
        return isMapped ? Array(bytes[12...]) : bytes
    }

    private static func isIPv4(_ text: String) -> Bool {
        var address = in_addr()
        return inet_pton(AF_INET, text, &address) == 1
    }

    /// What is limited as one: an IPv4 address, or the /64 of an IPv6 address, within which a client has as many as it
    /// likes. What is no address is limited by its first letters.
    static func network(_ text: String) -> String {
        // What reads as an IPv4 address is spelt in one way only.
        if isIPv4(text) { return text }
        guard let bytes = bytes(text) else { return "?" + text.prefix(64) }
        if bytes.count == 4 { return bytes.map { String($0) }.joined(separator: ".") }
        return bytes.prefix(8).map { String($0, radix: 16) }.joined(separator: ":") + "/64"
    }

    /// An entry of X-Forwarded-For without the port that some proxies write behind it.
    static func withoutPort(_ text: String) -> String {
        if text.hasPrefix("[") { return String(text.dropFirst().prefix { $0 != "]" }) }
        guard text.utf8.count(where: { $0 == UInt8(ascii: ":") }) == 1 else { return text }
        return String(text.prefix { $0 != ":" })
    }
}

/// One address, or a network as `10.0.0.0/8`.
struct AddressRange: Sendable {
    private let bytes: [UInt8]
    private let length: Int

    /// Nil for what is neither.
    init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let bytes = ClientAddress.bytes(String(parts[0])) else { return nil }
        self.bytes = bytes
        guard parts.count == 2 else {
            length = bytes.count * 8
            return
        }
        guard let length = Int(parts[1]), (0...bytes.count * 8).contains(length) else { return nil }
        self.length = length
    }

    func contains(_ address: String) -> Bool {
        guard let other = ClientAddress.bytes(address), other.count == bytes.count else { return false }
        return zip(bytes, other).enumerated().allSatisfy { index, pair in
            let bits = min(max(length - index * 8, 0), 8)
            let mask = UInt8(truncatingIfNeeded: 0xFF00 >> bits)
            return pair.0 & mask == pair.1 & mask
        }
    }
}
