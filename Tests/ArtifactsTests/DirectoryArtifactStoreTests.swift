import Config
import FoundationEssentials
import Testing

@testable import Artifacts

@Suite struct DirectoryArtifactStoreTests {
    private static func with(_ body: (DirectoryArtifactStore, String) throws -> Void) throws {
        let directory = "/tmp/bgagent-artifacts-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try body(DirectoryArtifactStore(directory: directory), directory)
    }

    private static func bytes(_ store: DirectoryArtifactStore, _ key: String) throws -> [UInt8]? {
        guard let reader = try store.open(key) else { return nil }
        var buffer = [UInt8](repeating: 0, count: Int(try reader.count()) + 16)
        let count = try buffer.withUnsafeMutableBytes { try reader.read(into: $0, at: 0) }
        return Array(buffer[..<count])
    }

    @Test func `what is written once more takes the place of what was there, and of all behind it`() throws {
        try Self.with { store, directory in
            try store.write(Array("one".utf8), to: "traces/a/b.gz", at: 0)
            // A crash has left more than was counted.
            try store.write(Array("a torn part".utf8), to: "traces/a/b.gz", at: 3)
            try store.write(Array("two".utf8), to: "traces/a/b.gz", at: 3)
            #expect(try Self.bytes(store, "traces/a/b.gz") == Array("onetwo".utf8))
            let mode = try FileManager.default.attributesOfItem(atPath: "\(directory)/traces/a/b.gz")[.posixPermissions]
            #expect(mode as? Int == 0o600)
        }
    }

    @Test func `a reader goes on when its object is removed, and nobody else finds it`() throws {
        try Self.with { store, _ in
            #expect(try store.open("a") == nil)
            try store.remove("a")
            try store.write([1, 2, 3], to: "a", at: 0)
            let reader = try #require(try store.open("a"))
            try store.remove("a")
            var buffer = [UInt8](repeating: 0, count: 8)
            #expect(try buffer.withUnsafeMutableBytes { try reader.read(into: $0, at: 1) } == 2)
            #expect(buffer[..<2] == [2, 3])
            #expect(try store.open("a") == nil)
        }
    }

    @Test(arguments: ["", "/etc/passwd", "../a", "a/../b", "a//b", "a/./b", "a b", "a\0b", "a/"])
    func `a key that is no plain path is refused`(key: String) throws {
        try Self.with { store, _ in
            #expect(throws: ArtifactError.self) { try store.write([1], to: key, at: 0) }
            #expect(throws: ArtifactError.self) { _ = try store.open(key) }
            #expect(throws: ArtifactError.self) { try store.remove(key) }
        }
    }

    @Test func `what cannot be written says where`() throws {
        try Self.with { store, directory in
            try store.write([1], to: "a", at: 0)
            let error = #expect(throws: ArtifactError.self) { try store.write([1], to: "a/b", at: 0) }
            #expect(error?.description.contains("\(directory)/a") == true)
        }
    }
}
