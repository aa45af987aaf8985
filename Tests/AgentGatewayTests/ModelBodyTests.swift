import Domain
import FoundationEssentials
import Testing

@testable import AgentGateway

@Suite struct ModelBodyTests {
    private static let rules = ModelRules(models: ["claude-sonnet-4-5", "claude-haiku-4-5"], maxTokens: 1000)

    /// The reason for a refusal, or nil when the body may pass. `fields` come behind a model, a limit and a message.
    private func reason(_ fields: String, model: String = "claude-sonnet-4-5", content: String = #""Hi""#) throws
        -> String?
    {
        let body =
            #"{"model":"\#(model)","max_tokens":10,"messages":[{"role":"user","content":\#(content)}]\#(fields)}"#
        let bytes = Array(body.utf8)
        do {
            _ = try ModelRequest.check(try JSONScan.read(bytes), bytes: bytes, rules: Self.rules)
            return nil
        } catch let fault as ModelRequest.Fault {
            return fault.message
        }
    }

    @Test(arguments: [
        "", #","system":"You are","stream":true,"temperature":0.5,"top_p":1,"top_k":3,"stop_sequences":["x"]"#,
        #","system":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]"#,
        #","metadata":{"user_id":"{\"device_id\":\"d\"}"},"thinking":{"type":"enabled","budget_tokens":5}"#,
        #","context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]}"#,
        #","output_config":{"effort":"high"},"service_tier":"auto","tool_choice":{"type":"auto"}"#,
        #","tools":[{"name":"Bash","description":"d","input_schema":{"type":"object"},"defer_loading":true}]"#,
        #","tools":[{"type":"custom","name":"Read","input_schema":{"properties":{"container":{}}}}]"#,
    ])
    func `what the agent's client sends passes`(fields: String) throws {
        #expect(try reason(fields) == nil)
    }

    @Test(arguments: [
        (#","mcp_servers":[]"#, "mcp_servers"), (#","container":"c"# + #"""#, "container"),
        (#","speed":"fast""#, "speed"), (#","inference_geo":"us""#, "inference_geo"), (#","betas":[]"#, "betas"),
        (#","service_tier":"priority""#, "service_tier"), (#","c\u006fntainer":{}"#, "container"),
        (#","tools":[{"type":"web_search_20250305","name":"web_search"}]"#, "web_search_20250305"),
        (#","tools":[{"type":"code_execution_20250825","name":"x"}]"#, "code_execution_20250825"),
        (#","tools":[{"type":"mcp_toolset","mcp_server_name":"x"}]"#, "mcp_toolset"),
        (#","tools":[{"type":7}]"#, "tools.0.type"), (#","tools":{}"#, "tools"), (#","stream":"yes""#, "stream"),
        (#","system":[{"type":"image","source":{"type":"url","url":"http://x"}}]"#, "system.0.source"),
    ])
    func `what reaches out of the sandbox stays`(fields: String, named: String) throws {
        #expect(try reason(fields)?.contains(named) == true)
    }

    @Test(arguments: [
        (#"[{"type":"text","text":"a"},{"type":"image","source":{"type":"base64","data":""}}]"#, nil),
        (
            #"[{"type":"tool_use","id":"t","name":"n","input":{"source":{"type":"url"},"type":"container_upload"}}]"#,
            nil
        ),
        (#"[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"a"}]}]"#, nil),
        (#"[{"type":"tool_result","tool_use_id":"t"}]"#, nil),
        (#"[{"type":"image","source":{"type":"url","url":"http://x"}}]"#, "url would be fetched"),
        (#"[{"type":"document","source":{"type":"file","file_id":"f"}}]"#, "file would be fetched"),
        (#"[{"type":"document"}]"#, "this would be fetched"),
        (
            #"[{"type":"tool_result","tool_use_id":"t","content":[{"type":"image","source":{"type":"url"}}]}]"#,
            "messages.0.content.0.content.0.source"
        ),
        (
            #"[{"type":"document","source":{"type":"content","content":[{"type":"image","source":{"type":"file"}}]}}]"#,
            "file would be fetched"
        ),
        (#"[{"type":"container_upload","file_id":"f"}]"#, "container_upload"),
        (#"[{"type":"server_tool_use","name":"web_search"}]"#, "server_tool_use"),
        (#"[{"text":"a"}]"#, "type: must be a string"), ("7", "must be a string or a list"),
    ])
    func `blocks are looked through to the innermost`(content: String, named: String?) throws {
        let found = try reason("", content: content)
        if let named { #expect(found?.contains(named) == true) } else { #expect(found == nil) }
    }

    @Test(arguments: [
        ("claude-sonnet-4-5", true), ("claude-sonnet-4-5-20250929", true), ("claude-haiku-4-5-20251001", true),
        ("claude-opus-4-5", false), ("claude-sonnet-4-5-turbo", false), ("claude-sonnet-4-5-2025092", false),
        ("claude-sonnet-4", false), ("", false),
    ])
    func `only the task's model and the small ones are asked`(model: String, isAllowed: Bool) throws {
        #expect(try (reason("", model: model) == nil) == isAllowed)
    }

    @Test(arguments: ["0", "-1", "1.5", "\"10\"", "1e3", "null", "9999999999999999999999"])
    func `the length of the answer must be a number`(limit: String) throws {
        let bytes = Array(#"{"model":"claude-haiku-4-5","max_tokens":\#(limit),"messages":[]}"#.utf8)
        #expect(throws: ModelRequest.Fault.self) {
            try ModelRequest.check(try JSONScan.read(bytes), bytes: bytes, rules: Self.rules)
        }
    }

    @Test(arguments: [
        "", "{", "}", "[1,]", #"{"a":1,}"#, #"{"a" 1}"#, #"{a:1}"#, "01", "1.", "+1", ".5", "1e", "nul", "\"\t\"",
        #""\x""#, #""\u12""#, #""\u12g4""#, "\"a", "1 2", #"{"a":1,"\u0061":2}"#, "\u{feff}{}",
        String(repeating: "[", count: 300), "\"\\",
    ])
    func `what is no JSON is told apart`(text: String) {
        #expect(throws: JSONFault.self) { try JSONScan.read(Array(text.utf8)) }
    }

    @Test func `bytes that are no text are no JSON`() {
        #expect(throws: JSONFault.self) { try JSONScan.read([34, 0xC3, 34]) }
    }

    @Test func `every part is found with its place`() throws {
        let text = #" {"a":[1,-2.5e+3,true,false,null,"x\n\u00e9\ud83d\ude00\ud83d"],"b":{}} "#
        let bytes = Array(text.utf8)
        let root = try JSONScan.read(bytes)
        let items = try #require(root["a"]?.items)
        #expect(items.map { String(decoding: bytes[$0.range], as: UTF8.self) }.prefix(2) == ["1", "-2.5e+3"])
        #expect(items[2].bool == true && items[4].isNull)
        #expect(items[5].string == "x\né😀\u{FFFD}")
        #expect(root["b"]?.members?.isEmpty == true)
    }
}
