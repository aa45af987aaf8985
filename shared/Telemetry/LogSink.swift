import Glibc

/// Where log lines go.
package protocol LogSink: Sendable {
    /// Takes one whole line, its newline included. Must not throw, log, or wait for another thread.
    func write(_ line: [UInt8])
}

/// The process's standard error: one `write(2)` a line, so that lines of threads and processes stay whole.
package struct StandardErrorSink: LogSink {
    package init() {}

    /// Writes the line; what the descriptor does not take is lost, because logging never stops the work.
    package func write(_ line: [UInt8]) {
        line.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let written = Glibc.write(2, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if written > 0 {
                    rest = rest.dropFirst(written)
                } else if written == 0 || errno != EINTR {
                    return
                }
            }
        }
    }
}
