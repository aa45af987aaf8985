import Domain
import HTTPServer
import HTTPTypes
import Lifecycle
import Postgres
import Store
import TestSupport
import Testing
import Threads

@testable import AgentGateway

@Suite struct GitPushTests {
    @Test func `the own branch is on the forge before git says that it is pushed`() async throws {
        try await Bench.withGit { work in
            let commit = try work.commit("a.txt", "a")
            let arrived = Condition(false)
            let released = Condition(false)
            work.forge.interceptPushes { _, pass in
                arrived.update { $0 = true }
                _ = released.wait(timeout: .seconds(20)) { $0 ? true : nil }
                return try pass()
            }
            let done = Condition<GitOutcome?>(nil)
            let pushing = try NamedThread("push") {
                let outcome = try? work.push()
                done.update { $0 = outcome }
            }
            #expect(arrived.wait(timeout: .seconds(20)) { $0 ? true : nil } == true)
            // The forge has not answered: neither has the gateway, and it holds nothing yet either.
            #expect(done.withLock { $0 == nil })
            #expect(try work.staged("refs/heads/\(work.bench.branch)") == nil)
            released.update { $0 = true }
            pushing.join()
            #expect(done.withLock { $0?.isSuccess } == true)
            #expect(try work.upstream() == commit)
            #expect(try work.staged("refs/heads/\(work.bench.branch)") == commit)
            #expect(try work.bench.pushes() == ["accepted refs/heads/\(work.bench.branch)"])
        }
    }

    @Test func `unfinished work is kept, moves freely, and never leaves the platform`() async throws {
        try await Bench.withGit { work in
            let ref = PushPolicy.wip(work.bench.task)
            try work.commit("a.txt", "half")
            #expect(try work.push("HEAD:\(ref)").isSuccess)
            try work.check("commit", "--quiet", "--amend", "--message", "other")
            let second = try work.head()
            #expect(try work.push("+HEAD:\(ref)").isSuccess)
            #expect(try work.staged(ref) == second)
            #expect(try work.upstream(ref) == nil)
            #expect(try work.upstream() == nil)
            // What the next attempt starts from.
            try work.bench.moveToSecondAttempt()
            let next = Workspace(work.bench, work.forge, "next")
            let cloned = try next.run(["clone", "--quiet", next.url, next.path], attempt: 2, in: "/")
            #expect(cloned.isSuccess)
            #expect(try next.run(["fetch", "--quiet", "origin", ref], attempt: 2).isSuccess)
            #expect(try next.check("rev-parse", "FETCH_HEAD") == second)
        }
    }

    @Test func `what may not be pushed is refused with the reason`() async throws {
        try await Bench.withGit(.init(variables: ["BGAGENT_MAX_BLOB_BYTES": "1000"])) { work in
            let branch = "refs/heads/\(work.bench.branch)"
            func refused(_ refspec: String, _ reason: String) throws {
                let outcome = try work.push(refspec)
                #expect(!outcome.isSuccess)
                #expect(outcome.errors.contains("remote: bgagent: ") && outcome.errors.contains(reason))
            }
            let first = try work.commit("a.txt", "a")
            try refused("HEAD:refs/heads/other", "only the task's own branch")
            try refused("HEAD:refs/heads/main", "only the task's own branch")
            try refused("HEAD:refs/tags/v1", "tags are not")
            try refused("HEAD:refs/bgagent/01ARZ3NDEKTSV4RRFFQ69G5FAV/wip", "only the task's own branch")
            try refused(":refs/heads/main", "only the task's own branch")
            #expect(try work.push().isSuccess)
            try refused(":\(branch)", "cannot be deleted")
            try work.check("commit", "--quiet", "--amend", "--message", "again")
            try refused("+HEAD:\(branch)", "no fast-forward")
            try work.check("reset", "--quiet", "--hard", first)
            try work.commit(".github/workflows/test.yml", "on: pull_request\n")
            try refused("HEAD:\(branch)", ".github/workflows/test.yml configures CI")
            try work.check("reset", "--quiet", "--hard", first)
            try work.commit("large.bin", String(repeating: "x", count: 2000))
            try refused("HEAD:\(branch)", "2000 bytes")
            try work.check("rm", "--quiet", "large.bin")
            try work.check("commit", "--quiet", "--message", "gone, and still in between")
            try refused("HEAD:\(branch)", "2000 bytes")
            #expect(try work.upstream() == first)
            #expect(try work.upstream("refs/heads/other") == nil)
            #expect(try work.upstream("refs/tags/v1") == nil)
            #expect(try work.bench.pushes().filter { $0.hasPrefix("accepted") }.count == 1)
            #expect(try work.bench.pushes().filter { $0.hasPrefix("refused") }.count >= 8)
        }
    }

    @Test func `one refused ref refuses the push whole`() async throws {
        try await Bench.withGit { work in
            try work.commit("a.txt", "a")
            let both = ["HEAD:refs/heads/\(work.bench.branch)", "HEAD:refs/heads/other"]
            #expect(try !work.run(["push", "--quiet", "origin"] + both).isSuccess)
            #expect(try work.upstream() == nil)
        }
    }

    @Test func `a branch without the repository's history is judged by all that it holds`() async throws {
        try await Bench.withGit { work in
            try work.check("checkout", "--quiet", "--orphan", "fresh")
            try work.commit("b.txt", "b")
            let outcome = try work.push()
            #expect(!outcome.isSuccess)
            #expect(outcome.errors.contains("configures CI"))
            try work.check("rm", "--quiet", "-r", "--cached", ".github")
            try work.check("commit", "--quiet", "--amend", "--message", "without it")
            #expect(try work.push().isSuccess)
        }
    }

    @Test func `a repository may let agents change its CI`() async throws {
        try await Bench.withGit(.init(settings: ["allow_ci_changes": true])) { work in
            let commit = try work.commit(".github/workflows/test.yml", "on: pull_request\n")
            #expect(try work.push().isSuccess)
            #expect(try work.upstream() == commit)
        }
    }

    @Test func `a push that holds a secret is refused, also when a later commit takes it out again`() async throws {
        let key = "AKIA" + "IOSFODNN7EXAMPLE"
        try await Bench.withGit { work in
            try work.commit("src/keys.py", "first\nKEY = '\(key)'\n")
            let outcome = try work.push()
            #expect(!outcome.isSuccess)
            #expect(outcome.errors.contains("src/keys.py:2 seems to hold a secret (AWS key)"))
            #expect(!outcome.errors.contains(key))
            try work.commit("src/keys.py", "first\n")
            #expect(try !work.push().isSuccess)
            #expect(try work.upstream() == nil)
        }
        try await Bench.withGit(.init(settings: ["allow_secrets": true])) { work in
            let commit = try work.commit("src/keys.py", "KEY = '\(key)'\n")
            #expect(try work.push().isSuccess)
            #expect(try work.upstream() == commit)
        }
    }

    @Test func `an object that is broken is refused`() async throws {
        try await Bench.withGit { work in
            let tree = try work.check("rev-parse", "HEAD^{tree}")
            try work.write("broken", "tree \(tree)\nauthor nobody\ncommitter nobody\n\nx\n".utf8)
            let commit = try work.check("hash-object", "-t", "commit", "-w", "--literally", "broken")
            let outcome = try work.push("\(commit):refs/heads/\(work.bench.branch)")
            #expect(!outcome.isSuccess)
            #expect(try work.upstream() == nil)
        }
    }

    @Test func `a push in chunks of five megabytes arrives whole`() async throws {
        try await Bench.withGit { work in
            var generator = SystemRandomNumberGenerator()
            let noise = (0..<(5 << 17)).flatMap { _ in withUnsafeBytes(of: generator.next()) { Array($0) } }
            try work.write("noise.bin", noise)
            let commit = try work.commit("a.txt", "a")
            let outcome = try work.run([
                "-c", "http.postBuffer=65536", "push", "--quiet", "origin", "HEAD:refs/heads/\(work.bench.branch)",
            ])
            #expect(outcome.isSuccess, "\(outcome.errors)")
            #expect(try work.upstream() == commit)
            #expect(try work.check("cat-file", "-s", "\(commit):noise.bin", in: work.forge.repository) == "\(5 << 20)")
        }
    }

    @Test func `what the forge does not take is not pushed`() async throws {
        try await Bench.withGit { work in
            let commit = try work.commit("a.txt", "a")
            work.forge.interceptPushes { _, _ in .response(.text("archived", status: 403)) }
            let outcome = try work.push()
            #expect(!outcome.isSuccess)
            #expect(outcome.errors.contains("the forge did not take the branch"))
            #expect(!outcome.errors.contains(Bench.forgeToken))
            #expect(try work.staged("refs/heads/\(work.bench.branch)") == nil)
            work.forge.interceptPushes(nil)
            #expect(try work.push().isSuccess)
            #expect(try work.upstream() == commit)
        }
    }

    @Test func `a push whose answer was lost is repeated and succeeds`() async throws {
        try await Bench.withGit { work in
            let commit = try work.commit("a.txt", "a")
            work.forge.interceptPushes { _, pass in
                guard case .stream(_, _, let reader) = try pass() else { return .response(.text("", status: 500)) }
                var buffer = [UInt8](repeating: 0, count: 4096)
                while try buffer.withUnsafeMutableBytes({ try reader.read(into: $0) }) > 0 {}
                reader.close()
                return .response(.text("lost", status: 502))
            }
            #expect(try !work.push().isSuccess)
            #expect(try work.upstream() == commit)
            work.forge.interceptPushes(nil)
            #expect(try work.push().isSuccess)
            #expect(try work.staged("refs/heads/\(work.bench.branch)") == commit)
        }
    }

    @Test func `an old attempt pushes nothing, however late it is moved`() async throws {
        try await Bench.withGit { work in
            try work.commit("a.txt", "a")
            // While the forge takes the branch, the task is given to a second attempt.
            work.forge.interceptPushes { _, pass in
                try work.bench.moveToSecondAttempt(keepsTokens: true)
                return try pass()
            }
            let late = try work.push()
            #expect(!late.isSuccess)
            #expect(late.errors.contains("this attempt is over"))
            #expect(try work.staged("refs/heads/\(work.bench.branch)") == nil)
            let later = try work.push()
            #expect(!later.isSuccess)
            #expect(later.errors.contains("410"))
        }
    }
}
