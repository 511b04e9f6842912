import HTTPClient
import Monitoring
import Platform
import Presentation

/// What `vigie-processor status` shows.
public struct StatusOverview: Sendable, Equatable {
    /// The text for a terminal.
    public var text: String
    /// Why not all is well, a sentence each; empty if it is.
    public var problems: [String]
}

/// Asks processors how they are: those that the database knows, or one by its address.
package struct StatusInquiry {
    /// What a processor answered, or why not.
    package enum Answer: Equatable {
        /// Its own text, and whether it says that all is well.
        case text(String, isGood: Bool)
        case silence(String)
    }

    /// The name of this machine.
    let host: String
    /// Asks the endpoint `http://127.0.0.1:9465/` or `unix:/run/vigie/processor.sock`, say, for the text at a path.
    let ask: (_ endpoint: String, _ path: String) -> Answer

    /// One processor, at an endpoint such as `http://127.0.0.1:9465/` or `unix:/run/vigie/processor.sock`.
    package func one(at endpoint: String) -> StatusOverview {
        switch ask(endpoint, "status") {
        case .text(let text, let isGood):
            StatusOverview(text: text, problems: isGood ? [] : ["the processor at \(endpoint) is not well"])
        case .silence(let reason):
            StatusOverview(text: "", problems: ["the processor at \(endpoint) does not answer: \(reason)"])
        }
    }

    /// All processors that give heartbeats, or did lately.
    package func all(_ members: [ProcessorMember]) -> StatusOverview {
        guard !members.isEmpty else {
            return StatusOverview(text: "", problems: ["no processor has given a heartbeat in the last hour"])
        }
        var overview = StatusOverview(text: "", problems: [])
        var asked: Set<String> = []
        for member in members where asked.insert(member.instance).inserted {
            let name = "\(member.instance) on \(member.host)"
            if member.isGone {
                overview.problems.append("\(name) is gone for \(PlainNumbers.seconds(member.age))")
            } else if let endpoint = member.endpoint, member.host == host || !StatusInquiry.isLoopback(endpoint) {
                switch ask(endpoint, "status/self") {
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
    package func withoutDatabase(_ reason: String, listen: HTTPEndpointSettings.Address?) -> StatusOverview {
        var overview = StatusOverview(text: "", problems: ["the database cannot be asked: \(reason)"])
        let own: StatusOverview
        switch listen {
        case .network(_, let port)? where port > 0: own = one(at: "http://\(listen?.description ?? "")/")
        case .socket?: own = one(at: listen?.description ?? "")
        default: return overview
        }
        overview.text = own.text
        overview.problems += own.problems
        return overview
    }

    private static func isLoopback(_ endpoint: String) -> Bool {
        ["unix:", "http://127.", "http://[::1]", "http://localhost"].contains { endpoint.hasPrefix($0) }
    }
}

extension StatusInquiry {
    /// Asks by HTTP.
    /// - Parameters:
    ///   - host: the name of this machine.
    ///   - tokenFile: the file of the token to show; nil for none.
    package init(host: String, tokenFile: String?) throws {
        let client = try HTTPClient(limits: HTTPClient.Limits(connect: .seconds(3), total: .seconds(5)))
        var headers: [HTTPClient.Header] = []
        if let tokenFile {
            let token = String(decoding: try TokenFile(tokenFile).read(), as: UTF8.self)
            headers = [HTTPClient.Header("Authorization", "Bearer \(token)")]
        }
        let known = headers
        self.init(host: host) { endpoint, path in
            let socket = endpoint.hasPrefix("unix:") ? String(endpoint.dropFirst("unix:".count)) : nil
            let base = socket == nil ? endpoint : "http://localhost/"
            guard let address = HTTPAddress(base + (base.hasSuffix("/") ? "" : "/") + path) else {
                return .silence("\"\(endpoint)\" is no address such as http://host:9465/ or unix:/path")
            }
            do throws(HTTPClientError) {
                let answer = try client.get(address, headers: known, by: socket)
                if answer.status == 401 {
                    return .silence(
                        known.isEmpty
                            ? "it wants a token: name its file by --token-file, or by monitoring.token_file"
                            : "it has another token than the one in \(tokenFile ?? "")")
                }
                // 503 comes with the text too: it says what is wrong.
                guard answer.isSuccess || answer.status == 503 else { return .silence("HTTP status \(answer.status)") }
                return .text(String(decoding: answer.body, as: UTF8.self), isGood: answer.isSuccess)
            } catch {
                return .silence("\(error)")
            }
        }
    }
}
