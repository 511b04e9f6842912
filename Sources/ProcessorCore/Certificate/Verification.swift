import PostgresClient
import Windowing

/// Checks the tables against each other in one snapshot, while processors may go on writing.
struct Verification {
    let connection: PostgresConnection
    /// The windows that there should be.
    let windows: [WindowSpecification]
    /// What the broker had of the topic a moment ago; nil if it was not asked.
    var topicEnds: TopicEnds?

    func run() throws -> Certificate {
        try connection.transaction {
            try connection.execute(VerificationQueries.snapshot)
            return try certificate()
        }
    }

    /// The same in a transaction that is open.
    func certificate() throws -> Certificate {
        var certificate = Certificate()
        try checkStreams(&certificate)
        try countLosses(&certificate)
        try checkWindows(&certificate)
        try checkConflicts(&certificate)
        try check("alerts", VerificationQueries.alerts, &certificate)
        try check("sensors", VerificationQueries.sensors, &certificate)
        try check("gateways", VerificationQueries.gateways, &certificate)
        try check("offsets", VerificationQueries.offsets, &certificate)
        if let topicEnds { certificate.unread = try topicEnds.unread(connection) }
        return certificate
    }

    /// Every reading that came under the number of another one has a row under its own stream, or is told.
    private func checkConflicts(_ certificate: inout Certificate) throws {
        let rows = ResultRows(
            try connection.query(VerificationQueries.conflicts), of: VerificationQueries.ConflictCountColumn.self)
        for row in rows {
            let gatewayID: String = try row.value(.gatewayID)
            let (open, unfounded) = (try row.value(.open, as: Int64.self), try row.value(.unfounded, as: Int64.self))
            certificate.conflicts += try row.value(.conflicts, as: Int64.self)
            certificate.openConflicts += open
            if open > 0, certificate.conflictExamples.count < Certificate.mostExamples {
                let example: String = try row.optional(.example) ?? ""
                certificate.conflictExamples.append("\(gatewayID): \(open), such as \(example)")
            }
            if unfounded > 0 {
                certificate.addMismatches(
                    unfounded,
                    "\(unfounded) conflicts of \(gatewayID) are said to be settled, and their readings never came")
            }
        }
    }

    /// Whether a table agrees with the others.
    /// - Parameter query: gives the problems, each with its count and an example.
    private func check(_ things: String, _ query: String, _ certificate: inout Certificate) throws {
        for row in ResultRows(try connection.query(query), of: VerificationQueries.ProblemColumn.self) {
            let (kind, count, example) = try VerificationQueries.problem(row)
            certificate.addMismatches(count, "\(count) \(things) \(kind), such as \(example)")
        }
    }

    /// Every window against the rows that it must hold, and every row against the windows.
    private func checkWindows(_ certificate: inout Certificate) throws {
        let counts = ResultRows(
            try connection.query(VerificationQueries.windowCounts), of: VerificationQueries.WindowCountColumn.self)
        if let counts = counts.first {
            certificate.windows = try counts.value(.windows)
            certificate.finalWindows = try counts.value(.finalWindows)
            certificate.oldWindows = try counts.value(.oldWindows)
        }
        let problems = ResultRows(
            try connection.query(
                VerificationQueries.compareWindows,
                [.array(windows.map(\.size)), .array(windows.map(\.slide))]),
            of: VerificationQueries.WindowProblemColumn.self)
        for problem in problems {
            let count: Int64 = try problem.value(.count)
            guard try problem.value(.isMismatch) else {
                certificate.windowsBehind += count
                continue
            }
            let (kind, example): (String, String) = (try problem.value(.problem), try problem.value(.example))
            certificate.addMismatches(count, "\(count) windows \(kind), such as \(example)")
        }
    }
}
