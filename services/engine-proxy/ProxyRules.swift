import ContainerEngine
import Domain

/// What the proxy lets through: documents in, nothing or a `Refusal` out. Pure.
struct ProxyRules: Sendable {
    let installation: String
    let images: [String]
    let runtimes: [String]
    let gatewayLabels: [String]
    let subnets: SubnetRange?
    let maxMemory: Int64
    let maxCPUs: Double
    let maxPids: Int

    /// The name of a sandbox and of what belongs to it.
    func name(_ name: String?, _ what: String) throws -> String {
        guard let name, SandboxNaming.isSession(name) else {
            throw Refusal("\(what) must be the name of a sandbox, bgagent-<task>-<attempt>")
        }
        return name
    }

    /// True when these labels say that the thing belongs to this installation's sandbox of that name.
    func owns(_ labels: JSONValue?, _ name: String) -> Bool {
        labels?[SandboxNaming.installation]?.string == installation
            && labels?[SandboxNaming.session]?.string == name
    }

    /// True when these labels are those of an agent gateway.
    func isGateway(_ labels: JSONValue?) -> Bool {
        gatewayLabels.allSatisfy { label in
            let sides = label.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            return sides.count == 2 && labels?[sides[0]]?.string == sides[1]
        }
    }

    /// `POST /containers/create`; true when it uses the sandbox's volume.
    func checkContainer(_ body: JSONValue, name: String) throws -> Bool {
        var fields = try Fields(body)
        _ = try fields.text("Image", "one of the images of BGAGENT_AGENT_IMAGES", where: isAllowed(image:))
        _ = try fields.text("User", "uid:gid in numbers above 0", where: Self.isOrdinary(user:))
        _ = try fields.text("WorkingDir", SandboxNaming.workspace) { $0 == SandboxNaming.workspace }
        try fields.texts("Env", atMost: 200) { $0.contains("=") && $0.utf8.count <= 16 << 10 }
        if fields.take("Cmd").map({ $0.array?.allSatisfy { $0.string != nil } == true }) == false {
            throw Refusal("Cmd must be a list of texts")
        }
        try checkLabels(&fields, name)
        var host = try fields.object("HostConfig")
        try fields.end()
        try checkLimits(&host)
        try checkWalls(&host, name)
        let hasVolume = try checkFiles(&host, name)
        try host.end()
        return hasVolume
    }

    private func checkLimits(_ host: inout Fields) throws {
        let memory = try host.number("Memory", in: 6 << 20...maxMemory)
        try host.require("MemorySwap", .integer(memory))
        _ = try host.number("NanoCpus", in: 1...Int64(maxCPUs * 1e9))
        _ = try host.number("PidsLimit", in: 1...Int64(maxPids))
        var log = try host.object("LogConfig")
        _ = try log.text("Type", "json-file or k8s-file") { ["json-file", "k8s-file"].contains($0) }
        var config = try log.object("Config")
        _ = try config.text("max-size", "a size such as 10m") { Self.isSize($0) }
        _ = try config.text("max-file", "a number up to 10") { (1...10).contains(Int($0) ?? 0) }
        try config.end()
        try log.end()
    }

    private func checkWalls(_ host: inout Fields, _ name: String) throws {
        try host.require("ReadonlyRootfs", true)
        try host.require("CapDrop", ["ALL"])
        try host.require("SecurityOpt", ["no-new-privileges"])
        try host.require("NetworkMode", .string(name))
        try host.allow("Init", true)
        if let runtime = host.take("Runtime"), !runtimes.contains(runtime.string ?? "") {
            throw Refusal("\(host.name("Runtime")) must be one of BGAGENT_AGENT_RUNTIMES")
        }
    }

    /// Places in memory, and the sandbox's own volume where the workspace is not one of them.
    private func checkFiles(_ host: inout Fields, _ name: String) throws -> Bool {
        guard let mounts = host.take("Mounts")?.array, mounts.count <= 1 else {
            throw Refusal("\(host.name("Mounts")) must be the sandbox's own volume or nothing")
        }
        var places = try host.object("Tmpfs")
        for path in ["/tmp", SandboxNaming.home] + (mounts.isEmpty ? [SandboxNaming.workspace] : []) {
            _ = try places.text(path, "mount options with a size", where: Self.areTemporary(options:))
        }
        try places.end()
        guard let volume = mounts.first else { return false }
        var mount = try Fields(volume, host.name("Mounts"))
        try mount.require("Type", "volume")
        try mount.require("Source", .string(name))
        try mount.require("Target", .string(SandboxNaming.workspace))
        try mount.end()
        return true
    }

    /// `POST /networks/create`.
    func checkNetwork(_ body: JSONValue) throws -> String {
        var fields = try Fields(body)
        let name = try self.name(fields.take("Name")?.string, "Name")
        try fields.require("Driver", "bridge")
        try fields.require("Internal", true)
        try fields.allow("CheckDuplicate", true)
        try fields.require("Options", [SandboxNaming.withoutHostAddress: "true"])
        try checkLabels(&fields, name)
        if let management = fields.take("IPAM") {
            var management = try Fields(management, "IPAM")
            guard let parts = management.take("Config")?.array, parts.count == 1 else {
                throw Refusal("IPAM.Config must be one subnet")
            }
            var part = try Fields(parts[0], "IPAM.Config")
            _ = try part.text("Subnet", "within BGAGENT_AGENT_SUBNETS") { subnets?.contains($0) == true }
            try part.end()
            try management.end()
        }
        try fields.end()
        return name
    }

    /// `POST /volumes/create`.
    func checkVolume(_ body: JSONValue) throws -> String {
        var fields = try Fields(body)
        let name = try self.name(fields.take("Name")?.string, "Name")
        try fields.require("Driver", "local")
        try checkLabels(&fields, name)
        var options = try fields.object("DriverOpts")
        // Types and devices are ways to the host's files.
        if let size = options.take("size"), !Self.isSize(size.string ?? "") {
            throw Refusal("DriverOpts.size must be a size")
        }
        try options.end()
        try fields.end()
        return name
    }

    /// `POST /networks/{name}/connect`: the container that it names.
    func checkConnect(_ body: JSONValue) throws -> String {
        var fields = try Fields(body)
        let container = try fields.text("Container", "the id of an agent gateway", where: Self.isID)
        try fields.require("EndpointConfig", ["Aliases": [.string(SandboxNaming.gatewayAlias)]])
        try fields.end()
        return container
    }

    /// `POST /networks/{name}/disconnect`: the container that it names.
    func checkDisconnect(_ body: JSONValue) throws -> String {
        var fields = try Fields(body)
        let container = try fields.text("Container", "the id of an agent gateway", where: Self.isID)
        try fields.require("Force", true)
        try fields.end()
        return container
    }

    private func checkLabels(_ fields: inout Fields, _ name: String) throws {
        var labels = try fields.object("Labels")
        try labels.require(SandboxNaming.installation, .string(installation))
        try labels.require(SandboxNaming.session, .string(name))
        _ = try labels.text(SandboxNaming.node, "the name of a compute node") { !$0.isEmpty && $0.utf8.count <= 255 }
        try labels.end()
    }

    private func isAllowed(image: String) -> Bool {
        images.contains { allowed in
            let hasTag = allowed.split(separator: "/").last?.contains { $0 == ":" || $0 == "@" } == true
            if image == allowed { return true }
            guard !hasTag, image.hasPrefix("\(allowed):") else { return false }
            let tag = image.dropFirst(allowed.count + 1)
            return !tag.isEmpty && tag.allSatisfy { $0 != "/" && $0 != ":" && $0 != "@" }
        }
    }

    /// Ids, not names: a name may come to mean another container.
    private static func isID(_ text: String) -> Bool {
        text.utf8.count == 64 && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    private static func isOrdinary(user: String) -> Bool {
        let ids = user.split(separator: ":", omittingEmptySubsequences: false)
        return ids.count == 2
            && ids.allSatisfy { id in isNumber(id) && Int64(id).map { (1...0x7FFF_FFFF).contains($0) } == true }
    }

    private static func isNumber(_ text: some StringProtocol) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
    }

    private static func isSize(_ text: some StringProtocol) -> Bool {
        isNumber(text.last.map { "kmg".contains($0) } == true ? text.dropLast() : text[...])
    }

    /// Words that only narrow, a size, and whose it is.
    private static func areTemporary(options: String) -> Bool {
        let words = options.split(separator: ",", omittingEmptySubsequences: false)
        let plain: Set<Substring> = ["rw", "exec", "noexec", "nosuid", "nodev"]
        return words.contains("nosuid") && words.contains("nodev") && words.contains { $0.hasPrefix("size=") }
            && words.allSatisfy { plain.contains($0) || isAmount($0) }
    }

    private static func isAmount(_ word: Substring) -> Bool {
        let sides = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard sides.count == 2 else { return false }
        return sides[0] == "size" ? isSize(sides[1]) : ["mode", "uid", "gid"].contains(sides[0]) && isNumber(sides[1])
    }
}
