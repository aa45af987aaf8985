import Testing

@testable import AgentGateway

@Suite struct SecretScanTests {
    private static let key = "AKIA" + "IOSFODNN7EXAMPLE"
    private static let patch = """
        diff --git a/a.txt b/a.txt
        index 1..2 100644
        --- a/a.txt
        +++ b/a.txt
        @@ -1,2 +1,2 @@
        -old \(key)
        -gone
        +one
        +two
        @@ -10 +10,3 @@
        -x
        ++++ b/not-a-header
        +y
        +key \(key)
        diff --git a/b.txt b/b.txt
        new file mode 100644
        --- /dev/null
        +++ b/dir/b c.txt
        @@ -0,0 +1 @@
        +password = hunter2
        """

    @Test func `what was added is told from what was taken away, with the numbers of its lines`() {
        let files = SecretScan.added(in: Self.patch)
        #expect(files.map(\.path) == ["a.txt", "dir/b c.txt"])
        #expect(files[0].lines.map(\.number) == [1, 2, 10, 11, 12])
        #expect(files[0].lines[2].text == "+++ b/not-a-header")
        #expect(files[1].lines.map { String($0.text) } == ["password = hunter2"])
    }

    @Test func `the first secret is named by its place, and guesses are not made`() throws {
        #expect(
            try SecretScan().first(in: Self.patch) == FoundSecret(path: "a.txt", line: 12, kind: "AWS key"))
        #expect(try SecretScan().first(in: Self.patch.replacing("key \(Self.key)", with: "nothing")) == nil)
    }

    @Test(arguments: ["\r", ""], ["", "\u{301}"])
    func `a secret is seen behind a line that was taken away, however its lines end and begin`(
        end: String, mark: String
    ) throws {
        let patch = [
            "diff --git a/a.txt b/a.txt", "--- a/a.txt", "+++ b/a.txt", "@@ -7,2 +7,2 @@", "-old\(end)", "-gone\(end)",
            "+one\(end)", "+\(mark)\(Self.key)\(end)", "",
        ].joined(separator: "\n")
        #expect(try SecretScan().first(in: patch) == FoundSecret(path: "a.txt", line: 8, kind: "AWS key"))
    }

    @Test func `a private key over several lines is found where it begins`() throws {
        let patch = """
            diff --git a/id b/id
            --- /dev/null
            +++ b/id
            @@ -0,0 +1,4 @@
            +# key
            +-----BEGIN RSA PRIVATE\u{20}KEY-----
            +MIIEow
            +-----END RSA PRIVATE\u{20}KEY-----
            """
        #expect(try SecretScan().first(in: patch) == FoundSecret(path: "id", line: 2, kind: "private key"))
    }
}
