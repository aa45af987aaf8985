import Artifacts
import Config
import Domain
import Forge
import FoundationEssentials
import Postgres

/// What the agent gateway, and its pre-receive hook, are told.
struct AgentGatewayConfig: Sendable {
    let service: ServiceConfig
    let forge: ForgeConfig
    let model: ModelConfig
    let host: String
    let port: Int
    let lease: Duration
    let inboxPoll: Duration
    let maxBlobBytes: Int64
    let maxPushBytes: Int
    let pushDeadline: Duration
    let gitDeadline: Duration
    let stagingKeep: Duration
    /// How long an agent's question waits for an answer.
    let questionPatience: Duration
    let artifacts: DirectoryArtifactStore
    let traceKeep: Duration

    init(_ environment: inout Environment) {
        service = ServiceConfig(&environment, name: "agent-gateway")
        forge = ForgeConfig(&environment, secretsDirectory: service.secretsDirectory)
        model = ModelConfig(&environment)
        host = environment.string("BGAGENT_AGENT_GATEWAY_HOST", default: "127.0.0.1", "address for agents")
        port = environment.int("BGAGENT_AGENT_GATEWAY_PORT", default: 8081, in: 0...65535, "port for agents")
        lease = environment.duration(
            "BGAGENT_LEASE", default: .seconds(60), "life of a session's lease; agents renew it by heartbeat")
        inboxPoll = environment.duration(
            "BGAGENT_INBOX_POLL", default: .milliseconds(500), "how often a waiting agent's inbox is looked at")
        maxBlobBytes = Int64(
            environment.int(
                "BGAGENT_MAX_BLOB_BYTES", default: 50 << 20, in: 1...(1 << 40), "largest file that agents may push"))
        maxPushBytes = environment.int(
            "BGAGENT_MAX_PUSH_BYTES", default: 1 << 30, in: 1024...(1 << 40), "largest push in bytes")
        pushDeadline = environment.duration(
            "BGAGENT_PUSH_DEADLINE", default: .seconds(120), "time for the push from here to the forge")
        gitDeadline = environment.duration(
            "BGAGENT_GIT_DEADLINE", default: .seconds(600), "time for one clone, fetch or push of an agent")
        stagingKeep = environment.duration(
            "BGAGENT_STAGING_KEEP", default: .seconds(86_400), "a task's repository is kept so long after its end")
        questionPatience = environment.duration(
            "BGAGENT_QUESTION_PATIENCE", default: .seconds(900), in: .seconds(1) ... .seconds(86_400),
            "how long a question of an agent waits for an answer")
        artifacts = environment.artifacts(dataDirectory: service.dataDirectory)
        traceKeep = environment.duration(
            "BGAGENT_TRACE_KEEP", default: .seconds(604_800), in: .seconds(60) ... .seconds(31_536_000),
            "how long a task's trace is kept after the task's end")
    }

    var lockDirectory: String { "\(service.dataDirectory)/locks" }

    /// Git with the askpass script of this installation.
    var git: GitCommand {
        GitCommand(
            askpass: "\(service.dataDirectory)/git/askpass", home: "\(service.dataDirectory)/git",
            caFile: service.caFile)
    }

    /// Makes the directories and the script that hands a credential to git without an argument.
    func install() throws {
        for folder in ["git", "staging", "mirrors", "locks", "artifacts"] {
            try FileManager.default.createDirectory(
                atPath: "\(service.dataDirectory)/\(folder)", withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
        }
        let script = """
            #!/bin/sh
            case "$1" in
            Username*) echo bgagent ;;
            *) printf '%s\\n' "$BGAGENT_GIT_PASSWORD" ;;
            esac

            """
        let draft = "\(git.askpass).draft"
        try Data(script.utf8).write(to: URL(filePath: draft))
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: draft)
        // Another process may be running the old one: replaced, never written over.
        if FileManager.default.fileExists(atPath: git.askpass) {
            try FileManager.default.removeItem(atPath: git.askpass)
        }
        try FileManager.default.moveItem(atPath: draft, toPath: git.askpass)
    }

    /// The settings that the hook reads again in its own process.
    static func hookEnvironment(_ variables: [String: String]) -> [String: String] {
        let others = ["BGAGENT_MODEL_", "BGAGENT_OTLP_"]
        return variables.filter { variable in
            variable.key.hasPrefix("BGAGENT_") && !others.contains { variable.key.hasPrefix($0) }
        }
    }
}
