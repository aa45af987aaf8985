import Domain
import HTTPTypes
import Postgres
import Store
import TestSupport
import Testing

@testable import Gateway

/// The whole table of permission: role × whose task × access × grant, and what may then be done. Written out, so that it
/// can be read beside the documentation; the rule and the API are both held against it.
private struct Row: Sendable {
    let role: UserRole
    let isOwn: Bool
    let access: RepoAccess
    let levels: [GrantLevel?]
    let read, cancel, submit, repo: Verdict

    /// - Parameter verdicts: of reading and cancelling the task, submitting, and reading the repository: A allowed, F
    ///   forbidden, H hidden.
    init(_ role: UserRole, _ whose: String, _ access: RepoAccess, _ levels: [GrantLevel?], _ verdicts: String) {
        self.role = role
        isOwn = whose == "own"
        self.access = access
        self.levels = levels
        let all = verdicts.map { $0 == "A" ? Verdict.allowed : $0 == "F" ? .forbidden : .hidden }
        (read, cancel, submit, repo) = (all[0], all[1], all[2], all[3])
    }

    static let every: [GrantLevel?] = [nil, .read, .submit, .steer]

    static let table = [
        Row(.admin, "own", .open, every, "AAAA"), Row(.admin, "other", .open, every, "AAAA"),
        Row(.admin, "own", .restricted, every, "AAAA"), Row(.admin, "other", .restricted, every, "AAAA"),
        Row(.member, "own", .open, every, "AAAA"),
        Row(.member, "other", .open, [nil], "HHAA"), Row(.member, "other", .open, [.read, .submit], "AFAA"),
        Row(.member, "other", .open, [.steer], "AAAA"),
        Row(.member, "own", .restricted, [nil], "HHHH"), Row(.member, "own", .restricted, [.read], "AAFA"),
        Row(.member, "own", .restricted, [.submit, .steer], "AAAA"),
        Row(.member, "other", .restricted, [nil], "HHHH"), Row(.member, "other", .restricted, [.read], "AFFA"),
        Row(.member, "other", .restricted, [.submit], "AFAA"), Row(.member, "other", .restricted, [.steer], "AAAA"),
        Row(.viewer, "own", .open, every, "AFFA"),
        Row(.viewer, "other", .open, [nil], "HHFA"),
        Row(.viewer, "other", .open, [.read, .submit, .steer], "AFFA"),
        Row(.viewer, "own", .restricted, [nil], "HHFH"),
        Row(.viewer, "own", .restricted, [.read, .submit, .steer], "AFFA"),
        Row(.viewer, "other", .restricted, [nil], "HHFH"),
        Row(.viewer, "other", .restricted, [.read, .submit, .steer], "AFFA"),
    ]
}

@Suite struct GrantTests {
    private static func someone(_ role: UserRole, _ last: String = "1") throws -> Principal {
        let id = try #require(UserID(rawValue: "01JZ000000000000000000000" + last))
        return Principal(userID: id, name: "someone", role: role)
    }

    @Test func `who may do what is one table`() throws {
        var seen: Set<String> = []
        for row in Row.table {
            let who = try Self.someone(row.role)
            let owner = row.isOwn ? who.userID : try Self.someone(.member, "2").userID
            for level in row.levels {
                let name = "\(row.role) \(row.isOwn) \(row.access) \(level?.rawValue ?? "none")"
                #expect(seen.insert(name).inserted, "\(name) stands twice")
                let repo = RepoStanding(access: row.access, level: level)
                let task = TaskStanding(owner: owner, repo: repo)
                #expect(authorize(who, .readTask, .task(task)) == row.read, "read \(name)")
                #expect(authorize(who, .cancelTask, .task(task)) == row.cancel, "cancel \(name)")
                #expect(authorize(who, .submitTask, .repo(repo)) == row.submit, "submit \(name)")
                #expect(authorize(who, .readRepos, .repo(repo)) == row.repo, "repo \(name)")
            }
        }
        #expect(seen.count == 3 * 2 * 2 * 4)
    }

    @Test func `accounts and administration go by role and owner, and no verb does more than it was meant for`() throws
    {
        let subjects: [Subject] = [
            .platform, .account(nil), .repo(RepoStanding(access: .open, level: .steer)),
            .task(
                TaskStanding(
                    owner: try Self.someone(.member).userID, repo: RepoStanding(access: .open, level: .steer))),
        ]
        for role in [UserRole.member, .viewer] {
            let who = try Self.someone(role)
            let other = try Self.someone(.member, "2").userID
            for verb in [Verb.readAccount, .manageTokens] {
                #expect(authorize(who, verb, .account(who.userID)) == .allowed)
                #expect(authorize(who, verb, .account(other)) == .forbidden)
                for subject in subjects { #expect(authorize(who, verb, subject) != .allowed) }
            }
            for verb in [Verb.changeRepos, .administerUsers, .operate] {
                for subject in subjects + [.account(who.userID)] {
                    #expect(authorize(who, verb, subject) == .forbidden)
                }
            }
            #expect(authorize(who, .listTasks) == .allowed)
            #expect(authorize(who, .listRepos) == .allowed)
            for verb in [Verb.readTask, .cancelTask, .submitTask, .readRepos] {
                #expect(authorize(who, verb) != .allowed)
                #expect(authorize(who, verb, .account(who.userID)) != .allowed)
            }
        }
        let admin = try Self.someone(.admin)
        for verb in Verb.allCases { for subject in subjects { #expect(authorize(admin, verb, subject) == .allowed) } }
    }

    /// Every row through the API: task, status, events, list, cancel, submit, repository and list of repositories.
    @Test(arguments: [UserRole.member, .viewer]) func `the API keeps the table`(_ role: UserRole) async throws {
        try await World.with { world async throws in
            let who = try await world.person("ada", role: role)
            let other = try await world.person("ben")
            for access in RepoAccess.allCases {
                let repo = "acme/\(access.rawValue)"
                #expect(
                    try await world.call(
                        "POST", "/v1/repos", body: ["repo": .string(repo), "access": .string(access.rawValue)]
                    ).status == 201)
            }
            for row in Row.table where row.role == role {
                let repo = "acme/\(row.access.rawValue)"
                for level in row.levels {
                    try await Self.grant(level, on: repo, to: who, world)
                    let id = try await Self.task(in: repo, of: row.isOwn ? who : other, world)
                    try await Self.hold(row, level, who, repo, id, world)
                }
            }
        }
    }

    private static func hold(
        _ row: Row, _ level: GrantLevel?, _ who: World.Person, _ repo: String, _ id: TaskID, _ world: World
    ) async throws {
        let name = "\(row.role) \(row.isOwn ? "own" : "other") \(row.access) \(level?.rawValue ?? "none")"
        for path in ["", "/status", "/events"] {
            let answer = try await world.get("/v1/tasks/\(id)\(path)", as: who)
            #expect(answer.status == (row.read == .allowed ? 200 : 404), "\(name) \(path)")
            if row.read == .hidden { #expect(answer.code == "TASK_NOT_FOUND", "\(name)") }
        }
        for query in ["", "&repo=\(repo)", "&status=SUBMITTED"] {
            let list = try await world.get("/v1/tasks?limit=100\(query)", as: who).data.array ?? []
            let isListed = list.contains { $0["task_id"]?.string == id.rawValue }
            #expect(isListed == (row.read == .allowed), "\(name) list\(query)")
        }
        let repos = try await world.get("/v1/repos", as: who).data.array ?? []
        #expect(repos.contains { $0["repo"]?.string == repo } == (row.repo == .allowed), "\(name) repos")
        #expect(
            try await world.get("/v1/repos/\(repo)", as: who).status == (row.repo == .allowed ? 200 : 404), "\(name)")
        let submit = try await world.call(
            "POST", "/v1/tasks", as: who, body: ["repo": .string(repo), "issue_number": 1])
        let expected = [Verdict.allowed: 201, .forbidden: 403, .hidden: 422]
        #expect(submit.status == expected[row.submit], "\(name) submit: \(submit.body.text)")
        if row.submit == .hidden { #expect(submit.code == "REPO_NOT_ONBOARDED", "\(name)") }
        let cancel = try await world.call("DELETE", "/v1/tasks/\(id)", as: who)
        let ends = [Verdict.allowed: 200, .forbidden: 403, .hidden: 404]
        #expect(cancel.status == ends[row.cancel], "\(name) cancel: \(cancel.body.text)")
    }

    @Test func `a page of what somebody may see is whole, in order and without doubles`() async throws {
        try await World.with { world async throws in
            let (ada, ben) = (try await world.person("ada"), try await world.person("ben"))
            for (repo, access) in [("acme/one", "open"), ("acme/two", "restricted"), ("acme/three", "restricted")] {
                _ = try await world.call(
                    "POST", "/v1/repos", body: ["repo": .string(repo), "access": .string(access)])
            }
            for repo in ["acme/one", "acme/two"] { try await Self.grant(.read, on: repo, to: ada, world) }
            var expected: [String] = []
            for number in 0..<24 {
                let repo = ["acme/shop", "acme/one", "acme/two", "acme/three"][number % 4]
                let owner = number % 3 == 0 ? ada : ben
                let id = try await Self.task(in: repo, of: owner, world)
                let isSeen = ["acme/one", "acme/two"].contains(repo) || (repo == "acme/shop" && number % 3 == 0)
                if isSeen { expected.append(id.rawValue) }
            }
            var seen: [String] = []
            var token: String?
            repeat {
                let page = try await world.get(
                    "/v1/tasks?limit=3" + (token.map { "&next_token=\($0)" } ?? ""), as: ada)
                seen += page.data.array?.compactMap { $0["task_id"]?.string } ?? []
                token = page.next
            } while token != nil
            #expect(seen == expected.reversed())
        }
    }

    @Test func `grants are given, listed and taken away, and told to the audit log`() async throws {
        try await World.with { world async throws in
            _ = try await world.person("ada")
            let path = "/v1/repos/acme/shop/grants"
            let given = try await world.call("PUT", path + "/ada", body: ["level": "read"])
            #expect(given.data["level"] == "read")
            #expect(try await world.call("PUT", path + "/ada", body: ["level": "steer"]).data["level"] == "steer")
            #expect(try await world.get(path).data.array?.compactMap { $0["user_name"]?.string } == ["ada"])
            #expect(try await world.call("DELETE", path + "/ada").data["level"] == "steer")
            #expect(try await world.call("DELETE", path + "/ada").code == "GRANT_NOT_FOUND")
            #expect(try await world.call("PUT", path + "/nobody", body: ["level": "read"]).code == "USER_NOT_FOUND")
            #expect(try await world.call("PUT", path + "/ada", body: ["level": "own"]).status == 400)
            #expect(try await world.call("PUT", path + "/ada", body: [:]).status == 400)
            let nowhere = "/v1/repos/acme/nowhere/grants"
            #expect(try await world.call("PUT", nowhere + "/ada", body: ["level": "read"]).code == "REPO_NOT_FOUND")
            #expect(try await world.get(nowhere).code == "REPO_NOT_FOUND")
            let ada = try await world.person("eve")
            for (method, end, body) in [
                ("GET", "", nil), ("PUT", "/eve", ["level": "steer"] as JSONValue), ("DELETE", "/ada", nil),
            ] {
                #expect(try await world.call(method, path + end, as: ada, body: body).status == 403)
            }
            let actions = try await world.pool.run { connection in
                try connection.query("SELECT action FROM audit_log WHERE subject = 'acme/shop' ORDER BY id")
                    .map { try $0.get(0, as: String.self) }
            }
            #expect(actions == ["repo.grant", "repo.grant", "repo.revoke"])
        }
    }

    @Test func `who waits for an event when a grant is taken away is shown nothing`() async throws {
        try await World.with { world async throws in
            let (ada, ben) = (try await world.person("ada"), try await world.person("ben"))
            for person in [ada, ben] { try await Self.grant(.read, on: "acme/shop", to: person, world) }
            let id = try await world.submit()
            let last = try await world.get("/v1/tasks/\(id)/events").data.array?.last?["event_id"]?.string ?? ""
            let path = "/v1/tasks/\(id)/events?wait=20&after=\(last)"
            async let adas = world.get(path, as: ada)
            async let bens = world.get(path, as: ben)
            try await eventually("both wait") { world.api.watch.count == 2 }
            try await world.pool.run {
                try $0.query("DELETE FROM repo_grants WHERE user_id = \(ada.id.rawValue)")
                return
            }
            try await world.append(.agentMilestone, to: id, ["milestone": "repo_cloned"])
            let (refused, shown) = (try await adas, try await bens)
            #expect(refused.status == 404)
            #expect(refused.code == "TASK_NOT_FOUND")
            #expect(shown.data.array?.compactMap { $0["event_type"]?.string } == ["agent_milestone"])
        }
    }

    @Test func `who waits for a line of the log when a grant is taken away is shown nothing`() async throws {
        try await World.with { world async throws in
            let ada = try await world.person("ada")
            try await Self.grant(.read, on: "acme/shop", to: ada, world)
            let id = try await world.submit()
            async let waiting = world.get("/v1/tasks/\(id)/logs?wait=20", as: ada)
            try await eventually("she waits") { world.api.logWatch.count == 1 }
            try await world.pool.run { connection in
                try connection.query("DELETE FROM repo_grants WHERE user_id = \(ada.id.rawValue)")
                let line = TaskLogLine(level: "info", message: "not for her")
                try connection.query(try TaskLogStore.append([line], to: id, service: "agent", instance: "i"))
            }
            let refused = try await waiting
            #expect(refused.status == 404)
            #expect(refused.code == "TASK_NOT_FOUND")
        }
    }

    @Test func `a repository that is taken off and brought back has nobody's grants`() async throws {
        try await World.with { world async throws in
            let ada = try await world.person("ada")
            try await Self.grant(.steer, on: "acme/shop", to: ada, world)
            #expect(try await world.call("DELETE", "/v1/repos/acme/shop").status == 200)
            let body: JSONValue = ["repo": "acme/shop", "access": "restricted"]
            #expect(try await world.call("POST", "/v1/repos", body: body).data["access"] == "restricted")
            #expect(try await world.get("/v1/repos/acme/shop", as: ada).status == 404)
            #expect(try await world.get("/v1/repos/acme/shop/grants").data == [])
        }
    }

    private static func grant(
        _ level: GrantLevel?, on repo: String, to person: World.Person, _ world: World
    ) async throws {
        let path = "/v1/repos/\(repo)/grants/\(person.name)"
        guard let level else {
            _ = try await world.call("DELETE", path)
            return
        }
        #expect(try await world.call("PUT", path, body: ["level": .string(level.rawValue)]).status == 200)
    }

    /// A task of somebody, submitted by the administrator in their name.
    private static func task(in repo: String, of owner: World.Person, _ world: World) async throws -> TaskID {
        let id = try await world.submit(["repo": .string(repo), "task_description": "Fix the rounding"])
        try await world.pool.run {
            try $0.query("UPDATE tasks SET user_id = \(owner.id.rawValue) WHERE task_id = \(id.rawValue)")
            return
        }
        return id
    }
}
