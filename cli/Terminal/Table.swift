/// Rows in columns as wide as their content, cut to the terminal at the one column that may shrink.
package struct Table: Sendable {
    private let header: [String]
    private let flexible: Int
    private var rows: [[Cell]] = []

    /// One field: what it says, and its colour.
    package struct Cell: Sendable {
        let text: String
        let colour: Style.Colour?

        /// - Parameter text: may come from anywhere; it is made safe here.
        package init(_ text: String, _ colour: Style.Colour? = nil) {
            self.text = Text.visible(text)
            self.colour = colour
        }
    }

    /// - Parameter flexible: index of the column that gives way on a narrow terminal.
    package init(_ header: [String], flexible: Int) {
        self.header = header
        self.flexible = flexible
    }

    package mutating func add(_ cells: [Cell]) {
        rows.append(cells)
    }

    package var isEmpty: Bool { rows.isEmpty }

    /// The lines, header first.
    /// - Parameter width: columns to stay within; nil cuts nothing.
    package func lines(style: Style, width: Int?) -> [String] {
        var widths = header.map(Text.width)
        for row in rows {
            for (column, cell) in row.enumerated() { widths[column] = max(widths[column], Text.width(cell.text)) }
        }
        if let width {
            let total = widths.reduce(0, +) + 2 * (widths.count - 1)
            let floor = min(widths[flexible], max(8, Text.width(header[flexible])))
            if total > width { widths[flexible] = max(floor, widths[flexible] - (total - width)) }
        }
        let head = line(header.map { Cell($0, .bold) }, widths, style, width)
        return [head] + rows.map { line($0, widths, style, width) }
    }

    private func line(_ cells: [Cell], _ widths: [Int], _ style: Style, _ width: Int?) -> String {
        var room = width ?? Int.max
        var result = ""
        for (column, cell) in cells.enumerated() {
            let isLast = column == cells.count - 1
            let cut = Text.truncate(cell.text, to: min(widths[column], max(0, room)))
            let blanks = isLast ? 0 : max(0, min(widths[column] - Text.width(cut) + 2, room - Text.width(cut)))
            result += style.paint(cut, cell.colour) + String(repeating: " ", count: blanks)
            room -= Text.width(cut) + blanks
        }
        while result.hasSuffix(" ") { result.removeLast() }
        return result
    }
}
