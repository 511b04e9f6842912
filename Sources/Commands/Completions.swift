/// A shell that completes command lines.
enum Shell: String, CaseIterable, Sendable {
    case bash, zsh, fish
}

extension ProgramDescription {
    /// What the shell reads to complete the program's command lines: the file `NAME` in bash's, `_NAME` in zsh's and
    /// `NAME.fish` in fish's folder of completions.
    func completions(for shell: Shell) -> String {
        switch shell {
        case .bash: bashCompletions
        case .zsh: zshCompletions
        case .fish: fishCompletions
        }
    }

    private var globalOptions: [OptionDescription] { [.help, .version] }

    private func options(_ command: CommandDescription) -> [OptionDescription] { command.options + [.help] }

    /// A shell's name for a function.
    private var function: String { "_" + name.map { $0 == "-" ? "_" : String($0) }.joined() }

    // MARK: bash

    private var bashCompletions: String {
        let cases = commands.map { command in
            let values = command.options.filter { $0.placeholder != nil }
            let completed = values.map { option in
                "                \(option.words.joined(separator: "|"))) \(bash(option.completion)); return ;;\n"
            }.joined()
            let operands = command.operandCompletions.enumerated().map { index, completion in
                "                \(index)) \(bash(completion)) ;;\n"
            }.joined()
            let optionCase =
                completed.isEmpty ? "" : "            case $option in\n\(completed)            esac\n"
            let operandCase =
                operands.isEmpty
                ? ""
                : "            \(function)_operands\n            case $REPLY in\n\(operands)            esac\n"
            return """
                        \(command.name))
                            with_value='\(values.flatMap(\.words).map { " \($0)" }.joined()) '
                            options='\(options(command).flatMap(\.words).joined(separator: " "))'
                \(optionCase)            if [[ $current == -* ]]; then
                                \(function)_words "$options"
                                return
                            fi
                \(operandCase)            ;;

                """
        }.joined()
        return """
            # bash completion of \(name), made by "\(name) completions bash".

            \(function)_words() {
                mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current")
            }

            \(function)_files() {
                compopt -o filenames 2>/dev/null
                mapfile -t COMPREPLY < <(compgen -f -- "$current")
            }

            # Sets REPLY to how many operands stand before the word that is completed.
            \(function)_operands() {
                local index word count=0
                for ((index = 2; index < COMP_CWORD; index++)); do
                    word=${COMP_WORDS[index]}
                    if [[ $with_value == *" $word "* ]]; then
                        # Bash splits --name=value into three words.
                        if [[ ${COMP_WORDS[index + 1]-} == = ]]; then index=$((index + 1)); fi
                        index=$((index + 1))
                    elif [[ $word != -?* ]]; then
                        count=$((count + 1))
                    fi
                done
                REPLY=$count
            }

            \(function)() {
                local current=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} options with_value REPLY
                COMPREPLY=()
                if [[ $current == = ]]; then
                    current=
                elif [[ $option == = ]]; then
                    option=${COMP_WORDS[COMP_CWORD - 2]}
                fi
                if ((COMP_CWORD == 1)); then
                    \(function)_words '\((commands.map(\.name) + globalOptions.flatMap(\.words)).joined(separator: " "))'
                    return
                fi
                case ${COMP_WORDS[1]} in
            \(cases)    esac
            }

            complete -F \(function) \(name)

            """
    }

    private func bash(_ completion: Completion) -> String {
        switch completion {
        case .none: ":"
        case .files: "\(function)_files"
        case .words(let words): "\(function)_words '\(words.joined(separator: " "))'"
        }
    }

    // MARK: zsh

    private var zshCompletions: String {
        let subcommands = commands.map { command in
            "            \(zshQuote("\(command.name):\(zshColons(command.summary))"))\n"
        }.joined()
        let cases = commands.map { command in
            let specifications = options(command).map { "                    \(zsh($0)) \\\n" }.joined()
            let operands = command.operandCompletions.enumerated().map { index, completion in
                "                    \(zshQuote("\(index + 1):\(zshColons(command.operands)):\(zsh(completion))")) \\\n"
            }.joined()
            return """
                            \(command.name))
                                _arguments -s \\
                \(specifications)\(operands)                    && result=0
                                ;;

                """
        }.joined()
        return """
            #compdef \(name)
            # zsh completion of \(name), made by "\(name) completions zsh".

            \(function)() {
                local context state state_descr line
                typeset -A opt_args
                local -i result=1
                local -a subcommands
                _arguments -C \\
                    \(globalOptions.map { zsh($0) }.joined(separator: " \\\n        ")) \\
                    '1: :->subcommand' \\
                    '*:: :->rest' && result=0
                case $state in
                    subcommand)
                        subcommands=(
            \(subcommands)            )
                        _describe -t commands subcommand subcommands && result=0
                        ;;
                    rest)
                        case $line[1] in
            \(cases)            esac
                        ;;
                esac
                return result
            }

            \(function) "$@"

            """
    }

    /// An option as _arguments takes it.
    private func zsh(_ option: OptionDescription) -> String {
        let help = option.help.map { "[]\\:".contains($0) ? "\\\($0)" : String($0) }.joined()
        guard let placeholder = option.placeholder else {
            return option.words.count == 1
                ? zshQuote("\(option.words[0])[\(help)]")
                : "\(zshQuote("(\(option.words.joined(separator: " ")))")){\(option.words.joined(separator: ","))}"
                    + zshQuote("[\(help)]")
        }
        let value = "[\(help)]:\(zshColons(placeholder)):\(zsh(option.completion))"
        guard let short = option.short else { return zshQuote("--\(option.name)=\(value)") }
        return zshQuote("(-\(short) --\(option.name))") + "{-\(short)+,--\(option.name)=}" + zshQuote(value)
    }

    private func zsh(_ completion: Completion) -> String {
        switch completion {
        case .none: " "
        case .files: "_files"
        case .words(let words): "(\(words.joined(separator: " ")))"
        }
    }

    private func zshColons(_ text: String) -> String {
        text.map { $0 == ":" ? "\\:" : String($0) }.joined()
    }

    private func zshQuote(_ text: String) -> String {
        "'" + text.map { $0 == "'" ? "'\\''" : String($0) }.joined() + "'"
    }

    // MARK: fish

    private var fishCompletions: String {
        var lines: [String] = []
        func add(_ condition: String, _ rest: String) {
            lines.append("complete --command \(name) --condition \(fishQuote(condition)) \(rest)")
        }
        let first = "_\(function)_operands 0"
        for command in commands {
            add(first, "--arguments \(command.name) --description \(fishQuote(command.summary))")
        }
        for option in globalOptions { add(first, fish(option)) }
        for command in commands {
            let isChosen = "_\(function)_subcommand \(command.name)"
            for option in options(command) { add(isChosen, fish(option)) }
            for (index, completion) in command.operandCompletions.enumerated() {
                guard let argument = fish(completion) else { continue }
                let values = command.options.filter { $0.placeholder != nil }.flatMap(\.words)
                add("\(isChosen); and _\(function)_operands \(index + 1) \(values.joined(separator: " "))", argument)
            }
        }
        return """
            # fish completion of \(name), made by "\(name) completions fish".

            function _\(function)_subcommand --argument-names name
                set --local words (commandline --tokenize --current-process --cut-at-cursor)
                test (count $words) -ge 2; and test "$words[2]" = $name
            end

            # Whether so many operands, the subcommand among them, stand before the word that is completed. After the
            # number stand the options that take a value.
            function _\(function)_operands --argument-names expected
                set --local found 0
                set --local is_value 0
                for word in (commandline --tokenize --current-process --cut-at-cursor)[2..]
                    if test $is_value -eq 1
                        set is_value 0
                    else if contains -- $word $argv[2..]
                        set is_value 1
                    else if not string match --quiet -- '-*' $word
                        set found (math $found + 1)
                    end
                end
                test $is_value -eq 0; and test $found -eq $expected
            end

            complete --command \(name) --no-files
            \(lines.joined(separator: "\n"))

            """
    }

    private func fish(_ option: OptionDescription) -> String {
        var words: [String] = []
        if let short = option.short { words.append("--short-option \(short)") }
        words.append("--long-option \(option.name)")
        if option.placeholder != nil {
            words.append(fish(option.completion).map { "--require-parameter \($0)" } ?? "--exclusive")
        }
        words.append("--description \(fishQuote(option.help))")
        return words.joined(separator: " ")
    }

    private func fish(_ completion: Completion) -> String? {
        switch completion {
        case .none: nil
        case .files: "--force-files"
        case .words(let words): "--arguments \(fishQuote(words.joined(separator: " ")))"
        }
    }

    private func fishQuote(_ text: String) -> String {
        "'" + text.map { $0 == "'" || $0 == "\\" ? "\\\($0)" : String($0) }.joined() + "'"
    }
}

extension OptionDescription {
    /// What is typed for it, without a value.
    fileprivate var words: [String] { (short.map { ["-\($0)"] } ?? []) + ["--\(name)"] }
}
