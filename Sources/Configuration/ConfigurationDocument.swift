import Glibc
import Platform

/// A configuration file, read once and turned into typed settings.
///
///     let settings = try ConfigurationDocument(file: path).decode { root in
///         let gateway = root.section("gateway")
///         return Settings(
///             id: gateway.required("id", as: .text),
///             interval: gateway.value("interval", as: .duration(.seconds(1)...), default: .seconds(10)))
///     }
///
/// `decode` reads everything, and then either every setting is right or it throws every problem at once. A key that
/// was not asked for is a problem too: a misspelt setting is never silently the default.
public struct ConfigurationDocument: Sendable {
    /// The largest file that is read.
    static let maximumSize = ByteCount.mebibytes(1)

    let name: String
    let root: Node
    private let problems: [ConfigurationProblem]

    /// Parses a text.
    /// - Parameters:
    ///   - text: YAML.
    ///   - name: stands for the file in messages.
    /// - Throws: `ConfigurationError` if it is not YAML.
    public init(text: String, name: String) throws(ConfigurationError) {
        try self.init(bytes: Array(text.utf8), name: name)
    }

    /// Reads and parses a file.
    /// - Throws: `ConfigurationError` if it cannot be read or is not YAML.
    public init(file path: String) throws(ConfigurationError) {
        let bytes: [UInt8]
        do {
            bytes = try readFile(path, limit: Int(ConfigurationDocument.maximumSize.bytes), waits: true)
        } catch {
            let message = "cannot be read: \(String(cString: strerror(error.code)))"
            throw ConfigurationError(problems: [
                ConfigurationProblem(file: path, line: 0, column: 0, path: [], message: message)
            ])
        }
        try self.init(bytes: bytes, name: path)
    }

    private init(bytes: [UInt8], name: String) throws(ConfigurationError) {
        self.name = name
        (root, problems) = try YAMLParser.parse(bytes, name: name)
    }

    /// Turns the document into settings.
    /// - Parameter body: asks the root section for every setting that the program knows.
    /// - Throws: `ConfigurationError` with every problem of the file.
    public func decode<Settings>(_ body: (Section) -> Settings) throws(ConfigurationError) -> Settings {
        try decodeWithRemarks(body).settings
    }

    /// Turns the document into settings, and says what a person should know of it although it is valid.
    /// - Parameter body: asks the root section for every setting that the program knows.
    /// - Returns: the settings, and the remarks in the order of their lines.
    /// - Throws: `ConfigurationError` with every problem of the file.
    public func decodeWithRemarks<Settings>(
        _ body: (Section) -> Settings
    ) throws(ConfigurationError) -> (settings: Settings, remarks: [ConfigurationProblem]) {
        let report = Report(file: name, problems: problems)
        let section = Section(node: root, mark: root.mark, path: [], report: report)
        let settings = body(section)
        section.reportUnknownKeys()
        guard report.problems.isEmpty else {
            throw ConfigurationError(problems: report.problems.sorted { ($0.line, $0.column) < ($1.line, $1.column) })
        }
        return (settings, report.remarks.sorted { ($0.line, $0.column) < ($1.line, $1.column) })
    }
}

/// The problems and remarks found so far.
final class Report {
    let file: String
    private(set) var problems: [ConfigurationProblem]
    private(set) var remarks: [ConfigurationProblem] = []

    init(file: String, problems: [ConfigurationProblem]) {
        self.file = file
        self.problems = problems
    }

    func add(_ message: String, at mark: Mark, path: [String]) {
        problems.append(
            ConfigurationProblem(file: file, line: mark.line, column: mark.column, path: path, message: message))
    }

    func remark(_ message: String, at mark: Mark, path: [String]) {
        remarks.append(
            ConfigurationProblem(file: file, line: mark.line, column: mark.column, path: path, message: message))
    }
}
