import Glibc

/// The seed of a random test: VIGIE_TEST_SEED, else drawn; printed, so that a run that failed can be repeated.
public func printedSeed(file: String = #fileID, function: String = #function) -> UInt64 {
    let given = getenv("VIGIE_TEST_SEED").flatMap { UInt64(String(cString: $0)) }
    let seed = given ?? .random(in: 0...UInt64.max)
    print("\(file), \(function): VIGIE_TEST_SEED=\(seed)")
    return seed
}
