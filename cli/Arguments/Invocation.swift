/// One parsed command line: the verb and what was given to it, already checked against the table.
package struct Invocation: Sendable {
    package let verb: Verb
    private let options: [String: [String]]
    private let arguments: [String: [String]]

    package init(verb: Verb, options: [String: [String]], arguments: [String: [String]]) {
        self.verb = verb
        self.options = options
        self.arguments = arguments
    }

    /// An argument by its name in the table.
    package func argument(_ name: String) -> String? { arguments[name]?.first }

    /// An argument that the parser has made sure of.
    /// - Throws: ``UserError`` when the table does not call it required, which is a defect of the table.
    package func required(_ name: String) throws -> String {
        guard let word = arguments[name]?.first else { throw UserError("\(name) is missing") }
        return word
    }

    /// All words of a `many` argument.
    package func words(_ name: String) -> [String] { arguments[name] ?? [] }

    package func has(_ option: String) -> Bool { options[option] != nil }
    package func text(_ option: String) -> String? { options[option]?.last }
    package func list(_ option: String) -> [String] { options[option] ?? [] }
    package func whole(_ option: String) -> Int? { text(option).flatMap { Int($0) } }
    package func money(_ option: String) -> Double? { text(option).flatMap(OptionCheck.money) }
    package func seconds(_ option: String) -> Int? { text(option).flatMap(OptionCheck.seconds) }
    package func truth(_ option: String) -> Bool? { text(option).map { $0 == "yes" } }

    /// Whether `--output json` was asked for.
    package var wantsJSON: Bool { text("output") == "json" }
}
