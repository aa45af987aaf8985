import Glibc

/// A sandbox's output in a file.
struct LogFile: Sendable {
    let path: String

    /// Bytes from `offset` on, at most `limit`; empty behind the end or where there is no file.
    func read(from offset: Int, limit: Int) throws -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT { return [] }
            throw SandboxError(reason: "the log \(path) cannot be opened: errno \(errno)")
        }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: max(0, min(limit, max(0, size(file) - offset))))
        var filled = 0
        while filled < buffer.count {
            let count = buffer.withUnsafeMutableBytes {
                pread(file, $0.baseAddress?.advanced(by: filled), $0.count - filled, offset + filled)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            filled += count
        }
        return Array(buffer.prefix(filled))
    }

    /// The last bytes as text; empty where there are none.
    func tail(_ bytes: Int) -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return "" }
        let end = size(file)
        close(file)
        return String(decoding: (try? read(from: max(0, end - bytes), limit: bytes)) ?? [], as: UTF8.self)
    }

    private func size(_ file: Int32) -> Int {
        var about = stat()
        return fstat(file, &about) == 0 ? Int(about.st_size) : 0
    }
}
