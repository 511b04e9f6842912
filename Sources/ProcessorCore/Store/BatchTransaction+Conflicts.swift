import Alerting
import PostgresClient
import Readings

/// A number that comes a second time is a duplicate if the reading is the same, else a conflict: it is in the rejected
/// topic first, then in `sequence_conflict`, and is no row until `redrive` sends it under a stream of its own.
extension BatchTransaction {
    private var table: ConflictTable { ConflictTable(connection: connection) }

    /// The readings whose numbers other readings have: found in memory if both are in the batch, and of the others by one
    /// query after the batch's rows were written.
    /// - Throws: `UnannouncedConflicts` if any is neither in the rejected topic nor in the table, or what the database says.
    func conflicts(among known: KnownNumbers, of batch: ReadingBatch) throws -> [SequenceConflict] {
        let compared = known.comparedWithin(batch)
        let indices = compared.conflicts + (try table.different(compared.older, of: batch))
        if indices.isEmpty { return [] }
        let conflicts = indices.sorted().map { SequenceConflict(batch.rows[$0], of: batch) }
        guard let announced else { return conflicts }
        let unannounced = SequenceConflict.eachOnce(conflicts).filter { !announced.contains($0.ownName) }
        let inTable = try table.known(unannounced)
        let new = unannounced.filter { !inTable.contains($0.ownName) }
        if !new.isEmpty { throw UnannouncedConflicts(conflicts: new) }
        return conflicts
    }

    /// Writes conflicts, settles those whose readings have come under their own streams, and opens and closes the alerts of
    /// their gateways.
    /// - Parameter streams: those whose number `SequenceConflict.ownSequence` was admitted.
    /// - Returns: how many conflicts are new, and in the rejected topic.
    func note(
        _ conflicts: [SequenceConflict], settling streams: [StreamName], _ changes: inout AlertChanges,
        _ cache: [String: GatewayState]
    ) throws -> Int {
        let added =
            conflicts.isEmpty
            ? [] : try table.insert(SequenceConflict.eachOnce(conflicts), topic: topic, now: ingestedAt)
        let gateways = Set(added).union(try table.settle(streams, now: ingestedAt))
        if gateways.isEmpty { return 0 }
        let open = try table.open(of: gateways)
        let states = try alerts.loadConflicts(of: gateways, into: cache)
        for (gatewayID, count) in open.sorted(by: { $0.key < $1.key }) {
            changes.evaluate(
                conflicts: count, of: gatewayID, before: states[gatewayID], time: now.milliseconds,
                rule: rules.conflict)
        }
        return added.count
    }
}

extension SequenceConflict {
    /// The first of each reading.
    fileprivate static func eachOnce(_ conflicts: [SequenceConflict]) -> [SequenceConflict] {
        var seen: Set<StreamName> = []
        return conflicts.filter { seen.insert($0.ownName).inserted }
    }
}
