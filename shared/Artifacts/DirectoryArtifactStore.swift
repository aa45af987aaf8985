import Config
import FoundationEssentials
import Glibc

/// Artifacts as files below a directory, which all processes that use them share.
package struct DirectoryArtifactStore: ArtifactStore {
    package let directory: String

    package init(directory: String) { self.directory = directory }

    package func count(_ key: String) throws -> Int64 { try open(key)?.count() ?? 0 }

    package func write(_ bytes: [UInt8], to key: String, at offset: Int64) throws {
        let path = try path(key)
        let folder = String(path[..<(path.lastIndex(of: "/") ?? path.endIndex)])
        do {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch { throw ArtifactError(description: "cannot make \(folder): \(error)") }
        let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        var written = 0
        while written < bytes.count {
            let step = bytes.withUnsafeBytes { all in
                pwrite(
                    descriptor, all.baseAddress?.advanced(by: written), bytes.count - written, off_t(offset) + written)
            }
            if step < 0 && errno == EINTR { continue }
            guard step > 0 else { throw failure("write", path) }
            written += step
        }
        guard ftruncate(descriptor, off_t(offset) + bytes.count) == 0, fsync(descriptor) == 0 else {
            throw failure("keep", path)
        }
        if offset == 0 { try settle(folder) }
    }

    package func open(_ key: String) throws -> (any ArtifactReader)? {
        let path = try path(key)
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        if descriptor < 0 && errno == ENOENT { return nil }
        guard descriptor >= 0 else { throw failure("open", path) }
        return FileReader(descriptor)
    }

    package func remove(_ key: String) throws {
        let path = try path(key)
        guard unlink(path) == 0 || errno == ENOENT else { throw failure("remove", path) }
    }

    package func keys(below prefix: String) throws -> [String] {
        let root = try path(prefix)
        guard FileManager.default.fileExists(atPath: root) else { return [] }
        do {
            return try FileManager.default.subpathsOfDirectory(atPath: root)
                .filter { !isFolder("\(root)/\($0)") }.map { "\(prefix)/\($0)" }
        } catch { throw ArtifactError(description: "cannot list \(root): \(error)") }
    }

    private func isFolder(_ path: String) -> Bool {
        var info = stat()
        return lstat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
    }

    /// A new file's name is durable with its directory.
    private func settle(_ folder: String) throws {
        let descriptor = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open", folder) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("keep", folder) }
    }

    private func path(_ key: String) throws -> String {
        let parts = key.split(separator: "/", omittingEmptySubsequences: false)
        let isPlain = parts.allSatisfy { part in
            !part.isEmpty && part != "." && part != ".." && part.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        }
        guard isPlain else { throw ArtifactError(description: "'\(key)' is no key of an artifact") }
        return "\(directory)/\(key)"
    }

    private func failure(_ action: String, _ path: String) -> ArtifactError {
        let code = errno
        return ArtifactError(
            description: "cannot \(action) \(path): \(String(cString: strerror(code)))",
            isFull: code == ENOSPC || code == EDQUOT)
    }
}

private final class FileReader: ArtifactReader {
    private let descriptor: Int32

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws -> Int {
        while true {
            let count = pread(descriptor, buffer.baseAddress, buffer.count, off_t(offset))
            if count >= 0 { return count }
            if errno != EINTR {
                throw ArtifactError(description: "cannot read an artifact: \(String(cString: strerror(errno)))")
            }
        }
    }

    func count() throws -> Int64 {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else {
            throw ArtifactError(description: "cannot look at an artifact: \(String(cString: strerror(errno)))")
        }
        return Int64(info.st_size)
    }
}

extension Environment {
    /// Where artifacts are kept. Every service that asks has to be given the same directory.
    package mutating func artifacts(dataDirectory: String) -> DirectoryArtifactStore {
        DirectoryArtifactStore(
            directory: path(
                "BGAGENT_ARTIFACTS", default: "\(dataDirectory)/artifacts",
                "directory of what is kept of tasks, shared by gateway and agent gateway"))
    }
}
