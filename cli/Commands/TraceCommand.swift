import Domain
import FoundationEssentials
import Glibc

/// `bgagent trace download`: the trajectory of a task's agent, as a file.
package enum TraceCommand {
    @Sendable package static func download(
        _ invocation: Invocation, _ surroundings: Surroundings
    ) async throws -> ExitCode {
        let task = try TaskCommands.taskID(invocation)
        let path = invocation.text("file") ?? "\(task).jsonl.gz"
        if path == "-", invocation.wantsJSON {
            throw UserError("the trace and JSON cannot both go to stdout", "Name a file: --file NAME")
        }
        // Before anything is fetched.
        guard path == "-" || invocation.has("force") || !FileManager.default.fileExists(atPath: path) else {
            throw UserError("'\(Text.visible(path))' exists already", "--force writes over it, --file names another.")
        }
        let client = try surroundings.client(for: invocation)
        let link = try await client.call("GET", "/tasks/\(task)/trace").data
        guard let url = link.text("url") else {
            throw UserError("the gateway's answer has no link", "Are program and gateway of the same release?")
        }
        let bytes = try await client.download(url)
        if path == "-" {
            guard write(bytes, to: STDOUT_FILENO) else {
                throw UserError("stdout does not take the trace", "Name a file: --file NAME")
            }
            note(link, surroundings.console)
            return .success
        }
        try write(bytes, path)
        let console = surroundings.console
        if invocation.wantsJSON {
            console.print(
                JSONValue.members([
                    "file": .string(path), "bytes": .integer(Int64(bytes.count)),
                    "truncated": link.member("truncated"), "complete": link.member("complete"),
                ]).encoded(pretty: true))
            return .success
        }
        console.print("\(Text.visible(path)): \(Amount.size(bytes.count))")
        note(link, console)
        return .success
    }

    /// What of it is missing.
    private static func note(_ link: JSONValue, _ console: Console) {
        if link.member("truncated")?.bool == true { console.note("It was cut at its limit; the end is missing.") }
        if link.member("complete")?.bool == false {
            console.note("The agent has not sent the end: it is at work, or it was lost.")
        }
    }

    /// False when not all of it was taken; errno says why.
    private static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// For its owner alone: it holds the repository's text. Whole or not at all.
    private static func write(_ bytes: [UInt8], _ path: String) throws {
        var draft = Array("\(path).XXXXXX".utf8CString)
        // Made for us alone, and by a name that nobody has.
        let descriptor = draft.withUnsafeMutableBufferPointer { name in name.baseAddress.map { mkstemp($0) } ?? -1 }
        var isWritten = descriptor >= 0
        if isWritten {
            isWritten = write(bytes, to: descriptor)
            isWritten = close(descriptor) == 0 && isWritten && rename(draft, path) == 0
            if !isWritten { unlink(draft) }
        }
        guard isWritten else {
            throw UserError("cannot write '\(Text.visible(path))'", "Name another place with --file.")
        }
    }
}
