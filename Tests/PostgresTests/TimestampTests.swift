import FoundationEssentials
import Postgres
import Testing

@Suite struct TimestampTests {
    @Test(arguments: [
        ("1970-01-01T00:00:00Z", 0), ("1969-12-31T23:59:59.999999Z", -1), ("2000-02-29T12:00:00Z", 951_825_600_000_000),
        ("2026-01-31T23:59:59.1234567+00", 1_769_903_999_123_456), ("2026-01-01 05:30:00+05:30", 1_767_225_600_000_000),
        ("2026-01-01T00:00:00-0100", 1_767_229_200_000_000), ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
    ])
    func `a text is read to the microsecond`(text: String, microseconds: Int64) {
        #expect(Timestamp(iso8601: text)?.microseconds == microseconds)
    }

    @Test(arguments: [
        "", "2026", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00Zx", "infinity", "2026-01-01T00:00:00+05:",
    ])
    func `a text that is no moment is refused`(text: String) {
        #expect(Timestamp(iso8601: text) == nil)
    }

    @Test func `days of seven centuries read back as they were written`() {
        for day in stride(from: Int64(-141_427), through: 120_000, by: 11) {
            let moment = Timestamp(microseconds: day * 86_400_000_000 + 1)
            if Timestamp(iso8601: moment.iso8601) != moment {
                Issue.record("\(moment.iso8601)")
                return
            }
        }
    }

    @Test func `moments add up, sort as their texts do and survive JSON`() throws {
        let early = Timestamp(microseconds: 1_700_000_000_000_000)
        let late = early + .milliseconds(1500)
        #expect(late - early == .milliseconds(1500))
        #expect(early < late && early.iso8601 < late.iso8601)
        #expect(early.date.timeIntervalSince1970 == 1_700_000_000 && Timestamp(early.date) == early)
        let encoded = try JSONEncoder().encode([late])
        #expect(String(decoding: encoded, as: UTF8.self) == #"["2023-11-14T22:13:21.500000Z"]"#)
        #expect(try JSONDecoder().decode([Timestamp].self, from: encoded) == [late])
    }

    @Test func `money counts in millionths`() throws {
        #expect(Money(micros: 1_500_000).description == "1.500000")
        #expect(Money(micros: -1).description == "-0.000001")
        #expect(Money(micros: .min).micros == .min)
        #expect(Money("-0.25")?.micros == -250_000)
        #expect(Money("3")?.micros == 3_000_000)
        for text in ["", "-", ".", "1.2.3", "1e5", "NaN", "1-"] { #expect(Money(text) == nil) }
    }
}
