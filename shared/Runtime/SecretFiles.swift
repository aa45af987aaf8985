import Config
import Domain
import FoundationEssentials
import Glibc

/// Looks at the files that secrets are read from. Never tells what stands in them.
package enum SecretFiles {
    /// What people and templates write where a secret belongs.
    private static let placeholders: Set<String> = [
        "secret", "password", "token", "example", "placeholder", "none", "null", "xxx", "replace-me", "replaceme",
        "your-token", "your-key", "your-password",
    ]

    /// One check a file.
    package static func checks(_ files: [SecretFile]) -> [Check] {
        files.map(check)
    }

    static func check(_ file: SecretFile) -> Check {
        let name = "secret \(file.variable)"
        func bad(_ detail: String, _ remedy: String) -> Check {
            .failed(name, "\(file.path) \(detail)", remedy: remedy)
        }
        var facts = stat()
        guard stat(file.path, &facts) == 0, let bytes = FileManager.default.contents(atPath: file.path) else {
            return bad("cannot be read", "Put the secret into \(file.path), readable by this service.")
        }
        let text = String(decoding: bytes, as: UTF8.self).filter { !$0.isWhitespace }.lowercased()
        if text.isEmpty { return bad("is empty", "Write the secret into \(file.path) and restart the service.") }
        if placeholders.contains(text) || ["changeme", "change-me", "change_me"].contains(where: { text.contains($0) })
        {
            return bad("holds a placeholder", "Write the real secret into \(file.path) and restart the service.")
        }
        let mode = facts.st_mode & 0o777
        if mode & 0o022 != 0 {
            return bad("may be changed by others (mode \(octal(mode)))", "chmod 600 \(file.path)")
        }
        // What is mounted there is seen in this service's container alone, whatever its mode says.
        if mode & 0o044 != 0, !file.path.hasPrefix("/run/secrets/") {
            return bad("may be read by others (mode \(octal(mode)))", "chmod 600 \(file.path)")
        }
        return .passed(name, "\(file.path) is there and private")
    }

    private static func octal(_ mode: mode_t) -> String { String(mode, radix: 8) }
}

/// Looks at the room that is left for files.
package enum DiskSpace {
    /// Below this many bytes a disk counts as full.
    static let least: Int64 = 1 << 30

    /// - Parameter directory: need not be there yet; then the nearest one above it is looked at.
    package static func check(_ directory: String) -> Check {
        var path = directory
        var facts = statvfs()
        while statvfs(path, &facts) != 0 {
            guard path.count > 1, let slash = path.lastIndex(of: "/") else {
                return .failed(
                    "disk", "\(directory) cannot be looked at",
                    remedy: "Make the directory \(directory), writable by this service.")
            }
            path = slash == path.startIndex ? "/" : String(path[..<slash])
        }
        return judge(directory, free: Int64(facts.f_bavail) * Int64(facts.f_frsize))
    }

    static func judge(_ directory: String, free: Int64) -> Check {
        let gigabytes = Double(free * 10 / (1 << 30)) / 10
        guard free < least else { return .passed("disk", "\(gigabytes) GB free under \(directory)") }
        return .failed(
            "disk", "\(gigabytes) GB free under \(directory)",
            remedy: "Free at least 1 GB on the disk of \(directory), or move it to a larger one.")
    }
}
