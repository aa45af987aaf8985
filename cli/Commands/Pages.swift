import Domain

/// Lists that come in pages.
package enum Pages {
    /// Every entry of a list; follows `next_token` to the end.
    package static func all(
        _ path: String, _ client: APIClient, query: [(String, String)] = []
    ) async throws -> [JSONValue] {
        var entries: [JSONValue] = []
        var token: String?
        repeat {
            let page = try await client.call("GET", path, query: query + (token.map { [("next_token", $0)] } ?? []))
            entries += page.data.array ?? []
            let next = page.pagination.text("next_token")
            token = next == token ? nil : next
        } while token != nil
        return entries
    }
}

/// Any object as labelled lines: what is set, in the order of its names, the identifying ones first.
package enum ObjectPage {
    private static let first = ["task_id", "user_id", "token_id", "repo", "name"]

    package static func lines(_ value: JSONValue, style: Style) -> [String] {
        let members = (value.object ?? [:]).filter {
            !$0.value.isNull && $0.value != .object([:]) && $0.value != .array([])
        }
        let ordered = members.sorted { left, right in
            let places = (first.firstIndex(of: left.key) ?? first.count, first.firstIndex(of: right.key) ?? first.count)
            return places.0 == places.1 ? left.key < right.key : places.0 < places.1
        }
        var fields = Fields()
        for (key, value) in ordered {
            let isDollars = key.hasSuffix("_usd")
            fields.add(
                Text.visible(key),
                isDollars ? Amount.dollars(value.number ?? value.string.flatMap { Double($0) }) : short(value))
        }
        return fields.lines(style: style)
    }

    /// Of a text of many lines, as rules are, the first one and how many follow.
    private static func short(_ value: JSONValue) -> String {
        let lines = (value.string ?? "").split(separator: "\n")
        guard lines.count > 1 else { return value.plain }
        return "\(lines[0]) … (\(Amount.count(lines.count - 1, "more line")))"
    }
}
