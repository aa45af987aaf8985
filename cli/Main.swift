import Dispatch
import Glibc

/// `bgagent`: words in, an exit code out. Everything between is ``Program``.
@main
struct Main {
    static func main() async {
        // A closed pipe shows as a failed write, which ends the program quietly.
        signal(SIGPIPE, SIG_IGN)
        let environment = Terminal.environment
        let isTerminal = isatty(STDOUT_FILENO) == 1
        let console = Console(
            style: Style(isTerminal: isTerminal, environment: environment),
            width: isTerminal ? Terminal.width(environment) : nil,
            animates: isTerminal && isatty(STDERR_FILENO) == 1 && environment["TERM"] != "dumb",
            output: { Terminal.write($0, to: STDOUT_FILENO) }, errors: { Terminal.write($0, to: STDERR_FILENO) })
        let interrupt = Terminal.onInterrupt {
            console.sayFarewell()
            ProcessExit.afterInterrupt()
        }
        let code = await Program.run(
            Array(CommandLine.arguments.dropFirst()),
            in: Surroundings(
                environment: environment, console: console, input: .process, pace: .machine, transport: .network()))
        withExtendedLifetime(interrupt) { ProcessExit.now(code) }
    }
}
