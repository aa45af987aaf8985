import Glibc

extension Environment {
    /// Settings that cannot be used, all of them at once.
    package struct Unusable: Error, CustomStringConvertible {
        /// One sentence each, with what to do.
        package let problems: [String]

        package var description: String {
            let count = problems.count == 1 ? "1 setting needs" : "\(problems.count) settings need"
            return "\(count) attention:\n" + problems.map { "  \($0)" }.joined(separator: "\n")
        }
    }

    /// Reads a config from `environment`; throws everything that is wrong with it.
    package static func read<Config>(
        _ make: (inout Environment) -> Config, from environment: Environment,
        read: (Environment) -> Void = { _ in }
    ) throws(Unusable) -> Config {
        var environment = environment
        let config = make(&environment)
        read(environment)
        guard environment.problems.isEmpty else { throw Unusable(problems: environment.problems) }
        return config
    }

    /// Every variable that a config reads, found by reading it from an empty environment.
    package static func variables<Config>(of make: (inout Environment) -> Config) -> [Variable] {
        var empty = Environment([:])
        _ = make(&empty)
        return empty.variables
    }

    /// The config of this process, at the start of `main`.
    ///
    /// With `--print-configuration` among the arguments it prints the rows of the documentation's table and ends the
    /// process with 0. Settings that cannot be used are printed to standard error, all of them, and end it with 64.
    package static func load<Config>(_ make: (inout Environment) -> Config) -> Config {
        if CommandLine.arguments.dropFirst().contains("--print-configuration") {
            for variable in variables(of: make) { print(variable.markdownRow) }
            fflush(nil)
            exit(0)
        }
        do {
            return try read(make, from: .process) { SecretFile.used.set($0.secretFiles) }
        } catch {
            let program = CommandLine.arguments.first?.split(separator: "/").last ?? "this program"
            let text = "\(program) cannot start: \(error)\n"
            _ = text.utf8CString.withUnsafeBytes { Glibc.write(2, $0.baseAddress, $0.count - 1) }
            exit(64)
        }
    }
}
