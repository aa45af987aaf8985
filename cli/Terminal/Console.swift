import Threads

/// Where the program writes: results to stdout, remarks and the spinner to stderr.
/// One lock stands around both, so that a spinner, a timeline and the farewell of Ctrl-C never cut into each other.
package final class Console: Sendable {
    /// Takes finished text; false means that nobody reads any more.
    package typealias Sink = @Sendable (String) -> Bool

    package let style: Style
    /// Columns of the terminal; nil when stdout is none, and nothing is cut then.
    package let width: Int?
    private let output: Sink
    private let errors: Sink
    private let animates: Bool
    private let state = Lock(State())

    private struct State {
        var spinner: String?
        var frame = 0
        var farewell: [String] = []
    }

    private static let frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"]

    /// - Parameters:
    ///   - width: columns when stdout is a terminal, else nil.
    ///   - animates: whether a spinner may be drawn: both streams are terminals.
    package init(
        style: Style, width: Int?, animates: Bool, output: @escaping Sink, errors: @escaping Sink
    ) {
        self.style = style
        self.width = width
        self.animates = animates
        self.output = output
        self.errors = errors
    }

    /// Prints one line of result. The caller has made foreign text ``Text/visible(_:)``.
    package func print(_ line: String) {
        write(line + "\n", to: output)
    }

    /// Prints text that ends its own lines.
    package func printText(_ text: String) {
        write(text, to: output)
    }

    /// Tells something on stderr that is no result: a retry, a warning.
    package func note(_ line: String) {
        write(line + "\n", to: errors)
    }

    /// Prints an error and what to do about it.
    package func complain(_ message: String, advice: String?) {
        note(style.paint("error:", .red) + " " + message)
        if let advice { note("       " + advice) }
    }

    private func write(_ text: String, to sink: Sink) {
        let taken = state.withLock { state in
            if state.spinner != nil { _ = errors("\r\u{1B}[K") }
            let taken = sink(text)
            if let spinner = state.spinner { draw(spinner, state.frame) }
            return taken
        }
        if !taken { ProcessExit.afterBrokenPipe() }
    }

    // MARK: - Spinner

    /// Shows `text` behind a moving mark until ``settle()``; nothing where there is no terminal.
    package func spin(_ text: String) {
        guard animates else { return }
        state.withLock { state in
            state.spinner = text
            draw(text, state.frame)
        }
    }

    /// Moves the mark on.
    package func tick() {
        state.withLock { state in
            guard let text = state.spinner else { return }
            state.frame = (state.frame + 1) % Self.frames.count
            draw(text, state.frame)
        }
    }

    /// Takes the spinner away.
    package func settle() {
        state.withLock { state in
            guard state.spinner != nil else { return }
            state.spinner = nil
            _ = errors("\r\u{1B}[K")
        }
    }

    private func draw(_ text: String, _ frame: Int) {
        let line = Text.truncate("\(Self.frames[frame]) \(text)", to: max(10, (width ?? 80) - 1))
        _ = errors("\r\u{1B}[K" + style.paint(line, .dim))
    }

    /// Runs `body` with a moving spinner.
    package func whileSpinning<R: Sendable>(_ body: () async throws -> R) async rethrows -> R {
        guard animates else { return try await body() }
        let mover = Swift.Task { [self] in
            while !Swift.Task.isCancelled {
                tick()
                try? await Swift.Task.sleep(for: .milliseconds(100))
            }
        }
        defer {
            mover.cancel()
            settle()
        }
        return try await body()
    }

    // MARK: - Ctrl-C

    /// What Ctrl-C says from now on; an empty list says nothing.
    package func onInterrupt(_ lines: [String]) {
        state.withLock { $0.farewell = lines }
    }

    /// Takes the spinner away and says the farewell. The caller exits with 130.
    package func sayFarewell() {
        state.withLock { state in
            if state.spinner != nil { _ = errors("\r\u{1B}[K") }
            state.spinner = nil
            _ = errors("\n")
            for line in state.farewell { _ = errors(line + "\n") }
        }
    }
}
