import Domain
import FoundationEssentials
import Glibc
import HTTPServer
import HTTPTypes

/// The one port that agents reach: what every answer on it has in common.
enum AgentRouter {
    static func make() -> Router {
        var router = Router { Answers.failure($0, $1) }
        let ids = ULIDSource()
        router.admit = { request in
            request.id = ids.next(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
            return nil
        }
        router.finish = { response, request in
            response.headers.append((name: "X-Request-Id", value: request.id))
        }
        return router
    }

    /// A thread for each connection: proxies stream, and long polls wait on their own thread.
    static func server(_ config: AgentGatewayConfig) -> ServerConfig {
        var server = ServerConfig(host: config.host, port: config.port, mode: .threadPerConnection)
        server.maxBody = 1 << 20
        server.spoolBodiesOver = 1 << 20
        server.connectionLimit = 1000
        server.writeTimeout = .seconds(300)
        server.bodyTimeout = .seconds(60)
        return server
    }
}

/// This process, as far as the gateway needs it.
enum Process {
    /// The program's own file, for the hook that runs it again.
    static var executable: String {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    }

    /// Not exit(): its handlers tear libraries down under threads that may still use them.
    static func exit(_ code: Int32) -> Never {
        fflush(nil)
        _exit(code)
    }
}
