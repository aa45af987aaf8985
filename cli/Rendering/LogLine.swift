import Domain

/// One line of a task's log: when, how grave, who, what.
package struct LogLine: Sendable {
    private let line: JSONValue
    /// Of no use to a person who looks at one task.
    private static let hidden: Set<String> = ["trace_id", "session"]

    /// - Parameter line: as the API returns it.
    package init(_ line: JSONValue) {
        self.line = line
    }

    /// The whole line, never cut: it may be what is looked for.
    package func rendered(style: Style) -> String {
        let level = line.text("level") ?? "info"
        let time = Moment.clock(Moment.date(line.text("at")))
        let service = (line.text("service") ?? "–") + (line.whole("attempt").map { $0 > 1 ? "#\($0)" : "" } ?? "")
        let fields = (line.member("fields")?.object ?? [:]).filter { !Self.hidden.contains($0.key) }
            .sorted { $0.key < $1.key }.map { "  \($0.key)=\($0.value.plain)" }.joined()
        let colour: Style.Colour? =
            switch level {
            case "error": .red
            case "warning": .yellow
            case "debug": .dim
            default: nil
            }
        return style.paint(time, .dim) + "  " + style.paint(Text.pad(Text.visible(level), to: 7), colour) + "  "
            + style.paint(Text.pad(Text.visible(service), to: 15), .dim) + "  "
            + style.paint(Text.visible(line.text("message") ?? ""), colour == .dim ? nil : colour)
            + style.paint(Text.visible(fields), .dim)
    }
}
