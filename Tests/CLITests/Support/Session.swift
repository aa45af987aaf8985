import FoundationEssentials
import Threads

@testable import CLI

/// One test's own world for the program: what it prints is kept, its clock jumps where the real one would wait.
final class Session: Sendable {
    struct Outcome: Sendable {
        let code: ExitCode
        let output: String
        let errors: String

        var lines: [String] { output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) }
    }

    private struct State {
        var output = ""
        var errors = ""
        var uptime = Duration.zero
        var pauses: [Duration] = []
    }

    /// 2026-03-01T12:00:00Z.
    static let start = Date(timeIntervalSince1970: 1_772_366_400)

    private let state = Lock(State())
    let environment: [String: String]
    private let stdin: String?
    private let secrets: Lock<[String]>
    private let width: Int?
    private let onPause: @Sendable (Int) -> Void

    /// - Parameters:
    ///   - stdin: what is piped in; nil makes stdin a terminal.
    ///   - secret: what is typed when a secret is asked for.
    ///   - secrets: what is typed one after the other, in its place; the last again and again.
    ///   - width: columns of a terminal; nil writes to a pipe.
    ///   - onPause: called with the number of each pause, from 1, before the clock jumps.
    init(
        environment: [String: String], stdin: String? = "", secret: String? = nil, secrets: [String] = [],
        width: Int? = nil,
        onPause: @escaping @Sendable (Int) -> Void = { _ in }
    ) {
        self.environment = environment
        self.stdin = stdin
        self.secrets = Lock(secret.map { [$0] } ?? secrets)
        self.width = width
        self.onPause = onPause
    }

    /// A session that knows the server and a token.
    convenience init(
        _ server: ScriptedServer, stdin: String? = "", onPause: @escaping @Sendable (Int) -> Void = { _ in }
    ) {
        self.init(
            environment: ["BGAGENT_API_URL": server.url, "BGAGENT_TOKEN": "secret-token"], stdin: stdin,
            onPause: onPause)
    }

    /// Every wait the program has asked for.
    var pauses: [Duration] { state.withLock { $0.pauses } }

    func run(_ words: String...) async -> Outcome {
        await run(words)
    }

    func run(_ words: [String]) async -> Outcome {
        state.withLock { ($0.output, $0.errors) = ("", "") }
        let console = Console(
            style: Style(isTerminal: width != nil, environment: environment), width: width, animates: false,
            output: { [state] text in
                state.withLock {
                    $0.output += text; return true
                }
            },
            errors: { [state] text in
                state.withLock {
                    $0.errors += text; return true
                }
            })
        let pace = Pace(
            now: { [state] in Self.start.addingTimeInterval(state.withLock { $0.uptime } / .seconds(1)) },
            uptime: { [state] in state.withLock { $0.uptime } },
            pause: { [state, onPause] length in
                let number = state.withLock { state in
                    state.pauses.append(length)
                    return state.pauses.count
                }
                onPause(number)
                state.withLock { $0.uptime += length }
            })
        let input = Input(
            isTerminal: stdin == nil,
            readAll: { [stdin] limit in
                let bytes = Array((stdin ?? "").utf8)
                return bytes.count > limit ? nil : bytes
            },
            askSecret: { [secrets] _ in
                secrets.withLock { $0.count > 1 ? $0.removeFirst() : $0.first }
            })
        let code = await Program.run(
            words,
            in: Surroundings(
                environment: environment, console: console, input: input, pace: pace, transport: .network()))
        return state.withLock { Outcome(code: code, output: $0.output, errors: $0.errors) }
    }
}
