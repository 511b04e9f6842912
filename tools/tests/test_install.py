"""tools/install on a machine that has nothing yet: apt, pip and Swift are scripts that note what they are told."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).resolve().parent.parent

SWIFT = "echo Swift version 6.0.3"
PROGRAMS = {
    "dpkg-query": 'grep -qx "${@: -1}" "$STATE/packages" && echo installed',
    "apt-get": """
        [[ $1 == install ]] || exit 0
        [[ -e $STATE/createcluster.d/vigie.conf ]] && cat "$STATE/createcluster.d/vigie.conf" >"$STATE/cluster"
        for percent in 0 26.2 51.0 100; do
            echo "dlstatus:1:$percent:Retrieving" >&3
            echo "pmstatus:g++:$percent:Unpacking" >&3
        done
        echo "Reading package lists..."
        for word; do [[ $word == -* || $word == APT::* ]] || echo "$word"; done >>"$STATE/packages"
        if grep -qx swiftlang "$STATE/packages"; then mv "$STATE/swift" "$STATE/programs/swift"; fi""",
    "sudo": """
        if [[ $1 == -v ]]; then exit "$(cat "$STATE/refused")"; fi
        exec "$@\"""",
    "python3": """
        if [[ $1 == --version ]]; then echo Python 3.13.5; exit; fi
        echo venv >>"$STATE/environments"
        mkdir -p .vigie/venv/bin
        touch .vigie/venv/bin/python
        cp "$STATE/pip" .vigie/venv/bin/pip
        chmod +x .vigie/venv/bin/*""",
}


def listed(purpose):
    lines = (TOOLS / "debian-packages.txt").read_text().splitlines()
    words = [line.split() for line in lines if not line.startswith("#")]
    return {package for said, package in words if said == purpose}


class Install(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vigie-install-"))
        self.addCleanup(shutil.rmtree, self.folder)
        tools = self.folder / "tools"
        tools.mkdir()
        for name in ("install", "debian-packages.txt", "requirements.txt"):
            shutil.copy2(TOOLS / name, tools)
        for part in ("dashboard", "harness"):
            (self.folder / part).mkdir()
            shutil.copy2(TOOLS.parent / part / "pyproject.toml", self.folder / part)
        shutil.copy2(TOOLS.parent / "dashboard/requirements.txt", self.folder / "dashboard")
        self.programs = self.folder / "programs"
        self.programs.mkdir()
        for name, text in PROGRAMS.items():
            self.program(self.programs / name, text)
        # Nothing of this machine is found, its Swift least of all.
        for name in ("bash", "cat", "cmp", "cp", "dirname", "env", "grep", "head", "mkdir", "mv", "rm", "sed",
                     "sha256sum", "sort", "stat", "tee", "touch", "chmod", "wc"):  # fmt: skip
            (self.programs / name).symlink_to(shutil.which(name))
        self.program(self.programs / "swift", SWIFT)
        (self.folder / "packages").touch()
        (self.folder / "refused").write_text("0")
        # One package of each line of the requirements.
        self.program(
            self.folder / "pip",
            'cat dashboard/requirements.txt tools/requirements.txt | sed -n "s/==.*//; T; s/^/Collecting /p"',
        )
        self.release = self.folder / "os-release"
        self.release.write_text('ID=debian\nVERSION_ID="12"\n')
        self.environment = {
            "PATH": str(self.programs), "STATE": str(self.folder), "VIGIE_OS_RELEASE": str(self.release),
            "KAFKA_HOME": "/opt/kafka", "VIGIE_CREATECLUSTER": str(self.folder / "createcluster.d"),
        }  # fmt: skip

    def program(self, file, text):
        file.write_text(f"#!/bin/bash\n{text}\n")
        file.chmod(0o755)

    def lose_swift(self, release):
        """Takes Swift from a machine with a Debian of this release, which has a package of it from 13 on."""
        (self.programs / "swift").rename(self.folder / "swift")
        self.release.write_text(f"ID=debian\n{release}\n")

    def install(self, *purposes, user=None):
        return subprocess.run(
            [self.folder / "tools/install", *purposes],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            user=user,
        )

    def installed(self):
        return set((self.folder / "packages").read_text().split()) - {"install"}

    def environments(self):
        return (self.folder / "environments").read_text().count("venv")

    def test_each_purpose_brings_what_it_needs_and_no_more(self):
        done = self.install("build")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.installed(), listed("build"))
        self.assertFalse({"chromium", "mmdebstrap", "qemu-system-x86"} & self.installed())
        self.assertEqual(self.install("build", "test").returncode, 0)
        self.assertEqual(self.installed(), listed("build") | listed("test"))
        self.assertEqual(self.environments(), 1, "the Python packages are those of before")

    def test_what_takes_long_shows_how_far_it_is(self):
        said = self.install("build").stdout.splitlines()
        for what in ("downloading", "installing"):
            self.assertEqual([line for line in said if what in line], [f"  {what} {n} %" for n in (25, 50, 100)])
        self.assertEqual(
            [line for line in said if "collecting" in line][:3], [f"  collecting {n} %" for n in (25, 50, 75)]
        )
        self.assertIn("Reading package lists...", (self.folder / ".vigie/install.log").read_text())

    def test_the_distribution_makes_no_cluster_of_its_own(self):
        self.install("build")
        self.assertEqual((self.folder / "cluster").read_text(), "create_main_cluster = false\n")
        self.assertFalse((self.folder / "createcluster.d/vigie.conf").exists())

    def test_a_refused_sudo_says_what_to_type(self):
        user = "nobody" if os.geteuid() == 0 else None
        for path in (self.folder, *self.folder.rglob("*")):
            path.chmod(0o777)
        (self.folder / "refused").write_text("1")
        done = self.install("build", user=user)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^vigie: sudo refused, .* as root type: apt-get install .* g\+\+ .*\n$")
        self.assertEqual(self.installed(), set())
        (self.folder / "refused").write_text("0")
        done = self.install("build", user=user)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.installed(), listed("build"))

    def test_debian_13_brings_its_own_swift(self):
        for release in ('VERSION_ID="13"', "VERSION_CODENAME=forky"):
            with self.subTest(release):
                self.lose_swift(release)
                done = self.install("build")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(self.installed(), listed("build") | {"swiftlang"})
                again = self.install("build")
                self.assertEqual((again.returncode, again.stdout, again.stderr), (0, "", ""))
                (self.folder / "packages").write_text("")

    def test_debian_12_names_the_two_ways_to_swift(self):
        self.lose_swift('VERSION_ID="12"')
        done = self.install("build")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr.count("\n"), 1)
        for word in ("swift.org", "swiftly", "Debian 13", "swiftlang"):
            self.assertIn(word, done.stderr)
        self.assertEqual(self.installed(), set())

    def test_maven_comes_where_there_is_no_kafka(self):
        self.install("build", "test")
        self.assertNotIn("maven", self.installed())
        self.assertEqual(self.install("maven").returncode, 0)
        self.assertIn("maven", self.installed())
        (self.folder / "packages").write_text("")
        shutil.rmtree(self.folder / ".vigie")
        del self.environment["KAFKA_HOME"]
        self.assertEqual(self.install("build").returncode, 0)
        self.assertEqual(self.installed(), listed("build") | {"maven"})

    def test_nothing_is_done_twice(self):
        self.assertIn("Installing", self.install("build", "test").stdout)
        for purposes in (("build", "test"), ("build",), ("test",)):
            done = self.install(*purposes)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_other_python_packages_are_installed_anew(self):
        self.install("build")
        with open(self.folder / "tools/requirements.txt", "a") as requirements:
            requirements.write("# another\n")
        self.assertEqual(self.install("build").returncode, 0)
        self.assertEqual(self.environments(), 2)

    def test_what_cannot_be_is_one_clear_sentence(self):
        for purposes, text in (((), "for which purpose"), (("demos",), 'nothing for the purpose "demos"')):
            done = self.install(*purposes)
            self.assertEqual(done.returncode, 1)
            self.assertIn(text, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
