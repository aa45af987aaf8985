import FoundationEssentials
import Glibc

/// Time as the program sees it, so that tests can let minutes pass at once.
package struct Pace: Sendable {
    /// The wall clock, for ages and clock times.
    package let now: @Sendable () -> Date
    /// Time since some fixed moment, never set back; for deadlines.
    package let uptime: @Sendable () -> Duration
    /// Waits; throws `CancellationError` when cancelled.
    package let pause: @Sendable (Duration) async throws -> Void

    package init(
        now: @escaping @Sendable () -> Date, uptime: @escaping @Sendable () -> Duration,
        pause: @escaping @Sendable (Duration) async throws -> Void
    ) {
        self.now = now
        self.uptime = uptime
        self.pause = pause
    }

    /// The machine's clocks.
    package static let machine: Pace = {
        let start = ContinuousClock.now
        return Pace(
            now: { Date() }, uptime: { ContinuousClock.now - start },
            pause: { try await Swift.Task.sleep(for: $0) })
    }()
}

/// Clock times and lengths of time for people.
package enum Moment {
    /// `hh:mm:ss` of the machine's time zone (TZ), or `--:--:--`.
    package static func clock(_ date: Date?) -> String {
        guard let date else { return "--:--:--" }
        var seconds = time_t(date.timeIntervalSince1970)
        var parts = tm()
        guard localtime_r(&seconds, &parts) != nil else { return "--:--:--" }
        return [parts.tm_hour, parts.tm_min, parts.tm_sec].map { two(Int($0)) }.joined(separator: ":")
    }

    /// `4s`, `3m 2s`, `2h 5m`, `3d 4h`.
    package static func length(seconds: Int) -> String {
        let total = max(0, seconds)
        switch total {
        case 0..<60: return "\(total)s"
        case 60..<3600: return "\(total / 60)m \(total % 60)s"
        case 3600..<86_400: return "\(total / 3600)h \(total % 3600 / 60)m"
        default: return "\(total / 86_400)d \(total % 86_400 / 3600)h"
        }
    }

    /// Reads ISO 8601 in UTC or with an offset, with or without fractions of a second; nil when it is none.
    package static func date(_ text: String?) -> Date? {
        guard let text else { return nil }
        let whole = Date.ISO8601FormatStyle()
        let fractional = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
        return (try? whole.parse(text)) ?? (try? fractional.parse(text))
    }

    private static func two(_ number: Int) -> String {
        number < 10 ? "0\(number)" : "\(number)"
    }
}
