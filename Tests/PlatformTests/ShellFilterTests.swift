import Platform
import TestSupport
import Testing

@Suite struct ShellFilterTests {
    private func run(_ command: String, _ input: [UInt8]) throws -> (status: Int32, output: [UInt8]) {
        try ChildStarts.allowed { try ShellFilter(command).run(input) }
    }

    @Test func givesWhatTheCommandMakesOfItsInput() throws {
        let result = try run("tr a-z A-Z", Array("abc".utf8))
        #expect(result.status == 0 && result.output == Array("ABC".utf8))
    }

    @Test func takesMoreThanAPipeHolds() throws {
        let input = [UInt8](repeating: 7, count: 3_000_000)
        #expect(try run("cat", input).output == input)
        // A command that does not read its input harms nobody.
        #expect(try run("echo done", input).output == Array("done\n".utf8))
    }

    @Test(
        arguments: [("exit 3", 3), ("kill -TERM $$", 143), ("no-such-program 2> /dev/null", 127)] as [(String, Int32)])
    func saysHowTheCommandEnded(command: String, status: Int32) throws {
        #expect(try run(command, []).status == status)
    }
}
