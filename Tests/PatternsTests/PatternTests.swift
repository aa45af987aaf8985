import Patterns
import Testing
import Threads

@Suite struct PatternTests {
    @Test(arguments: [
        ("a+b", "xaab", true), ("^a", "ba", false), ("é", "caf\u{E9}", true), ("^$", "", true), ("x", "", false),
        (#"(?<=a)b"#, "ab", true), (#"\d{3}"#, "12", false), (#"\d{3}"#, "123", true), ("[^ä]", "ä", false),
    ])
    func `a text matches or does not`(pattern: String, text: String, fits: Bool) throws {
        #expect(try Pattern(pattern).isMatch(text) == fits)
    }

    @Test(arguments: [
        ("ABC", Pattern.Options.caseInsensitive, "xabc", true), ("ÄRA", .caseInsensitive, "ära", true),
        ("^b$", .multiline, "a\nb\nc", true), ("a.b", .dotMatchesNewlines, "a\nb", true),
        ("a.b", Pattern.Options(), "a\nb", false),
        ("a b # c", .extended, "ab", true), ("b", .anchored, "ab", false), ("a", .anchored, "ab", true),
        (#"^\w$"#, Pattern.Options(), "ü", false), (#"^\w$"#, .unicode, "ü", true),
    ])
    func `options change how a pattern is read`(
        pattern: String, options: Pattern.Options, text: String, fits: Bool
    ) throws {
        #expect(try Pattern(pattern, options).isMatch(text) == fits)
    }

    @Test(arguments: [("(a", 2), ("ab[", 3), ("[z-a]", 3), ("(?<n>a)(?<n>b)", 12)])
    func `a wrong pattern is refused with its place`(pattern: String, place: Int) {
        let error = #expect(throws: PatternError.self) { try Pattern(pattern) }
        guard case .invalid(let reason, let offset) = error else {
            Issue.record("not a complaint about the pattern: \(String(describing: error))")
            return
        }
        #expect(offset == place && !reason.isEmpty)
    }

    @Test func `groups are found by number and by name`() throws {
        let pattern = try Pattern(#"(?<user>\w+)@(?<host>\w+)(\.com)?"#)
        let match = try #require(try pattern.firstMatch(in: "to ünne me@home now"))
        #expect(match.text == "me@home")
        #expect(match["user"] == "me" && match["host"] == "home" && match["else"] == nil)
        #expect(match[0] == "me@home" && match[1] == "me" && match[3] == nil && match[9] == nil)
        #expect(match.range == 9..<16)  // bytes: ü takes two
    }

    @Test(arguments: [
        ("a", "banana", 3), ("ana", "banana", 1), ("x*", "abc", 4), ("", "äö", 3), ("^", "a\nb", 1), ("b|", "abc", 4),
        (#"\b"#, "one two", 4),
    ])
    func `all matches are found, empty ones between characters too`(pattern: String, text: String, count: Int) throws {
        #expect(try Pattern(pattern).matches(in: text).count == count)
    }

    @Test(arguments: [
        ("a", "banana", "<a>", "b<a>n<a>n<a>"), ("z", "banana", "<z>", "banana"), ("", "ab", "-", "-a-b-"),
        ("(?<=b)x*", "bxx b", "!", "b! b!"), ("^.*$", "whole", "new", "new"),
    ])
    func `matches are replaced and the rest is kept`(pattern: String, text: String, with: String, result: String) throws
    {
        #expect(try Pattern(pattern).replaceAll(in: text) { _ in with } == result)
    }

    @Test func `a replacement may use what was matched, and may refuse`() throws {
        struct Refused: Error {}
        let pattern = try Pattern(#"(\w+)=(\w+)"#)
        #expect(try pattern.replaceAll(in: "a=1, b=2") { "\($0[2] ?? "")=\($0[1] ?? "")" } == "1=a, 2=b")
        #expect(throws: Refused.self) { try pattern.replaceAll(in: "a=1") { _ in throw Refused() } }
    }

    @Test func `a match may start anywhere in a long text`() throws {
        let pattern = try Pattern("needle(?=!)")
        for offset in [0, 1, 15, 16, 63, 64, 65, 511, 512, 513, 5000, 99_993] {
            var text =
                String(repeating: "é", count: offset) + "needle!" + String(repeating: "x", count: 100_000 - offset)
            #expect(try pattern.firstMatch(in: text)?.range.lowerBound == 2 * offset)
            text += "needle!"
            #expect(try pattern.matches(in: text).count == 2)
        }
    }

    @Test func `an anchored pattern is tried at the start of the text alone`() throws {
        let pattern = try Pattern("ab", .anchored)
        #expect(try pattern.matches(in: "abab").count == 1)
        #expect(try !pattern.isMatch(String(repeating: "x", count: 2000) + "ab"))
    }

    @Test func `many threads use one pattern at once`() throws {
        let pattern = try Pattern(#"(\w+)-(\d+)"#)
        let wrong = Lock(0)
        let threads = try (1...4).map { number in
            try NamedThread("match-\(number)") {
                for round in 0..<500 where (try? pattern.firstMatch(in: "a item-\(round) b")?[2]) != "\(round)" {
                    wrong.withLock { $0 += 1 }
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(wrong.withLock { $0 } == 0)
    }
}

@Suite struct PatternLimitTests {
    /// Patterns that take exponential or quadratic time on these texts.
    @Test(
        .timeLimit(.minutes(1)),
        arguments: [
            ("(a+)+$", "a", 5000), ("(a|aa)+b", "a", 5000), ("a*[bc]", "a", 1_000_000),
            (#"(\w+\s?)*:"#, "word ", 20_000),
            ("(x+x+)+y", "x", 100_000), ("(.*)*c", "ab", 50_000),
        ])
    func `a hostile text ends in an answer or an error, never in a hang`(pattern: String, unit: String, count: Int)
        throws
    {
        let text = String(repeating: unit, count: count) + "!"
        let start = MonotonicTime.now
        do {
            #expect(try !Pattern(pattern).isMatch(text))
        } catch PatternError.tooExpensive {
            // The documented way out.
        }
        #expect(start.elapsed < .seconds(15))
    }

    @Test func `a text over the limit is refused`() throws {
        let pattern = try Pattern("a", limits: Pattern.Limits(textBytes: 10))
        #expect(try pattern.isMatch("123456789a"))
        #expect(throws: PatternError.tooLong(bytes: 11)) { try pattern.isMatch("123456789ab") }
    }

    @Test func `deep nesting that outgrows the small stack still gets its answer`() throws {
        let pattern = try Pattern(#"^(\((?:[^()]|(?1))*\))$"#, limits: Pattern.Limits(memory: 64 << 20))
        let depth = 2000
        let text = String(repeating: "(", count: depth) + "x" + String(repeating: ")", count: depth)
        #expect(try pattern.isMatch(text))
        #expect(try !pattern.isMatch(text + ")"))
    }

    @Test func `many matches share the time of one call`() throws {
        let pattern = try Pattern("a", limits: Pattern.Limits(time: .nanoseconds(1)))
        #expect(throws: PatternError.tooExpensive) { try pattern.matches(in: String(repeating: "a", count: 10_000)) }
    }
}
