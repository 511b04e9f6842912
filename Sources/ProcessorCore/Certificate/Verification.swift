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
            try checkAlerts(&certificate)
            if let topicEnds { certificate.unread = try topicEnds.unread(connection) }
            return certificate
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
