import Domain
import Postgres
import Store
import Threads

/// Notes what the sandboxes of this node use. The share of a processor is taken between two looks.
struct UsageMeter: Sendable {
    private var last: [String: (seconds: Double, at: MonotonicTime)] = [:]

    private var lastLook: MonotonicTime?

    /// A pass that a hint caused is too early for another look.
    func isDue(every interval: Duration) -> Bool {
        lastLook.map { $0.elapsed >= interval / 2 } ?? true
    }

    /// What is to be stored of these sandboxes, and forgets all others.
    mutating func note(
        _ looks: [String: SandboxUsage], at now: MonotonicTime = .now
    ) -> [(task: TaskID, attempt: Int, usage: JSONValue)] {
        let before = last
        lastLook = now
        last = looks.mapValues { ($0.cpuSeconds, now) }
        return looks.sorted { $0.key < $1.key }.compactMap { name, usage in
            guard let (task, attempt) = SandboxName.parse(name) else { return nil }
            var told: [String: JSONValue] = [
                "cpu_seconds": .number((usage.cpuSeconds * 100).rounded() / 100),
                "memory_bytes": .integer(usage.memoryBytes), "pids": JSONValue(usage.pids), "cpu_percent": .null,
            ]
            if let earlier = before[name] {
                let passed = (now - earlier.at).inSeconds
                // A process that ended takes its time along, so the sum can fall.
                let share = passed > 0 ? max(usage.cpuSeconds - earlier.seconds, 0) / passed * 100 : 0
                told["cpu_percent"] = .number((share * 10).rounded() / 10)
            }
            return (task, attempt, .object(told))
        }
    }
}
