extension PostgresError {
    /// The library's words for a failed connection, and what to set where TLS is the reason.
    static func withAdvice(_ message: String) -> String {
        guard let advice = advices.first(where: { message.contains($0.words) })?.advice else { return message }
        return "\(message): \(advice)"
    }

    /// Its texts are not translated in our processes, which never choose a locale.
    private static let advices: [(words: String, advice: String)] = [
        (
            "certificate verify failed",
            "the server's certificate has expired, or comes from another authority than sslrootcert in the database URL"
                + " or BGAGENT_CA_FILE names"
        ),
        (
            "does not match host name",
            "write a host name of the server's certificate into the database URL, or give the server one for this name"
        ),
        (
            "root certificate file",
            "name the authority of the server's certificate as sslrootcert in the database URL or in BGAGENT_CA_FILE"
        ),
        (
            "server does not support SSL",
            "switch ssl on in the server's configuration, or correct sslmode in the database URL"
        ),
    ]
}
