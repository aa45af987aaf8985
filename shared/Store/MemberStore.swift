import Domain
import Postgres

/// One process of a consumer, as all of them see it.
package struct ConsumerMember: Sendable, Hashable {
    package let id: String
    /// The number of its place in the line of each partition; 0 where it stands in none.
    package let places: [Int64]

    package init(id: String, places: [Int64]) {
        self.id = id
        self.places = places
    }
}

/// Who consumes: rows in `consumer_members`, on the database's clock alone.
///
/// All members see the same rows, so all share the partitions out alike. A member that is not seen for its lease is
/// removed by another, but only by one that has itself been here for that long without a pause: after an outage of the
/// database, or a step of its clock, nobody is removed before everybody had the time to come back.
package enum MemberStore {
    /// What a member learns when it says that it is here.
    package struct View: Sendable, Hashable {
        /// The id of who asked; made by the database at the first time.
        package let me: String
        /// All members in the order of joining, which is their rank.
        package let members: [ConsumerMember]
        /// Members that were found gone and have been removed now.
        package let removed: Int
    }

    /// Says that a member is here and where it stands, joins where there is no row of it, removes who is gone, and tells
    /// who is left. One transaction; a crash after it leaves a row that another removes.
    package static func renew(
        _ consumer: String, member: String?, places: [Int64], leaseSeconds: Double, in tx: Connection
    ) throws -> View {
        let me: String
        if let member,
            try touch(consumer, member: member, places: places, leaseSeconds: leaseSeconds, in: tx)
        {
            me = member
        } else {
            me = try join(consumer, member: member, places: places, leaseSeconds: leaseSeconds, in: tx)
        }
        let removed = try removeGone(consumer, asking: me, in: tx)
        return View(me: me, members: try members(consumer, in: tx), removed: removed)
    }

    /// All members in the order of joining.
    package static func members(_ consumer: String, in connection: Connection) throws -> [ConsumerMember] {
        try connection.query(
            "SELECT member_id, places FROM consumer_members WHERE consumer = \(consumer) ORDER BY joined"
        ).map { row in
            ConsumerMember(
                id: try row.get("member_id", as: String.self), places: try row.get("places", as: [Int64].self))
        }
    }

    /// Ends a membership at once; the others see it when they look next.
    package static func leave(_ consumer: String, member: String, in connection: Connection) throws {
        try connection.query("DELETE FROM consumer_members WHERE consumer = \(consumer) AND member_id = \(member)")
    }

    /// False when somebody removed the row.
    private static func touch(
        _ consumer: String, member: String, places: [Int64], leaseSeconds: Double, in tx: Connection
    ) throws -> Bool {
        // A third of the lease is the longest pause that counts as none; a clock that went back makes one, too.
        try tx.query(
            """
            UPDATE consumer_members SET seen_at = clock_timestamp(), places = \(places),
                lease_seconds = \(leaseSeconds),
                since = CASE WHEN clock_timestamp() - seen_at
                    BETWEEN interval '0' AND make_interval(secs => \(leaseSeconds / 3))
                    THEN since ELSE clock_timestamp() END
            WHERE consumer = \(consumer) AND member_id = \(member)
            """
        ).affected == 1
    }

    private static func join(
        _ consumer: String, member: String?, places: [Int64], leaseSeconds: Double, in tx: Connection
    ) throws -> String {
        // Of a consumer that is no more nobody is left to remove the last ones.
        try tx.query(
            """
            DELETE FROM consumer_members WHERE (consumer, member_id) IN (
                SELECT consumer, member_id FROM consumer_members
                WHERE seen_at < clock_timestamp() - interval '1 day' FOR UPDATE SKIP LOCKED)
            """)
        return try tx.query(
            """
            INSERT INTO consumer_members (consumer, member_id, seen_at, since, lease_seconds, places)
            VALUES (\(consumer), coalesce(\(member), new_ulid(now_ms())), clock_timestamp(), clock_timestamp(),
                \(leaseSeconds), \(places))
            RETURNING member_id
            """
        ).only().get("member_id")
    }

    private static func removeGone(_ consumer: String, asking me: String, in tx: Connection) throws -> Int {
        // Seen in the future means that the clock went back since: then as good as not seen.
        try tx.query(
            """
            DELETE FROM consumer_members WHERE (consumer, member_id) IN (
                SELECT m.consumer, m.member_id FROM consumer_members m
                    JOIN consumer_members a ON a.consumer = m.consumer AND a.member_id = \(me)
                WHERE m.consumer = \(consumer) AND m.member_id <> \(me)
                    AND a.since < clock_timestamp() - make_interval(secs => m.lease_seconds)
                    AND m.seen_at NOT BETWEEN clock_timestamp() - make_interval(secs => m.lease_seconds)
                        AND clock_timestamp() + make_interval(secs => m.lease_seconds)
                FOR UPDATE OF m SKIP LOCKED)
            """
        ).affected
    }
}
