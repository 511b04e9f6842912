import Configuration
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
    var listen: Endpoint?
    var occupant: Occupant

    static func gather(_ listen: Endpoint?) -> MonitoringExamination {
        guard let listen, listen.port > 0 else { return MonitoringExamination(listen: listen, occupant: .free) }
        // Who listens on every address is asked on this machine's own.
        let host = ["0.0.0.0": "127.0.0.1", "::": "::1"][listen.host] ?? listen.host
        do throws(NetworkProbe.Failure) {
            let addresses = try NetworkProbe.resolve(host, port: listen.port)
            func get(_ path: String) throws(NetworkProbe.Failure) -> (status: Int, body: String) {
                try NetworkProbe.get(path, on: NetworkProbe.connect(addresses, bound: .seconds(2)))
            }
            guard let connection = try? NetworkProbe.connect(addresses, bound: .seconds(2)) else {
                try NetworkProbe.tryListening(try NetworkProbe.resolve(listen.host, port: listen.port))
                return MonitoringExamination(listen: listen, occupant: .free)
            }
            guard let metrics = try? NetworkProbe.get("/metrics", on: connection),
                metrics.body.contains("vigie_outbox_readings"), let health = try? get("/healthz")
            else { return MonitoringExamination(listen: listen, occupant: .stranger) }
            return MonitoringExamination(
                listen: listen, occupant: .gateway(status: health.status, health: health.body))
        } catch {
            return MonitoringExamination(listen: listen, occupant: .impossible("\(error)"))
        }
    }

    var checks: [Check] {
        guard let listen else {
            return [
                Check(
                    .monitoring, "endpoint", .warning, "none: nobody sees how this gateway is",
                    remedy: "monitoring: {listen: \"127.0.0.1:9464\"}")
            ]
        }
        var checks = [occupantCheck(listen)]
        if !listen.host.hasPrefix("127."), listen.host != "::1", listen.host != "localhost" {
            checks.append(
                Check(
                    .monitoring, "exposure", .warning,
                    "\(listen.host) is not loopback, and the endpoint has no password",
                    remedy: "monitoring: {listen: \"127.0.0.1:\(listen.port)\"}, with a proxy before it"))
        }
        return checks
    }

    private func occupantCheck(_ listen: Endpoint) -> Check {
        let subject = "\(listen)"
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
                remedy:
                    "sudo ss -ltnp 'sport = :\(listen.port)' names it; end it, or set monitoring.listen to another port"
            )
        case .impossible(let reason):
            return Check(
                .monitoring, subject, .failure, "a gateway cannot listen there: \(reason)",
                remedy: "set monitoring.listen to an address of this board and a port above 1023")
        }
    }
}
