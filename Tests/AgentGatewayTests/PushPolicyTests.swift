import Domain
import Testing

@testable import AgentGateway

@Suite struct PushPolicyTests {
    private static let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    private static let branch = "bgagent/\(id)/fix"
    private static let one = String(repeating: "1", count: 40)
    private static let two = String(repeating: "2", count: 40)

    private func verdict(
        _ ref: String, old: String = one, new: String = two, _ facts: PushFacts = PushFacts(), allowsCI: Bool = false
    ) throws -> PushPolicy.Verdict {
        PushPolicy.decide(
            RefUpdate(old: old, new: new, ref: ref), facts, task: try #require(TaskID(rawValue: Self.id)),
            branch: Self.branch, allowsCI: allowsCI, maxBlobBytes: 100)
    }

    private func refusal(_ verdict: PushPolicy.Verdict) -> String? {
        if case .refuse(let reason) = verdict { reason } else { nil }
    }

    @Test func `the own branch is published and the saved work kept`() throws {
        let own = "refs/heads/\(Self.branch)"
        #expect(try verdict(own) == .publish)
        #expect(try verdict(own, old: RefUpdate.none) == .publish)
        let wip = "refs/bgagent/\(Self.id)/wip"
        var facts = PushFacts()
        facts.isFastForward = false
        facts.changedPaths = [".github/workflows/x.yml"]
        facts.largestBlob = ("x", 1000)
        #expect(try verdict(wip, facts) == .keep)
        #expect(try refusal(verdict(wip, new: RefUpdate.none))?.contains("deleted") == true)
    }

    @Test(arguments: [
        "refs/heads/main", "refs/heads/bgagent/01ARZ3NDEKTSV4RRFFQ69G5FAV/other",
        "refs/heads/bgagent/01ARZ3NDEKTSV4RRFFQ69G5FAV/fix/more", "refs/heads/BGAGENT/01ARZ3NDEKTSV4RRFFQ69G5FAV/fix",
        "refs/bgagent/01ARZ3NDEKTSV4RRFFQ69G5FAV/wip2", "refs/bgagent/01ARZ3NDEKTSV4RRFFQ69G5FAW/wip",
        "refs/notes/x", "refs/pull/1/head", "refs/replace/1", "HEAD", "",
    ])
    func `no other ref is pushed`(ref: String) throws {
        #expect(try refusal(verdict(ref))?.contains("own branch") == true)
    }

    @Test func `tags, deletions and rewritten history are refused`() throws {
        let own = "refs/heads/\(Self.branch)"
        #expect(try refusal(verdict("refs/tags/v1"))?.contains("tags") == true)
        #expect(try refusal(verdict(own, new: RefUpdate.none))?.contains("deleted") == true)
        var facts = PushFacts()
        facts.isFastForward = false
        #expect(try refusal(verdict(own, facts))?.contains("fast-forward") == true)
    }

    @Test(arguments: [(100, true), (101, false)])
    func `a file may be as large as allowed and no larger`(bytes: Int64, passes: Bool) throws {
        var facts = PushFacts()
        facts.largestBlob = ("big.bin", bytes)
        #expect(try (verdict("refs/heads/\(Self.branch)", facts) == .publish) == passes)
    }

    @Test(arguments: [
        (".github/workflows/a.yml", true), (".GitHub/Workflows/a.yml", true), ("sub/.github/workflows/a.yml", true),
        (".github/actions/x/action.yml", true), (".gitlab-ci.yml", true), ("deploy/Jenkinsfile", true),
        (".circleci/config.yml", true), ("azure-pipelines.yml", true), (".woodpecker/x.yaml", true),
        (".github/CODEOWNERS", false), ("src/workflows/a.yml", false), ("github/workflows/a.yml", false),
        ("docs/jenkinsfile.md", false), ("", false),
    ])
    func `files that steer CI are known by their path`(path: String, isCI: Bool) throws {
        #expect(PushPolicy.isCIConfiguration(path) == isCI)
        var facts = PushFacts()
        facts.changedPaths = ["src/a.swift", path]
        let own = "refs/heads/\(Self.branch)"
        #expect(try (refusal(verdict(own, facts)) == nil) == !isCI)
        #expect(try verdict(own, facts, allowsCI: true) == .publish)
    }
}
