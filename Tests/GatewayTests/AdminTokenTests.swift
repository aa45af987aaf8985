import Domain
import HTTPTypes
import FoundationEssentials
import Glibc
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@testable import Gateway

@Suite(.scratchDatabase) struct AdminTokenTests {
    /// A directory of its own for `body`.
    private func withDirectory(_ body: (String) async throws -> Void) async throws {
        let path = "/tmp/bgagent-admin-token-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await body(path)
    }

    private func withPool(_ body: (Pool) async throws -> Void) async throws {
        let pool = try await World.makePool(try ScratchDatabase.url())
        do {
            try await body(pool)
        } catch {
            await pool.close()
            throw error
        }
        await pool.close()
    }

    private func admins(_ pool: Pool) async throws -> Int {
        try await pool.run {
            try $0.query("SELECT count(*) FROM api_tokens WHERE revoked_at IS NULL").only().get(0, as: Int.self)
        }
    }

    private func opens(_ path: String, _ pool: Pool) async throws -> Bool {
        let text = try String(contentsOfFile: path, encoding: .utf8)
        var request = Request(method: "GET", target: "/")
        request.headers["Authorization"] = "Bearer \(text.split(separator: "\n").first ?? "")"
        let bearer = request
        let authenticator = Authenticator(pool: pool, lifetime: .zero)
        return try await pool.run { _ in (try? authenticator.principal(bearer))?.role == .admin }
    }

    @Test func `the first start writes a key that only its owner can read`() async throws {
        try await withDirectory { directory in
            try await withPool { pool in
                let lines = LineCollector()
                let log = Logger(service: "gateway", sink: lines)
                let admin = AdminToken(directory: directory + "/deep", log: log)
                try await pool.run { try admin.ensure(on: $0) }
                var status = stat()
                #expect(stat(admin.path, &status) == 0)
                #expect(status.st_mode & 0o777 == 0o600)
                #expect(try await opens(admin.path, pool))
                let token = try String(contentsOfFile: admin.path, encoding: .utf8).filter { $0 != "\n" }
                #expect(lines.text.contains(admin.path))
                #expect(!lines.text.contains(token))
                let files = try FileManager.default.contentsOfDirectory(atPath: directory + "/deep")
                #expect(files == ["admin-token"])
            }
        }
    }

    @Test func `a restart keeps the key`() async throws {
        try await withDirectory { directory in
            try await withPool { pool in
                let admin = AdminToken(directory: directory, log: .silent)
                try await pool.run { try admin.ensure(on: $0) }
                let before = try String(contentsOfFile: admin.path, encoding: .utf8)
                try await pool.run { try admin.ensure(on: $0) }
                #expect(try String(contentsOfFile: admin.path, encoding: .utf8) == before)
                #expect(try await admins(pool) == 1)
                // Without its file the key still opens: a person put it elsewhere.
                try FileManager.default.removeItem(atPath: admin.path)
                try await pool.run { try admin.ensure(on: $0) }
                #expect(!FileManager.default.fileExists(atPath: admin.path))
            }
        }
    }

    @Test func `of eight gateways that start at once, one makes the key`() async throws {
        try await withDirectory { directory in
            try await withPool { pool in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<8 {
                        group.addTask {
                            let admin = AdminToken(directory: directory, log: .silent)
                            try await pool.run { try admin.ensure(on: $0) }
                        }
                    }
                    try await group.waitForAll()
                }
                #expect(try await admins(pool) == 1)
                #expect(try await opens(directory + "/admin-token", pool))
            }
        }
    }

    @Test func `an installation without any administrator gets a new key`() async throws {
        try await withDirectory { directory in
            try await withPool { pool in
                let admin = AdminToken(directory: directory, log: .silent)
                try await pool.run { try admin.ensure(on: $0) }
                try await pool.run {
                    try $0.query("UPDATE api_tokens SET revoked_at = now()")
                    try $0.query("UPDATE users SET disabled_at = now(), role = 'viewer'")
                    return
                }
                #expect(try await !opens(admin.path, pool))
                try await pool.run { try admin.ensure(on: $0) }
                #expect(try await opens(admin.path, pool))
            }
        }
    }

    @Test func `an administrator with a password needs no key, one with a login alone does`() async throws {
        try await withDirectory { directory in
            try await withPool { pool in
                let admin = AdminToken(directory: directory, log: .silent)
                try await pool.run { try admin.ensure(on: $0) }
                try FileManager.default.removeItem(atPath: admin.path)
                try await pool.run {
                    try $0.query(
                        """
                        UPDATE api_tokens SET kind = 'session', token_hash = 'other',
                            expires_at = now() + interval '1 hour'
                        """)
                    try $0.query("UPDATE users SET password_hash = 'x'")
                    return
                }
                try await pool.run { try admin.ensure(on: $0) }
                #expect(!FileManager.default.fileExists(atPath: admin.path))
                try await pool.run {
                    try $0.query("UPDATE users SET password_hash = NULL")
                    return
                }
                try await pool.run { try admin.ensure(on: $0) }
                #expect(try await opens(admin.path, pool))
            }
        }
    }

    @Test func `a key that could not be written is not made`() async throws {
        try await withPool { pool in
            let admin = AdminToken(directory: "/dev/null/nowhere", log: .silent)
            await #expect(throws: AdminToken.NotWritten.self) { try await pool.run { try admin.ensure(on: $0) } }
            let made = try await admins(pool)
            #expect(made == 0)
        }
    }
}
