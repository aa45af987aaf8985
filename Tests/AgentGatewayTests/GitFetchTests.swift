import Domain
import FoundationEssentials
import HTTPClient
import HTTPServer
import HTTPTypes
import Postgres
import Store
import TestSupport
import Testing

@testable import AgentGateway

@Suite struct GitFetchTests {
    @Test func `a clone has the forge's branches and its history`() async throws {
        try await Bench.withGit(isCloned: false) { work in
            let seed = Workspace(work.bench, work.forge, "seed")
            try seed.check("push", "--quiet", work.forge.repository, "HEAD:refs/heads/side", "HEAD:refs/tags/v1")
            try work.clone()
            #expect(try work.head() == work.upstream("refs/heads/main"))
            #expect(try work.check("log", "--format=%s").split(separator: "\n").count == 2)
            #expect(try work.check("rev-parse", "origin/side", "v1").split(separator: "\n").count == 2)
        }
    }

    @Test func `a clone that asks for many things sends them compressed`() async throws {
        try await Bench.withGit(isCloned: false) { work in
            let seed = Workspace(work.bench, work.forge, "seed")
            for number in 0..<60 {
                try seed.check("commit", "--quiet", "--allow-empty", "--message", "\(number)")
                try seed.check("push", "--quiet", work.forge.repository, "HEAD:refs/heads/b\(number)")
                try seed.check("reset", "--quiet", "--hard", "HEAD~1")
            }
            for version in ["0", "2"] {
                let copy = Workspace(work.bench, work.forge, "copy\(version)")
                try work.check(
                    "-c", "protocol.version=\(version)", "clone", "--quiet", work.url, copy.path, in: "/")
                let branches = try copy.check("for-each-ref", "--format=%(refname)", "refs/remotes/origin/b*")
                #expect(branches.split(separator: "\n").count == 60)
            }
        }
    }

    @Test func `git's second protocol is spoken`() async throws {
        try await Bench.withGit { work in
            var request = ClientRequest(url: "\(work.url)/info/refs?service=git-upload-pack")
            let basic = Data("bgagent:\(work.bench.token(.git))".utf8).base64EncodedString()
            request.headers = ["Authorization": "Basic \(basic)", "Git-Protocol": "version=2"]
            let answer = try Bench.client.sendBlocking(request)
            #expect(answer.status == 200)
            #expect(answer.headers["Content-Type"] == "application/x-git-upload-pack-advertisement")
            #expect(answer.text.contains("version 2"))
        }
    }

    @Test func `doors that are not git's stay shut`() async throws {
        try await Bench.withGit { work in
            func status(_ path: String, token: String? = nil) throws -> Int {
                var request = ClientRequest(url: work.bench.url + path)
                request.headers = ["Authorization": "Bearer \(token ?? work.bench.token(.git))"]
                return try Bench.client.sendBlocking(request).status
            }
            let refs = "/git/acme/shop.git/info/refs"
            let doors = [
                ("\(refs)?service=git-upload-pack", 200), ("\(refs)?service=git-receive-pack", 200), (refs, 403),
                ("\(refs)?service=git-upload-archive", 403), ("/git/acme/shop.git/HEAD", 404),
                ("/git/acme/shop.git/objects/info/packs", 404),
                ("/git/acme/other.git/info/refs?service=git-upload-pack", 404),
                ("/git/..%2Fx/shop.git/info/refs?service=git-upload-pack", 404),
            ]
            for (path, expected) in doors {
                let found = try status(path)
                #expect(found == expected, "\(path)")
            }
            for scope in [SessionScope.harness, .model] {
                #expect(try status("\(refs)?service=git-upload-pack", token: work.bench.token(scope)) == 401)
            }
        }
    }

    @Test func `without a token git asks for one, and a dead one ends it`() async throws {
        try await Bench.withGit { work in
            let anonymous = try Bench.client.sendBlocking(
                ClientRequest(url: "\(work.url)/info/refs?service=git-upload-pack"))
            #expect(anonymous.status == 401)
            #expect(anonymous.headers["WWW-Authenticate"]?.hasPrefix("Basic") == true)
            try work.bench.finish()
            let outcome = try work.run(["fetch", "origin"])
            #expect(!outcome.isSuccess)
            #expect(outcome.errors.contains("Authentication failed"))
        }
    }

    @Test func `a forge that is away is told as such`() async throws {
        try await Bench.withGit(isCloned: false) { work in
            work.forge.interceptAll { _, _ in .response(.text("maintenance", status: 503)) }
            let outcome = try work.run(["clone", "--quiet", work.url, work.path], in: "/")
            #expect(!outcome.isSuccess)
            #expect(outcome.errors.contains("503"))
        }
    }

    @Test func `saved work is a row only when it is stored, and once`() async throws {
        try await Bench.withGit { work in
            let bench = work.bench
            let commit = try work.commit("a.txt", "half")
            let body: JSONValue = ["attempt": 1, "turn": 4, "commit": .string(commit)]
            func save() throws -> Int {
                var request = ClientRequest(
                    method: "POST", url: "\(bench.url)/session/checkpoint", body: Array(body.text.utf8))
                request.headers = ["Authorization": "Bearer \(bench.token(.harness))"]
                return try Bench.client.sendBlocking(request).status
            }
            #expect(try save() == 409)
            #expect(try bench.events().isEmpty)
            #expect(try work.push("HEAD:\(PushPolicy.wip(bench.task))").isSuccess)
            #expect(try save() == 200)
            #expect(try save() == 200)
            #expect(try bench.events(.checkpointSaved) == [["turn": 4, "commit": .string(commit)]])
            let file = try bench.connection().query("SELECT path FROM artifacts").only().get("path", as: String.self)
            #expect(try work.check("bundle", "list-heads", file) == "\(commit) \(PushPolicy.wip(bench.task))")
            #expect(try CheckpointStore.newest(bench.task, in: bench.connection())?.commit == commit)
        }
    }

    @Test func `the hook is told what it needs, and no key of the model`() {
        let told = AgentGatewayConfig.hookEnvironment([
            "BGAGENT_POSTGRES_URL": "p", "BGAGENT_MODEL_API_KEY": "k", "BGAGENT_MODEL_API_KEY_FILE": "f", "HOME": "h",
        ])
        #expect(told == ["BGAGENT_POSTGRES_URL": "p"])
    }
}
