import HTTPTypes
import Testing

@testable import CLI

@Suite struct SteeringVerbTests {
    private static let task = "01JZ0000000000000000000001"
    private static let request = "01JZ0000000000000000000002"

    @Test func `a second question is refused at once, and never asked later on its own`() async throws {
        let server = try ScriptedServer { _ in
            .json(
                429, #"{"error":{"code":"ASK_OPEN","message":"your question X waits for its answer; one at a time"}}"#,
                ["Retry-After": "5"])
        }
        let session = Session(server)
        let outcome = await session.run("ask", Self.task, "and now?", "--no-wait")
        #expect(outcome.code == .failure)
        #expect(outcome.errors.contains("your question X waits"))
        #expect(outcome.errors.contains("bgagent asks list"))
        #expect(server.requests.count == 1)
        #expect(session.pauses.isEmpty)
    }

    @Test func `a request that does not wait any more is decided all the same, so that the gateway says why not`()
        async throws
    {
        let server = try ScriptedServer { call in
            switch (call.method, call.path) {
            case ("GET", "/v1/tasks/\(Self.task)/approvals"):
                .json(200, #"{"data":[{"request_id":"x","task_id":"y","state":"DENIED"}]}"#)
            case ("GET", "/v1/approvals/\(Self.request)"):
                .json(200, #"{"data":{"request_id":"\#(Self.request)","task_id":"\#(Self.task)"}}"#)
            case ("POST", "/v1/tasks/\(Self.task)/approvals/\(Self.request)"):
                .json(409, #"{"error":{"code":"REQUEST_ALREADY_DECIDED","message":"ada has decided already"}}"#)
            default: .json(404, #"{"error":{"code":"TASK_NOT_FOUND","message":"there is no such task"}}"#)
            }
        }
        let late = await Session(server).run("deny", Self.request)
        #expect(late.code == .failure)
        #expect(late.errors.contains("ada has decided already"))
        let none = await Session(server).run("approve", Self.task)
        #expect(none.code == .failure)
        #expect(none.errors.contains("nothing of \(Self.task) waits for a decision"))
    }

    @Test func `a task suffices where one request waits; where several do they are named`() async throws {
        let open = #"{"request_id":"R1","task_id":"\#(Self.task)","state":"PENDING"}"#
        for (more, code) in [
            ("", ExitCode.success), (#",{"request_id":"R2","task_id":"t","state":"PENDING"}"#, .failure),
        ] {
            let server = try ScriptedServer { call in
                switch (call.method, call.path) {
                case ("GET", "/v1/tasks/\(Self.task)/approvals"):
                    .json(200, #"{"data":[{"request_id":"R0","task_id":"t","state":"DENIED"},\#(open)\#(more)]}"#)
                case ("POST", "/v1/tasks/\(Self.task)/approvals/R1"):
                    .json(200, #"{"data":{"request":{"summary":"push"}}}"#)
                default: .json(404, #"{"error":{"code":"REQUEST_NOT_FOUND","message":"none"}}"#)
                }
            }
            let outcome = await Session(server).run("approve", Self.task)
            #expect(outcome.code == code)
            #expect(code == .success ? outcome.output == "Approved: push\n" : outcome.errors.contains("R1, R2"))
        }
    }
}
