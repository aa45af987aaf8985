import CLinux
import Glibc
import Lifecycle

/// Drives one connection, on one thread, from login to the end.
///
/// A turn carries out what was asked, writes what there is to write, takes in what has arrived, and only then, with
/// nothing left to do, sleeps in `poll`. Waiting for an answer is a state, never a blocked thread, so heartbeats and
/// confirms go on whatever else is under way.
///
/// Any error thrown inside ends the connection: `run` fails everyone who waits, and returns.
final class FrameLoop {
    /// How far the connection is on its way out.
    enum Phase: Equatable {
        case running
        /// Asked to close: what was published awaits its confirms.
        case finishing
        case closingChannels
        case closingConnection
    }

    /// The channel for publishing. Channels above `controlChannel` are consumers'.
    static let publishChannel: UInt16 = 1
    /// The channel for topology, apart from publishing because the broker closes it on every refusal.
    static let controlChannel: UInt16 = 2
    /// The highest channel number asked for at login.
    static let lastChannel: UInt16 = 2047
    private static let framesPerTurn = 1024
    private static let framesPerRelease = 64

    let config: AMQPConfig
    let handle: ConnectionHandle
    let mailbox: Mailbox
    var channels: [UInt16: Channel] = [:]
    var phase = Phase.running

    /// Batches with messages still to be written.
    var unwritten: [PublishBatch] = []
    var confirms = ConfirmLedger()
    /// Groups of calls that wait for the control channel; the first one is under way when `controlIsBusy`.
    var controlQueue: [(calls: [MethodCall], complete: Completion<[Reply]>)] = []
    var controlIsBusy = false
    var lastConsumerChannel = FrameLoop.controlChannel
    /// Channels with acks to send this turn.
    var touched: Set<UInt16> = []
    /// Channels with deliveries to hand out this turn.
    var touchedByDelivery: Set<UInt16> = []
    /// Who waits for the end.
    var closers: [@Sendable () -> Void] = []
    private var finishDeadline = Deadline.never
    private var closeDeadline = Deadline.never

    /// Connects, hands the connection to who asked for it, and drives it to its end.
    static func main(_ config: AMQPConfig, _ opened: CheckedContinuation<AMQPConnection, any Error>) {
        let handle: ConnectionHandle
        let mailbox: Mailbox
        do {
            handle = try ConnectionHandle(config)
            mailbox = try Mailbox(socket: handle.descriptor)
        } catch {
            opened.resume(throwing: error)
            return
        }
        let loop = FrameLoop(config, handle, mailbox)
        opened.resume(
            returning: AMQPConnection(
                mailbox: mailbox, closeTimeout: config.closeTimeout, brokerVersion: handle.brokerVersion))
        loop.run()
    }

    private init(_ config: AMQPConfig, _ handle: ConnectionHandle, _ mailbox: Mailbox) {
        self.config = config
        self.handle = handle
        self.mailbox = mailbox
    }

    private func run() {
        do {
            while true { try turn() }
        } catch {
            end(error)
        }
    }

    private func turn() throws(AMQPError) {
        for command in mailbox.take() { try perform(command) }
        try flushAcks()
        let isStuck = try writePublishes()
        let isDrained = try drain()
        flushDeliveries()
        try advanceClosing()
        let hasWork = !isDrained || (!unwritten.isEmpty && !isStuck) || handle.hasBufferedInput
        if !hasWork && mailbox.fallAsleep() { sleep(untilWritable: isStuck && !mailbox.isBlocked) }
    }

    /// Takes in what has arrived. False when the turn's share was used up before that.
    private func drain() throws(AMQPError) -> Bool {
        var isDrained = false
        var failure: AMQPError?
        for count in 1...Self.framesPerTurn {
            do {
                guard let frame = try handle.nextFrame() else {
                    isDrained = true
                    break
                }
                try receive(frame)
            } catch {
                failure = error
                break
            }
            if count.isMultiple(of: Self.framesPerRelease) { handle.releaseBuffers() }
        }
        handle.releaseBuffers()
        if let failure { throw failure }
        return isDrained
    }

    private func sleep(untilWritable: Bool) {
        var requests = [
            pollfd(fd: mailbox.wakeDescriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: handle.descriptor, events: Int16(untilWritable ? POLLIN | POLLOUT : POLLIN), revents: 0),
        ]
        // Heartbeats go out only inside calls to the library: look in well before one is due.
        var patience = Duration.milliseconds(config.heartbeat * 1000 / 3)
        for deadline in [finishDeadline, closeDeadline] {
            if let remaining = deadline.remaining { patience = min(patience, remaining + .milliseconds(1)) }
        }
        poll(&requests, nfds_t(requests.count), Int32(clamping: patience.wholeMilliseconds))
        if requests[0].revents != 0 { _ = linux_eventfd_drain(mailbox.wakeDescriptor) }
    }

    // MARK: The end

    /// Starts an orderly end.
    func startClosing() {
        guard phase == .running else { return }
        phase = .finishing
        finishDeadline = .after(config.closeTimeout / 2)
        closeDeadline = .after(config.closeTimeout)
    }

    private func advanceClosing() throws(AMQPError) {
        guard phase != .running else { return }
        if closeDeadline.isOver { throw .closedHere }
        if phase == .finishing {
            let isFinished = unwritten.isEmpty && confirms.isEmpty && controlQueue.isEmpty
            guard isFinished || finishDeadline.isOver else { return }
            finishDeadline = .never
            phase = .closingChannels
            for channel in channels.values where !channel.isClosing { try close(channel) }
        }
        if phase == .closingChannels && channels.isEmpty {
            phase = .closingConnection
            try handle.closeConnection()
        }
    }

    /// Closes a channel from our side; its consumer gets nothing more.
    func close(_ channel: Channel) throws(AMQPError) {
        channel.isClosing = true
        channel.flushDeliveries()
        channel.consuming?.state.finish()
        try handle.closeChannel(channel.number)
    }

    /// Ends everything: nobody is left waiting, whatever the reason.
    private func end(_ reason: AMQPError) {
        // A line that breaks on the way out is no news to who closed it.
        let error = phase == .running ? reason : .closedHere
        let left = mailbox.end(error)
        for command in left { command.refuse(error) }
        for batch in confirms.reset() { batch.fail(error) }
        for batch in unwritten { batch.fail(error) }
        unwritten = []
        let groups = controlQueue
        controlQueue = []
        for group in groups { group.complete(.failure(error)) }
        let open = channels.values
        channels = [:]
        for channel in open {
            channel.flushDeliveries()
            channel.fail(error)
        }
        handle.disconnect()
        for closer in closers { closer() }
        closers = []
    }
}
