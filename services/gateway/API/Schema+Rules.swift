import Domain

/// What the routes about rules, and about what was decided, answer.
extension Schema {
    private static let rules: JSONValue = [
        "type": "array",
        "items": object([
            "rule_id": text, "tier": text, "severity": text, "category": text, "summary": text,
            "approval_timeout_s": orNull(whole), "origin": text,
        ]),
    ]
    static let policies = Schema(
        "Policies",
        ["repo": text, "approval_gates": truth, "text": text, "rules": object(["hard": rules, "soft": rules])])
    private static let findings: JSONValue = [
        "type": "array", "items": object(["line": whole, "rule_id": orNull(text), "message": text]),
    ]
    static let policyFindings = Schema(
        "PolicyFindings", ["valid": truth, "errors": findings, "warnings": findings, "rules": rules])
    static let policyDecision = Schema(
        "PolicyDecision", ["decision": anyObject, "facts": orNull(anyObject), "approval_gates": orNull(truth)])

    static let auditVerification = Schema(
        "AuditVerification",
        ["ok": truth, "has_seal": truth, "entries": whole, "breach": orNull(whole), "head": orNull(text)])
}
