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
        // Before anything is fetched.
        guard invocation.has("force") || !FileManager.default.fileExists(atPath: path) else {
            throw UserError("'\(Text.visible(path))' exists already", "--force writes over it, --file names another.")
        }
        let client = try surroundings.client(for: invocation)
        let link = try await client.call("GET", "/tasks/\(task)/trace").data
        guard let url = link.text("url") else {
            throw UserError("the gateway's answer has no link", "Are program and gateway of the same release?")
        }
        let bytes = try await client.download(url)
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
        if link.member("truncated")?.bool == true { console.note("It was cut at its limit; the end is missing.") }
        if link.member("complete")?.bool == false {
            console.note("The agent has not sent the end: it is at work, or it was lost.")
        }
        return .success
    }

    /// For its owner alone: it holds the repository's text. Whole or not at all.
    private static func write(_ bytes: [UInt8], _ path: String) throws {
        var draft = Array("\(path).XXXXXX".utf8CString)
        // Made for us alone, and by a name that nobody has.
        let descriptor = draft.withUnsafeMutableBufferPointer { name in name.baseAddress.map { mkstemp($0) } ?? -1 }
        var isWritten = descriptor >= 0
        if isWritten {
            var rest = bytes[...]
            while isWritten, !rest.isEmpty {
                let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
                if count < 0 && errno == EINTR { continue }
                isWritten = count > 0
                if isWritten { rest = rest.dropFirst(count) }
            }
            isWritten = close(descriptor) == 0 && isWritten && rename(draft, path) == 0
            if !isWritten { unlink(draft) }
        }
        guard isWritten else {
            throw UserError("cannot write '\(Text.visible(path))'", "Name another place with --file.")
        }
    }
}
