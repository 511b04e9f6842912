import Platform

/// One thing that is wrong in a configuration file: where, and what to write instead.
public struct ConfigurationProblem: Sendable, Equatable, CustomStringConvertible {
    /// The file's name as it was given.
    public var file: String
    /// The line, from 1; 0 if the problem is the file as a whole.
    public var line: Int
    /// The column, from 1; 0 if the problem is the file as a whole.
    public var column: Int
    /// The way to the setting, such as `station "hall"`, `interval`.
    public var path: [String]
    /// What is wrong, for a person.
    public var message: String

    /// One line: `gateway.yaml:12: station "hall": interval: expected a duration such as 10s, found "ten"`.
    public var description: String {
        let place = line > 0 ? "\(file):\(line)" : file
        return ([place] + path + [message]).joined(separator: ": ")
    }
}

/// Everything that is wrong in a configuration file, in the order of its lines.
public struct ConfigurationError: ErrorWithExitStatus, Sendable, Equatable, CustomStringConvertible {
    /// The problems; at least one.
    public var problems: [ConfigurationProblem]

    /// One problem a line.
    public var description: String {
        problems.map(\.description).joined(separator: "\n")
    }

    /// Only a change of the file helps.
    public var exitStatus: Int32 { ExitStatus.configuration }
}
