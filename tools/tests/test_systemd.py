"""systemd/: systemd takes the units and files without a word, and the services are as confined as is documented."""

import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SYSTEMD = ROOT / "systemd"
PROGRAMS = ("gateway", "processor", "dashboard")
# The most that `systemd-analyze security` may say: 0 is confined, 10 is not at all.
EXPOSURE = {"gateway": 1.8, "processor": 1.1, "dashboard": 1.1}


def run(*command):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr


class Units(unittest.TestCase):
    def setUp(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("there is no systemd-analyze: install the package systemd")
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="vigie-units-")))
        for unit in (SYSTEMD / "system").iterdir():
            # The programs need not be installed here.
            text, count = re.subn(r"(?m)^ExecStart=/usr/bin/[a-z-]+", "ExecStart=/bin/true", unit.read_text())
            self.assertEqual(count, 1, unit)
            (self.folder / unit.name).write_text(text)

    def test_systemd_takes_them(self):
        units = sorted(self.folder.glob("*.service"))
        self.assertEqual([unit.stem for unit in units], sorted(f"vigie-{name}" for name in PROGRAMS))
        self.assertEqual(run("systemd-analyze", "verify", "--man=no", *units), (0, ""))

    def test_a_wrong_key_would_be_found(self):
        unit = self.folder / "vigie-gateway.service"
        unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchdogSecs="))
        self.assertIn("WatchdogSecs", run("systemd-analyze", "verify", "--man=no", unit)[1])

    def test_they_are_confined(self):
        for name, most in EXPOSURE.items():
            unit = self.folder / f"vigie-{name}.service"
            status, said = run(
                "systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={round(most * 10)}", unit
            )
            self.assertEqual(status, 0, said)
            level = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
            self.assertLessEqual(float(level.group(1)), most, said)


class Files(unittest.TestCase):
    def settings(self, name):
        """The settings of a unit, each with its values in order."""
        found = {}
        for line in (SYSTEMD / "system" / f"vigie-{name}.service").read_text().splitlines():
            if "=" in line and not line.startswith("#"):
                key, _, value = line.partition("=")
                found.setdefault(key, []).append(value)
        return found

    def test_a_wrong_setting_starts_no_loop(self):
        source = (ROOT / "Sources/Platform/ExitStatus.swift").read_text()
        statuses = dict(re.findall(r"static let (\w+): Int32 = (\d+)", source))
        for name in PROGRAMS:
            prevented = self.settings(name)["RestartPreventExitStatus"]
            self.assertEqual(prevented, [f"{statuses['usage']} {statuses['configuration']}"], name)

    def test_systemd_makes_the_users_that_they_run_as(self):
        if not shutil.which("systemd-sysusers"):
            self.skipTest("there is no systemd-sysusers: install the package systemd")
        with tempfile.TemporaryDirectory(prefix="vigie-users-") as root:
            folder = pathlib.Path(root)
            (folder / "etc").mkdir()
            shutil.copytree(SYSTEMD / "sysusers.d", folder / "usr/lib/sysusers.d")
            status, said = run("systemd-sysusers", f"--root={root}", "--dry-run")
        self.assertEqual(status, 0, said)
        users = set(re.findall(r"Creating user '(\S+)'", said))
        groups = set(re.findall(r"Creating group '(\S+)'", said))
        for name in PROGRAMS:
            settings = self.settings(name)
            self.assertEqual(settings["User"], [f"vigie-{name}"])
            self.assertLessEqual(set(settings["User"]), users)
            wanted = settings["Group"] + " ".join(settings.get("SupplementaryGroups", [])).split()
            self.assertLessEqual(set(wanted), groups)

    def test_udev_gives_the_devices_to_the_same_groups(self):
        rules = (ROOT / "hardware/udev/60-vigie.rules").read_text()
        groups = " ".join(self.settings("gateway")["SupplementaryGroups"]).split()
        self.assertEqual(re.findall(r'GROUP="(\w+)"', rules), groups)

    def test_secrets_are_for_their_service_alone(self):
        for name in PROGRAMS:
            text = (SYSTEMD / "tmpfiles.d" / f"vigie-{name}.conf").read_text()
            lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
            self.assertIn(["d", f"/etc/vigie/secrets/{name}", "2750", "root", f"vigie-{name}", "-"], lines)


if __name__ == "__main__":
    unittest.main()
