"""The commands of documentation/operations.md, run as they stand there but for their servers, folders and files."""

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import unittest
import urllib.error
import urllib.request

from confluent_kafka import Producer
from support import folder_of

from vigie_harness.checkout import ROOT, must_have, programs
from vigie_harness.kafka.admin import KafkaAdmin
from vigie_harness.ports import free_port
from vigie_harness.postgres import Postgres
from vigie_harness.processes import Process, wait_until
from vigie_harness.stand_in import Noida

PAGE = ROOT / "documentation/operations.md"
EXAMPLES = json.loads((ROOT / "documentation/reading.examples.json").read_text())


def boxes(heading: str) -> list[str]:
    """The commands under a heading of the page."""
    section = re.search(rf"^#+ {heading}\n(.*?)(?=^#+ |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return re.findall(r"^```sh\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)


class Operations(unittest.TestCase):
    def setUp(self):
        must_have(programs(), "vigie-processor", "vigie-gateway")
        self.folder = folder_of(self)
        self.postgres = Postgres(self.folder / "postgres", durable=False).start()
        self.addCleanup(self.postgres.stop)
        self.bootstrap = os.environ.get("VIGIE_KAFKA")
        if not self.bootstrap:
            broker = Noida(self.folder / "broker").start()
            self.addCleanup(broker.stop)
            self.bootstrap = broker.bootstrap
        self.topic = f"operations-{os.getpid()}-{self.id().rpartition('.')[2]}"
        admin = KafkaAdmin({"bootstrap.servers": self.bootstrap})
        for topic in (self.topic, f"{self.topic}.rejected"):
            admin.create_topic(topic, 1)
            self.addCleanup(admin.delete_topic, topic)
        self.configure("vigie")
        for name in ("lib", "backups"):
            (self.folder / name).mkdir()

    def configure(self, database: str) -> None:
        kafka = {
            "bootstrap": self.bootstrap, "topic": self.topic, "rejected_topic": f"{self.topic}.rejected",
            "group": self.topic,
        }  # fmt: skip
        connection = f"host={self.postgres.sockets} user=vigie dbname={database}"
        self.port = free_port()
        (self.folder / "processor.yaml").write_text(
            json.dumps({
                "kafka": kafka, "postgres": {"connection": connection},
                "monitoring": {"listen": f"127.0.0.1:{self.port}"},
            })
        )  # fmt: skip

    def run_box(self, heading: str, index: int, status: int = 0) -> str:
        commands = boxes(heading)[index]
        for documented, here in (
            ("/var/lib/vigie-gateway", self.folder / "lib"), ("/var/backups", self.folder / "backups"),
            ("/etc/vigie", self.folder), ("host=db", f"host={self.postgres.sockets}"),
            # The private server's first role.
            ("user=postgres", "user=vigie"),
        ):  # fmt: skip
            commands = commands.replace(documented, str(here))
        path = f"{programs()}:{self.postgres.programs}:{os.environ['PATH']}"
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands], env=os.environ | {"PATH": path},
            capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
        self.assertEqual(result.returncode, status, f"{commands}\n{result.stdout}{result.stderr}")
        return result.stdout

    def send(self, numbers: range) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap})
        fields = {name: json.loads(text) for name, text in EXAMPLES["message"].items()} | {"stream_first": 1}
        for number in numbers:
            time = f"2026-11-23T{number // 360:02}:{number // 6 % 60:02}:{number % 6 * 10:02}.000Z"
            text = json.dumps(fields | {"seq": number, "event_time": time})
            producer.produce(self.topic, text.encode(), b"gw-1")
        self.assertEqual(producer.flush(30), 0)

    @contextlib.contextmanager
    def processor(self):
        process = Process(
            "vigie-processor", [programs() / "vigie-processor", "run", "--config", self.folder / "processor.yaml"],
            self.folder / "processor.log")  # fmt: skip

        def is_ready():
            with contextlib.suppress(urllib.error.URLError, OSError):
                return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5).status == 200

        try:
            process.wait_until(is_ready, 60)
            yield process
        finally:
            process.stop()

    def wait_for_rows(self, count: int, database: str = "vigie") -> None:
        wait_until(f"{count} rows", lambda: self.rows(database) == count, 60, 0.1)

    def rows(self, database: str) -> int:
        return int(self.postgres.psql("SELECT count(*) FROM sensor_data", database))

    def test_a_dump_that_is_restored_goes_on_where_it_was_made(self):
        with self.processor():
            self.send(range(1, 201))
            self.wait_for_rows(200)
            self.assertIn("the schema is up to date", self.run_box("Upgrades", 0))
            self.run_box("PostgreSQL", 0)
            self.send(range(201, 301))
            self.wait_for_rows(300)
        self.run_box("PostgreSQL", 1)
        self.assertEqual(self.rows("vigie_restored"), 200)
        self.configure("vigie_restored")
        with self.processor():
            self.wait_for_rows(300, "vigie_restored")
        self.assertIn("everything agrees", self.run_box("PostgreSQL", 2))

    def test_a_copy_of_an_outbox_gives_no_number_again(self):
        with self.processor():
            with self.gateway("outbox"):
                wait_until("readings in the outbox and in the centre", lambda: self.rows("vigie") >= 5, 60, 0.05)
                self.run_box("The outbox", 0)
                copied = self.numbers("backups/outbox.sqlite")
                wait_until("more readings", lambda: self.rows("vigie") >= copied + 5, 60, 0.05)
            arrived = self.numbers("lib/outbox.sqlite")
            self.wait_for_rows(arrived)
            self.assertGreater(arrived, copied)
            self.run_box("The outbox", 1)
            with self.gateway("restored"):
                wait_until("new readings", lambda: self.rows("vigie") >= arrived + 5, 60, 0.05)
            last = self.numbers("lib/restored.sqlite")
            # The copy's numbers go on above its own, in a stream that nobody else can give.
            self.wait_for_rows(arrived + last - copied)
        streams = self.postgres.psql("SELECT count(*), count(DISTINCT first_seq) FROM stream_progress")
        self.assertEqual(streams, "2|2")
        self.assertEqual(self.postgres.psql("SELECT count(*) FROM loss"), "0")
        # Nobody knows what else was on the first card.
        self.assertNotIn("everything agrees", self.run_box("PostgreSQL", 2, status=1))

    @contextlib.contextmanager
    def gateway(self, outbox: str):
        configuration = self.folder / "lib/gateway.yaml"
        configuration.write_text(
            json.dumps({
                "gateway": {"id": "cellar-1"}, "mode": "simulated", "outbox": {"path": f"{outbox}.sqlite"},
                "kafka": {"bootstrap": self.bootstrap, "topic": self.topic},
                "stations": [{"sensor_id": "cellar-air", "interval": "50ms", "chips": [{"type": "bme280"}]}],
            })
        )  # fmt: skip
        process = Process(
            "vigie-gateway", [programs() / "vigie-gateway", "run", "--config", configuration],
            self.folder / "gateway.log")  # fmt: skip
        try:
            yield
        finally:
            process.stop()

    def numbers(self, file: str) -> int:
        """The last number that an outbox has given."""
        with contextlib.closing(sqlite3.connect(f"file:{self.folder / file}?mode=ro", uri=True)) as outbox:
            return outbox.execute(
                "SELECT max((SELECT last_number FROM outbox), coalesce((SELECT max(seq) FROM reading), 0))"
            ).fetchone()[0]


if __name__ == "__main__":
    unittest.main()
