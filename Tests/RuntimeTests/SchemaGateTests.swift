import Lifecycle
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@testable import Runtime

@Suite struct SchemaGateTests {
    @Test func `services wait for the gate and the gate raises its flag`() async throws {
        try await withScratchDatabase { url in
            let config = try PostgresConfig(url: url, applicationName: "gate-tests")
            _ = try Migrator.run(on: Connection(config))
            let pool = Pool(config, size: 1)
            let readiness = Readiness()
            readiness.set("schema", false)
            let gate = SchemaGate(pool: pool, readiness: readiness, log: .silent)
            let started = TestSignal<Void>()
            let service = GatedService(
                service: ServiceTask("work") {
                    started.send()
                    await untilCancelled()
                }, gate: gate)
            let running = Task { try await service.run() }
            try await started.wait()
            #expect(readiness.isReady)
            running.cancel()
            try await running.value
            await pool.close()
        }
    }

    @Test func `an older schema ends the gate and nothing starts`() async throws {
        try await withScratchDatabase { url in
            let pool = Pool(try PostgresConfig(url: url, applicationName: "gate-tests"), size: 1)
            let readiness = Readiness()
            readiness.set("schema", false)
            let gate = SchemaGate(pool: pool, readiness: readiness, log: .silent)
            await #expect(throws: SchemaError.self) { try await gate.run() }
            #expect(!readiness.isReady)
            await pool.close()
        }
    }
}
