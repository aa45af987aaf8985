import HTTPServer
import HTTPTypes
import Testing

/// A route for each pattern that answers with its pattern and parameters.
private func router(_ routes: [(String, String)]) -> Router {
    var router = Router()
    for (method, pattern) in routes {
        router.on(method, pattern) { request in
            let parameters = request.pathParameters.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            return .response(.text(([pattern] + parameters).joined(separator: " ")))
        }
    }
    return router
}

private func answer(_ router: Router, _ method: String, _ target: String) throws -> Response {
    guard case .response(let response) = router.reply(to: Request(method: method, target: target)) else {
        throw WireError.malformed("no response")
    }
    return response
}

@Suite struct RouterTests {
    private let table = router([
        ("GET", "/v1/tasks"), ("POST", "/v1/tasks"), ("GET", "/v1/tasks/{id}"), ("POST", "/v1/tasks/search"),
        ("GET", "/v1/tasks/{task}/events"), ("GET", "/git/{owner}/{rest...}"), ("GET", "/"),
    ])

    @Test(arguments: [
        ("GET", "/v1/tasks", "/v1/tasks"),
        ("GET", "/v1/tasks?limit=3", "/v1/tasks"),
        ("GET", "/v1/tasks/01J", "/v1/tasks/{id} id=01J"),
        ("POST", "/v1/tasks/search", "/v1/tasks/search"),
        ("GET", "/v1/tasks/search", "/v1/tasks/{id} id=search"),
        ("GET", "/v1/tasks/a%2Fb", "/v1/tasks/{id} id=a/b"),
        ("GET", "/v1/tasks/01J/events", "/v1/tasks/{task}/events task=01J"),
        ("GET", "/git/o/r.git/info/refs", "/git/{owner}/{rest...} owner=o rest=r.git/info/refs"),
        ("HEAD", "/v1/tasks", "/v1/tasks"),
        ("GET", "/", "/"),
    ])
    func `a request goes to its route`(method: String, target: String, expected: String) throws {
        let response = try answer(table, method, target)
        #expect(response.status == 200)
        #expect(response.text == expected)
    }

    @Test(arguments: [
        ("GET", "/v1/nothing", 404), ("GET", "/v1/tasks/", 404), ("GET", "/v1/tasks/01J/", 404), ("GET", "//", 404),
        ("DELETE", "/v1/tasks", 405), ("PUT", "/git/o/r.git", 405), ("GET", "/git/o", 404),
        ("GET", "/v1/tasks/%zz", 400), ("GET", "/v1/tasks?a=%", 400), ("GET", "/v1/tasks/%00", 400), ("GET", "*", 404),
    ])
    func `a request without a route is refused`(method: String, target: String, status: Int) throws {
        #expect(try answer(table, method, target).status == status)
    }

    @Test func `405 says what is allowed`() throws {
        #expect(try answer(table, "PUT", "/v1/tasks").headers["Allow"] == "GET, HEAD, POST")
    }

    @Test func `the owner words every failure and sees every answer`() throws {
        struct Broken: Error {}
        var router = Router { failure, request in
            switch failure {
            case .notFound: .text("none of mine", status: 404)
            case .thrown(let error): .text("\(type(of: error)) \(request.id)", status: 500)
            default: .text("", status: 400)
            }
        }
        router.admit = { request in
            request.id = "r1"
            return request.headers["Authorization"] == nil && request.path == "/closed"
                ? .text("who?", status: 401) : nil
        }
        router.finish = { response, request in response.headers["X-Request-Id"] = request.id }
        router.on("GET", "/broken") { _ in throw Broken() }
        router.on("GET", "/closed") { _ in .response(.text("in")) }
        let missing = try answer(router, "GET", "/missing")
        #expect(missing.text == "none of mine")
        #expect(missing.headers["x-request-id"] == "r1")
        #expect(try answer(router, "GET", "/broken").text == "Broken r1")
        #expect(try answer(router, "GET", "/closed").status == 401)
    }
}
