import COpenSSL

/// The library refused to work: out of memory, or no source of randomness. Nothing that another try mends soon.
package struct CryptoError: Error, CustomStringConvertible {
    /// The library's function and its reason.
    package let description: String

    init(_ function: String) {
        var text = [CChar](repeating: 0, count: 256)
        let code = ERR_get_error()
        ERR_error_string_n(code, &text, text.count)
        let reason = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        description = code == 0 ? "\(function) failed" : "\(function): \(String(decoding: reason, as: UTF8.self))"
    }
}
