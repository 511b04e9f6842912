"""tools/install on a machine that has nothing yet: apt, pip and Swift are scripts that write down what they are asked."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).resolve().parent.parent

PROGRAMS = {
    "swift": "echo Swift version 6.0.3",
    "dpkg-query": 'grep -qx "${@: -1}" "$STATE/packages" && echo installed',
    "apt-get": '[[ $1 == install ]] || exit 0; for word; do [[ $word == -* ]] || echo "$word"; done >>"$STATE/packages"',
    "sudo": 'exec "$@"',
    "python3": """
        echo venv >>"$STATE/environments"
        mkdir -p .vigie/venv/bin
        touch .vigie/venv/bin/{python,pip}
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
        programs = self.folder / "programs"
        programs.mkdir()
        for name, text in PROGRAMS.items():
            (programs / name).write_text(f"#!/bin/bash\n{text}\n")
            (programs / name).chmod(0o755)
        (self.folder / "packages").touch()
        self.environment = {"PATH": f"{programs}:/usr/bin:/bin", "STATE": str(self.folder)}

    def install(self, *purposes):
        return subprocess.run(
            [self.folder / "tools/install", *purposes], env=self.environment, capture_output=True, text=True)  # fmt: skip

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
