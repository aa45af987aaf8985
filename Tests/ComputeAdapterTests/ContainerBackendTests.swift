import ContainerEngine
import Domain
import FoundationEssentials
import Glibc
import TestSupport
import Testing

@testable import ComputeAdapter

/// The container backend on a real engine: straight, through the engine proxy, and under gVisor.
@Suite struct ContainerBackendTests {
    @Test(arguments: EngineWay.tested)
    func `the container backend starts, finds, stops, kills and removes`(way: EngineWay) async throws {
        try await ContainerFixture.with(way) { fixture in
            try await BackendConformance(
                make: { directory, script in
                    var settings = fixture.settings
                    settings.command = ["bash", "-c", script]
                    return ContainerBackend(settings, node: "n1", directory: directory)
                }, patience: ContainerFixture.patience
            ).run()
            #expect(try fixture.corner.remains() == [])
        }
    }

    @Test(arguments: EngineWay.tested)
    func `a sandbox may write where its work is and nowhere else`(way: EngineWay) async throws {
        try await ContainerFixture.with(way) { fixture in
            let ended = try await fixture.run(
                """
                echo user $(id -u):$(id -g) in $PWD home $HOME work $BGAGENT_WORKSPACE
                for place in /x /etc/x /usr/x /var/x; do (echo x > $place) 2>&1 | sed 's/.*: /refused: /'; done
                for place in /tmp $HOME $BGAGENT_WORKSPACE; do
                    printf '#!/bin/sh\\necho runs in %s\\n' $place > $place/x && chmod +x $place/x && $place/x
                done
                chown 0 /tmp/x 2>/dev/null || echo no owner
                """)
            #expect(ended.output.contains("user 10001:10001 in /workspace home /home/agent work /workspace"))
            // Both say no: the owner of the directories is root, and the file system is read-only.
            let refusals = ["refused: Read-only file system", "refused: Permission denied"]
            #expect(ended.output.split(separator: "\n").filter { refusals.contains(String($0)) }.count == 4)
            for place in ["/tmp", "/home/agent", "/workspace"] { #expect(ended.output.contains("runs in \(place)")) }
            #expect(ended.output.contains("no owner"))
            #expect(ended.ending == "The sandbox ended by itself without a result.")
        }
    }

    @Test func `a sandbox has no capability and gains none`() async throws {
        try await ContainerFixture.with(.proxy) { fixture in
            let ended = try await fixture.run("grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t'")
            for line in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                #expect(ended.output.contains("\(line):0000000000000000"))
            }
            #expect(ended.output.contains("NoNewPrivs:1"))
            #expect(ended.output.contains("Seccomp:2"))
        }
    }

    @Test(arguments: EngineWay.tested)
    func `a full disk, too many processes and too much memory end in the sandbox`(way: EngineWay) async throws {
        try await ContainerFixture.with(way) { fixture in
            let full = try await fixture.run(
                "head -c 40m /dev/zero > full; stat -c 'kept %s' full; head -c 20m /dev/zero > /tmp/full")
            #expect(
                full.output.split(separator: "No space left on device", omittingEmptySubsequences: false).count == 3)
            #expect(full.output.contains("kept 16777216"))
            // gVisor's kernel stands still instead, and is ended from outside.
            if way != .gvisor {
                let many = try await fixture.run(Self.manyProcesses)
                #expect(many.output.contains("refused\nfew\n"))
            }
            let large = try await fixture.run("x=$(head -c 400m /dev/zero | tr '\\0' x); echo survived")
            #expect(!large.output.contains("survived"))
            #expect(try large.ending.contains(fixture.tooLittleMemory))
        }
    }

    private static let manyProcesses = """
        perl -e '$| = 1; $n = 0; for (1..3000) { $p = fork; if (!defined $p) { print "refused\\n"; last }
            if (!$p) { sleep 600; exit } $n++ } print $n < 1000 ? "few\\n" : "many\\n"; kill 9, 0'
        """

    @Test func `under gVisor a sandbox with too many processes is held, and is killed as any other`() async throws {
        try await ContainerFixture.with(.gvisor) { fixture in
            let (backend, name) = (fixture.backend(Self.manyProcesses), TestEngine.sessionName())
            try backend.start(fixture.spec(name))
            try await eventually("it is at work", within: ContainerFixture.patience) {
                try (backend.usage(name)?.pids ?? 0) > 1
            }
            #expect(try backend.usage(name)?.pids ?? 0 <= fixture.settings.pids)
            try backend.kill(name)
            try backend.remove(name)
        }
    }

    @Test func `a process that was killed for its memory is told of though the agent goes on`() async throws {
        try await ContainerFixture.with { fixture in
            let ended = try await fixture.run("(x=$(head -c 400m /dev/zero | tr '\\0' x)); echo went on; exit 4")
            #expect(ended.output.contains("went on"))
            #expect(
                ended.ending
                    == "The sandbox ended with exit code 4; a process in it was killed: out of memory (192 MB).")
        }
    }

    @Test func `what an earlier life left half made is found and freed`() async throws {
        try await ContainerFixture.with(.proxy) { fixture in
            let backend = fixture.backend("sleep 1000")
            let names = (0..<4).map { _ in TestEngine.sessionName() }
            var settings = fixture.settings
            settings.workspace = .unlimited
            settings.command = ["sleep", "1000"]
            let requests = ContainerRequests(settings: settings, node: "n1")
            let client = fixture.corner.client
            for name in names {
                try client.call("POST", "/networks/create", body: requests.network(name, subnet: nil))
            }
            for name in names.dropFirst() {
                try client.call("POST", "/volumes/create", body: requests.volume(name))
            }
            let owned = try !fixture.corner.isPodman
            for name in names.dropFirst(2) {
                let body = requests.container(fixture.spec(name), owned: owned)
                try client.call("POST", "/containers/create", query: [("name", name)], body: body)
            }
            try client.call("POST", "/containers/\(names[3])/start")
            #expect(try backend.running() == [names[3]])
            #expect(try backend.leftovers() == Set(names))
            // Another node's are not ours.
            let stranger = fixture.backend("sleep 1000", node: "n2")
            #expect(try stranger.leftovers().isEmpty)
            #expect(try stranger.running().isEmpty)
            for name in names { try backend.remove(name) }
            #expect(try fixture.corner.remains() == [])
        }
    }

    @Test func `an engine that is away is an error in time, and its sandboxes are found again`() async throws {
        try await ContainerFixture.with(.proxy) { fixture in
            let proxy = try #require(fixture.proxy)
            let backend = fixture.backend("sleep 1000") { $0.timeout = .seconds(2) }
            let name = TestEngine.sessionName()
            try fixture.backend("sleep 1000").start(fixture.spec(name))
            proxy.signal(SIGSTOP)
            let silent = #expect(throws: EngineError.self) { try backend.running() }
            #expect(silent?.description.contains("does not answer in time") == true)
            proxy.end()
            let gone = #expect(throws: EngineError.self) { try backend.running() }
            #expect(gone?.description.contains("cannot be reached") == true)
            #expect(throws: EngineError.self) { try backend.start(fixture.spec(TestEngine.sessionName())) }
            try await proxy.begin()
            try await eventually("it is found again", within: ContainerFixture.patience) {
                try backend.running() == [name]
            }
            try fixture.backend("").kill(name)
            try fixture.backend("").remove(name)
        }
    }

    @Test func `what cannot be started says why, and leaves nothing`() async throws {
        try await ContainerFixture.with(.proxy) { fixture in
            // Podman takes no runtime from its callers, which is said before the proxy is asked.
            let runtimes = try fixture.corner.isPodman ? "BGAGENT_AGENT_RUNTIME=" : "BGAGENT_AGENT_RUNTIMES"
            let cases: [(String, (inout ContainerSettings) -> Void)] = [
                ("BGAGENT_AGENT_IMAGE", { $0.image = "debian:nonexistent" }),
                ("BGAGENT_AGENT_IMAGES", { $0.image = "alpine" }),
                (runtimes, { $0.runtime = "kata" }),
                ("BGAGENT_AGENT_WORKSPACE", { $0.workspace = .disk }),
            ]
            for (words, change) in cases {
                let backend = fixture.backend("true", change)
                let error = #expect(throws: (any Error).self, "\(words)") {
                    try backend.start(fixture.spec(TestEngine.sessionName()))
                }
                #expect("\(error.map { "\($0)" } ?? "")".contains(words))
                let remains = try fixture.corner.remains()
                #expect(remains == [], "\(words)")
            }
        }
        try await ContainerFixture.with { fixture in
            let backend = fixture.backend("true") { $0.runtime = "kata" }
            let error = #expect(throws: (any Error).self) { try backend.start(fixture.spec(TestEngine.sessionName())) }
            #expect("\(error.map { "\($0)" } ?? "")".contains("BGAGENT_AGENT_RUNTIME"))
            let alone = fixture.backend("true") { $0.gatewayLabels = ["bgagent.role=nobody"] }
            let missing = #expect(throws: SandboxError.self) { try alone.start(fixture.spec(TestEngine.sessionName())) }
            #expect(missing?.reason.contains("BGAGENT_AGENT_GATEWAY_LABEL") == true)
            let program = fixture.backend("") { $0.command = ["/nonexistent/agent"] }
            let name = TestEngine.sessionName()
            try program.start(fixture.spec(name))
            try await eventually("it ends", within: ContainerFixture.patience) { try program.running().isEmpty }
            // Podman's init has a code of its own for it, and does not say what it did not find.
            let (code, words) = try fixture.corner.isPodman ? (1, "No such file") : (127, "/nonexistent/agent")
            #expect(program.ending(name) == "The sandbox ended with exit code \(code).")
            #expect(program.logTail(name, bytes: 200).contains(words))
            try program.remove(name)
            #expect(try fixture.corner.remains() == [])
        }
    }

    @Test func `a workspace without a limit lies on the engine's disk and is freed`() async throws {
        try await ContainerFixture.with(.proxy) { fixture in
            let image = try Self.imageWithWorkspace(fixture.corner)
            let ended = try await fixture.run("head -c 40m /dev/zero > x && stat -c 'kept %s' x") {
                $0.workspace = .unlimited
                $0.image = image
            }
            #expect(ended.output == "kept 41943040\n")
            #expect(try fixture.corner.remains() == [])
            try fixture.corner.client.call("DELETE", "/images/\(image)", query: [("force", "true")])
        }
    }

    /// The tests' image with a workspace that belongs to the agent's user, as the agent's image has it.
    private static func imageWithWorkspace(_ corner: TestEngine) throws -> String {
        let id = try corner.run(["sh", "-c", "mkdir /workspace && chown 10001:10001 /workspace"])
        try corner.client.call("POST", "/containers/\(id)/wait")
        let query = [("container", id), ("repo", corner.installation), ("tag", "latest")]
        try corner.client.call("POST", "/commit", query: query, body: [:])
        return "\(corner.installation):latest"
    }
}
