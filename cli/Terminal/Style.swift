/// Colours, or none: everything that paints asks here, so that a pipe gets plain text.
package struct Style: Sendable, Equatable {
    package enum Colour: String, Sendable {
        case red = "31"
        case green = "32"
        case yellow = "33"
        case cyan = "36"
        case dim = "2"
        case bold = "1"
    }

    package let isColoured: Bool

    package init(isColoured: Bool) {
        self.isColoured = isColoured
    }

    /// Coloured on a terminal that can, unless NO_COLOR holds anything.
    package init(isTerminal: Bool, environment: [String: String]) {
        let refused = !(environment["NO_COLOR"] ?? "").isEmpty || environment["TERM"] == "dumb"
        self.init(isColoured: isTerminal && !refused)
    }

    package func paint(_ text: String, _ colour: Colour?) -> String {
        guard isColoured, let colour, !text.isEmpty else { return text }
        return "\u{1B}[\(colour.rawValue)m\(text)\u{1B}[0m"
    }

    /// The colour that a task state has everywhere.
    package static func colour(ofState state: String) -> Colour? {
        switch state {
        case "COMPLETED": .green
        case "FAILED", "TIMED_OUT": .red
        case "CANCELLED", "AWAITING_APPROVAL", "PARKED": .yellow
        case "RUNNING", "HYDRATING", "FINALIZING": .cyan
        default: nil
        }
    }
}
