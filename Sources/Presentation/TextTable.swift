/// Lines whose columns are aligned; the first line is the heading.
public struct TextTable {
    /// What stands in one column of a line.
    public struct Cell: ExpressibleByStringLiteral {
        /// The text.
        public var text: String
        /// How it is painted; nil: not at all.
        public var tone: Tone?

        /// Makes a cell.
        public init(_ text: String, _ tone: Tone? = nil) {
            self.text = text
            self.tone = tone
        }

        /// A cell that is not painted.
        public init(stringLiteral text: String) {
            self.init(text)
        }
    }

    private var rows: [[Cell]]
    private let rightAligned: Set<Int>
    private let brush: Brush

    /// Makes a table without lines.
    /// - Parameters:
    ///   - heading: the names of the columns.
    ///   - rightAligned: the columns of numbers.
    ///   - brush: paints the cells that have a tone.
    public init(_ heading: [String], rightAligned: Set<Int> = [], brush: Brush = .plain) {
        rows = [heading.map { Cell($0, .faint) }]
        self.rightAligned = rightAligned
        self.brush = brush
    }

    /// Adds a line.
    public mutating func append(_ row: [String]) {
        rows.append(row.map { Cell($0) })
    }

    /// Adds a line some of whose cells are painted.
    public mutating func append(cells row: [Cell]) {
        rows.append(row)
    }

    /// The lines, each indented by two spaces and without spaces at its end.
    public var text: String {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            rows.map { column < $0.count ? $0[column].text.count : 0 }.max() ?? 0
        }
        return rows.map { row in
            var line = ""
            var space = "  "
            for (column, cell) in row.enumerated() {
                let missing = String(repeating: " ", count: widths[column] - cell.text.count)
                if rightAligned.contains(column) { space += missing }
                // Spaces are written only before something, never at the end of a line.
                if cell.text.isEmpty {
                    space += rightAligned.contains(column) ? "  " : missing + "  "
                } else {
                    line += space + brush.paint(cell.text, cell.tone)
                    space = rightAligned.contains(column) ? "  " : missing + "  "
                }
            }
            return line + "\n"
        }.joined()
    }
}
