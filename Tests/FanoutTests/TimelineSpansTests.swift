import Domain
import Postgres
import Store
import Telemetry
import Testing
import Tracing

@testable import Fanout

@Suite struct TimelineSpansTests {
    private static let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    private func at(_ milliseconds: Int64) -> Timestamp {
        Timestamp(microseconds: 1_700_000_000_000_000 + milliseconds * 1000)
    }

    private func timeline(status: String = "COMPLETED", traceparent: String = Self.traceparent) throws -> TaskTimeline {
        TaskTimeline(
            id: try #require(TaskID(rawValue: "01K9ZZZZZZZZZZZZZZZZZZZZZ1")), repo: "acme/shop",
            workflow: "coding/new-task-v1", model: "m", status: status, outcome: "pr_opened", errorCode: nil,
            traceparent: traceparent, attempts: 1, turns: 2, costMicros: 1500, createdAt: at(0), completedAt: at(10_000)
        )
    }

    private func session(_ attempt: Int, _ start: Int64, _ end: Int64) -> TaskTimeline.Session {
        TaskTimeline.Session(
            attempt: attempt, backend: "process", node: "n", requestedAt: at(start), claimedAt: at(start + 10),
            startedAt: at(start + 50), endedAt: at(end))
    }

    private func milestone(_ seq: Int64, _ name: String, _ time: Int64, attempt: Int = 1) -> TaskTimeline.Event {
        TaskTimeline.Event(seq: seq, type: "agent_milestone", attempt: attempt, at: at(time), milestone: name)
    }

    private func whole() throws -> [Span] {
        var told = try timeline()
        told.sessions = [session(1, 1000, 9000)]
        told.events = [
            TaskTimeline.Event(seq: 2, type: "hydration_started", attempt: 1, at: at(500)),
            milestone(3, "step:clone:start", 1100), milestone(4, "repo_cloned", 1500),
            milestone(5, "step:setup:start", 1500), milestone(6, "repo_setup_complete", 2000),
            milestone(7, "step:agent:start", 2010),
            TaskTimeline.Event(seq: 8, type: "agent_turn", attempt: 1, at: at(3000), turn: 1),
            TaskTimeline.Event(
                seq: 9, type: "agent_tool_result", attempt: 1, at: at(3500), turn: 1, tool: "Bash", failed: true,
                milliseconds: 400),
            TaskTimeline.Event(seq: 10, type: "agent_turn", attempt: 1, at: at(5000), turn: 2),
            milestone(11, "agent_execution_complete", 5100), milestone(12, "verify_started", 5200),
            milestone(13, "verify_failed", 6000),
            TaskTimeline.Event(seq: 14, type: "agent_turn", attempt: 1, at: at(6500), turn: 3),
            milestone(15, "verify_started", 6600), milestone(16, "verify_passed", 7000),
            milestone(17, "step:push:start", 7100), milestone(18, "step:push:complete", 8000),
            milestone(19, "step:finalize:start", 9000), milestone(20, "anything else", 9001),
        ]
        return TimelineSpans.of(told)
    }

    @Test func `a task's times become one tree, every parent among them or the request`() throws {
        let spans = try whole()
        let ids = Set(spans.map(\.context.spanID))
        #expect(ids.count == spans.count)
        for span in spans {
            #expect(span.context.traceID == "0af7651916cd43dd8448eb211c80319c")
            #expect(span.start <= span.end)
            let parent = try #require(span.parentID)
            #expect(ids.contains(parent) || (span.name == "task" && parent == "b7ad6b7169203331"), "\(span.name)")
            if let parent = spans.first(where: { $0.context.spanID == parent }) {
                #expect(span.start >= parent.start && span.end <= parent.end, "\(span.name) in \(parent.name)")
            }
        }
        #expect(
            spans.map(\.name).sorted() == [
                "admission", "agent", "claim", "clone", "execute_tool Bash", "push", "session", "setup", "task",
                "turn", "turn", "turn", "verify", "verify", "work",
            ])
        let services = Dictionary(grouping: spans, by: { $0.service ?? "" }).mapValues { Set($0.map(\.name)) }
        #expect(services["bgagent"] == ["task", "admission", "session", "claim"])
        #expect(services["agent"]?.contains("clone") == true && services.count == 2)
    }

    @Test func `a turn lasts from the end of the one before, a tool as long as the agent says`() throws {
        let spans = try whole()
        let turns = spans.filter { $0.name == "turn" }.sorted { $0.start < $1.start }
        func milliseconds(_ time: SpanTime) -> Int64 { time.nanoseconds / 1_000_000 - 1_700_000_000_000 }
        #expect(turns.map { milliseconds($0.start) } == [2010, 3500, 6000])
        #expect(turns.map { milliseconds($0.end) } == [3500, 5000, 6500])
        let tool = try #require(spans.first { $0.name.hasPrefix("execute_tool") })
        #expect(milliseconds(tool.start) == 3100 && milliseconds(tool.end) == 3500)
        #expect(tool.errorType == "tool_error" && tool.parentID == turns[0].context.spanID)
        let verify = spans.filter { $0.name == "verify" }
        #expect(verify.map(\.errorType) == ["verification_failed", nil])
    }

    @Test func `each attempt has its wait and its session, the lost one is an error`() throws {
        var told = try timeline()
        told.attempts = 2
        told.sessions = [session(1, 1000, 3000), session(2, 4000, 9000)]
        told.events = [
            TaskTimeline.Event(seq: 2, type: "hydration_started", attempt: 1, at: at(500)),
            milestone(3, "step:clone:start", 1500),
            TaskTimeline.Event(seq: 4, type: "attempt_lost", attempt: 1, at: at(3000)),
            TaskTimeline.Event(seq: 5, type: "hydration_started", attempt: 2, at: at(3900)),
            milestone(6, "step:clone:start", 4500, attempt: 2), milestone(7, "repo_cloned", 4600, attempt: 2),
        ]
        let spans = TimelineSpans.of(told)
        let sessions = spans.filter { $0.name == "session" }
        #expect(sessions.map(\.errorType) == ["attempt_lost", nil])
        let trace = try #require(TaskTrace(Self.traceparent))
        #expect(sessions.map(\.context) == [trace.session(1), trace.session(2)])
        #expect(
            spans.filter { $0.name == "admission" }.map { $0.end.nanoseconds - $0.start.nanoseconds } == [
                500_000_000, 900_000_000,
            ])
        #expect(spans.filter { $0.name == "clone" }.count == 2)
    }

    @Test func `a task that ends while it waits has a wait until its end; a failed one tells its code`() throws {
        var told = try timeline(status: "FAILED")
        told.errorCode = "queue_timeout"
        let spans = TimelineSpans.of(told)
        #expect(spans.map(\.name) == ["task", "admission"])
        #expect(spans[0].errorType == "queue_timeout")
        #expect(spans[1].end == spans[0].end)
        #expect(TimelineSpans.of(try timeline(status: "CANCELLED"))[0].errorType == nil)
    }

    @Test func `a trace that is not recorded has no spans`() throws {
        #expect(TimelineSpans.of(try timeline(traceparent: String(Self.traceparent.dropLast() + "0"))).isEmpty)
        #expect(TimelineSpans.of(try timeline(traceparent: "")).isEmpty)
    }

    @Test func `nothing that an agent wrote gets into a span, and a long tool name is cut`() throws {
        var told = try timeline()
        told.sessions = [session(1, 1000, 9000)]
        told.events = [
            milestone(3, "ghp_0123456789012345678901234567890123456", 1100),
            TaskTimeline.Event(
                seq: 4, type: "agent_tool_result", attempt: 1, at: at(2000), tool: String(repeating: "t", count: 3000),
                milliseconds: -5),
        ]
        let spans = TimelineSpans.of(told)
        #expect(spans.allSatisfy { $0.name.count < 100 && !$0.name.contains("ghp_") })
        #expect(spans.contains { $0.name.hasPrefix("execute_tool ttt") && $0.start == $0.end })
    }
}
