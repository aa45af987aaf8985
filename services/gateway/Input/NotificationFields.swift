import Domain

/// `{"slack": {"enabled": true, "channel": "#builds", "events": ["default"]}}`: the same for tasks, repositories and
/// people.
extension FieldReader {
    mutating func notifications(_ purpose: String) -> Change<JSONValue> {
        let schema: JSONValue = [
            "type": "object", "maxProperties": 16, "description": .string(purpose),
            "additionalProperties": [
                "type": "object", "additionalProperties": false,
                "properties": [
                    "enabled": ["type": ["boolean", "null"]],
                    "channel": ["type": ["string", "null"], "maxLength": 200],
                    "events": [
                        "description": "\"default\", \"verbose\", or names of events",
                        "type": ["string", "array", "null"], "items": ["type": "string"],
                    ],
                ],
            ],
        ]
        return value("notifications", schema: schema) { value in
            guard let channels = value.object, channels.count <= 16 else {
                return .problem("must be an object of at most 16 channels")
            }
            var checked: [String: JSONValue] = [:]
            for (name, settings) in channels.sorted(by: { $0.key < $1.key }) {
                guard Self.isChannelName(name) else {
                    return .problem(
                        "names a channel \(Self.quoted(name)): lower-case letters, digits and '-' are meant")
                }
                guard var members = settings.object else { return .problem(".\(name) must be an object") }
                if let problem = Self.problem(with: members) { return .problem(".\(name)\(problem)") }
                // One form is stored, so that whoever routes has one to read.
                if let word = members["events"]?.string { members["events"] = [.string(word)] }
                checked[name] = .object(members.filter { !$0.value.isNull })
            }
            return .value(.object(checked))
        }
    }

    private static let settings: Set<String> = ["enabled", "channel", "events"]

    private static func problem(with members: [String: JSONValue]) -> String? {
        for (key, value) in members.sorted(by: { $0.key < $1.key }) {
            guard settings.contains(key) else { return " has \(quoted(key)), which is not a known field" }
            switch key {
            case _ where value.isNull: continue
            case "enabled": if value.bool == nil { return ".enabled must be true or false" }
            case "channel":
                guard let text = value.string, (1...200).contains(text.unicodeScalars.count),
                    !text.unicodeScalars.contains(where: { $0.value < 0x20 })
                else { return ".channel must be a text of 1 to 200 characters" }
            default:
                let words = value.string.map { [JSONValue.string($0)] } ?? value.array
                guard let words, words.count <= 64 else { return ".events must be a list of event names" }
                for word in words {
                    guard let name = word.string, isEventName(name) else {
                        return ".events holds \(quoted(word.string ?? word.text)), which is no event"
                    }
                }
            }
        }
        return nil
    }

    private static func isEventName(_ name: String) -> Bool {
        name == "default" || name == "verbose" || TaskEventType(rawValue: name) != nil
    }

    private static func isChannelName(_ name: String) -> Bool {
        guard let first = name.utf8.first, (97...122).contains(first), name.utf8.count <= 31 else { return false }
        return name.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
    }
}
