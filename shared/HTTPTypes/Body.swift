import Glibc

/// The body of a request, whole before the handler runs.
package enum Body: Sendable {
    case empty
    case bytes([UInt8])
    /// A body too large for memory: an unlinked temporary file that is gone with its last reference.
    case file(SpooledFile)

    /// How many bytes it has.
    package var count: Int {
        switch self {
        case .empty: 0
        case .bytes(let bytes): bytes.count
        case .file(let file): file.count
        }
    }

    /// All bytes in memory. Reads a spooled body back from its file and throws `FileError` when that fails.
    package func load() throws -> [UInt8] {
        switch self {
        case .empty: []
        case .bytes(let bytes): bytes
        case .file(let file): try file.load()
        }
    }
}

/// A call to the file system failed.
package struct FileError: Error, CustomStringConvertible {
    /// The reason as errno.
    package let code: Int32
    /// What was tried, in words.
    package let action: String

    package init(_ action: String, code: Int32 = errno) {
        self.action = action
        self.code = code
    }

    package var description: String {
        "\(action): \(String(cString: strerror(code)))"
    }
}

/// An unlinked file that lives as long as this object. A crash leaves nothing behind.
package final class SpooledFile: Sendable {
    /// Open for reading and writing, closed on exec, positioned at the start. Hand it to a child as its input, or
    /// read by offset; it stays this object's.
    package let descriptor: Int32
    /// The size in bytes.
    package let count: Int

    /// Takes over an open descriptor.
    package init(descriptor: Int32, count: Int) {
        self.descriptor = descriptor
        self.count = count
    }

    deinit {
        Glibc.close(descriptor)
    }

    /// A new unlinked file in that directory, open for reading and writing, closed on exec; the caller closes it.
    package static func openTemporary(in directory: String) throws(FileError) -> Int32 {
        var template = Array("\(directory)/bgagent-XXXXXX".utf8CString)
        let descriptor = template.withUnsafeMutableBufferPointer { name -> Int32 in
            guard let path = name.baseAddress else { return -1 }
            let opened = mkstemp(path)
            if opened >= 0 {
                unlink(path)
                _ = fcntl(opened, F_SETFD, FD_CLOEXEC)
            }
            return opened
        }
        guard descriptor >= 0 else { throw FileError("open a temporary file in \(directory)") }
        return descriptor
    }

    /// Reads at an offset without moving the descriptor's position; 0 at the end.
    package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws -> Int {
        while true {
            let taken = pread(descriptor, buffer.baseAddress, buffer.count, offset)
            if taken >= 0 { return taken }
            if errno != EINTR { throw FileError("read a spooled body") }
        }
    }

    /// All of it in memory.
    package func load() throws -> [UInt8] {
        var filled = 0
        return try [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            let whole = UnsafeMutableRawBufferPointer(buffer)
            while filled < count {
                let rest = UnsafeMutableRawBufferPointer(rebasing: whole[filled..<count])
                let taken = try read(into: rest, at: filled)
                if taken == 0 { break }
                filled += taken
            }
            initialized = filled
        }
    }
}
