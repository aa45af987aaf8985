import AMQP
import Testing

@Suite struct AMQPConfigTests {
    @Test func `a full URL names everything`() throws {
        let config = try AMQPConfig(url: "amqp://bob:s3cret@broker.local:5673/jobs?heartbeat=7")
        #expect(config.user == "bob")
        #expect(config.password == "s3cret")
        #expect(config.host == "broker.local")
        #expect(config.port == 5673)
        #expect(config.vhost == "jobs")
        #expect(config.heartbeat == 7)
        #expect(!config.usesTLS)
    }

    @Test func `what a URL leaves out is the broker's default`() throws {
        let config = try AMQPConfig(url: "amqp://broker")
        #expect(config.user == "guest")
        #expect(config.port == 5672)
        #expect(config.vhost == "/")
        #expect(config.heartbeat == 3)
        #expect(try AMQPConfig(url: "amqp://broker/").vhost == "/")
        #expect(try AMQPConfig(url: "amqp://broker/%2f").vhost == "/")
    }

    @Test func `TLS has a port and authorities of its own`() throws {
        let config = try AMQPConfig(url: "amqps://u:p@broker/v?cacertfile=/etc/ca.pem")
        #expect(config.usesTLS)
        #expect(config.port == 5671)
        #expect(config.certificateAuthorities == ["/etc/ca.pem"])
        let beside = try AMQPConfig(url: "amqps://broker", authorities: "/etc/ours.pem")
        #expect(beside.certificateAuthorities == ["/etc/ssl/certs/ca-certificates.crt", "/etc/ours.pem"])
    }

    @Test func `escapes and odd characters are understood`() throws {
        let config = try AMQPConfig(url: "amqp://a%40b:p%2Fw:x@[::1]:99/with%20space")
        #expect(config.user == "a@b")
        #expect(config.password == "p/w:x")
        #expect(config.host == "::1")
        #expect(config.port == 99)
        #expect(config.vhost == "with space")
    }

    @Test func `the description hides user and password`() throws {
        let config = try AMQPConfig(url: "amqp://bob:s3cret@broker/jobs")
        #expect(config.description == "amqp://broker:5672/jobs")
    }

    @Test(arguments: [
        "broker:5672", "http://broker", "amqp://", "amqp://u:p@/v", "amqp://broker:0", "amqp://broker:x",
        "amqp://broker/%zz", "amqp://broker/%ff", "amqp://broker/%00", "amqp://broker?heartbeat=no",
        "amqp://broker?what=1",
    ])
    func `a URL that cannot be meant is refused without repeating it`(url: String) throws {
        let error = try #require(throws: AMQPError.self) { try AMQPConfig(url: url) }
        #expect(error.code == .invalidURL)
        #expect(!error.reason.contains(url))
    }
}
