import Artifacts
import Config
import Domain
import HTTPClient
import HTTPTypes
import Lifecycle
import Runtime

/// What the agent gateway looks at: the model behind its proxy, git, its disk.
struct GatewayChecks: Sendable {
    private let model: ModelConfig
    private let git: GitCommand
    private let data: String
    private let artifacts: String
    private let http = HTTPClient(.init(name: "model-check", threads: 1))
    private let threads = IOThreads(name: "git-check", count: 1)
    /// Before it git does not take its settings from the environment.
    private static let oldestGit = (2, 31)

    init(_ config: AgentGatewayConfig) {
        model = config.model
        git = config.git
        data = config.service.dataDirectory
        artifacts = config.artifacts.directory
    }

    func add(to checks: CheckList) {
        let (data, artifacts) = (self.data, self.artifacts)
        checks.add { [DiskSpace.check(data)] }
        if !artifacts.hasPrefix(data + "/") { checks.add { [DiskSpace.check(artifacts)] } }
        checks.addOutside { [await checkModel()] }
        checks.addOutside { [await checkGit()] }
    }

    /// Asks for the list of models: it needs the key and costs nothing.
    func checkModel() async -> Check {
        guard let key = model.key else {
            return .failed(
                "model", "no key is set", remedy: "Set BGAGENT_MODEL_API_KEY or BGAGENT_MODEL_API_KEY_FILE.")
        }
        let request = ClientRequest(
            url: "\(model.url)/v1/models?limit=1",
            headers: [("x-api-key", key.revealed), ("anthropic-version", "2023-06-01")], timeout: .seconds(8),
            connectTimeout: .seconds(4))
        do {
            return Self.judge(status: try await http.send(request).status, url: model.url)
        } catch {
            return Self.away("\(model.url) does not answer: \(error)")
        }
    }

    static func judge(status: Int, url: String) -> Check {
        switch status {
        case 200: .passed("model", "\(url) takes our key")
        // Gateways between us and the model often have no such list.
        case 404, 405: .passed("model", "\(url) answers and has no list of models to ask for")
        case 429: .passed("model", "\(url) answers and is busy")
        case 401, 403:
            .failed(
                "model", "\(url) refuses our key (status \(status))",
                remedy: "Set BGAGENT_MODEL_API_KEY to a valid key and restart the agent gateway.")
        default: away("\(url) answers with status \(status)")
        }
    }

    private static func away(_ detail: String) -> Check {
        .failed(
            "model", detail,
            remedy: "Make the address of BGAGENT_MODEL_URL reachable from the agent gateway (DNS, proxy, firewall).")
    }

    private func checkGit() async -> Check {
        let git = self.git
        do {
            return Self.judge(git: try await threads.run { try git.run(["--version"], deadline: .seconds(8)).text })
        } catch {
            return .failed("git", "cannot be run: \(error)", remedy: "Install git where the agent gateway runs.")
        }
    }

    /// - Parameter text: `git version 2.39.5`.
    static func judge(git text: String) -> Check {
        let version = text.split(whereSeparator: \.isWhitespace).first { $0.first?.isNumber == true } ?? ""
        let numbers = version.split(separator: ".").prefix(2).compactMap { Int($0) }
        guard numbers.count == 2, (numbers[0], numbers[1]) >= oldestGit else {
            return .failed(
                "git", text.isEmpty ? "tells no version" : String(text.prefix(60)),
                remedy: "Install git \(oldestGit.0).\(oldestGit.1) or newer where the agent gateway runs.")
        }
        return .passed("git", "git \(version)")
    }
}
