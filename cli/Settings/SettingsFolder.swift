import FoundationEssentials
import Glibc

/// The folder of the program's own files: `~/.bgagent`, or BGAGENT_CONFIG_DIR. The folder is 0700, its files 0600;
/// anything looser, or owned by someone else, is refused rather than read, because a token lives here.
package struct SettingsFolder: Sendable {
    package let path: String

    package init(path: String) {
        self.path = path
    }

    /// - Throws: ``UserError`` when neither BGAGENT_CONFIG_DIR nor HOME is set.
    package init(environment: [String: String]) throws {
        if let path = environment["BGAGENT_CONFIG_DIR"], !path.isEmpty {
            self.path = path
        } else if let home = environment["HOME"], !home.isEmpty {
            path = home + "/.bgagent"
        } else {
            throw UserError(
                "neither HOME nor BGAGENT_CONFIG_DIR is set", "Set BGAGENT_CONFIG_DIR to a folder of yours.")
        }
    }

    /// The content of a file, nil when the file or the folder does not exist.
    /// - Throws: ``UserError`` with the command to type when permissions are too loose, or on a read error.
    package func read(_ name: String) throws -> [UInt8]? {
        guard try check(path, forbidden: 0o077, mend: "chmod 700") else { return nil }
        let file = path + "/" + name
        guard try check(file, forbidden: 0o077, mend: "chmod 600") else { return nil }
        do {
            return [UInt8](try Data(contentsOf: URL(filePath: file)))
        } catch {
            throw UserError("cannot read \(file)", "Check its owner and its disk.")
        }
    }

    /// Replaces a file by rename, so that a crash leaves the old or the new content, never half of it.
    package func write(_ name: String, _ bytes: [UInt8]) throws {
        if try !check(path, forbidden: 0o077, mend: "chmod 700") {
            guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw failed("make", path) }
        }
        let file = path + "/" + name
        let draft = "\(file).\(getpid()).new"
        unlink(draft)
        let descriptor = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failed("write", draft) }
        defer { close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                unlink(draft)
                throw failed("write", draft)
            }
            rest = rest.dropFirst(count)
        }
        guard fsync(descriptor) == 0, rename(draft, file) == 0 else {
            unlink(draft)
            throw failed("write", file)
        }
    }

    /// - Returns: whether it exists.
    private func check(_ path: String, forbidden: mode_t, mend: String) throws -> Bool {
        var facts = stat()
        guard stat(path, &facts) == 0 else {
            if errno == ENOENT { return false }
            throw failed("read", path)
        }
        guard facts.st_uid == geteuid() else {
            throw UserError("\(path) belongs to another user", "Set BGAGENT_CONFIG_DIR to a folder of yours.")
        }
        guard facts.st_mode & forbidden == 0 else {
            let mode = String(facts.st_mode & 0o777, radix: 8)
            throw UserError("\(path) is open to other users (mode \(mode)), and a token lives there", "\(mend) \(path)")
        }
        return true
    }

    private func failed(_ verb: String, _ path: String) -> UserError {
        UserError(
            "cannot \(verb) \(path): \(String(cString: strerror(errno)))",
            "Set BGAGENT_CONFIG_DIR to a folder of yours.")
    }
}
