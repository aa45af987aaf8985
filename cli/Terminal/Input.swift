import Glibc

/// Standard input: piped text, or a person to ask.
package struct Input: Sendable {
    package let isTerminal: Bool
    /// Everything until its end, at most `limit` bytes; nil beyond that.
    package let readAll: @Sendable (_ limit: Int) -> [UInt8]?
    /// Asks on the terminal and reads a line that is not shown; nil when it was ended instead.
    package let askSecret: @Sendable (_ prompt: String) throws -> String?

    package init(
        isTerminal: Bool, readAll: @escaping @Sendable (Int) -> [UInt8]?,
        askSecret: @escaping @Sendable (String) throws -> String?
    ) {
        self.isTerminal = isTerminal
        self.readAll = readAll
        self.askSecret = askSecret
    }

    /// The process's own standard input.
    package static let process = Input(
        isTerminal: isatty(STDIN_FILENO) == 1, readAll: { limit in drain(limit) }, askSecret: { try secret($0) })

    private static func drain(_ limit: Int) -> [UInt8]? {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(STDIN_FILENO, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { return bytes }
            bytes += buffer[..<count]
            if bytes.count > limit { return nil }
        }
    }

    /// Reads key by key with echo and signals off, so that every way out, Ctrl-C included, puts the terminal back.
    private static func secret(_ prompt: String) throws -> String? {
        var before = termios()
        guard tcgetattr(STDIN_FILENO, &before) == 0 else { return nil }
        var quiet = before
        quiet.c_lflag &= ~tcflag_t(ECHO | ICANON | ISIG)
        guard tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0 else { return nil }
        defer {
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &before)
            _ = write(STDERR_FILENO, "\n", 1)
        }
        _ = Array(prompt.utf8).withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        var line: [UInt8] = []
        while true {
            var byte: UInt8 = 0
            let count = read(STDIN_FILENO, &byte, 1)
            if count < 0, errno == EINTR { continue }
            switch (count, byte) {
            case (...0, _), (_, 4): return line.isEmpty ? nil : String(decoding: line, as: UTF8.self)
            case (_, 3): throw CancellationError()
            case (_, 10), (_, 13): return String(decoding: line, as: UTF8.self)
            case (_, 8), (_, 127): _ = line.popLast()
            default: line.append(byte)
            }
        }
    }
}
