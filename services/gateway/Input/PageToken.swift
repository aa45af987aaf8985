import Crypto

/// Where a list goes on, opaque to clients: the sort keys of the last entry. It grants nothing (every page checks who
/// asks), so it is validated and not signed.
struct PageToken {
    private static let version = "1"

    let keys: [String]

    init(keys: [String]) {
        self.keys = keys
    }

    /// Nil for anything that `text` did not write.
    init?(_ text: String) {
        guard text.utf8.count <= 1024, let bytes = Base64.decodeURL(text),
            let plain = String(validating: bytes, as: UTF8.self), !plain.contains("\0")
        else { return nil }
        let parts = plain.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        guard parts.count > 1, parts[0] == Self.version else { return nil }
        keys = Array(parts.dropFirst())
    }

    var text: String {
        Base64.encodeURL(Array(([Self.version] + keys).joined(separator: "\n").utf8))
    }
}
