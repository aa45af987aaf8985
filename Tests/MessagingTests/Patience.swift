import TestSupport
import Testing

// These tests share a few threads with all others of the run, many of which block on their database; so what takes
// milliseconds alone is waited for longer here. The names stand before those of TestSupport.

@discardableResult
func eventually<Value>(
    _ what: String, within patience: Duration = .seconds(90), isolation: isolated (any Actor)? = #isolation,
    sourceLocation: SourceLocation = #_sourceLocation, _ look: () async throws -> Value?
) async throws -> Value {
    try await TestSupport.eventually(
        what, within: patience, isolation: isolation, sourceLocation: sourceLocation, look)
}

func eventually(
    _ what: String, within patience: Duration = .seconds(90), isolation: isolated (any Actor)? = #isolation,
    sourceLocation: SourceLocation = #_sourceLocation, _ look: () async throws -> Bool
) async throws {
    try await TestSupport.eventually(
        what, within: patience, isolation: isolation, sourceLocation: sourceLocation, look)
}
