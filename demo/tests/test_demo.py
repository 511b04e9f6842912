"""The demo as a visitor runs it, with the programs that the tests are built with and data of its own."""

import os
import shutil
import subprocess
import sys
import unittest

from vigie_harness.checkout import ROOT, programs
from vigie_harness.processes import last_lines
from vigie_harness.scratch import scratch_folder


class DemoTest(unittest.TestCase):
    def test_it_runs_ends_well_and_its_certificate_agrees(self):
        folder = scratch_folder()
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        environment = os.environ | {"VIGIE_DEMO": str(folder / "demo"), "VIGIE_BIN": str(programs())}
        demo = subprocess.run(
            [sys.executable, ROOT / "demo" / "demo.py", "--duration", "15"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        logs = "".join(
            f"{log.name}:\n{last_lines(log)}\n" for log in sorted((folder / "demo" / "logs").glob("*.log"))
        )
        # Whatever did not end well is told, and is the exit status.
        self.assertEqual(demo.returncode, 0, f"{demo.stdout}\n{logs}")
        self.assertIn("everything agrees", demo.stdout)
        self.assertRegex(demo.stdout, r"readings +[1-9]\d* in 3 streams, each once")
        self.assertRegex(demo.stdout, r"Dashboard: http://127\.0\.0\.1:\d+")


if __name__ == "__main__":
    unittest.main()
