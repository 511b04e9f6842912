import Alerting
import Configuration
import HTTPClient
import Platform
import Readings

/// Where alerts are told.
struct WebhookSettings: Sendable {
    /// Where to.
    var address: HTTPAddress
    /// A file with the bearer token, read before every request; nil for none.
    var tokenFile: String?
    /// A file with the authorities to trust; nil for the system's.
    var authorities: String?
    /// How long an answer may take.
    var timeout: Duration

    /// Reads the section `webhook`.
    init?(_ section: Section) {
        let url = section.required("url", as: .text)
        tokenFile = section.optional("token_file", as: .text)
        authorities = section.optional("ca_file", as: .text)
        timeout = section.value("timeout", as: .duration(.milliseconds(1)...(.seconds(20))), default: .seconds(10))
        guard let address = HTTPAddress(url) else {
            if !url.isEmpty { section.problem("expected an address such as https://example.org/hook", at: "url") }
            return nil
        }
        self.address = address
    }
}

extension AlertRules {
    /// Reads the sections `rules` and `alerts`.
    init(_ root: Section) {
        self.init()
        if let section = root.optionalSection("rules") {
            for quantity in Quantity.aggregated {
                if let rule = section.optionalSection(quantity.name) { self[quantity] = QuantityRule(rule) }
            }
        }
        guard let section = root.optionalSection("alerts") else { return }
        fault = section.optionalSection("fault").map {
            FaultRule(severity: $0.severity, minimumDuration: $0.milliseconds("for", default: .zero))
        }
        silence = section.optionalSection("silence").map {
            SilenceRule(
                severity: $0.severity, intervals: $0.value("intervals", as: .integer(1...1_000_000), default: 5),
                least: $0.milliseconds("at_least", default: .seconds(60)))
        }
        loss = section.optionalSection("loss").map {
            let rule = LossRule(
                severity: $0.severity, minimumDuration: $0.milliseconds("for", default: .seconds(600)),
                clearAfter: $0.milliseconds("clear_after", default: .seconds(86_400)))
            if rule.clearAfter <= rule.minimumDuration { $0.problem("must be longer than \"for\"", at: "clear_after") }
            return rule
        }
        conflict = section.optionalSection("conflict").map { ConflictRule(severity: $0.severity) }
    }
}

extension QuantityRule {
    /// Reads the rule of a quantity.
    init(_ section: Section) {
        self.init(
            warning: Bounds(section.optionalSection("warning")),
            critical: Bounds(section.optionalSection("critical")),
            hysteresis: section.value("hysteresis", as: .number(0...), default: 0),
            minimumDuration: section.milliseconds("for", default: .zero))
        if critical.above < warning.above && warning.above < .infinity
            || critical.below > warning.below && warning.below > -.infinity
        {
            section.problem("is passed before the warning", at: "critical")
        }
        let (lowest, highest) = (max(warning.below, critical.below), min(warning.above, critical.above))
        if lowest > highest {
            section.problem("\"below\" is above \"above\"")
        } else if hysteresis > highest - lowest {
            section.problem("is wider than the bounds, so no alert would close", at: "hysteresis")
        }
    }
}

extension Bounds {
    fileprivate init(_ section: Section?) {
        self.init()
        guard let section else { return }
        below = section.optional("below", as: .number()) ?? below
        above = section.optional("above", as: .number()) ?? above
    }
}

extension Section {
    fileprivate var severity: Severity { value("severity", as: .choice(Severity.warning), default: .warning) }

    fileprivate func milliseconds(_ key: String, default value: Duration) -> Int64 {
        self.value(key, as: .duration(), default: value).millisecondsRoundedDown
    }
}
