import Testing

/// What was waited for did not come in time; the failure itself is recorded where the wait stands.
package struct NotInTime: Error, CustomStringConvertible {
    package let description: String
}

/// Asks again and again until `look` returns a value, and returns it.
///
/// An error of `look` counts as "not yet" and is told when the time is up. The pause between two looks grows from
/// 1 ms to 25 ms, so a wait costs little more than what it waits for takes.
/// - Parameter what: what is waited for, as a statement: "the task is queued".
@discardableResult
package func eventually<Value>(
    _ what: String, within patience: Duration = .seconds(20), isolation: isolated (any Actor)? = #isolation,
    sourceLocation: SourceLocation = #_sourceLocation, _ look: () async throws -> Value?
) async throws -> Value {
    let clock = ContinuousClock()
    let deadline = clock.now + patience
    var pause = Duration.milliseconds(1)
    while true {
        var seen = "nothing"
        do {
            if let value = try await look() { return value }
        } catch {
            seen = "\(error)"
        }
        if clock.now >= deadline {
            let failure = NotInTime(description: "not within \(patience): \(what); seen last: \(seen)")
            Issue.record(failure, sourceLocation: sourceLocation)
            throw failure
        }
        try await clock.sleep(for: pause)
        pause = min(pause * 2, .milliseconds(25))
    }
}

/// Asks again and again until `look` says true.
package func eventually(
    _ what: String, within patience: Duration = .seconds(20), isolation: isolated (any Actor)? = #isolation,
    sourceLocation: SourceLocation = #_sourceLocation, _ look: () async throws -> Bool
) async throws {
    let value: Void? = try await eventually(
        what, within: patience, isolation: isolation, sourceLocation: sourceLocation
    ) { try await look() ? () : nil }
    _ = value
}
