import Config
import Domain
import FoundationEssentials
import Glibc
import Lifecycle
import Postgres
import Store
import Telemetry
import Threads

/// Tells the database every few seconds that this process is there, what it is, and what it found when it looked.
///
/// Never ends the process and holds none of its connections: it runs on one of its own. A process that stops in order
/// takes its row along; one that was killed leaves it, and is told as silent.
package final class SelfReport: Service {
    package let name = "self-report"
    private let service: String
    private let interval: Duration
    private let checks: CheckList
    private let readiness: Readiness
    private let pool: Pool
    private let log: Logger
    private let started = MonotonicTime.now
    let instance: String

    package init(
        service: String, every interval: Duration, checks: CheckList, readiness: Readiness, pool: Pool, log: Logger
    ) {
        self.service = service
        self.interval = interval
        self.checks = checks
        self.readiness = readiness
        self.pool = pool
        self.log = log
        instance = Self.processName
    }

    package func run() async throws {
        let (pool, service, instance) = (self.pool, self.service, self.instance)
        try await periodically(every: interval) { await tell() }
        _ = try? await pool.run { try ReportStore.remove(service, instance: instance, in: $0) }
    }

    /// One look and one row.
    package func tell() async {
        var found = await checks.look()
        found += SecretFiles.checks(SecretFile.used.all)
        let missing = readiness.missing
        found.append(
            missing.isEmpty
                ? .passed("ready", "every part is connected")
                : .failed(
                    "ready", "waits for: \(missing.joined(separator: ", "))",
                    remedy: "Make reachable what it waits for; its log (\(service)) says why it is not."))
        let (service, instance, every, seen) = (self.service, self.instance, interval.inSeconds, found)
        let uptime = started.elapsed.inSeconds
        do {
            try await pool.run { connection in
                let clock = try Self.clock(in: connection)
                try ReportStore.write(
                    ServiceReport(
                        service: service, instance: instance, version: Release.version,
                        schema: Migration.all.last?.version ?? 0, everySeconds: every, checks: [clock] + seen),
                    uptime: uptime, in: connection)
            }
        } catch {
            log.debug("the self-report was not written", ["error": "\(error)"])
        }
    }

    /// `host:pid`; a restarted container keeps it.
    package static var processName: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "host:\(getpid())" }
        let host = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return "\(host):\(getpid())"
    }

    /// Compares this machine's clock with the database's. Half of the round trip is what the look cannot tell.
    private static func clock(in connection: Connection) throws -> Check {
        let before = Date().timeIntervalSince1970
        let there = try ReportStore.clock(in: connection)
        let after = Date().timeIntervalSince1970
        return clock(skew: there - (before + after) / 2, doubt: (after - before) / 2)
    }

    /// Pure: leases are on the database's clock alone, so a few seconds do no harm.
    static func clock(skew: Double, doubt: Double) -> Check {
        let tenths = (abs(skew) * 10).rounded() / 10
        let side = skew < 0 ? "ahead of" : "behind"
        guard abs(skew) - doubt > 2 else { return .passed("clock", "within 2 s of the database's") }
        return .failed(
            "clock", "\(tenths) s \(side) the database's",
            remedy: "Synchronise the clock of this machine and of the database's (chrony or systemd-timesyncd).")
    }
}
