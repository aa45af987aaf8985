import Glibc
import HTTPTypes
import Testing

@Suite struct BodyTests {
    @Test func `a target is split and decoded`() {
        let request = Request(method: "GET", target: "/a%2Fb/c?x=1&y=%20?")
        #expect(request.rawPath == "/a%2Fb/c")
        #expect(request.path == "/a/b/c")
        #expect(request.rawQuery == "x=1&y=%20?")
        #expect(request.queryValue("y") == " ?")
        #expect(!request.hasBrokenEscape)
        #expect(Request(method: "GET", target: "/%").hasBrokenEscape)
    }

    @Test func `a spooled body is read back and leaves nothing behind`() throws {
        let descriptor = try SpooledFile.openTemporary(in: "/tmp")
        let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0) }
        #expect(write(descriptor, bytes, bytes.count) == bytes.count)
        let body = Body.file(SpooledFile(descriptor: descriptor, count: bytes.count))
        #expect(body.count == 100_000)
        #expect(try body.load() == bytes)
        var status = stat()
        #expect(fstat(descriptor, &status) == 0)
        #expect(status.st_nlink == 0)
        #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0)
    }

    @Test func `a directory that is not there is an error that names it`() {
        let error = #expect(throws: FileError.self) { try SpooledFile.openTemporary(in: "/nowhere") }
        #expect(error?.code == ENOENT)
        #expect(error.map { "\($0)".contains("/nowhere") } == true)
    }
}
