"""The release gateway in hardware mode on simulated chips of Debian's own kernel, in a virtual machine.

What happens in the guest is in scenario.sh; here its console and its outbox are compared with the values that were set.
"""

import base64
import gzip
import os
import pathlib
import re
import shutil
import sqlite3
import sys
import tempfile
import unittest

import guest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STATE = ROOT / ".vigie"
if os.environ.get("VIGIE_GUEST") == "arm64":
    # As tools/debian13/test-arm64 makes it.
    ARCHITECTURE = guest.ARM64
    SYSTEM = STATE / "debian13/arm64"
    RELEASE = STATE / "debian13/build/arm64/release"
    APT_OPTIONS = (f"--config-file={STATE / 'debian13/arm64.apt.conf'}",)
else:
    ARCHITECTURE = guest.AMD64
    SYSTEM = pathlib.Path("/")
    RELEASE = ROOT / ".build/release"
    APT_OPTIONS = ()
PROGRAMS = ("vigie-gateway", "vigie-simbus")
TOOLS = ("i2cdetect", "i2ctransfer", "gpiodetect", "gpioset", "sqlite3")
# Seconds. Quiet it takes a fraction; a loaded machine shall not fail.
LIMIT = 600

# What the scenario sets, first and later.
FIRST = {
    "cellar": {"temperature": 21.5, "humidity": 40, "pressure": 1000},
    "office": {"temperature": 23, "humidity": 45, "co2": 800},
    "porch": {"temperature": 5.25, "humidity": 70, "battery_voltage": 3.9},
    "attic": {"temperature": 28, "humidity": 30, "pressure": 1010},
}
LATER = {
    "cellar": {"temperature": -7.5, "humidity": 85, "pressure": 960},
    "office": {"temperature": 31, "humidity": 55, "co2": 2400},
    "porch": {"temperature": -12, "humidity": 20, "battery_voltage": 3.3},
    "attic": {"temperature": 45, "humidity": 12, "pressure": 1040},
}
# Half a step of the coarsest chip that gives the quantity, and what its driver rounds: BME280 with single conversions
# 0.005 degrees, 0.03 hPa, 0.01 %; SCD41 1 ppm; ADS1115 125 microvolts behind a divider by two.
TOLERANCE = {"temperature": 0.01, "humidity": 0.02, "pressure": 0.05, "co2": 0.5, "battery_voltage": 0.0003}
QUANTITIES = tuple(TOLERANCE)
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
        # Of the last run, whatever became of it.
        cls.log = STATE / "guest-console.log"
        STATE.mkdir(exist_ok=True)
        cache = STATE / "cache"
        package = guest.download_kernel(ARCHITECTURE, cache / "kernel", APT_OPTIONS)
        kernel, modules = guest.unpack_kernel(package, cache / "guest" / package.stem)
        programs = {f"/bin/{name}": cls.stripped(RELEASE / name) for name in PROGRAMS}
        for name in TOOLS:
            folders = ":".join(str(SYSTEM / folder) for folder in ("usr/sbin", "usr/bin", "sbin", "bin"))
            programs[f"/bin/{name}"] = pathlib.Path(shutil.which(name, path=folders) or name)
        files = {f"/{path.name}": path.read_bytes() for path in HERE.glob("*.sh")}
        files["/init"] = files.pop("/init.sh")
        files["/gateway.yaml"] = (HERE / "gateway.yaml").read_bytes()
        disk = cls.folder / "disk"
        disk.write_bytes(guest.make_initial_disk(ARCHITECTURE, modules, programs, files, SYSTEM))
        try:
            guest.boot(ARCHITECTURE, kernel, disk, cls.log, LIMIT)
            cls.console = cls.log.read_text(errors="replace").replace("\r", "")
            if "\nDONE " not in cls.console:
                raise guest.GuestError(f"the guest did not get to its end:\n{cls.console[-4000:]}")
        except guest.GuestError as error:
            raise guest.GuestError(f"{error}\nIts console is kept in {cls.keep_log()}") from None
        cls.readings = cls.read_outbox()
        cls.phases = [(name, int(time)) for name, time in re.findall(r"^PHASE (\w+) (\d+)$", cls.console, re.M)]

    @classmethod
    def stripped(cls, program):
        if not program.exists():
            raise guest.GuestError(f"{program} is missing: 'make build' makes it")
        if ARCHITECTURE is not guest.AMD64:
            return program  # Our strip knows no other processor; it was linked without symbols.
        guest.run("strip", "-o", cls.folder / program.name, program)
        return cls.folder / program.name

    @classmethod
    def keep_log(cls):
        kept = STATE / "failed"
        kept.mkdir(parents=True, exist_ok=True)
        return shutil.copy(cls.log, kept / cls.log.name)

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
            self.keep_log()
        return result

    def during(self, phase, sensor):
        """The readings that were begun and committed in a phase."""
        index = next(index for index, (name, _) in enumerate(self.phases) if name == phase)
        start, end = self.phases[index][1], self.phases[index + 1][1]
        found = [r for r in self.readings if r.sensor == sensor and start < r.time and r.committed < end]
        self.assertTrue(found, f"no reading of {sensor} in {phase}")
        return found

    def assert_values(self, reading, expected):
        self.assertEqual(set(reading.values), set(expected), reading)
        for name, value in expected.items():
            self.assertAlmostEqual(reading.values[name], value, delta=TOLERANCE[name], msg=f"{name} of {reading}")

    def assert_sound(self, phase, sensor, expected):
        for reading in self.during(phase, sensor):
            self.assertEqual(reading.faults, [], reading)
            self.assert_values(reading, expected[sensor])

    def test_tools_of_the_system_see_the_chips(self):
        found = {}
        for bus, table in re.findall(r"^DETECT (.*)\n((?: {3}.*\n)(?:\d0:.*\n)+)", self.console, re.M):
            rows = [line.split(":", 1)[1].split() for line in table.splitlines()[1:]]
            found[bus] = [cell for row in rows for cell in row if cell != "--"]
        self.assertEqual(found, {"0": ["44", "48", "62", "76"], "1": ["77"], "without power": []})
        self.assertIn("\nTRANSFER 0x60  0x60\n", self.console, "a register, by a combined and by two plain transfers")
        self.assertRegex(self.console, r"\nABSENT .*No such device or address\n")

    def test_what_is_set_is_what_is_recorded(self):
        for sensor in FIRST:
            self.assert_sound("calm", sensor, FIRST)
            self.assert_sound("changed", sensor, LATER)
            self.assert_sound("healed", sensor, LATER)
        self.assertFalse([r for r in self.readings if r.is_simulated], "hardware mode is not simulated")

    def test_an_unplugged_chip_is_a_fault_of_its_own(self):
        for reading in self.during("unplugged", "cellar"):
            self.assertEqual(reading.faults, ["bme280:not_acknowledged"], reading)
            self.assertEqual(reading.values, {}, reading)
        for sensor in ("office", "porch", "attic"):
            self.assert_sound("unplugged", sensor, FIRST)

    def test_a_stuck_chip_is_a_fault_of_its_own(self):
        last = self.during("stuck", "office")[-1]
        self.assertRegex(" ".join(last.faults), r"^scd41:\w+$", last)
        self.assertEqual(last.values, {}, last)
    def test_a_stuck_bus_is_a_fault_of_its_chips_alone(self):
        last = self.during("stuck", "attic")[-1]
        self.assertRegex(" ".join(last.faults), r"^bme280:\w+$", last)
        for sensor in ("cellar", "porch"):
            self.assert_sound("stuck", sensor, LATER)

    def test_a_chip_that_hangs_is_revived_by_taking_its_power(self):
        last = self.during("hanging", "cellar")[-1]
        self.assertEqual(last.faults, ["bme280:not_acknowledged"], last)
        self.assert_sound("revived", "cellar", LATER)
        self.assertIn("\nSUPPLY output high 2 changes\n", self.console)

    def test_the_others_are_sampled_on_time(self):
        """What is wrong with a chip does not move the times of the others, on its bus and elsewhere.

        A loaded machine may stop the guest for a while, and so move some; a fault would move all of its phase.
        """
        for phase in ("unplugged", "stuck"):
            for sensor in ("office", "porch", "attic") if phase == "unplugged" else ("cellar", "porch"):
                times = [reading.time for reading in self.during(phase, sensor)]
                gaps = sorted(later - earlier for earlier, later in zip(times, times[1:]))
                self.assertGreaterEqual(len(gaps), 3)
                self.assertAlmostEqual(gaps[(len(gaps) - 1) // 2], INTERVAL, delta=150, msg=f"{sensor}, {phase}: {gaps}")

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
