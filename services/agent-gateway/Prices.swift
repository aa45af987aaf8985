import Domain

/// What a model's tokens cost, in millionths of a dollar per million tokens.
struct ModelPrice: Sendable, Hashable {
    var input: Int64
    var output: Int64
    var cacheWrite5m: Int64
    var cacheWrite1h: Int64
    var cacheRead: Int64

    /// Exact to the millionth of a dollar; a fraction of one is rounded up, once for the whole call.
    func cost(of usage: TokenUsage) -> USD {
        let sum =
            usage.input * input + usage.output * output + usage.cacheWrite5m * cacheWrite5m
            + usage.cacheWrite1h * cacheWrite1h + usage.cacheRead * cacheRead
        return USD(micros: (sum + 999_999) / 1_000_000)
    }
}

/// Prices by the beginnings of models' names.
struct PriceTable: Sendable {
    /// The file is not a price table.
    struct Malformed: Error, CustomStringConvertible {
        let description: String
    }

    private let prices: [(prefix: String, price: ModelPrice)]
    private let dearest: ModelPrice

    /// Reads `{"models": {"<prefix>": {"input", "output", "cache_write_5m", "cache_write_1h", "cache_read"}}}`, in
    /// dollars per million tokens.
    init(json: some Sequence<UInt8>) throws {
        guard let models = try? JSONText.decode(JSONValue.self, bytes: json)["models"]?.object, !models.isEmpty else {
            throw Malformed(description: "must be a JSON object with \"models\"")
        }
        self.init(
            try models.map { prefix, entry in
                func micros(_ name: String) throws -> Int64 {
                    guard let number = entry[name]?.number, (0...100_000).contains(number),
                        let price = USD(dollars: number)
                    else { throw Malformed(description: "models.\(prefix).\(name) must be a price in dollars") }
                    return price.micros
                }
                let price = ModelPrice(
                    input: try micros("input"), output: try micros("output"),
                    cacheWrite5m: try micros("cache_write_5m"), cacheWrite1h: try micros("cache_write_1h"),
                    cacheRead: try micros("cache_read"))
                return (prefix: prefix, price: price)
            })
    }

    private init(_ prices: [(prefix: String, price: ModelPrice)]) {
        self.prices = prices.sorted { $0.prefix.utf8.count > $1.prefix.utf8.count }
        dearest = ModelPrice(
            input: prices.map(\.price.input).max() ?? 0, output: prices.map(\.price.output).max() ?? 0,
            cacheWrite5m: prices.map(\.price.cacheWrite5m).max() ?? 0,
            cacheWrite1h: prices.map(\.price.cacheWrite1h).max() ?? 0,
            cacheRead: prices.map(\.price.cacheRead).max() ?? 0)
    }

    /// A model that nobody knows costs the dearest of each kind: a budget must not be passed by a new name.
    func price(of model: String) -> (price: ModelPrice, isKnown: Bool) {
        guard let found = prices.first(where: { model.hasPrefix($0.prefix) }) else { return (dearest, false) }
        return (found.price, true)
    }

    /// The table of this build, `prices.json` beside this file.
    static let builtIn: PriceTable = {
        guard let table = try? PriceTable(json: PackageResources.prices_json) else {
            preconditionFailure("prices.json of this build cannot be read")
        }
        return table
    }()
}
