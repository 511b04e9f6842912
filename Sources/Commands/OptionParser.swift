import CPlatform
import Glibc
import Synchronization

/// What getopt_long(3) found on a command line.
struct ParsedOptions {
    /// The options in their order: an index into the table, and the value.
    var found: [(index: Int, value: String)] = []
    /// What is not an option.
    var operands: [String] = []
}

/// The shape of one option, without its meaning.
struct OptionShape {
    var name: String
    var short: Character?
    var takesValue: Bool
}

/// Splits a command line by GNU getopt_long(3), so that it reads as every other program's does: `--name=value`,
/// `--name value`, unambiguous abbreviations, bundled letters, `--` to end the options.
/// - Parameters:
///   - arguments: without the program's name.
///   - shapes: the options that exist.
///   - stopsAtOperand: whether the first operand ends the options, as it does before a subcommand.
func parseOptions(
    _ arguments: [String], shapes: [OptionShape], stopsAtOperand: Bool = false
) throws(UsageError) -> ParsedOptions {
    let result = parserState.withLock { _ -> Result<ParsedOptions, UsageError> in
        do throws(UsageError) {
            return .success(try scan(arguments, shapes: shapes, stopsAtOperand: stopsAtOperand))
        } catch {
            return .failure(error)
        }
    }
    return try result.get()
}

/// getopt_long keeps its state in globals: one scan at a time.
private let parserState = Mutex(())

private func scan(
    _ arguments: [String], shapes: [OptionShape], stopsAtOperand: Bool
) throws(UsageError) -> ParsedOptions {
    // getopt_long permutes the vector, and takes its element 0 for the program's name.
    var vector: [UnsafeMutablePointer<CChar>?] = ([""] + arguments).map { strdup($0) }
    let owned = vector
    vector.append(nil)
    let names = shapes.map { strdup($0.name) }
    defer { for pointer in owned + names { free(pointer) } }
    var table = zip(names, shapes).map { name, shape in
        option(name: name, has_arg: shape.takesValue ? required_argument : no_argument, flag: nil, val: 0)
    }
    table.append(option())
    // A leading ':' makes a missing value return ':' and not '?'; '+' ends the options at the first operand.
    let letters =
        (stopsAtOperand ? "+:" : ":")
        + shapes.map { shape in
            shape.short.map { shape.takesValue ? "\($0):" : "\($0)" } ?? ""
        }.joined()

    var parsed = ParsedOptions()
    var longIndex: Int32 = -1
    var index: Int32 = 1
    var value: UnsafePointer<CChar>?
    var isFirst: Int32 = 1
    while true {
        let code = vigie_next_option(
            isFirst, Int32(vector.count - 1), vector, letters, table, &longIndex, &value, &index)
        isFirst = 0
        if code == -1 { break }
        // For a refused long option getopt_long has already stepped over it.
        let written = { vector[Int(index) - 1].map { String(cString: $0) } ?? "" }
        let refused = UInt8(truncatingIfNeeded: vigie_refused_option())
        switch code {
        case Int32(UInt8(ascii: "?")):
            let name = refused > 32 && refused < 127 ? "-\(Character(Unicode.Scalar(refused)))" : written()
            throw UsageError("unknown or ambiguous option \(name)")
        case Int32(UInt8(ascii: ":")):
            throw UsageError("option \(written()) needs a value")
        case 0:
            parsed.found.append((Int(longIndex), value.map { String(cString: $0) } ?? ""))
        default:
            let letter = Character(Unicode.Scalar(UInt8(truncatingIfNeeded: code)))
            guard let match = shapes.firstIndex(where: { $0.short == letter }) else {
                throw UsageError("unknown option -\(letter)")
            }
            parsed.found.append((match, value.map { String(cString: $0) } ?? ""))
        }
    }
    parsed.operands = vector[Int(index)..<vector.count - 1].map { $0.map { String(cString: $0) } ?? "" }
    return parsed
}
