import FoundationEssentials

/// Random numbers that can be had again: the seed is printed, and `BGAGENT_TEST_SEED` sets it.
package struct Seed: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// A generator for one test; prints its seed under the test's name.
    package init(for test: String) {
        let set = ProcessInfo.processInfo.environment["BGAGENT_TEST_SEED"].flatMap { UInt64($0) }
        let seed = set ?? UInt64.random(in: 1...UInt64(UInt32.max))
        print("\(test): BGAGENT_TEST_SEED=\(seed)")
        state = seed
    }

    /// SplitMix64.
    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// True when the long form of a test was asked for.
package let isFullRun = ProcessInfo.processInfo.environment["BGAGENT_TEST_FULL"] == "1"
