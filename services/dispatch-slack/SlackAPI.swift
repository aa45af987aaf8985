import Config
import Domain
import HTTPClient
import HTTPTypes
import Notifications

/// Calls of Slack's Web API: one try each, errors told by whether the call may have had its effect.
struct SlackAPI: Sendable {
    private let url: String
    private let token: Secret
    private let http: HTTPClient

    init(url: String, token: Secret, caFile: String? = nil) {
        self.url = url
        self.token = token
        http = HTTPClient(.init(name: "slack", threads: 16, caFile: caFile))
    }

    /// A method that writes.
    func post(_ method: String, _ arguments: JSONValue) async throws(SendError) -> JSONValue {
        var request = ClientRequest(
            method: "POST", url: "\(url)/\(method)", body: Array(arguments.text.utf8), timeout: .seconds(15))
        request.headers = [("Content-Type", "application/json; charset=utf-8")]
        return try await call(request, method, writes: true)
    }

    /// A method that reads; these take no JSON.
    func get(_ method: String, _ arguments: [(String, String)]) async throws(SendError) -> JSONValue {
        let query = arguments.map { "\($0.0)=\(Percent.encode($0.1))" }.joined(separator: "&")
        return try await call(
            ClientRequest(url: "\(url)/\(method)?\(query)", timeout: .seconds(15)), method, writes: false)
    }

    /// The id of a channel that may be given by name: posting takes either, reading takes ids alone.
    func channelID(of target: String) async throws(SendError) -> String {
        let isID =
            target.utf8.count >= 8 && "CGD".contains(target.prefix(1))
            && target.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) }
        if isID { return target }
        let name = target.hasPrefix("#") ? target.dropFirst() : target[...]
        var arguments = [("types", "public_channel,private_channel"), ("limit", "1000")]
        while true {
            let answer = try await get("conversations.list", arguments)
            for channel in answer["channels"]?.array ?? [] {
                if channel["name"]?.string == String(name), let id = channel["id"]?.string { return id }
            }
            let cursor = answer["response_metadata"]?["next_cursor"]?.string ?? ""
            if cursor.isEmpty { throw SendError(.refused, "there is no channel \(target) that we may see") }
            arguments = Array(arguments.prefix(2)) + [("cursor", cursor)]
        }
    }

    private func call(_ request: ClientRequest, _ method: String, writes: Bool) async throws(SendError) -> JSONValue {
        var request = request
        request.headers.append(("Authorization", "Bearer \(token.revealed)"))
        let response: ClientResponse
        do {
            response = try await http.send(request)
        } catch let error as HTTPClientError {
            throw SendError(writes && error.mayHaveReachedServer ? .unknown : .unavailable, "\(method): \(error)")
        } catch {
            throw SendError(.unavailable, "\(method): \(error)")
        }
        if response.status == 429 {
            let seconds = response.headers["Retry-After"].flatMap { Int($0) } ?? 30
            throw SendError(.rateLimited(retryAfter: .seconds(min(max(seconds, 1), 3600))), "\(method): ratelimited")
        }
        guard response.isSuccess, let answer = try? JSONText.decode(JSONValue.self, bytes: response.body) else {
            // A server that failed may have done its work before.
            throw SendError(writes ? .unknown : .unavailable, "\(method): status \(response.status)")
        }
        if answer["ok"]?.bool == true { return answer }
        let reason = answer["error"]?.string ?? "unknown_error"
        throw SendError(SlackAPI.kind(of: reason), "\(method): \(reason)")
    }

    /// What an error of Slack's means. What it does not name here will not pass by being sent again.
    static func kind(of error: String) -> SendError.Kind {
        switch error {
        case "ratelimited", "rate_limited", "message_limit_exceeded": .rateLimited(retryAfter: .seconds(30))
        case "service_unavailable", "team_added_to_org", "accesslimited": .unavailable
        // Slack says of these that some part of the work may have been done.
        case "internal_error", "fatal_error", "request_timeout": .unknown
        default: .refused
        }
    }
}
