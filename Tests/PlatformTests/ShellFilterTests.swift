import Platform
import Testing

@Suite struct ShellFilterTests {
    @Test func givesWhatTheCommandMakesOfItsInput() throws {
        let result = try ShellFilter("tr a-z A-Z").run(Array("abc".utf8))
        #expect(result.status == 0 && result.output == Array("ABC".utf8))
    }

    @Test func takesMoreThanAPipeHolds() throws {
        let input = [UInt8](repeating: 7, count: 3_000_000)
        #expect(try ShellFilter("cat").run(input).output == input)
        // A command that does not read its input harms nobody.
        #expect(try ShellFilter("echo done").run(input).output == Array("done\n".utf8))
    }

    @Test(
        arguments: [("exit 3", 3), ("kill -TERM $$", 143), ("no-such-program 2> /dev/null", 127)] as [(String, Int32)])
    func saysHowTheCommandEnded(command: String, status: Int32) throws {
        #expect(try ShellFilter(command).run([]).status == status)
    }
}
