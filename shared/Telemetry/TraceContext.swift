/// Where a piece of work belongs in a distributed trace: the W3C `traceparent`.
package struct TraceContext: Sendable, Hashable, CustomStringConvertible {
    /// 32 lower-case hex digits, the same for everything that one task causes.
    package let traceID: String
    /// 16 lower-case hex digits, this piece of work.
    package let spanID: String
    /// True when someone upstream records the trace.
    package let isSampled: Bool

    private init(traceID: String, spanID: String, isSampled: Bool) {
        self.traceID = traceID
        self.spanID = spanID
        self.isSampled = isSampled
    }

    /// Reads a `traceparent` header; nil when it does not follow the W3C recommendation.
    ///
    /// A version above 00 may carry more fields behind a dash; they are dropped.
    package init?(traceparent: String) {
        let bytes = Array(traceparent.utf8)
        guard bytes.count >= 55, bytes[2] == Self.dash, bytes[35] == Self.dash, bytes[52] == Self.dash else {
            return nil
        }
        let version = bytes[0..<2]
        let (trace, span, flags) = (bytes[3..<35], bytes[36..<52], bytes[53..<55])
        guard [version, trace, span, flags].allSatisfy({ $0.allSatisfy(Self.isHex) }) else { return nil }
        guard version != [0x66, 0x66], trace.contains(where: { $0 != 0x30 }), span.contains(where: { $0 != 0x30 })
        else { return nil }
        let isFirstVersion = version == [0x30, 0x30]
        guard bytes.count == 55 || (!isFirstVersion && bytes[55] == Self.dash) else { return nil }
        traceID = String(decoding: trace, as: UTF8.self)
        spanID = String(decoding: span, as: UTF8.self)
        isSampled = (UInt8(String(decoding: flags, as: UTF8.self), radix: 16) ?? 0) & 1 == 1
    }

    /// The start of a new trace.
    package static func make(isSampled: Bool = true) -> TraceContext {
        TraceContext(traceID: randomHex(words: 2), spanID: randomHex(words: 1), isSampled: isSampled)
    }

    /// The start of a new trace that is recorded with this probability.
    ///
    /// The trace's id decides, as every service that knows the ratio would: the upper bound of its last 56 bits.
    package static func make(ratio: Double) -> TraceContext {
        let trace = make()
        let number = UInt64(trace.traceID.suffix(14), radix: 16) ?? 0
        let threshold = (1 - min(max(ratio, 0), 1)) * Double(UInt64(1) << 56)
        return TraceContext(traceID: trace.traceID, spanID: trace.spanID, isSampled: Double(number) >= threshold)
    }

    /// The piece of work that this one's part of that name is: the same name gives the same id, in every process and
    /// after every restart. So a part can be named as a parent before, or long after, its own span is told.
    package func part(_ name: String) -> TraceContext {
        // FNV-1a: ids have to differ within one trace, nobody has to be kept from guessing them.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in "\(spanID)/\(name)".utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return TraceContext(traceID: traceID, spanID: Self.hex(hash == 0 ? 1 : hash), isSampled: isSampled)
    }

    /// A new piece of work in the same trace.
    package func child() -> TraceContext {
        TraceContext(traceID: traceID, spanID: Self.randomHex(words: 1), isSampled: isSampled)
    }

    /// The header's value, version 00.
    package var traceparent: String {
        "00-\(traceID)-\(spanID)-\(isSampled ? "01" : "00")"
    }

    package var description: String {
        traceparent
    }

    private static let dash = UInt8(ascii: "-")

    private static func isHex(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
    }

    /// Random, never all zero, which would mean "no trace".
    private static func randomHex(words: Int) -> String {
        var text = ""
        for _ in 0..<words { text += hex(UInt64.random(in: 1...UInt64.max)) }
        return text
    }

    private static func hex(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
