/// A list of `Label  value` lines, the values in one column.
package struct Fields: Sendable {
    private var rows: [(label: String, value: String, colour: Style.Colour?)] = []

    package init() {}

    /// Adds a line; a nil value adds none.
    /// - Parameter value: may come from anywhere; it is made safe here.
    package mutating func add(_ label: String, _ value: String?, _ colour: Style.Colour? = nil) {
        guard let value else { return }
        rows.append((label, Text.visible(value), colour))
    }

    package func lines(style: Style) -> [String] {
        let width = rows.map { Text.width($0.label) }.max() ?? 0
        return rows.map { row in
            style.paint(Text.pad(row.label, to: width), .dim) + "  " + style.paint(row.value, row.colour)
        }
    }
}
