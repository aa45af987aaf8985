import HTTPTypes
import Threads
import Tracing

/// A body whose span ends when nobody reads it any more.
final class TracedReader: BodyReader {
    private let inner: any BodyReader
    private let span: LiveSpan
    private let failure = Lock<String?>(nil)

    init(_ inner: any BodyReader, _ span: LiveSpan) {
        self.inner = inner
        self.span = span
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        do {
            return try inner.read(into: buffer)
        } catch {
            failure.withLock { $0 = String(describing: type(of: error)) }
            throw error
        }
    }

    func close() {
        inner.close()
        span.finish(errorType: failure.withLock { $0 })
    }

    func cancel() { inner.cancel() }
}
