import FoundationEssentials
import Glibc

/// A moment to the microsecond, which is what `timestamptz` keeps: what was read compares equal when it is bound again.
package struct Timestamp: Sendable, Hashable, Comparable {
    /// Microseconds since 1970, UTC.
    package let microseconds: Int64

    package init(microseconds: Int64) {
        self.microseconds = microseconds
    }

    /// The moment of a `Date`, rounded to a microsecond.
    package init(_ date: Date) {
        microseconds = Int64((date.timeIntervalSince1970 * 1_000_000).rounded())
    }

    /// The machine's wall clock. What is compared with stored times should come from the database's `now()`.
    package static var now: Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)
    }

    /// The moment as a `Date`.
    package var date: Date {
        Date(timeIntervalSince1970: Double(microseconds) / 1_000_000)
    }

    /// `2026-01-31T23:59:59.123456Z`, always six digits, so that texts sort as the moments do.
    package var iso8601: String {
        var text: [UInt8] = []
        append(to: &text, separator: UInt8(ascii: "T"), zone: "Z")
        return String(decoding: text, as: UTF8.self)
    }

    /// Appends what `iso8601` says.
    package func appendISO8601(to text: inout [UInt8]) {
        append(to: &text, separator: UInt8(ascii: "T"), zone: "Z")
    }

    /// Reads `2026-01-31T23:59:59Z`, with any number of fraction digits (six are kept), `T` or a blank between, and a
    /// zone `Z`, `+00`, `+0530` or `+05:30`. Nil for anything else; a time without a zone is no moment.
    package init?(iso8601 text: String) {
        var text = text
        let moment = text.withUTF8 { Self.parse($0) }
        guard let moment else { return nil }
        self.init(microseconds: moment)
    }

    package static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.microseconds < right.microseconds
    }

    package static func + (moment: Timestamp, duration: Duration) -> Timestamp {
        Timestamp(microseconds: moment.microseconds + duration.wholeMicroseconds)
    }

    package static func - (left: Timestamp, right: Timestamp) -> Duration {
        .microseconds(left.microseconds - right.microseconds)
    }

    private func append(to text: inout [UInt8], separator: UInt8, zone: StaticString) {
        let (days, inDay) = Self.floorDivide(microseconds, by: 86_400_000_000)
        let (year, month, day) = Self.civil(days)
        Self.append(year, unit: 1000, to: &text)
        text.append(UInt8(ascii: "-"))
        Self.append(month, unit: 10, to: &text)
        text.append(UInt8(ascii: "-"))
        Self.append(day, unit: 10, to: &text)
        text.append(separator)
        Self.append(inDay / 3_600_000_000, unit: 10, to: &text)
        text.append(UInt8(ascii: ":"))
        Self.append(inDay / 60_000_000 % 60, unit: 10, to: &text)
        text.append(UInt8(ascii: ":"))
        Self.append(inDay / 1_000_000 % 60, unit: 10, to: &text)
        text.append(UInt8(ascii: "."))
        Self.append(inDay % 1_000_000, unit: 100_000, to: &text)
        zone.withUTF8Buffer { text.append(contentsOf: $0) }
    }

    /// The digits of a number from its digit for `unit` on; larger ones are written out whole.
    private static func append(_ number: Int64, unit: Int64, to text: inout [UInt8]) {
        guard number >= 0, number < unit * 10 else { return text.append(contentsOf: String(number).utf8) }
        var (rest, unit) = (number, unit)
        while unit > 0 {
            text.append(0x30 + UInt8(truncatingIfNeeded: rest / unit))
            rest %= unit
            unit /= 10
        }
    }

    static func parse(_ text: UnsafeBufferPointer<UInt8>) -> Int64? {
        var position = 0
        func number(_ width: Int) -> Int64? {
            guard position + width <= text.count else { return nil }
            var value: Int64 = 0
            for _ in 0..<width {
                let byte = text[position]
                guard byte >= 0x30, byte <= 0x39 else { return nil }
                value = value * 10 + Int64(byte - 0x30)
                position += 1
            }
            return value
        }
        func skip(_ allowed: UInt8...) -> Bool {
            guard position < text.count, allowed.contains(text[position]) else { return false }
            position += 1
            return true
        }
        guard let year = number(4), skip(UInt8(ascii: "-")), let month = number(2), skip(UInt8(ascii: "-")),
            let day = number(2), skip(UInt8(ascii: "T"), UInt8(ascii: " "), UInt8(ascii: "t")),
            let hour = number(2), skip(UInt8(ascii: ":")), let minute = number(2), skip(UInt8(ascii: ":")),
            let second = number(2), (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60,
            second <= 60
        else { return nil }
        var micros: Int64 = 0
        if skip(UInt8(ascii: ".")) {
            var unit: Int64 = 100_000
            let start = position
            while let digit = number(1) {
                micros += digit * unit
                unit /= 10
            }
            if position == start { return nil }
        }
        var offset: Int64 = 0
        if !skip(UInt8(ascii: "Z"), UInt8(ascii: "z")) {
            guard position < text.count, [UInt8(ascii: "+"), UInt8(ascii: "-")].contains(text[position]) else {
                return nil
            }
            let sign: Int64 = text[position] == UInt8(ascii: "-") ? -1 : 1
            position += 1
            guard let hours = number(2) else { return nil }
            let colon = skip(UInt8(ascii: ":"))
            let minutes = number(2)
            if colon && minutes == nil { return nil }
            offset = sign * (hours * 3600 + (minutes ?? 0) * 60)
        }
        guard position == text.count else { return nil }
        let seconds = Self.days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset
        return seconds * 1_000_000 + micros
    }

    /// Days since 1970 of a date of the Gregorian calendar, counted in eras of 400 years that begin in March.
    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let (era, yearOfEra) = floorDivide(shifted, by: 400)
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    /// The date of a day since 1970; the inverse of `days`.
    private static func civil(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = floorDivide(days + 719_468, by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
    }

    private static func floorDivide(_ value: Int64, by divisor: Int64) -> (quotient: Int64, rest: Int64) {
        let (quotient, rest) = value.quotientAndRemainder(dividingBy: divisor)
        return rest < 0 ? (quotient - 1, rest + divisor) : (quotient, rest)
    }
}

extension Timestamp: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .timestamptz }

    package func encode(into text: inout [UInt8]) -> Bool {
        append(to: &text, separator: UInt8(ascii: " "), zone: "+00")
        return true
    }

    /// Reads `timestamptz`; a column without a zone, `infinity` and years before Christ are errors.
    package init(cell: Cell) throws {
        guard let moment = Self.parse(try cell.content()) else { throw cell.mismatch(Timestamp.self) }
        self.init(microseconds: moment)
    }
}

extension Timestamp: Codable, CustomStringConvertible {
    package var description: String { iso8601 }

    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let moment = Timestamp(iso8601: text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "not a time as in ISO 8601"))
        }
        self = moment
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(iso8601)
    }
}

extension Duration {
    fileprivate var wholeMicroseconds: Int64 {
        components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000
    }
}
