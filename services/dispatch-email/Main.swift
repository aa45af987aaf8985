import Notifications

@main
struct Main {
    static func main() async throws { try await Dispatcher<EmailChannel>.main() }
}
