import CYAML

/// Reads one YAML 1.1 document with libyaml into a tree.
///
/// A configuration is written by hand and read by a daemon, so the parser takes the plain part of YAML: anchors,
/// aliases, tags and further documents are refused, which leaves nothing that can grow when it is read; depth and
/// the number of values are bounded.
struct YAMLParser {
    /// The deepest nesting that is read.
    static let maximumDepth = 32
    /// The most values that are read.
    static let maximumNodes = 100_000

    private let name: String
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private var nodes = 0
    private(set) var problems: [ConfigurationProblem] = []

    /// Parses `text`.
    /// - Returns: the root, and what was wrong without making the rest unreadable (duplicate keys).
    /// - Throws: `ConfigurationError` when the text is not such a document.
    static func parse(_ text: [UInt8], name: String) throws(ConfigurationError) -> (Node, [ConfigurationProblem]) {
        let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
        defer { parser.deallocate() }
        guard yaml_parser_initialize(parser) == 1 else {
            let problem = ConfigurationProblem(
                file: name, line: 0, column: 0, path: [], message: "cannot be read: out of memory")
            throw ConfigurationError(problems: [problem])
        }
        defer { yaml_parser_delete(parser) }
        var reader = YAMLParser(name: name, parser: parser)
        // libyaml keeps the pointer until the parser is deleted, so everything is read inside this scope.
        let result = text.withUnsafeBufferPointer { bytes -> Result<Node, ConfigurationError> in
            yaml_parser_set_input_string(parser, bytes.baseAddress, bytes.count)
            do throws(ConfigurationError) {
                return .success(try reader.document())
            } catch {
                return .failure(error)
            }
        }
        return (try result.get(), reader.problems)
    }

    private init(name: String, parser: UnsafeMutablePointer<yaml_parser_t>) {
        self.name = name
        self.parser = parser
    }

    private mutating func document() throws(ConfigurationError) -> Node {
        var event = try next()
        while event.kind == YAML_STREAM_START_EVENT || event.kind == YAML_DOCUMENT_START_EVENT {
            event = try next()
        }
        // An empty file is an empty mapping: every setting has its default or is reported missing.
        if event.kind == YAML_STREAM_END_EVENT { return Node(content: .mapping([]), mark: Mark(line: 1, column: 1)) }
        let root = try node(event, depth: 0)
        repeat { event = try next() } while event.kind == YAML_DOCUMENT_END_EVENT
        guard event.kind == YAML_STREAM_END_EVENT else {
            throw failure(event.mark, "one document is expected, and another begins here")
        }
        return root
    }

    private mutating func node(_ event: Event, depth: Int) throws(ConfigurationError) -> Node {
        nodes += 1
        guard depth <= YAMLParser.maximumDepth else {
            throw failure(event.mark, "nested deeper than \(YAMLParser.maximumDepth) levels")
        }
        guard nodes <= YAMLParser.maximumNodes else {
            throw failure(event.mark, "more than \(YAMLParser.maximumNodes) values")
        }
        guard !event.isDecorated else {
            throw failure(event.mark, "anchors (&), aliases (*) and tags (!) are not supported: write the value out")
        }
        switch event.kind {
        case YAML_SCALAR_EVENT:
            return Node(content: .scalar(event.text, isPlain: event.isPlain), mark: event.mark)
        case YAML_SEQUENCE_START_EVENT:
            var items: [Node] = []
            while true {
                let item = try next()
                if item.kind == YAML_SEQUENCE_END_EVENT { break }
                items.append(try node(item, depth: depth + 1))
            }
            return Node(content: .sequence(items), mark: event.mark)
        case YAML_MAPPING_START_EVENT:
            return Node(content: .mapping(try entries(depth: depth + 1)), mark: event.mark)
        default:
            throw failure(event.mark, "a value is expected here")
        }
    }

    private mutating func entries(depth: Int) throws(ConfigurationError) -> [Node.Entry] {
        var entries: [Node.Entry] = []
        var lines: [String: Int] = [:]
        while true {
            let event = try next()
            if event.kind == YAML_MAPPING_END_EVENT { return entries }
            let keyNode = try node(event, depth: depth)
            guard case .scalar(let key, _) = keyNode.content else {
                throw failure(keyNode.mark, "a key is expected here, found \(keyNode.summary)")
            }
            let value = try node(try next(), depth: depth)
            if let first = lines[key] {
                problems.append(problem(keyNode.mark, "duplicate key \"\(key)\": it is already on line \(first)"))
            } else {
                lines[key] = keyNode.mark.line
                entries.append(Node.Entry(key: key, mark: keyNode.mark, value: value))
            }
        }
    }

    /// What is needed of a libyaml event once its memory is given back.
    private struct Event {
        var kind: yaml_event_type_t
        var mark: Mark
        var text = ""
        var isPlain = false
        /// Whether it has an anchor or an explicit tag, or is an alias.
        var isDecorated = false
    }

    private mutating func next() throws(ConfigurationError) -> Event {
        var raw = yaml_event_t()
        guard yaml_parser_parse(parser, &raw) == 1 else { throw syntaxError() }
        defer { yaml_event_delete(&raw) }
        var event = Event(kind: raw.type, mark: Mark(raw.start_mark))
        switch raw.type {
        case YAML_ALIAS_EVENT:
            event.isDecorated = true
        case YAML_SCALAR_EVENT:
            let scalar = raw.data.scalar
            event.text = String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
            event.isPlain = scalar.style == YAML_PLAIN_SCALAR_STYLE
            event.isDecorated = scalar.anchor != nil || scalar.tag != nil
        case YAML_SEQUENCE_START_EVENT:
            event.isDecorated = raw.data.sequence_start.anchor != nil || raw.data.sequence_start.tag != nil
        case YAML_MAPPING_START_EVENT:
            event.isDecorated = raw.data.mapping_start.anchor != nil || raw.data.mapping_start.tag != nil
        default:
            break
        }
        return event
    }

    private func syntaxError() -> ConfigurationError {
        let state = parser.pointee
        var message = state.problem.map { String(cString: $0) } ?? "not valid YAML"
        if let context = state.context {
            message = "\(String(cString: context)) that begins on line \(state.context_mark.line + 1): \(message)"
        }
        // A reader error (bytes that are not UTF-8) has no mark of its own.
        return failure(Mark(state.error == YAML_READER_ERROR ? state.mark : state.problem_mark), message)
    }

    private func failure(_ mark: Mark, _ message: String) -> ConfigurationError {
        ConfigurationError(problems: problems + [problem(mark, message)])
    }

    private func problem(_ mark: Mark, _ message: String) -> ConfigurationProblem {
        ConfigurationProblem(file: name, line: mark.line, column: mark.column, path: [], message: message)
    }
}

extension Mark {
    /// libyaml counts from 0.
    fileprivate init(_ mark: yaml_mark_t) {
        self.init(line: Int(mark.line) + 1, column: Int(mark.column) + 1)
    }
}
