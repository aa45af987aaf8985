import FoundationEssentials

/// The gateway to talk to and the token to show it, found in options, environment and saved profiles.
package struct Account: Sendable, Equatable {
    package let profile: String
    package let apiURL: String
    package let token: String
    /// The authority of the gateway's certificate, where it is none that the system trusts.
    package let caFile: String?

    /// - Throws: ``UserError`` that says which command or variable is missing.
    package init(_ invocation: Invocation, environment: [String: String]) throws {
        let url = environment["BGAGENT_API_URL"].flatMap { $0.isEmpty ? nil : $0 }
        let token = environment["BGAGENT_TOKEN"].flatMap { $0.isEmpty ? nil : $0 }
        let authority = invocation.text("ca-file") ?? environment["BGAGENT_CA_FILE"].flatMap { $0.isEmpty ? nil : $0 }
        if let url, let token, invocation.text("profile") == nil {
            self.init(
                profile: "environment", apiURL: try Self.address(url), token: try Self.checked(token),
                caFile: try authority.map(Self.authority))
            return
        }
        let profiles = try Profiles(folder: SettingsFolder(environment: environment))
        let name = Self.profileName(invocation, environment: environment, profiles: profiles)
        let saved = profiles[name]
        let configure = "bgagent configure --profile \(name) --api-url URL --token-file FILE"
        guard let address = url ?? saved.apiURL else {
            let known = profiles.names.isEmpty ? "" : " Saved profiles: \(profiles.names.joined(separator: ", "))."
            throw UserError("no gateway is configured for profile '\(name)'", configure + known)
        }
        guard let secret = token ?? saved.token else {
            throw UserError(
                "no API token is saved for profile '\(name)'", "bgagent login NAME, \(configure), or set BGAGENT_TOKEN")
        }
        let normal = try Self.address(address)
        if token == nil, let home = saved.apiURL, try Self.address(home) != normal {
            throw UserError(
                "BGAGENT_API_URL is not the gateway of profile '\(name)', whose token would go there",
                "Set BGAGENT_TOKEN too, or unset BGAGENT_API_URL.")
        }
        self.init(
            profile: name, apiURL: normal, token: try Self.checked(secret),
            caFile: try (authority ?? saved.caFile).map(Self.authority))
    }

    package init(profile: String, apiURL: String, token: String, caFile: String? = nil) {
        self.profile = profile
        self.apiURL = apiURL
        self.token = token
        self.caFile = caFile
    }

    /// The absolute path of a file of certificates.
    /// - Throws: ``UserError`` when it is none.
    package static func authority(_ path: String) throws -> String {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8),
            text.contains("-----BEGIN CERTIFICATE-----")
        else {
            throw UserError(
                "'\(Text.visible(path))' holds no certificates",
                "--ca-file FILE, or BGAGENT_CA_FILE, names the authority of the gateway's certificate, as PEM.")
        }
        return URL(filePath: path).absoluteURL.path
    }

    /// `--profile`, then BGAGENT_PROFILE, then the saved default.
    package static func profileName(
        _ invocation: Invocation, environment: [String: String], profiles: Profiles
    ) -> String {
        if let name = invocation.text("profile") { return name }
        if let name = environment["BGAGENT_PROFILE"], !name.isEmpty { return name }
        return profiles.defaultName
    }

    /// An http or https address without its trailing slash and without `/v1`, which the program adds itself.
    package static func address(_ text: String) throws -> String {
        var address = text
        while address.hasSuffix("/") { address.removeLast() }
        if address.hasSuffix("/v1") { address.removeLast(3) }
        let isWeb = address.hasPrefix("http://") || address.hasPrefix("https://")
        let rest = address.drop { $0 != ":" }.dropFirst(3)
        let isPlain = rest.unicodeScalars.allSatisfy { (0x21...0x7E).contains($0.value) }
        guard isWeb, !rest.isEmpty, isPlain, !rest.contains("@"), !rest.contains("?"), !rest.contains("#") else {
            throw UserError(
                "'\(Text.visible(text))' is no address of a gateway", "It looks like http://127.0.0.1:8080")
        }
        return address
    }

    /// Whether the token would cross a network in the clear.
    package var isExposed: Bool {
        guard apiURL.hasPrefix("http://") else { return false }
        let host = apiURL.dropFirst("http://".count).prefix { $0 != "/" }
        return !["127.", "localhost", "[::1]"].contains { host.hasPrefix($0) }
    }

    /// A token without the blanks that copying adds.
    /// - Throws: ``UserError`` when it holds what no header can carry.
    package static func checked(_ text: String) throws -> String {
        let token = String(text.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
        guard !token.isEmpty, token.unicodeScalars.allSatisfy({ (0x21...0x7E).contains($0.value) }) else {
            throw UserError(
                "that is no API token: it is empty or holds characters that no token has",
                "bgagent token add makes one; the gateway's first start writes one to a file.")
        }
        return token
    }
}
