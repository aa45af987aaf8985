import Store
import TestSupport
import Testing

@testable import Messaging

@Suite struct PartitionPlanTests {
    private static func plan(_ places: [(String, [Int64])]) -> PartitionPlan {
        PartitionPlan(members: places.map { ConsumerMember(id: $0.0, places: $0.1) })
    }

    @Test(arguments: [
        (1, [8]), (2, [4, 4]), (3, [3, 3, 2]), (4, [2, 2, 2, 2]), (5, [2, 2, 2, 1, 1]), (7, [2, 1, 1, 1, 1, 1, 1]),
        (8, [1, 1, 1, 1, 1, 1, 1, 1]), (11, [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]),
    ])
    func `partitions are shared out by rank, and whoever has none stands by`(count: Int, expected: [Int]) {
        let plan = Self.plan((0..<count).map { ("m\($0)", [Int64](repeating: 0, count: 8)) })
        let owned = plan.members.map { plan.owned(by: $0.id, of: 8) }
        #expect(owned.map(\.count) == expected)
        #expect(owned.reduce(into: Set<Int>()) { $0.formUnion($1) } == Set(0..<8))
        for partition in 0..<8 { #expect(plan.owner(of: partition)?.id == "m\(partition % count)") }
    }

    @Test func `without members nobody owns and nobody goes back`() {
        let plan = PartitionPlan(members: [])
        #expect(plan.owner(of: 3) == nil)
        #expect(plan.owned(by: "a", of: 8).isEmpty)
        #expect(plan.owned(by: nil, of: 8).isEmpty)
        #expect(!plan.mustGoBack("a", in: 3, ahead: []))
        #expect(plan.places(in: 0).isEmpty)
    }

    /// Members a and b; a owns partition 0 and stands there at place `owner`. `who` took a place there, knowing those
    /// `ahead`.
    struct Line: Sendable {
        let owner: Int64
        let who: String
        let ahead: [PartitionPlace]
        let goes: Bool

        init(_ owner: Int64, _ who: String, knows ahead: [(String, Int64)], goes: Bool) {
            self.owner = owner
            self.who = who
            self.ahead = ahead.map { PartitionPlace(member: $0.0, number: $0.1) }
            self.goes = goes
        }
    }

    @Test(arguments: [
        // The owner never goes back, whatever is ahead of it.
        Line(1, "a", knows: [("b", 7)], goes: false),
        // Behind the owner's place: stay.
        Line(1, "b", knows: [("a", 1)], goes: false),
        Line(1, "b", knows: [("c", 4), ("a", 1)], goes: false),
        // The owner came later, or took a new place since.
        Line(1, "b", knows: [], goes: true),
        Line(2, "b", knows: [("a", 1)], goes: true),
        // The owner stands in no line yet: who is served goes on.
        Line(0, "b", knows: [], goes: false),
        Line(0, "b", knows: [("a", 1)], goes: false),
        // A process that is no member yet, or was removed, gives way like any other.
        Line(1, "", knows: [], goes: true),
        Line(1, "gone", knows: [("a", 1)], goes: false),
    ])
    func `who does not know the owner ahead goes back`(line: Line) {
        let plan = Self.plan([("a", [line.owner, 5]), ("b", [9, 9])])
        #expect(plan.mustGoBack(line.who, in: 0, ahead: Set(line.ahead)) == line.goes)
    }

    @Test func `a row with other partitions than ours counts as standing nowhere`() {
        let plan = Self.plan([("a", []), ("b", [1])])
        #expect(!plan.mustGoBack("b", in: 0, ahead: []))
        #expect(plan.mustGoBack("a", in: 1, ahead: []) == false)
        #expect(plan.places(in: 0) == [PartitionPlace(member: "b", number: 1)])
    }

    /// Members join, die, lose their places and look in any order; once nothing changes any more, the owner of every
    /// partition is first in its line.
    @Test func `whatever happened, the lines end with their owners first`() {
        var random = Seed(for: "lines of partitions")
        for _ in 0..<200 {
            var house = House()
            for _ in 0..<60 { house.happen(&random) }
            house.removeDead()
            for _ in 0..<6 { for member in house.living { house.look(member) } }
            #expect(house.isBalanced, "\(house)")
        }
    }
}

/// A broker's lines and the members' rows, one step at a time.
private struct House {
    private struct Member {
        var standing: [(number: Int64, ahead: Set<PartitionPlace>)] = Array(repeating: (0, []), count: House.partitions)
        /// What it learned when it looked last.
        var plan: PartitionPlan
    }

    private static let partitions = 8
    private var lines = Array(repeating: [PartitionPlace](), count: House.partitions)
    private var rows: [ConsumerMember] = []
    private var members: [String: Member] = [:]
    private var last: Int64 = 0

    var living: [String] { members.keys.sorted() }

    var isBalanced: Bool {
        let plan = PartitionPlan(members: rows)
        return lines.indices.allSatisfy { lines[$0].first?.member == plan.owner(of: $0)?.id }
    }

    mutating func happen(_ random: inout Seed) {
        let someone = living.randomElement(using: &random)
        switch Int.random(in: 0..<10, using: &random) {
        case 0 where members.count < 12: start()
        case 1: if let someone { die(someone) }
        case 2: rows.removeAll { members[$0.id] == nil || Bool.random(using: &random) }
        case 3:
            if let someone {
                for partition in lines.indices { take(partition, someone) }
            }
        default: if let someone { look(someone) }
        }
    }

    private mutating func start() {
        last += 1
        let id = "m\(last)"
        members[id] = Member(plan: PartitionPlan(members: rows))
        for partition in lines.indices { take(partition, id) }
    }

    private mutating func die(_ id: String) {
        members[id] = nil
        for partition in lines.indices { lines[partition].removeAll { $0.member == id } }
    }

    /// Takes the last place in a line, in place of the one it had.
    private mutating func take(_ partition: Int, _ id: String) {
        guard let plan = members[id]?.plan else { return }
        last += 1
        lines[partition].removeAll { $0.member == id }
        lines[partition].append(PartitionPlace(member: id, number: last))
        members[id]?.standing[partition] = (last, plan.places(in: partition))
    }

    mutating func removeDead() {
        rows.removeAll { members[$0.id] == nil }
    }

    /// One look: its row is renewed, then it does what the plan asks; the next look tells of it.
    mutating func look(_ id: String) {
        guard let standing = members[id]?.standing else { return }
        let row = ConsumerMember(id: id, places: standing.map(\.number))
        if let index = rows.firstIndex(where: { $0.id == id }) { rows[index] = row } else { rows.append(row) }
        let plan = PartitionPlan(members: rows)
        members[id]?.plan = plan
        for partition in lines.indices where plan.mustGoBack(id, in: partition, ahead: standing[partition].ahead) {
            take(partition, id)
        }
    }
}
