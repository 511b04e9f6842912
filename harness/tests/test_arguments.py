"""What is wrong with a command line is told in words: exit status 2 for what cannot be meant, 1 for what fails."""

import argparse
import os
import socket
import subprocess
import sys
import unittest

from support import folder_of, kafka

from vigie_harness import arguments
from vigie_harness.checkout import ROOT, must_have, programs
from vigie_harness.errors import HarnessError

KAFKA = ROOT / "tools/kafka"
STORM = ROOT / ".vigie/venv/bin/vigie-storm"
DEMO = (sys.executable, ROOT / "demo/demo.py")
BENCHMARKS = ROOT / "Benchmarks"


def run(*command, **environment):
    """The exit status of a command, and what it said of its failure."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("VIGIE_")}
    result = subprocess.run(
        command, env=own | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        check=False)  # fmt: skip
    return result.returncode, result.stderr


class CommandLines(unittest.TestCase):
    def assert_told(self, status, words, *command, **environment):
        with self.subTest(command=command):
            found, said = run(*command, **environment)
            self.assertEqual(found, status, said)
            self.assertIn(words, said)
            self.assertNotIn("Traceback", said)
            self.assertNotIn("Errno", said)

    def test_options_of_kafka(self):
        folder = folder_of(self)
        (folder / "empty").touch()
        (folder / "password").write_text("hers\n")
        alice = f"alice:{folder}/password"
        here = (KAFKA, "run", "--folder", folder / "kafka")
        for words, options in (
            ("argument --property: expected KEY=VALUE, not 'foo'", ("--property", "foo")),
            ("argument --property: expected KEY=VALUE, not '=1'", ("--property", "=1")),
            ("argument --user: expected NAME:FILE, not 'alice'", ("--sasl", "scram", "--user", "alice")),
            ("argument --user: the password file /nowhere: No such file", ("--sasl", "plain", "--user", "a:/nowhere")),
            ("argument --user: the password file /: Is a directory", ("--sasl", "plain", "--user", "a:/")),
            ("must hold one line", ("--sasl", "plain", "--user", f"alice:{folder}/empty")),
            ("--sasl and --user need each other", ("--user", alice)),
            ("--sasl and --user need each other", ("--sasl", "scram")),
            ("--super-user needs --sasl or --client-certificates", ("--super-user", "alice")),
            ("argument --nodes: invalid choice: 0", ("--nodes", "0")),
            ("argument --nodes: invalid choice: 100", ("--nodes", "100")),
            ("argument --nodes: invalid int value", ("--nodes", "one")),
            ("argument --port: expected a port", ("--port", "0")),
            ("argument --port: expected a port", ("--port", "65536")),
            ("argument --port: expected a port", ("--port", "kafka")),
        ):
            self.assert_told(2, words, *here, *options)
        self.assert_told(2, "the following arguments are required: --folder", KAFKA, "run")
        # What `make test` asks before it builds.
        self.assert_told(2, "argument --broker: invalid choice: 'rabbit'", KAFKA, "check", "--broker", "rabbit")
        for wanted in ("apache", "stand-in"):
            command = (KAFKA, "check", "--broker", wanted)
            self.assert_told(2, "KAFKA_HOME cannot be used", *command, KAFKA_HOME="/nowhere")
        # It is what would be used.
        self.assert_told(0, "", KAFKA, "where", VIGIE_KAFKA="localhost:1", KAFKA_HOME="/nowhere")
        self.assert_told(2, "VIGIE_KAFKA is 'kafka', which is no list", KAFKA, "where", VIGIE_KAFKA="kafka")

    def test_what_fails_of_kafka(self):
        kafka()
        folder = folder_of(self)
        (folder / "file").touch()
        self.assert_told(1, f"{folder}/file/kafka: Not a directory", KAFKA, "run", "--folder", folder / "file/kafka")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.assert_told(1, f"port {port} is in use", KAFKA, "run", "--folder", folder, "--port", str(port))

    def test_options_of_the_storm(self):
        kafka()
        folder = folder_of(self)
        (folder / "file").touch()
        for words, options in (
            ("argument --faults: expected a whole number of 1 or more, not 'many'", ("--faults", "many")),
            ("argument --faults: expected a whole number", ("--faults", "0")),
            ("argument --each: expected a whole number", ("--each", "-1")),
            ("argument --every: expected seconds", ("--every", "0")),
            ("argument --every: expected seconds", ("--every", "nan")),
            ("argument --nodes: invalid choice: 2", ("--nodes", "2")),
            ("argument --only: rain is none of log, outbox, kill", ("--only", "rain")),
        ):
            self.assert_told(2, words, STORM, *options)
        built = {"VIGIE_BIN": str(programs())}
        self.assert_told(1, f"{folder}/file/1-7: Not a dir", STORM, "--seed", "7", "--folder", folder / "file", **built)
        self.assert_told(1, "vigie-gateway is not in /nowhere", STORM, "--folder", folder, VIGIE_BIN="/nowhere")
        with self.assertRaisesRegex(HarnessError, r"no-such is not in .*debug: run `swift build`, or let VIGIE_BIN"):
            must_have(ROOT / ".build/debug", "no-such")

    def test_options_of_the_demo(self):
        folder = folder_of(self)
        (folder / "file").touch()
        for words, options in (
            ("argument --duration: expected seconds, such as 30, not 'long'", ("--duration", "long")),
            ("argument --duration: expected seconds", ("--duration", "0")),
            ("argument --kafka-port: expected a port", ("--kafka-port", "70000")),
            ("argument --kafka: invalid choice: 'rabbit'", ("--kafka", "rabbit")),
        ):
            self.assert_told(2, words, *DEMO, *options)
            # What `make demo` asks before it builds.
            self.assert_told(2, words, *DEMO, *options, "--check")
        for options in ((), ("--kafka", "apache")):
            self.assert_told(2, "KAFKA_HOME cannot be used", *DEMO, *options, "--check", KAFKA_HOME="/nowhere")
        self.assertEqual(run(*DEMO, "--kafka", "stand-in", "--check"), (0, ""))
        self.assert_told(1, "Not a directory", *DEMO, "--kafka", "stand-in", VIGIE_DEMO=str(folder / "file/demo"))
        demo = str(folder / "demo")
        self.assert_told(1, "is not in /nowhere", *DEMO, "--kafka", "stand-in", VIGIE_DEMO=demo, VIGIE_BIN="/nowhere")

    def test_options_of_benchmarks(self):
        for name, words, options in (
            ("throughput", "argument --messages: expected a whole number of 1 or more", ("--messages", "0")),
            ("throughput", "at most 200000 messages", ("--broker", "noida")),
            ("latency", "argument --rate: expected a whole number", ("--rate", "fast")),
            ("many-sensors", "argument --sensors: expected a whole number", ("--sensors", "-5")),
            ("takeover", "argument --property: expected KEY=VALUE", ("--property", "foo")),
            ("gateway-latency", "argument --property: expected KEY=VALUE", ("--property", "foo")),
            ("dashboard-refresh", "argument --choose: expected KEY=VALUE", ("--choose", "foo")),
            ("dashboard-queries", "argument --only: then is none of now, trend, operation", ("--only", "now,then")),
        ):
            self.assert_told(2, words, BENCHMARKS / name, *options)
        for name in ("throughput", "latency", "many-sensors", "takeover", "gateway-latency"):
            self.assert_told(1, "is not in /nowhere: run", BENCHMARKS / name, "--release-folder", "/nowhere")


class Types(unittest.TestCase):
    def test_what_can_be_meant_is_taken(self):
        self.assertEqual(arguments.seconds("30s"), 30)
        self.assertEqual(arguments.seconds("0.5"), 0.5)
        self.assertEqual(arguments.positive("007"), 7)
        self.assertEqual(arguments.count("0"), 0)
        self.assertEqual(arguments.port("65535"), 65_535)
        self.assertEqual(arguments.pair("listeners=A://x=y"), ("listeners", "A://x=y"))
        self.assertEqual(arguments.pair("empty="), ("empty", ""))

    def test_a_password_is_one_line(self):
        file = folder_of(self) / "password"
        for content, is_taken in ((b"a b\n", True), (b"a", True), (b"a\nb\n", False), (b"\n", False), (b"\xff", False)):
            file.write_bytes(content)
            if is_taken:
                self.assertEqual(arguments.user(f"alice:{file}"), ("alice", content.decode().rstrip("\n")))
            else:
                with self.assertRaises(argparse.ArgumentTypeError):
                    arguments.user(f"alice:{file}")


if __name__ == "__main__":
    unittest.main()
