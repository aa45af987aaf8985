/// Everything of the outside that a verb touches. Tests hand in their own.
package struct Surroundings: Sendable {
    package let environment: [String: String]
    package let console: Console
    package let input: Input
    package let pace: Pace
    package let transport: Transport

    package init(
        environment: [String: String], console: Console, input: Input, pace: Pace, transport: Transport
    ) {
        self.environment = environment
        self.console = console
        self.input = input
        self.pace = pace
        self.transport = transport
    }

    /// The API as the account of this invocation sees it.
    /// - Throws: ``UserError`` when no gateway or token is configured.
    package func client(for invocation: Invocation, patience: Duration = APIClient.briefPatience) throws -> APIClient {
        APIClient(
            account: try Account(invocation, environment: environment), transport: transport, pace: pace,
            console: console, patience: patience, isVerbose: invocation.has("verbose"))
    }
}
