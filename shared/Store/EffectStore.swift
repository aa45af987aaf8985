import Domain
import Postgres

/// A lane of the ledger: what one target of one channel is told of one task, in order.
package struct EffectLane: Sendable, Hashable {
    package let task: TaskID
    package let target: String

    package init(task: TaskID, target: String) {
        self.task = task
        self.target = target
    }

    /// What a group of claims is ordered by.
    package var key: String { "\(task)/\(target)" }
}

/// An effect that this process alone may send, until the lease is over.
package struct ClaimedEffect: Sendable {
    package let id: String
    package let token: String
    package let eventType: String
    /// The event that it tells; nil when it tells none.
    package let eventID: String?
    package let payload: String
    /// Tries so far, this one included.
    package let attempts: Int
    /// True when an earlier try may have had its effect: look it up before it is sent again.
    package let wasUnknown: Bool
    /// What the channel remembers of the lane.
    package let state: JSONValue?
    /// Seconds since 1970 on the database's clock.
    package let plannedAt: Double
    /// Seconds between the plan and this claim, on the database's clock.
    package let age: Double

    /// The columns that a claim returns.
    fileprivate init(row: Row, token: String) throws {
        id = try row.get("effect_id", as: String.self)
        self.token = token
        eventType = try row.get("event_type", as: String.self)
        eventID = try row.get("event_id", as: String?.self)
        payload = try row.get("payload", as: String.self)
        attempts = Int(try row.get("attempts", as: Int64.self))
        wasUnknown = try row.get("was", as: String.self) == "unknown"
        state = try row.get("channel_state", as: String?.self).map { try JSONText.decode(JSONValue.self, $0) }
        plannedAt = try row.get("planned_at", as: Double.self)
        age = try row.get("age", as: Double.self)
    }
}

/// How a channel's lanes are claimed.
package struct ClaimRules: Sendable {
    package var channel: String
    /// One message per lane that is edited: whatever is queued collapses to the newest.
    package var editsInPlace: Bool
    package var leaseSeconds: Double

    package init(channel: String, editsInPlace: Bool, leaseSeconds: Double) {
        self.channel = channel
        self.editsInPlace = editsInPlace
        self.leaseSeconds = leaseSeconds
    }
}

/// The ledger of law 5 as a queue of notifications. Every change of a claimed row names the claim's token, so a process
/// that lost its claim changes nothing.
package enum EffectStore {
    /// Events whose queued notifications collapse to the newest, on every channel.
    package static let updates = [TaskEventType.agentMilestone.rawValue]
    /// Events that never wait behind updates.
    package static let urgent =
        (TaskEventType.finals.map(\.rawValue)
        + [TaskEventType.approvalRequired.rawValue, TaskEventType.questionAsked.rawValue]).sorted()

    /// Claims the head of a lane, in one round trip: first drops the updates that something newer replaces, then takes
    /// the oldest open row if it is due. `claimed` is nil when there is none, or when another process is at the lane.
    package struct Claim: Sendable {
        /// The statements.
        package let flight: [Query]
        private let token: String

        package init(_ lane: EffectLane, _ rules: ClaimRules, token: String) {
            flight = [EffectStore.supersede(lane, rules), EffectStore.claim(lane, rules, token)]
            self.token = token
        }

        /// What they answered.
        package func result(_ answers: some Collection<Rows>) throws -> (claimed: ClaimedEffect?, superseded: Int) {
            guard let dropped = answers.first, let taken = answers.dropFirst().first else {
                throw StoreError.noRow("effects")
            }
            return (try taken.first.map { try ClaimedEffect(row: $0, token: token) }, dropped.affected)
        }
    }

    /// `Claim`, on a connection.
    package static func claim(
        _ lane: EffectLane, _ rules: ClaimRules, token: String, in connection: Connection
    ) throws -> (claimed: ClaimedEffect?, superseded: Int) {
        let claim = Claim(lane, rules, token: token)
        return try claim.result(connection.pipeline(claim.flight))
    }

    private static func supersede(_ lane: EffectLane, _ rules: ClaimRules) -> Query {
        """
        UPDATE effects e SET state = 'superseded'
        WHERE e.channel = \(rules.channel) AND e.task_id = \(lane.task.rawValue) AND e.target = \(lane.target)
            AND e.kind = 'notification' AND e.state = 'planned'
            AND (\(rules.editsInPlace)::boolean OR e.event_type = ANY(\(updates)))
            AND EXISTS (SELECT FROM effects f WHERE f.channel = e.channel AND f.task_id = e.task_id
                AND f.target = e.target AND f.kind = 'notification' AND f.state = 'planned' AND f.position > e.position
                AND (\(rules.editsInPlace)::boolean OR f.event_type = ANY(\(updates + urgent))))
        """
    }

    /// Asks for one row by its key, not for a join: that could be planned as a walk over the ledger.
    ///
    /// An older open row holds back what follows it, with one exception: an update that may have happened does not hold
    /// back what is urgent, once the lane's first message is known.
    private static func claim(_ lane: EffectLane, _ rules: ClaimRules, _ token: String) -> Query {
        """
        WITH remembered AS (SELECT c.state FROM channel_state c WHERE c.channel = \(rules.channel)
                AND c.task_id = \(lane.task.rawValue) AND c.target = \(lane.target)),
            head AS MATERIALIZED (SELECT h.effect_id, h.state FROM effects h
                WHERE h.channel = \(rules.channel) AND h.task_id = \(lane.task.rawValue)
                    AND h.target = \(lane.target) AND h.kind = 'notification' AND h.state IN ('planned', 'unknown')
                    AND h.next_at <= clock_timestamp()
                    AND NOT EXISTS (SELECT FROM effects o WHERE o.channel = h.channel AND o.task_id = h.task_id
                        AND o.target = h.target AND o.kind = 'notification'
                        AND o.state IN ('planned', 'sending', 'unknown') AND o.position < h.position
                        AND NOT (o.state = 'unknown' AND o.event_type = ANY(\(updates))
                            AND h.event_type = ANY(\(urgent)) AND NOT \(rules.editsInPlace)::boolean
                            AND EXISTS (SELECT FROM remembered)))
                ORDER BY h.position LIMIT 1 FOR UPDATE SKIP LOCKED)
        UPDATE effects e SET state = 'sending', claim_token = \(token), attempts = e.attempts + 1,
            claim_until = clock_timestamp() + make_interval(secs => \(rules.leaseSeconds))
        WHERE e.effect_id = (SELECT head.effect_id FROM head)
        RETURNING e.effect_id, e.event_type, e.event_id, e.payload::text, e.attempts::bigint,
            (SELECT head.state FROM head) AS was,
            (SELECT r.state::text FROM remembered r) AS channel_state,
            extract(epoch FROM e.planned_at)::float8 AS planned_at,
            extract(epoch FROM clock_timestamp() - e.planned_at)::float8 AS age
        """
    }

    /// Writes down what became of a claimed effect and claims the next of its lane, in one round trip and one transaction.
    package struct Settlement: Sendable {
        /// The statements.
        package let flight: [Query]
        private let next: Claim?

        /// - Parameter next: the claim of what follows in the lane; nil = none is wanted.
        package init(_ mark: EffectMark, next: Claim? = nil) {
            flight = [mark.query] + (next?.flight ?? [])
            self.next = next
        }

        /// What they answered. `isOurs` is false when the claim was lost, so that nothing was written.
        package func result(
            _ answers: some Collection<Rows>
        ) throws -> (isOurs: Bool, next: ClaimedEffect?, superseded: Int) {
            guard let marked = answers.first else { throw StoreError.noRow("effects") }
            guard let next else { return (marked.affected == 1, nil, 0) }
            let (claimed, superseded) = try next.result(answers.dropFirst())
            return (marked.affected == 1, claimed, superseded)
        }
    }

    /// `Settlement`, on a connection. Returns false when the claim was lost, so that nothing was written.
    package static func settle(_ mark: EffectMark, in connection: Connection) throws -> Bool {
        let settlement = Settlement(mark)
        return try settlement.result(connection.pipeline(settlement.flight)).isOurs
    }

    /// Claims whose lease is over: whoever held them may have sent. Returns how many there were.
    package static func expireClaims(
        _ channel: String, settleSeconds: Double, in connection: Connection
    ) throws -> Int {
        try connection.query(
            """
            UPDATE effects SET state = 'unknown', claim_token = NULL,
                next_at = claim_until + make_interval(secs => \(settleSeconds)), claim_until = NULL,
                last_error = 'the claim ran out'
            WHERE channel = \(channel) AND kind = 'notification' AND state = 'sending'
                AND claim_until < now()
            """
        ).affected
    }

    /// Lanes in which something is due, longest waiting first.
    package static func dueLanes(_ channel: String, limit: Int, in connection: Connection) throws -> [EffectLane] {
        try connection.query(
            """
            SELECT task_id, target FROM effects
            WHERE channel = \(channel) AND kind = 'notification' AND state IN ('planned', 'unknown')
                AND claim_token IS NULL AND next_at <= now()
            GROUP BY task_id, target ORDER BY min(position) LIMIT \(limit)
            """
        ).map { EffectLane(task: try $0.ulid("task_id"), target: try $0.get("target", as: String.self)) }
    }
}
