import ContainerEngine
import Domain

/// What the engine is asked to make for one sandbox. Pure: settings and spec in, documents out.
///
/// The engine proxy passes exactly these and nothing that differs; a field added here is added to its rules, too.
struct ContainerRequests: Sendable {
    let settings: ContainerSettings
    let node: String

    func labels(_ name: String) -> JSONValue {
        [
            SandboxNaming.installation: .string(settings.installation), SandboxNaming.node: .string(node),
            SandboxNaming.session: .string(name),
        ]
    }

    /// A network of the sandbox's own that leads nowhere: no way out, and no address of the host on it.
    func network(_ name: String, subnet: String?) -> JSONValue {
        var network: [String: JSONValue] = [
            "Name": .string(name), "Driver": "bridge", "Internal": true, "CheckDuplicate": true,
            "Options": [SandboxNaming.withoutHostAddress: "true"], "Labels": labels(name),
        ]
        if let subnet { network["IPAM"] = ["Config": [["Subnet": .string(subnet)]]] }
        return .object(network)
    }

    /// A volume for the workspace; nil where it lies in memory and needs none.
    func volume(_ name: String) -> JSONValue? {
        var options: [String: JSONValue] = [:]
        switch settings.workspace {
        case .memory: return nil
        case .disk: options = ["size": .string(String(settings.workspaceSize))]
        case .unlimited: break
        }
        return ["Name": .string(name), "Driver": "local", "DriverOpts": .object(options), "Labels": labels(name)]
    }

    /// - Parameter owned: false for podman, which knows no owner of what lies in memory.
    func container(_ spec: SandboxSpec, owned: Bool = true) -> JSONValue {
        var environment = spec.environment
        environment["HOME"] = SandboxNaming.home
        environment["BGAGENT_WORKSPACE"] = SandboxNaming.workspace
        var host: [String: JSONValue] = [
            "Memory": .integer(settings.memory), "MemorySwap": .integer(settings.memory),
            "NanoCpus": .integer(Int64(settings.cpus * 1e9)), "PidsLimit": .integer(Int64(settings.pids)),
            "ReadonlyRootfs": true, "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "Init": true,
            "NetworkMode": .string(spec.name),
            "Tmpfs": .object(inMemory(owned: owned)), "Mounts": .array(mounts(spec.name)),
            "LogConfig": ["Type": "json-file", "Config": ["max-size": "10m", "max-file": "2"]],
        ]
        if !settings.runtime.isEmpty { host["Runtime"] = .string(settings.runtime) }
        var container: [String: JSONValue] = [
            "Image": .string(settings.image), "User": .string(settings.user),
            "WorkingDir": .string(SandboxNaming.workspace),
            "Env": .array(environment.map { "\($0)=\($1)" }.sorted().map { .string($0) }),
            "Labels": labels(spec.name), "HostConfig": .object(host),
        ]
        if !settings.command.isEmpty { container["Cmd"] = .array(settings.command.map { .string($0) }) }
        return .object(container)
    }

    /// Places whose files lie in memory. Programs may run there: builds and their tests run what they have just written.
    ///
    /// With an owner, because runtimes give a place the mode that the image's directory has, whatever is asked for.
    private func inMemory(owned: Bool) -> [String: JSONValue] {
        let options = { (size: Int64, rest: String) -> JSONValue in
            .string("rw,exec,nosuid,nodev,size=\(size),\(rest)")
        }
        let ids = settings.user.split(separator: ":")
        let own = owned ? "mode=0700,uid=\(ids.first ?? ""),gid=\(ids.last ?? "")" : "mode=1777"
        var places = [
            "/tmp": options(settings.temporarySize, "mode=1777"),
            SandboxNaming.home: options(settings.temporarySize, own),
        ]
        if settings.workspace == .memory { places[SandboxNaming.workspace] = options(settings.workspaceSize, own) }
        return places
    }

    private func mounts(_ name: String) -> [JSONValue] {
        if settings.workspace == .memory { return [] }
        return [["Type": "volume", "Source": .string(name), "Target": .string(SandboxNaming.workspace)]]
    }
}
