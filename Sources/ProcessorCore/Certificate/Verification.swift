import PostgresClient

/// Checks the tables against each other in one snapshot, while processors may go on writing.
struct Verification {
    let connection: PostgresConnection
    /// What the broker had of the topic a moment ago; nil if it was not asked.
    var topicEnds: TopicEnds?

    func run() throws -> Certificate {
        try connection.transaction {
            try connection.execute(VerificationQueries.snapshot)
            var certificate = Certificate()
            try checkStreams(&certificate)
            try countLosses(&certificate)
            try checkWindows(&certificate)
            try checkConflicts(&certificate)
            try checkAlerts(&certificate)
            if let topicEnds { certificate.unread = try topicEnds.unread(connection) }
            return certificate
        }
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
                certificate.mismatchCount += unfounded
                certificate.mismatches.append(
                    "\(unfounded) conflicts of \(gatewayID) are said to be settled, and their readings never came")
            }
        }
    }

    /// No alert is open twice, and what processors take for open is what the table says.
    private func checkAlerts(_ certificate: inout Certificate) throws {
        let problems = ResultRows(
            try connection.query(VerificationQueries.alerts), of: VerificationQueries.ProblemColumn.self)
        for problem in problems {
            let (kind, count, example) = try VerificationQueries.problem(problem)
            certificate.mismatchCount += count
            certificate.mismatches.append("\(count) alerts \(kind), such as \(example)")
        }
    }

    /// Every window against the rows that were there when it was written, and every row against the windows.
    private func checkWindows(_ certificate: inout Certificate) throws {
        let counts = ResultRows(
            try connection.query(VerificationQueries.windowCounts), of: VerificationQueries.WindowCountColumn.self)
        if let counts = counts.first {
            certificate.windows = try counts.value(.windows)
            certificate.finalWindows = try counts.value(.finalWindows)
            certificate.oldWindows = try counts.value(.oldWindows)
        }
        let problems = ResultRows(
            try connection.query(VerificationQueries.compareWindows), of: VerificationQueries.ProblemColumn.self)
        for problem in problems {
            let (kind, count, example) = try VerificationQueries.problem(problem)
            certificate.mismatchCount += count
            certificate.mismatches.append("\(count) windows \(kind), such as \(example)")
        }
    }
}
