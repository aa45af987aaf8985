import Domain

/// What `configure` and `login` saved: a gateway and a token per profile. Addresses and tokens lie in files of their own
/// (`config.json`, `credentials.json`), so that the first can be shown around.
package struct Profiles: Sendable {
    /// One saved gateway.
    package struct Profile: Sendable, Equatable {
        package var apiURL: String?
        package var token: String?
        /// Who logged in last.
        package var user: String?
        /// The authority of the gateway's certificate.
        package var caFile: String?
    }

    package var defaultName: String
    private var profiles: [String: Profile]

    /// - Throws: ``UserError`` when a file is damaged or its permissions are too loose.
    package init(folder: SettingsFolder) throws {
        let config = try Self.parse(folder, "config.json")
        let credentials = try Self.parse(folder, "credentials.json")
        defaultName = config.text("default_profile") ?? "default"
        profiles = (config["profiles"]?.object ?? [:]).mapValues { entry in
            Profile(
                apiURL: entry["api_url"]?.string, token: nil, user: entry["user"]?.string,
                caFile: entry["ca_file"]?.string)
        }
        for (name, entry) in credentials["profiles"]?.object ?? [:] {
            profiles[name, default: Profile()].token = entry["token"]?.string
        }
    }

    package subscript(name: String) -> Profile {
        get { profiles[name] ?? Profile() }
        set { profiles[name] = newValue }
    }

    package var names: [String] { profiles.keys.sorted() }

    /// Writes both files.
    package func save(to folder: SettingsFolder) throws {
        let addresses = profiles.filter { $0.value.apiURL != nil }.mapValues { profile in
            JSONValue.members([
                "api_url": profile.apiURL.map { .string($0) }, "user": profile.user.map { .string($0) },
                "ca_file": profile.caFile.map { .string($0) },
            ])
        }
        let tokens = profiles.compactMapValues(\.token).mapValues { JSONValue.object(["token": .string($0)]) }
        let config = JSONValue.object(["default_profile": .string(defaultName), "profiles": .object(addresses)])
        let credentials = JSONValue.object(["profiles": .object(tokens)])
        try folder.write("credentials.json", Array((credentials.encoded(pretty: true) + "\n").utf8))
        try folder.write("config.json", Array((config.encoded(pretty: true) + "\n").utf8))
    }

    private static func parse(_ folder: SettingsFolder, _ name: String) throws -> JSONValue {
        guard let bytes = try folder.read(name) else { return .object([:]) }
        do {
            return try JSONValue(parsing: bytes)
        } catch {
            throw UserError("\(folder.path)/\(name) is no JSON", "Mend or remove it, then run: bgagent configure")
        }
    }
}
