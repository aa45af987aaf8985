import Domain
import HTTPTypes
import Store

/// The JSON body of an agent's request. What is wrong with it is said by field.
struct Fields: Sendable {
    let value: JSONValue

    init(_ request: Request) throws {
        guard let value = try? JSONText.decode(JSONValue.self, bytes: request.body.load()), value.object != nil else {
            throw Refusal.invalid("The body is not a JSON object.")
        }
        self.value = value
    }

    func text(_ name: String) throws -> String {
        guard let text = value[name]?.string else { throw Refusal.invalid("\(name): must be a string") }
        return text
    }

    func integer(_ name: String) throws -> Int64 {
        guard let number = value[name]?.integer else { throw Refusal.invalid("\(name): must be a whole number") }
        return number
    }

    /// A full object name, so that nothing else ever reaches git's arguments.
    func commit(_ name: String) throws -> String {
        let text = try text(name)
        guard text.utf8.count == 40, text.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) else {
            throw Refusal.invalid("\(name): must be a commit's full name")
        }
        return text
    }

    /// The attempt that the body speaks of must be the token's own.
    func requireAttempt(_ session: SessionRecord) throws {
        guard try integer("attempt") == Int64(session.attempt) else { throw Refusal.staleEpoch }
    }
}
