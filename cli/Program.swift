/// The whole program between its words and its exit code.
package enum Program {
    /// Runs one command line. Never throws: whatever goes wrong becomes a line for people and an exit code.
    package static func run(_ words: [String], in surroundings: Surroundings) async -> ExitCode {
        let console = surroundings.console
        var account: Account?
        var task: String?
        do {
            switch try Parser().parse(words) {
            case .version:
                console.print("bgagent \(Help.version)")
            case .help(let path):
                console.printText(try Help.text(path))
                if words.isEmpty { return .failure }
            case .run(let invocation):
                account = try? Account(invocation, environment: surroundings.environment)
                task = invocation.words("TASK").first
                return try await invocation.verb.body(invocation, surroundings)
            }
            return .success
        } catch is CancellationError {
            console.sayFarewell()
            return .interrupted
        } catch {
            explain(error, account, task, console)
            return .failure
        }
    }

    private static func explain(_ error: any Error, _ account: Account?, _ task: String?, _ console: Console) {
        console.settle()
        switch error {
        case let error as UserError:
            console.complain(error.message, advice: error.advice)
        case let error as APIError:
            console.complain(error.line, advice: account.map { error.advice($0, task: task) })
        case let error as TransportError:
            let place = account?.apiURL ?? "the gateway"
            console.complain("\(place) does not answer: \(Text.visible(error.reason))", advice: advice(error))
        default:
            console.complain(Text.visible("\(error)"), advice: nil)
        }
    }

    private static func advice(_ error: TransportError) -> String {
        switch error {
        case .unreachable: "Is the gateway running, and is that its address? bgagent configure --api-url URL sets it."
        case .lost: "The request may have arrived. Look before you repeat it: bgagent list, bgagent repo list."
        case .unusable: "Check the address and its certificate: bgagent configure --api-url URL sets it."
        }
    }
}
