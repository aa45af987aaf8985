import Glibc

/// The ways out of the process that are not the end of `main`.
package enum ProcessExit {
    /// Ends the program with everything said. Not exit(): its handlers tear libraries down under threads that may still
    /// use them, and a command that has done its work would end as a crash.
    static func now(_ code: ExitCode) -> Never {
        fflush(nil)
        _exit(code.rawValue)
    }

    /// stdout or stderr is closed, as in `bgagent list | head -1`: end as a reader's SIGPIPE would have ended it.
    package static func afterBrokenPipe() -> Never {
        _exit(141)
    }

    /// Ctrl-C was pressed and its farewell said.
    package static func afterInterrupt() -> Never {
        _exit(ExitCode.interrupted.rawValue)
    }
}
