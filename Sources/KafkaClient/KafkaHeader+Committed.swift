/// The one header that readings travel with: it says when a gateway had its reading safe, for those who measure how
/// long a reading takes. The reading itself does not depend on it.
extension KafkaHeader {
    /// The header's name.
    public static let committedName = "vigie-committed"

    /// Says when a reading was committed on the board.
    /// - Parameter milliseconds: since 1970, by the gateway's wall clock.
    public init(committedAt milliseconds: Int64) {
        self.init(name: KafkaHeader.committedName, text: "\(milliseconds)")
    }

    /// The time that such a header says, milliseconds since 1970; nil if it is another header or says none.
    public var committedAt: Int64? {
        guard name == KafkaHeader.committedName else { return nil }
        return Int64(String(decoding: value, as: UTF8.self))
    }
}
