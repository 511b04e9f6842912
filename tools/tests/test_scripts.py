"""What the linters say of the project's shell scripts."""

import pathlib
import re
import shutil
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def tracked_files():
    """The files of the project, also those that are not committed yet; none of what it makes."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True)  # fmt: skip
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def is_shell(path):
    with open(path, "rb") as file:
        return re.match(rb"#!\S*(/| )(ba|da)?sh\b", file.readline(100)) is not None


class Scripts(unittest.TestCase):
    @unittest.skipUnless(shutil.which("shellcheck"), "shellcheck is missing: run `make dependencies`")
    @unittest.skipUnless((ROOT / ".git").exists(), "this is no checkout: Git cannot list the scripts")
    def test_shellcheck_finds_nothing(self):
        scripts = [path for path in tracked_files() if is_shell(path)]
        self.assertGreater(len(scripts), 15)
        found = subprocess.run(
            ["shellcheck", "--format", "gcc", *scripts],
            cwd=ROOT, capture_output=True, text=True, check=False)  # fmt: skip
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)


if __name__ == "__main__":
    unittest.main()
