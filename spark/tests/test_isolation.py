"""What PostgreSQL refuses by a constraint or a trigger of its operator: both engines reject the same messages."""

import json
import os
import random
import time

import psycopg
import pytest
import support

from vigie_spark.database import pass_time
from vigie_spark.isolation import refused

pytestmark = pytest.mark.ci
SEED = int(os.environ.get("VIGIE_SEED") or random.randrange(2**31))

# Readings of 66 to 69 degrees are refused in four ways, two with one time and pressure together, and large numbers of a
# report.
OPERATORS = """
ALTER TABLE sensor_data ADD CONSTRAINT cool CHECK (temperature <> 66);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.temperature = 67 THEN RAISE EXCEPTION 'too hot for %', NEW.sensor_id USING ERRCODE = 'VG001'; END IF;
    IF NEW.temperature = 68 THEN NEW.interval_ms := NEW.temperature::int8 * 1000000000000; END IF;
    RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON sensor_data FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE FUNCTION refuse_in_the_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.temperature = 69 THEN RAISE EXCEPTION 'too hot at the end' USING ERRCODE = 'P0002'; END IF;
    RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER refuse_in_the_end AFTER INSERT ON sensor_data DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse_in_the_end();
CREATE UNIQUE INDEX one_pressure ON sensor_data (event_time, pressure);
ALTER TABLE stream_progress ADD CONSTRAINT mine CHECK (last_seq < 1000000)
"""


def execute(centre: support.Centre, sql: str) -> None:
    with psycopg.connect(centre.connection, autocommit=True) as connection:
        connection.execute(sql)


def test_the_search_finds_what_is_refused_alone_and_together():
    print(f"VIGIE_SEED={SEED}")
    chance = random.Random(SEED)
    for _ in range(300):
        count = chance.randrange(1, 40)
        alone = {place for place in range(count) if chance.random() < chance.choice((0, 0.05, 0.9))}
        pair = set(chance.sample(range(count), 2)) - alone if count > 1 and chance.random() < 0.4 else set()
        trials = []

        def refusal(some, alone=alone, pair=pair, trials=trials):
            trials.append(some)
            return "refused" if alone & set(some) or len(pair) == 2 and pair <= set(some) else None

        found = refused(list(range(count)), refusal)
        expected = alone | ({max(pair)} if len(pair) == 2 else set())
        assert set(found) == expected
        assert len(trials) <= 2 * count + 12


@support.needs_servers
def test_both_engines_reject_what_the_database_refuses(tmp_path):
    topic = support.make_topic(2)
    start = time.time_ns() // 1_000_000 - 3_600_000
    for partition in range(2):
        gateway, odd = f"g-{partition}", {30: 66, 31: 66, 250: 67, 300: 68, 400: 69}
        messages = []
        for number in range(1, 501):
            # A pressure of their own, but for two readings of one time.
            fields = {"temperature": odd.get(number + partition, 20.5), "sensor_id": f"s-{number % 3}"}
            if number in (350, 351):
                fields["pressure"] = 1000 + partition
            moment = start + (350 if number == 351 else number) * 1000
            messages.append((gateway.encode(), support.reading(number, moment, gateway, **fields)))
        report = {"schema": 1, "gateway_id": gateway, "report": {
            "streams": [{"stream_id": "00000000000000aa", "first": 1, "last": 2_000_000, "previous": None}],
            "gaps": []}}  # fmt: skip
        messages.insert(100, (gateway.encode(), json.dumps(report).encode()))
        # Of a gateway of which nothing is known, and of one that is known, the number of which is lost.
        messages.insert(200, (b"g-x", support.reading(7, start, "g-x", temperature="hot")))
        messages.insert(200, (gateway.encode(), support.reading(501, start, gateway, temperature="hot")))
        support.send(topic, messages, partition)
    left, right = support.make_centre(tmp_path, topic, "a"), support.make_centre(tmp_path, topic, "b")
    for centre in (left, right):
        execute(centre, OPERATORS)
    support.run_processor(left)
    summaries = support.Tasks(right, largest=10**6).run()

    reasons = [reason for _, _, reason, *_ in support.rejected(right)]
    assert reasons.count("refused_by_database") == 2 * 7
    assert support.rejected(left) == support.rejected(right)

    def without_statement(centre):
        # Rows are written by the same statement, what a report says by each engine's own.
        return {place: text if "COPY" in text else text.split(" in: ")[0]
                for place, text in support.details(centre).items()}  # fmt: skip

    assert without_statement(left) == without_statement(right)
    assert support.rows(left) == support.rows(right)
    assert len(support.rows(left)) == 2 * 494
    assert support.losses(left) == support.losses(right)
    assert support.streams(left) == support.streams(right)
    assert support.sensors(left) == support.sensors(right)
    support.assert_windows_equal(left, right)
    support.verify(left)
    support.verify(right)
    for summary in summaries:
        assert 0 < summary.trials <= 200


@support.needs_servers
def test_refused_windows_cost_no_reading_and_are_written_when_they_are_taken(tmp_path):
    topic = support.make_topic(1)
    centre = support.make_centre(tmp_path, topic, lateness="1m")
    execute(centre, "ALTER TABLE sensor_data_agg ADD CONSTRAINT cool CHECK (temperature_max < 60)")
    start = time.time_ns() // 1_000_000 - 7_200_000
    tasks = support.Tasks(centre, largest=10**6)
    database = tasks.worker.database
    finals = "SELECT count(*) > 0 FROM sensor_data_agg WHERE is_final AND gateway_id = %s"

    def send(numbers, hot=()):
        support.send(topic, [
            (gateway.encode(), support.reading(number, start + number * 1000, gateway,
                                               temperature=66 if gateway == "g-0" and number in hot else 20))
            for number in numbers for gateway in ("g-0", "g-1")])  # fmt: skip
        return tasks.run()

    assert send(range(1, 301))[0].held == 0
    # A late one falls into final windows of a gateway whose windows are refused from here on.
    summary = send([*range(302, 601), 301], hot={301, 400})[0]
    assert summary.held == 1 and summary.late == 2
    assert centre.query("SELECT count(*) FROM sensor_data") == [(1200,)]
    assert support.rejected(centre) == set()
    assert centre.query(finals, "g-1") == [(True,)]
    # As long as they are refused, the look at the passing of time leaves them alone, and so does the next batch.
    assert database.held.gateways == {"g-0"}
    now = database.clock()
    assert pass_time(database, 0, None, now) == 0
    database.held.release(time.monotonic() + 60)
    assert pass_time(database, 0, None, now) == 0
    assert database.held.gateways == {"g-0"}
    assert send(range(601, 701))[0].held == 1
    execute(centre, "ALTER TABLE sensor_data_agg DROP CONSTRAINT cool")
    database.held.release(time.monotonic() + 60)
    assert pass_time(database, 0, None, now) > 0
    support.verify(centre)
    assert send(range(701, 1001))[0].held == 0
    support.verify(centre)
    expected = support.make_centre(tmp_path, topic, "b", lateness="1m")
    support.run_processor(expected)
    assert support.rows(centre) == support.rows(expected)
    assert support.assert_windows_equal(centre, expected) > 10
