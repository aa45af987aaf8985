import Threads

/// A file that a secret is read from.
package struct SecretFile: Sendable, Hashable {
    /// The variable that names it.
    package let variable: String
    package let path: String

    package init(variable: String, path: String) {
        self.variable = variable
        self.path = path
    }

    /// Those that this process was started with.
    package static let used = SecretFileList()
}

/// A list that is set once, by the loading of the settings.
package final class SecretFileList: Sendable {
    private let files = Lock<[SecretFile]>([])

    package var all: [SecretFile] { files.withLock { $0 } }

    func set(_ all: [SecretFile]) { files.withLock { $0 = all } }
}
