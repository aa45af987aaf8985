import Store
import Threads

/// Where this process stands in the lines of its consumer's partitions, and what it knows of the others.
///
/// Shared by who takes places (`OrderedConsumer`), who tells the others (`Membership`) and who replays (`ParkedReplay`).
final class PartitionLines: Sendable {
    /// A place that was taken.
    struct Stand: Sendable {
        /// Finishes when the place has to be given up for one further back.
        let untilGoingBack: AsyncStream<Void>
        /// True with the last of the partitions.
        let isComplete: Bool
    }

    private struct Line {
        /// 0: in no line.
        var number: Int64 = 0
        var ahead: Set<PartitionPlace> = []
        var goBack: AsyncStream<Void>.Continuation?
    }

    private struct State {
        var me: String?
        var plan: PartitionPlan?
        var lines: [Line]
        var lastNumber: Int64 = 0
    }

    let count: Int
    private let state: Lock<State>

    init(count: Int) {
        self.count = count
        state = Lock(State(lines: Array(repeating: Line(), count: count)))
    }

    // MARK: The consumer's side

    /// The places that are taken now, for who is about to take one.
    func places(in partition: Int) -> Set<PartitionPlace> {
        state.withLock { $0.plan?.places(in: partition) ?? [] }
    }

    /// Notes that a place was taken behind those of `ahead`.
    func enter(_ partition: Int, behind ahead: Set<PartitionPlace>) -> Stand {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        return state.withLock { state in
            state.lastNumber += 1
            state.lines[partition] = Line(number: state.lastNumber, ahead: ahead, goBack: continuation)
            Self.tell(partition, state)
            return Stand(untilGoingBack: stream, isComplete: state.lines.allSatisfy { $0.number > 0 })
        }
    }

    /// Notes that the place is given up, or lost.
    func leave(_ partition: Int) {
        let left = state.withLock { state in
            defer { state.lines[partition] = Line() }
            return state.lines[partition].goBack
        }
        left?.finish()
    }

    // MARK: The membership's side

    /// What the others are to know: this process's id, once it has one, and its places.
    var standing: (me: String?, places: [Int64]) {
        state.withLock { ($0.me, $0.lines.map(\.number)) }
    }

    /// Takes in who is there now, and sends back who has to go.
    func learn(_ members: [ConsumerMember], me: String?) {
        state.withLock { state in
            if let me { state.me = me }
            state.plan = PartitionPlan(members: members)
            for partition in state.lines.indices { Self.tell(partition, state) }
        }
    }

    /// The partitions that this process owns as far as it knows.
    var owned: Set<Int> {
        state.withLock { $0.plan?.owned(by: $0.me, of: count) ?? [] }
    }

    private static func tell(_ partition: Int, _ state: State) {
        let line = state.lines[partition]
        guard let plan = state.plan, line.number > 0 else { return }
        // Without an id of its own a process is no member yet, and owns nothing.
        if plan.mustGoBack(state.me ?? "", in: partition, ahead: line.ahead) { line.goBack?.finish() }
    }
}
