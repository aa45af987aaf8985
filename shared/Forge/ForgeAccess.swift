import Config
import Domain
import FoundationEssentials
import HTTPClient

/// How the platform reaches the forge: addresses and credentials. Read by every service that talks to it.
package struct ForgeConfig: Sendable {
    package let apiURL: String
    package let webURL: String
    package let token: Secret?
    package let secretsDirectory: String

    package init(_ environment: inout Environment, secretsDirectory: String) {
        apiURL = environment.url(
            "BGAGENT_GITHUB_API_URL", default: "https://api.github.com",
            "GitHub's REST API; https://host/api/v3 on GitHub Enterprise Server")
        webURL = environment.url(
            "BGAGENT_GITHUB_URL", default: "https://github.com", "where git finds GitHub's repositories")
        token = environment.optionalSecret(
            "BGAGENT_GITHUB_TOKEN", "token for repositories that name no credential of their own")
        self.secretsDirectory = secretsDirectory
    }
}

/// Makes forges with the credential that a repository names.
package struct ForgeAccess: Sendable {
    private let config: ForgeConfig
    let http: HTTPClient
    var apiURL: String { config.apiURL }
    var hasToken: Bool { config.token != nil }

    package init(_ config: ForgeConfig, http: HTTPClient) {
        self.config = config
        self.http = http
    }

    /// The forge of a repository. `credentialRef` is a file name under the secrets directory; nil = the platform's token.
    ///
    /// Throws a `TaskFailure` when there is no such credential.
    package func forge(credentialRef: String?) throws -> any Forge {
        GitHub(http: http, apiURL: config.apiURL, webURL: config.webURL, token: try token(credentialRef))
    }

    /// The plain token, for git over HTTPS: handed on by GIT_ASKPASS, never in an argument.
    package func token(_ credentialRef: String?) throws -> String {
        guard let credentialRef else {
            if let token = config.token { return token.revealed }
            throw missing("no BGAGENT_GITHUB_TOKEN is set and the repository names no credential_ref")
        }
        let isPlain = credentialRef.utf8.allSatisfy { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 46
                || byte == 95 || byte == 45
        }
        guard isPlain, credentialRef != ".", credentialRef != "..",
            let text = try? String(contentsOfFile: "\(config.secretsDirectory)/\(credentialRef)", encoding: .utf8)
        else { throw missing("the credential file \(credentialRef) cannot be read") }
        let token = text.split(whereSeparator: \.isWhitespace).first.map(String.init) ?? ""
        guard !token.isEmpty else { throw missing("the credential file \(credentialRef) is empty") }
        return token
    }

    private func missing(_ description: String) -> TaskFailure {
        TaskFailure(
            code: "forge_credential_missing", category: .auth, title: "There is no credential for this repository",
            description: description,
            remedy:
                "Put a token into a file under BGAGENT_SECRETS_DIR and name it with `bgagent repo set --credential-ref`."
        )
    }
}
