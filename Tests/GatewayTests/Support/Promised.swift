import Domain

@testable import Gateway

/// The API's description as a judge: whether an answer is one that it promises.
struct Promised: Sendable {
    let document: JSONValue

    init(_ endpoints: [Endpoint]) throws {
        document = try JSONReader.read(Description(endpoints).bytes)
    }

    /// The description's methods and paths.
    var operations: [(method: String, path: String)] {
        (document["paths"]?.object ?? [:]).flatMap { path, methods in
            (methods.object ?? [:]).keys.map { ($0.uppercased(), path) }
        }
    }

    /// What an answer breaks; nothing when its route is not described, which is what a 404 or 405 then says.
    func breaches(_ method: String, _ target: String, _ status: Int, _ body: JSONValue) -> [String] {
        let path = String(target.prefix { $0 != "?" })
        guard let operation = operation(method, path) else {
            return [400, 404, 405, 413, 429].contains(status) ? [] : ["\(status) from a route that is not described"]
        }
        guard let content = operation["responses"]?["\(status)"]?["content"]?["application/json"]?["schema"] else {
            return ["\(status) is not described"]
        }
        return breaches(body, content, at: "body")
    }

    /// The template that a path follows; a literal goes before a name.
    func operation(_ method: String, _ path: String) -> JSONValue? {
        let segments = path.split(separator: "/", omittingEmptySubsequences: false)
        let candidates = (document["paths"]?.object ?? [:]).filter { template, methods in
            let parts = template.split(separator: "/", omittingEmptySubsequences: false)
            return methods[method.lowercased()] != nil && parts.count == segments.count
                && zip(parts, segments).allSatisfy { $0 == $1 || $0.hasPrefix("{") }
        }
        let best = candidates.min { $0.key.filter { $0 == "{" }.count < $1.key.filter { $0 == "{" }.count }
        return best?.value[method.lowercased()]
    }

    private func breaches(_ value: JSONValue, _ schema: JSONValue, at place: String) -> [String] {
        if let reference = schema["$ref"]?.string {
            let name = String(reference.split(separator: "/").last ?? "")
            guard let target = document["components"]?["schemas"]?[name] else { return ["\(place): no schema \(name)"] }
            return breaches(value, target, at: place)
        }
        if let choices = schema["oneOf"]?.array {
            let fits = choices.contains { breaches(value, $0, at: place).isEmpty }
            return fits ? [] : ["\(place) fits none of its forms: \(value.text)"]
        }
        if let words = schema["enum"]?.array, !words.contains(value) { return ["\(place) is \(value.text)"] }
        switch schema["type"]?.string {
        case "object":
            guard let members = value.object else { return ["\(place) is no object"] }
            let properties = schema["properties"]?.object ?? [:]
            let missing = (schema["required"]?.array ?? []).compactMap(\.string).filter { members[$0] == nil }
            let unknown = schema["additionalProperties"] == false ? members.keys.filter { properties[$0] == nil } : []
            return missing.map { "\(place).\($0) is missing" } + unknown.map { "\(place).\($0) is not described" }
                + members.flatMap { name, member in
                    properties[name].map { breaches(member, $0, at: "\(place).\(name)") } ?? []
                }
        case "array":
            guard let elements = value.array else { return ["\(place) is no array"] }
            return elements.enumerated().flatMap { index, element in
                breaches(element, schema["items"] ?? [:], at: "\(place)[\(index)]")
            }
        case "string": return value.string == nil ? ["\(place) is no text"] : []
        case "integer": return value.integer == nil ? ["\(place) is no whole number"] : []
        case "number": return value.number == nil ? ["\(place) is no number"] : []
        case "boolean": return value.bool == nil ? ["\(place) is no boolean"] : []
        case "null": return value.isNull ? [] : ["\(place) is not null"]
        default: return []
        }
    }
}
