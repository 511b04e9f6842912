"""The demo's table as terminals of several widths show it."""

import subprocess
import sys
import unittest

from vigie_harness.checkout import ROOT

# The demo is a folder of scripts: what runs in it can import them.
SHOW = """
import datetime, sys, types
from rich.console import Console
from measurements import Snapshot
from views import sensor_table

sensor = types.SimpleNamespace(
    gateway_id="marseille-archive", sensor_id="reading-room", temperature=-19.25, humidity=100.0, co2=12345.0,
    pressure=1026.8, battery_level=15.0, battery_voltage=3.5, interval_ms=5000, last_status="warning",
    last_event_time=datetime.datetime.now(datetime.UTC), latitude=43.297, longitude=5.37, faults=["scd41:crc"])
rules = [types.SimpleNamespace(quantity="battery_level", side="below", bound=25.0, severity="warning")]
snapshot = Snapshot(uptime=1, sensors=[sensor], boards=[], rate=1, stored=1, median=None, nearly_worst=None, timed=0,
    period="", with_start=0, windows=0, final_windows=0, lost=0, rules=rules)
width = int(sys.argv[1])
Console(width=width, color_system=None).print(sensor_table(snapshot, width))
"""


class ViewsTest(unittest.TestCase):
    def show(self, width):
        shown = subprocess.run(
            [sys.executable, "-c", SHOW, str(width)], cwd=ROOT / "demo", capture_output=True, text=True, check=True
        ).stdout
        self.assertLessEqual(max(map(len, shown.splitlines())), width)
        return shown

    def test_80_columns_lose_the_place_and_no_digit(self):
        shown = self.show(80)
        for value in ("-19.25", "100.0", "12,345", "1,026.8", "15 %", "▲ warning"):
            self.assertIn(value, shown)
        words = shown.split()
        for word in ("scd41:crc,", "battery", "low"):
            self.assertIn(word, words)
        self.assertNotIn("43.297", shown)

    def test_a_wide_terminal_shows_the_place(self):
        self.assertIn("43.297°N 5.370°E", self.show(140))


if __name__ == "__main__":
    unittest.main()
