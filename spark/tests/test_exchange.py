"""The engines take turns on one running stream, each killed in the middle: nothing is lost, nothing is double."""

import json
import os
import random

import pytest
import support

from vigie_spark.idle import Stretch
from vigie_spark.transaction import pass_time

SEED = int(os.environ.get("VIGIE_SEED") or random.randrange(2**31))
BOUND = 600
"""Seconds for an engine to start and to get on."""


@support.needs_servers
@support.needs_connector
def test_processor_and_spark_take_turns(tmp_path):
    print(f"VIGIE_SEED={SEED}")
    chance = random.Random(SEED)
    topic = support.make_topic(3)
    centre = support.make_centre(tmp_path, topic)
    manifest = tmp_path / "manifest.json"
    count = int(os.environ.get("VIGIE_COUNT") or 20_000)
    producer = [support.PROGRAMS / "vigie-fleet", "produce", "--bootstrap", os.environ["VIGIE_KAFKA"], "--topic", topic,
                "--count", str(count), "--seed", str(SEED), "--gateways", "30", "--rate", str(count // 100),
                "--duplicates", "0.05", "--malformed", "0.02", "--out-of-order", "0.05", "--late", "0.03",
                "--manifest", manifest]  # fmt: skip
    with support.running(producer, tmp_path / "fleet.log") as fleet:
        for engine in (support.processor, support.spark_job, support.processor):
            before = sum(centre.next_offsets().values())
            more = chance.randint(1, count // 10)
            with engine(centre) as child:
                support.wait_until(
                    f"{engine.__name__} gets on",
                    lambda before=before, more=more: (
                        sum(centre.next_offsets().values()) >= before + more
                        or fleet.poll() is not None
                        and centre.has_read(topic)
                    ),
                    BOUND,
                )
                assert child.poll() is None
                support.kill(child)
        with support.spark_job(centre) as child:
            assert fleet.wait(BOUND) == 0
            support.wait_until("Spark has read all", lambda: centre.has_read(topic), BOUND)
            child.terminate()
            assert child.wait(BOUND) == 0

    sent = json.loads(manifest.read_text())
    rows = centre.query("SELECT count(*), count(DISTINCT (gateway_id, stream_id, seq)) FROM sensor_data")[0]
    assert rows[0] == rows[1]
    assert centre.query("SELECT count(*) FROM loss") == [(0,)]
    print(sent.keys(), rows)
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
    assert support.rows(centre) == support.rows(expected)
    assert support.losses(centre) == support.losses(expected)
    assert support.streams(centre) == support.streams(expected)
    assert support.alerts(centre) == support.alerts(expected)
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
