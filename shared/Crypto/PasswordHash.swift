import COpenSSL

/// Passwords as scrypt hashes (RFC 7914), in a text that says how it was made:
/// `$scrypt$ln=15,r=8,p=1$<salt>$<hash>`, both parts in base64 without padding.
///
/// One call takes some 60 ms and 32 MiB on purpose: never on a thread that serves requests.
package enum PasswordHash {
    /// What a hash costs. Stored with it, so a change leaves old hashes valid.
    package struct Cost: Sendable, Hashable {
        /// The logarithm of N.
        package let logN: Int
        /// The block size.
        package let r: Int
        /// The parallelisation.
        package let p: Int

        package init(logN: Int = 15, r: Int = 8, p: Int = 1) {
            self.logN = logN
            self.r = r
            self.p = p
        }

        /// Cost parameters within these bounds are followed; a stored text cannot make a login take minutes.
        var isAcceptable: Bool {
            (1...18).contains(logN) && (1...16).contains(r) && (1...8).contains(p) && memory <= 256 << 20
        }

        var memory: Int {
            128 * r << logN
        }
    }

    private static let keyLength = 32

    /// Hashes a password with a new random salt.
    package static func make(_ password: String, cost: Cost = Cost()) throws -> String {
        let salt = try Random.bytes(16)
        let key = try derive(password, salt: salt, cost: cost, length: keyLength)
        let parameters = "ln=\(cost.logN),r=\(cost.r),p=\(cost.p)"
        return "$scrypt$\(parameters)$\(Base64.encode(salt, padded: false))$\(Base64.encode(key, padded: false))"
    }

    /// True when `password` is the one that `hash` was made of; false also for a text that is no such hash.
    ///
    /// - Throws: `CryptoError` when the library is out of memory.
    package static func verify(_ password: String, against hash: String) throws -> Bool {
        guard let stored = Stored(hash) else { return false }
        let key = try derive(password, salt: stored.salt, cost: stored.cost, length: stored.key.count)
        return constantTimeEquals(key, stored.key)
    }

    /// True when the hash was made at another cost than today's: make a new one at the next login.
    package static func needsRenewal(_ hash: String, cost: Cost = Cost()) -> Bool {
        Stored(hash)?.cost != cost
    }

    private static func derive(_ password: String, salt: [UInt8], cost: Cost, length: Int) throws -> [UInt8] {
        var key = [UInt8](repeating: 0, count: length)
        // The library's own limit is the 32 MiB that N = 2^15 takes, without room for the rest.
        let limit = UInt64(cost.memory + 128 * cost.r * (cost.p + 2) + (1 << 20))
        let done = EVP_PBE_scrypt(
            password, password.utf8.count, salt, salt.count, UInt64(1) << UInt64(cost.logN), UInt64(cost.r),
            UInt64(cost.p), limit, &key, length)
        guard done == 1 else { throw CryptoError("EVP_PBE_scrypt") }
        return key
    }

    private struct Stored {
        let cost: Cost
        let salt: [UInt8]
        let key: [UInt8]

        init?(_ text: String) {
            let parts = text.split(separator: "$", omittingEmptySubsequences: false)
            guard parts.count == 5, parts[0].isEmpty, parts[1] == "scrypt" else { return nil }
            let parameters = parts[2].split(separator: ",", omittingEmptySubsequences: false)
            guard parameters.count == 3 else { return nil }
            func number(_ index: Int, _ name: String) -> Int? {
                let parameter = parameters[index]
                return parameter.hasPrefix(name + "=") ? Int(parameter.dropFirst(name.count + 1)) : nil
            }
            guard let logN = number(0, "ln"), let r = number(1, "r"), let p = number(2, "p"),
                let salt = Base64.decode(String(parts[3])), let key = Base64.decode(String(parts[4])),
                (16...64).contains(key.count), (8...64).contains(salt.count)
            else { return nil }
            cost = Cost(logN: logN, r: r, p: p)
            guard cost.isAcceptable else { return nil }
            self.salt = salt
            self.key = key
        }
    }
}
