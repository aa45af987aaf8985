import Domain
import Testing

@Suite struct TaskTransitionTests {
    @Test func `a final state has no way out`() {
        for from in TaskStatus.allCases where from.isFinal {
            for trigger in TaskTrigger.allCases {
                #expect(TaskTransition(from: from, on: trigger) == nil)
            }
        }
    }

    @Test func `what ends is announced and what held a slot releases it`() {
        for from in TaskStatus.allCases {
            for trigger in TaskTrigger.allCases {
                guard let move = TaskTransition(from: from, on: trigger) else { continue }
                #expect(move.actions.contains(.announceEnd) == move.to.isFinal)
                #expect(move.actions.contains(.releaseSlot) == (from.holdsSlot && !move.to.holdsSlot))
            }
        }
    }

    @Test func `every state but the first can be reached`() {
        var reached: Set<TaskStatus> = [.submitted]
        for _ in TaskStatus.allCases {
            for from in reached {
                for trigger in TaskTrigger.allCases {
                    if let move = TaskTransition(from: from, on: trigger) { reached.insert(move.to) }
                }
            }
        }
        #expect(reached == Set(TaskStatus.allCases))
    }
}
