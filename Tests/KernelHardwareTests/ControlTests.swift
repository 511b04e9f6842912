import Foundation
import Readings
import SensorBus
import SimulatedHardware
import TestSupport
import Testing

@testable import KernelHardware

@Suite struct ControlRequestTests {
    private func request(_ line: String) throws -> ControlRequest {
        try ControlRequest(line.split(separator: " ").map(String.init))
    }

    @Test func requestsAreRead() throws {
        #expect(
            try request("set cellar temperature=-31.5 co2=800 humidity=free")
                == .set(
                    station: "cellar",
                    [
                        .init(quantity: .temperature, value: -31.5), .init(quantity: .co2, value: 800),
                        .init(quantity: .humidity, value: nil),
                    ]))
        #expect(try request("unplug 0x76") == .fault(.address(0x76), .unplug, true))
        #expect(try request("plug 1:0x76") == .fault(.location(bus: 1, 0x76), .unplug, false))
        #expect(try request("stick cellar/scd41") == .fault(.member(station: "cellar", name: "scd41"), .freeze, true))
        #expect(try request("fault 0x62 crc") == .fault(.address(0x62), .crc, true))
        #expect(try request("heal") == .heal(nil))
        #expect(try request("heal 0x62") == .heal(.address(0x62)))
        #expect(try request("wedge 1") == .wedge(bus: 1, true))
        #expect(try request("line 7 high") == .line("7", high: true))
        #expect(try request("line power_good low") == .line("power_good", high: false))
        #expect(try request("status") == .status(json: false))
        #expect(try request("status json") == .status(json: true))
    }

    @Test(arguments: [
        "", "explode", "set", "set cellar", "set cellar temperature", "set cellar warmth=3", "set cellar humidity=101",
        "set cellar co2=nan", "set cellar co2=", "unplug", "unplug 76", "unplug 0x80", "unplug 0x76 0x77",
        "unplug x:0x76",
        "fault 0x76", "fault 0x76 fire", "heal 0x76 0x77", "wedge", "wedge x", "line 1 up",
        "line 1", "status xml",
    ])
    func whatIsNoRequestIsRefused(line: String) {
        #expect(throws: ControlRequest.Malformed.self) { try request(line) }
    }
}

@Suite struct HardwareBenchTests {
    private let clock = ImmediateClock()

    /// Two stations on two buses, which share an address.
    private func board() -> SimulatedBoard {
        let world = SimulatedWorld(
            environment: ConstantEnvironment(), origin: Timestamp(milliseconds: 0), clock: clock)
        var board = SimulatedBoard(stations: [], chips: [], buses: [:])
        for (name, number, address) in [("cellar", 0, 0x62), ("roof", 1, 0x62), ("roof", 1, 0x63)]
            as [(String, Int, I2CAddress)]
        {
            let bus = board.buses[number] ?? SimulatedI2CBus(name: "bus \(number)", world: world)
            board.buses[number] = bus
            let air = board.stations.first { $0.name == name }?.air ?? AdjustableEnvironment()
            if !board.stations.contains(where: { $0.name == name }) {
                board.stations.append(.init(name: name, air: air))
            }
            let live = FaultSwitch(world: world)
            bus.attach(SimulatedSCD4x(world: world.with(air), faults: FaultScript(live: live)), at: address)
            board.chips.append(.init(station: name, name: "scd41", bus: number, address: address, faults: live))
        }
        return board
    }

    private func execute(_ bench: HardwareBench, _ line: String) throws -> String {
        try bench.execute(ControlRequest(line.split(separator: " ").map(String.init)))
    }

    @Test func requestsReachTheChips() throws {
        let board = board()
        let lines = SimulatedLines(roles: [2: "power_good"], high: [2])
        let bench = HardwareBench(board, adapters: [0: "/dev/i2c-3"], lines: lines, gpioChip: "/dev/gpiochip1")
        let cellar = try #require(board.buses[0])
        let roof = try #require(board.buses[1])
        try cellar.write([], to: 0x62)
        _ = try execute(bench, "unplug 0:0x62")
        #expect(throws: BusError(.notAcknowledged, bus: "bus 0", address: 0x62)) { try cellar.write([], to: 0x62) }
        try roof.write([], to: 0x62)
        _ = try execute(bench, "fault 0x63 nack")
        _ = try execute(bench, "wedge 1")
        #expect(throws: BusError(.timedOut, bus: "bus 1", address: 0x62)) { try roof.write([], to: 0x62) }
        _ = try execute(bench, "set cellar temperature=31 battery=3.5")
        let conditions = board.stations[0].air.conditions(at: Timestamp(milliseconds: 0))
        #expect(conditions.temperature == 31 && conditions.battery == 3.5)
        #expect(board.stations[1].air.held == [:])
        _ = try execute(bench, "line 3 high")
        #expect(lines.lines[3].isHigh)
        _ = try execute(bench, "line power_good low")
        #expect(!lines.lines[2].isHigh)

        #expect(
            try execute(bench, "status") == """
                bus 0  /dev/i2c-3
                  0x62  scd41  cellar  unplug
                bus 1  not plugged in  WEDGED
                  0x62  scd41  roof  sound
                  0x63  scd41  roof  nack
                cellar  temperature=31.0 battery=3.5
                lines  /dev/gpiochip1
                  0  input  low
                  1  input  low
                  2  input  low  power_good
                  3  input  high
                  4  input  low
                  5  input  low
                  6  input  low
                  7  input  low

                """)
        let json = try #require(
            JSONSerialization.jsonObject(with: Data(try execute(bench, "status json").utf8)) as? [String: Any])
        let chips = try #require(json["chips"] as? [[String: Any]])
        #expect(chips.map { $0["faults"] as? [String] } == [["unplug"], [], ["nack"]])
        #expect((json["buses"] as? [[String: Any]])?.map { $0["device"] as? String } == ["/dev/i2c-3", nil])
        #expect((json["lines"] as? [[String: Any]])?.map { $0["level"] as? String }[3] == "high")

        _ = try execute(bench, "heal")
        try roof.write([], to: 0x63)
        board.setPower(false)
        #expect(try execute(bench, "status").contains("0x62  scd41  cellar  no power"))
    }

    @Test func whatIsNotThereIsNamed() {
        let bench = HardwareBench(board(), adapters: [:], lines: nil, gpioChip: nil)
        func problem(_ line: String) -> String? {
            do {
                _ = try execute(bench, line)
                return nil
            } catch {
                return "\(error)"
            }
        }
        #expect(problem("unplug 0x62") == "0x62 may be any of cellar/scd41 at 0:0x62, roof/scd41 at 1:0x62")
        #expect(problem("unplug roof/scd41") == "roof/scd41 may be any of roof/scd41 at 1:0x62, roof/scd41 at 1:0x63")
        #expect(problem("unplug 0x10") == "there is no chip 0x10; there are cellar/scd41, roof/scd41, roof/scd41")
        #expect(problem("set attic co2=1") == "there is no station attic; there are cellar, roof")
        #expect(problem("wedge 4") == "there is no bus 4; there are 0, 1")
        #expect(problem("line 1 high") == "there are no GPIO lines")
        let lines = SimulatedLines(roles: [2: "power_good"])
        let other = HardwareBench(board(), adapters: [:], lines: lines, gpioChip: nil)
        for line in ["line 8 high", "line -1 low", "line charging high"] {
            #expect(throws: HardwareBench.Unknown.self) { try execute(other, line) }
        }
    }
}

@Suite struct ControlSocketTests {
    private func path() -> String {
        FileManager.default.temporaryDirectory.appending(path: "vigie-\(UInt32.random(in: 0...UInt32.max)).sock").path
    }

    @Test func requestsAreAnsweredOverTheSocket() throws {
        let path = path()
        let socket = try ControlSocket.listen(at: path) { words in
            words == ["say", "no"] ? .failure(.refused("no")) : .success(words.joined(separator: "|") + "\n")
        }
        #expect(try ControlSocket.send(["set", "a", "b=1"], to: path) == "set|a|b=1\n")
        #expect(throws: ControlSocket.Failure.refused("no")) { try ControlSocket.send(["say", "no"], to: path) }
        // A line without an end gets no answer, and harms nobody.
        let long = String(repeating: "x", count: 4000)
        #expect(throws: ControlSocket.Failure.self) { try ControlSocket.send([long], to: path) }
        #expect(try ControlSocket.send(["again"], to: path) == "again\n")
        #expect(throws: ControlSocket.Failure.taken(path: path)) {
            try ControlSocket.listen(at: path) { _ in .success("") }
        }
        withExtendedLifetime(socket) {}
    }

    @Test func nobodyListens() throws {
        let path = path()
        #expect(throws: ControlSocket.Failure.notRunning(path: path)) { try ControlSocket.send(["status"], to: path) }
        // The file of one that was killed is taken over.
        #expect(FileManager.default.createFile(atPath: path, contents: Data()))
        #expect(throws: ControlSocket.Failure.notRunning(path: path)) { try ControlSocket.send(["status"], to: path) }
        let socket = try ControlSocket.listen(at: path) { _ in .success("here") }
        #expect(try ControlSocket.send(["status"], to: path) == "here")
        withExtendedLifetime(socket) {}
        let long = "/tmp/" + String(repeating: "x", count: 200)
        #expect(throws: ControlSocket.Failure.pathTooLong(path: long)) { try ControlSocket.send(["status"], to: long) }
    }
}
