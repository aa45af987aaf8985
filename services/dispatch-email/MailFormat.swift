import Crypto

/// A whole mail as RFC 5322 and MIME want it: lines of at most 998 bytes ended by CRLF, ASCII only. Pure.
///
/// Nothing that came from elsewhere can become a header: line breaks and control characters are gone before encoding.
struct MailFormat {
    var from: String
    var to: String
    var subject: String
    var date: String
    var messageID: String
    /// The message that stands for the whole task; mail programs show what refers to it together.
    var thread: String
    /// Further headers; the values must be ours.
    var headers: [(String, String)] = []
    var plain: String
    var html: String
    /// Between the parts; must not occur in them, which base64 sees to.
    var boundary: String

    var bytes: [UInt8] {
        var lines = [
            "From: \(MailFormat.clean(from))", "To: \(MailFormat.clean(to))",
            "Subject: \(MailFormat.encodedWords(subject))", "Date: \(date)", "Message-ID: <\(messageID)>",
            "In-Reply-To: <\(thread)>", "References: <\(thread)>",
        ]
        lines += headers.map { "\($0.0): \(MailFormat.clean($0.1))" }
        lines += [
            "Auto-Submitted: auto-generated", "MIME-Version: 1.0",
            "Content-Type: multipart/alternative; boundary=\"\(boundary)\"", "",
        ]
        for (kind, text) in [("plain", plain), ("html", html)] {
            lines += [
                "--\(boundary)", "Content-Type: text/\(kind); charset=utf-8", "Content-Transfer-Encoding: base64", "",
            ]
            lines += MailFormat.base64Lines(text)
        }
        lines += ["--\(boundary)--", ""]
        return Array(lines.joined(separator: "\r\n").utf8)
    }

    /// Header text without what could end or fold it.
    static func clean(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 }))
    }

    /// RFC 2047: as it is when it is short plain ASCII, else in encoded words of at most 75 characters, one a line.
    ///
    /// Words hold whole characters: a decoder may show each of them before it has seen the next.
    static func encodedWords(_ text: String) -> String {
        let text = clean(text)
        if text.utf8.count <= 60, !text.contains("=?"), text.utf8.allSatisfy({ $0 < 127 }) { return text }
        var words: [String] = []
        var chunk: [UInt8] = []
        for scalar in text.unicodeScalars {
            let bytes = Array(String(scalar).utf8)
            if chunk.count + bytes.count > 45 {
                words.append("=?utf-8?B?\(Base64.encode(chunk))?=")
                chunk = []
            }
            chunk += bytes
        }
        if !chunk.isEmpty { words.append("=?utf-8?B?\(Base64.encode(chunk))?=") }
        return words.joined(separator: "\r\n ")
    }

    /// The text with CRLF line ends, in lines of 76 characters.
    static func base64Lines(_ text: String) -> [String] {
        var canonical: [UInt8] = []
        var previous: UInt8 = 0
        for byte in text.utf8 {
            if byte == 10 && previous != 13 { canonical.append(13) }
            canonical.append(byte)
            previous = byte
        }
        let encoded = Array(Base64.encode(canonical).utf8)
        return stride(from: 0, to: encoded.count, by: 76).map {
            String(decoding: encoded[$0..<min($0 + 76, encoded.count)], as: UTF8.self)
        }
    }
}

/// An address that can be put into an envelope and a header.
enum MailAddress {
    /// The address when it is one of plain ASCII without quoting; nil for everything else.
    static func plain(_ text: String) -> String? {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, (1...64).contains(parts[0].utf8.count), (1...253).contains(parts[1].utf8.count) else {
            return nil
        }
        let odd = Set("()<>[]:;,\\\"".utf8)
        return text.utf8.allSatisfy { $0 > 32 && $0 < 127 && !odd.contains($0) } ? text : nil
    }

    static func domain(_ address: String) -> String {
        let domain = address.drop { $0 != "@" }.dropFirst()
        return domain.isEmpty ? "localhost" : String(domain)
    }
}
