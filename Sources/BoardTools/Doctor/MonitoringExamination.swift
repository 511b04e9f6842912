import Monitoring
import NetworkProbe

/// The address of `/metrics` and `/healthz`.
struct MonitoringExamination: Examination {
    /// Who is there.
    enum Occupant: Sendable, Equatable {
        /// Nobody, and a gateway could listen there.
        case free
        /// A gateway: the status and the text of its `/healthz`.
        case gateway(status: Int, health: String)
        /// Another program.
        case stranger
        /// Nobody, and a gateway could not listen there either.
        case impossible(String)
    }

    /// nil: the configuration has no endpoint.
    var settings: HTTPEndpointSettings?
    var occupant: Occupant
    /// Why nobody could show the token.
    var tokenProblem: String?

    static func gather(_ settings: HTTPEndpointSettings?) -> MonitoringExamination {
        var examination = MonitoringExamination(settings: settings, occupant: .free)
        guard let settings else { return examination }
        var token: [UInt8]?
        do throws(TokenFile.Problem) {
            token = try settings.tokenFile.map { TokenFile($0) }?.read()
        } catch {
            examination.tokenProblem = "\(error)"
        }
        do throws(NetworkProbe.Failure) {
            examination.occupant = try occupant(settings.address, token)
        } catch {
            examination.occupant = .impossible("\(error)")
        }
        return examination
    }

    private static func occupant(
        _ address: HTTPEndpointSettings.Address, _ token: [UInt8]?
    ) throws(NetworkProbe.Failure) -> Occupant {
        let connect: () throws(NetworkProbe.Failure) -> NetworkProbe.Connection
        switch address {
        case .network(_, 0): return .free
        case .network(let host, let port):
            // Who listens on every address is asked on this machine's own.
            let own = ["0.0.0.0": "127.0.0.1", "::": "::1"][host] ?? host
            let addresses = try NetworkProbe.resolve(own, port: port)
            connect = { () throws(NetworkProbe.Failure) in try NetworkProbe.connect(addresses, bound: .seconds(2)) }
        case .socket(let path):
            connect = { () throws(NetworkProbe.Failure) in try NetworkProbe.connect(socket: path, bound: .seconds(2)) }
        }
        guard let connection = try? connect() else {
            if case .network(let host, let port) = address {
                try NetworkProbe.tryListening(try NetworkProbe.resolve(host, port: port))
            }
            return .free
        }
        guard let metrics = try? NetworkProbe.get("/metrics", on: connection, token: token),
            // Without the right token it says only whether all is well.
            metrics.body.contains("vigie_outbox_readings") || metrics.status == 401,
            let health = try? NetworkProbe.get("/healthz", on: connect(), token: token),
            ["ok\n", "unavailable\n"].contains(where: { health.body.hasPrefix($0) })
        else { return .stranger }
        return .gateway(status: health.status, health: health.body)
    }

    var checks: [Check] {
        guard let settings else {
            return [
                Check(
                    .monitoring, "endpoint", .warning, "none: nobody sees how this gateway is",
                    remedy: "monitoring: {listen: \"127.0.0.1:9464\"}")
            ]
        }
        var checks = [occupantCheck(settings.address)]
        if let tokenProblem {
            checks.append(
                Check(
                    .monitoring, "token", .failure, tokenProblem,
                    remedy: "let this user and the gateway's read monitoring.token_file, and nobody else"))
        }
        if !settings.address.isLocal, settings.tokenFile == nil {
            checks.append(
                Check(
                    .monitoring, "exposure", .warning,
                    "other machines reach \(settings.address), and monitoring.unprotected lets them read it",
                    remedy: "set monitoring.token_file, unless something else protects it"))
        }
        return checks
    }

    private func occupantCheck(_ address: HTTPEndpointSettings.Address) -> Check {
        let subject = "\(address)"
        switch occupant {
        case .free: return Check(.monitoring, subject, .ok, "free; no gateway is running there")
        case .gateway(200, let health):
            let parts = health.split(separator: "\n").filter { $0.contains(": degraded") || $0.hasSuffix(": starting") }
            guard !parts.isEmpty else {
                return Check(.monitoring, subject, .ok, "a running gateway answers, and is healthy")
            }
            return Check(
                .monitoring, subject, .warning, "a running gateway answers: \(parts.joined(separator: "; "))",
                remedy: "journalctl -u vigie-gateway -n 50")
        case .gateway(let status, let health):
            let parts = health.split(separator: "\n").joined(separator: "; ")
            return Check(
                .monitoring, subject, .failure, "a running gateway answers \(status): \(parts)",
                remedy: "journalctl -u vigie-gateway -n 50")
        case .stranger:
            return Check(
                .monitoring, subject, .failure, "another program listens there",
                remedy: strangerRemedy(address))
        case .impossible(let reason):
            return Check(
                .monitoring, subject, .failure, "a gateway cannot listen there: \(reason)",
                remedy: "set monitoring.listen to an address of this board and a port above 1023")
        }
    }

    private func strangerRemedy(_ address: HTTPEndpointSettings.Address) -> String {
        switch address {
        case .network(_, let port):
            "sudo ss -ltnp 'sport = :\(port)' names it; end it, or set monitoring.listen to another port"
        case .socket(let path):
            "sudo ss -lxp 'src \(path)' names it; end it, or set monitoring.listen to another socket"
        }
    }
}
