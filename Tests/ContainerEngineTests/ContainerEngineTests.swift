import ContainerEngine
import Testing

@Suite struct EngineAddressTests {
    @Test(arguments: [
        ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
        ("http://engine-proxy:2375", "http://engine-proxy:2375"),
        ("http://engine-proxy:2375/", "http://engine-proxy:2375"),
    ]) func `an engine is named by socket or by host`(text: String, shown: String) throws {
        #expect(try #require(EngineAddress(text)).description == shown)
    }

    @Test(arguments: ["unix://docker.sock", "tcp://host:2375", "http://", "/var/run/docker.sock", ""])
    func `what names no engine is refused`(text: String) {
        #expect(EngineAddress(text) == nil)
    }

    @Test func `nobody at the socket is told with what to do`() throws {
        let client = EngineClient(try #require(EngineAddress("unix:///nonexistent/engine.sock")))
        let error = #expect(throws: EngineError.self) { try client.call("GET", "/containers/json") }
        #expect(error?.code == .unreachable)
        #expect(error?.description.contains("BGAGENT_ENGINE_URL") == true)
    }
}

@Suite struct LogFramesTests {
    private static let line = Array("2026-11-26T20:07:05.422370606Z hello\n".utf8)

    private static func frame(_ stream: UInt8, _ payload: [UInt8]) -> [UInt8] {
        let size = UInt32(payload.count)
        return [stream, 0, 0, 0] + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: size >> UInt32($0)) } + payload
    }

    @Test func `frames are whole again whatever the cut`() {
        let bytes = Self.frame(1, Self.line) + Self.frame(2, Self.line)
        for cut in 0...bytes.count {
            var frames = LogFrames()
            let entries = frames.add(bytes[..<cut]) + frames.add(bytes[cut...])
            #expect(entries.map(\.stream) == [1, 2])
            #expect(entries.allSatisfy { $0.text == Array("hello\n".utf8) && $0.time == 1_795_723_625_422_370_606 })
        }
    }

    @Test(arguments: [
        ("1970-01-01T00:00:00Z", 0), ("2000-02-29T23:59:59.5Z", 951_868_799_500_000_000),
        ("2026-11-26T21:07:05.42237+01:00", 1_795_723_625_422_370_000),
        ("2026-11-26T15:37:05-04:30", 1_795_723_625_000_000_000),
    ]) func `times of engines are read`(text: String, nanoseconds: Int64) {
        #expect(EngineTime.nanoseconds(text) == nanoseconds)
    }

    @Test(arguments: [
        "", "hello", "2026-11-26 20:07:05Z", "2026-13-26T20:07:05Z", "2026-11-26T20:07:05", "2026-11-26T20:07:05.Z1",
    ])
    func `what is no time is not read as one`(text: String) {
        #expect(EngineTime.nanoseconds(text) == nil)
    }
}

@Suite struct SandboxNamingTests {
    @Test(arguments: ["bgagent-01ARZ3NDEKTSV4RRFFQ69G5FAV-1", "bgagent-5D1F9B60-8E1C-4B7E-9B43-3F5B0F2E9C11-12"])
    func `a session's name is known`(name: String) {
        #expect(SandboxNaming.isSession(name))
    }

    @Test(arguments: [
        "bgagent-gateway-1", "bgagent-01ARZ3NDEKTSV4RRFFQ69G5FAV", "bgagent-01ARZ3NDEKTSV4RRFFQ69G5FAV-",
        "bgagent-01ARZ3NDEKTSV4RRFFQ69G5FA/-1", "other-01ARZ3NDEKTSV4RRFFQ69G5FAV-1", "bgagent-", "bgagent--1", "",
        "bgagent-01ARZ3NDEKTSV4RRFFQ69G5FAV-1x",
    ]) func `any other name is not`(name: String) {
        #expect(!SandboxNaming.isSession(name))
    }
}

@Suite struct SubnetRangeTests {
    @Test func `networks of sixteen addresses are carved where none is taken`() throws {
        let range = try #require(SubnetRange("10.213.0.0/26"))
        #expect(range.count == 4)
        let taken = ["10.213.0.16/28", "10.213.0.40/30", "172.17.0.0/16"]
        #expect(range.free(besides: taken, limit: 9) == ["10.213.0.0/28", "10.213.0.48/28"])
        #expect(range.free(besides: taken, from: 3, limit: 1) == ["10.213.0.48/28"])
        #expect(range.free(besides: ["10.213.0.0/16"], limit: 1) == [])
    }

    @Test func `a network of the range is told from any other`() throws {
        let range = try #require(SubnetRange("10.213.0.0/16"))
        #expect(range.contains("10.213.255.240/28"))
        for other in ["10.214.0.0/28", "10.213.0.0/16", "10.213.0.1/28", "10.213.0.0", "0.0.0.0/0"] {
            #expect(!range.contains(other))
        }
    }

    @Test(arguments: ["8.8.8.0/24", "10.213.0.1/16", "10.0.0.0/29", "172.0.0.0/8", "10.213.0.0", "x/16", "10.0.0/8"])
    func `what is no private range is refused`(text: String) {
        #expect(SubnetRange(text) == nil)
    }
}
