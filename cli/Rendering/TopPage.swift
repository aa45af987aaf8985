import Domain

/// The page of `bgagent top`: always the same lines, a dash where there is nothing to say.
package struct TopPage: Sendable {
    private let snapshot: JSONValue
    private let status: JSONValue

    package init(_ snapshot: JSONValue) {
        self.snapshot = snapshot
        status = snapshot.member("status") ?? .object([:])
    }

    /// - Parameter width: columns to stay within; nil cuts nothing.
    package func lines(style: Style, width: Int?) -> [String] {
        let page = StatusPage(status)
        let state = status.text("status") ?? "unknown"
        let room = width.map { max(10, $0 - 15) } ?? Int.max
        var fields = Fields()
        func add(_ label: String, _ value: String, _ colour: Style.Colour? = nil) {
            fields.add(label, Text.truncate(Text.visible(value), to: room), colour)
        }
        add("Task", "\(status.text("task_id") ?? "–")  \(page.repository)")
        let attempt = status.whole("attempt").map { $0 > 1 ? ", attempt \($0)" : "" } ?? ""
        add("State", page.state(state) + attempt, Style.colour(ofState: state))
        add("Turn", page.turn)
        add(page.isWaiting ? "Waiting for" : "Doing", page.doing(state) + toolAge)
        add("Cost", "\(page.cost)\(rate)")
        add("Tokens", tokens)
        add("Sandbox", sandbox, leaseIsLate ? .red : nil)
        add("Uses", usage)
        add("Queue", page.queue)
        add("Notifications", notifications, snapshot.member("notifications")?.whole("dead") ?? 0 > 0 ? .red : nil)
        add("Messages", messages, snapshot.member("outbox")?.whole("oldest_age_s") ?? 0 > 30 ? .red : nil)
        return fields.lines(style: style) + [""] + events(style: style, width: width)
    }

    private var toolAge: String {
        snapshot.whole("tool_age_s").map { ", for \(Moment.length(seconds: $0))" } ?? ""
    }

    private var rate: String {
        guard let recent = snapshot.amount("cost_last_5_min_usd"), recent > 0 else { return "" }
        return ", \(Amount.dollars(recent / 5)) a minute"
    }

    private var tokens: String {
        guard let tokens = snapshot.member("tokens") else { return "–" }
        let parts = [("input", "in"), ("output", "out"), ("cache_read", "from the cache")]
        return parts.map { "\(Self.grouped(tokens.whole($0.0) ?? 0)) \($0.1)" }.joined(separator: ", ")
    }

    private var leaseIsLate: Bool { (snapshot.member("sandbox")?.whole("lease_left_s") ?? 0) < 0 }

    private var sandbox: String {
        guard let sandbox = snapshot.member("sandbox") else { return "–" }
        let place = sandbox.text("node").map { " on \($0)" } ?? ""
        let age = sandbox.whole("age_s").map { " for \(Moment.length(seconds: $0))" } ?? ""
        let lease = sandbox.whole("lease_left_s").map { left in
            left < 0
                ? ", its lease is over since \(Moment.length(seconds: -left))"
                : ", lease for \(Moment.length(seconds: left))"
        }
        return "\(sandbox.text("state") ?? "–")\(place) (\(sandbox.text("backend") ?? "–"))\(age)\(lease ?? "")"
    }

    private var usage: String {
        guard let sandbox = snapshot.member("sandbox"), let pids = sandbox.whole("pids") else { return "–" }
        let share = sandbox.amount("cpu_percent").map { "CPU \(Int($0.rounded())) %, " } ?? ""
        let memory = (sandbox.whole("memory_bytes") ?? 0) >> 20
        return "\(share)\(memory) MB, \(pids == 1 ? "1 process" : "\(pids) processes")"
    }

    private var notifications: String {
        guard let counts = snapshot.member("notifications") else { return "–" }
        return ["waiting", "unknown", "dead"].map { "\(counts.whole($0) ?? 0) \($0)" }.joined(separator: ", ")
    }

    private var messages: String {
        guard let outbox = snapshot.member("outbox"), let count = outbox.whole("messages"), count > 0 else {
            return "none waits to be published"
        }
        let age = Moment.length(seconds: outbox.whole("oldest_age_s") ?? 0)
        return "\(Amount.count(count, "message")) to be published, the oldest for \(age)"
    }

    private func events(style: Style, width: Int?) -> [String] {
        (snapshot.member("events")?.array ?? []).map { event in
            let age = Moment.length(seconds: event.whole("age_s") ?? 0) + " ago"
            let name = event.text("event_type") ?? "event"
            let wording = EventWording(metadata: event.member("metadata") ?? .object([:]))
            let text = Text.visible(TaskEventType(rawValue: name).map(wording.text) ?? wording.unknown(name))
            let shown = Text.truncate(text, to: width.map { max(10, $0 - 24) } ?? Int.max)
            let number = event.whole("seq").map { "#\($0)" } ?? ""
            return style.paint(Text.pad(number, to: 6) + "  " + Text.pad(age, to: 12), .dim) + "  " + shown
        }
    }

    /// `1,234,567`.
    private static func grouped(_ number: Int) -> String {
        var text = ""
        for (index, digit) in String(number).reversed().enumerated() {
            if index > 0, index % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return String(text.reversed())
    }
}
