import FoundationEssentials
import Glibc
import HTTPServer
import HTTPTypes
import Lifecycle
import Threads

/// `git http-backend` as a CGI program: git speaks its own protocol, we only carry it.
struct HTTPBackend: Sendable {
    let git: GitCommand
    let deadline: Duration

    /// What the program is told beside the request.
    struct Place {
        let root: String
        /// Path inside `root`, with a leading slash.
        let pathInfo: String
        let environment: [String: String]
    }

    /// Starts the program with the request's body and returns its answer as a stream.
    func reply(to request: Request, at place: Place) throws -> Reply {
        let input = try BodyFile(request.body)
        var pipe: [Int32] = [0, 0]
        guard Glibc.pipe(&pipe) == 0 else {
            throw GitError(command: "http-backend", message: "no pipe: errno \(errno)", isTimeout: false)
        }
        // The child gets its end by name; no other child may keep one open.
        for end in pipe { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var environment = git.environment
        environment["GIT_PROJECT_ROOT"] = place.root
        environment["GIT_HTTP_EXPORT_ALL"] = "1"
        environment["PATH_INFO"] = place.pathInfo
        environment["REQUEST_METHOD"] = request.method
        environment["QUERY_STRING"] = request.rawQuery
        environment["CONTENT_TYPE"] = request.headers["Content-Type"] ?? ""
        environment["CONTENT_LENGTH"] = String(input.count)
        environment["REMOTE_USER"] = "agent"
        environment["REMOTE_ADDR"] = request.remoteAddress
        environment["GATEWAY_INTERFACE"] = "CGI/1.1"
        environment["SERVER_PROTOCOL"] = "HTTP/1.1"
        if let encoding = request.headers["Content-Encoding"] { environment["HTTP_CONTENT_ENCODING"] = encoding }
        if let version = request.headers["Git-Protocol"] { environment["GIT_PROTOCOL"] = version }
        environment.merge(place.environment) { _, given in given }
        var spec = ChildProcess.Spec("git", ["http-backend"], environment: environment)
        spec.input = input.descriptor
        spec.output = pipe[1]
        let child: ChildProcess
        do {
            child = try ChildProcess.start(spec)
        } catch {
            close(pipe[0])
            close(pipe[1])
            throw error
        }
        close(pipe[1])
        let stream = CGIStream(child: child, descriptor: pipe[0], deadline: deadline)
        do {
            let (status, headers) = try stream.readHead()
            return .stream(status: status, headers: headers, reader: stream)
        } catch {
            stream.close()
            throw error
        }
    }
}

/// A request's body as a file at its start.
private final class BodyFile {
    let descriptor: Int32
    let count: Int
    private let spooled: SpooledFile?

    init(_ body: Body) throws {
        count = body.count
        if case .file(let file) = body {
            spooled = file
            descriptor = file.descriptor
            lseek(descriptor, 0, SEEK_SET)
            return
        }
        spooled = nil
        descriptor = try SpooledFile.openTemporary(in: "/tmp")
        let bytes = try body.load()
        var written = 0
        while written < bytes.count {
            let step = bytes.withUnsafeBytes {
                write(descriptor, $0.baseAddress?.advanced(by: written), bytes.count - written)
            }
            if step <= 0 { throw FileError("keep a request's body") }
            written += step
        }
        lseek(descriptor, 0, SEEK_SET)
    }

    deinit { if spooled == nil { close(descriptor) } }
}

/// The output of a CGI program: a head, then the body. An unclean end is an error, so that no client takes a torn pack
/// for a whole one.
final class CGIStream: BodyReader {
    private struct State {
        var rest: [UInt8] = []
        var isClosed = false
    }

    private let child: ChildProcess
    private let descriptor: Int32
    private let alarm: Alarm
    private let state = Lock(State())

    init(child: ChildProcess, descriptor: Int32, deadline: Duration) {
        self.child = child
        self.descriptor = descriptor
        alarm = Alarm(after: deadline) { child.signal(SIGKILL) }
    }

    /// Reads up to the empty line. Throws when the program ends before it.
    func readHead() throws -> (status: Int, headers: Headers) {
        var head: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 8192)
        while true {
            let count = buffer.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0, head.count < 65_536 else { throw failed("no head") }
            head += buffer.prefix(count)
            if let end = CGIStream.endOfHead(head) {
                let rest = Array(head[end.body...])
                state.withLock { $0.rest = rest }
                return CGIStream.parse(head[..<end.head])
            }
        }
    }

    private static func endOfHead(_ bytes: [UInt8]) -> (head: Int, body: Int)? {
        for index in bytes.indices where bytes[index] == 10 {
            if index + 1 < bytes.count, bytes[index + 1] == 10 { return (index, index + 2) }
            if index + 2 < bytes.count, bytes[index + 1] == 13, bytes[index + 2] == 10 { return (index, index + 3) }
        }
        return nil
    }

    private static func parse(_ head: ArraySlice<UInt8>) -> (status: Int, headers: Headers) {
        var status = 200
        var headers = Headers()
        for line in String(decoding: head, as: UTF8.self).split(whereSeparator: \.isNewline) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let name = String(line[..<colon])
            let value = String(line[line.index(after: colon)...].drop { $0 == " " })
            if name.lowercased() == "status" {
                status = value.split(separator: " ").first.flatMap { Int($0) } ?? 500
            } else {
                headers.append((name: name, value: value))
            }
        }
        return (status, headers)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let early = state.withLock { state -> Int in
            let count = min(state.rest.count, buffer.count)
            guard count > 0 else { return 0 }
            buffer.copyBytes(from: state.rest.prefix(count))
            state.rest.removeFirst(count)
            return count
        }
        if early > 0 { return early }
        while true {
            let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            if count < 0 && errno == EINTR { continue }
            if count < 0 { throw failed("the pipe broke") }
            if count == 0 {
                let exit = child.wait()
                guard exit == .code(0) else { throw failed("\(exit)") }
            }
            return count
        }
    }

    func cancel() { child.signal(SIGKILL) }

    func close() {
        let isFirst = state.withLock { state in
            defer { state.isClosed = true }
            return !state.isClosed
        }
        guard isFirst else { return }
        Glibc.close(descriptor)
        if child.ended() == nil { child.signal(SIGKILL) }
        _ = child.wait()
        _ = alarm.disarm()
    }

    private func failed(_ why: String) -> GitError {
        GitError(command: "http-backend", message: why, isTimeout: false)
    }
}
