/// Makes text from elsewhere safe and measurable for a terminal.
package enum Text {
    /// The text on one line, with nothing left that a terminal would obey: control characters, escapes, and the
    /// marks that turn the writing direction become visible as `\x1b` or `\u{202e}`.
    /// Line breaks and tabs become blanks.
    /// Whatever a server, a repository or a model wrote passes through here before it is printed.
    package static func visible(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x09, 0x0A, 0x0D:
                if !result.hasSuffix(" ") { result.append(" ") }
            case 0..<0x20, 0x7F..<0xA0:
                result += "\\x" + hex(scalar.value, digits: 2)
            case 0x200E, 0x200F, 0x2028, 0x2029, 0x202A...0x202E, 0x2060...0x206F, 0xFEFF, 0xFFF9...0xFFFB,
                0xE0000...0xE007F:
                result += "\\u{" + hex(scalar.value, digits: 4) + "}"
            default:
                result.unicodeScalars.append(scalar)
            }
        }
        while result.hasSuffix(" ") { result.removeLast() }
        return result
    }

    /// Like ``visible(_:)`` for text of several lines, which stay lines.
    package static func visibleLines(_ text: String) -> [String] {
        text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map { visible(String($0)) }
    }

    /// Encoded JSON with the characters escaped that JSON allows and a terminal obeys (DEL, C1, direction marks).
    /// They can stand inside strings only, so an escape means the same.
    package static func escapedJSON(_ json: String) -> String {
        var result = ""
        for scalar in json.unicodeScalars {
            switch scalar.value {
            case 0x7F..<0xA0, 0x200E, 0x200F, 0x2028, 0x2029, 0x202A...0x202E, 0x2066...0x2069, 0xFEFF:
                result += "\\u" + hex(scalar.value, digits: 4)
            default:
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// Columns the text takes: wide characters two, joined marks none.
    package static func width(_ text: String) -> Int {
        text.reduce(0) { $0 + columns($1) }
    }

    /// The text in at most `columns` columns, its cut end marked by `…`.
    package static func truncate(_ text: String, to limit: Int) -> String {
        guard width(text) > limit else { return text }
        guard limit > 0 else { return "" }
        var result = ""
        var used = 0
        for character in text {
            let next = columns(character)
            guard used + next < limit else { break }
            result.append(character)
            used += next
        }
        return result + "…"
    }

    /// The text filled with blanks to `columns`.
    package static func pad(_ text: String, to columns: Int) -> String {
        text + String(repeating: " ", count: max(0, columns - width(text)))
    }

    private static func columns(_ character: Character) -> Int {
        guard let first = character.unicodeScalars.first else { return 0 }
        if first.properties.generalCategory == .nonspacingMark { return 0 }
        switch first.value {
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xA000...0xA4CF,
            0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F,
            0x1F680...0x1F6FF, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
            return 2
        default:
            return 1
        }
    }

    private static func hex(_ value: UInt32, digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}
