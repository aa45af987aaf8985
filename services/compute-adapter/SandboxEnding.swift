/// Says how a sandbox ended.
enum SandboxEnding {
    static func exit(code: Int) -> String {
        switch code {
        case 0: "The sandbox ended by itself without a result."
        case 129...(128 + 64): "The sandbox was killed by signal \(code - 128)."
        case let code: "The sandbox ended with exit code \(code)."
        }
    }

    static func gigabytes(_ bytes: Int64) -> String {
        let tenths = (bytes * 10 + 1 << 29) >> 30
        if bytes < 1 << 30 { return "\(bytes >> 20) MB" }
        return tenths % 10 == 0 ? "\(tenths / 10) GB" : "\(tenths / 10).\(tenths % 10) GB"
    }
}
