import Domain
import Testing

@testable import Orchestrator

@Suite struct DecisionTests {
    private static func decide(
        _ command: TaskCommand, _ status: TaskStatus, attempt: Int = 1, timer: TimerKind? = nil, cancel: Bool = false,
        outcome: TaskOutcome? = nil
    ) -> OrchestratorAction {
        Decision.decide(
            command, status: status, attempt: attempt, current: 1, timer: timer, cancelRequested: cancel,
            outcome: outcome)
    }

    @Test func `a task is parked while it runs, unless it is being cancelled, and given up in the end`() {
        #expect(Self.decide(.sessionEnded, .running, outcome: .parked) == .park)
        #expect(Self.decide(.sessionEnded, .running, cancel: true, outcome: .parked) == .accept)
        #expect(Self.decide(.sessionEnded, .awaitingApproval, outcome: .parked) == .park)
        #expect(Self.decide(.sessionEnded, .hydrating, outcome: .parked) == .loseAttempt)
        #expect(Self.decide(.timerDue, .parked, timer: .parked) == .giveUpParked)
        for status in TaskStatus.allCases where status != .parked {
            #expect(Self.isIgnored(Self.decide(.timerDue, status, timer: .parked)))
        }
    }

    private static func isIgnored(_ action: OrchestratorAction) -> Bool {
        if case .ignore = action { true } else { false }
    }

    @Test(arguments: TaskStatus.allCases)
    func `a submitted task or a free slot wakes admission whatever the task's state`(status: TaskStatus) {
        #expect(Self.decide(.taskSubmitted, status) == .wakeAdmission)
        #expect(Self.decide(.slotFree, status, attempt: 7) == .wakeAdmission)
    }

    @Test(arguments: TaskCommand.allCases)
    func `what speaks of another attempt is ignored`(command: TaskCommand) {
        guard command != .taskSubmitted, command != .slotFree else { return }
        for status in TaskStatus.allCases {
            #expect(Self.isIgnored(Self.decide(command, status, attempt: 2, timer: .duration)))
        }
    }

    @Test(arguments: TaskCommand.allCases)
    func `a final task is never touched again`(command: TaskCommand) {
        guard command != .taskSubmitted, command != .slotFree else { return }
        for status in TaskStatus.allCases where status.isFinal {
            for timer in TimerKind.allCases {
                #expect(Self.isIgnored(Self.decide(command, status, timer: timer, cancel: true)))
            }
        }
    }

    @Test func `each command acts in its states and in no other`() {
        let acting: [TaskCommand: [TaskStatus: OrchestratorAction]] = [
            .taskAdmitted: [.hydrating: .prepare],
            .sessionStarted: [.hydrating: .run],
            .sessionEnded: [.hydrating: .loseAttempt, .running: .accept, .awaitingApproval: .accept],
            .sessionLost: [.hydrating: .loseAttempt, .running: .loseAttempt, .awaitingApproval: .loseAttempt],
            .finalize: [.finalizing: .finalize],
        ]
        for (command, states) in acting {
            for status in TaskStatus.allCases {
                let action = Self.decide(command, status)
                if let expected = states[status] {
                    #expect(action == expected, "\(command) in \(status)")
                } else {
                    #expect(Self.isIgnored(action), "\(command) in \(status)")
                }
            }
        }
    }

    @Test func `a timer that came due too late does nothing`() {
        #expect(Self.decide(.timerDue, .running, timer: .duration) == .announceTimeUp)
        #expect(Self.decide(.timerDue, .running, timer: .durationGrace) == .endTimedOut)
        #expect(Self.decide(.timerDue, .running, timer: .cancelGrace, cancel: true) == .endCancelled)
        #expect(Self.isIgnored(Self.decide(.timerDue, .running, timer: .cancelGrace)))
        #expect(Self.isIgnored(Self.decide(.timerDue, .finalizing, timer: .duration)))
        #expect(Self.decide(.timerDue, .finalizing, timer: .retry) == .finalize)
        #expect(Self.decide(.timerDue, .hydrating, timer: .retry) == .prepare)
        #expect(Self.isIgnored(Self.decide(.timerDue, .queued, timer: .retry)))
    }
}
