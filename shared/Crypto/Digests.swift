import COpenSSL

/// SHA-256 (FIPS 180-4).
package enum SHA256 {
    /// The 32 bytes of the digest.
    ///
    /// - Throws: `CryptoError` when the library is out of memory.
    package static func digest(_ bytes: some Sequence<UInt8>) throws -> [UInt8] {
        let input = Array(bytes)
        var digest = [UInt8](repeating: 0, count: 32)
        var length: UInt32 = 0
        guard EVP_Digest(input, input.count, &digest, &length, EVP_sha256(), nil) == 1, length == 32 else {
            throw CryptoError("EVP_Digest")
        }
        return digest
    }

    /// The digest as 64 lower-case hex digits.
    package static func hex(_ bytes: some Sequence<UInt8>) throws -> String {
        Hex.encode(try digest(bytes))
    }

    /// The digest of a text's UTF-8 bytes, as 64 lower-case hex digits.
    package static func hex(_ text: String) throws -> String {
        try hex(text.utf8)
    }
}

/// SHA-256 over bytes that come in pieces: files, streams.
package struct SHA256Stream: ~Copyable {
    private let context: OpaquePointer

    package init() throws {
        guard let context = EVP_MD_CTX_new() else { throw CryptoError("EVP_MD_CTX_new") }
        guard EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else {
            EVP_MD_CTX_free(context)
            throw CryptoError("EVP_DigestInit_ex")
        }
        self.context = context
    }

    deinit {
        EVP_MD_CTX_free(context)
    }

    /// Takes the next bytes.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) throws {
        guard EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) == 1 else {
            throw CryptoError("EVP_DigestUpdate")
        }
    }

    /// Takes the next bytes.
    package mutating func update(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try update($0) }
    }

    /// The 32 bytes of the digest of everything taken.
    package consuming func finish() throws -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 32)
        guard EVP_DigestFinal_ex(context, &digest, nil) == 1 else { throw CryptoError("EVP_DigestFinal_ex") }
        return digest
    }
}

/// Keyed digests (FIPS 198-1): signatures of webhooks and links.
package enum HMAC {
    /// HMAC-SHA256 of `message` under `key`, 32 bytes. Compare with `constantTimeEquals` only.
    package static func sha256(_ message: some Sequence<UInt8>, key: some Sequence<UInt8>) throws -> [UInt8] {
        let (message, key) = (Array(message), Array(key))
        var digest = [UInt8](repeating: 0, count: 32)
        var length: UInt32 = 0
        guard COpenSSL.HMAC(EVP_sha256(), key, Int32(key.count), message, message.count, &digest, &length) != nil else {
            throw CryptoError("HMAC")
        }
        return digest
    }

    /// HMAC-SHA256 of a text under a text, as 64 lower-case hex digits.
    package static func sha256Hex(_ message: String, key: String) throws -> String {
        Hex.encode(try sha256(message.utf8, key: key.utf8))
    }
}

/// Compares without telling by the time it takes where the two differ. Lengths are not secret.
package func constantTimeEquals(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    left.count == right.count && CRYPTO_memcmp(left, right, left.count) == 0
}

/// Compares two texts' UTF-8 bytes without telling by the time it takes where they differ.
package func constantTimeEquals(_ left: String, _ right: String) -> Bool {
    constantTimeEquals(Array(left.utf8), Array(right.utf8))
}
