"""hardware/: its drawings are what draw.py draws, and udev takes its rules."""

import pathlib
import runpy
import subprocess
import unittest
import xml.etree.ElementTree

HARDWARE = pathlib.Path(__file__).resolve().parent.parent.parent / "hardware"
DRAW = runpy.run_path(str(HARDWARE / "draw.py"))


class Hardware(unittest.TestCase):
    def test_the_drawings_are_those_of_the_script(self):
        for name, drawing in (("wiring.svg", DRAW["wiring"]()), ("multiplexer.svg", DRAW["multiplexer"]())):
            text = (HARDWARE / name).read_text()
            self.assertEqual(text, drawing.svg(), f"{name} is old: run hardware/draw.py")
            xml.etree.ElementTree.fromstring(text)

    def test_udev_takes_the_rules(self):
        rules = HARDWARE / "udev/60-vigie.rules"
        for line in rules.read_text().splitlines():
            if not line.startswith("#"):
                self.assertRegex(line, r'^SUBSYSTEM=="[a-z0-9-]+",( KERNEL=="[^"]+",)? GROUP="[a-z0-9]+", MODE="0660"$')
        try:
            result = subprocess.run(
                ["udevadm", "verify", "--resolve-names=never", rules], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            self.skipTest("there is no udevadm")
        if "nknown" in result.stderr and "verify" in result.stderr:
            self.skipTest("udevadm before systemd 254 cannot verify")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)


if __name__ == "__main__":
    unittest.main()
