import Config
import Domain

/// What fanout is told.
struct FanoutConfig: Sendable {
    let service: ServiceConfig
    /// The platform's own preferences, below those of users, repositories and tasks.
    let notifications: JSONValue

    init(_ environment: inout Environment) {
        service = ServiceConfig(&environment, name: "fanout")
        let text = environment.string(
            "BGAGENT_NOTIFICATIONS", default: "{}",
            "who hears of what where nobody said otherwise, as JSON: {\"slack\":{\"events\":[\"verbose\"]}}")
        let value = try? JSONText.decode(JSONValue.self, text)
        if value?.object == nil { environment.reject("BGAGENT_NOTIFICATIONS is no JSON object.") }
        notifications = value ?? [:]
    }
}
