import Domain
import HTTPClient

/// The engine did not do what it was asked, with what to do about it.
package struct EngineError: Error, CustomStringConvertible {
    /// What is wrong, as far as callers decide by it.
    package enum Code: Sendable, Hashable {
        /// No answer: nobody listens, or nobody answers in time.
        case unreachable
        case notFound
        /// It is there already, or not in a state for this.
        case conflict
        /// The proxy in front of the engine does not pass this.
        case refused
        /// The address is taken by another network.
        case addressTaken
        case other
    }

    package let code: Code
    /// What the engine said, and what to do.
    package let description: String
    /// The engine's answer as it came; nil when there was none.
    package private(set) var answer: Answer?

    /// A status and the engine's words.
    package struct Answer: Sendable, Hashable {
        package let status: Int
        package let message: String
    }

    package init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }

    /// No answer came.
    init(_ failure: HTTPClientError, at address: EngineAddress) {
        let what =
            switch failure.code {
            case .timeout: "does not answer in time"
            case .connect: "cannot be reached"
            default: "broke off (\(failure.reason))"
            }
        self.init(
            .unreachable,
            "The container engine at \(address) \(what). Check that it runs, that BGAGENT_ENGINE_URL names it, and "
                + "that this service may open its socket.")
    }

    /// An answer that is no success.
    init(status: Int, message: String) {
        let says = { (fragment: String) in message.contains(fragment) }
        if says(Self.proxyMark) {
            self.init(.refused, message)
        } else if says("No such image") || says("no such image") {
            self.init(
                .notFound,
                "\(message). Build or pull the image on the engine's host, or name another one in BGAGENT_AGENT_IMAGE.")
        } else if says("could not find an available") || says("all predefined address pools")
            || says("could not find free subnet")
        {
            self.init(
                .other,
                "\(message). The engine has no addresses left for one more network: name a range of your own in "
                    + "BGAGENT_AGENT_SUBNETS, or lower BGAGENT_CAPACITY.")
        } else if says("Pool overlaps") || says("is already used on the host") || says("overlaps") {
            self.init(.addressTaken, message)
        } else if says("quota") || says("Quota") || says("mounting volume") {
            self.init(
                .other,
                "\(message). The engine's storage has no quotas (XFS with pquota has): set BGAGENT_AGENT_WORKSPACE to "
                    + "memory, or to unlimited.")
        } else if says("unknown or invalid runtime") || says("nknown runtime") || says("runtime \"") {
            self.init(
                .other,
                "\(message). Install that runtime in the engine, or name another one in BGAGENT_AGENT_RUNTIME.")
        } else if status == 404 {
            self.init(.notFound, message)
        } else if status == 409 || says("already exists") || says("already connected") || says("already used")
            || says("can only kill running") || says("container state improper")
        {
            self.init(.conflict, message)
        } else {
            self.init(.other, "The container engine answered \(status): \(message)")
        }
        answer = Answer(status: status, message: message)
    }

    /// How every refusal of the engine proxy begins.
    package static let proxyMark = "engine proxy:"
}
