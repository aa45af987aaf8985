import FoundationEssentials
import Glibc

/// What processes use, as /proc tells it.
enum ProcessUsage {
    /// The sum over those that are still there. Time of children that were collected counts as their parent's.
    static func sum(of pids: [Int32]) -> SandboxUsage {
        var (ticks, pages, threads) = (Int64(0), Int64(0), 0)
        for pid in pids {
            guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { continue }
            let text = String(decoding: data, as: UTF8.self)
            // The name in parentheses may hold anything, spaces and parentheses included.
            guard let end = text.lastIndex(of: ")") else { continue }
            let fields = text[text.index(after: end)...].split(separator: " ").map { Int64($0) ?? 0 }
            guard fields.count > 21 else { continue }
            ticks += fields[11...14].reduce(0, +)
            threads += Int(fields[17])
            pages += fields[21]
        }
        return SandboxUsage(
            cpuSeconds: Double(ticks) / Double(sysconf(Int32(_SC_CLK_TCK))), memoryBytes: pages * Int64(getpagesize()),
            pids: threads)
    }
}
