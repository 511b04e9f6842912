"""documentation/configuration.md, the files of configuration/ and the programs agree.

The keys, values and defaults of the page are compared with the programs by the two ConfigurationReferenceTests.
"""

import re
import subprocess
import unittest

from vigie_dashboard.settings import SettingsError, read_settings
from vigie_harness.checkout import ROOT, must_have, programs

CHAPTERS = dict(
    re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", (ROOT / "documentation/configuration.md").read_text(), re.M | re.S)
)
ROW = re.compile(r"^\| `(\w+)` \| (.*?) \| (.*?) \| ", re.MULTILINE)


class Configuration(unittest.TestCase):
    def test_the_files_are_valid(self):
        must_have(programs(), "vigie-gateway", "vigie-processor")
        for name in ("gateway", "minimal", "processor"):
            program = "vigie-processor" if name == "processor" else "vigie-gateway"
            file = ROOT / f"configuration/{name}.yaml"
            result = subprocess.run(
                [programs() / program, "check", "--config", file],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_the_least_configuration_is_short(self):
        self.assertLessEqual(len((ROOT / "configuration/minimal.yaml").read_text().splitlines()), 15)

    def test_the_full_files_show_every_key(self):
        gateway = (ROOT / "configuration/gateway.yaml").read_text()
        processor = (ROOT / "configuration/processor.yaml").read_text()
        # How to reach a cluster is shown once for both.
        shared = "security, ca_file, certificate_file, key_file, mechanism, username, password_file, properties"
        self.assertIn(f"# {shared}: as in gateway.yaml", processor)
        for name, text in (("gateway.yaml", gateway), ("processor.yaml", processor)):
            keys = {found[0] for found in ROW.findall(CHAPTERS[name])}
            self.assertGreater(len(keys), 40)
            for key in sorted(keys):
                with self.subTest(f"{name}: {key}"):
                    # As a key, or in a remark such as "also humidity, pressure".
                    self.assertRegex(text, rf"\b{key}\b")

    def test_the_dashboards_variables_are_those_of_its_settings(self):
        source = (ROOT / "dashboard/vigie_dashboard/settings.py").read_text()
        documented = {name: (value, default) for name, value, default in ROW.findall(CHAPTERS["The dashboard"])}
        self.assertEqual(set(documented), set(re.findall(r'"(VIGIE_\w+)"', source)))
        with self.assertRaises(SettingsError):
            read_settings({})
        least = {"VIGIE_POSTGRES": "dbname=vigie"}
        for name, (value, default) in documented.items():
            if default in ("required", "none"):
                continue
            self.assertEqual(read_settings(least | {name: default.strip("`")}), read_settings(least))
            low, high = re.search(r"([0-9.]+) to ([0-9.]+)", value).groups()
            for number, is_taken in ((low, True), (high, True), ("0.09", False), (f"{high}1", False)):
                with self.subTest(f"{name}={number}"):
                    if is_taken:
                        read_settings(least | {name: number})
                    else:
                        with self.assertRaises(SettingsError):
                            read_settings(least | {name: number})


if __name__ == "__main__":
    unittest.main()
