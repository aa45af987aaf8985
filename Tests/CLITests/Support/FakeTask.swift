import Domain
import Threads

@testable import CLI

/// The gateway's side of one task: its events come to light step by step as they are asked for.
final class FakeTask: Sendable {
    static let id = "01JZ0000000000000000000001"

    private struct State {
        var revealed: Int
        var eventCalls = 0
    }

    private let state: Lock<State>
    private let events: [String]
    private let finalStatus: String
    private let pace: Int
    private let detail: String
    private let fault: @Sendable (Int, ScriptedServer.Request) -> ScriptedServer.Answer?

    /// - Parameters:
    ///   - types: event types in order; the last is the final one, unless `finalStatus` is nil.
    ///   - pace: how many events each look at the events adds; 0 shows all from the start.
    ///   - fault: may answer the n-th events call (from 1) in the task's place.
    init(
        _ types: [String], finalStatus: String? = "COMPLETED", pace: Int = 0, detail: String = "",
        fault: @escaping @Sendable (Int, ScriptedServer.Request) -> ScriptedServer.Answer? = { _, _ in nil }
    ) {
        events = types.enumerated().map { index, type in
            """
            {"event_id":"\(Self.eventID(index + 1))","seq":\(index + 1),"event_type":"\(type)",\
            "timestamp":"2026-03-01T12:00:00Z","metadata":{"turn":\(index + 1),"milestone":"m\(index + 1)"}}
            """
        }
        self.finalStatus = finalStatus ?? ""
        self.pace = pace
        self.detail = detail
        self.fault = fault
        state = Lock(State(revealed: pace == 0 ? types.count : 0))
    }

    static func eventID(_ number: Int) -> String {
        ULID.make(milliseconds: 1_772_366_400_000 + Int64(number), random: [UInt8](repeating: 0, count: 16))
    }

    var status: String {
        let isOver = state.withLock { $0.revealed } >= events.count
        return isOver && !finalStatus.isEmpty ? finalStatus : "RUNNING"
    }

    func answer(_ request: ScriptedServer.Request) -> ScriptedServer.Answer {
        switch (request.method, request.path) {
        case ("GET", "/v1/tasks/\(Self.id)/status"):
            .json(200, "{\"data\":{\"task_id\":\"\(Self.id)\",\"status\":\"\(status)\",\"turn\":3}}")
        case ("GET", "/v1/tasks/\(Self.id)"):
            .json(200, "{\"data\":{\"task_id\":\"\(Self.id)\",\"status\":\"\(status)\"\(detail)}}")
        case ("GET", "/v1/tasks/\(Self.id)/events"): page(request)
        default: .json(404, "{\"error\":{\"code\":\"TASK_NOT_FOUND\",\"message\":\"no such task\"}}")
        }
    }

    private func page(_ request: ScriptedServer.Request) -> ScriptedServer.Answer {
        let (call, shown) = state.withLock { state in
            state.eventCalls += 1
            return (state.eventCalls, state.revealed)
        }
        if let answer = fault(call, request) { return answer }
        let limit = request.query["limit"].flatMap { Int($0) } ?? 50
        let from = request.query["after"].flatMap { after in
            (1...max(1, events.count)).first { Self.eventID($0) == after }
        }
        let rest = events[..<shown].dropFirst(from ?? 0)
        let page = rest.prefix(limit)
        state.withLock { $0.revealed = min(events.count, $0.revealed + pace) }
        return .json(
            200,
            "{\"data\":[\(page.joined(separator: ","))],\"pagination\":{\"has_more\":\(page.count < rest.count)}}")
    }
}
