import Config

/// A range of IPv4 addresses that sandboxes' networks are carved from, sixteen addresses each.
package struct SubnetRange: Sendable, Hashable, CustomStringConvertible {
    /// The prefix of one sandbox's network: room for the sandbox and a few agent gateways.
    package static let part = 28

    private let first: UInt32
    private let prefix: Int

    /// Reads `10.213.0.0/16`; nil when it is no range of private addresses that has room for one network.
    package init?(_ text: String) {
        guard let (address, prefix) = Self.network(text), prefix <= Self.part else { return nil }
        let isPrivate = [("10.0.0.0", 8), ("172.16.0.0", 12), ("192.168.0.0", 16), ("100.64.0.0", 10)].contains {
            guard let (base, length) = Self.network("\($0.0)/\($0.1)") else { return false }
            return prefix >= length && address & Self.mask(length) == base
        }
        guard isPrivate, address & ~Self.mask(prefix) == 0 else { return nil }
        (first, self.prefix) = (address, prefix)
    }

    /// Reads BGAGENT_AGENT_SUBNETS.
    package static func read(_ environment: inout Environment) -> SubnetRange? {
        let text = environment.optionalString(
            "BGAGENT_AGENT_SUBNETS",
            "private range such as 10.213.0.0/16 for sandboxes' networks; not set = the engine's pools, about 30 networks"
        )
        guard let text else { return nil }
        if let range = SubnetRange(text) { return range }
        environment.reject(
            "BGAGENT_AGENT_SUBNETS=\(text) is not a range of private IPv4 addresses of at least 16, such as "
                + "10.213.0.0/16.")
        return nil
    }

    /// How many networks fit.
    package var count: Int { 1 << (Self.part - prefix) }

    /// Networks that overlap none of `taken` (each as `a.b.c.d/n`), in order from the `start`th on, at most `limit`.
    package func free(besides taken: [String], from start: Int = 0, limit: Int) -> [String] {
        let taken = taken.compactMap(Self.network)
        var found: [String] = []
        for step in 0..<count where found.count < limit {
            let base = first + UInt32((start + step) % count) << UInt32(32 - Self.part)
            let isTaken = taken.contains { address, length in
                let mask = Self.mask(min(length, Self.part))
                return base & mask == address & mask
            }
            if !isTaken { found.append("\(Self.text(base))/\(Self.part)") }
        }
        return found
    }

    /// True when that network is one of the range's.
    package func contains(_ text: String) -> Bool {
        guard let (address, length) = Self.network(text) else { return false }
        return length == Self.part && address & Self.mask(prefix) == first && address & ~Self.mask(length) == 0
    }

    package var description: String { "\(Self.text(first))/\(prefix)" }

    private static func network(_ text: String) -> (UInt32, Int)? {
        let sides = text.split(separator: "/", omittingEmptySubsequences: false)
        guard sides.count == 2, let length = Int(sides[1]), (8...32).contains(length) else { return nil }
        let parts = sides[0].split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
        guard parts.count == 4, !parts.contains(nil) else { return nil }
        return (parts.reduce(0) { $0 << 8 | UInt32($1 ?? 0) }, length)
    }

    private static func mask(_ length: Int) -> UInt32 { length == 0 ? 0 : ~0 << UInt32(32 - length) }

    private static func text(_ address: UInt32) -> String {
        [24, 16, 8, 0].map { String(address >> UInt32($0) & 255) }.joined(separator: ".")
    }
}
