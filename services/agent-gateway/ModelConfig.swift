import Config
import Domain
import FoundationEssentials

/// What the model proxy is told.
struct ModelConfig: Sendable {
    /// Without a slash at its end.
    let url: String
    /// Missing: every request is refused, saying so.
    let key: Secret?
    /// Models that any task may use beside its own, for titles and the like.
    let smallModels: [String]
    /// Larger `max_tokens` are lowered to this.
    let maxTokens: Int
    let maxBody: Int
    /// Requests of one session at once.
    let concurrency: Int
    let connectTimeout: Duration
    /// The longest silence of the model, before its answer as within it.
    let silence: Duration
    /// How long a reservation outlives a process that died.
    let reservationLife: Duration
    let prices: PriceTable

    init(_ environment: inout Environment) {
        let url = environment.url(
            "BGAGENT_MODEL_URL", default: "https://api.anthropic.com", "the Messages API that answers agents")
        self.url = url.hasSuffix("/") ? String(url.dropLast()) : url
        key = environment.optionalSecret("BGAGENT_MODEL_API_KEY", "key of that API; agents never see it")
        smallModels = environment.list(
            "BGAGENT_SMALL_MODELS", default: ["claude-haiku-4-5", "claude-3-5-haiku"],
            "models that every task may use beside its own")
        maxTokens = environment.int(
            "BGAGENT_MODEL_MAX_TOKENS", default: 128_000, in: 1...10_000_000,
            "longest answer of the model in tokens; requests for more are lowered")
        maxBody = environment.int(
            "BGAGENT_MODEL_MAX_BODY", default: 32 << 20, in: 1024...(1 << 30), "largest request to the model in bytes")
        concurrency = environment.int(
            "BGAGENT_MODEL_CONCURRENCY", default: 4, in: 1...100, "requests of one session to the model at once")
        connectTimeout = environment.duration(
            "BGAGENT_MODEL_CONNECT_TIMEOUT", default: .seconds(10), "time for the connection to the model")
        silence = environment.duration(
            "BGAGENT_MODEL_SILENCE", default: .seconds(300), "longest silence of the model, before or within an answer")
        reservationLife = environment.duration(
            "BGAGENT_MODEL_RESERVATION_LIFE", default: .seconds(60), in: .milliseconds(100)...(.seconds(3600)),
            "after this a dead process's unfinished requests are charged by their estimate")
        let file = environment.optionalPath(
            "BGAGENT_PRICES_FILE", "prices of models as JSON, instead of the built-in ones")
        var table = PriceTable.builtIn
        if let file {
            do {
                table = try PriceTable(json: Array(Data(contentsOf: URL(filePath: file))))
            } catch {
                environment.reject("BGAGENT_PRICES_FILE=\(file): \(error)")
            }
        }
        prices = table
    }
}
