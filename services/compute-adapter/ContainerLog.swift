import ContainerEngine
import Domain
import FoundationEssentials
import Glibc
import Threads

/// Keeps a copy of a container's output in a file, because the engine's own goes with the container and forgets its
/// beginning when it grows.
///
/// The copy holds every byte once and in order, also after a restart of this process: beside it lies a mark that says
/// how long it was and which entry was the last of each stream. What was written behind the mark is written again.
final class ContainerLog: Sendable {
    /// Where copying stands.
    private struct Mark: Codable {
        var length = 0
        /// No more is kept.
        var isFull = false
        /// By stream: the time of the last entry, and how many entries of that time there were.
        var last: [String: Last] = [:]

        struct Last: Codable {
            var time: Int64
            var count: Int
        }
    }

    /// Output beyond this is dropped, which the copy says at its end.
    private static let longest = 64 << 20
    /// The streams are written by two threads of the engine, whose times may overtake each other by moments.
    private static let overlap: Int64 = 5_000_000_000

    let file: LogFile
    private let markPath: String
    private let mark = Lock<Mark?>(nil)

    /// - Parameter directory: of the session; made when something is written.
    init(directory: String) {
        file = LogFile(path: "\(directory)/log")
        markPath = "\(directory)/log.mark"
    }

    /// Adds what the container has said since.
    ///
    /// - Parameter read: gives everything that the engine has from a time on (nanoseconds; nil = from the start), in
    ///   parts. Throws `EngineError` `.notFound` when the container is gone.
    func update(_ read: (_ since: Int64?, _ take: ([UInt8]) throws -> Void) throws -> Void) throws {
        try mark.withLock { mark in
            let known = mark ?? load()
            var next = known ?? Mark()
            // Entries of the overlap are counted anew and passed over until they are behind the mark.
            var frames = LogFrames()
            var seen: [String: Mark.Last] = [:]
            var output: Int32 = -1
            defer { if output >= 0 { close(output) } }
            try read(known?.last.values.map(\.time).max().map { $0 - Self.overlap }) { part in
                for entry in frames.add(part) {
                    guard Self.isNew(entry, &seen, known), !next.isFull else { continue }
                    if output < 0 { output = try open(at: next.length) }
                    try append(entry.text, to: output, &next)
                }
            }
            for (stream, last) in seen where last.time >= (next.last[stream]?.time ?? .min) { next.last[stream] = last }
            if output >= 0 {
                try JSONText.bytes(next).write(to: URL(filePath: markPath), options: .atomic)
            }
            mark = next
        }
    }

    /// Forgets where copying stands: the container is gone, and nothing will come any more.
    func finish() {
        mark.withLock { _ in _ = unlink(markPath) }
    }

    private static func isNew(_ entry: LogEntry, _ seen: inout [String: Mark.Last], _ known: Mark?) -> Bool {
        let stream = String(entry.stream)
        var last = seen[stream] ?? Mark.Last(time: entry.time, count: 0)
        if last.time == entry.time { last.count += 1 } else { last = Mark.Last(time: entry.time, count: 1) }
        seen[stream] = last
        guard let old = known?.last[stream] else { return true }
        return last.time > old.time || (last.time == old.time && last.count > old.count)
    }

    private func load() -> Mark? {
        FileManager.default.contents(atPath: markPath).flatMap { try? JSONText.decode(Mark.self, bytes: $0) }
    }

    private func open(at length: Int) throws -> Int32 {
        let directory = String(file.path.dropLast("/log".count))
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let output = Glibc.open(file.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard output >= 0, ftruncate(output, length) == 0, lseek(output, length, SEEK_SET) == length else {
            throw SandboxError(reason: "the log \(file.path) cannot be written: errno \(errno)")
        }
        return output
    }

    private func append(_ text: [UInt8], to output: Int32, _ mark: inout Mark) throws {
        mark.isFull = mark.length + text.count > Self.longest
        var rest = mark.isFull ? Array("\n[the rest is not kept]\n".utf8)[...] : text[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { write(output, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else {
                throw SandboxError(reason: "the log \(file.path) cannot be written: errno \(errno)")
            }
            rest = rest.dropFirst(written)
            mark.length += written
        }
    }
}
