/// Where spans are sent, and how many.
package struct TracingConfig: Sendable {
    /// The base of an OTLP/HTTP receiver; nil = no spans are made.
    package var endpoint: String?
    /// `name=value,name=value`, values percent-encoded; sent with every export.
    package var headers: Secret?
    /// Spans that wait to be sent; more are dropped and counted.
    package var bufferSize: Int
    /// Of the traces that begin here, the part that is recorded.
    package var ratio: Double

    /// What no variable set: no tracing.
    package init(endpoint: String? = nil, headers: Secret? = nil, bufferSize: Int = 8192, ratio: Double = 1) {
        self.endpoint = endpoint
        self.headers = headers
        self.bufferSize = bufferSize
        self.ratio = ratio
    }

    package init(_ environment: inout Environment) {
        endpoint = environment.optionalURL(
            "BGAGENT_OTLP_ENDPOINT",
            "where spans are sent as OTLP over HTTP, without /v1/traces; not set = no tracing")
        headers = environment.optionalSecret(
            "BGAGENT_OTLP_HEADERS", "header fields for it: name=value, separated by commas, values percent-encoded")
        if let headers, !headers.revealed.split(separator: ",").allSatisfy({ Self.isField($0) }) {
            environment.reject("BGAGENT_OTLP_HEADERS is not of the form name=value,name=value.")
        }
        bufferSize = environment.int(
            "BGAGENT_TRACE_BUFFER", default: 8192, in: 64...1_000_000,
            "spans that may wait to be sent; more are dropped and counted")
        ratio = environment.double(
            "BGAGENT_TRACE_RATIO", default: 1, in: 0...1,
            "part of the tasks that are traced; a caller's traceparent decides by itself")
    }

    private static func isField(_ text: Substring) -> Bool {
        guard let sign = text.firstIndex(of: "=") else { return false }
        return text[..<sign].contains { $0 != " " }
    }
}
