import Threads

/// A number that only grows, per set of label values.
package final class Counter: MetricFamily {
    let head: FamilyHead
    let kind = "counter"
    private let series = Lock(SeriesTable<Double>())

    init(_ head: FamilyHead) {
        self.head = head
        if head.labels.isEmpty { increment(by: 0) }  // a scrape tells 0 from "not there"
    }

    /// Adds to the series of these label values. Negative amounts are dropped.
    package func increment(by amount: Double = 1, _ labels: String...) {
        guard amount >= 0 else { return }
        series.withLock { $0.update(labels, in: head, new: { 0 }) { $0 += amount } }
    }

    /// Shows the series of these label values at 0. A series that begins with its first count hides that count from
    /// everybody who looks at growth, so values that are known beforehand are announced.
    package func announce(_ labels: String...) {
        series.withLock { $0.update(labels, in: head, new: { 0 }) { _ in } }
    }

    func samples() -> [String] {
        series.withLock { $0.sorted }.map { "\(head.name)\(head.labelText($0.labels)) \(metricText($0.value))" }
    }
}

/// A number that goes up and down, per set of label values.
package final class Gauge: MetricFamily {
    let head: FamilyHead
    let kind = "gauge"
    private let series = Lock(SeriesTable<Double>())

    init(_ head: FamilyHead) {
        self.head = head
    }

    /// Puts the series of these label values at `value`.
    package func set(_ value: Double, _ labels: String...) {
        series.withLock { $0.update(labels, in: head, new: { 0 }) { $0 = value } }
    }

    /// Moves the series of these label values by `amount`.
    package func add(_ amount: Double, _ labels: String...) {
        series.withLock { $0.update(labels, in: head, new: { 0 }) { $0 += amount } }
    }

    func samples() -> [String] {
        series.withLock { $0.sorted }.map { "\(head.name)\(head.labelText($0.labels)) \(metricText($0.value))" }
    }
}

/// A number by its label values, as somebody who is asked gives it.
package typealias MetricSample = (labels: [String], value: Double)

/// A gauge or counter that is asked at each scrape.
final class AskedFamily: MetricFamily {
    let head: FamilyHead
    let kind: String
    private let read: @Sendable () -> [MetricSample]

    init(_ head: FamilyHead, kind: String, _ read: @escaping @Sendable () -> [MetricSample]) {
        self.head = head
        self.kind = kind
        self.read = read
    }

    func samples() -> [String] {
        read().map { "\(head.name)\(head.labelText($0.labels)) \(metricText($0.value))" }
    }
}

/// How values spread, per set of label values.
package final class Histogram: MetricFamily {
    /// Bounds for waits and calls, in seconds.
    package static let seconds: [Double] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]

    private struct Counts {
        var below: [UInt64]
        var count: UInt64 = 0
        var sum = 0.0
    }

    let head: FamilyHead
    let kind = "histogram"
    private let bounds: [Double]
    private let series = Lock(SeriesTable<Counts>())

    init(_ head: FamilyHead, bounds: [Double]) {
        precondition(zip(bounds, bounds.dropFirst()).allSatisfy(<), "\(head.name): bounds ascend")
        self.head = head
        self.bounds = bounds
    }

    /// Counts one value.
    package func observe(_ value: Double, _ labels: String...) {
        observe(value, labels: labels)
    }

    /// Counts one duration, in seconds.
    package func observe(_ duration: Duration, _ labels: String...) {
        observe(duration.inSeconds, labels: labels)
    }

    private func observe(_ value: Double, labels: [String]) {
        let bucket = bounds.firstIndex { value <= $0 }
        series.withLock { table in
            table.update(labels, in: head, new: { Counts(below: Array(repeating: 0, count: bounds.count)) }) { counts in
                if let bucket { counts.below[bucket] += 1 }
                counts.count += 1
                counts.sum += value
            }
        }
    }

    func samples() -> [String] {
        series.withLock { $0.sorted }.flatMap { labels, counts in
            var total: UInt64 = 0
            var lines = zip(bounds, counts.below).map { bound, count in
                total += count
                return "\(head.name)_bucket\(head.labelText(labels, extra: ("le", metricText(bound)))) \(total)"
            }
            lines.append("\(head.name)_bucket\(head.labelText(labels, extra: ("le", "+Inf"))) \(counts.count)")
            lines.append("\(head.name)_sum\(head.labelText(labels)) \(metricText(counts.sum))")
            lines.append("\(head.name)_count\(head.labelText(labels)) \(counts.count)")
            return lines
        }
    }
}
