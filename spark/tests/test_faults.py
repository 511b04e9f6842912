"""Kafka, PostgreSQL and the topic's partitions change under a running job, on servers of the test's own."""

import contextlib
import itertools
import os
import shutil
import threading

import confluent_kafka
import psycopg
import support
from confluent_kafka.admin import AdminClient, NewPartitions

pytestmark = [support.needs_servers, support.needs_connector]

START = 1_795_800_000_000


class Gateways:
    """Sends the readings of two gateways, a few at a time, until it is told to end: as gateways do, it sends again what
    no broker has acknowledged."""

    def __init__(self, topic: str):
        self._topic = topic
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0
        """How many readings of each gateway were acknowledged."""
        self.partitions = 2
        self.error: BaseException | None = None

    def _run(self) -> None:
        try:
            self._send()
        except BaseException as error:
            self.error = error

    def _send(self) -> None:
        known = 0
        for number in itertools.count(1):
            if self._stopping.wait(0.02):
                break
            if known != self.partitions:
                # One that is new knows all partitions.
                known = self.partitions
                producer = confluent_kafka.Producer({
                    "bootstrap.servers": os.environ["VIGIE_KAFKA"], "enable.idempotence": True,
                    "message.timeout.ms": 600_000, "reconnect.backoff.max.ms": 500, "log_level": "2",
                })  # fmt: skip
            for place, gateway in enumerate(("g-1", "g-2")):
                # Over all partitions there are, so that readings of one gateway come in any order.
                partition = (number // 25 + place) % known
                producer.produce(self._topic, support.reading(number, START + number * 1000, gateway),
                                 key=gateway.encode(), partition=partition)  # fmt: skip
            if number % 25 == 0:
                assert producer.flush(600) == 0
                self.sent = number
        assert producer.flush(600) == 0
        self.sent = number - 1

    def __enter__(self) -> "Gateways":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.end()

    def end(self) -> None:
        self._stopping.set()
        self._thread.join()
        assert self.error is None, self.error


def test_the_job_lives_through_what_servers_do(tmp_path, spark, monkeypatch):
    from vigie_harness.kafka.cluster import KafkaCluster
    from vigie_harness.kafka.finding import find_kafka
    from vigie_harness.postgres import Postgres

    folder = tmp_path / "servers"
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        kafka = stack.enter_context(KafkaCluster(find_kafka(), folder / "kafka"))
        postgres = Postgres(folder / "postgres", durable=False).start()
        stack.callback(lambda: (postgres.stop(), postgres.remove()))
        monkeypatch.setenv("VIGIE_KAFKA", kafka.bootstrap)
        monkeypatch.setenv("VIGIE_POSTGRES", postgres.connection)
        topic = support.make_topic(2)
        centre = support.make_centre(tmp_path, topic)

        def rows() -> int:
            with contextlib.suppress(psycopg.OperationalError):
                return centre.query("SELECT count(*) FROM sensor_data")[0][0]
            return 0

        def gets_on(what: str) -> None:
            # What was acknowledged by now, and more.
            wanted = 2 * gateways.sent + 200

            def is_there() -> bool:
                assert gateways.error is None, gateways.error
                return rows() >= wanted

            support.wait_until(f"rows come after {what}", is_there, support.BOUND)

        with Gateways(topic) as gateways, support.running_job(spark, centre) as job:
            gets_on("the start")
            for fault in range(2):
                postgres.stop()
                postgres.start()
                gets_on(f"restart {fault + 1} of PostgreSQL")
            kafka.node(1).kill()
            kafka.node(1).start()
            gets_on("a kill of Kafka")
            kafka.node(1).restart()
            gets_on("a restart of Kafka")
            admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
            admin.create_partitions([NewPartitions(topic, 3)])[topic].result()
            support.wait_until("the partition is there", lambda: len(support.ends(topic)) == 3)
            gateways.partitions = 3
            gets_on("a partition was added")
            shutil.rmtree(job.job.query._checkpoint, ignore_errors=True)
            gets_on("the checkpoint folder was deleted")
            gateways.end()
            support.wait_until("all is read", lambda: centre.has_read(topic), support.BOUND)
            # All that the topic has held is read: it is made anew, and the gateways go on.
            support.make_anew(topic, 3)
            support.send(topic, [(b"g-3", support.reading(number, START, "g-3")) for number in range(1, 101)], 1)
            support.wait_until("the new topic is read", lambda: rows() == 2 * gateways.sent + 100, support.BOUND)
            lines = list(job.lines)
        assert centre.query("SELECT count(DISTINCT (gateway_id, stream_id, seq)), max(seq) FROM sensor_data") == [
            (2 * gateways.sent + 100, gateways.sent)
        ]
        assert support.losses(centre) == []
        support.verify(centre)
    # A line for each change of what is wrong, not for each try.
    troubles = [line for line in lines if line.startswith("the query does not run")]
    print(f"{len(troubles)} lines about troubles", *troubles, sep="\n  ")
    assert len(troubles) < 40
