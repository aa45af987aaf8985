import Domain

/// What one sandbox is started with. The tokens exist here and in the sandbox, nowhere else in the clear.
struct SandboxSpec: Sendable {
    /// `bgagent-<task>-<attempt>`.
    let name: String
    /// The whole environment of the agent.
    let environment: [String: String]
}

/// What a running sandbox uses.
struct SandboxUsage: Sendable, Hashable {
    /// Processor time since its start.
    let cpuSeconds: Double
    /// Memory that cannot be taken from it, files kept in memory included.
    let memoryBytes: Int64
    /// Its processes and their threads.
    let pids: Int
}

/// Where agents run. A backend knows sandboxes by name alone; what they are for is the adapter's business.
///
/// Calls may block, have a deadline, and come from a few threads of the adapter's own.
protocol ComputeBackend: Sendable {
    /// As sessions ask for it: `process`, `container`.
    var name: String { get }
    /// Starts a sandbox. Throws when nothing of it runs.
    func start(_ spec: SandboxSpec) throws
    /// The names of all sandboxes that run on this node now, whoever started them.
    func running() throws -> Set<String>
    /// Puts right what sandboxes need around them and may have lost: called once in each pass.
    func mend() throws
    /// Asks a sandbox to end: it may still save its work.
    func stop(_ name: String) throws
    /// Ends a sandbox with everything in it.
    func kill(_ name: String) throws
    /// The names of all sandboxes that still have something to free, running or not.
    func leftovers() throws -> Set<String>
    /// Frees what an ended sandbox has left, but for its log.
    func remove(_ name: String) throws
    /// How a sandbox ended, as a sentence; nil where nobody knows.
    func ending(_ name: String) -> String?
    /// The last bytes of a sandbox's output, for the reason of an unexpected end.
    func logTail(_ name: String, bytes: Int) -> String
    /// Bytes of a sandbox's output from `offset` on, at most `limit`; empty when there is none (yet).
    func output(_ name: String, from offset: Int, limit: Int) throws -> [UInt8]
    /// What a running sandbox uses; nil where the backend cannot tell.
    func usage(_ name: String) throws -> SandboxUsage?
    /// What `bgagent doctor` tells of the backend: able to start a sandbox. No effect, within ten seconds.
    func check() -> [Check]
}

extension ComputeBackend {
    func mend() throws {}
}

/// A sandbox could not be started.
struct SandboxError: Error, CustomStringConvertible {
    let reason: String
    var description: String { reason }
}
