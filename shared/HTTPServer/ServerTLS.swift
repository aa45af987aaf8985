import FoundationEssentials

/// What a server shows of itself before it is spoken to: TLS 1.2 and newer.
package struct ServerTLS: Sendable {
    /// The certificate, then those between it and the authority, as PEM.
    let certificate: String
    /// Its private key, as PEM without a password.
    let key: String

    /// Reads both files.
    ///
    /// - Throws: `ServerError`, saying which file and what to do.
    package init(certificateFile: String, keyFile: String) throws {
        certificate = try Self.read(certificateFile, "certificate", mark: "-----BEGIN CERTIFICATE-----")
        key = try Self.read(keyFile, "private key", mark: "PRIVATE KEY-----")
        if key.contains("ENCRYPTED") {
            throw ServerError("the private key in \(keyFile) has a password; write it without one (openssl pkey)")
        }
    }

    private static func read(_ path: String, _ what: String, mark: String) throws -> String {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw ServerError("\(path) cannot be read; check that it exists and who may read it")
        }
        guard text.contains(mark) else { throw ServerError("\(path) holds no \(what); write it as PEM") }
        return text
    }
}
