import Threads

/// The metrics of a process, told in Prometheus' text format.
///
/// Ask for a metric by name wherever it is used: the same name gives the same metric. Names end in their unit
/// (`_seconds`, `_bytes`) or in `_total`.
package final class Metrics: Sendable {
    /// The process's own set, for code that is handed none.
    package static let process = Metrics()

    private let families = Lock<[String: any MetricFamily]>([:])

    package init() {}

    /// A number that only grows.
    ///
    /// - Parameter labels: the names of the labels; values are given in the same order at every call.
    package func counter(_ name: String, _ help: String, labels: [String] = []) -> Counter {
        family(name) { Counter(FamilyHead(name: name, help: help, labels: labels)) }
    }

    /// A number that goes up and down.
    package func gauge(_ name: String, _ help: String, labels: [String] = []) -> Gauge {
        family(name) { Gauge(FamilyHead(name: name, help: help, labels: labels)) }
    }

    /// A number that is asked for at each scrape; nil leaves it out. A second call replaces the question.
    ///
    /// - Parameter read: runs on the thread that serves the scrape, so it may wait for a lock and nothing else.
    package func gauge(_ name: String, _ help: String, read: @escaping @Sendable () -> Double?) {
        gauges(name, help, labels: []) { read().map { [([], $0)] } ?? [] }
    }

    /// Numbers that are asked for at each scrape, one for each set of label values.
    package func gauges(
        _ name: String, _ help: String, labels: [String], read: @escaping @Sendable () -> [MetricSample]
    ) {
        ask(name, help, labels, kind: "gauge", read)
    }

    /// A number that only grows and that somebody else counts; asked for like a gauge.
    package func counter(_ name: String, _ help: String, read: @escaping @Sendable () -> Double?) {
        ask(name, help, [], kind: "counter") { read().map { [([], $0)] } ?? [] }
    }

    private func ask(
        _ name: String, _ help: String, _ labels: [String], kind: String,
        _ read: @escaping @Sendable () -> [MetricSample]
    ) {
        let asked = AskedFamily(FamilyHead(name: name, help: help, labels: labels), kind: kind, read)
        families.withLock { $0[name] = asked }
    }

    /// How often values fell below each bound, and their sum.
    ///
    /// - Parameter bounds: ascending upper bounds; the default suits seconds from 1 ms to 1 min.
    package func histogram(
        _ name: String, _ help: String, labels: [String] = [], bounds: [Double] = Histogram.seconds
    ) -> Histogram {
        family(name) { Histogram(FamilyHead(name: name, help: help, labels: labels), bounds: bounds) }
    }

    /// Everything, as `/metrics` answers it (`text/plain; version=0.0.4`).
    package func exposition() -> String {
        let all = families.withLock { $0.values.sorted { $0.head.name < $1.head.name } }
        var text = ""
        for family in all {
            let samples = family.samples()
            if samples.isEmpty { continue }
            text += "# HELP \(family.head.name) \(family.head.escapedHelp)\n# TYPE \(family.head.name) \(family.kind)\n"
            for sample in samples { text += sample + "\n" }
        }
        return text
    }

    private func family<Family: MetricFamily>(_ name: String, make: () -> Family) -> Family {
        families.withLock { families in
            if let known = families[name] {
                guard let same = known as? Family else {
                    preconditionFailure("the metric \(name) is used as two kinds of metric")
                }
                return same
            }
            let made = make()
            families[name] = made
            return made
        }
    }
}

/// A metric with all its labelled series.
protocol MetricFamily: Sendable {
    var head: FamilyHead { get }
    var kind: String { get }
    /// Lines without their ends.
    func samples() -> [String]
}

/// What is fixed about a metric.
struct FamilyHead: Sendable {
    let name: String
    let help: String
    let labels: [String]

    var escapedHelp: String {
        escaped(help, quotes: false)
    }

    /// `{a="b",…}` or nothing.
    func labelText(_ values: [String], extra: (String, String)? = nil) -> String {
        var pairs = zip(labels, values).map { "\($0)=\"\(escaped($1, quotes: true))\"" }
        if let extra { pairs.append("\(extra.0)=\"\(extra.1)\"") }
        return pairs.isEmpty ? "" : "{" + pairs.joined(separator: ",") + "}"
    }

    private func escaped(_ text: String, quotes: Bool) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where quotes: escaped += "\\\""
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }
}

/// The values of a metric by their labels. Bounded: a label that takes ever new values (a mistake) must not eat
/// the memory, so values past the bound share one series whose labels all say `other`.
struct SeriesTable<Value: Sendable>: Sendable {
    static var bound: Int { 1000 }

    private var values: [[String]: Value] = [:]

    mutating func update(_ labels: [String], in head: FamilyHead, new: () -> Value, _ body: (inout Value) -> Void) {
        precondition(labels.count == head.labels.count, "\(head.name) takes \(head.labels.count) label values")
        var key = labels
        if values[key] == nil, values.count >= Self.bound { key = labels.map { _ in "other" } }
        body(&values[key, default: new()])
    }

    var sorted: [(labels: [String], value: Value)] {
        values.map { (labels: $0.key, value: $0.value) }.sorted { $0.labels.lexicographicallyPrecedes($1.labels) }
    }
}

func metricText(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    if let whole = Int64(exactly: value) { return String(whole) }
    return "\(value)"
}
