import Configuration
import HTTPClient
import Monitoring
import Platform
import PostgresClient
import Presentation

/// What `vigie-processor status` shows.
public struct StatusOverview: Sendable, Equatable {
    /// The text for a terminal.
    public var text: String
    /// Why not all is well, a sentence each; empty if it is.
    public var problems: [String]
}

/// Asks processors how they are: those that the database knows, or one by its address.
struct StatusInquiry {
    /// What a processor answered, or why not.
    enum Answer: Equatable {
        /// Its own text, and whether it says that all is well.
        case text(String, isGood: Bool)
        case silence(String)
    }

    /// The name of this machine.
    let host: String
    /// Asks for the text at an address; `http://127.0.0.1:9465/status/self`, say.
    let ask: (String) -> Answer

    /// One processor, at an address such as `http://127.0.0.1:9465/`.
    func one(at endpoint: String) -> StatusOverview {
        switch ask(StatusInquiry.path("status", of: endpoint)) {
        case .text(let text, let isGood):
            StatusOverview(text: text, problems: isGood ? [] : ["the processor at \(endpoint) is not well"])
        case .silence(let reason):
            StatusOverview(text: "", problems: ["the processor at \(endpoint) does not answer: \(reason)"])
        }
    }

    /// All processors that give signs of life, or did lately.
    func all(_ members: [ProcessorMember]) -> StatusOverview {
        guard !members.isEmpty else {
            return StatusOverview(text: "", problems: ["no processor has given a sign of life in the last hour"])
        }
        var overview = StatusOverview(text: "", problems: [])
        var asked: Set<String> = []
        for member in members where asked.insert(member.instance).inserted {
            let name = "\(member.instance) on \(member.host)"
            if member.isGone {
                overview.problems.append("\(name) is gone for \(PlainNumbers.seconds(member.age))")
            } else if let endpoint = member.endpoint, member.host == host || !StatusInquiry.isLoopback(endpoint) {
                switch ask(StatusInquiry.path("status/self", of: endpoint)) {
                case .text(let text, let isGood):
                    overview.text += text
                    if !isGood { overview.problems.append("\(name) is not well") }
                case .silence(let reason):
                    overview.problems.append("\(name) does not answer at \(endpoint): \(reason)")
                }
            } else {
                // Nobody can ask from here; its own word in the table has to do.
                let place = member.endpoint == nil ? "has no endpoint" : "answers only on its own machine"
                overview.text += "\(name) \(place); it says that it is \(member.state)\n\n"
                if member.state != "healthy" { overview.problems.append("\(name) is \(member.state)") }
            }
        }
        overview.text += ProcessorMember.table(members)
        return overview
    }

    /// The database cannot be asked who there is: the processor of this machine's configuration, if there is one, is.
    func withoutDatabase(_ reason: String, listen: Endpoint?) -> StatusOverview {
        var overview = StatusOverview(text: "", problems: ["the database cannot be asked: \(reason)"])
        guard let listen, listen.port > 0 else { return overview }
        let address = listen.host.contains(":") ? "[\(listen.host)]" : listen.host
        let own = one(at: "http://\(address):\(listen.port)/")
        overview.text = own.text
        overview.problems += own.problems
        return overview
    }

    private static func path(_ path: String, of endpoint: String) -> String {
        endpoint + (endpoint.hasSuffix("/") ? "" : "/") + path
    }

    private static func isLoopback(_ endpoint: String) -> Bool {
        ["http://127.", "http://[::1]", "http://localhost"].contains { endpoint.hasPrefix($0) }
    }
}

extension StatusInquiry {
    /// Asks by HTTP.
    init() throws(HTTPClientError) {
        let client = try HTTPClient(limits: HTTPClient.Limits(connect: .seconds(3), total: .seconds(5)))
        self.init(host: ProcessorSettings.hostName) { text in
            guard let address = HTTPAddress(text) else { return .silence("\"\(text)\" is not an http address") }
            do throws(HTTPClientError) {
                let answer = try client.get(address)
                // 503 comes with the text too: it says what is wrong.
                guard answer.isSuccess || answer.status == 503 else { return .silence("HTTP status \(answer.status)") }
                return .text(String(decoding: answer.body, as: UTF8.self), isGood: answer.isSuccess)
            } catch {
                return .silence("\(error)")
            }
        }
    }
}

extension Processor {
    /// How all processors are that the database knows.
    public func status() async throws -> StatusOverview {
        let settings = settings
        return try await Processor.onThread {
            let inquiry = try StatusInquiry()
            do {
                let connection = try settings.connect(applicationName: "vigie-processor status")
                return inquiry.all(try ProcessorTable(connection: connection).members())
            } catch let error as PostgresError {
                return inquiry.withoutDatabase(
                    DatabaseAway(error)?.advice ?? error.message, listen: settings.listen)
            }
        }
    }

    /// How the processor at an address is, such as `http://127.0.0.1:9465/`.
    public static func status(endpoint: String) async throws -> StatusOverview {
        try await onThread { try StatusInquiry().one(at: endpoint) }
    }

    private static func onThread<Result: Sendable>(
        _ body: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            startThread(name: "status") { continuation.resume(with: Swift.Result { try body() }) }
        }
    }
}
