import Config
import Testing

@Suite struct ByteTextTests {
    @Test(arguments: [
        ("0", 0), ("1500", 1500), ("64k", 65_536), ("512M", 536_870_912), ("8g", 8_589_934_592),
        ("1t", 1_099_511_627_776),
    ]) func `sizes are read in powers of 1024`(text: String, bytes: Int64) {
        #expect(ByteText.read(text) == bytes)
    }

    @Test(arguments: ["", "g", "8 g", "8gb", "-1", "1.5g", "99999999999999999999", "9999999999t", "x"])
    func `what is no size is not read as one`(text: String) {
        #expect(ByteText.read(text) == nil)
    }

    @Test(arguments: ["64k", "512m", "8g", "1t", "1500", "0"])
    func `sizes are written as they are read`(text: String) throws {
        #expect(ByteText.write(try #require(ByteText.read(text))) == text)
    }

    @Test func `a size outside its range is refused with the range`() {
        var environment = Environment(["A": "2g", "B": "1m"])
        #expect(environment.bytes("A", default: "4g", in: 1 << 30...8 << 30, "a") == 2 << 30)
        #expect(environment.bytes("B", default: "4g", in: 1 << 30...8 << 30, "b") == 4 << 30)
        #expect(environment.problems.count == 1)
        #expect(environment.problems.first?.contains("B=1m is not a number of bytes 1g…8g") == true)
    }

    @Test func `a unix socket is an address without a host`() {
        var environment = Environment(["E": "unix:///run/x.sock"])
        #expect(environment.url("E", default: "http://d", schemes: ["unix", "http"], "e") == "unix:///run/x.sock")
        #expect(environment.problems.isEmpty)
    }
}
