import Crypto
import Testing

@Suite struct DigestTests {
    /// Examples of FIPS 180-4.
    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
    ])
    func `SHA-256 agrees with the standard, whole and in pieces`(text: String, digest: String) throws {
        #expect(try SHA256.hex(text) == digest)
        var stream = try SHA256Stream()
        for byte in text.utf8 { try stream.update([byte]) }
        #expect(Hex.encode(try stream.finish()) == digest)
    }

    /// Examples 1, 2 and 6 of RFC 4231.
    @Test(arguments: [
        (
            [UInt8](repeating: 0x0B, count: 20), "Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        ),
        (
            Array("Jefe".utf8), "what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        ),
        (
            [UInt8](repeating: 0xAA, count: 131), "Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        ),
    ])
    func `HMAC-SHA256 agrees with RFC 4231`(key: [UInt8], message: String, digest: String) throws {
        #expect(Hex.encode(try HMAC.sha256(message.utf8, key: key)) == digest)
    }

    @Test func `an empty key and an empty message have a digest`() throws {
        let digest = "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"
        #expect(try HMAC.sha256Hex("", key: "") == digest)
    }

    @Test(arguments: [("", "", true), ("a", "a", true), ("a", "b", false), ("a", "ab", false), ("ü", "u", false)])
    func `texts are equal when their bytes are`(left: String, right: String, areEqual: Bool) {
        #expect(constantTimeEquals(left, right) == areEqual)
    }
}

@Suite struct RandomTests {
    @Test func `tokens are as long as asked, of their alphabet, and never the same`() throws {
        let tokens = try (0..<100).map { _ in try Random.token(bytes: 32) }
        #expect(Set(tokens).count == 100)
        #expect(tokens.allSatisfy { $0.utf8.count == 43 && Base64.decodeURL($0)?.count == 32 })
        let hex = try Random.hexToken(bytes: 16)
        #expect(hex.count == 32 && Hex.decode(hex)?.count == 16)
        #expect(try Random.bytes(0).isEmpty)
    }
}

@Suite struct TextCodingTests {
    /// Examples of RFC 4648.
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ])
    func `base64 agrees with RFC 4648`(text: String, coded: String) {
        let bytes = Array(text.utf8)
        let bare = String(coded.prefix { $0 != "=" })
        #expect(Base64.encode(bytes) == coded)
        #expect(Base64.encode(bytes, padded: false) == bare)
        #expect(Base64.decode(coded) == bytes)
        #expect(Base64.decode(bare) == bytes)
    }

    @Test(arguments: ["Z", "Zg=", "Zh==", "Zm9=", "Zm 9", "====", "Zg==Zg==", "Z*==", "-_-_"])
    func `what is no base64 is refused`(text: String) {
        #expect(Base64.decode(text) == nil)
    }

    @Test func `every byte survives both alphabets and hex`() {
        let bytes = Array(UInt8.min...UInt8.max)
        #expect(Base64.decode(Base64.encode(bytes)) == bytes)
        #expect(Base64.decodeURL(Base64.encodeURL(bytes)) == bytes)
        #expect(Hex.decode(Hex.encode(bytes)) == bytes)
        #expect(Hex.decode(Hex.encode(bytes).uppercased()) == bytes)
        #expect(Base64.encodeURL([0xFB, 0xFF]) == "-_8")
    }

    @Test(arguments: ["0", "0g", "é0"])
    func `what is no hex is refused`(text: String) {
        #expect(Hex.decode(text) == nil)
    }
}

@Suite struct PasswordHashTests {
    private static let cheap = PasswordHash.Cost(logN: 4, r: 8, p: 1)

    @Test func `the right password is accepted and another is not`() throws {
        let hash = try PasswordHash.make("correct horse", cost: Self.cheap)
        #expect(hash.hasPrefix("$scrypt$ln=4,r=8,p=1$"))
        #expect(try PasswordHash.verify("correct horse", against: hash))
        #expect(try !PasswordHash.verify("correct horse ", against: hash))
        #expect(try !PasswordHash.verify("", against: hash))
        #expect(try PasswordHash.make("correct horse", cost: Self.cheap) != hash)
    }

    @Test func `the standing cost fits into the library's memory limit`() throws {
        let hash = try PasswordHash.make("x")
        #expect(hash.hasPrefix("$scrypt$ln=15,r=8,p=1$"))
        #expect(try PasswordHash.verify("x", against: hash))
        #expect(!PasswordHash.needsRenewal(hash))
        #expect(PasswordHash.needsRenewal(try PasswordHash.make("x", cost: Self.cheap)))
    }

    /// The example in the documentation of the text format.
    @Test func `a hash made elsewhere is understood`() throws {
        let hash = "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E"
        #expect(try PasswordHash.verify("password", against: hash))
        #expect(try !PasswordHash.verify("Password", against: hash))
    }

    @Test func `an empty password and one with a zero byte keep what they are`() throws {
        let empty = try PasswordHash.make("", cost: Self.cheap)
        #expect(try PasswordHash.verify("", against: empty))
        let zero = try PasswordHash.make("a\0b", cost: Self.cheap)
        #expect(try PasswordHash.verify("a\0b", against: zero))
        #expect(try !PasswordHash.verify("a", against: zero))
    }

    @Test(arguments: [
        "", "$", "plain", "$scrypt$ln=15,r=8$a$b", "$argon2id$v=19$m=1,t=1,p=1$aaaa$bbbb",
        "$scrypt$ln=60,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
        "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$", "$scrypt$ln=16,r=8,p=1$!!$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBs",
        "$scrypt$ln=-1,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
    ])
    func `a text that is no hash of ours opens nothing`(text: String) throws {
        #expect(try !PasswordHash.verify("password", against: text))
        #expect(PasswordHash.needsRenewal(text))
    }
}
