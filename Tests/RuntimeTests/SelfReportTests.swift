import Config
import Domain
import FoundationEssentials
import Lifecycle
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@testable import Runtime

@Suite struct SelfReportTests {
    @Test func `a process tells of itself and takes its row along`() async throws {
        try await withScratchDatabase { url in
            let config = try PostgresConfig(url: url, applicationName: "report-tests")
            let reader = try Connection(config)
            _ = try Migrator.run(on: reader)
            let pool = Pool(config, size: 1)
            let checks = CheckList()
            checks.add { [.failed("thing", "is broken", remedy: "mend it")] }
            let readiness = Readiness()
            readiness.set("broker", false)
            let report = SelfReport(
                service: "relay", every: .seconds(5), checks: checks, readiness: readiness, pool: pool,
                log: .silent)
            let running = Task { try await report.run() }
            let seen = try await eventually("it has told of itself") { try ReportStore.all(in: reader).first }
            #expect(seen.report.service == "relay")
            #expect(seen.report.version == Release.version)
            #expect(seen.report.schema == Store.Migration.all.last?.version)
            #expect(!seen.isSilent)
            let byName = Dictionary(uniqueKeysWithValues: seen.report.checks.map { ($0.name, $0) })
            #expect(byName["thing"]?.remedy == "mend it")
            #expect(byName["ready"]?.ok == false)
            #expect(byName["clock"]?.ok == true)
            running.cancel()
            try await running.value
            #expect(try ReportStore.all(in: reader).isEmpty)
            await pool.close()
        }
    }

    @Test func `a clock that is off is told with what mends it`() {
        #expect(SelfReport.clock(skew: 1.5, doubt: 0).ok)
        #expect(SelfReport.clock(skew: -4, doubt: 3).ok)
        let off = SelfReport.clock(skew: -7.25, doubt: 0.1)
        #expect(!off.ok && off.detail == "7.3 s ahead of the database's")
        #expect(off.remedy?.contains("Synchronise") == true)
    }

    @Test func `a secret's file that is missing, empty, a placeholder or open to others is told`() throws {
        let folder = "/tmp/bgagent-secrets-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        func check(_ content: String?, mode: Int = 0o600) throws -> Check {
            let path = "\(folder)/\(UUID().uuidString)"
            if let content {
                try Data(content.utf8).write(to: URL(filePath: path))
                try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
            }
            return SecretFiles.check(SecretFile(variable: "BGAGENT_MODEL_API_KEY_FILE", path: path))
        }
        #expect(try check("a-real-key\n").ok)
        for (content, mode, told) in [
            (nil, 0o600, "cannot be read"), (" \n", 0o600, "is empty"), ("changeme", 0o600, "placeholder"),
            ("postgres://bgagent:ChangeMe@db/bgagent", 0o600, "placeholder"),
            ("key", 0o640, "read by others (mode 640)"),
            ("key", 0o602, "changed by others (mode 602)"),
        ] as [(String?, Int, String)] {
            let found = try check(content, mode: mode)
            #expect(!found.ok && found.detail.contains(told), "\(found)")
            #expect(found.remedy?.isEmpty == false)
            #expect(!found.detail.contains("ChangeMe"))
        }
    }

    @Test func `answers of other systems stand for a while, what is at hand is looked at anew`() async {
        let checks = CheckList(outsideEvery: .seconds(3600))
        let (near, far) = (Counting(), Counting())
        checks.add { [.passed("near", "\(near.next())")] }
        checks.addOutside { [.passed("far", "\(far.next())")] }
        #expect(await checks.look().map(\.detail) == ["1", "1"])
        #expect(await checks.look().map(\.detail) == ["2", "1"])
    }

    @Test func `a full disk is told`() {
        #expect(DiskSpace.judge("/data", free: 5 << 30).ok)
        #expect(DiskSpace.judge("/data", free: 500 << 20).remedy?.contains("/data") == true)
        #expect(DiskSpace.check("/tmp/not/there/yet").name == "disk")
    }
}

/// Counts its calls.
final class Counting: Sendable {
    private let count = Lock(0)

    func next() -> Int {
        count.withLock { count in
            count += 1
            return count
        }
    }
}
