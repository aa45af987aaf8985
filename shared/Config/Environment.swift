import FoundationEssentials

/// Reads settings from environment variables and collects everything that is wrong with them.
///
/// A config struct reads its variables in `init(_ environment: inout Environment)` without throwing: what is missing
/// or malformed is noted, and a stand-in value returned. `load` then reports all of it in one go. Read every variable
/// on every path, because the documentation is made of what was read. An empty variable counts as not set.
package struct Environment {
    /// Everything that was wrong, each with what to do about it; never a secret's value.
    package private(set) var problems: [String] = []
    /// Every variable that was asked for, in that order.
    package private(set) var variables: [Variable] = []
    private let values: [String: String]

    /// An environment made by hand.
    package init(_ values: [String: String]) {
        self.values = values
    }

    /// The environment of this process.
    package static var process: Environment {
        Environment(ProcessInfo.processInfo.environment)
    }

    // MARK: - Text

    /// A text that must be there.
    package mutating func string(_ name: String, _ purpose: String) -> String {
        register(name, "text", nil, isRequired: true, purpose)
        return required(name, purpose) ?? ""
    }

    /// A text with a default.
    package mutating func string(_ name: String, default fallback: String, _ purpose: String) -> String {
        register(name, "text", fallback, purpose)
        return raw(name) ?? fallback
    }

    /// A text that may be missing.
    package mutating func optionalString(_ name: String, _ purpose: String) -> String? {
        register(name, "text", nil, purpose)
        return raw(name)
    }

    /// Texts separated by commas; spaces around them and empty ones are dropped.
    package mutating func list(_ name: String, default fallback: [String] = [], _ purpose: String) -> [String] {
        register(name, "comma-separated list", fallback.joined(separator: ","), purpose)
        guard let text = raw(name) else { return fallback }
        return text.split(separator: ",").map { Self.trimmed(String($0)) }.filter { !$0.isEmpty }
    }

    /// One of a fixed set of words.
    package mutating func choice(
        _ name: String, of allowed: [String], default fallback: String, _ purpose: String
    ) -> String {
        let list = allowed.joined(separator: ", ")
        register(name, "one of " + list, fallback, purpose)
        guard let text = raw(name) else { return fallback }
        if allowed.contains(text) { return text }
        note(name, text, "is not one of \(list)")
        return fallback
    }

    /// One of the cases of an enum, written as its raw value.
    package mutating func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ name: String, default fallback: Choice, _ purpose: String
    ) -> Choice {
        let word = choice(name, of: Choice.allCases.map(\.rawValue), default: fallback.rawValue, purpose)
        return Choice(rawValue: word) ?? fallback
    }

    // MARK: - Numbers and durations

    /// A whole number within a range.
    package mutating func int(
        _ name: String, default fallback: Int, in range: ClosedRange<Int> = 0...Int.max, _ purpose: String
    ) -> Int {
        let limits = range.upperBound == .max ? "≥ \(range.lowerBound)" : "\(range.lowerBound)…\(range.upperBound)"
        register(name, "integer \(limits)", "\(fallback)", purpose)
        return number(name, fallback, "a whole number \(limits)") { Int($0).flatMap { range.contains($0) ? $0 : nil } }
    }

    /// A number with a fraction, within a range.
    package mutating func double(
        _ name: String, default fallback: Double, in range: ClosedRange<Double>, _ purpose: String
    ) -> Double {
        let limits = "\(range.lowerBound)…\(range.upperBound)"
        register(name, "number \(limits)", "\(fallback)", purpose)
        return number(name, fallback, "a number \(limits)") {
            Double($0).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    /// A number with a fraction that may be missing.
    package mutating func optionalDouble(
        _ name: String, in range: ClosedRange<Double>, _ purpose: String
    ) -> Double? {
        let limits = "\(range.lowerBound)…\(range.upperBound)"
        register(name, "number \(limits)", nil, purpose)
        return number(name, nil, "a number \(limits)") {
            Double($0).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    /// `true` or `false`; `1`, `yes`, `on` and `0`, `no`, `off` do as well.
    package mutating func bool(_ name: String, default fallback: Bool, _ purpose: String) -> Bool {
        register(name, "true or false", "\(fallback)", purpose)
        return number(name, fallback, "true or false") { text in
            switch text.lowercased() {
            case "true", "1", "yes", "on": true
            case "false", "0", "no", "off": false
            default: nil
            }
        }
    }

    /// A number of bytes: `64k`, `512m`, `8g`, or plain bytes.
    package mutating func bytes(
        _ name: String, default fallback: String, in range: ClosedRange<Int64>, _ purpose: String
    ) -> Int64 {
        let limits = "\(ByteText.write(range.lowerBound))…\(ByteText.write(range.upperBound))"
        register(name, "bytes \(limits)", fallback, purpose)
        let form = "a number of bytes \(limits); write 64k, 512m, 8g or plain bytes"
        return number(name, ByteText.read(fallback) ?? range.lowerBound, form) { text in
            ByteText.read(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    /// A duration: `500ms`, `30s`, `5m`, `1h30m`, `2d`, or plain seconds.
    package mutating func duration(
        _ name: String, default fallback: Duration, in range: ClosedRange<Duration>? = nil, _ purpose: String
    ) -> Duration {
        let limits = range.map { " \(DurationText.write($0.lowerBound))…\(DurationText.write($0.upperBound))" } ?? ""
        register(name, "duration\(limits)", DurationText.write(fallback), purpose)
        return number(name, fallback, "a duration\(limits); write 500ms, 30s, 5m, 1h30m, 2d or plain seconds") { text in
            DurationText.read(text).flatMap { range?.contains($0) ?? true ? $0 : nil }
        }
    }

    // MARK: - Places

    /// An address with one of the given schemes and a host.
    package mutating func url(
        _ name: String, default fallback: String, schemes: [String] = ["https", "http"], _ purpose: String
    ) -> String {
        register(name, "URL (\(schemes.joined(separator: ", ")))", fallback, purpose)
        guard let text = raw(name) else { return fallback }
        return checkedURL(name, text, schemes, isSecret: false) ?? fallback
    }

    /// An address that may be missing.
    package mutating func optionalURL(
        _ name: String, schemes: [String] = ["https", "http"], _ purpose: String
    ) -> String? {
        register(name, "URL (\(schemes.joined(separator: ", ")))", nil, purpose)
        return raw(name).flatMap { checkedURL(name, $0, schemes, isSecret: false) }
    }

    /// An address that may hold a password: also read from `NAME_FILE`, and must be there.
    package mutating func secretURL(_ name: String, schemes: [String], _ purpose: String) -> Secret {
        register(name, "URL (\(schemes.joined(separator: ", ")))", nil, isRequired: true, isSecret: true, purpose)
        guard let text = secretText(name) ?? missing(name, purpose, isSecret: true) else { return "" }
        return Secret(checkedURL(name, text, schemes, isSecret: true) ?? "")
    }

    /// A path in the file system, which need not exist yet. It must be absolute or start with `./`.
    package mutating func path(_ name: String, default fallback: String, _ purpose: String) -> String {
        register(name, "path", fallback, purpose)
        return raw(name).flatMap { checkedPath(name, $0) } ?? fallback
    }

    /// A path that may be missing.
    package mutating func optionalPath(_ name: String, _ purpose: String) -> String? {
        register(name, "path", nil, purpose)
        return raw(name).flatMap { checkedPath(name, $0) }
    }

    // MARK: - Secrets

    /// A secret that must be there, in `NAME` or in the file that `NAME_FILE` names.
    package mutating func secret(_ name: String, _ purpose: String) -> Secret {
        register(name, "secret", nil, isRequired: true, isSecret: true, purpose)
        return Secret(secretText(name) ?? missing(name, purpose, isSecret: true) ?? "")
    }

    /// A secret that may be missing.
    package mutating func optionalSecret(_ name: String, _ purpose: String) -> Secret? {
        register(name, "secret", nil, isSecret: true, purpose)
        return secretText(name).map { Secret($0) }
    }

    /// The files that secrets were read from, of the variables read so far.
    package var secretFiles: [SecretFile] {
        variables.filter(\.isSecret).compactMap { variable in
            raw(variable.name + "_FILE").map { SecretFile(variable: variable.name + "_FILE", path: $0) }
        }
    }

    /// Notes a problem that only shows when several variables are seen together.
    package mutating func reject(_ problem: String) {
        problems.append(problem)
    }

    // MARK: - How it is done

    private mutating func register(
        _ name: String, _ type: String, _ fallback: String?, isRequired: Bool = false, isSecret: Bool = false,
        _ purpose: String
    ) {
        if variables.contains(where: { $0.name == name }) { return }
        variables.append(
            Variable(
                name: name, type: type, defaultText: fallback, isRequired: isRequired, isSecret: isSecret,
                purpose: purpose))
    }

    private func raw(_ name: String) -> String? {
        guard let text = values[name].map(Self.trimmed), !text.isEmpty else { return nil }
        return text
    }

    private mutating func required(_ name: String, _ purpose: String) -> String? {
        raw(name) ?? missing(name, purpose, isSecret: false)
    }

    private mutating func missing(_ name: String, _ purpose: String, isSecret: Bool) -> String? {
        // A broken NAME_FILE has been noted already, and says more.
        if isSecret, raw(name + "_FILE") != nil { return nil }
        let how = isSecret ? "Set it, or set \(name)_FILE to a file that holds it" : "Set it"
        problems.append("\(name) is not set (\(purpose)). \(how).")
        return nil
    }

    private mutating func note(_ name: String, _ text: String, _ what: String) {
        problems.append("\(name)=\(text.prefix(100)) \(what).")
    }

    private mutating func number<Value>(
        _ name: String, _ fallback: Value, _ form: String, _ read: (String) -> Value?
    ) -> Value {
        guard let text = raw(name) else { return fallback }
        if let value = read(text) { return value }
        note(name, text, "is not \(form)")
        return fallback
    }

    private mutating func checkedURL(_ name: String, _ text: String, _ schemes: [String], isSecret: Bool) -> String? {
        let shown = isSecret ? name : "\(name)=\(text.prefix(100))"
        let form = schemes.map { "\($0)://host" }.joined(separator: " or ")
        guard let scheme = schemes.first(where: { text.lowercased().hasPrefix($0 + "://") }),
            text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F })
        else {
            problems.append("\(shown) is not an address of the form \(form).")
            return nil
        }
        let rest = text.dropFirst(scheme.count + 3)
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let host = authority.split(separator: "@", omittingEmptySubsequences: false).last ?? ""
        // libpq knows a host-less form for its unix socket, and unix:///path has none: refused for the others only.
        if host.isEmpty, !scheme.hasPrefix("postgres"), scheme != "unix" {
            problems.append("\(shown) names no host; write \(form).")
            return nil
        }
        return text
    }

    private mutating func checkedPath(_ name: String, _ text: String) -> String? {
        if text.hasPrefix("/") || text.hasPrefix("./") || text == "." { return text }
        note(name, text, "is not an absolute path (start it with / or ./)")
        return nil
    }

    private mutating func secretText(_ name: String) -> String? {
        let file = raw(name + "_FILE")
        guard let file else { return raw(name) }
        if raw(name) != nil {
            problems.append("\(name) and \(name)_FILE are both set. Keep one of them.")
            return nil
        }
        do {
            let text = Self.trimmed(try String(contentsOfFile: file, encoding: .utf8))
            if text.isEmpty {
                problems.append("\(name)_FILE=\(file) is empty. Write the secret into it.")
                return nil
            }
            return text
        } catch {
            problems.append("\(name)_FILE=\(file) cannot be read. Check that it exists and who may read it.")
            return nil
        }
    }

    private static func trimmed(_ text: String) -> String {
        let isBlank: (Character) -> Bool = { $0 == " " || $0.isNewline || $0 == "\t" }
        let start = text.drop(while: isBlank)
        guard let end = start.lastIndex(where: { !isBlank($0) }) else { return "" }
        return String(start[...end])
    }
}
