import Foundation

/// A part of documentation/configuration.md, to be compared with what a program says to configurations.
///
/// Its sections are headings such as `### kafka` or `### stations[].chips[] of type scd40, scd41`, several separated by
/// commas, each with a table of keys, values, defaults and meanings. `[]` stands for the first entry of a list.
public struct ConfigurationReference {
    /// What a program makes of a configuration.
    public enum Outcome {
        /// The settings, all of them, as lines in whatever order.
        case settings(String)
        /// What is wrong, a line each.
        case problems(String)
    }

    private struct Row {
        var key: String
        var value: String
        var standard: String
    }

    private struct Part {
        /// The way to the mapping; nothing for the top level.
        var path: [String]
        /// The type of the chip that it is about.
        var type: String?
        var rows: [Row]
    }

    private let parts: [Part]
    private let least: [(String, String)]
    private let examples: [(String, String)]

    /// Reads the page.
    /// - Parameters:
    ///   - file: the heading of the configuration's part, such as `processor.yaml`.
    ///   - least: the paths and values without which a configuration is not valid.
    ///   - examples: values of what is required in sections that may be left out.
    public init(file: String, least: [(String, String)], examples: [(String, String)]) throws {
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../documentation/configuration.md")
        let text = try String(contentsOf: page, encoding: .utf8)
        guard let chapter = text.components(separatedBy: "\n## ").first(where: { $0.hasPrefix("\(file)\n") }) else {
            throw CocoaError(.fileReadCorruptFile)
        }
        var parts: [Part] = []
        for section in chapter.components(separatedBy: "\n### ").dropFirst() {
            let lines = section.components(separatedBy: "\n")
            let rows = lines.filter { $0.hasPrefix("| `") }.map { line in
                let cells = line.components(separatedBy: " | ")
                return Row(
                    key: String(cells[0].dropFirst(3).dropLast()), value: cells[1], standard: cells[2])
            }
            let heading = lines[0].components(separatedBy: " of type ")
            let names = heading[0].components(separatedBy: ", ")
            let types = heading.count > 1 ? heading[1].components(separatedBy: ", ") : []
            for name in names {
                let path = name == "top level" ? [] : name.components(separatedBy: ".")
                if types.isEmpty { parts.append(Part(path: path, type: nil, rows: rows)) }
                for type in types { parts.append(Part(path: path, type: type, rows: rows)) }
            }
        }
        self.parts = parts
        self.least = least
        self.examples = examples
    }

    /// Where page and program do not agree, a sentence each.
    public func disagreements(_ read: (String) -> Outcome) -> [String] {
        var found: [String] = []
        for part in parts {
            let place = part.path.joined(separator: ".") + (part.type.map { " of \($0)" } ?? "")
            // What is common to all types of chips is looked at with each of them.
            let isCommon = part.type == nil && parts.contains { $0.path == part.path && $0.type != nil }
            let base = base(of: part)
            if !isCommon {
                let common = part.type == nil ? [] : parts.first { $0.path == part.path && $0.type == nil }?.rows ?? []
                let documented = Set((part.rows + common).map(\.key))
                let known = knownKeys(base, part.path, read)
                if known != documented {
                    found.append(
                        "\(place): only the program knows \(known.subtracting(documented).sorted()), "
                            + "only the page has \(documented.subtracting(known).sorted())")
                }
            }
            for row in part.rows {
                found += disagreements(row, at: part.path, base, read).map { "\(place): \(row.key): \($0)" }
            }
        }
        return found
    }

    private func base(of part: Part) -> Tree {
        var tree = Tree.mapping([])
        for (path, value) in least { tree.set(path.components(separatedBy: "."), to: .text(value)) }
        if let type = part.type, let chip = part.path.firstIndex(of: "chips[]") {
            tree.set(part.path[...chip] + ["type"], to: .text(type))
        }
        for count in part.path.indices {
            let section = Array(part.path[...count])
            tree.set(section, to: nil)
            for (path, value) in examples {
                let words = path.components(separatedBy: ".")
                if words.dropLast().elementsEqual(section) { tree.set(words, to: .text(value)) }
            }
        }
        return tree
    }

    private func knownKeys(_ base: Tree, _ path: [String], _ read: (String) -> Outcome) -> Set<String> {
        var tree = base
        tree.set(path + ["qqqqqqqqqqqq"], to: .text("1"))
        guard case .problems(let problems) = read(tree.flow) else { return [] }
        let marker = "unknown key \"qqqqqqqqqqqq\"; known here: "
        guard let line = problems.components(separatedBy: "\n").first(where: { $0.contains(marker) }) else { return [] }
        return Set((line.components(separatedBy: marker).last ?? "").components(separatedBy: ", "))
    }

    private func disagreements(
        _ row: Row, at path: [String], _ base: Tree, _ read: (String) -> Outcome
    ) -> [String] {
        var found: [String] = []
        var wrong = base
        wrong.set(path + [row.key], to: .text(row.value == "a mapping" ? "[]" : "{}"))
        let isOpen = row.value.hasSuffix(" ...")
        let expected = "expected " + (isOpen ? String(row.value.dropLast(3)) : row.value + ", found ")
        switch read(wrong.flow) {
        case .settings: found.append("any value is taken")
        case .problems(let problems) where !problems.contains(expected):
            found.append("the program does not say \"\(expected)\" but: \(problems)")
        case .problems: break
        }
        if row.standard == "required" {
            var without = base
            without.remove(path + [row.key])
            if case .settings = read(without.flow) { found.append("is not required") }
        } else if row.standard.hasPrefix("`") {
            var with = base
            with.set(path + [row.key], to: .text(String(row.standard.dropFirst().dropLast())))
            switch (read(base.flow), read(with.flow)) {
            case (.settings(let before), .settings(let after)):
                // Dictionaries are written in an order of their own.
                if lines(before) != lines(after) { found.append("\(row.standard) is not the default") }
            case (.problems(let problems), _), (_, .problems(let problems)):
                found.append("\(row.standard) cannot be compared: \(problems)")
            }
        }
        return found
    }
}

private func lines(_ text: String) -> [String] { text.components(separatedBy: "\n").sorted() }

/// A configuration as a tree.
private indirect enum Tree {
    case text(String)
    case mapping([(String, Tree)])
    case list([Tree])

    /// As YAML on one line.
    var flow: String {
        switch self {
        case .text(let text): text
        case .mapping(let entries): "{" + entries.map { "\($0.0): \($0.1.flow)" }.joined(separator: ", ") + "}"
        case .list(let items): "[" + items.map(\.flow).joined(separator: ", ") + "]"
        }
    }

    /// Puts a value at the end of a path such as `stations[]`, `chips[1]`, `type`; nil makes an empty mapping if there is
    /// nothing.
    mutating func set(_ path: [String], to value: Tree?) {
        guard let word = path.first else {
            if let value { self = value }
            return
        }
        var entries: [(String, Tree)] = []
        if case .mapping(let known) = self { entries = known }
        let parts = word.components(separatedBy: "[")
        let place = entries.firstIndex { $0.0 == parts[0] }
        var child = place.map { entries[$0].1 } ?? (parts.count > 1 ? .list([]) : .mapping([]))
        if parts.count > 1 {
            var items: [Tree] = []
            if case .list(let known) = child { items = known }
            let index = Int(parts[1].dropLast()) ?? 0
            while items.count <= index { items.append(.mapping([])) }
            items[index].set(Array(path.dropFirst()), to: value)
            child = .list(items)
        } else {
            child.set(Array(path.dropFirst()), to: value)
        }
        if let place { entries[place].1 = child } else { entries.append((parts[0], child)) }
        self = .mapping(entries)
    }

    /// Removes what is at the end of a path.
    mutating func remove(_ path: [String]) {
        guard let word = path.first, case .mapping(var entries) = self else { return }
        let parts = word.components(separatedBy: "[")
        guard let place = entries.firstIndex(where: { $0.0 == parts[0] }) else { return }
        if path.count == 1 {
            entries.remove(at: place)
        } else if parts.count > 1, case .list(var items) = entries[place].1 {
            items[0].remove(Array(path.dropFirst()))
            entries[place].1 = .list(items)
        } else {
            entries[place].1.remove(Array(path.dropFirst()))
        }
        self = .mapping(entries)
    }
}
