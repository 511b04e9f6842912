/// Finds the members of a list that something refuses, by trying parts of the list.
///
/// A part that is accepted is never looked at again, so k refused members of n cost about 2 k log2 n trials, and
/// never more than 2 n. A member is only blamed after a trial of its own, or when the list is refused with it and
/// accepted without it.
enum PoisonSearch {
    /// Finds what must be left out of a list that is refused as a whole, so that the rest is accepted.
    /// - Parameters:
    ///   - list: the members, in their order.
    ///   - refusal: why a part, in the same order, is refused; nil if it is accepted.
    /// - Returns: the refused members and why, by their position in the list.
    static func refused<Member: Sendable, Reason: Sendable>(
        of list: [Member], isolation: isolated (any Actor)? = #isolation,
        _ refusal: ([Member]) async throws -> Reason?
    ) async throws -> [Int: Reason] {
        var found: [Int: Reason] = [:]
        // Parts that are known or suspected to be refused; the last one is looked at next.
        var parts = [list.indices]
        while let part = parts.popLast() {
            if part.count <= 1 {
                if let reason = try await refusal(Array(list[part])) {
                    for index in part { found[index] = reason }
                }
                continue
            }
            let middle = part.lowerBound + part.count / 2
            let (left, right) = (part.lowerBound..<middle, middle..<part.upperBound)
            guard let reason = try await refusal(Array(list[left])) else {
                // Then it is the right half that is refused, which its own parts will show.
                parts.append(right)
                continue
            }
            if left.count == 1 { found[left.lowerBound] = reason }
            if right.count > 1 {
                if try await refusal(Array(list[right])) != nil { parts.append(right) }
            } else {
                parts.append(right)
            }
            if left.count > 1 { parts.append(left) }
        }
        try await addThoseRefusedTogether(of: list, to: &found, refusal)
        return found
    }

    /// Members that are accepted alone and refused together, such as two rows with one unique key: the first that is
    /// refused after those before it is left out.
    private static func addThoseRefusedTogether<Member: Sendable, Reason: Sendable>(
        of list: [Member], to found: inout [Int: Reason], isolation: isolated (any Actor)? = #isolation,
        _ refusal: ([Member]) async throws -> Reason?
    ) async throws {
        while true {
            let rest = list.indices.filter { found[$0] == nil }
            guard !rest.isEmpty, let reason = try await refusal(rest.map { list[$0] }) else { return }
            var accepted = 0
            var refused = rest.count
            var latest = reason
            while refused - accepted > 1 {
                let middle = (accepted + refused) / 2
                if let reason = try await refusal(rest[..<middle].map { list[$0] }) {
                    (refused, latest) = (middle, reason)
                } else {
                    accepted = middle
                }
            }
            found[rest[refused - 1]] = latest
        }
    }
}
