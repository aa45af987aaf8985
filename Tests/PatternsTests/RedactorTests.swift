import FoundationEssentials
import Testing

@testable import Patterns

@Suite struct RedactorTests {
    /// What the agent's harness is held to as well.
    private struct Corpus: Decodable {
        struct Case: Decodable {
            let text: [String]
            let clean: String
        }
        let secrets: [Case]
        let ordinary: [String]
    }

    private func corpus() throws -> Corpus {
        let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let file = tests.appending(path: "Golden/redaction.json")
        return try JSONDecoder().decode(Corpus.self, from: Data(contentsOf: file))
    }

    @Test func `the corpus loses its secrets as in the harness`() throws {
        let redactor = try Redactor()
        for one in try corpus().secrets {
            #expect(redactor.redact(one.text.joined()) == one.clean)
            #expect(redactor.redact(one.clean) == one.clean, "what passed once stays as it is")
        }
    }

    @Test func `ordinary text stays`() throws {
        let redactor = try Redactor()
        for text in try corpus().ordinary { #expect(redactor.redact(text) == text) }
    }

    @Test func `what the spans name is what is redacted`() throws {
        let redactor = try Redactor()
        for one in try corpus().secrets {
            let text = one.text.joined()
            let spans = try redactor.spans(in: text, redactor.suspects(in: text))
            for (range, name) in spans {
                let secret = String(decoding: Array(text.utf8)[range], as: UTF8.self)
                #expect(!redactor.redact(text).contains(secret), "\(name) in \(one.clean)")
            }
            #expect(spans.isEmpty == (one.clean == text))
        }
    }

    @Test func `a hostile text is redacted or withheld, in time`() throws {
        let redactor = try Redactor()
        for unit in ["a.", "-eyJ", "ab+", "http://", "://a:", "bearer ", "x:@", "-----BEGIN PRIVATE KEY", "secret_="] {
            _ = redactor.redact(String(repeating: unit, count: 50_000))
        }
    }
}
