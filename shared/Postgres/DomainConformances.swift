import Domain

// What the product's own values are in a column: ids and enums are text, documents are jsonb.
extension ID: PostgresEncodable, PostgresDecodable {}
extension RepoName: PostgresEncodable, PostgresDecodable {}
extension TaskStatus: PostgresEncodable, PostgresDecodable {}
extension TaskEventType: PostgresEncodable, PostgresDecodable {}
extension TaskCommand: PostgresEncodable, PostgresDecodable {}
extension TimerKind: PostgresEncodable, PostgresDecodable {}
extension TaskOutcome: PostgresEncodable, PostgresDecodable {}

extension JSONValue: PostgresEncodable, PostgresDecodable {
    package static var postgresType: PostgresType { .jsonb }

    package func encode(into text: inout [UInt8]) -> Bool {
        text.append(contentsOf: self.text.utf8)
        return true
    }

    package init(cell: Cell) throws {
        do {
            self = try JSONText.decode(JSONValue.self, bytes: try cell.content())
        } catch let error as PostgresError {
            throw error
        } catch {
            throw cell.mismatch(JSONValue.self)
        }
    }
}
