"""What the Debian packages say of themselves agrees with the sources."""

import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS = ("vigie-gateway", "vigie-processor", "vigie-fleet", "vigie-simbus")


def text(path):
    return (ROOT / path).read_text()


class Packages(unittest.TestCase):
    def test_every_place_names_one_release(self):
        release = re.search(r'version = "([^"]+)"', text("Sources/Platform/Release.swift"))[1]
        day = re.search(r'day = "([^"]+)"', text("Sources/Platform/Release.swift"))[1]
        self.assertRegex(text("debian/changelog"), rf"\Avigie \({re.escape(release)}\) ")
        page = text("tools/packages/vigie-dashboard.1")
        self.assertIn(f'.TH VIGIE-DASHBOARD 1 {day} "Vigie {release}" "Vigie"', page)

    def test_every_program_is_in_one_package_with_its_page_and_completions(self):
        installed = [
            line for path in sorted((ROOT / "debian").glob("*.install")) for line in path.read_text().splitlines()
        ]
        for program in PROGRAMS:
            for path in (
                f"usr/bin/{program}",
                f"usr/share/man/man1/{program}.1",
                f"usr/share/bash-completion/completions/{program}",
                f"usr/share/zsh/vendor-completions/_{program}",
                f"usr/share/fish/vendor_completions.d/{program}.fish",
            ):
                self.assertEqual(installed.count(path), 1, path)

    def test_libraries_to_compile_with_are_those_of_the_checkout(self):
        listed = {
            line.split()[1] for line in text("tools/debian-packages.txt").splitlines() if line.startswith("build ")
        }
        needed = {name for name in listed if name.startswith("lib") and name.endswith("-dev")}
        control = text("debian/control").split("\n\n")[0]
        self.assertEqual(set(re.findall(r"^ (lib\S+-dev),$", control, re.M)), needed)

    def test_what_links_name_is_there(self):
        for path in (ROOT / "debian").iterdir():
            self.assertTrue(path.exists(), path)

    def test_scripts_of_packages_can_be_parsed(self):
        for path in (ROOT / "debian").iterdir():
            if path.suffix in (".postinst", ".prerm", ".postrm"):
                subprocess.run(["sh", "-n", path], check=True)


if __name__ == "__main__":
    unittest.main()
