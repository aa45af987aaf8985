import Store

/// A place in the line of consumers of one partition: the broker serves the first in line, the others stand by.
///
/// A member numbers its places, so that one it took anew is told from the one it had.
struct PartitionPlace: Sendable, Hashable {
    let member: String
    let number: Int64
}

/// Who owns which partition: partition i is member i mod n's, by the order of joining. Pure.
///
/// Every member stands in the line of every partition, the owner first. A plan moves nobody forward, it only tells who
/// has to go back: whoever stands in line and does not know the owner ahead of itself. Once all have gone, the owner is
/// first, and the one that is served gives way only to an owner that already stands in line. So a partition is never
/// without a consumer while one member lives, whatever the plan says or does not know.
struct PartitionPlan: Sendable, Hashable {
    /// By rank.
    let members: [ConsumerMember]

    /// Nil without members.
    func owner(of partition: Int) -> ConsumerMember? {
        members.isEmpty ? nil : members[partition % members.count]
    }

    /// The partitions, of so many, that a member owns.
    func owned(by member: String?, of count: Int) -> Set<Int> {
        Set((0..<count).filter { member != nil && owner(of: $0)?.id == member })
    }

    /// The places that are known to be taken in a partition's line.
    func places(in partition: Int) -> Set<PartitionPlace> {
        Set(members.compactMap { Self.place(of: $0, in: partition) })
    }

    /// True when `member`, which took its place knowing those `ahead` of it, has to take one further back.
    func mustGoBack(_ member: String, in partition: Int, ahead: Set<PartitionPlace>) -> Bool {
        guard let owner = owner(of: partition), owner.id != member,
            let place = Self.place(of: owner, in: partition)
        else { return false }
        return !ahead.contains(place)
    }

    private static func place(of member: ConsumerMember, in partition: Int) -> PartitionPlace? {
        guard member.places.indices.contains(partition), member.places[partition] > 0 else { return nil }
        return PartitionPlace(member: member.id, number: member.places[partition])
    }
}
