import FoundationEssentials
import Telemetry

/// What every service is told.
package struct ServiceConfig: Sendable {
    /// The service's name in logs and connection names.
    package let name: String
    /// `postgres://…`; empty for a service that said it needs none.
    package let postgresURL: Secret
    /// `amqp://…` or `amqps://…`; empty for a service that said it needs none.
    package let amqpURL: Secret
    /// Where `/live`, `/ready` and `/metrics` are served.
    package let healthHost: String
    /// Their port; 0 = not served.
    package let healthPort: Int
    /// Where the service keeps files that must outlive it.
    package let dataDirectory: String
    /// Where credentials lie as files, one each.
    package let secretsDirectory: String
    /// How often the service tells the database of itself.
    package let reportEvery: Duration
    /// How often it looks at what it needs of other systems.
    package let checkEvery: Duration
    /// Lines below it are not written.
    package let logLevel: Logger.Level
    /// Certificates of a private authority, trusted beside the system's.
    package let caFile: String?
    /// Where spans go.
    package let tracing: TracingConfig

    /// Reads the common variables.
    ///
    /// - Parameter postgres, amqp: false for a service that does not connect there; the variable is then not read.
    package init(_ environment: inout Environment, name: String, postgres: Bool = true, amqp: Bool = true) {
        self.name = name
        postgresURL =
            postgres
            ? environment.secretURL(
                "BGAGENT_POSTGRES_URL", schemes: ["postgres", "postgresql"], "where Postgres is, with user and database"
            )
            : ""
        amqpURL =
            amqp
            ? environment.secretURL(
                "BGAGENT_AMQP_URL", schemes: ["amqp", "amqps"], "where RabbitMQ is, with user and virtual host") : ""
        healthHost = environment.string(
            "BGAGENT_HEALTH_HOST", default: "127.0.0.1", "address for /live, /ready and /metrics")
        healthPort = environment.int(
            "BGAGENT_HEALTH_PORT", default: 0, in: 0...65535, "port for /live, /ready and /metrics; 0 = off")
        dataDirectory = environment.path(
            "BGAGENT_DATA", default: "/var/lib/bgagent", "directory for files that must outlive the service")
        secretsDirectory = environment.path(
            "BGAGENT_SECRETS_DIR", default: "/run/secrets", "directory of credential files that repositories refer to")
        reportEvery = environment.duration(
            "BGAGENT_REPORT_EVERY", default: .seconds(15), in: .milliseconds(100)...(.seconds(3600)),
            "how often the service tells of itself, for bgagent doctor; silent for three times as long, it is missing")
        checkEvery = environment.duration(
            "BGAGENT_CHECK_EVERY", default: .seconds(60), in: .milliseconds(100)...(.seconds(3600)),
            "how often broker, forge, model and channels are looked at, for bgagent doctor")
        logLevel = environment.choice("BGAGENT_LOG_LEVEL", default: Logger.Level.info, "lines below it are not written")
        caFile = environment.optionalPath(
            "BGAGENT_CA_FILE",
            "certificates of a private authority, one PEM file; trusted beside the system's wherever TLS is spoken")
        if let caFile { Self.checkCertificates(caFile, "BGAGENT_CA_FILE", &environment) }
        tracing = TracingConfig(&environment)
    }

    /// Notes a file that is none of certificates now, and not at the first connection.
    package static func checkCertificates(_ path: String, _ name: String, _ environment: inout Environment) {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            return environment.reject("\(name)=\(path) cannot be read. Check that it exists and who may read it.")
        }
        if !text.contains("-----BEGIN CERTIFICATE-----") {
            environment.reject("\(name)=\(path) holds no certificate. Write it as PEM.")
        }
    }
}
