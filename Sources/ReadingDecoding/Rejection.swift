/// Why a message is not a reading of the contract.
public struct Rejection: Error, Equatable, Sendable, CustomStringConvertible {
    /// The kind of reason, as headers and metrics write it.
    public enum Reason: String, Sendable, CaseIterable {
        /// The message has no value (a Kafka tombstone) or an empty one.
        case empty
        /// Over 64 KiB.
        case tooLarge = "too_large"
        /// Not UTF-8.
        case notUTF8 = "not_utf8"
        /// Not JSON (RFC 8259).
        case notJSON = "not_json"
        /// JSON, but not an object.
        case notAnObject = "not_an_object"
        /// A required field is missing.
        case missingField = "missing_field"
        /// A field stands twice, so that its value is anybody's guess.
        case duplicateField = "duplicate_field"
        /// A field is of another type than the contract's.
        case wrongType = "wrong_type"
        /// A schema that this program does not know.
        case unsupportedSchema = "unsupported_schema"
        /// A field's text is not of the contract's form.
        case invalidText = "invalid_text"
        /// A number beyond what physics allows.
        case outOfRange = "out_of_range"
        /// An event time in the future of the processor.
        case future
        /// The database refused the row, such as by a constraint or a trigger of its operator.
        case refusedByDatabase = "refused_by_database"
        /// Another reading has its number: neither is a copy of the other.
        case sequenceConflict = "sequence_conflict"
    }

    /// The kind of reason.
    public var reason: Reason
    /// The field it is about; nil if it is about the message as a whole.
    public var field: String?
    /// What was found.
    public var detail: String

    /// Makes a rejection.
    public init(_ reason: Reason, field: String? = nil, detail: String) {
        self.reason = reason
        self.field = field
        self.detail = detail
    }

    /// One line for a person.
    public var description: String {
        field.map { "\($0): \(detail)" } ?? detail
    }
}
