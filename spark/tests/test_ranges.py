"""A range that comes twice, in part, too early, of another log, or to two tasks at once, on real servers."""

import concurrent.futures
import dataclasses

import pytest
import support
import yaml

from vigie_spark.offsets import Range, Restart
from vigie_spark.positions import locate
from vigie_spark.settings import read_settings
from vigie_spark.task import Worker
from vigie_spark.transaction import Summary

pytestmark = pytest.mark.ci


def messages_of(topic: str, start: int, end: int):
    found = [message for message in support.read_all(topic) if start <= message.offset() < end]
    return support.table_of(found)


@support.needs_servers
def test_ranges_that_do_not_begin_where_the_database_is(tmp_path):
    topic = support.make_topic(1)
    centre = support.make_centre(tmp_path, topic)
    start = 1_795_800_000_000
    support.send(topic, [(b"g-1", support.reading(number, start + number * 1000)) for number in range(1, 301)])
    locate(centre.settings)
    worker = Worker(centre.settings)
    count = "SELECT count(*) FROM sensor_data"

    def commit(first: int, end: int, generation: int = 0) -> Summary:
        return worker.commit(Range(0, first, end, generation), messages_of(topic, first, end))

    assert commit(0, 100).rows == 100
    # Another attempt of the same task, and one that began before the other engine got on.
    assert commit(0, 100) == Summary()
    assert commit(0, 150).rows == 50
    assert centre.query(count) == [(150,)]
    for first, end, generation in ((200, 300, 0), (150, 300, 1)):
        with pytest.raises(Restart):
            commit(first, end, generation)
    assert centre.next_offsets() == {0: 150}
    # Two tasks at once with one range: one of them commits it.
    others = [Worker(centre.settings) for _ in range(3)]
    planned, table = Range(0, 150, 300, 0), messages_of(topic, 150, 300)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        summaries = list(pool.map(lambda other: other.commit(planned, table), others))
    assert sorted(summary.rows for summary in summaries) == [0, 0, 150]
    assert centre.query(count) == [(300,)]
    support.verify(centre)


@support.needs_servers
def test_a_log_that_was_made_anew_is_read_from_its_start(tmp_path):
    topic, other = support.make_topic(1), support.make_topic(1)
    centre = support.make_centre(tmp_path, topic)
    start = 1_795_800_000_000
    readings = [(b"g-1", support.reading(number, start + number * 1000)) for number in range(1, 61)]
    support.send(topic, readings[:40])
    support.Tasks(centre, largest=15).run()
    assert locate(centre.settings)[0].next == 40
    # The same place in another topic stands for the topic made anew: it has other messages at these offsets.
    with support.psycopg.connect(centre.connection, autocommit=True) as connection:
        connection.execute("UPDATE consumed_offset SET topic = %s", (other,))
    support.send(other, readings[20:] + readings[:5])
    kafka = dataclasses.replace(centre.settings.kafka, topic=other)
    moved = dataclasses.replace(centre, settings=dataclasses.replace(centre.settings, kafka=kafka))
    position = locate(moved.settings)[0]
    assert (position.next, position.generation) == (0, 1)
    summaries = support.Tasks(moved, largest=15).run()
    assert sum(summary.rows for summary in summaries) == 20
    assert sum(summary.duplicates for summary in summaries) == 25
    assert centre.query("SELECT count(*), max(seq) FROM sensor_data") == [(60, 60)]
    assert support.losses(centre) == []


@support.needs_servers
def test_gateways_of_partitions_that_are_gone_are_looked_after(tmp_path):
    topic = support.make_topic(2)
    centre = support.make_centre(tmp_path, topic)
    for partition in (0, 1):
        support.send(topic, [(b"g", support.reading(1, 1_795_800_000_000, gateway=f"g-{partition}"))], partition)
    support.Tasks(centre, largest=10).run()
    # The topic had four partitions once.
    centre.query("UPDATE gateway SET kafka_partition = 3 WHERE gateway_id = 'g-1' RETURNING 1")
    locate(centre.settings)
    assert centre.query("SELECT gateway_id, kafka_partition FROM gateway ORDER BY 1") == [("g-0", 0), ("g-1", 0)]


@support.needs_servers
@pytest.mark.parametrize("after", [[{"size": "5m"}, {"size": "10m", "slide": "1m"}], [{"size": "10m", "slide": "30s"}]])
def test_windows_of_other_sizes_or_slides_are_made_from_the_rows(tmp_path, after):
    """The configuration changes between two runs of this engine: what is due of the new windows has rows."""
    topic = support.make_topic(1)
    centre = support.make_centre(tmp_path, topic, windows=[{"size": "10m", "slide": "1m"}], lateness="10m")
    start = 1_795_800_000_000

    def send(tasks: support.Tasks, minutes: range) -> None:
        support.send(topic, [(b"g", support.reading(minute + 1, start + minute * 60_000, interval_ms=60_000))
                             for minute in minutes])  # fmt: skip
        tasks.run()

    send(support.Tasks(centre, largest=100), range(9))
    root = yaml.safe_load(centre.file.read_text()) | {"windows": after}
    centre.file.write_text(yaml.safe_dump(root))
    changed = dataclasses.replace(centre, settings=read_settings(centre.file))
    send(support.Tasks(changed, largest=100), range(9, 41))
    support.verify(changed)
    size, slide = changed.settings.windows.specifications[0].size, changed.settings.windows.specifications[0].slide
    # Every window of the first size that ended before the last reading is there with all of its readings.
    found = dict(centre.query("""
        SELECT (extract(epoch FROM window_start) * 1000)::int8, reading_count FROM sensor_data_agg
        WHERE window_size = %s * interval '1 ms'""", size))  # fmt: skip
    times = [start + minute * 60_000 for minute in range(41)]
    expected = {}
    for first in range((start - size) // slide * slide + slide, start + 40 * 60_000 - size, slide):
        if count := sum(first <= time < first + size for time in times):
            expected[first] = count
    assert {first: found.get(first) for first in expected} == expected


@support.needs_servers
def test_the_bounds_of_the_rules_are_where_readers_find_them(tmp_path):
    topic = support.make_topic(1)
    centre = support.make_centre(tmp_path, topic)
    rules = "SELECT quantity, severity, side, bound, hysteresis, minimum_duration_ms FROM alert_rule ORDER BY 1, 2, 3"
    written = centre.query(rules)
    locate(centre.settings)
    assert centre.query(rules) == written and len(written) == 5
    root = yaml.safe_load(centre.file.read_text()) | {"rules": {"co2": {"critical": {"above": 900}}}}
    centre.file.write_text(yaml.safe_dump(root))
    locate(read_settings(centre.file))
    assert centre.query(rules) == [("co2", "critical", "above", 900, 0, 0)]
