import Glibc

/// Builds one JSON line.
struct LogLine {
    /// A longer text is cut: a log line is not the place to keep a document.
    static let longestText = 8192

    private var bytes: [UInt8] = [UInt8(ascii: "{")]
    private let redact: (String) -> String

    /// - Parameter redact: takes secrets out of texts.
    init(redact: @escaping (String) -> String) {
        self.redact = redact
    }

    /// Adds a field; nil adds nothing.
    mutating func add(_ name: String, _ value: (any Sendable)?) {
        guard let value = Self.unwrapped(value) else { return }
        if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
        text(name)
        bytes.append(UInt8(ascii: ":"))
        switch value {
        case let value as Bool: raw(value ? "true" : "false")
        case let value as any BinaryInteger: raw(String(describing: value))
        case let value as Double: raw(value.isFinite ? "\(value)" : "null")
        case let value as Float: raw(value.isFinite ? "\(value)" : "null")
        case _ where Redaction.isSecret(field: name): text(Redaction.mark)
        case let value as String: text(redact(Redaction.withoutPasswords(value)))
        default: text(redact(Redaction.withoutPasswords(String(describing: value))))
        }
    }

    /// The line with its end.
    consuming func finished() -> [UInt8] {
        bytes.append(UInt8(ascii: "}"))
        bytes.append(UInt8(ascii: "\n"))
        return bytes
    }

    /// An optional that was stored as a value of `any Sendable` counts as what it holds.
    private static func unwrapped(_ value: (any Sendable)?) -> Any? {
        guard let value else { return nil }
        guard let nested = value as? any OptionalValue else { return value }
        return nested.held
    }

    private mutating func raw(_ text: String) {
        bytes.append(contentsOf: text.utf8)
    }

    private mutating func text(_ text: String) {
        let hex = Array("0123456789abcdef".utf8)
        bytes.append(UInt8(ascii: "\""))
        var count = 0
        for byte in text.utf8 {
            // The cut falls between characters: continuation bytes of the last one are still taken.
            if count >= Self.longestText, byte & 0xC0 != 0x80 {
                raw("…")
                break
            }
            count += 1
            switch byte {
            case UInt8(ascii: "\""): raw("\\\"")
            case UInt8(ascii: "\\"): raw("\\\\")
            case UInt8(ascii: "\n"): raw("\\n")
            case UInt8(ascii: "\r"): raw("\\r")
            case UInt8(ascii: "\t"): raw("\\t")
            case 0..<0x20, 0x7F:
                raw("\\u00")
                bytes.append(hex[Int(byte >> 4)])
                bytes.append(hex[Int(byte & 15)])
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// This moment as `2026-01-31T23:59:59.123Z`.
    static func timestamp() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return timestamp(seconds: now.tv_sec, milliseconds: now.tv_nsec / 1_000_000)
    }

    /// A moment since 1970, UTC.
    static func timestamp(seconds: Int, milliseconds: Int) -> String {
        var seconds = seconds
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func padded(_ number: Int, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let date =
            "\(padded(Int(parts.tm_year) + 1900, 4))-\(padded(Int(parts.tm_mon) + 1, 2))-\(padded(Int(parts.tm_mday), 2))"
        let time = "\(padded(Int(parts.tm_hour), 2)):\(padded(Int(parts.tm_min), 2)):\(padded(Int(parts.tm_sec), 2))"
        return "\(date)T\(time).\(padded(milliseconds, 3))Z"
    }
}

private protocol OptionalValue {
    var held: Any? { get }
}

extension Optional: OptionalValue {
    fileprivate var held: Any? {
        self
    }
}
