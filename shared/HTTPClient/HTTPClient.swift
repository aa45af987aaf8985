import HTTPTypes
import Lifecycle

/// Sends HTTP requests. Connections are kept and used again; redirects, cookies and proxies are off unless asked for.
///
/// Whoever calls decides about retries: an error says whether trying again may help, and whether the server may have
/// seen the request. Writes nothing to any log.
package final class HTTPClient: Sendable {
    /// What holds for all requests of a client.
    package struct Options: Sendable {
        /// Names the threads.
        package var name = "http-client"
        /// How many `send` run at once; more wait in line.
        package var threads = 4
        /// Sent unless a request names its own.
        package var userAgent = "bgagent"
        /// Authorities to trust beside the system's, as one PEM file.
        package var caFile: String?
        /// Where the system keeps the authorities that it trusts, each under its hash.
        package var caDirectory = "/etc/ssl/certs"

        package init(
            name: String = "http-client", threads: Int = 4, userAgent: String = "bgagent", caFile: String? = nil
        ) {
            self.name = name
            self.threads = threads
            self.userAgent = userAgent
            self.caFile = caFile
        }
    }

    /// A transfer on its way between threads. Sendable because the pool hands it to one thread at a time.
    private struct Parked: @unchecked Sendable {
        let transfer: Transfer
    }

    private struct State {
        var idle: [Parked] = []
        var threads: IOThreads?
        var isStopped = false
    }

    /// More idle handles than this are closed, with their connections.
    private static let idleLimit = 16

    private let options: Options
    private let state = Lock(State())

    /// Starts nothing: threads come with the first `send`.
    package init(_ options: Options = Options()) {
        self.options = options
    }

    /// Sends from one of the client's threads and returns the whole response, whatever its status.
    ///
    /// Cancelling the Swift task ends the exchange with `.cancelled`.
    /// - Throws: `HTTPClientError`; after `stop` its code is `.cancelled`.
    package func send(_ request: ClientRequest) async throws -> ClientResponse {
        let threads = try state.withLock { state in
            if state.isStopped {
                throw HTTPClientError(.cancelled, "the client is stopped", mayHaveReachedServer: false)
            }
            if let threads = state.threads { return threads }
            let threads = IOThreads(name: options.name, count: options.threads)
            state.threads = threads
            return threads
        }
        let cancellation = Cancellation()
        return try await withTaskCancellationHandler {
            try await threads.run { try self.exchange(request, cancellation) }
        } onCancel: {
            cancellation.cancel()
        }
    }

    /// The same on the calling thread, which must be one that may block.
    ///
    /// - Throws: `HTTPClientError`.
    package func sendBlocking(_ request: ClientRequest) throws -> ClientResponse {
        try exchange(request, Cancellation())
    }

    /// Sends, waits for the head of the response, and returns it with the body still to be read.
    ///
    /// For threads that may block. `timeout` covers the body too: zero and an `idleTimeout` suit streams that last.
    /// - Throws: `HTTPClientError`.
    package func stream(_ request: ClientRequest) throws -> StreamingResponse {
        var request = request
        request.maxResponseBytes = 0
        let cancellation = Cancellation()
        let transfer = try take()
        do {
            try transfer.begin(request, options: options, cancellation: cancellation)
            try transfer.advance { transfer.isHeadComplete }
        } catch {
            give(back: transfer)
            throw error
        }
        let parked = Parked(transfer: transfer)
        return StreamingResponse(transfer, cancellation) { self.give(back: parked.transfer) }
    }

    /// Finishes what was handed to `send` and ends the threads; later calls of `send` throw.
    package func stop() async {
        let threads = state.withLock { state in
            state.isStopped = true
            return state.threads
        }
        await threads?.stopped()
    }

    private func exchange(_ request: ClientRequest, _ cancellation: Cancellation) throws -> ClientResponse {
        let transfer = try take()
        defer { give(back: transfer) }
        try transfer.begin(request, options: options, cancellation: cancellation)
        try transfer.advance { false }
        return ClientResponse(status: transfer.status, headers: transfer.headers, body: transfer.takeBody())
    }

    /// The handle that came back last: its connections are the warmest.
    private func take() throws -> Transfer {
        if let parked = state.withLock({ $0.idle.popLast() }) { return parked.transfer }
        return try Transfer()
    }

    private func give(back transfer: Transfer) {
        transfer.end()
        let parked = Parked(transfer: transfer)
        state.withLock { state in
            if state.idle.count < Self.idleLimit { state.idle.append(parked) }
        }
    }
}
