/// Which statements a connection has prepared, by text and parameter types; the least used give way.
struct StatementCache {
    /// Prepared statements cost the server memory for as long as the session lives.
    static let capacity = 256

    /// What makes two statements the same to the server.
    struct Key: Hashable {
        let sql: String
        let types: [UInt32]

        init(_ query: Query) {
            sql = query.sql
            types = query.values.map(\.oid)
        }
    }

    private struct Entry {
        let name: String
        var lastUse: Int
    }

    private var entries: [Key: Entry] = [:]
    private var clock = 0
    private var names = 0
    /// Names that are prepared on the server and not used any more.
    private(set) var retired: [String] = []

    var count: Int { entries.count }

    /// The name under which the statement is prepared.
    mutating func name(for key: Key) -> String? {
        guard let index = entries.index(forKey: key) else { return nil }
        clock += 1
        entries.values[index].lastUse = clock
        return entries.values[index].name
    }

    /// A name never used before on this connection.
    mutating func makeName() -> String {
        names += 1
        return "s\(names)"
    }

    /// Remembers a statement once the server has prepared it. A full cache lets its oldest eighth go at once.
    mutating func insert(_ name: String, for key: Key) {
        clock += 1
        if let other = entries.updateValue(Entry(name: name, lastUse: clock), forKey: key) {
            retired.append(other.name)
        }
        guard entries.count > Self.capacity else { return }
        for (key, entry) in entries.sorted(by: { $0.value.lastUse < $1.value.lastUse }).prefix(Self.capacity / 8) {
            retired.append(entry.name)
            entries[key] = nil
        }
    }

    /// Gives up every statement: the tables under them changed.
    mutating func retireAll() {
        retired += entries.values.map(\.name)
        entries.removeAll()
    }

    /// Hands over the names to deallocate.
    mutating func takeRetired() -> [String] {
        defer { retired = [] }
        return retired
    }
}
