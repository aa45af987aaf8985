/// A value that must not be read by accident: whatever prints it, prints `<redacted>`.
package struct Secret: Sendable, Hashable, ExpressibleByStringLiteral {
    /// The value itself, for the one call that needs it.
    package let revealed: String

    package init(_ value: String) {
        revealed = value
    }

    package init(stringLiteral value: String) {
        revealed = value
    }
}

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String {
        "<redacted>"
    }

    package var debugDescription: String {
        "<redacted>"
    }

    /// Nothing inside, so that `dump` and string interpolation of an enclosing value stay silent too.
    package var customMirror: Mirror {
        Mirror(self, children: [:])
    }
}
