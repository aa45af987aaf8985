import COpenSSL

/// Bytes that nobody can guess.
package enum Random {
    /// `count` bytes of the library's generator.
    ///
    /// - Throws: `CryptoError` when there is no randomness to be had; never returns weak bytes.
    package static func bytes(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        guard RAND_bytes(&bytes, Int32(count)) == 1 else { throw CryptoError("RAND_bytes") }
        return bytes
    }

    /// A token as lower-case hex, two digits a byte.
    package static func hexToken(bytes count: Int = 32) throws -> String {
        Hex.encode(try bytes(count))
    }

    /// A token of the characters `A-Z a-z 0-9 - _`, four for three bytes, without padding.
    package static func token(bytes count: Int = 32) throws -> String {
        Base64.encodeURL(try bytes(count))
    }
}
