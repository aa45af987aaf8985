/// What a password has to be. Length is what counts; beyond it only what everybody would try first is refused.
enum PasswordRules {
    static let length = 12
    static let maxBytes = 1024

    /// Words that are long enough and still the first to be tried, without the digits and signs around them.
    private static let common: Set<String> = [
        "password", "passwordpassword", "passw0rdpassw0rd", "mypassword", "thepassword", "yourpassword", "newpassword",
        "changeme", "changemenow", "pleasechangeme", "administrator", "adminadmin", "adminadminadmin", "rootroot",
        "letmein", "letmeinplease", "welcome", "welcomewelcome", "qwertyuiop", "qwertyuiopasdf", "qwertyqwerty",
        "qwertyuiopasdfghjkl", "asdfghjkl", "asdfghjklzxcvbnm", "zxcvbnm", "iloveyou", "iloveyouiloveyou",
        "correcthorsebatterystaple", "trustno", "sunshine", "princess", "football", "baseball", "superman", "dragon",
        "monkey", "starwars", "whatever", "secretsecret", "supersecret", "bgagent", "bgagentbgagent", "backgroundagent",
        "abcdefghijkl", "abcdefghijklmnop", "abcdefghijklmnopqrstuvwxyz", "abcabcabcabc", "testtesttest",
        "qazwsxedcrfv",
        "qwerty", "admin", "test", "abc", "login", "default", "master", "hello", "computer", "internet",
    ]

    /// What is wrong with a password, in words that follow its name; nil when it is good.
    static func problem(_ password: String, user: String) -> String? {
        guard password.unicodeScalars.count >= length else { return "must have at least \(length) characters" }
        guard password.utf8.count <= maxBytes else { return "must have at most \(maxBytes) bytes" }
        let plain = password.lowercased()
        if Set(plain.unicodeScalars).count < 4 { return "must not repeat so few characters" }
        if rest(of: plain, without: user.lowercased()) < 8 { return "must not be the user's name" }
        // Letters in the middle: `Password123!` is `password`.
        let word = plain.unicodeScalars.drop { !$0.properties.isAlphabetic }
        let core = String(String.UnicodeScalarView(word.reversed().drop { !$0.properties.isAlphabetic }.reversed()))
        if core.isEmpty, isCounting(plain) { return "must not be a row of digits" }
        return common.contains(core) ? "is one of those that everybody would try first; take other words" : nil
    }

    /// How many characters are left without the name, however often it stands there.
    private static func rest(of text: String, without name: String) -> Int {
        guard !name.isEmpty else { return text.count }
        var rest = Substring(text)
        var count = 0
        while !rest.isEmpty {
            if rest.hasPrefix(name) {
                rest = rest.dropFirst(name.count)
            } else {
                rest = rest.dropFirst()
                count += 1
            }
        }
        return count
    }

    /// `123456789012` and the like: each digit one more or one less than the one before it, around the end.
    private static func isCounting(_ text: String) -> Bool {
        let digits = text.utf8.filter { (48...57).contains($0) }.map { Int($0) - 48 }
        guard digits.count == text.utf8.count else { return false }
        let steps = zip(digits, digits.dropFirst()).map { ($1 - $0 + 10) % 10 }
        return steps.allSatisfy { $0 == 1 } || steps.allSatisfy { $0 == 9 }
    }
}
