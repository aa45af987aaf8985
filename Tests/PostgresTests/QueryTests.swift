import Postgres
import TestSupport
import Testing

@Suite struct QueryTests {
    @Test func `values become placeholders and never text`() {
        let query: Query = "SELECT * FROM t WHERE a = \(1) AND b = \("x'; DROP TABLE t; --") AND c = \(nil as String?)"
        #expect(query.sql == "SELECT * FROM t WHERE a = $1 AND b = $2 AND c = $3")
        #expect("\(query)" == query.sql)
        var dumped = ""
        dump(query, to: &dumped)
        #expect(!dumped.contains("DROP"))
    }

    @Test func `fragments keep their values in order`() {
        let condition: Query = "a = \(1) AND b = \(2)"
        let whole: Query = "SELECT \(0) WHERE \(condition) OR c = \(3)"
        #expect(whole.sql == "SELECT $1 WHERE a = $2 AND b = $3 OR c = $4")
        #expect((condition + " OR " + condition).sql == "a = $1 AND b = $2 OR a = $3 AND b = $4")
        #expect(
            Query.joined([condition, "d = \(4)", "TRUE"], by: " AND ").sql == "a = $1 AND b = $2 AND d = $3 AND TRUE")
        #expect(Query.joined([], by: ", ").sql.isEmpty)
    }

    @Test func `names are quoted`() {
        let query: Query = "SELECT * FROM \(identifier: "we\"ird") \(unescaped: "ORDER BY 1")"
        #expect(query.sql == "SELECT * FROM \"we\"\"ird\" ORDER BY 1")
    }

    @Test(.scratchDatabase) func `ten and more placeholders of joined fragments bind in order`() throws {
        let values = Array(1...25)
        let list = Query.joined(values.map { "\($0)" }, by: ", ")
        let nested: Query = "SELECT ARRAY[\(list)] AS list, \("tail") AS tail"
        let row = try connect().query("SELECT list, tail, \(nil as Int?) AS nothing FROM (\(nested)) AS q").only()
        #expect(try row.get("list") == values)
        #expect(try row.get("tail") == "tail")
        #expect(try row.get("nothing", as: Int?.self) == nil)
    }

    @Test(.scratchDatabase) func `a hostile value is only a value`() throws {
        let connection = try connect()
        try connection.query("CREATE TABLE t (name text)")
        let hostile = ["'; DROP TABLE t; --", "$1", "\\'; --", "{\"a\"}", "%s", "\u{202E}"]
        for name in hostile { try connection.query("INSERT INTO t VALUES (\(name))") }
        #expect(try connection.query("SELECT name FROM t").map { try $0.get(0, as: String.self) } == hostile)
    }

    @Test(.scratchDatabase) func `a zero byte is refused before anything is sent`() throws {
        let connection = try connect()
        try connection.transaction { connection in
            let error = try postgresError { try connection.query("SELECT \("a\0b")::text") }
            #expect(error.sqlState == "22021")
            // Refused on our side, so the transaction goes on as one.
            try connection.query("CREATE TABLE t ()")
            #expect(connection.hasOpenTransaction)
        }
        #expect(try connection.query("SELECT \(["ok"]) AS list").only().get("list", as: [String].self) == ["ok"])
    }
}
