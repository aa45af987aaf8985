import CCurl
import Glibc
import Lifecycle

/// A mail to hand over.
package struct SMTPMessage: Sendable {
    /// Envelope sender, the bare address; empty for bounces.
    package var from: String
    /// Envelope recipients, bare addresses. One that is refused refuses the mail for all.
    package var recipients: [String]
    /// The whole message as RFC 5322 wants it, lines ended by CRLF. Leading dots need no care.
    package var content: [UInt8]

    package init(from: String, recipients: [String], content: [UInt8]) {
        self.from = from
        self.recipients = recipients
        self.content = content
    }
}

/// The server that takes mail.
package struct SMTPConfig: Sendable {
    /// When the connection is encrypted.
    package enum Security: Sendable {
        /// Never by STARTTLS (`smtps://` is encrypted from the start).
        case none
        /// STARTTLS when the server offers it.
        case whenOffered
        /// STARTTLS or no mail.
        case required
    }

    /// `smtp://host:port` or `smtps://host:port`.
    package var url: String
    package var user: String?
    package var password: String?
    package var security = Security.whenOffered
    /// The name given in EHLO.
    package var clientName = "localhost"
    /// Authorities to trust beside the system's, as one PEM file.
    package var caFile: String?
    package var timeout = Duration.seconds(30)

    package init(url: String, user: String? = nil, password: String? = nil, security: Security = .whenOffered) {
        self.url = url
        self.user = user
        self.password = password
        self.security = security
    }
}

/// A mail was not handed over, as far as we know.
package struct SMTPError: Error, Hashable, CustomStringConvertible {
    package let code: HTTPClientError.Code
    /// The server's last reply code, 0 when there was none.
    package let replyCode: Int
    /// The server's last reply line or the reason in words.
    package let reason: String
    /// True when the whole mail was sent and no verdict came: it may arrive.
    package let mayHaveBeenAccepted: Bool

    /// True when the server, or the network, may take it later: no 5xx reply.
    package var isRetryable: Bool {
        switch code {
        case .tls, .invalidRequest: false
        default: replyCode / 100 != 5
        }
    }

    package var description: String {
        "mail not sent: \(reason)"
    }
}

extension HTTPClient {
    /// Hands one mail over and returns the server's last reply (`250 … queued as …`). Blocks the calling thread.
    ///
    /// - Throws: `SMTPError`.
    @discardableResult
    package static func sendMail(_ message: SMTPMessage, _ config: SMTPConfig) throws -> String {
        try MailTransfer(message).send(config)
    }

    /// Says hello to the server, encrypts and logs in as a mail would, and leaves without handing one over. Blocks.
    ///
    /// - Throws: `SMTPError`.
    package static func greetMailServer(_ config: SMTPConfig) throws {
        try MailTransfer(SMTPMessage(from: "", recipients: [], content: [])).greet(config)
    }
}

/// One mail on its way; lives for one call.
private final class MailTransfer {
    private let message: SMTPMessage
    private var sent = 0
    private var isContentDone = false
    private var lastReply = ""

    init(_ message: SMTPMessage) {
        self.message = message
    }

    func send(_ config: SMTPConfig) throws -> String {
        let forbidden = Set("<>\u{7F}".utf8).union(0...32)
        for address in [message.from] + message.recipients where address.utf8.contains(where: forbidden.contains) {
            throw failure(.invalidRequest, "an address cannot be sent")
        }
        guard !message.recipients.isEmpty else { throw failure(.invalidRequest, "no recipients") }
        guard curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK, let easy = curl_easy_init() else {
            throw failure(.protocolViolation, "no handle")
        }
        defer { curl_easy_cleanup(easy) }
        var recipients: UnsafeMutablePointer<curl_slist>?
        defer { curl_slist_free_all(recipients) }
        for recipient in message.recipients { recipients = curl_slist_append(recipients, "<\(recipient)>") }
        configure(easy, config)
        configureContent(easy)
        bg_curl_set_list(easy, CURLOPT_MAIL_RCPT, recipients)
        return try perform(easy)
    }

    func greet(_ config: SMTPConfig) throws {
        guard curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK, let easy = curl_easy_init() else {
            throw failure(.protocolViolation, "no handle")
        }
        defer { curl_easy_cleanup(easy) }
        configure(easy, config)
        // Without recipients the library would ask for help, which not every server gives.
        bg_curl_set_string(easy, CURLOPT_CUSTOMREQUEST, "NOOP")
        bg_curl_set_long(easy, CURLOPT_NOBODY, 1)
        _ = try perform(easy)
    }

    private func perform(_ easy: UnsafeMutableRawPointer) throws -> String {
        let result = curl_easy_perform(easy)
        let replyCode = bg_curl_get_long(easy, CURLINFO_RESPONSE_CODE)
        if result == CURLE_OK { return lastReply }
        let reason = HTTPClientError(
            result, systemError: bg_curl_get_long(easy, CURLINFO_OS_ERRNO),
            verdict: bg_curl_get_long(easy, CURLINFO_SSL_VERIFYRESULT), origin: "", mayHaveReachedServer: false)
        let isRefused = replyCode >= 400
        throw SMTPError(
            code: reason.code, replyCode: replyCode, reason: isRefused ? lastReply : reason.reason,
            mayHaveBeenAccepted: isContentDone && !isRefused)
    }

    private func failure(_ code: HTTPClientError.Code, _ reason: String) -> SMTPError {
        SMTPError(code: code, replyCode: 0, reason: reason, mayHaveBeenAccepted: false)
    }

    private func configure(_ easy: UnsafeMutableRawPointer, _ config: SMTPConfig) {
        let base = config.url.hasSuffix("/") ? String(config.url.dropLast()) : config.url
        bg_curl_set_string(easy, CURLOPT_URL, "\(base)/\(config.clientName)")
        bg_curl_set_string(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps")
        bg_curl_set_string(easy, CURLOPT_PROXY, "")
        bg_curl_set_long(easy, CURLOPT_NOSIGNAL, 1)
        bg_curl_set_long(easy, CURLOPT_TIMEOUT_MS, Int(config.timeout.wholeMilliseconds))
        bg_curl_set_long(easy, CURLOPT_SSLVERSION, 6)
        let security =
            switch config.security {
            case .none: 0
            case .whenOffered: 1
            case .required: 3
            }
        bg_curl_set_long(easy, CURLOPT_USE_SSL, security)
        if let file = config.caFile {
            bg_curl_set_string(easy, CURLOPT_CAINFO, file)
            bg_curl_set_string(easy, CURLOPT_CAPATH, "/etc/ssl/certs")
        }
        if let user = config.user { bg_curl_set_string(easy, CURLOPT_USERNAME, user) }
        if let password = config.password { bg_curl_set_string(easy, CURLOPT_PASSWORD, password) }
        bg_curl_set_sockopt(easy, closeOnExec)
        let context = Unmanaged.passUnretained(self).toOpaque()
        bg_curl_set_callback(easy, CURLOPT_HEADERFUNCTION, receiveReply)
        bg_curl_set_pointer(easy, CURLOPT_HEADERDATA, context)
        bg_curl_set_callback(easy, CURLOPT_WRITEFUNCTION, receiveReply)
        bg_curl_set_pointer(easy, CURLOPT_WRITEDATA, context)
    }

    private func configureContent(_ easy: UnsafeMutableRawPointer) {
        bg_curl_set_string(easy, CURLOPT_MAIL_FROM, "<\(message.from)>")
        bg_curl_set_long(easy, CURLOPT_UPLOAD, 1)
        bg_curl_set_offset(easy, CURLOPT_INFILESIZE_LARGE, Int64(message.content.count))
        bg_curl_set_callback(easy, CURLOPT_READFUNCTION, sendContent)
        bg_curl_set_pointer(easy, CURLOPT_READDATA, Unmanaged.passUnretained(self).toOpaque())
    }

    fileprivate func fill(_ buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(buffer.count, message.content.count - sent)
        message.content.withUnsafeBytes {
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[sent..<(sent + count)]))
        }
        sent += count
        if sent == message.content.count { isContentDone = true }
        return count
    }

    fileprivate func received(_ line: UnsafeRawBufferPointer) {
        // QUIT's answer comes after the verdict and says nothing.
        let text = String(decoding: line, as: UTF8.self).split(whereSeparator: \.isNewline).last.map(String.init) ?? ""
        if !text.hasPrefix("221") { lastReply = text }
    }
}

private func sendContent(
    _ data: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let context else { return 0 }
    let mail = Unmanaged<MailTransfer>.fromOpaque(context).takeUnretainedValue()
    return mail.fill(UnsafeMutableRawBufferPointer(start: data, count: size * count))
}

private func receiveReply(
    _ data: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let context else { return 0 }
    let mail = Unmanaged<MailTransfer>.fromOpaque(context).takeUnretainedValue()
    mail.received(UnsafeRawBufferPointer(start: data, count: size * count))
    return size * count
}
