import Platform
import Testing

@testable import Commands

private struct Brew: Command {
    static let name = "brew"
    static let summary = "Make a \"good\" tea: it's hot."
    static let discussion = """
        .Boiling water is needed, at 90-95 degrees \\ more.

        Kinds:
          green   for 3 minutes
          black   for 4
        """
    static let operands = "KIND [CUPS]"
    static let operandCompletions = [Completion.words(["green", "black"]), .none, .files]
    static var options: [CommandOption<Brew>] {
        [
            .configuration(\.configuration),
            .value(
                "milk", "WHEN", \.milk, "When [or never] it's added: tea first.",
                completion: .words(["before", "after"])),
            .value("sugar", short: "s", "N", \.sugar, "Lumps."),
            .flag("iced", short: "i", \.isIced, "Serve it cold."),
        ]
    }
    var configuration = ""
    var milk: String?
    var sugar = 0
    var isIced = false
    mutating func take(operands: [String]) {}
    func run() async throws {}
}

private struct Rinse: Command {
    static let name = "rinse"
    static let summary = "Rinse the pot."
    func run() async throws {}
}

private let tool = Program(
    name: "tea-tool", summary: "Makes tea, and rinses the pot.", commands: [Brew.self, Rinse.self],
    manual: ProgramManual(
        description: "It needs water.", environment: [("TEA_POT", "The pot.")],
        files: [("/etc/tea.yaml", "Its settings.")],
        exitStatus: "There is no status 418.", examples: [("tea-tool brew --iced green", "Iced tea:")],
        seeAlso: ["kettle(8)", "cup(1)"]))

private func output(_ arguments: String...) async -> (status: Int32, output: String, errors: String) {
    var output = ""
    var errors = ""
    let status = await tool.run(arguments, output: { output += $0 }, errors: { errors += $0 })
    return (status, output, errors)
}

@Suite struct ManualPageTests {
    private let lines = tool.description.manualPage.split(separator: "\n", omittingEmptySubsequences: false).map(
        String.init)

    private func section(_ title: String) -> [String] {
        guard let start = lines.firstIndex(of: ".SH \"\(title)\"") else { return [] }
        return Array(lines[(start + 1)...].prefix { !$0.hasPrefix(".SH ") })
    }

    @Test func theSectionsAreInTheOrderOfManPages() {
        #expect(lines[1] == #".TH TEA-TOOL 1 \#(Release.day) "Vigie \#(Release.version)" "Vigie""#)
        #expect(
            lines.filter { $0.hasPrefix(".SH") }
                == [
                    "NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "OPTIONS", "ENVIRONMENT", "FILES", "EXIT STATUS",
                    "EXAMPLES",
                    "SEE ALSO",
                ].map { ".SH \"\($0)\"" })
        #expect(section("NAME") == [#"tea\-tool \- makes tea, and rinses the pot"#])
        #expect(section("DESCRIPTION") == ["It needs water."])
        #expect(section("SEE ALSO") == [#"\fBkettle\fR(8),"#, #"\fBcup\fR(1)"#, ""])
    }

    @Test func theSynopsisHasEverySubcommand() {
        #expect(
            section("SYNOPSIS") == [
                #"\fBtea\-tool\fR \fBbrew\fR [\fIOPTION\fR]... KIND [CUPS]"#, ".br", #"\fBtea\-tool\fR \fBrinse\fR"#,
                ".br",
                #"\fBtea\-tool\fR \fB\-\-help\fR | \fB\-\-version\fR"#,
            ])
    }

    @Test func aSubcommandHasItsDiscussionAndOptions() {
        let commands = section("COMMANDS")
        #expect(commands.first == #".SS "brew""#)
        #expect(commands.contains(#"Make a \(dqgood\(dq tea: it\(aqs hot."#))
        // What begins with a dot is no macro, a backslash no escape, and what is indented keeps its columns.
        #expect(commands.contains(#"\&.Boiling water is needed, at 90-95 degrees \e more."#))
        #expect(commands.contains("green   for 3 minutes"))
        let option = commands.firstIndex(of: #"\fB\-c\fR, \fB\-\-config\fR \fIFILE\fR"#)
        #expect(option.map { Array(commands[($0 - 1)...($0 + 1)]) }?.first == ".TP")
        #expect(commands.contains(#"\fB\-\-milk\fR \fIWHEN\fR"#))
    }

    @Test func theExampleStandsAsItIsTyped() {
        #expect(
            section("EXAMPLES") == [
                "Iced tea:", ".PP", ".RS 4", ".EX", #"tea\-tool brew \-\-iced green"#, ".EE", ".RE",
            ])
    }

    @Test func itIsPrintedByAHiddenSubcommand() async {
        let printed = await output("manual")
        #expect(printed.status == 0)
        #expect(printed.output == tool.description.manualPage)
        #expect(await output("manual", "--help").output.hasPrefix("Usage: tea-tool manual "))
        let help = await output("--help").output
        #expect(!help.contains("manual") && !help.contains("completions"))
        #expect(!printed.output.contains("completions"))
    }
}

@Suite struct CompletionsTests {
    @Test func aShellIsExpected() async {
        for shell in Shell.allCases {
            let printed = await output("completions", shell.rawValue)
            #expect(printed.status == 0)
            #expect(printed.output == tool.description.completions(for: shell))
        }
        #expect(await output("completions", "cmd").status == 2)
        #expect(
            await output("completions").errors.hasPrefix(
                "tea-tool completions: a shell is expected: bash, zsh or fish\n"))
    }

    /// What bash itself offers for a command line, whose last word is being typed.
    @Test(
        arguments: [
            ([""], ["brew", "rinse", "-h", "--help", "--version"]),
            (["b"], ["brew"]),
            (["brew", ""], ["green", "black"]),
            (["brew", "bl"], ["black"]),
            (["brew", "--"], ["--config", "--milk", "--sugar", "--iced", "--help"]),
            (["brew", "--milk", ""], ["before", "after"]),
            (["brew", "--milk", "=", "a"], ["after"]),
            (["brew", "--milk", "="], ["before", "after"]),
            (["brew", "--sugar", ""], []),
            (["brew", "--sugar", "2", "--iced", "g"], ["green"]),
            (["brew", "--milk", "=", "after", "g"], ["green"]),
            (["brew", "green", ""], []),
            (["brew", "--config", "/etc/hostnam"], ["/etc/hostname"]),
            (["brew", "green", "2", "/etc/hostnam"], ["/etc/hostname"]),
            (["rinse", "-"], ["-h", "--help"]),
            (["dance", ""], []),
        ] as [([String], [String])])
    func bashOffers(words: [String], expected: [String]) throws {
        let shown = words.map { "'\($0)'" }.joined(separator: " ")
        let script = """
            \(tool.description.completions(for: .bash))
            COMP_WORDS=(tea-tool \(shown)) COMP_CWORD=\(words.count)
            _tea_tool
            printf '%s\\n' "${COMPREPLY[@]}"
            """
        let answer = try bash(script).split(separator: "\n").map(String.init)
        let offered = words == ["brew", "--"] ? answer.filter { $0.hasPrefix("--") } : answer
        #expect(offered == expected)
    }

    @Test func zshHasEachWordOnce() {
        let lines = tool.description.completions(for: .zsh).split(separator: "\n").map { $0.drop { $0 == " " } }
        #expect(lines.first == "#compdef tea-tool")
        #expect(lines.contains(#"'brew:Make a "good" tea\: it'\''s hot.'"#))
        #expect(lines.contains(#"'--milk=[When \[or never\] it'\''s added\: tea first.]:WHEN:(before after)' \"#))
        #expect(
            lines.contains(
                #"'(-c --config)'{-c+,--config=}'[The configuration file; without it that of the package, in /etc/vigie.]:FILE:_files' \"#
            ))
        #expect(lines.contains(#"'(-i --iced)'{-i,--iced}'[Serve it cold.]' \"#))
        #expect(lines.contains(#"'1:KIND [CUPS]:(green black)' \"#))
    }

    @Test func fishHasEachWordUnderItsCondition() {
        let lines = tool.description.completions(for: .fish).split(separator: "\n")
        let milk =
            #"complete --command tea-tool --condition '__tea_tool_subcommand brew' --long-option milk "#
            + #"--require-parameter --arguments 'before after' --description 'When [or never] it\'s added: tea first.'"#
        #expect(lines.contains { $0 == milk })
        let kinds =
            "complete --command tea-tool --condition '__tea_tool_subcommand brew; and __tea_tool_operands 1 "
            + "-c --config --milk -s --sugar' --arguments 'green black'"
        #expect(lines.contains { $0 == kinds })
    }
}

/// What bash prints for a script.
private func bash(_ script: String) throws -> String {
    let answer = try ShellFilter("exec bash").run(Array(script.utf8))
    return String(decoding: answer.output, as: UTF8.self)
}
