import Domain
import Postgres

/// What became of a claimed effect. Names the claim's token, so a process that lost its claim changes nothing.
package struct EffectMark: Sendable {
    let query: Query

    private init(_ effect: ClaimedEffect, _ changes: Query) {
        query =
            "UPDATE effects SET claim_token = NULL, claim_until = NULL, " + changes
            + " WHERE effect_id = \(effect.id) AND claim_token = \(effect.token)"
    }

    private init(_ query: Query) {
        self.query = query
    }

    /// It happened: the proof, and what the channel remembers of the lane where that is new.
    package static func sent(_ effect: ClaimedEffect, externalRef: String, state: JSONValue?) -> EffectMark {
        let sent = EffectMark(
            effect,
            "state = 'sent', sent_at = clock_timestamp(), external_ref = \(externalRef), last_error = NULL")
        guard let state, state != effect.state else { return sent }
        return EffectMark(
            "WITH marked AS (" + sent.query + """
                 RETURNING channel, task_id, target)
                INSERT INTO channel_state AS s (channel, task_id, target, state)
                SELECT channel, task_id, target, \(state.text)::jsonb FROM marked
                ON CONFLICT (channel, task_id, target) DO UPDATE SET state = excluded.state
                """)
    }

    /// It surely did not happen: again after a while.
    ///
    /// - Parameter counts: false gives the try back, for refusals that say nothing about the message.
    package static func released(
        _ effect: ClaimedEffect, afterSeconds seconds: Double, error: String, counts: Bool
    ) -> EffectMark {
        EffectMark(
            effect,
            """
            state = 'planned', last_error = \(error), attempts = attempts - \(Int32(counts ? 0 : 1)),
            next_at = clock_timestamp() + make_interval(secs => \(seconds))
            """)
    }

    /// It may have happened: to be looked up after the settle time.
    package static func unknown(_ effect: ClaimedEffect, settleSeconds: Double, error: String) -> EffectMark {
        EffectMark(
            effect,
            """
            state = 'unknown', last_error = \(error),
            next_at = clock_timestamp() + make_interval(secs => \(settleSeconds))
            """)
    }

    /// It will never happen; the lane goes on without it.
    package static func dead(_ effect: ClaimedEffect, error: String) -> EffectMark {
        EffectMark(effect, "state = 'dead', last_error = \(error)")
    }
}
