import Domain

extension ContainerBackend {
    /// Whether the engine answers, and so whether a sandbox can start. The proxy between the two lets through nothing
    /// that asks for images, so a missing one shows in the reason of the first session that wants it.
    func check() -> [Check] {
        do {
            return [.passed("backend", "container; the engine answers, \(try running().count) sandboxes run")]
        } catch {
            return [
                .failed(
                    "backend", "the container engine does not answer: \(error)",
                    remedy: "Start the engine, with Docker Compose also engine-proxy; see BGAGENT_ENGINE_URL.")
            ]
        }
    }
}
