import Domain
import FoundationEssentials
import Postgres
import TestSupport
import Testing

@Suite(.scratchDatabase)
struct TypesTests {
    private func roundTrip<Value: PostgresEncodable & PostgresDecodable & Equatable>(
        _ values: [Value], as type: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let connection = try connect()
        for value in values {
            let row = try connection.query("SELECT \(value)::\(unescaped: type) AS value").only()
            #expect(try row.get("value") == value, sourceLocation: sourceLocation)
        }
        let all = try connection.query("SELECT \(values)::\(unescaped: type)[] AS value").only()
        #expect(try all.get("value") == values, sourceLocation: sourceLocation)
        let some: [Value?] = values.map { $0 } + [nil]
        let row = try connection.query("SELECT \(some)::\(unescaped: type)[] AS value").only()
        #expect(try row.get("value") == some, sourceLocation: sourceLocation)
    }

    @Test func `numbers come back as they were bound`() throws {
        try roundTrip([0, 1, -1, Int.max, Int.min], as: "int8")
        try roundTrip([0, 7, Int64.max, Int64.min], as: "int8")
        try roundTrip([0, 7, Int32.max, Int32.min], as: "int4")
        try roundTrip([0, 0.1, -1e300, 1.7976931348623157e308, .infinity, -.infinity], as: "float8")
        try roundTrip([true, false], as: "bool")
    }

    @Test func `exact decimals keep every digit`() throws {
        let amounts = try ["0", "0.10", "-12345678901234567890.123456789"].map { try #require(Money($0)) }
        try roundTrip(amounts, as: "numeric")
        try roundTrip([try #require(Decimal(string: "12.345")), Decimal(-7)], as: "numeric")
    }

    @Test func `text comes back as it was bound`() throws {
        try roundTrip(
            [
                "", "plain", "NULL", "a,b", "{}", "\"quoted\"", "back\\slash", "two\nlines", " blank ", "żółć 🦆",
                "'; --",
            ],
            as: "text")
    }

    @Test func `bytes come back as they were bound`() throws {
        try roundTrip([Data(), Data([0, 1, 254, 255, 92, 34]), Data(0...255)], as: "bytea")
    }

    @Test func `moments keep their microseconds`() throws {
        let moments = [0, -1, 1, 1_767_225_599_999_999, -62_135_596_800_000_000, 253_402_300_799_999_999]
            .map { Timestamp(microseconds: $0) }
        try roundTrip(moments, as: "timestamptz")
        let row = try connect().query("SELECT '2026-03-01 01:30:00.5+02'::timestamptz AS at").only()
        #expect(try row.get("at", as: Timestamp.self).iso8601 == "2026-02-28T23:30:00.500000Z")
        #expect(try row.get("at", as: Date.self).timeIntervalSince1970 == 1_772_321_400.5)
    }

    @Test func `documents come back as values and as text`() throws {
        let document: JSONValue = ["name": "a\"b", "list": [1, 2.5, nil, true], "nested": ["x": "y"]]
        try roundTrip([document, [], .null], as: "jsonb")
        let row = try connect().query("SELECT \(JSON("{\"b\": 1,\"a\": [2]}")) AS document").only()
        #expect(try row.get("document", as: JSON.self).text == #"{"a": [2], "b": 1}"#)
    }

    @Test func `ids and enums are text`() throws {
        let id = try #require(TaskID(rawValue: "01ARZ3NDEKTSV4RRFFQ69G5FAV"))
        try roundTrip([id], as: "text")
        try roundTrip(TaskStatus.allCases, as: "text")
        let row = try connect().query("SELECT 'NO_SUCH_STATUS' AS status").only()
        #expect(try postgresError { try row.get("status", as: TaskStatus.self) }.kind == .decoding)
    }

    @Test func `arrays serve ANY and unnest`() throws {
        let connection = try connect()
        try connection.query("CREATE TABLE t (id int8, name text, data jsonb)")
        let names: [String?] = ["a", nil, "c"]
        let documents = [JSON("1"), JSON("{}"), JSON("[]")]
        let inserted = try connection.query(
            "INSERT INTO t SELECT * FROM unnest(\([1, 2, 3]), \(names), \(documents))")
        #expect(inserted.affected == 3)
        let rows = try connection.query("SELECT name FROM t WHERE id = ANY(\([1, 2, 9])) ORDER BY id")
        #expect(try rows.map { try $0.get("name", as: String?.self) } == ["a", nil])
        #expect(try connection.query("SELECT 1 FROM t WHERE name = ANY(\(["a", "c"]))").count == 2)
        #expect(try connection.query("SELECT 1 FROM t WHERE id = ANY(\([Int]()))").isEmpty)
    }

    @Test func `what does not fit is an error that names the column and hides the value`() throws {
        let row = try connect().query("SELECT NULL::text AS a, 'secret' AS b, 99999999999 AS c, '{{1}}'::int[] AS d")
            .only()
        #expect(try row.get("a", as: String?.self) == nil)
        #expect(try postgresError { try row.get("a", as: String.self) }.message == "column a is NULL")
        let mismatch = try postgresError { try row.get("b", as: Int.self) }
        #expect(mismatch.description.contains("column b") && !mismatch.description.contains("secret"))
        #expect(try postgresError { try row.get("c", as: Int32.self) }.kind == .decoding)
        #expect(try postgresError { try row.get("d", as: [Int].self) }.kind == .decoding)
        #expect(try postgresError { try row.get("nothing", as: Int.self) }.message == "there is no column nothing")
        #expect(try postgresError { try row.get(4, as: Int.self) }.message == "there is no column 4")
    }
}
