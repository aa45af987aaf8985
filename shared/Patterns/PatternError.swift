/// Why a pattern could not be compiled or a search not be finished.
package enum PatternError: Error, Hashable, CustomStringConvertible {
    /// The pattern is wrong at this byte, for this reason.
    case invalid(reason: String, offset: Int)
    /// The search took more steps or more time than `Pattern.Limits` grants. It says nothing about a match: a caller
    /// that guards something treats the text as if it matched.
    case tooExpensive
    /// The text is longer than `Pattern.Limits` grants.
    case tooLong(bytes: Int)
    /// The library refused for another reason (out of memory), with its code.
    case library(Int32)

    package var description: String {
        switch self {
        case .invalid(let reason, let offset): "the pattern is wrong at byte \(offset): \(reason)"
        case .tooExpensive: "the search took too long"
        case .tooLong(let bytes): "the text is too long to search (\(bytes) bytes)"
        case .library(let code): "the pattern library failed with code \(code)"
        }
    }
}
