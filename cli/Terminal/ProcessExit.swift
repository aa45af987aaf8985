import Glibc

/// The ways out of the process that are not the end of `main`.
package enum ProcessExit {
    /// stdout or stderr is closed, as in `bgagent list | head -1`: end as a reader's SIGPIPE would have ended it.
    package static func afterBrokenPipe() -> Never {
        exit(141)
    }

    /// Ctrl-C was pressed and its farewell said.
    package static func afterInterrupt() -> Never {
        exit(ExitCode.interrupted.rawValue)
    }
}
