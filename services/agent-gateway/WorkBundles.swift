import Crypto
import Domain
import FoundationEssentials
import Glibc
import Postgres
import Store

/// One stored file of a task.
struct Artifact: Sendable {
    let kind: String
    let name: String
    let path: String
    let sha256: String
    let bytes: Int64
}

/// Saved work that must outlive an attempt, as git bundles.
struct WorkBundles: Sendable {
    let directory: String
    let staging: StagingStore

    /// Bundles the saved work that staging holds. Throws 409 when staging does not have the commit: push first.
    func saveWork(of task: TaskID, commit: String) throws -> Artifact {
        let repository = staging.path(task)
        let git = staging.git
        let known = try git.run(["cat-file", "-e", "\(commit)^{commit}"], in: repository)
        guard known.isSuccess else {
            throw Refusal(
                status: 409, code: "COMMIT_NOT_FOUND", message: "Push \(commit) to \(PushPolicy.wip(task)) first.")
        }
        let folder = "\(directory)/\(task)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let final = "\(folder)/wip.bundle"
        let draft = "\(folder)/wip.bundle.\(commit.prefix(12)).draft"
        // A bundle of what the branches do not have yet; the whole history when that is nothing.
        let thin = try git.run(
            ["bundle", "create", "--quiet", draft, PushPolicy.wip(task), "--not", "--branches"], in: repository)
        if !thin.isSuccess {
            try git.check(["bundle", "create", "--quiet", draft, PushPolicy.wip(task)], in: repository)
        }
        let (sum, count) = try settle(draft)
        guard rename(draft, final) == 0 else {
            throw GitError(command: "bundle", message: "rename failed: errno \(errno)", isTimeout: false)
        }
        return Artifact(kind: "bundle", name: "wip", path: final, sha256: sum, bytes: count)
    }

    /// Brings a file to the disk and sums it up, piece by piece: a bundle may be larger than this process should be.
    private func settle(_ path: String) throws -> (sha256: String, bytes: Int64) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw GitError(command: "bundle", message: "no bundle: errno \(errno)", isTimeout: false)
        }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else {
            throw GitError(command: "bundle", message: "not on disk: errno \(errno)", isTimeout: false)
        }
        var digest = try SHA256Stream()
        var total: Int64 = 0
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count >= 0 else {
                throw GitError(command: "bundle", message: "not readable: errno \(errno)", isTimeout: false)
            }
            if count == 0 { break }
            try buffer.withUnsafeBytes { try digest.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            total += Int64(count)
        }
        return (Hex.encode(try digest.finish()), total)
    }
}

/// The rows of stored files.
enum ArtifactRows {
    static func put(_ artifact: Artifact, of task: TaskID, in tx: Connection) throws {
        try tx.query(
            """
            INSERT INTO artifacts (task_id, kind, name, path, sha256, bytes)
            VALUES (\(task.rawValue), \(artifact.kind), \(artifact.name), \(artifact.path), \(artifact.sha256),
                \(artifact.bytes))
            ON CONFLICT (task_id, kind, name) DO UPDATE
                SET path = excluded.path, sha256 = excluded.sha256, bytes = excluded.bytes, created_at = now()
            """)
    }
}
