import Postgres
import TestSupport
import Testing

@testable import struct Postgres.PostgresConfig

@Suite struct PostgresConfigTests {
    @Test(arguments: [
        "postgres://user:hunter2@db.example.org:5433/bgagent?sslmode=verify-full",
        "postgresql://user:hunter2@db.example.org:5433/bgagent",
        "host=db.example.org port=5433 dbname=bgagent user=user password=hunter2",
    ])
    func `a config never shows user or password`(url: String) throws {
        let config = try PostgresConfig(url: url, applicationName: "test")
        #expect(config.description == "db.example.org:5433/bgagent")
        var dumped = ""
        dump(config, to: &dumped)
        #expect(!"\(config)\(String(reflecting: config))\(dumped)".contains("hunter2"))
    }

    @Test(arguments: ["", "postgres://user:hunter2@host:5432/%zz", "hunter2 = =", "postgres://h/d?hunter2=1"])
    func `a URL that cannot be read is refused without being repeated`(url: String) throws {
        let error = try postgresError { try PostgresConfig(url: url, applicationName: "test") }
        #expect(error.kind == .configuration && !"\(error)".contains("hunter2"))
    }

    @Test func `what the URL says about liveness and options is kept`() throws {
        let url = "postgres:///app?host=/run/postgresql&keepalives_idle=77&options=-c%20search_path%3Dmine"
        let config = try PostgresConfig(url: url, applicationName: "test")
        let names = config.parameters.map(\.name)
        #expect(!names.contains("keepalives_idle") && names.contains("tcp_user_timeout"))
        let options = try #require(config.parameters.last)
        #expect(options.name == "options" && options.value.hasPrefix("-c search_path=mine -c lock_timeout=2000"))
        #expect(options.value.contains("-c idle_in_transaction_session_timeout=10000"))
        #expect(config.description == "/run/postgresql:5432/app")
    }

    @Test func `an authority of one's own is named to the library, unless the URL names another`() throws {
        func named(_ url: String) throws -> String? {
            try PostgresConfig(url: url, applicationName: "test", authorities: "/etc/ours.pem").parameters
                .first { $0.name == "sslrootcert" }?.value
        }
        #expect(try named("postgres://db/x?sslmode=verify-full") == "/etc/ours.pem")
        #expect(try named("postgres://db/x?sslmode=verify-full&sslrootcert=/etc/other.pem") == nil)
    }

    @Test func `a server that is not there is an error to try again later`() throws {
        let config = try PostgresConfig(url: "postgres://nobody@127.0.0.1:1/x", applicationName: "test")
        let error = try postgresError { try Connection(config) }
        #expect(error.kind == .connectFailed && error.isUnavailable && !error.description.contains("\n"))
    }
}
