import FoundationEssentials
import Glibc
import Postgres
import Store
import Telemetry

/// The first key: at the first start an administrator's token is written into a file that only this account can read.
struct AdminToken: Sendable {
    /// The directory or the file could not be written.
    struct NotWritten: Error, CustomStringConvertible {
        let path: String
        let code: Int32

        var description: String { "cannot write \(path): \(String(cString: strerror(code)))" }
    }

    let directory: String
    let log: Logger

    var path: String { directory + "/admin-token" }

    /// Makes the account and its token unless an administrator can come in already. Blocks; safe in many processes at
    /// once, and after a crash at any point the next start ends with a file whose token works.
    func ensure(on connection: Connection) throws {
        let (token, hash) = try Authenticator.makeToken()
        let isMade = try connection.transaction { tx in
            try TokenStore.bootstrap(hash: hash, keep: { try write(token + "\n") }, in: tx)
        }
        // No token among the fields, by name either: the logger would hide it.
        if isMade { log.info("first start: an administrator's key is in a file", ["path": path]) }
    }

    /// Whole or not at all, and on the disk before anything depends on it.
    private func write(_ text: String) throws {
        try? FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let draft = "\(path).\(getpid())"
        unlink(draft)
        let file = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw NotWritten(path: draft, code: errno) }
        defer { close(file) }
        let bytes = Array(text.utf8)
        guard Glibc.write(file, bytes, bytes.count) == bytes.count, fsync(file) == 0, rename(draft, path) == 0 else {
            let code = errno
            unlink(draft)
            throw NotWritten(path: path, code: code)
        }
        let folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
    }
}
