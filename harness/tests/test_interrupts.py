"""Ctrl-C in the first moments of every command: it ends without a traceback, and with the status of that."""

import os
import signal
import subprocess
import sys
import time
import unittest

from support import folder_of, kafka

from vigie_harness.checkout import ROOT, programs
from vigie_harness.processes import wait_until

# As the Makefile starts what is no program in tools/.
BEGIN = ["env", "--block-signal=INT,TERM,HUP"]
PROGRAMS = ROOT / ".vigie/venv/bin"
# Seconds after the start. Python and what the commands import take a few tenths.
MOMENTS = (0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)


class EarlyInterrupts(unittest.TestCase):
    def interrupt(self, moments, *command, **environment):
        """Starts a command once for each moment, and sends SIGINT then."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("VIGIE_")}
        for moment in moments:
            child = subprocess.Popen(
                command, env=own | environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, cwd=ROOT)  # fmt: skip
            time.sleep(moment)
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
            said = child.communicate(timeout=120)[0]
            with self.subTest(command=command, moment=moment):
                self.assertNotIn("Traceback", said)
                self.assertNotIn("KeyboardInterrupt", said)
                # Before env(1) has begun it is the signal itself, of which a shell makes 130.
                self.assertIn(child.returncode, (130, -signal.SIGINT), said)

    def test_kafka(self):
        kafka()
        self.interrupt(MOMENTS, ROOT / "tools/kafka", "run", "--folder", folder_of(self))

    def test_with_services(self):
        self.interrupt(MOMENTS, ROOT / "tools/with-services", "--broker", "stand-in", "--", "sleep", "600")

    def test_the_test_run(self):
        self.interrupt(MOMENTS, *BEGIN, sys.executable, "-m", "vigie_harness.test_run", "tools")

    def test_the_storm(self):
        kafka()
        command = (PROGRAMS / "vigie-storm", "--folder", folder_of(self))
        self.interrupt(MOMENTS, *BEGIN, *command, VIGIE_BIN=str(programs()))

    def test_a_storm_whose_servers_start(self):
        kafka()
        folder = folder_of(self)
        own = {name: value for name, value in os.environ.items() if not name.startswith("VIGIE_")}
        command = [*BEGIN, PROGRAMS / "vigie-storm", "--seed", "7", "--folder", folder]
        child = subprocess.Popen(
            command, env=own | {"VIGIE_BIN": str(programs())}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)  # fmt: skip
        self.addCleanup(child.stdout.close)
        log = folder / "1-7/kafka/node-1/node.log"
        wait_until("Kafka starts", lambda: log.exists() or child.poll() is not None, 60)
        child.send_signal(signal.SIGINT)
        said = child.communicate(timeout=60)[0]
        self.assertEqual(child.returncode, 130, said)
        self.assertNotIn("Storm of seed", said, "it waited until all servers ran")
        self.assertNotIn("Traceback", said)

    def test_the_demo(self):
        command = (sys.executable, ROOT / "demo/demo.py", "--kafka", "stand-in")
        data = str(folder_of(self) / "demo")
        self.interrupt(MOMENTS, *BEGIN, *command, VIGIE_DEMO=data, VIGIE_BIN=str(programs()))


if __name__ == "__main__":
    unittest.main()
