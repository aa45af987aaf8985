import HTTPTypes

/// Decides whether and when a call is made again. Pure: no clock, no network.
package struct RetryPlan: Sendable {
    /// Whether the call may happen twice without harm: reads, sets, deletes, and what carries an idempotency key.
    package let isRepeatable: Bool
    /// How long to keep trying from the first failure on.
    package let patience: Duration

    package init(isRepeatable: Bool, patience: Duration) {
        self.isRepeatable = isRepeatable
        self.patience = patience
    }

    /// Refusals with the status of a limit that stand until somebody does something: a later try, when that was done,
    /// would do what nobody wants any more.
    package static func isFinal(_ code: String) -> Bool { code == "ASK_OPEN" }

    /// Why a try failed, as far as the decision needs it.
    package enum Failure: Sendable, Equatable {
        case transport(TransportError)
        case status(Int, retryAfter: Int?)
    }

    /// How long to wait before the next try; nil to give up.
    /// - Parameters:
    ///   - tries: tries made so far, from 1.
    ///   - elapsed: since the first failure.
    ///   - random: from 0 to 1, spreads many clients.
    package func delay(after failure: Failure, tries: Int, elapsed: Duration, random: Double) -> Duration? {
        var asked: Duration?
        switch failure {
        case .transport(.unusable): return nil
        case .transport(.lost): if !isRepeatable { return nil }
        case .transport(.unreachable): break
        case .status(429, let seconds), .status(503, let seconds):
            asked = seconds.map { .seconds(max(0, min($0, 300))) }
        case .status(502, _), .status(504, _): if !isRepeatable { return nil }
        case .status: return nil
        }
        let steps = [0.25, 0.5, 1, 2, 5]
        let own = Duration.milliseconds(Int(1000 * steps[min(tries, steps.count) - 1] * (0.8 + 0.4 * random)))
        let delay = max(asked ?? .zero, own)
        return elapsed + delay > patience ? nil : delay
    }
}
