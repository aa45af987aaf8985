/// What a transaction sees and may do.
package enum TransactionMode: Sendable {
    /// Each statement sees what was committed before it began.
    case readCommitted
    /// All statements see one snapshot; a write on a row changed since fails with 40001.
    case repeatableRead
    /// As if transactions ran one after the other; may fail with 40001 at any statement and at COMMIT.
    case serializable
    /// One snapshot, no writes.
    case readOnly

    var begin: Query {
        switch self {
        case .readCommitted: "BEGIN"
        case .repeatableRead: "BEGIN ISOLATION LEVEL REPEATABLE READ"
        case .serializable: "BEGIN ISOLATION LEVEL SERIALIZABLE"
        case .readOnly: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        }
    }
}
