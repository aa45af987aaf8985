import Config
import Domain
import Forge
import Screening
import Threads

/// The numbers of the orchestrator's own rules.
struct OrchestratorSettings: Sendable {
    var userSlots = 3
    var nodeSilenceSeconds = 30
    /// How long an agent may take to save its work after it was told to stop.
    var graceSeconds = 60
    /// How long a task stays parked.
    var parkedSeconds = 604_800.0
    var backend = "process"
    var verifyAttempts = 3
    var tokenBudget = 100_000
    var step = RetryPolicy(base: .seconds(1), cap: .seconds(60), maxAttempts: 8)
}

/// What the orchestrator is told.
struct OrchestratorConfig: Sendable {
    let service: ServiceConfig
    let forge: ForgeConfig
    let settings: OrchestratorSettings
    let screener: Screener.Settings

    init(_ environment: inout Environment) {
        service = ServiceConfig(&environment, name: "orchestrator")
        forge = ForgeConfig(&environment, secretsDirectory: service.secretsDirectory)
        screener = Screener.Settings(&environment, caFile: service.caFile)
        var settings = OrchestratorSettings()
        settings.userSlots = environment.int(
            "BGAGENT_USER_SLOTS", default: 3, in: 1...1000, "tasks of one user at work at once")
        settings.nodeSilenceSeconds = environment.int(
            "BGAGENT_NODE_SILENCE_SECONDS", default: 30, in: 1...3600,
            "a compute node not heard of for so long offers no places")
        settings.graceSeconds = environment.int(
            "BGAGENT_GRACE_SECONDS", default: 60, in: 1...600,
            "time for an agent to save its work after its time is up")
        settings.parkedSeconds =
            environment.duration(
                "BGAGENT_PARKED_LIMIT", default: .seconds(604_800), in: .seconds(60) ... .seconds(31_536_000),
                "how long a task that waits for an answer is kept before it fails"
            ).inSeconds
        settings.backend = environment.choice(
            "BGAGENT_COMPUTE_BACKEND", of: ["process", "container"], default: "process", "where agents run")
        settings.verifyAttempts = environment.int(
            "BGAGENT_VERIFY_ATTEMPTS", default: 3, in: 1...10, "verifications before a task is given up as red")
        self.settings = settings
    }
}
