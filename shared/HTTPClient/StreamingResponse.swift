import HTTPTypes
import Lifecycle

/// A response whose body is pulled by its reader: for proxies that pass it on as it comes.
///
/// Can be handed to a server as the reader of `Reply.stream` as it is.
package final class StreamingResponse: BodyReader, @unchecked Sendable {
    // Sendable because the transfer is reached under the lock alone; `cancel` goes around it on purpose.
    package let status: Int
    package let headers: Headers

    private let transfer: Lock<Transfer?>
    private let cancellation: Cancellation
    private let release: @Sendable () -> Void

    init(_ transfer: Transfer, _ cancellation: Cancellation, release: @escaping @Sendable () -> Void) {
        status = transfer.status
        headers = transfer.headers
        let held = Held(transfer: transfer)
        self.transfer = Lock(held.transfer)
        self.cancellation = cancellation
        self.release = release
    }

    /// Sendable for the one moment of handing the transfer to its lock.
    private struct Held: @unchecked Sendable {
        let transfer: Transfer
    }

    deinit {
        close()
    }

    /// Blocks until some of the body is there and fills the front of `buffer`; 0 at the end.
    ///
    /// - Throws: `HTTPClientError` when the body broke off, fell silent for `idleTimeout`, or was cancelled.
    package func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        try transfer.withLock { transfer in
            guard let transfer, !buffer.isEmpty else { return 0 }
            if transfer.pending == 0 { try transfer.advance { transfer.pending > 0 } }
            return transfer.take(into: buffer)
        }
    }

    /// The next part of the body, at most 64 KB; nil at the end.
    package func read() throws -> [UInt8]? {
        let part = try [UInt8](unsafeUninitializedCapacity: 65536) { buffer, count in
            count = try read(into: UnsafeMutableRawBufferPointer(buffer))
        }
        return part.isEmpty ? nil : part
    }

    /// Gives the connection back, or drops it when the body was not read to its end.
    package func close() {
        let wasOpen = transfer.withLock { transfer in
            defer { transfer = nil }
            return transfer != nil
        }
        if wasOpen { release() }
    }

    /// Makes a blocked `read` throw `.cancelled`, from any thread.
    package func cancel() {
        cancellation.cancel()
    }
}
