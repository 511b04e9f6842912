extension MetricsRegistry {
    /// The content type of `exposition()`.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// Every metric in Prometheus' text format, version 0.0.4.
    public func exposition() -> String {
        var text = ""
        for family in all {
            text += "# HELP \(family.name) \(escapedHelp(family.help))\n# TYPE \(family.name) \(family.kind.rawValue)\n"
            for series in family.series {
                switch series.source {
                case .counter(let counter):
                    text += "\(family.name)\(labelText(series.labels)) \(counter.value)\n"
                case .gauge(let gauge):
                    text += "\(family.name)\(labelText(series.labels)) \(numberText(gauge.value))\n"
                case .reading(let read):
                    guard let value = read() else { continue }
                    text += "\(family.name)\(labelText(series.labels)) \(numberText(value))\n"
                case .histogram(let histogram):
                    text += histogramText(family.name, series.labels, histogram)
                }
            }
        }
        return text
    }
}

private func histogramText(_ name: String, _ labels: [String: String], _ histogram: Histogram) -> String {
    let snapshot = histogram.snapshot
    var text = ""
    var cumulative: UInt64 = 0
    for (bound, count) in zip(histogram.bounds + [.infinity], snapshot.counts) {
        cumulative += count
        text += "\(name)_bucket\(labelText(labels, bound: bound)) \(cumulative)\n"
    }
    text += "\(name)_sum\(labelText(labels)) \(numberText(snapshot.sum))\n"
    text += "\(name)_count\(labelText(labels)) \(cumulative)\n"
    return text
}

/// `{name="value",...}` in the order of the names, or nothing.
private func labelText(_ labels: [String: String], bound: Double? = nil) -> String {
    var pairs = labels.sorted { $0.key < $1.key }.map { "\($0.key)=\"\(escapedLabelValue($0.value))\"" }
    if let bound { pairs.append("le=\"\(numberText(bound))\"") }
    return pairs.isEmpty ? "" : "{" + pairs.joined(separator: ",") + "}"
}

/// A Go-style number: whole ones without a fraction, and `+Inf`, `-Inf`, `NaN`.
func numberText(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    if let whole = Int64(exactly: value), whole.magnitude < 1 << 53 { return "\(whole)" }
    return "\(value)"
}

private func escapedHelp(_ text: String) -> String {
    escaped(text, quotes: false)
}

private func escapedLabelValue(_ text: String) -> String {
    escaped(text, quotes: true)
}

private func escaped(_ text: String, quotes: Bool) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\\": result += "\\\\"
        case "\n": result += "\\n"
        case "\"" where quotes: result += "\\\""
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}
