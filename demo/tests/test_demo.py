"""The demo as a visitor runs it, with the programs that the tests are built with and data of its own."""

import os
import re
import shutil
import subprocess
import sys
import unittest

from vigie_harness.checkout import ROOT, programs
from vigie_harness.ports import free_port
from vigie_harness.processes import last_lines
from vigie_harness.scratch import scratch_folder


class DemoTest(unittest.TestCase):
    def test_on_apache_kafka(self):
        if os.environ.get("VIGIE_KAFKA_KIND") == "stand-in":
            self.skipTest("needs Apache Kafka")
        said = self.run_demo()
        self.assertRegex(said, r"Broker: 127\.0\.0\.1:\d+, Apache Kafka \d+\.\d+\.\d+")
        # Of the station that has no SCD41, whose first measurement takes 5 s.
        found = re.search(r"first row +(\d+) ms (after|before) everything ran", said)
        self.assertTrue(found, said)
        self.assertLess(int(found[1]), 4000, said)

    def test_on_the_stand_in(self):
        self.assertIn("not Apache Kafka", self.run_demo("--kafka", "stand-in"))

    def test_a_database_that_is_away_is_said_before_the_build(self):
        environment = os.environ | {"VIGIE_POSTGRES": f"host=127.0.0.1 port={free_port()} dbname=vigie user=vigie"}
        for options in (["--check"], ["--kafka", "stand-in"]):
            folder = scratch_folder()
            self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
            result = subprocess.run(
                [sys.executable, ROOT / "demo" / "demo.py", *options],
                env=environment | {"VIGIE_DEMO": str(folder / "demo"), "VIGIE_BIN": str(programs())},
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
            self.assertRegex(result.stderr, r"^vigie: no PostgreSQL can be used at the address in VIGIE_POSTGRES.*\n$")

    def run_demo(self, *options):
        """Runs it for a while; it ends well, and its certificate agrees. What it said."""
        folder = scratch_folder()
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        # Its own servers, whatever this runs against.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VIGIE_")}
        environment |= {"VIGIE_DEMO": str(folder / "demo"), "VIGIE_BIN": str(programs())}
        demo = subprocess.run(
            [sys.executable, ROOT / "demo" / "demo.py", "--duration", "12", *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        logs = "".join(f"{log.name}:\n{last_lines(log)}\n" for log in sorted((folder / "demo").glob("*/logs/*.log")))
        # Whatever did not end well is told, and is the exit status.
        self.assertEqual(demo.returncode, 0, f"{demo.stdout}\n{logs}")
        self.assertIn("everything agrees", demo.stdout)
        # All that it keeps is in its folder, which goes with the test.
        self.assertEqual([link for link in (folder / "demo").glob("*/postgres") if link.is_symlink()], [])
        counted = re.search(r"readings +(\d+) in 3 streams, each once", demo.stdout)
        stored = re.search(r"readings stored +(\d+) in this run, by 7 sensors on 3 boards", demo.stdout)
        self.assertTrue(counted and stored, demo.stdout)
        self.assertEqual(stored[1], counted[1], "the summary is as old as the certificate")
        # What the latency holds besides, and why a sensor is not ok: at other hours the air has other reasons, too.
        self.assertRegex(demo.stdout, r"latency +p50 .* \(of the whole run: 6 of \d+ with the 5 s of an SCD41's first")
        self.assertRegex(demo.stdout, r"measurement to row p50 .* \(of the last 30 s")
        self.assertRegex(demo.stdout, r"lyon-school library is warning: (.*, )?battery \d+\.\d % is below 25 %")
        self.assertRegex(demo.stdout, r"Dashboard: http://127\.0\.0\.1:\d+")
        self.assertRegex(demo.stdout, r"by kafka: \{bootstrap: 127\.0\.0\.1:(\d+), .*ssh -N -R \1:127\.0\.0\.1:\1 ")
        return demo.stdout


if __name__ == "__main__":
    unittest.main()
