@testable import Domain
import Testing

@Suite struct IdentifierTests {
    @Test func `an id takes any case and keeps upper case`() {
        #expect(TaskID(rawValue: "01arz3ndektsv4rrffq69g5fav")?.rawValue == "01ARZ3NDEKTSV4RRFFQ69G5FAV")
    }

    @Test(arguments: [
        "", "01ARZ3NDEKTSV4RRFFQ69G5FA", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAU",
        "01ARZ3NDEKTSV4RRFFQ69G5FÄ",
    ])
    func `what is no id is refused`(text: String) {
        #expect(TaskID(rawValue: text) == nil)
    }

    @Test func `an id made later sorts later`() {
        let random: [UInt8] = Array(repeating: 31, count: 16)
        let early = ULID.make(milliseconds: 1_700_000_000_000, random: random)
        let late = ULID.make(milliseconds: 1_700_000_000_001, random: Array(repeating: 0, count: 16))
        #expect(early < late)
        #expect(TaskID(rawValue: late) != nil)
    }
}

@Suite struct ULIDPropertyTests {
    /// Random ids of random moments, by a seed that a failure names.
    private static func samples(_ seed: UInt64, _ check: (Int64, String) -> Void) {
        var state = seed
        func next() -> UInt64 {
            // SplitMix64: the same numbers for the same seed, everywhere.
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
        for _ in 0..<2_000 {
            let moment = Int64(next() >> 16)
            let random = (0..<16).map { _ in UInt8(truncatingIfNeeded: next() & 31) }
            check(moment, ULID.make(milliseconds: moment, random: random))
        }
    }

    @Test func `whatever the moment, an id is one, in either case, and sorts by its moment`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var made: [(moment: Int64, id: String)] = []
        Self.samples(seed) { moment, id in
            #expect(TaskID(rawValue: id)?.rawValue == id, "seed \(seed)")
            #expect(TaskID(rawValue: id.lowercased())?.rawValue == id, "seed \(seed)")
            #expect(TaskID(rawValue: String(id.dropLast())) == nil, "seed \(seed)")
            made.append((moment, id))
        }
        let byMoment = made.sorted { ($0.moment, $0.id) < ($1.moment, $1.id) }.map(\.id)
        #expect(byMoment == made.map(\.id).sorted(), "seed \(seed)")
    }
}

@Suite struct ULIDSourceTests {
    @Test(arguments: [
        (UInt16.max, UInt64.max - 1, "01HF7YAT00ZZZZZZZZZZZZZZZZ"), (0, 0, "01HF7YAT000000000000000001"),
        (1, 1 << 63, "01HF7YAT00000R000000000001"),
    ])
    func `an id is the moment and the count behind the random start`(high: UInt16, low: UInt64, id: String) {
        #expect(ULIDSource(high: high, low: low).next(milliseconds: 1_700_000_000_000) == id)
    }

    @Test func `the count goes on behind its end`() {
        let source = ULIDSource(high: 0, low: .max)
        #expect(source.next(milliseconds: 0) == "00000000000000000000000000")
    }

    @Test func `no id comes twice, and each is one`() {
        let source = ULIDSource()
        let ids = (0..<10_000).map { _ in source.next(milliseconds: 1_700_000_000_000) }
        #expect(Set(ids).count == ids.count)
        #expect(ids.allSatisfy { EventID(rawValue: $0) != nil })
    }
}

@Suite struct RepoNameTests {
    @Test(arguments: ["a/b", "Some-Org/re.po_1"])
    func `owner and name are told apart`(text: String) {
        #expect(RepoName(rawValue: text)?.rawValue == text)
    }

    @Test(arguments: ["", "a", "a/", "/b", "a/b/c", "../b", "a/..", "a b/c", "a/b\n", "ä/b"])
    func `what is no repository name is refused`(text: String) {
        #expect(RepoName(rawValue: text) == nil)
    }
}

@Suite struct JSONValueTests {
    @Test(arguments: [
        #"{"a":[1,2.5,"x",null,true],"b":{}}"#, #"[]"#, #""text""#, "null", "false", "-9007199254740993",
    ])
    func `a document survives decoding and encoding`(text: String) throws {
        #expect(try JSONText.decode(JSONValue.self, text).text == text)
    }
}

@Suite struct RetryPolicyTests {
    @Test func `waits double up to the cap and end with the attempts`() {
        let policy = RetryPolicy(base: .seconds(1), cap: .seconds(5), maxAttempts: 5)
        let waits = (1...5).map { policy.delay(afterAttempt: $0, chance: 0.5) }
        #expect(waits == [.seconds(1), .seconds(2), .seconds(4), .seconds(5), nil])
    }

    @Test func `chance spreads a wait by a tenth`() {
        let policy = RetryPolicy(base: .seconds(10), cap: .seconds(100))
        #expect(policy.delay(afterAttempt: 1, chance: 0) == .seconds(9))
        #expect(policy.delay(afterAttempt: 400, chance: 0.5) == .seconds(100))
    }
}
