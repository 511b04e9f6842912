"""The release gateway in hardware mode on simulated chips of Debian's own kernel, in a virtual machine.

What happens in the guest is in troubles.sh; here its console and its outbox are compared with the values that were set.
"""

import base64
import gzip
import json
import pathlib
import re
import shutil
import sqlite3
import sys
import tempfile
import unittest

import board
import guest
from board import FIRST, QUANTITIES, TOLERANCE

# What the scenario sets later than board.FIRST.
LATER = {
    "cellar": {"temperature": -7.5, "humidity": 85, "pressure": 960},
    "office": {"temperature": 31, "humidity": 55, "co2": 2400},
    "porch": {"temperature": -12, "humidity": 20, "battery_voltage": 3.3},
    "kitchen": {"temperature": 26.5, "humidity": 62, "voc_index": 240, "pm2_5": 35},
    "attic": {"temperature": 45, "humidity": 12, "pressure": 1040},
    "shed": {"temperature": 24, "humidity": 95, "pressure": 970},
    "hall": {"temperature": 9, "humidity": 90, "pressure": 1020},
    "loft": {"temperature": 55, "humidity": 8, "pressure": 1030},
    "annex": {"temperature": 17.5, "humidity": 35, "co2": 5000},
}
# What is where: bus, channel of the multiplexer, address, chip, and its station.
CHIPS = {
    (0, None, "0x76", "bme280", "cellar"),
    (0, None, "0x62", "scd41", "office"),
    (0, None, "0x44", "sht4x", "porch"),
    (0, None, "0x48", "ads1115", "porch"),
    (0, None, "0x69", "sen55", "kitchen"),
    (1, None, "0x77", "bme280", "attic"),
    (1, None, "0x76", "bmp390", "shed"),
    (1, None, "0x38", "aht20", "shed"),
    (2, 1, "0x76", "bmp280", "hall"),
    (2, 1, "0x44", "sht3x", "hall"),
    (2, 6, "0x76", "bmp280", "loft"),
    (2, 6, "0x44", "sht3x", "loft"),
    (2, None, "0x62", "scd40", "annex"),
}
INTERVAL = 1000  # Milliseconds.


class Reading:
    def __init__(self, row):
        # Since the guest's start, milliseconds.
        self.time = row["boot_time"]
        self.committed = self.time + row["committed_at"] - row["event_time"]
        self.sensor = row["sensor_id"]
        self.faults = list(filter(None, re.split(r"[\s,]+", row["faults"] or "")))
        self.values = {name: row[name] for name in QUANTITIES if row[name] is not None}
        self.is_simulated = bool(row["simulated"])

    def __repr__(self):
        return f"{self.sensor} at {self.time}: {self.values} {self.faults}"


class GuestTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="vigie-guest-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.console, cls.log = board.run_scenario(cls.folder, "troubles")
        cls.readings = cls.read_outbox()
        cls.phases = [(name, int(time)) for name, time in re.findall(r"^PHASE (\w+) (\d+)$", cls.console, re.M)]

    @classmethod
    def read_outbox(cls):
        text = re.search(r"^OUTBOX BEGIN\n(.*?)^OUTBOX END$", cls.console, re.M | re.S).group(1)
        file = cls.folder / "outbox.sqlite"
        file.write_bytes(gzip.decompress(base64.b64decode(text)))
        connection = sqlite3.connect(file)
        connection.row_factory = sqlite3.Row
        try:
            return [Reading(row) for row in connection.execute("SELECT * FROM reading ORDER BY seq")]
        finally:
            connection.close()

    def run(self, result=None):
        result = super().run(result)
        if result and not result.wasSuccessful():
            board.keep(self.log)
        return result

    def during(self, phase, sensor):
        """The readings that were begun and committed in a phase."""
        index = next(index for index, (name, _) in enumerate(self.phases) if name == phase)
        start, end = self.phases[index][1], self.phases[index + 1][1]
        found = [r for r in self.readings if r.sensor == sensor and start < r.time and r.committed < end]
        self.assertTrue(found, f"no reading of {sensor} in {phase}")
        return found

    def output(self, name):
        """What a command printed, what it said on standard error, and its exit status."""
        text = re.search(rf"^OUTPUT {name} BEGIN\n(.*?)^ERRORS\n(.*?)^STATUS (\d+)$", self.console, re.M | re.S)
        self.assertTrue(text, f"no output of {name}")
        return text.group(1), text.group(2), int(text.group(3))

    def answer(self, name, status=0):
        """The JSON object that a command printed."""
        out, errors, ended = self.output(name)
        self.assertEqual(ended, status, f"{name}: {errors}")
        return json.loads(out)

    def assert_numbers(self, values, expected, what):
        for name, value in expected.items():
            self.assertAlmostEqual(values[name], value, delta=TOLERANCE[name], msg=f"{name} of {what}")

    def assert_values(self, reading, expected):
        self.assertEqual(set(reading.values), set(expected), reading)
        self.assert_numbers(reading.values, expected, reading)

    def assert_faulty(self, phase, sensor, faults, expected):
        """Every reading has these faults, and these values all the same."""
        for reading in self.during(phase, sensor):
            self.assertEqual(reading.faults, faults, reading)
            self.assert_values(reading, expected)

    def assert_sound(self, phase, sensor, expected):
        for reading in self.during(phase, sensor):
            self.assertEqual(reading.faults, [], reading)
            self.assert_values(reading, expected[sensor])

    def test_tools_of_the_system_see_the_chips(self):
        found = {}
        for bus, table in re.findall(r"^DETECT (.*)\n((?: {3}.*\n)(?:\d0:.*\n)+)", self.console, re.M):
            rows = [line.split(":", 1)[1].split() for line in table.splitlines()[1:]]
            found[bus] = [cell for row in rows for cell in row if cell != "--"]
        chips = {"0": ["44", "48", "62", "69", "76"], "1": ["38", "76", "77"], "2": ["62", "70"], "without power": []}
        self.assertEqual(found, chips)
        self.assertIn("\nTRANSFER 0x60  0x60\n", self.console, "a register, by a combined and by two plain transfers")
        self.assertRegex(self.console, r"\nABSENT .*No such device or address\n")

    def test_what_is_set_is_what_is_recorded(self):
        for sensor in FIRST:
            self.assert_sound("calm", sensor, FIRST)
            self.assert_sound("changed", sensor, LATER)
            self.assert_sound("healed", sensor, LATER)
        self.assertFalse([r for r in self.readings if r.is_simulated], "hardware mode is not simulated")

    def test_the_first_readings_have_no_faults(self):
        """A chip that starts has not failed, though it has no value for five seconds."""
        for sensor in FIRST:
            first = next(r for r in self.readings if r.sensor == sensor)
            self.assertEqual(first.faults, [], first)
            self.assert_values(first, FIRST[sensor])

    def test_scan_names_every_chip_and_its_place(self):
        scan = self.answer("scan")
        found = {
            (bus["bus"], chip["channel"], chip["address"], chip["chip"])
            for bus in scan["buses"]
            for chip in bus["chips"]
        }
        self.assertEqual(found, {place[:4] for place in CHIPS} | {(2, None, "0x70", "tca9548a")})
        compared = {
            (chip["bus"], chip["channel"], chip["address"], chip["type"], chip["station"], chip["state"])
            for chip in scan["configuration"]["expected"]
        }
        self.assertEqual(compared, {(*place, "present") for place in CHIPS})
        self.assertEqual(scan["problems"], [])

    def test_sample_shows_what_is_set(self):
        sample = self.answer("sample-json")
        self.assertEqual(sample["problems"], [])
        stations = {station["station"]: station for station in sample["stations"]}
        self.assertEqual(set(stations), {"cellar", "office", "porch", "kitchen"})
        for name, station in stations.items():
            values = {value["quantity"]: value["value"] for value in station["values"]}
            self.assertEqual(set(values) - {"battery_level"}, set(FIRST[name]))
            self.assert_numbers(values, FIRST[name], name)
            chips = {(chip["bus"], chip["channel"], chip["address"], chip["type"], name) for chip in station["chips"]}
            self.assertEqual(chips, {place for place in CHIPS if place[4] == name})

    def test_sample_is_readable(self):
        digits = {"temperature": 2, "humidity": 1, "pressure": 1}
        for output, stations in (("sample-B", ["attic", "shed"]), ("sample-C", ["hall", "loft"])):
            text, errors, status = self.output(output)
            self.assertEqual(status, 0, text + errors)
            parts = re.split(r"^(\w+)  \d{4}-.*\n", text, flags=re.M)[1:]
            self.assertEqual(parts[::2], stations, text)
            for station, table in zip(stations, parts[1::2], strict=True):
                found = dict(re.findall(r"^ *(\w+) +(-?[\d,]+\.\d+) ", table, re.M))
                self.assertEqual(set(found), set(FIRST[station]), text)
                for name, value in FIRST[station].items():
                    step = 10 ** -digits[name]
                    self.assertAlmostEqual(
                        float(found[name].replace(",", "")), value, delta=step + TOLERANCE[name], msg=text
                    )

    def test_calibrate_shows_what_is_in_force(self):
        shown = self.answer("calibrate")
        self.assertEqual((shown["station"], shown["bus"], shown["address"]), ("annex", 2, "0x62"))
        self.assertEqual(shown["part"], "SCD40")
        self.assertEqual(shown["settings"]["altitude"], 0)
        self.assertAlmostEqual(shown["settings"]["temperature_offset"], 4, delta=0.002)
        self.assert_numbers(shown["reading"], FIRST["annex"], "calibrate show")

    def test_who_comes_second_is_refused_a_bus(self):
        holder = re.search(r"^HOLDER (\d+)$", self.console, re.M).group(1)
        for name in ("busy-scan", "busy-sample"):
            text, errors, status = self.output(name)
            self.assertEqual(status, 1, name)
            self.assertIn(f"in use by process {holder}", text + errors, name)

    def test_doctor_looks_beside_a_gateway(self):
        doctor = self.answer("doctor", status=1)
        states = {}
        for check in doctor["checks"]:
            states.setdefault(check["area"], {})[check["subject"]] = check
        for bus in range(3):
            check = states["buses"][f"/dev/i2c-{bus}"]
            self.assertEqual(check["state"], "ok", check)
            self.assertIn("in use by", check["seen"])
        for check in states["chips"].values():
            self.assertEqual(check["state"], "skipped", check)
        self.assertEqual({check["state"] for check in states["board"].values()}, {"ok"}, states["board"])
        self.assertRegex(states["storage"]["/run/outbox.sqlite"]["seen"], r"^sound; [\d,]+ readings wait")
        failures = [check["subject"] for check in doctor["checks"] if check["state"] == "failure"]
        self.assertEqual(failures, ["127.0.0.1:9"], "the broker, which is not there, and nothing else")

    def test_disturbed_chips_are_faults_of_their_own(self):
        """Unplugged, silent, saturated, damaged on the way: what the station's other chips measure is there."""
        self.assert_faulty("disturbed", "cellar", ["bme280:not_acknowledged"], {})
        self.assert_faulty("disturbed", "porch", ["sht4x:not_acknowledged"], {"battery_voltage": 3.9})
        self.assert_faulty("disturbed", "hall", ["bmp280:out_of_range"], {"temperature": 19, "humidity": 50})
        self.assert_faulty("disturbed", "loft", ["sht3x:crc"], {"temperature": 34.5, "pressure": 980})
        for sensor in ("office", "annex"):
            self.assert_sound("disturbed", sensor, FIRST)

    def test_a_chip_that_is_replugged_under_load_gives_no_wrong_value(self):
        readings = self.during("disturbed", "attic")
        self.assertTrue(any(reading.faults for reading in readings), readings)
        for reading in readings:
            if reading.faults:
                self.assertRegex(" ".join(reading.faults), r"^bme280:\w+$", reading)
                self.assertEqual(reading.values, {}, reading)
            else:
                self.assert_values(reading, FIRST["attic"])

    def test_stuck_chips_are_faults_of_their_own(self):
        last = self.during("stuck", "office")[-1]
        self.assertRegex(" ".join(last.faults), r"^scd41:\w+$", last)
        self.assertEqual(last.values, {}, last)
        self.assert_faulty("stuck", "porch", ["ads1115:saturated"], {"temperature": -12, "humidity": 20})
        for sensor in ("cellar", "annex"):
            self.assert_sound("stuck", sensor, LATER)

    def test_a_stuck_bus_is_a_fault_of_its_chips_alone(self):
        last = self.during("stuck", "attic")[-1]
        self.assertRegex(" ".join(last.faults), r"^bme280:\w+", last)
        self.assertEqual(last.values, {}, last)

    def test_a_lost_multiplexer_is_a_fault_of_the_chips_behind_it_alone(self):
        for sensor in ("hall", "loft"):
            self.assert_faulty("stuck", sensor, ["bmp280:multiplexer", "sht3x:multiplexer"], {})

    def test_a_chip_that_hangs_is_revived_by_taking_its_power(self):
        last = self.during("hanging", "cellar")[-1]
        self.assertEqual(last.faults, ["bme280:not_acknowledged"], last)
        self.assert_sound("revived", "cellar", LATER)
        self.assertIn("\nSUPPLY output high 2 changes\n", self.console)

    def test_the_others_are_sampled_on_time(self):
        """What is wrong with a chip does not move the times of the others, on its bus and elsewhere.

        The guest has much to do besides, and so moves some; a fault would move all of its phase.
        """
        for phase, others in (("disturbed", ("office", "annex")), ("stuck", ("cellar", "annex"))):
            for sensor in others:
                times = [reading.time for reading in self.during(phase, sensor)]
                gaps = sorted(later - earlier for earlier, later in zip(times, times[1:], strict=False))
                self.assertGreaterEqual(len(gaps), 3)
                self.assertAlmostEqual(
                    gaps[(len(gaps) - 1) // 2], INTERVAL, delta=150, msg=f"{sensor}, {phase}: {gaps}"
                )

    def test_the_boards_lines_work(self):
        self.assertRegex(self.console, r"\ngpiochip\d \[cp2112_gpio\] \(8 lines\)\n")
        # Low and high again; the kernel's driver may take the level that it sees first for an edge too.
        edges = re.search(r"\nEDGES (\d+)\n", self.console)
        self.assertIn(int(edges.group(1)), (2, 3))
        self.assertIn("\nLIGHT output\n", self.console)

    def test_everything_ends_in_order(self):
        self.assertEqual(re.findall(r"^GATEWAY (\d+)$", self.console, re.M), ["0", "0"])
        self.assertIn("\nSIMBUS 0\n", self.console)
        self.assertIn("\nADAPTERS 0\n", self.console, "with its program an adapter goes")


if __name__ == "__main__":
    try:
        unittest.main()
    except guest.GuestError as error:
        sys.exit(f"vigie: {error}")
