import Domain
import HTTPServer
import HTTPTypes

/// The OpenAPI 3.1 document, made of the endpoints that the router is made of.
struct Description: Sendable {
    /// The answer of `/v1/openapi.json`: the document itself, without an envelope, as tools expect it.
    let bytes: [UInt8]

    private static let refusals: [(status: Int, text: String)] = [
        (400, "VALIDATION_ERROR: the message names what is wrong"), (401, "UNAUTHORIZED; LOGIN_REFUSED from a login"),
        (403, "FORBIDDEN: the role does not allow it"), (404, "No such thing, or not yours to know of"),
        (409, "It is not in a state for this"), (413, "PAYLOAD_TOO_LARGE"), (415, "UNSUPPORTED_MEDIA_TYPE"),
        (422, "REPO_NOT_ONBOARDED, IDEMPOTENCY_KEY_REUSED or NOT_SUPPORTED_YET"),
        (429, "RATE_LIMIT_EXCEEDED, with Retry-After"), (500, "INTERNAL_ERROR"),
        (503, "SERVICE_UNAVAILABLE, with Retry-After"),
    ]

    /// The endpoint that answers with the description of `endpoints` and of itself.
    static func endpoint(for endpoints: [Endpoint]) -> Endpoint {
        func make(_ bytes: [UInt8]) -> Endpoint {
            Endpoint(
                method: "GET", pattern: "/v1/openapi.json", summary: "This description", access: .open,
                answers: [(200, .description)],
                handle: { call in
                    _ = try call.query { _ in }
                    return .response(.json(bytes))
                })
        }
        return make(Description(endpoints + [make([])]).bytes)
    }

    init(_ endpoints: [Endpoint]) {
        var paths: [String: [String: JSONValue]] = [:]
        var schemas: [String: JSONValue] = ["Error": Self.error, "Pagination": Self.pagination]
        for endpoint in endpoints {
            paths[endpoint.pattern, default: [:]][endpoint.method.lowercased()] = Self.operation(endpoint)
            for answer in endpoint.answers where answer.schema.name != Schema.description.name {
                schemas[answer.schema.name] = answer.schema.json
            }
        }
        let document: JSONValue = [
            "openapi": "3.1.0",
            "info": [
                "title": "bgagent", "version": "1",
                "description": "Background coding agents: submit a task, follow it, cancel it.",
                "license": ["name": "MIT No Attribution", "identifier": "MIT-0"],
            ],
            "servers": [["url": "/"]],
            "paths": .object(paths.mapValues { .object($0) }),
            "components": [
                "schemas": .object(schemas),
                "securitySchemes": ["token": ["type": "http", "scheme": "bearer"]],
            ],
        ]
        bytes = Array(document.text.utf8)
    }

    private static func operation(_ endpoint: Endpoint) -> JSONValue {
        var operation: [String: JSONValue] = [
            "summary": .string(endpoint.summary), "operationId": .string(identifier(endpoint)),
            "responses": .object(responses(endpoint)),
        ]
        if case .open = endpoint.access { operation["security"] = [] } else { operation["security"] = [["token": []]] }
        let parameters = pathParameters(endpoint) + queryParameters(endpoint) + headerParameters(endpoint)
        if !parameters.isEmpty { operation["parameters"] = .array(parameters) }
        if let body = endpoint.body {
            var reader = FieldReader([:], isPatch: endpoint.isPatch)
            body(&reader)
            operation["requestBody"] = ["required": true, "content": ["application/json": ["schema": schema(reader)]]]
        }
        return .object(operation)
    }

    private static func schema(_ reader: FieldReader) -> JSONValue {
        let properties = reader.fields.map { ($0.name, $0.isRequired ? $0.schema : orNull($0.schema)) }
        var schema: [String: JSONValue] = [
            "type": "object", "additionalProperties": false,
            "properties": .object(Dictionary(properties) { first, _ in first }),
        ]
        let required = reader.fields.filter(\.isRequired).map { JSONValue.string($0.name) }
        if !required.isEmpty { schema["required"] = .array(required) }
        return .object(schema)
    }

    /// What may be left out may as well be null: it counts as missing, and in a PATCH it clears the field.
    private static func orNull(_ schema: JSONValue) -> JSONValue {
        guard var members = schema.object, let type = members["type"] else { return schema }
        members["type"] = [type, "null"]
        if let words = members["enum"]?.array { members["enum"] = .array(words + [.null]) }
        return .object(members)
    }

    private static func responses(_ endpoint: Endpoint) -> [String: JSONValue] {
        var responses: [String: JSONValue] = [:]
        for (status, schema) in endpoint.answers {
            let reference: JSONValue = ["$ref": .string("#/components/schemas/\(schema.name)")]
            let content: JSONValue =
                if schema.name == Schema.description.name {
                    ["type": "object"]
                } else if schema.isPage {
                    [
                        "type": "object", "required": ["data", "pagination"],
                        "properties": [
                            "data": ["type": "array", "items": reference],
                            "pagination": ["$ref": "#/components/schemas/Pagination"],
                        ],
                    ]
                } else {
                    ["type": "object", "required": ["data"], "properties": ["data": reference]]
                }
            responses["\(status)"] = [
                "description": "Success", "content": ["application/json": ["schema": content]],
            ]
        }
        if let type = endpoint.file {
            responses["200"] = ["description": "Success", "content": .object([type: ["schema": [:]]])]
        }
        // A body that is too large is refused where none is read, too.
        var codes = [400, 413, 429, 500, 503] + endpoint.refusals
        if case .open = endpoint.access {} else { codes.append(401) }
        if endpoint.body != nil { codes.append(415) }
        for (status, text) in refusals where codes.contains(status) {
            responses["\(status)"] = [
                "description": .string(text),
                "content": ["application/json": ["schema": ["$ref": "#/components/schemas/Error"]]],
            ]
        }
        return responses
    }

    /// `GET /v1/tasks/{task_id}/events` → `get_tasks_task_id_events`.
    private static func identifier(_ endpoint: Endpoint) -> String {
        let words = endpoint.pattern.split { !$0.isLetter && $0 != "_" }.dropFirst().map(String.init)
        return ([endpoint.method.lowercased()] + words).joined(separator: "_")
    }

    private static func pathParameters(_ endpoint: Endpoint) -> [JSONValue] {
        endpoint.pattern.split(separator: "/").filter { $0.hasPrefix("{") }.map { part in
            [
                "name": .string(String(part.dropFirst().dropLast())), "in": "path", "required": true,
                "schema": ["type": "string"],
            ]
        }
    }

    private static func queryParameters(_ endpoint: Endpoint) -> [JSONValue] {
        var reader = QueryReader([], isDescribing: true)
        endpoint.query(&reader)
        return reader.parameters.map { parameter in
            [
                "name": .string(parameter.name), "in": "query", "description": .string(parameter.purpose),
                "schema": parameter.schema,
            ]
        }
    }

    private static func headerParameters(_ endpoint: Endpoint) -> [JSONValue] {
        guard endpoint.method == "POST", endpoint.pattern == "/v1/tasks" else { return [] }
        return [
            [
                "name": "Idempotency-Key", "in": "header",
                "description": "The same key and body make one task; the repeat is answered with Idempotent-Replay.",
                "schema": ["type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$"],
            ]
        ]
    }

    private static let error: JSONValue = [
        "type": "object", "required": ["error"],
        "properties": [
            "error": [
                "type": "object", "required": ["code", "message", "request_id"],
                "properties": [
                    "code": ["type": "string"], "message": ["type": "string"], "request_id": ["type": "string"],
                ],
            ]
        ],
    ]

    private static let pagination: JSONValue = [
        "type": "object", "required": ["next_token", "has_more"],
        "properties": [
            "next_token": ["oneOf": [["type": "string"], ["type": "null"]]], "has_more": ["type": "boolean"],
        ],
    ]
}
