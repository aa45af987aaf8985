import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store
import TestSupport
import Testing

@testable import Gateway

/// Rules of repositories, as far as the gateway has to do with them; the policy service itself is held in its own tests
/// and by `Tests/system/test_policies.py`.
@Suite struct PolicyTests {
    @Test func `without a policy service nothing of rules is taken or answered, and everything else works`()
        async throws
    {
        try await World.with { world async throws in
            let text: JSONValue = ["policies": "forbid (principal, action, resource);"]
            let refused = try await world.call("PATCH", "/v1/repos/acme/shop", body: text)
            #expect(refused.status == 503)
            #expect(refused.code == "POLICY_UNAVAILABLE")
            #expect(try await world.get("/v1/repos/acme/shop").data["policies"] == "")
            #expect(try await world.get("/v1/repos/acme/shop/policies").code == "POLICY_UNAVAILABLE")
            let allowed = try await world.call(
                "POST", "/v1/tasks",
                body: ["repo": "acme/shop", "task_description": "x y", "initial_approvals": ["all_session"]])
            #expect(allowed.code == "POLICY_UNAVAILABLE")
            #expect(try await world.call("PATCH", "/v1/repos/acme/shop", body: ["policies": ""]).status == 200)
        }
    }

    @Test func `a policy service that is away is told with what mends it, and none is no failure`() async {
        let log = CapturingLog().logger
        #expect(await PolicyClient(url: nil, log: log).look().ok)
        let away = await PolicyClient(url: "http://127.0.0.1:1", log: log).look()
        #expect(!away.ok)
        #expect(away.detail.contains("http://127.0.0.1:1"))
        #expect(away.remedy?.contains("Start policy") == true)
    }

    @Test func `approvers are users, and the rule for a yes is the repository's at submit`() async throws {
        try await World.with { world async throws in
            let unknown = try await world.call(
                "PATCH", "/v1/repos/acme/shop", body: ["approvers": ["admin", "nobody"]])
            #expect(unknown.status == 422)
            #expect(unknown.code == "USER_NOT_FOUND")
            #expect(unknown.message.contains("'nobody'"))
            _ = try await world.person("ada", role: .member)
            let set = try await world.call(
                "PATCH", "/v1/repos/acme/shop", body: ["approvers": ["ada"], "second_person": true])
            #expect(set.data["approvers"] == ["ada"])
        }
    }

    @Test func `who may say yes`() throws {
        let owner = try #require(UserID(rawValue: "01ARZ3NDEKTSV4RRFFQ69G5FAV"))
        let other = try #require(UserID(rawValue: "01ARZ3NDEKTSV4RRFFQ69G5FAW"))
        func may(_ rules: ApprovalRules, _ id: UserID, _ name: String, _ role: UserRole = .member, allows: Bool = true)
            -> String?
        {
            do {
                try rules.require(allows: allows, by: Principal(userID: id, name: name, role: role))
                return nil
            } catch {
                return (error as? APIError)?.code
            }
        }
        let open = ApprovalRules(owner: owner, approvers: [], needsSecondPerson: false)
        #expect(may(open, owner, "ada") == nil)
        let second = ApprovalRules(owner: owner, approvers: [], needsSecondPerson: true)
        #expect(may(second, owner, "ada") == "SECOND_PERSON_REQUIRED")
        #expect(may(second, owner, "ada", .admin) == "SECOND_PERSON_REQUIRED")
        #expect(may(second, owner, "ada", allows: false) == nil)
        #expect(may(second, other, "ben") == nil)
        let named = ApprovalRules(owner: owner, approvers: ["ben"], needsSecondPerson: false)
        #expect(may(named, owner, "ada") == "FORBIDDEN")
        #expect(may(named, owner, "ada", allows: false) == nil)
        #expect(may(named, other, "ben") == nil)
        #expect(may(named, owner, "ada", .admin) == nil)
        #expect(may(ApprovalRules(owner: owner, approvers: ["ada"], needsSecondPerson: true), owner, "ada") != nil)
    }
}
