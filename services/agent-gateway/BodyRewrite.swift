import Domain
import Patterns

/// One change of a body: these bytes become those.
struct BodyEdit: Sendable, Hashable {
    let range: Range<Int>
    let replacement: [UInt8]

    /// The body with all edits made; where two overlap, the first one stands.
    static func apply(_ edits: [BodyEdit], to bytes: [UInt8]) -> [UInt8] {
        if edits.isEmpty { return bytes }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var copied = 0
        for edit in edits.sorted(by: { $0.range.lowerBound < $1.range.lowerBound })
        where edit.range.lowerBound >= copied {
            result += bytes[copied..<edit.range.lowerBound]
            result += edit.replacement
            copied = edit.range.upperBound
        }
        result += bytes[copied...]
        return result
    }
}

/// A step that may change a request on its way to the model.
///
/// It names edits and changes nothing else, and the same part gets the same edit in every later request: a prompt that
/// was cached stays cached.
protocol BodyRewrite: Sendable {
    /// Throws when the body cannot be cleared; it then does not leave.
    func edits(_ body: JSONNode, bytes: [UInt8]) throws -> [BodyEdit]
}

/// Takes out what looks like a secret, in every string of the body whatever its role.
struct SecretScrub: BodyRewrite {
    private let redactor: Redactor

    /// Throws when a pattern does not compile.
    init() throws {
        // A long conversation with images is tens of megabytes.
        redactor = try Redactor(limits: Pattern.Limits(textBytes: 256 << 20, time: .seconds(10)))
    }

    func edits(_ body: JSONNode, bytes: [UInt8]) throws -> [BodyEdit] {
        let strings = SecretScrub.strings(of: body)
        // Nearly always there is nothing: one look at all of it says so.
        let suspects = try redactor.suspects(in: strings.map(\.text).joined(separator: "\n"))
        if suspects.isEmpty { return [] }
        var edits: [BodyEdit] = []
        for (text, range) in strings {
            let found = try redactor.spans(in: text, suspects)
            if found.isEmpty { continue }
            guard let walk = JSONText.Walk(bytes[(range.lowerBound + 1)..<(range.upperBound - 1)]) else { continue }
            edits += found.map { span, name in
                BodyEdit(
                    range: walk.rawOffset(of: span.lowerBound)..<walk.rawOffset(of: span.upperBound),
                    replacement: Array(Redactor.mark(name).utf8))
            }
        }
        return edits
    }

    /// All strings but those of thinking blocks, which are signed: a change there is refused by the model's API, and
    /// they hold only what the model made of scrubbed text.
    private static func strings(of body: JSONNode) -> [(text: String, range: Range<Int>)] {
        var signed: Set<Int> = []
        for message in body["messages"]?.items ?? [] where message["role"]?.string == "assistant" {
            for block in message["content"]?.items ?? [] {
                let type = block["type"]?.string
                if type == "thinking" || type == "redacted_thinking" { signed.insert(block.range.lowerBound) }
            }
        }
        var found: [(text: String, range: Range<Int>)] = []
        collect(body, except: signed, into: &found)
        return found
    }

    private static func collect(
        _ node: JSONNode, except signed: Set<Int>, into strings: inout [(text: String, range: Range<Int>)]
    ) {
        switch node.content {
        case .string(let text): strings.append((text, node.range))
        case .array(let items): for item in items { collect(item, except: signed, into: &strings) }
        case .object(let members):
            if signed.contains(node.range.lowerBound) { return }
            for member in members {
                strings.append((member.key, member.keyRange))
                collect(member.value, except: signed, into: &strings)
            }
        case .number, .bool, .null: return
        }
    }
}
