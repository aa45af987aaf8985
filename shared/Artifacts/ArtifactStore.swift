/// Files of tasks that are no part of a repository and too large for a row. Which of them count, and how far, is the
/// database's to say: a store only keeps bytes under keys.
///
/// The one implementation is a directory. Another, such as an object store, has to keep the promise of `write` alone.
package protocol ArtifactStore: Sendable {
    /// How many bytes an object has; 0 when there is none.
    func count(_ key: String) throws -> Int64

    /// Makes `bytes` what the object holds from `offset` on, and nothing behind them. Durable when it returns.
    ///
    /// The same call may come again after a crash, and then does the same. What lies before `offset` is left as it is.
    ///
    /// - Parameter key: parts that are plain names, divided by `/`.
    /// - Throws: `ArtifactError`; the object may then hold any part of the bytes.
    func write(_ bytes: [UInt8], to key: String, at offset: Int64) throws

    /// Opens an object for reading; nil when there is none.
    func open(_ key: String) throws -> (any ArtifactReader)?

    /// Does nothing when there is none.
    func remove(_ key: String) throws

    /// All keys below a prefix, which is a key without its last parts. In no order.
    func keys(below prefix: String) throws -> [String]
}

/// An open object. It stays readable while it is open, also when it is removed meanwhile.
package protocol ArtifactReader: AnyObject, Sendable {
    /// Fills the front of `buffer` from `offset` on and returns how many bytes; 0 = the end.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws -> Int
    /// How many bytes there are now.
    func count() throws -> Int64
}

/// An object could not be kept, read or removed.
package struct ArtifactError: Error, CustomStringConvertible, Sendable {
    package let description: String
    /// There is no room for more.
    package let isFull: Bool

    package init(description: String, isFull: Bool = false) {
        self.description = description
        self.isFull = isFull
    }
}
