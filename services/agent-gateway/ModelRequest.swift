import Domain

/// What a task may ask of the model.
struct ModelRules: Sendable {
    /// Exact names; a date may follow (`claude-haiku-4-5-20251001`).
    let models: [String]
    let maxTokens: Int

    func allows(_ model: String) -> Bool {
        models.contains { name in
            guard model != name else { return true }
            guard model.hasPrefix(name + "-") else { return false }
            let rest = model.utf8.dropFirst(name.utf8.count + 1)
            return rest.count == 8 && rest.allSatisfy { (48...57).contains($0) }
        }
    }
}

/// A request to the model as far as the proxy has to know it. Its check is the list of what may leave the platform;
/// whatever is not on it stays here.
struct ModelRequest: Sendable {
    /// Why a body is not passed on, in words for the agent's log.
    struct Fault: Error, Sendable, Hashable {
        let message: String
    }

    let model: String
    /// After the cap. 0 for a count of tokens.
    let maxTokens: Int
    let isStream: Bool
    /// What the proxy itself changes in the body.
    let edits: [BodyEdit]

    /// What the agent's client sends. Other fields may reach out of the sandbox (`container`, `mcp_servers`) or cost
    /// more than they say (`speed`, `inference_geo`).
    private static let fields: Set<String> = [
        "model", "messages", "system", "tools", "tool_choice", "metadata", "max_tokens", "thinking",
        "context_management", "output_config", "stream", "temperature", "top_p", "top_k", "stop_sequences",
        "service_tier", "cache_control",
    ]
    /// Blocks that carry what the client has, or what the model has said; none that a server acts on.
    private static let blocks: Set<String> = [
        "text", "image", "document", "search_result", "tool_use", "tool_result", "tool_reference", "thinking",
        "redacted_thinking", "compaction",
    ]

    /// Checks a body. Pure.
    static func check(
        _ body: JSONNode, bytes: [UInt8], rules: ModelRules, isCount: Bool = false
    ) throws(Fault) -> ModelRequest {
        guard let members = body.members else { throw Fault(message: "The body must be a JSON object.") }
        for member in members where !fields.contains(member.key) {
            throw Fault(message: "\(member.key.prefix(100)): not allowed through this gateway")
        }
        guard let model = body["model"]?.string else { throw Fault(message: "model: must be a string") }
        guard rules.allows(model) else {
            throw Fault(message: "model: \(model.prefix(100)) is not one of this task's: \(list(rules.models))")
        }
        if let tier = body["service_tier"], tier.string != "auto", tier.string != "standard_only" {
            throw Fault(message: "service_tier: must be auto or standard_only")
        }
        try check(tools: body["tools"])
        try check(messages: body["messages"])
        if let system = body["system"], system.string == nil { try check(blocks: system, at: "system") }
        let stream = body["stream"]
        guard stream == nil || stream?.bool != nil else { throw Fault(message: "stream: must be true or false") }
        if isCount { return ModelRequest(model: model, maxTokens: 0, isStream: false, edits: []) }
        guard let limit = body["max_tokens"], let asked = Int(String(decoding: bytes[limit.range], as: UTF8.self)),
            asked >= 1
        else { throw Fault(message: "max_tokens: must be a whole number from 1") }
        let isOver = asked > rules.maxTokens
        return ModelRequest(
            model: model, maxTokens: min(asked, rules.maxTokens), isStream: stream?.bool ?? false,
            edits: isOver ? [BodyEdit(range: limit.range, replacement: Array("\(rules.maxTokens)".utf8))] : [])
    }

    private static func list(_ models: [String]) -> String { models.joined(separator: ", ") }

    private static func check(tools: JSONNode?) throws(Fault) {
        guard let tools, !tools.isNull else { return }
        guard let items = tools.items else { throw Fault(message: "tools: must be a list") }
        for (index, tool) in items.enumerated() {
            guard tool.members != nil else { throw Fault(message: "tools.\(index): must be an object") }
            guard let type = tool["type"], !type.isNull else { continue }
            guard type.string == "custom" else {
                throw Fault(
                    message: "tools.\(index).type: \((type.string ?? "this").prefix(100)) runs outside the sandbox; "
                        + "only the client's own tools are allowed")
            }
        }
    }

    private static func check(messages: JSONNode?) throws(Fault) {
        guard let items = messages?.items else { throw Fault(message: "messages: must be a list") }
        for (index, message) in items.enumerated() {
            guard message.members != nil else { throw Fault(message: "messages.\(index): must be an object") }
            guard let content = message["content"], content.string == nil else { continue }
            try check(blocks: content, at: "messages.\(index).content")
        }
    }

    private static func check(blocks list: JSONNode, at place: String) throws(Fault) {
        guard let items = list.items else { throw Fault(message: "\(place): must be a string or a list") }
        for (index, block) in items.enumerated() {
            let place = "\(place).\(index)"
            guard let type = block["type"]?.string else { throw Fault(message: "\(place).type: must be a string") }
            guard blocks.contains(type) else {
                throw Fault(message: "\(place).type: \(type.prefix(100)) is not allowed through this gateway")
            }
            guard block["file_id"] == nil else { throw Fault(message: "\(place).file_id: files are not reachable") }
            if type == "image" || type == "document" { try check(source: block["source"], at: "\(place).source") }
            // A tool's input and a block of text are the agent's own; a result may hold blocks again.
            guard type == "tool_result" || type == "search_result", let content = block["content"] else { continue }
            if content.string == nil, !content.isNull { try check(blocks: content, at: "\(place).content") }
        }
    }

    private static func check(source: JSONNode?, at place: String) throws(Fault) {
        switch source?["type"]?.string {
        case "base64", "text": return
        case "content":
            guard let content = source?["content"], content.string == nil else { return }
            try check(blocks: content, at: "\(place).content")
        case let type:
            throw Fault(
                message: "\(place).type: \((type ?? "this").prefix(100)) would be fetched from outside the sandbox; "
                    + "send the content itself")
        }
    }
}
