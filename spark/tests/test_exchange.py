"""The engines take turns on one running stream, each killed in the middle: nothing is lost, nothing is double."""

import itertools
import json
import os
import pathlib
import random
import threading
import time

import psycopg
import pytest
import support

from vigie_spark.database import pass_time
from vigie_spark.idle import Stretch

SEED = int(os.environ.get("VIGIE_SEED") or random.randrange(2**31))


class Stream:
    """Producers, one after the other, until it is told to end: each with gateways of its own, and a manifest of what it
    has sent."""

    def __init__(self, topic: str, folder: pathlib.Path):
        self._topic = topic
        self._folder = folder
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.manifests: list[dict] = []
        self.error: BaseException | None = None

    def _run(self) -> None:
        try:
            for number in itertools.count(1):
                manifest = self._folder / f"manifest-{number}.json"
                support.produce(
                    self._topic, 3000, "--name", f"fleet-{number}", "--rate", "300",
                    "--duplicates", "0.05", "--malformed", "0.02", "--out-of-order", "0.05", "--late", "0.03",
                    "--manifest", manifest, seed=SEED + number, gateways=12,
                )  # fmt: skip
                self.manifests.append(json.loads(manifest.read_text()))
                if self._stopping.is_set():
                    return
        except BaseException as error:
            self.error = error

    def __enter__(self) -> "Stream":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.end()

    def end(self) -> None:
        """Returns when the producer that runs has sent everything."""
        self._stopping.set()
        self._thread.join()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive() and not self._stopping.is_set()


def kill_between_partitions(centre: support.Centre, child, chance: random.Random, stream: Stream) -> None:
    """Kills an engine while a partition waits that has messages for it, and the others have gone on without it."""
    topic = centre.settings.kafka.topic

    def is_killed() -> bool:
        assert child.poll() is None, "the engine has ended by itself"
        held = chance.choice(sorted(support.ends(topic)))
        with psycopg.connect(centre.connection) as connection:
            # It goes with the connection. Whoever waits for it for ten seconds would end this session.
            connection.execute("SELECT FROM consumed_offset WHERE kafka_partition = %s FOR UPDATE", (held,))
            before, deadline = centre.next_offsets(), time.monotonic() + 8
            while time.monotonic() < deadline:
                now = centre.next_offsets()
                others_are_on = all(now[other] > before[other] for other in now if other != held)
                if others_are_on and support.ends(topic)[held] > now[held]:
                    support.kill(child)
                    assert centre.next_offsets()[held] == before[held]
                    # A kill without a running stream would prove nothing.
                    assert stream.is_running and stream.error is None, stream.error
                    return True
                time.sleep(0.05)
        return False

    support.wait_until("the partitions stand at different batches", is_killed, support.BOUND)


@support.needs_servers
@support.needs_connector
def test_processor_and_spark_take_turns(tmp_path):
    """Each is killed in the middle of a batch, after it was committed for some partitions; the processor's windows are
    then behind as well, as it writes them every few seconds."""
    print(f"VIGIE_SEED={SEED}")
    chance = random.Random(SEED)
    topic = support.make_topic(3)
    centre = support.make_centre(tmp_path, topic, kafka={"workers": 3})
    kills = 0
    with Stream(topic, tmp_path) as stream:
        for engine in (support.processor, support.spark_job, support.processor, support.spark_job):
            before = centre.next_offsets()
            with engine(centre) as child:
                support.wait_until(
                    f"{engine.__name__} gets on",
                    lambda before=before: sum(centre.next_offsets().values()) > sum(before.values()),
                    support.BOUND,
                )
                kill_between_partitions(centre, child, chance, stream)
                kills += 1
        with support.spark_job(centre) as child:
            stream.end()
            support.wait_until("Spark has read all", lambda: centre.has_read(topic), support.BOUND)
            child.terminate()
            assert child.wait(support.BOUND) == 0
    assert stream.error is None and kills == 4
    assert "Traceback" not in centre.file.with_suffix(".spark.log").read_text()

    expected = {
        (found["gateway_id"], found["stream_id"], number)
        for manifest in stream.manifests for found in manifest["streams"]
        for number in range(found["first_seq"], found["last_seq"] + 1)
    }  # fmt: skip
    assert len(expected) == sum(manifest["readings"] for manifest in stream.manifests)
    rows = centre.query("SELECT gateway_id, stream_id, seq FROM sensor_data")
    assert len(rows) == len(expected) and set(rows) == expected
    assert support.losses(centre) == []
    support.verify(centre)


@support.needs_servers
def test_tasks_and_processor_take_turns(tmp_path):
    """The same without Spark's own part, so that turns are short and many."""
    print(f"VIGIE_SEED={SEED}")
    chance = random.Random(SEED)
    topic = support.make_topic(2)
    centre = support.make_centre(tmp_path, topic)
    support.produce(topic, 12_000, "--out-of-order", "0.1", "--late", "0.05", "--duplicates", "0.05", seed=SEED)
    for turn in range(3):
        support.Tasks(centre, largest=1500, seed=SEED + turn).run(at_most=chance.randint(1, 3))
        before = sum(centre.next_offsets().values())
        with support.processor(centre) as child:
            support.wait_until(
                "the processor gets on",
                lambda before=before: sum(centre.next_offsets().values()) > before or centre.has_read(topic),
            )
            support.kill(child)
    support.Tasks(centre, largest=1500, seed=SEED).run()
    assert centre.has_read(topic)
    support.verify(centre)
    expected = support.make_centre(tmp_path, topic, "b")
    support.run_processor(expected)
    support.assert_same_readings(centre, expected)
    assert support.alert_states(centre) == support.alert_states(expected)
    support.assert_windows_equal(centre, expected)


@support.needs_servers
@pytest.mark.parametrize("late_policy", ["recompute", "drop"])
def test_what_is_late_or_silent_ends_in_final_windows(tmp_path, late_policy):
    """A sensor falls silent, its windows become final by the clock, then it sends what it had measured meanwhile."""
    topic = support.make_topic(1)
    centre = support.make_centre(
        tmp_path,
        topic,
        late_policy=late_policy,
        lateness="1m",
        idle_timeout="10s",
        alerts={"silence": {"severity": "critical", "intervals": 5, "at_least": "15s"}},
    )
    tasks = support.Tasks(centre, largest=10**6)
    start = tasks.worker.database.clock() - 7_200_000
    start -= start % 60_000

    def send(numbers, step=10_000):
        support.send(topic, [(b"g-1", support.reading(number, start + number * step)) for number in numbers])
        tasks.run()

    def windows(where="true"):
        return centre.query(f"SELECT count(*) FROM sensor_data_agg WHERE {where}")[0][0]

    send(range(1, 101))
    assert windows("NOT is_final") > 0
    support.verify(centre)
    now = tasks.worker.database.clock() + 60_000
    # Nothing is known of a time in which the topic was not read.
    assert pass_time(tasks.worker.database, 0, None, now) == 0
    assert pass_time(tasks.worker.database, 0, Stretch(now - 5000, now), now) == 0
    assert windows("NOT is_final") > 0
    pass_time(tasks.worker.database, 0, Stretch(now - 20_000, now), now)
    assert windows("NOT is_final") == 0
    opened = centre.query("SELECT kind, sensor_id, severity, closed_at FROM alert")
    assert opened == [("silence", "g-1-s", "critical", None)]
    support.verify(centre)
    # It goes on where it was: what was final is open again, and then late readings come.
    send(range(101, 131))
    assert windows("NOT is_final") > 0
    support.verify(centre)
    send(range(200, 230))
    send(range(131, 200))
    assert centre.query("SELECT count(*) FROM sensor_data WHERE late")[0][0] > 0
    support.verify(centre)
    assert support.losses(centre) == []
    assert centre.query("SELECT count(*) FROM alert WHERE kind = 'silence' AND closed_at IS NOT NULL") == [(1,)]
    assert centre.query("SELECT count(*) FROM alert_state") == [(0,)]
