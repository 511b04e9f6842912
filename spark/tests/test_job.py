"""The job inside real Spark: every branch of the rule of offsets, logs that change under a query, and its end."""

import contextlib
import shutil
import time

import confluent_kafka
import psycopg
import support
from confluent_kafka.admin import AdminClient, NewPartitions
from pyspark import TaskContext

from vigie_spark import query as query_module
from vigie_spark import tables
from vigie_spark.decoding import mark
from vigie_spark.offsets import Position
from vigie_spark.positions import locate
from vigie_spark.task import Worker, task

pytestmark = [support.needs_servers, support.needs_connector]

START = 1_795_800_000_000


def readings(first: int, last: int, gateway: str = "g-1") -> list[tuple[bytes, bytes]]:
    return [(gateway.encode(), support.reading(number, START + number * 1000, gateway))
            for number in range(first, last + 1)]  # fmt: skip


def count(centre: support.Centre) -> tuple[int, int]:
    return centre.query("SELECT count(*), count(DISTINCT (gateway_id, stream_id, seq)) FROM sensor_data")[0]


def wait_for(centre: support.Centre, rows: int) -> None:
    support.wait_until(f"{rows} rows", lambda: count(centre)[0] >= rows, support.BOUND)
    assert count(centre) == (rows, rows)


def wait_until_read(centre: support.Centre) -> None:
    topic = centre.settings.kafka.topic
    support.wait_until("all is read", lambda: centre.has_read(topic), support.BOUND)


class OtherEngine:
    """Writes what the job is about to write: it holds the offset's row while the job's task waits for it."""

    def __init__(self, centre: support.Centre):
        self.centre = centre
        self.worker = Worker(centre.settings)
        self.transactions = support.Transactions(centre.settings.kafka.topic)

    def send(self, messages: list[tuple[bytes, bytes]]) -> None:
        """Sends messages that the job sees all at once."""
        self.transactions.send(messages)
        self.transactions.commit()

    @contextlib.contextmanager
    def before_the_task(self, messages: list[tuple[bytes, bytes]]):
        """The body runs in a transaction that the job's task waits for, with these messages decoded."""
        connection = self.worker.database.connection
        self.transactions.send(messages)
        # From here on there is little time: whoever waits ten seconds for a lock ends the session that has it.
        with connection.transaction():
            connection.execute("SELECT FROM consumed_offset FOR UPDATE")
            self.transactions.commit()
            support.wait_until("the task waits", lambda: self.centre.query(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'vigie-spark' AND wait_event_type = 'Lock'")[0][0], support.BOUND)  # fmt: skip
            yield connection

    def write(self, connection: psycopg.Connection, until: int) -> None:
        """Writes what lies between the stored offset and another one."""
        since = self.worker.database.position(0)
        found = [message for message in support.read_all(self.centre.settings.kafka.topic)
                 if since.next <= message.offset() < until]  # fmt: skip
        now = self.worker.database.clock()
        batch = self.worker.decoder.decode(0, support.table_of(found), now)
        transaction = self.worker.database._begin(now)
        transaction.advance_offset(0, since, Position(until, since.generation, batch.last or since.last))
        transaction.write(batch, set())

    def set_position(self, connection: psycopg.Connection, position: Position) -> None:
        last = position.last
        columns = (last.offset, last.timestamp, last.size, last.checksum) if last else (None,) * 4
        names = ", ".join(f"{name} = %s" for name in tables.POSITION)
        connection.execute(f"UPDATE consumed_offset SET {names}", (position.next, position.generation, *columns))


def test_every_branch_of_the_rule_of_offsets(tmp_path, spark):
    topic = support.make_topic(1)
    centre = support.make_centre(tmp_path, topic)
    locate(centre.settings)
    other = OtherEngine(centre)
    with support.running_job(spark, centre) as job:
        other.send(readings(1, 100))
        wait_for(centre, 100)
        wait_until_read(centre)
        # Already committed by the other engine, between the plan and the task.
        with other.before_the_task(readings(101, 200)) as connection:
            other.write(connection, until=202)
        support.wait_until("the batch is over", lambda: job.job.query.batches >= 2, support.BOUND)
        assert job.job.query.total.rows == 100
        assert count(centre) == (200, 200)
        # In part.
        with other.before_the_task(readings(201, 300)) as connection:
            other.write(connection, until=240)
        wait_for(centre, 300)
        support.wait_until("the batch is over", lambda: job.job.query.total.rows > 100, support.BOUND)
        assert job.job.query.total.rows == 100 + 62
        wait_until_read(centre)
        assert not job.said("the query does not run")
        # Set back under a higher generation: somebody has found another log. All is read once more.
        with other.before_the_task(readings(301, 400)) as connection:
            other.set_position(connection, Position(0, 1))
        wait_for(centre, 400)
        wait_until_read(centre)
        assert job.said("partition 0 has another log: 1, not 0") == 1
        # A gap: a standby without the last commits has taken over, so the offset is one of before.
        first = next(message for message in support.read_all(topic) if message.offset() == 49)
        last = mark(49, first.timestamp()[1], first.key(), first.value())
        with other.before_the_task(readings(401, 500)) as connection:
            other.set_position(connection, Position(50, 1, last))
        wait_for(centre, 500)
        wait_until_read(centre)
        assert job.said("partition 0 was read up to 50, not up to 404") == 1
        # Nothing but messages that were not committed, and markers.
        before = centre.query("SELECT message_offset FROM consumed_offset")
        other.transactions.send(readings(900, 950))
        other.transactions.abort()
        wait_until_read(centre)
        assert centre.query("SELECT message_offset FROM consumed_offset") == before
        other.send(readings(501, 510))
        wait_for(centre, 510)
    assert support.losses(centre) == []
    assert centre.query("SELECT log_generation FROM consumed_offset") == [(1,)]
    support.verify(centre)


def test_a_task_that_fails_after_its_commit_runs_twice_and_does_no_harm(tmp_path, spark, monkeypatch):
    def failing_once(settings, plan):
        whole = task(settings, plan)

        def run(batches):
            reports = list(whole(batches))
            if TaskContext.get().attemptNumber() == 0:
                raise RuntimeError("after its commit")
            yield from reports

        return run

    monkeypatch.setattr(query_module, "task", failing_once)
    topic = support.make_topic(2)
    centre = support.make_centre(tmp_path, topic)
    with support.running_job(spark, centre, batch=400) as job:
        for partition, gateway in enumerate(("g-1", "g-2")):
            support.send(topic, readings(1, 500, gateway), partition)
        wait_for(centre, 1000)
        wait_until_read(centre)
        # What the second attempt says of a range that is committed.
        assert job.job.query.total.rows == 0
        assert not job.said("the query does not run")
    support.verify(centre)


def test_a_topic_that_is_made_anew_under_a_running_query(tmp_path, spark):
    topic = support.make_topic(1)
    centre = support.make_centre(tmp_path, topic, webhook={"url": "http://127.0.0.1:9/"})
    with support.running_job(spark, centre) as job:
        support.send(topic, readings(1, 200))
        wait_for(centre, 200)
        # With fewer messages than were read, with more, and with more of which many are known.
        for first, last in ((201, 260), (261, 700), (1, 1200)):
            support.make_anew(topic)
            support.send(topic, readings(first, last))
            wait_for(centre, last)
            support.wait_until("the alert is closed", lambda: not centre.query(
                "SELECT count(*) FROM alert_state WHERE kind = 'log'")[0][0], support.BOUND)  # fmt: skip
            wait_until_read(centre)
        assert job.error is None
    assert centre.query("SELECT log_generation, next_offset FROM consumed_offset") == [(3, 1200)]
    assert support.losses(centre) == []
    alerts = centre.query("""
        SELECT gateway_id, variable, severity, closed_at >= opened_at, detail FROM alert WHERE kind = 'log' ORDER BY id
    """)
    assert alerts == [
        ("", f"{topic}[0]", "warning", True, f"read up to offset {end} of another log; reading from offset 0")
        for end in (200, 60, 440)
    ]
    told = centre.query("SELECT event FROM alert_notification ORDER BY id")
    assert told == [("opened",), ("closed",)] * 3
    support.verify(centre)


def test_partitions_that_are_added_and_a_checkpoint_that_is_deleted(tmp_path, spark):
    topic = support.make_topic(1)
    centre = support.make_centre(tmp_path, topic)
    with support.running_job(spark, centre) as job:
        support.send(topic, readings(1, 100))
        wait_for(centre, 100)
        admin = AdminClient({"bootstrap.servers": support.os.environ["VIGIE_KAFKA"]})
        admin.create_partitions([NewPartitions(topic, 3)])[topic].result()

        def send(gateway: str, partition: int) -> bool:
            # A broker knows new partitions a moment later.
            with contextlib.suppress(confluent_kafka.KafkaException):
                support.send(topic, readings(1, 100, gateway), partition)
                return True
            return False

        for partition in (1, 2):
            support.wait_until("the partition is there", lambda partition=partition: send(f"g-{partition}x", partition))
        wait_for(centre, 300)
        wait_until_read(centre)
        shutil.rmtree(job.job.query._checkpoint)
        support.send(topic, readings(101, 200))
        wait_for(centre, 400)
        shutil.rmtree(job.job.query._checkpoint, ignore_errors=True)
        support.send(topic, readings(201, 300))
        wait_for(centre, 500)
    support.verify(centre)


def test_the_job_ends_soon_whatever_it_does(tmp_path, spark):
    topic = support.make_topic(1)
    centre = support.make_centre(tmp_path, topic)
    other = OtherEngine(centre)
    # While a task waits for a lock, and while a look at the passing of time does.
    job = support.RunningJob(spark, centre.settings)
    job.start()
    support.send(topic, readings(1, 50))
    wait_for(centre, 50)
    # Whoever waits too long for a lock ends the session that has it.
    with contextlib.suppress(psycopg.OperationalError), other.before_the_task(readings(51, 100)):
        print(f"a stop during a batch that waits: {job.stop(bound=90):.1f} s")
    assert not job.is_alive
    assert count(centre)[0] in (50, 100)
    job = support.RunningJob(spark, centre.settings)
    job.start()
    wait_for(centre, 100)
    other.transactions.send(readings(101, 150))
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(centre.connection) as connection:
        connection.execute("SELECT FROM gateway FOR UPDATE")
        other.transactions.commit()
        support.wait_until("somebody waits", lambda: centre.query(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )[0][0], support.BOUND)  # fmt: skip
        print(f"a stop while a gateway is locked: {job.stop(bound=90):.1f} s")
    assert not job.is_alive
    assert count(centre)[0] in (100, 150)
    with support.running_job(spark, centre):
        wait_for(centre, 150)
    support.verify(centre)


def test_a_server_that_is_away_is_a_line_of_the_log(tmp_path, spark):
    topic = support.make_topic(1)
    centre = support.make_centre(tmp_path, topic)
    away = support.dataclasses.replace(centre.settings, postgres="host=/nowhere dbname=vigie")
    job = support.RunningJob(spark, away)
    job.start()
    began = time.monotonic()
    support.wait_until("it has been tried again and again", lambda: time.monotonic() - began > 8)
    assert job.stop(bound=60) < 30
    assert job.said("the query does not run") == 1
    # The heartbeat is missed by whoever looks at `status`, so it says it, too.
    assert job.said("cannot write a heartbeat") == 1
    assert len(job.lines) == 2, job.lines


def test_a_stop_while_spark_starts_is_a_stop(tmp_path):
    centre = support.make_centre(tmp_path, support.make_topic(1))
    log = centre.file.with_suffix(".spark.log")
    with support.spark_job(centre) as child:
        # The JVM says so before there is a session.
        support.wait_until("Spark starts", lambda: log.read_text(), support.BOUND)
        child.terminate()
        assert child.wait(support.BOUND) == 0, log.read_text()
    assert "Traceback" not in log.read_text() and "does not run" not in log.read_text()


def test_when_all_gateways_stop_silence_is_an_alert_and_windows_become_final(tmp_path, spark):
    """Nothing comes any more, and only the passing of time is left: as with the processor, which runs beside."""
    topic = support.make_topic(2)
    configuration = {
        "windows": [{"size": "10s", "slide": "5s"}], "lateness": "3s", "idle_timeout": "5s", "update_interval": "1s",
        "alerts": {"silence": {"severity": "critical", "intervals": 5, "at_least": "6s"}},
    }  # fmt: skip
    engines = [support.make_centre(tmp_path, topic, side, **configuration) for side in ("a", "b")]
    silent = "SELECT gateway_id, sensor_id, kind, severity FROM alert WHERE closed_at IS NULL ORDER BY 1, 2"
    # An open window has a row from its last slide on only: all that there should be are there, and final.
    missing = """
        SELECT count(*) FROM (SELECT DISTINCT gateway_id, sensor_id,
                date_bin('5 s', event_time, 'epoch') - slide * interval '5 s' AS window_start
            FROM sensor_data, generate_series(0, 1) AS slide) w
        WHERE NOT EXISTS (SELECT FROM sensor_data_agg a WHERE a.is_final AND a.gateway_id = w.gateway_id
            AND a.sensor_id = w.sensor_id AND a.window_start = w.window_start)"""
    with support.processor(engines[0]), support.running_job(spark, engines[1]):
        now = int(time.time() * 1000)
        for place in range(6):
            messages = [(f"g-{place}".encode(), support.reading(number, now + number * 100, f"g-{place}"))
                        for number in range(1, 101)]  # fmt: skip
            support.send(topic, messages, place % 2)
        for centre in engines:
            wait_for(centre, 600)
            support.wait_until("every sensor is silent", lambda centre=centre: len(centre.query(silent)) == 6)
            support.wait_until("all windows are final", lambda centre=centre: centre.query(missing) == [(0,)])
    assert engines[0].query(silent) == engines[1].query(silent)
    assert {row[2:] for row in engines[1].query(silent)} == {("silence", "critical")}
    assert support.assert_windows_equal(*engines) >= 6 * 2
    for centre in engines:
        support.verify(centre)
