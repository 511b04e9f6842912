/// Numbers as a person reads them in a terminal.
public enum PlainNumbers {
    /// A whole number with its thousands apart, such as `1,234,567`.
    public static func count(_ value: some BinaryInteger) -> String {
        let digits = String(value.magnitude)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index).isMultiple(of: 3) { text += "," }
            text.append(digit)
        }
        return value < 0 ? "-" + text : text
    }

    /// A rate: whole from ten on, else with one digit.
    public static func rate(_ value: Double) -> String {
        guard value.isFinite, value.magnitude < 1e15 else { return "?" }
        return value.magnitude >= 10 || value == 0 ? count(Int64(value.rounded())) : fixed(value, digits: 1)
    }

    /// A short time, such as `850 us`, `12.3 ms`, `4.50 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
    public static func seconds(_ value: Double?) -> String {
        guard let value, value.isFinite, value.magnitude < 1e12 else { return "-" }
        if value < 0.001 { return "\(Int((max(0, value) * 1e6).rounded())) us" }
        if value < 1 { return fixed(value * 1000, digits: value < 0.1 ? 1 : 0) + " ms" }
        if value < 60 { return fixed(value, digits: value < 10 ? 2 : 1) + " s" }
        let whole = Int64(value)
        if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
        if whole < 86_400 { return "\(whole / 3600) h \(whole / 60 % 60) min" }
        return "\(whole / 86_400) d \(whole / 3600 % 24) h"
    }

    /// A time between two clocks that count milliseconds.
    public static func between(_ value: Double?) -> String {
        guard let value, value <= 0.001 else { return seconds(value) }
        return "under 1 ms"
    }

    /// A size, such as `61.4 MB`.
    public static func bytes(_ value: Double?) -> String {
        guard let value, value.isFinite, value >= 0, value < 1e18 else { return "-" }
        var (scaled, unit) = (value, "B")
        for name in ["kB", "MB", "GB", "TB"] where scaled >= 1000 { (scaled, unit) = (scaled / 1000, name) }
        return unit == "B" ? "\(Int(scaled)) B" : fixed(scaled, digits: scaled < 100 ? 1 : 0) + " " + unit
    }

    /// A share, such as `12 %`.
    public static func share(_ value: Double?) -> String {
        guard let value, value.isFinite, value.magnitude < 1e6 else { return "-" }
        return fixed(value * 100, digits: value < 0.1 ? 1 : 0) + " %"
    }

    /// With so many digits behind the point, 0 to 9; `?` for what has no such form.
    public static func fixed(_ value: Double, digits: Int) -> String {
        var scale: Int64 = 1
        for _ in 0..<min(max(digits, 0), 9) { scale *= 10 }
        guard value.isFinite, value.magnitude < 9e18 / Double(scale) else { return "?" }
        let scaled = Int64((value * Double(scale)).rounded())
        let whole = (scaled < 0 && scaled / scale == 0 ? "-" : "") + count(scaled / scale)
        guard digits > 0 else { return whole }
        let fraction = String((scaled % scale).magnitude)
        return whole + "." + String(repeating: "0", count: digits - fraction.count) + fraction
    }
}
