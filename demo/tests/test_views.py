"""The demo's table as terminals of several widths show it."""

import subprocess
import sys
import unittest

from vigie_harness.checkout import ROOT

# The demo is a folder of scripts: what runs in it can import them.
SHOW = """
import datetime, sys, types
from rich.console import Console
from measurements import Board, Snapshot
from views import frame

def sensor(board, name):
    return types.SimpleNamespace(
        gateway_id=board, sensor_id=name, temperature=-19.25, humidity=100.0, co2=12345.0,
        pressure=1026.8, battery_level=15.0, battery_voltage=3.5, interval_ms=5000, last_status="warning",
        last_event_time=datetime.datetime.now(datetime.UTC), latitude=43.297, longitude=5.37, faults=["scd41:crc"])

width, height, count = map(int, sys.argv[1:])
boards = ["lyon-school", "marseille-archive", "mons-office"]
sensors = [sensor(boards[number % 3], f"reading-room-{number}") for number in range(count)]
rules = [types.SimpleNamespace(quantity="battery_level", side="below", bound=25.0, severity="warning")]
snapshot = Snapshot(uptime=1, sensors=sorted(sensors, key=lambda one: one.gateway_id),
    boards=[Board(name, "http://127.0.0.1:12345", 0, 2e7) for name in boards], rate=1, stored=1, median=None,
    nearly_worst=None, timed=0, period="", with_start=0, windows=0, final_windows=0, lost=0, rules=rules,
    dashboard="http://127.0.0.1:8501")
console = Console(width=width, height=height, color_system=None)
console.print(frame(snapshot, console))
"""


class ViewsTest(unittest.TestCase):
    def show(self, width, height=100, sensors=1):
        shown = subprocess.run(
            [sys.executable, "-c", SHOW, *map(str, (width, height, sensors))],
            cwd=ROOT / "demo", capture_output=True, text=True, check=True
        ).stdout  # fmt: skip
        self.assertLessEqual(max(map(len, shown.splitlines())), width)
        return shown

    def test_80_columns_lose_the_place_and_no_digit(self):
        shown = self.show(80)
        for value in ("-19.25", "100.0", "12,345", "1,026.8", "15 %"):
            self.assertIn(value, shown)
        # A line a sensor, with the first reason and how many there are besides.
        self.assertRegex(shown, r"reading-room-0 .*▲ scd41:crc \+1")
        self.assertNotIn("43.297", shown)

    def test_a_wide_terminal_shows_the_place_and_all_reasons(self):
        shown = self.show(140)
        self.assertIn("43.297°N 5.370°E", shown)
        self.assertIn("▲ warning: scd41:crc, battery low", shown)

    def test_the_usual_terminal_shows_all_of_the_demo(self):
        shown = self.show(80, 24, 7)
        self.assertLessEqual(len(shown.splitlines()), 24)
        for text in ("reading-room-6", "dashboard", "Ctrl-C"):
            self.assertIn(text, shown)

    def test_a_small_terminal_begins_with_what_matters(self):
        first = self.show(80, 10, 7).splitlines()[:10]
        self.assertIn("Ctrl-C", "".join(first))


if __name__ == "__main__":
    unittest.main()
