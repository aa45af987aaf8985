import Config
import Domain
import TestSupport
import Testing

@testable import AgentGateway

@Suite struct GatewayCheckTests {
    @Test func `the model and git are judged by what they answer`() {
        #expect(GatewayChecks.judge(status: 200, url: "u").ok)
        #expect(GatewayChecks.judge(status: 404, url: "u").ok)
        #expect(GatewayChecks.judge(status: 401, url: "u").remedy?.contains("BGAGENT_MODEL_API_KEY") == true)
        #expect(GatewayChecks.judge(status: 502, url: "u").remedy?.contains("BGAGENT_MODEL_URL") == true)
        #expect(GatewayChecks.judge(git: "git version 2.39.5\n").ok)
        #expect(GatewayChecks.judge(git: "git version 2.50.1 (Apple Git-155)").ok)
        #expect(!GatewayChecks.judge(git: "git version 2.20.1").ok)
        #expect(!GatewayChecks.judge(git: "").ok)
    }

    @Test func `a key that the model takes is told from one that it refuses`() async throws {
        try await Rehearsal.with("model", ["--token", "the-key"]) { model in
            func look(_ key: String?, url: String) async throws -> Check {
                var values = [
                    "BGAGENT_POSTGRES_URL": "postgres://x/y", "BGAGENT_AMQP_URL": "amqp://x", "BGAGENT_MODEL_URL": url,
                ]
                values["BGAGENT_MODEL_API_KEY"] = key
                let config = try Environment.read(AgentGatewayConfig.init, from: Environment(values))
                return await GatewayChecks(config).checkModel()
            }
            #expect(try await look("the-key", url: model.url).ok)
            #expect(try await look("another", url: model.url).detail.contains("refuses our key"))
            #expect(try await look(nil, url: model.url).detail == "no key is set")
            #expect(try await !look("the-key", url: "http://127.0.0.1:1").ok)
            // It costs nothing: no message was asked for.
            let asked = try await model.log().compactMap { $0["path"]?.string }
            #expect(asked.allSatisfy { !$0.contains("messages") })
        }
    }
}
