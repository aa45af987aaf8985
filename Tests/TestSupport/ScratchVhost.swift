import FoundationEssentials
import HTTPClient
import HTTPTypes
import Testing

/// Runs a test against a virtual host of its own on the test broker, and deletes it afterwards with everything in it.
///
/// Fails, rather than skips, when `BGAGENT_TEST_AMQP_URL` or `BGAGENT_TEST_AMQP_API_URL` is missing.
/// - Parameter body: gets the URL to connect to.
package func withScratchVhost<Result>(
    isolation: isolated (any Actor)? = #isolation, _ body: (_ amqpURL: String) async throws -> Result
) async throws -> Result {
    let broker = try BrokerAPI()
    let vhost = "test-\(UUID().uuidString.lowercased())"
    try await broker.send("PUT", "/vhosts/\(vhost)")
    let permissions = #"{"configure":".*","write":".*","read":".*"}"#
    try await broker.send("PUT", "/permissions/\(vhost)/\(broker.user)", body: permissions)
    do {
        let result = try await body(broker.url(ofVhost: vhost))
        try await broker.send("DELETE", "/vhosts/\(vhost)")
        return result
    } catch {
        try await broker.send("DELETE", "/vhosts/\(vhost)")
        throw error
    }
}

/// The management API of the test broker.
package struct BrokerAPI: Sendable {
    /// Says which variable is missing, or what the API answered.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// A connection as the broker sees it. Fields that the broker fills in late are missing at first.
    package struct OpenConnection: Decodable, Sendable {
        /// What `close` takes.
        package let name: String
        /// The virtual host it is in.
        package let vhost: String?
    }

    private static let client = HTTPClient(HTTPClient.Options(name: "broker-api", threads: 2))

    /// The user that both URLs stand for.
    package let user: String
    private let password: String
    private let amqpURL: String
    private let apiURL: String

    /// Reads the environment.
    package init() throws {
        func variable(_ name: String) throws -> String {
            guard let value = ProcessInfo.processInfo.environment[name], !value.isEmpty else {
                throw Failure(description: "\(name) is missing: these tests need a RabbitMQ")
            }
            return value
        }
        amqpURL = try variable("BGAGENT_TEST_AMQP_URL")
        apiURL = try variable("BGAGENT_TEST_AMQP_API_URL")
        let credentials = amqpURL.split(separator: "@").first?.split(separator: "/").last?.split(separator: ":") ?? []
        guard amqpURL.contains("@"), credentials.count == 2 else {
            throw Failure(description: "BGAGENT_TEST_AMQP_URL names no user and password")
        }
        user = String(credentials[0])
        password = String(credentials[1])
    }

    /// The URL of a virtual host.
    package func url(ofVhost vhost: String) -> String {
        let authority = amqpURL.split(separator: "/", omittingEmptySubsequences: true).prefix(2)
        return authority.joined(separator: "//") + "/\(Percent.encode(vhost))"
    }

    /// The virtual host that a URL of `withScratchVhost` names.
    package func vhost(ofURL url: String) -> String {
        url.split(separator: "/").last.flatMap { Percent.decode($0) } ?? "/"
    }

    /// The connections into one virtual host, as far as the broker has heard of them yet.
    package func connections(toVhost vhost: String) async throws -> [OpenConnection] {
        let all = try JSONDecoder().decode([OpenConnection].self, from: Data(try await send("GET", "/connections")))
        return all.filter { $0.vhost == vhost }
    }

    /// Makes the broker close a connection, as an operator would.
    package func close(_ connection: OpenConnection) async throws {
        try await send("DELETE", "/connections/\(Percent.encode(connection.name))")
    }

    /// Sends a request and returns the body of the answer. Throws unless it is a success.
    @discardableResult
    package func send(_ method: String, _ path: String, body: String = "") async throws -> [UInt8] {
        var request = ClientRequest(method: method, url: apiURL + path, body: Array(body.utf8))
        let credentials = Data("\(user):\(password)".utf8).base64EncodedString()
        request.headers = ["Authorization": "Basic \(credentials)", "Content-Type": "application/json"]
        let response = try await Self.client.send(request)
        guard response.isSuccess else {
            throw Failure(description: "\(method) \(path): \(response.status) \(response.text)")
        }
        return response.body
    }
}
