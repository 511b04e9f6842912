import Platform

extension ProgramDescription {
    /// The page of section 1 in the macros of man(7), for man(1) and mandoc(1).
    public var manualPage: String {
        var page = ManualPage()
        page.lines = [
            #".\" Made by "\#(name) manual"."#,
            #".TH \#(name.uppercased()) 1 \#(Release.day) "Vigie \#(Release.version)" "Vigie""#,
        ]
        page.section("NAME")
        page.line("\(page.literal(name)) \\- \(page.escape(nameLine))")

        page.section("SYNOPSIS")
        for (index, command) in commands.enumerated() {
            if index > 0 { page.lines.append(".br") }
            page.line(synopsis(command, page))
        }
        page.lines.append(".br")
        page.line("\(page.bold(name)) \(page.bold("--help")) | \(page.bold("--version"))")

        page.section("DESCRIPTION")
        page.text(manual.description.isEmpty ? summary : manual.description)

        page.section("COMMANDS")
        for command in commands {
            page.lines.append(".SS \"\(page.literal(command.name))\"")
            page.line(synopsis(command, page))
            page.lines.append(".PP")
            page.text(command.summary)
            if !command.discussion.isEmpty {
                page.lines.append(".PP")
                page.text(command.discussion)
            }
            page.options(command.options)
        }

        page.section("OPTIONS")
        page.text(
            "Before a subcommand; \(OptionDescription.help.spelling) also after it. Long options may be shortened as long as they are unambiguous."
        )
        page.options([.help, .version])

        page.entries("ENVIRONMENT", manual.environment)
        page.entries("FILES", manual.files)

        page.section("EXIT STATUS")
        page.item("0", "The subcommand did what it was asked for.")
        page.item("1", "It failed, or found something wrong; standard error says what.")
        page.item("2", "The command line was not understood.")
        page.item("78", "The configuration is wrong.")
        if !manual.exitStatus.isEmpty {
            page.lines.append(".PP")
            page.text(manual.exitStatus)
        }

        if !manual.examples.isEmpty {
            page.section("EXAMPLES")
            for (index, example) in manual.examples.enumerated() {
                if index > 0 { page.lines.append(".PP") }
                page.text(example.text)
                page.verbatim(example.name.split(separator: "\n").map { "    " + $0 })
            }
        }
        if !manual.seeAlso.isEmpty {
            page.section("SEE ALSO")
            page.line(manual.seeAlso.map { page.reference($0) }.joined(separator: ",\n"))
        }
        return page.lines.joined(separator: "\n") + "\n"
    }

    /// The summary as what man(1) and whatis(1) show behind the name.
    private var nameLine: String {
        let sentence = summary.hasSuffix(".") ? summary.dropLast() : summary[...]
        return sentence.prefix(1).lowercased() + sentence.dropFirst()
    }

    private func synopsis(_ command: CommandDescription, _ page: ManualPage) -> String {
        var words = [page.bold(name), page.bold(command.name)]
        if !command.options.isEmpty { words.append("[\(page.italic("OPTION"))]...") }
        if !command.operands.isEmpty { words.append(page.escape(command.operands)) }
        return words.joined(separator: " ")
    }
}

extension OptionDescription {
    /// How it is written, such as `-c, --config FILE`.
    var spelling: String {
        (short.map { "-\($0), " } ?? "") + "--\(name)" + (placeholder.map { " \($0)" } ?? "")
    }
}

/// The lines of a page, in the macros of man(7).
private struct ManualPage {
    var lines: [String] = []

    mutating func section(_ title: String) {
        lines.append(".SH \"\(title)\"")
    }

    /// A line that is escaped already; nothing if it is empty, since an empty line is a blank one in the page.
    mutating func line(_ text: String) {
        guard let first = text.first else { return }
        // At the beginning of a line these ask for a macro.
        lines.append(first == "." || first == "'" ? "\\&\(text)" : text)
    }

    /// Paragraphs: filled, except for lines that begin with a space.
    mutating func text(_ text: String) {
        var shown: [String] = []
        for part in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if part.first == " " {
                shown.append(String(part))
                continue
            }
            verbatim(shown)
            shown = []
            if part.isEmpty {
                lines.append(".PP")
            } else {
                line(escape(String(part)))
            }
        }
        verbatim(shown)
    }

    /// Lines as they are, in a fixed pitch, indented by the column of the first as far as that goes.
    mutating func verbatim(_ shown: [String]) {
        if shown.isEmpty { return }
        let margin = shown.map { $0.prefix { $0 == " " }.count }.min() ?? 0
        lines += [".PP", ".RS 4", ".EX"]
        for text in shown { line(literal(String(text.dropFirst(margin)))) }
        lines += [".EE", ".RE"]
    }

    mutating func item(_ name: String, _ text: String) {
        lines.append(".TP")
        line(bold(name))
        self.text(text)
    }

    mutating func entries(_ title: String, _ entries: [ProgramManual.Entry]) {
        if entries.isEmpty { return }
        section(title)
        for entry in entries { item(entry.name, entry.text) }
    }

    mutating func options(_ options: [OptionDescription]) {
        for option in options {
            lines.append(".TP")
            let short = option.short.map { bold("-\($0)") + ", " } ?? ""
            let value = option.placeholder.map { " " + italic($0) } ?? ""
            line(short + bold("--\(option.name)") + value)
            text(option.help)
        }
    }

    /// `i2cdetect(8)` with its name in bold.
    func reference(_ page: String) -> String {
        guard let parenthesis = page.firstIndex(of: "(") else { return bold(page) }
        return bold(String(page[..<parenthesis])) + page[parenthesis...]
    }

    func bold(_ text: String) -> String { "\\fB\(literal(text))\\fR" }

    func italic(_ text: String) -> String { "\\fI\(literal(text))\\fR" }

    /// Running text; its hyphens are hyphens, except for those of options.
    func escape(_ text: String) -> String { escape(text, hyphens: false) }

    /// What is typed as it stands: its hyphens are those of ASCII.
    func literal(_ text: String) -> String { escape(text, hyphens: true) }

    private func escape(_ text: String, hyphens: Bool) -> String {
        var result = ""
        var previous: Character = " "
        for character in text {
            switch character {
            case "\\": result += "\\e"
            case "'": result += "\\(aq"
            case "`": result += "\\(ga"
            case "^": result += "\\(ha"
            case "~": result += "\\(ti"
            case "\"": result += "\\(dq"
            case "-" where hyphens || !(previous.isLetter || previous.isNumber): result += "\\-"
            case _ where !character.isASCII:
                for scalar in character.unicodeScalars {
                    let digits = String(scalar.value, radix: 16, uppercase: true)
                    result += "\\[u" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits + "]"
                }
            default: result.append(character)
            }
            previous = character
        }
        return result
    }
}
