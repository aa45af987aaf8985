import CLinux
import CMicroHTTPD
import Glibc
import Lifecycle

/// A socket that listens. The kernel queues connections from the moment it exists.
final class ListenSocket: Sendable {
    /// The port it is bound to, whatever was asked for.
    let port: Int
    private let descriptor: Lock<Int32?>

    init(host: String, port: Int) throws {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, String(port), &hints, &found)
        defer { if let found { freeaddrinfo(found) } }
        guard code == 0, let address = found?.pointee, let name = address.ai_addr else {
            throw ServerError("cannot listen on \(host): \(String(cString: gai_strerror(code)))")
        }
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let opened = socket(address.ai_family, kind, 0)
        var yes: Int32 = 1
        setsockopt(opened, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        guard opened >= 0, bind(opened, name, address.ai_addrlen) == 0, listen(opened, 1024) == 0 else {
            let reason = String(cString: strerror(errno))
            if opened >= 0 { _ = Glibc.close(opened) }
            throw ServerError("cannot listen on \(host), port \(port): \(reason)")
        }
        var bound = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let number = withUnsafeMutablePointer(to: &bound) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(opened, $0, &length) }
            // The port stands at the same place for both families.
            return storage.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { $0.pointee.sin_port.bigEndian }
        }
        self.port = Int(number)
        descriptor = Lock(opened)
    }

    deinit {
        close()
    }

    /// The descriptor while it is open.
    var open: Int32? {
        descriptor.withLock { $0 }
    }

    /// Refuses connections from now on, while the descriptor's number stays open, as something of which nothing ever comes.
    /// With the socket itself it leaves every epoll set. From here on the number belongs to the caller.
    ///
    /// Returns false, and does nothing, when the process has no descriptor left for it or the socket is closed.
    func giveAwaySilenced() -> Bool {
        descriptor.withLock { descriptor in
            guard let open = descriptor, linux_silence(open) == 0 else { return false }
            descriptor = nil
            return true
        }
    }

    /// Refuses connections from now on. A second call does no harm.
    func close() {
        descriptor.withLock { descriptor in
            if let open = descriptor { _ = Glibc.close(open) }
            descriptor = nil
        }
    }
}

/// Lets the process open that many descriptors more than a few, as far as the system allows: the usual soft limit of 1024
/// would end long before the connection limit does.
func allowDescriptors(_ count: Int) {
    var limit = rlimit()
    let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    guard getrlimit(resource, &limit) == 0 else { return }
    let wanted = min(rlim_t(count + 1024), limit.rlim_max)
    if limit.rlim_cur < wanted {
        limit.rlim_cur = wanted
        setrlimit(resource, &limit)
    }
}

/// The address in words, without its port; IPv4 inside IPv6 is written as IPv4.
func addressText(_ address: UnsafePointer<sockaddr>) -> String {
    var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    let raw = UnsafeRawPointer(address)
    switch Int32(address.pointee.sa_family) {
    case AF_INET:
        var plain = raw.loadUnaligned(as: sockaddr_in.self).sin_addr
        inet_ntop(AF_INET, &plain, &buffer, socklen_t(buffer.count))
    case AF_INET6:
        var plain = raw.loadUnaligned(as: sockaddr_in6.self).sin6_addr
        inet_ntop(AF_INET6, &plain, &buffer, socklen_t(buffer.count))
    default: return ""
    }
    let text = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return text.hasPrefix("::ffff:") && text.contains(".") ? String(text.dropFirst(7)) : text
}
