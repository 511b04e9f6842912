/// A mapping of the document while it is being read. It remembers which keys were asked for.
///
/// A method that meets a problem reports it and returns a stand-in; `ConfigurationDocument.decode` then throws.
public final class Section {
    private let entries: [Node.Entry]
    /// Something else stands in its place, which is reported: what it should hold is not said to be missing besides.
    private let isSomethingElse: Bool
    private let mark: Mark
    private let path: [String]
    private let report: Report
    private var knownKeys: [String] = []
    private var children: [Section] = []

    init(node: Node?, mark: Mark, path: [String], report: Report) {
        self.mark = mark
        self.path = path
        self.report = report
        switch node?.content {
        case .mapping(let entries):
            self.entries = entries
            isSomethingElse = false
        case .some where node?.isNull == false:
            entries = []
            isSomethingElse = true
            report.add("expected a mapping, found \(node?.summary ?? "")", at: mark, path: path)
        default:
            entries = []
            isSomethingElse = false
        }
    }

    /// Whether the mapping has `key` with a value.
    public func has(_ key: String) -> Bool {
        entry(key) != nil
    }

    /// The keys in the order of the file.
    public var keys: [String] { entries.map(\.key) }

    /// Reads a setting that must be there.
    public func required<Value>(_ key: String, as setting: Setting<Value>) -> Value {
        guard let value = optional(key, as: setting) else {
            if !isSomethingElse {
                report.add("missing \"\(key)\": expected \(setting.expected)", at: mark, path: path)
            }
            return setting.standIn
        }
        return value
    }

    /// Reads a setting that has a default.
    public func value<Value>(_ key: String, as setting: Setting<Value>, default value: Value) -> Value {
        optional(key, as: setting) ?? value
    }

    /// Reads a setting that may be absent.
    public func optional<Value>(_ key: String, as setting: Setting<Value>) -> Value? {
        entry(key).map { convert($0.value, setting, path: path + [key]) }
    }

    /// Reads a list of single values; absent is empty.
    public func list<Value>(_ key: String, as setting: Setting<Value>) -> [Value] {
        items(key).enumerated().map { index, node in
            convert(node, setting, path: path + ["\(key)[\(index + 1)]"])
        }
    }

    /// Reads a mapping from names that the file chooses to single values, in the order of the file; absent is empty.
    public func map<Value>(_ key: String, as setting: Setting<Value>) -> [(key: String, value: Value)] {
        let section = self.section(key)
        return section.keys.map { ($0, section.required($0, as: setting)) }
    }

    /// Reads a nested mapping. An absent one is empty: its required settings are reported missing here.
    public func section(_ key: String) -> Section {
        let entry = entry(key)
        return child(entry?.value, mark: entry?.mark ?? mark, path: path + [key])
    }

    /// Reads a nested mapping that may be absent.
    public func optionalSection(_ key: String) -> Section? {
        entry(key).map { child($0.value, mark: $0.mark, path: path + [key]) }
    }

    /// Reads a list of mappings; absent is empty.
    /// - Parameters:
    ///   - key: the list.
    ///   - singular: what one of them is called in messages, such as `station`.
    ///   - nameKey: the key that names one of them; without it, it is counted from 1.
    public func sections(_ key: String, each singular: String, namedBy nameKey: String? = nil) -> [Section] {
        items(key).enumerated().map { index, node in
            var label = "\(singular) \(index + 1)"
            if let nameKey, case .mapping(let entries) = node.content,
                case .scalar(let name, _)? = entries.first(where: { $0.key == nameKey })?.value.content
            {
                label = "\(singular) \"\(name)\""
            }
            return child(node, mark: node.mark, path: path + [label])
        }
    }

    /// Reports a problem that only the program can see, such as two settings that exclude each other.
    /// - Parameters:
    ///   - message: what is wrong and what to write.
    ///   - key: the setting that it is about; nil for the section as a whole.
    public func problem(_ message: String, at key: String? = nil) {
        let entry = entries.first { $0.key == key }
        report.add(message, at: entry?.mark ?? mark, path: path + (key.map { [$0] } ?? []))
    }

    /// Notes what a person should know of although the program starts, such as a file that is not there yet.
    /// - Parameters:
    ///   - message: what is not as it should be, and what follows from it.
    ///   - key: the setting that it is about; nil for the section as a whole.
    public func remark(_ message: String, at key: String? = nil) {
        let entry = entries.first { $0.key == key }
        report.remark(message, at: entry?.mark ?? mark, path: path + (key.map { [$0] } ?? []))
    }

    /// Whether nothing in the document is a problem so far.
    public var isDocumentValid: Bool { report.problems.isEmpty }

    func reportUnknownKeys() {
        for entry in entries where !knownKeys.contains(entry.key) {
            var message = "unknown key \"\(entry.key)\""
            if let near = nearest(to: entry.key, among: knownKeys) {
                message += ": did you mean \"\(near)\"?"
            } else {
                message += "; known here: \(knownKeys.joined(separator: ", "))"
            }
            report.add(message, at: entry.mark, path: path)
        }
        for child in children { child.reportUnknownKeys() }
    }

    private func entry(_ key: String) -> Node.Entry? {
        if !knownKeys.contains(key) { knownKeys.append(key) }
        return entries.first { $0.key == key && !$0.value.isNull }
    }

    private func items(_ key: String) -> [Node] {
        guard let entry = entry(key) else { return [] }
        guard case .sequence(let items) = entry.value.content else {
            report.add("expected a list, found \(entry.value.summary)", at: entry.value.mark, path: path + [key])
            return []
        }
        return items
    }

    private func child(_ node: Node?, mark: Mark, path: [String]) -> Section {
        let child = Section(node: node, mark: mark, path: path, report: report)
        children.append(child)
        return child
    }

    private func convert<Value>(_ node: Node, _ setting: Setting<Value>, path: [String]) -> Value {
        if case .scalar(let text, _) = node.content, !node.isNull, let value = setting.convert(text) { return value }
        report.add("expected \(setting.expected), found \(node.summary)", at: node.mark, path: path)
        return setting.standIn
    }
}

/// The candidate that is at most a third of its letters away from `word` (Levenshtein distance).
func nearest(to word: String, among candidates: [String]) -> String? {
    let scored = candidates.map { (candidate: $0, distance: editDistance(Array(word.utf8), Array($0.utf8))) }
    guard let best = scored.min(by: { $0.distance < $1.distance }) else { return nil }
    return best.distance <= max(1, best.candidate.utf8.count / 3) ? best.candidate : nil
}

private func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    // Long keys are never near; this also bounds the work on a hostile file.
    guard left.count <= 64, right.count <= 64 else { return Int.max }
    var row = Array(0...right.count)
    for (i, byte) in left.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, other) in right.enumerated() {
            let substitution = diagonal + (byte == other ? 0 : 1)
            diagonal = row[j + 1]
            row[j + 1] = min(substitution, row[j] + 1, row[j + 1] + 1)
        }
    }
    return row[right.count]
}
