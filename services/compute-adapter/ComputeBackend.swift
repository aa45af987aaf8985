import Domain

/// What one sandbox is started with. The tokens exist here and in the sandbox, nowhere else in the clear.
struct SandboxSpec: Sendable {
    /// `bgagent-<task>-<attempt>`.
    let name: String
    /// The whole environment of the agent.
    let environment: [String: String]
}

/// Where agents run. A backend knows sandboxes by name alone; what they are for is the adapter's business.
///
/// Calls may block for milliseconds and come from one thread of the adapter's own.
protocol ComputeBackend: Sendable {
    /// As sessions ask for it: `process`, `container`.
    var name: String { get }
    /// Starts a sandbox. Throws when nothing of it runs.
    func start(_ spec: SandboxSpec) throws
    /// The names of all sandboxes that run on this node now, whoever started them.
    func running() throws -> Set<String>
    /// Asks a sandbox to end: it may still save its work.
    func stop(_ name: String) throws
    /// Ends a sandbox with everything in it.
    func kill(_ name: String) throws
    /// The names of all sandboxes that still have something to free, running or not.
    func leftovers() throws -> Set<String>
    /// Frees what an ended sandbox has left, but for its log.
    func remove(_ name: String) throws
    /// The last bytes of a sandbox's output, for the reason of an unexpected end.
    func logTail(_ name: String, bytes: Int) -> String
    /// Bytes of a sandbox's output from `offset` on, at most `limit`; empty when there is none (yet).
    func output(_ name: String, from offset: Int, limit: Int) throws -> [UInt8]
    /// What a running sandbox uses; nil where the backend cannot tell.
    func usage(_ name: String) throws -> SandboxUsage?
    /// What `bgagent doctor` tells of the backend: able to start a sandbox. No effect, within ten seconds.
    func check() -> [Check]
}

/// What a sandbox uses now.
struct SandboxUsage: Sendable, Equatable {
    /// Since its start.
    var cpuSeconds: Double
    var memoryBytes: Int64
    var pids: Int
}
