import Glibc
import HTTPTypes

/// Gathers a body as it comes in: in memory, or in an unlinked file once it is large.
final class BodyCollector {
    /// A refused body is read this far past its limit, so that the client sees the answer; then it is cut off.
    static let patience = 2 << 20

    /// The body is over its limit; nothing of it is kept.
    private(set) var isTooLarge = false
    /// The file system would not take it; nothing of it is kept.
    private(set) var failure: (any Error)?

    private let limit: Int
    private let spoolOver: Int?
    private let directory: String
    private var bytes: [UInt8] = []
    private var file: Int32?
    private var count = 0

    /// - Parameter expected: what the client announced, 0 when it did not.
    init(limit: Int, spoolOver: Int?, directory: String, expected: Int) {
        self.limit = limit
        self.spoolOver = spoolOver
        self.directory = directory
        // An announcement costs the client nothing, so only a little is reserved for it.
        bytes.reserveCapacity(min(expected, limit, spoolOver ?? .max, 64 << 10))
    }

    deinit {
        if let file { close(file) }
    }

    /// Takes a part. False = give up on this client.
    func append(_ part: UnsafeRawBufferPointer) -> Bool {
        count += part.count
        if isTooLarge || failure != nil { return count <= limit + Self.patience }
        if count > limit {
            isTooLarge = true
            discard()
            return true
        }
        do {
            if let spoolOver, count > spoolOver {
                try write(part)
            } else {
                bytes.append(contentsOf: part)
            }
        } catch {
            failure = error
            discard()
        }
        return true
    }

    /// The whole body, once; it is the caller's then.
    func finish() -> Body {
        if let file {
            self.file = nil
            lseek(file, 0, SEEK_SET)
            return .file(SpooledFile(descriptor: file, count: count))
        }
        defer { bytes = [] }
        return count == 0 ? .empty : .bytes(bytes)
    }

    private func discard() {
        bytes = []
        if let file { close(file) }
        file = nil
    }

    private func write(_ part: UnsafeRawBufferPointer) throws {
        if let file { return try write(part, to: file) }
        let opened = try SpooledFile.openTemporary(in: directory)
        file = opened
        let held = bytes
        bytes = []
        try held.withUnsafeBytes { try write($0, to: opened) }
        try write(part, to: opened)
    }

    private func write(_ part: UnsafeRawBufferPointer, to file: Int32) throws {
        var rest = part[...]
        while !rest.isEmpty {
            let written = Glibc.write(file, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if written > 0 {
                rest = rest.dropFirst(written)
            } else if errno != EINTR {
                throw FileError("spool a body")
            }
        }
    }
}
