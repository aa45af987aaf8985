import Glibc

/// A point on the clock that never goes back (`CLOCK_MONOTONIC`); it means something in this process only.
package struct MonotonicTime: Sendable, Hashable, Comparable {
    /// Nanoseconds since an arbitrary start.
    package let nanoseconds: Int64

    /// A point given by hand, for tests.
    package init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// This moment.
    package static var now: MonotonicTime {
        var time = Glibc.timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return MonotonicTime(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    package static func < (left: MonotonicTime, right: MonotonicTime) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// Later by `duration`; a sum past the end of the clock stays at its end.
    package static func + (time: MonotonicTime, duration: Duration) -> MonotonicTime {
        let (sum, overflow) = time.nanoseconds.addingReportingOverflow(duration.wholeNanoseconds)
        return MonotonicTime(nanoseconds: overflow ? (duration < .zero ? .min : .max) : sum)
    }

    /// The time between two points; negative when `right` is the later one.
    package static func - (left: MonotonicTime, right: MonotonicTime) -> Duration {
        .nanoseconds(left.nanoseconds.subtractingReportingOverflow(right.nanoseconds).partialValue)
    }

    /// How long ago this was.
    package var elapsed: Duration {
        .now - self
    }

    var timespec: timespec {
        let kept = max(nanoseconds, 0)
        return Glibc.timespec(tv_sec: Int(kept / 1_000_000_000), tv_nsec: Int(kept % 1_000_000_000))
    }
}

extension Duration {
    /// The duration in whole nanoseconds, cut to what 64 bits hold (292 years).
    package var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        let (sum, late) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
        return late ? (seconds < 0 ? .min : .max) : sum
    }

    /// The duration in whole milliseconds, rounded down: what `poll`, libpq and libcurl take.
    package var wholeMilliseconds: Int64 {
        wholeNanoseconds / 1_000_000
    }

    /// The duration in seconds with a fraction: what metrics and logs take.
    package var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}

/// A point in time by which something must be over, handed down through calls that each use up some of it.
package struct Deadline: Sendable, Hashable {
    /// When the time is up; nil = never.
    package let time: MonotonicTime?

    /// The deadline `duration` from now.
    package static func after(_ duration: Duration) -> Deadline {
        Deadline(time: .now + duration)
    }

    /// No deadline at all.
    package static let never = Deadline(time: nil)

    /// What is left, never below zero; nil when there is no deadline.
    package var remaining: Duration? {
        time.map { max($0 - .now, .zero) }
    }

    /// True once the time is up.
    package var isOver: Bool {
        time.map { $0 <= .now } ?? false
    }

    /// The earlier of the two.
    package func capped(by other: Deadline) -> Deadline {
        guard let time else { return other }
        guard let otherTime = other.time else { return self }
        return Deadline(time: min(time, otherTime))
    }
}
