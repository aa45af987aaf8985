import Config
import HTTPServer
import Lifecycle
import Patterns
import Telemetry

/// What every process of the platform is made of, whatever it connects to: settings, log, readiness, health port.
package struct ProcessRuntime: Sendable {
    package let config: ServiceConfig
    package let log: Logger
    /// To standard error alone, for what writes the other's lines elsewhere.
    let ownLog: Logger
    package let readiness: Readiness
    private let health: HealthServer?

    /// Binds the health port.
    ///
    /// - Parameter sink: where the log goes.
    package init(_ config: ServiceConfig, sink: any LogSink = StandardErrorSink()) throws {
        self.config = config
        log = try config.logger(sink)
        ownLog = try config.logger()
        readiness = Readiness()
        health =
            config.healthPort == 0
            ? nil
            : try HealthServer(host: config.healthHost, port: config.healthPort, readiness: readiness, log: log)
    }

    /// Runs until SIGTERM or until something cannot be mended, then ends the process.
    package func runAndExit(_ services: [any Service]) async -> Never {
        let health: [any Service] = self.health.map { [$0] } ?? []
        await ServiceGroup(health + services, readiness: readiness, log: log).runAndExit()
    }
}

extension ServiceConfig {
    /// The service's logger. What it writes passes the rules that hold wherever text is kept.
    package func logger(_ sink: any LogSink = StandardErrorSink()) throws -> Logger {
        Logger(service: name, level: logLevel, sink: sink, redact: try Redactor().redact)
    }
}
