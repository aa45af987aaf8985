import Testing
import Threads

/// What a test waits for when something happens inside the code under test: send from there, wait here, in order.
package final class TestSignal<Value: Sendable>: Sendable {
    private let values = Lock<[Value]>([])

    package init() {}

    /// Says that it happened.
    package func send(_ value: Value) {
        values.withLock { $0.append(value) }
    }

    /// How often it happened without being waited for yet.
    package var count: Int {
        values.withLock { $0.count }
    }

    /// Everything that was sent and not waited for yet.
    package var pending: [Value] {
        values.withLock { $0 }
    }

    /// The next value, as soon as there is one.
    @discardableResult
    package func wait(
        _ what: String = "the signal came", within patience: Duration = .seconds(20),
        isolation: isolated (any Actor)? = #isolation, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Value {
        try await eventually(what, within: patience, isolation: isolation, sourceLocation: sourceLocation) {
            values.withLock { $0.isEmpty ? nil : $0.removeFirst() }
        }
    }
}

extension TestSignal where Value == Void {
    /// Says that it happened.
    package func send() {
        send(())
    }
}
