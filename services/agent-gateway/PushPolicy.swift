import Domain

/// One line of a push: a ref's way from `old` to `new`.
struct RefUpdate: Sendable, Hashable {
    static let none = String(repeating: "0", count: 40)
    let old: String
    let new: String
    let ref: String

    var isDelete: Bool { new == RefUpdate.none }
    var isCreate: Bool { old == RefUpdate.none }
}

/// What the repository says about an update, gathered by git before the decision.
struct PushFacts: Sendable, Hashable {
    var isFastForward = true
    /// Paths that differ from where the update starts.
    var changedPaths: [String] = []
    /// The largest new blob, with its path.
    var largestBlob: (path: String, bytes: Int64)?
    /// What looks like a secret in the lines that were added: where it stands, and what it is. Nil where the repository
    /// allows secrets: nobody has looked.
    var secret: FoundSecret?

    static func == (left: PushFacts, right: PushFacts) -> Bool {
        left.isFastForward == right.isFastForward && left.changedPaths == right.changedPaths
            && left.secret == right.secret && left.largestBlob?.path == right.largestBlob?.path
            && left.largestBlob?.bytes == right.largestBlob?.bytes
    }

    func hash(into hasher: inout Hasher) { hasher.combine(changedPaths) }
}

/// What may be pushed. Pure; the hook gathers the facts.
enum PushPolicy {
    enum Verdict: Sendable, Hashable {
        /// To the forge, under the same name.
        case publish
        /// Kept in staging: a checkpoint.
        case keep
        case refuse(String)
    }

    /// The ref that holds a task's unfinished work. It never leaves the platform.
    static func wip(_ task: TaskID) -> String { "refs/bgagent/\(task)/wip" }

    static func decide(
        _ update: RefUpdate, _ facts: PushFacts, task: TaskID, branch: String, allowsCI: Bool, maxBlobBytes: Int64
    ) -> Verdict {
        if update.ref == wip(task) {
            return update.isDelete ? .refuse("the saved work cannot be deleted") : .keep
        }
        if update.ref.hasPrefix("refs/tags/") { return .refuse("tags are not for agents to push") }
        guard update.ref == "refs/heads/\(branch)" else {
            return .refuse("only the task's own branch may be pushed: \(branch)")
        }
        if update.isDelete { return .refuse("the branch cannot be deleted") }
        if !facts.isFastForward { return .refuse("this is no fast-forward of the branch") }
        if let blob = facts.largestBlob, blob.bytes > maxBlobBytes {
            return .refuse("\(blob.path) has \(blob.bytes) bytes; at most \(maxBlobBytes) are allowed")
        }
        if !allowsCI, let path = facts.changedPaths.first(where: isCIConfiguration) {
            return .refuse(
                "\(path) configures CI, which this repository does not allow agents to change; "
                    + "the work stays saved on the platform")
        }
        if let secret = facts.secret {
            return .refuse(
                "\(secret.path):\(secret.line) seems to hold a secret (\(secret.kind)); take it out of every commit. "
                    + "An administrator can allow it for repositories whose tests hold made-up ones (allow_secrets)")
        }
        return .publish
    }

    /// True for files that decide what a CI system runs.
    static func isCIConfiguration(_ path: String) -> Bool {
        let lower = path.lowercased()
        let directories = [
            ".github/workflows/", ".github/actions/", ".gitlab/ci/", ".circleci/", ".buildkite/", ".woodpecker/",
            ".forgejo/workflows/", ".gitea/workflows/", ".teamcity/", ".azure-pipelines/", ".tekton/",
        ]
        if directories.contains(where: { lower.hasPrefix($0) || lower.contains("/" + $0) }) { return true }
        let files: Set<String> = [
            ".gitlab-ci.yml", ".gitlab-ci.yaml", "jenkinsfile", "azure-pipelines.yml", "azure-pipelines.yaml",
            ".drone.yml", ".drone.yaml", ".woodpecker.yml", ".woodpecker.yaml", "bitbucket-pipelines.yml",
            ".travis.yml", "appveyor.yml", ".appveyor.yml", ".cirrus.yml", "cloudbuild.yaml", "buildspec.yml",
        ]
        return files.contains(lower.split(separator: "/").last.map(String.init) ?? lower)
    }
}
