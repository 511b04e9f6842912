"""The stand-in for where Apache Kafka cannot be had: the pipeline runs on it, through its restart, and is at rest.

The programs are those of VIGIE_BIN, .build/debug by default.
"""

import contextlib
import socket
import struct
import subprocess
import time
import unittest
import urllib.request

from support import folder_of

from vigie_harness.checkout import programs
from vigie_harness.kafka import KafkaAdmin
from vigie_harness.ports import free_port
from vigie_harness.postgres import Postgres
from vigie_harness.processes import Process, wait_until
from vigie_harness.stand_in import FetchPace, Noida, StandIn

TOPIC = "readings"
PARTITIONS = 2

PROCESSOR = """
kafka:
  bootstrap: "{kafka}"
  topic: readings
  group: readings
  instance: centre-1
postgres:
  connection: "{postgres}"
monitoring:
  listen: "127.0.0.1:{port}"
"""

GATEWAY = """
gateway: {{id: site}}
mode: simulated
outbox: {{path: {folder}/outbox.sqlite}}
kafka: {{bootstrap: "{kafka}", topic: readings}}
clock: {{policy: trust}}
monitoring: {{listen: "127.0.0.1:{port}"}}
stations:
  - sensor_id: hall
    interval: 100ms
    chips: [{{type: sht4x, bus: 1}}]
"""


@unittest.skipUnless((programs() / "vigie-processor").exists(), "Vigie's programs are not built: run `make test`")
class Pipeline(unittest.TestCase):
    """Gateway or fleet, the stand-in, a processor, PostgreSQL."""

    def setUp(self):
        self.folder = folder_of(self)
        self.postgres = Postgres(self.folder / "postgres", durable=False)
        self.addCleanup(self.postgres.stop)
        self.postgres.start()
        self.broker = StandIn(self.folder / "stand-in")
        self.addCleanup(self.broker.stop)
        self.broker.start()
        admin = KafkaAdmin({"bootstrap.servers": self.broker.bootstrap})
        admin.create_topic(TOPIC, PARTITIONS, 1)
        admin.create_topic(f"{TOPIC}.rejected", 1, 1)
        self.configuration = self.folder / "processor.yaml"
        self.port = free_port()
        self.configuration.write_text(
            PROCESSOR.format(kafka=self.broker.bootstrap, postgres=self.postgres.connection, port=self.port)
        )
        self.processor_command("migrate")
        self.processor = self.start("vigie-processor", "run", "--config", self.configuration)
        self.processor.wait_until(self.is_ready)

    def start(self, program, *arguments):
        process = Process(program, [programs() / program, *arguments], self.folder / f"{program}.log")
        self.addCleanup(process.stop)
        return process

    def processor_command(self, subcommand):
        result = subprocess.run(
            [programs() / "vigie-processor", subcommand, "--config", self.configuration],
            capture_output=True, text=True, check=False)  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def is_ready(self):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz") as answer:
            return answer.status == 200
        return False

    def fleet(self, count, *more):
        return self.start(
            "vigie-fleet", "produce", f"--bootstrap={self.broker.bootstrap}", f"--topic={TOPIC}", f"--count={count}",
            "--gateways=2", "--sensors-per-gateway=2", *more)  # fmt: skip

    def rows(self):
        return int(self.postgres.psql("SELECT count(*) FROM sensor_data"))

    def has_rows(self, count):
        self.processor.check()
        return self.rows() >= count

    def ends_well(self, count):
        """All readings are there once, and the certificate says so."""
        wait_until(f"{count} rows", lambda: self.has_rows(count), 120)
        self.assertTrue(self.processor.stop())
        self.assertEqual(self.rows(), count)
        self.assertIn("everything agrees", self.processor_command("verify"))

    def test_a_fleets_readings_are_rows_once(self):
        self.assertEqual(self.fleet(1000, "--seed=3").child.wait(60), 0)
        self.ends_well(1000)

    def test_a_restart_of_the_broker_loses_nothing(self):
        fleet = self.fleet(600, "--seed=4", "--rate=100")
        wait_until("the first rows", lambda: self.has_rows(100), 60)
        self.broker.stop()
        time.sleep(1)
        self.broker.start()
        self.assertEqual(fleet.child.wait(120), 0)
        self.ends_well(600)

    def test_a_gateways_readings_are_rows(self):
        configuration = self.folder / "gateway.yaml"
        configuration.write_text(GATEWAY.format(folder=self.folder, kafka=self.broker.bootstrap, port=free_port()))
        gateway = self.start("vigie-gateway", "run", "--config", configuration)
        wait_until("20 rows", lambda: self.has_rows(20), 60)
        self.assertTrue(gateway.stop())
        self.ends_well(int(self.postgres.psql("SELECT max(seq) FROM sensor_data")))

    def test_at_rest_it_hardly_works(self):
        self.fleet(10, "--seed=5").child.wait(60)
        wait_until("10 rows", lambda: self.has_rows(10), 60)
        before = sum(process.cpu_seconds for process in self.broker.processes)
        began = time.monotonic()
        time.sleep(3)
        used = sum(process.cpu_seconds for process in self.broker.processes) - before
        # Without its pace the two would keep a core busy.
        self.assertLess(used, (time.monotonic() - began) / 2)


class Pace(unittest.TestCase):
    """What stands before the demo's broker."""

    def setUp(self):
        self.broker = Noida(folder_of(self))
        self.addCleanup(self.broker.stop)
        self.broker.start()
        self.pace = FetchPace(self.broker)
        self.addCleanup(self.pace.stop)
        self.pace.start()

    def ask(self, connection, key, version, body):
        """The answer to a request of Kafka's protocol, without its number."""
        request = struct.pack(">hhih", key, version, 7, -1) + body
        connection.sendall(len(request).to_bytes(4, "big") + request)
        answer = b""
        while len(answer) < 4 or len(answer) < 4 + int.from_bytes(answer[:4], "big"):
            answer += connection.recv(1 << 16)
        self.assertEqual(answer[4:8], struct.pack(">i", 7))
        return answer[8:]

    def test_answers_come_at_a_pace_and_name_its_address(self):
        with socket.create_connection(("127.0.0.1", self.pace.port)) as connection:
            # Metadata, version 1: the brokers, each a number, a host, a port and a rack.
            answer = self.ask(connection, 3, 1, struct.pack(">i", 0))
            self.assertEqual(answer[:4], struct.pack(">i", 1))
            self.assertEqual(answer[8:23], b"\0\x09127.0.0.1" + struct.pack(">i", self.pace.port))
            # Fetch, version 4, of no topic: the first is answered at once.
            began = time.monotonic()
            for _ in range(11):
                self.ask(connection, 1, 4, struct.pack(">iiiibi", -1, 500, 1, 1 << 20, 0, 0))
            self.assertGreaterEqual(time.monotonic() - began, 0.2)


if __name__ == "__main__":
    unittest.main()
