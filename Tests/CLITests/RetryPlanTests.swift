import Testing

@testable import CLI

@Suite struct RetryPlanTests {
    private let repeatable = RetryPlan(isRepeatable: true, patience: .seconds(60))
    private let single = RetryPlan(isRepeatable: false, patience: .seconds(60))

    private func delay(
        _ plan: RetryPlan, _ failure: RetryPlan.Failure, tries: Int = 1, elapsed: Duration = .zero
    ) -> Duration? {
        plan.delay(after: failure, tries: tries, elapsed: elapsed, random: 0.5)
    }

    @Test func `what never reached the gateway is tried again whatever it is`() {
        #expect(delay(single, .transport(.unreachable("refused"))) == .milliseconds(250))
        #expect(delay(repeatable, .transport(.unreachable("refused"))) == .milliseconds(250))
    }

    @Test(arguments: [
        RetryPlan.Failure.transport(.lost("cut")), .status(502, retryAfter: nil), .status(504, retryAfter: nil),
    ])
    func `what may have happened is tried again only when it may happen twice`(failure: RetryPlan.Failure) {
        #expect(delay(repeatable, failure) != nil)
        #expect(delay(single, failure) == nil)
    }

    @Test(arguments: [429, 503])
    func `a busy gateway says when`(status: Int) {
        #expect(delay(single, .status(status, retryAfter: 7)) == .seconds(7))
        #expect(delay(single, .status(status, retryAfter: nil)) == .milliseconds(250))
        #expect(delay(single, .status(status, retryAfter: -7)) == .milliseconds(250))
        #expect(delay(single, .status(status, retryAfter: 61)) == nil)
        #expect(
            delay(RetryPlan(isRepeatable: true, patience: .seconds(900)), .status(status, retryAfter: .max))
                == .seconds(300))
    }

    @Test(arguments: [400, 401, 403, 404, 409, 413, 422, 500, 301])
    func `a refusal stands`(status: Int) {
        #expect(delay(repeatable, .status(status, retryAfter: 1)) == nil)
    }

    @Test func `a certificate does not mend itself`() {
        #expect(delay(repeatable, .transport(.unusable("certificate"))) == nil)
    }

    @Test func `pauses grow to five seconds and end with the patience`() {
        let failure = RetryPlan.Failure.transport(.lost("cut"))
        let pauses = (1...7).map { delay(repeatable, failure, tries: $0) }
        let growing: [Duration?] = [.milliseconds(250), .milliseconds(500), .seconds(1), .seconds(2)]
        #expect(pauses == growing + [Duration?](repeating: .seconds(5), count: 3))
        #expect(delay(repeatable, failure, tries: 9, elapsed: .seconds(55)) == .seconds(5))
        #expect(delay(repeatable, failure, tries: 9, elapsed: .seconds(56)) == nil)
    }
}
