/// A value in a configuration file, with its place.
struct Node: Sendable {
    /// What a value can be. Anchors, aliases and tags are refused by the parser, so this is a tree.
    enum Content: Sendable {
        case scalar(String, isPlain: Bool)
        case sequence([Node])
        case mapping([Entry])
    }

    /// A key and its value.
    struct Entry: Sendable {
        var key: String
        var mark: Mark
        var value: Node
    }

    var content: Content
    var mark: Mark

    /// Whether the value says nothing: `key:`, `~` or `null`.
    var isNull: Bool {
        guard case .scalar(let text, isPlain: true) = content else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    /// What is there, for the end of "expected ..., found ...".
    var summary: String {
        switch content {
        case .scalar where isNull: "nothing"
        case .scalar(let text, _) where text.utf8.count > 60: "\"\(text.prefix(60))...\""
        case .scalar(let text, _): "\"\(text)\""
        case .sequence: "a list"
        case .mapping: "a mapping"
        }
    }
}

/// A place in a file; line and column count from 1.
struct Mark: Sendable {
    var line: Int
    var column: Int
}
