import Domain
import FoundationEssentials
import Glibc
import Store

/// The bare repositories that agents talk to: one per task, its objects borrowed from one mirror per repository.
///
/// All under one directory. A repository appears by a rename when it is whole; a crash leaves only a temporary one.
struct StagingStore: Sendable {
    let directory: String
    let hookBinary: String
    let git: GitCommand

    /// Held while a push of the task is decided and published, and while its repository is prepared for an attempt.
    static func lockPath(_ task: TaskID, in directory: String) -> String { "\(directory)/locks/task-\(task)" }

    func path(_ task: TaskID) -> String { "\(directory)/staging/\(task).git" }

    /// The task's repository, made or brought up to the forge's present state once for each attempt.
    func prepare(_ task: TaskRecord, url: String, credential: GitCommand.Credential) throws -> String {
        let path = path(task.id)
        let stamp = "\(path)/prepared-\(task.attempt)"
        if FileManager.default.fileExists(atPath: stamp) { return path }
        // A push of the attempt before may still be on its way to the forge: it is seen below, or refused.
        let own = try FileLock(StagingStore.lockPath(task.id, in: directory))
        defer { own.release() }
        // Two tasks of one repository prepare one after the other.
        let lock = try FileLock("\(directory)/locks/\(task.repo.owner)-\(task.repo.name)")
        defer { lock.release() }
        if FileManager.default.fileExists(atPath: stamp) { return path }
        let mirror = try fetch(task.repo, url: url, credential: credential)
        if !FileManager.default.fileExists(atPath: path) { try create(path, mirror: mirror) }
        try copyBranches(from: mirror, to: path, base: task.baseBranch ?? "main", own: task.branchName)
        try Data().write(to: URL(filePath: stamp))
        return path
    }

    private func fetch(_ repo: RepoName, url: String, credential: GitCommand.Credential) throws -> String {
        let path = "\(directory)/mirrors/\(repo.owner)/\(repo.name).git"
        if !FileManager.default.fileExists(atPath: "\(path)/HEAD") {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            try git.check(["init", "--bare", "--quiet", path])
            // Staging repositories borrow from here: nothing may be thrown away behind their back.
            try git.check(["config", "gc.auto", "0"], in: path)
        }
        try git.check(
            [
                "fetch", "--quiet", "--prune", "--force", "--no-write-fetch-head", url, "+refs/heads/*:refs/heads/*",
                "+refs/tags/*:refs/tags/*",
            ], in: path, credential: credential, deadline: .seconds(600))
        return path
    }

    private func create(_ path: String, mirror: String) throws {
        let draft = "\(path).draft-\(getpid())"
        try? FileManager.default.removeItem(atPath: draft)
        try FileManager.default.createDirectory(atPath: draft, withIntermediateDirectories: true)
        try git.check(["init", "--bare", "--quiet", draft])
        try Data("\(mirror)/objects\n".utf8).write(to: URL(filePath: "\(draft)/objects/info/alternates"))
        for (key, value) in StagingStore.settings { try git.check(["config", key, value], in: draft) }
        let hook = "\(draft)/hooks/pre-receive"
        try FileManager.default.createDirectory(atPath: "\(draft)/hooks", withIntermediateDirectories: true)
        try Data("#!/bin/sh\nexec \"$BGAGENT_HOOK_BINARY\" pre-receive\n".utf8).write(to: URL(filePath: hook))
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: hook)
        guard rename(draft, path) == 0 else {
            throw GitError(command: "init", message: "rename failed: errno \(errno)", isTimeout: false)
        }
    }

    private static let settings = [
        ("http.receivepack", "true"), ("receive.fsckObjects", "true"), ("receive.autogc", "false"), ("gc.auto", "0"),
        ("receive.maxInputSize", "1073741824"), ("core.logAllRefUpdates", "false"), ("uploadpack.allowFilter", "true"),
    ]

    /// The forge's branches and tags as the task sees them, in two runs of git however many there are. What is gone there
    /// goes here first, since `a` and `a/b` cannot both be; the task's own branch stays: nobody else ends it.
    func copyBranches(from mirror: String, to path: String, base: String, own: String) throws {
        let (wanted, present) = (try refs(of: mirror), try refs(of: path))
        let gone = present.keys.filter { wanted[$0] == nil && $0 != "refs/heads/\(own)" }.sorted()
        let moved = wanted.filter { present[$0.key] != $0.value }.sorted { $0.key < $1.key }
        for commands in [gone.map { "delete \($0)\n" }, moved.map { "update \($0.key) \($0.value)\n" }]
        where !commands.isEmpty {
            try git.check(["update-ref", "--stdin"], in: path, input: commands.joined())
        }
        try git.check(["symbolic-ref", "HEAD", "refs/heads/\(base)"], in: path)
    }
}

extension StagingStore {
    private func refs(of repository: String) throws -> [String: String] {
        let listing = try git.check(
            ["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags"], in: repository)
        var refs: [String: String] = [:]
        for line in listing.split(separator: "\n") {
            let parts = line.split(separator: " ", maxSplits: 1).map(String.init)
            if parts.count == 2 { refs[parts[1]] = parts[0] }
        }
        return refs
    }
}

/// An exclusive lock on a file, held until released or until the process ends.
struct FileLock {
    private let descriptor: Int32

    /// Blocks until the lock is free.
    init(_ path: String) throws {
        let parent = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw GitError(command: "lock", message: "\(path): errno \(errno)", isTimeout: false)
        }
        while flock(descriptor, LOCK_EX) != 0 && errno == EINTR {}
    }

    func release() { close(descriptor) }
}
