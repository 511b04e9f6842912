"""The oracle: silent about tables that agree with what was seen, and loud about each fault that is planted into them.

The tables are those of the processor's own migrations. What they hold is computed here, by Python alone.
"""

import json
import pathlib
import random
import shutil
import statistics
import tempfile
import unittest
from datetime import UTC, datetime, timedelta

import psycopg

from vigie_harness.checkout import ROOT
from vigie_harness.postgres import Postgres
from vigie_harness.storm import planted, witness
from vigie_harness.storm.cards import Cards
from vigie_harness.storm.oracle import QUANTITIES, Setting, examine, open_gateways
from vigie_harness.storm.poller import OutboxView
from vigie_harness.storm.tap import Seen

TOPIC = "readings"
SIZES = (timedelta(seconds=10), timedelta(seconds=5))
SLIDE = timedelta(seconds=5)
WARM = 20.5
SETTING = Setting(TOPIC, [(size, SLIDE) for size in SIZES], {"temperature": (float("-1e9"), WARM)})
EPOCH = datetime(2026, 11, 27, 12, tzinfo=UTC)
GATEWAYS, READINGS, INTERVAL = 2, 200, timedelta(milliseconds=250)


class Site:
    """Two gateways with two sensors each, whose readings went their whole way."""

    def __init__(self, seed: int):
        chance = random.Random(seed)
        self.readings = [
            self._reading(chance, gateway, seq) for gateway in range(GATEWAYS) for seq in range(1, READINGS + 1)
        ]

    @staticmethod
    def _reading(chance: random.Random, gateway: int, seq: int) -> dict:
        has_faults = seq % 40 == 0
        at = EPOCH + seq * INTERVAL + timedelta(milliseconds=chance.randrange(100))
        reading = {
            "schema": 1, "gateway_id": f"gateway-{gateway}", "sensor_id": f"sensor-{seq % 2}",
            "stream_id": f"{gateway:016x}", "seq": seq, "event_time": at.isoformat(timespec="milliseconds"),
            "time_quality": "synced", "interval_ms": 500, "battery_level": chance.uniform(20, 100),
            "battery_voltage": chance.uniform(3, 4), "latitude": 48.0, "longitude": 2.0, "simulated": True,
        }  # fmt: skip
        if has_faults:
            reading["faults"] = ["bme280:nack"]
        else:
            reading |= {
                "temperature": chance.uniform(19, 21),
                "humidity": chance.uniform(30, 60),
                "pressure": chance.uniform(990, 1010),
            }
        return reading

    @staticmethod
    def status(reading: dict) -> str:
        if reading.get("faults"):
            return "failure"
        return "warning" if reading["temperature"] > WARM else "ok"

    def messages(self) -> list[Seen]:
        return [
            Seen(TOPIC, partition=int(reading["gateway_id"][-1]), offset=reading["seq"] - 1, key=None,
                 value=json.dumps(reading).encode(), is_resent=False, at=reading["seq"])
            for reading in self.readings
        ]  # fmt: skip

    def views(self) -> list[OutboxView]:
        views = []
        for gateway in range(GATEWAYS):
            stream = f"{gateway:016x}"
            rows = {}
            for reading in self.readings:
                # The poller sees only what waits when it looks.
                if reading["stream_id"] == stream and reading["seq"] % 7 == 0:
                    at = round(datetime.fromisoformat(reading["event_time"]).timestamp() * 1000)
                    row = (reading["seq"], at, reading["sensor_id"], reading["interval_ms"],
                           *(reading.get(name) for name in witness.VALUES[:6]))  # fmt: skip
                    rows[stream, reading["seq"]] = (row, 1.0)
            given = {stream: READINGS}
            views.append(OutboxView(f"gateway-{gateway}", pathlib.Path(), READINGS, given, readings=rows))
        return views

    def write(self, connection: psycopg.Connection) -> None:
        """Writes the tables as a processor without faults would."""
        end = EPOCH + timedelta(minutes=5)
        connection.execute(
            "CREATE TABLE day PARTITION OF sensor_data "
            f"FOR VALUES FROM ('{EPOCH:%F}') TO ('{EPOCH + timedelta(days=1):%F}')"
        )
        for reading in self.readings:
            row = {name: reading.get(name) for name in ("gateway_id", "sensor_id", "stream_id", "seq", "event_time",
                   "time_quality", "interval_ms", "faults", "simulated", *witness.VALUES)}  # fmt: skip
            row |= {"status": self.status(reading), "late": False, "kafka_partition": int(reading["gateway_id"][-1]),
                    "kafka_offset": reading["seq"] - 1, "ingested_at": end}  # fmt: skip
            self._insert(connection, "sensor_data", row)
        for gateway in range(GATEWAYS):
            self._insert(connection, "stream_progress", {
                "gateway_id": f"gateway-{gateway}", "stream_id": f"{gateway:016x}", "last_seq": READINGS,
                "end_seq": READINGS, "lost": 0, "updated_at": end})  # fmt: skip
            self._insert(connection, "consumed_offset", {
                "topic": TOPIC, "kafka_partition": gateway, "next_offset": READINGS, "updated_at": end})  # fmt: skip
            for sensor in range(2):
                self._write_windows(connection, f"gateway-{gateway}", f"sensor-{sensor}", end)

    def _write_windows(self, connection: psycopg.Connection, gateway: str, sensor: str, end: datetime) -> None:
        mine = [
            reading for reading in self.readings if (reading["gateway_id"], reading["sensor_id"]) == (gateway, sensor)
        ]
        times = [datetime.fromisoformat(reading["event_time"]) for reading in mine]
        self._insert(connection, "sensor", {
            "gateway_id": gateway, "sensor_id": sensor, "first_event_time": min(times), "last_event_time": max(times),
            "last_arrival": end, "final_through": end, "quantities": 0, "interval_ms": 500, "last_status": "ok",
            "time_quality": "synced", "simulated": True})  # fmt: skip
        for size in SIZES:
            for start in (EPOCH + number * SLIDE for number in range(-5, 40)):
                inside = [reading for reading, at in zip(mine, times, strict=True) if start <= at < start + size]
                if inside:
                    self._insert(
                        connection,
                        "sensor_data_agg",
                        self._window(gateway, sensor, start, size, inside) | {"updated_at": end},
                    )

    def _window(self, gateway: str, sensor: str, start: datetime, size: timedelta, inside: list[dict]) -> dict:
        status = [self.status(reading) for reading in inside]
        row = {
            "gateway_id": gateway, "sensor_id": sensor, "window_size": size, "window_start": start,
            "window_end": start + size, "reading_count": len(inside), "warning_count": status.count("warning"),
            "failure_count": status.count("failure"), "late_count": 0,
            "coverage": min(1, len(inside) * 500 / (size.total_seconds() * 1000)), "revision": 0, "is_final": True,
        }  # fmt: skip
        for name in QUANTITIES:
            values = [reading[name] for reading in inside if reading.get(name) is not None]
            if values:
                row |= {f"{name}_avg": statistics.fmean(values), f"{name}_min": min(values), f"{name}_max": max(values)}
            if len(values) > 1:
                row[f"{name}_stddev"] = statistics.stdev(values)
        return row

    @staticmethod
    def _insert(connection: psycopg.Connection, table: str, row: dict) -> None:
        connection.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(f'%({name})s' for name in row)})", row
        )


class OracleTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="vigie-storm-", dir="/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.folder.chmod(0o711)
        cls.server = Postgres(cls.folder / "postgres", durable=False)
        cls.server.start()
        cls.addClassCleanup(cls.server.remove)
        cls.addClassCleanup(cls.server.stop)
        cls.connection = psycopg.connect(cls.server.connection, autocommit=True)
        cls.addClassCleanup(cls.connection.close)
        for migration in sorted((ROOT / "Sources/ProcessorCore/Store/Schema").glob("*.sql")):
            cls.connection.execute(migration.read_text())
        cls.site = Site(seed=1)
        cls.site.write(cls.connection)
        witness.write(
            cls.connection, topic=TOPIC, rejected_topic="rejected", messages=cls.site.messages(),
            views=cls.site.views(), ends=dict.fromkeys(range(GATEWAYS), READINGS), began=0, cards=Cards())  # fmt: skip

    def change(self, sql: str):
        """A change that is taken back at the end of the test."""
        transaction = self.connection.transaction(force_rollback=True)
        transaction.__enter__()
        self.addCleanup(transaction.__exit__, None, None, None)
        self.connection.execute(sql)

    def found(self, settled: bool = True) -> dict:
        return {violation.kind: violation for violation in examine(self.connection, SETTING, settled)}

    def test_tables_that_agree_are_not_accused(self):
        self.assertEqual(self.found(), {})
        self.assertEqual(self.found(settled=False), {})

    def test_every_planted_fault_is_found(self):
        for plant in planted.PLANTS:
            with self.subTest(plant.name), planted.planted(self.connection, plant):
                self.assertIn(plant.expected, self.found())
        self.assertEqual(self.found(), {}, "what was planted is taken out again")
        self.assertEqual(planted.unnoticed(self.connection, SETTING), [])

    def test_a_deleted_row_is_named_with_its_number(self):
        self.change("DELETE FROM sensor_data WHERE gateway_id = 'gateway-1' AND seq BETWEEN 90 AND 92")
        found = self.found()
        self.assertEqual(found["missing"].count, 3)
        self.assertEqual(found["missing"].readings, [("gateway-1", f"{1:016x}", seq, seq) for seq in (90, 91, 92)])

    def test_a_recorded_loss_of_what_the_topic_lacks_is_no_violation(self):
        self.change("""
            DELETE FROM sensor_data WHERE gateway_id = 'gateway-1' AND seq = 200;
            DELETE FROM storm.tapped WHERE gateway_id = 'gateway-1' AND seq = 200;
            INSERT INTO loss (gateway_id, stream_id, first_seq, last_seq, detected_at, reason)
            SELECT gateway_id, stream_id, 200, 200, now(), 'queue_full' FROM stream_progress
            WHERE gateway_id = 'gateway-1';
            UPDATE stream_progress SET lost = 1 WHERE gateway_id = 'gateway-1'
            """)
        # The windows that held it are wrong now, and nothing else.
        self.assertEqual(set(self.found()), {"window"})

    def test_what_went_with_a_card_may_be_missing_while_its_stream_has_no_end(self):
        self.change("""
            CREATE TEMPORARY TABLE gone ON COMMIT DROP AS SELECT gateway_id, stream_id, seq FROM sensor_data
            WHERE gateway_id = 'gateway-1' AND seq > 196;
            DELETE FROM sensor_data WHERE gateway_id = 'gateway-1' AND seq > 196;
            DELETE FROM storm.tapped WHERE gateway_id = 'gateway-1' AND seq > 196;
            UPDATE stream_progress SET last_seq = 196, end_seq = NULL WHERE gateway_id = 'gateway-1';
            INSERT INTO storm.excused SELECT gateway_id, stream_id, seq, seq FROM gone;
            INSERT INTO storm.doubtful SELECT DISTINCT gateway_id, stream_id FROM gone
            """)
        # The windows that held them are wrong now, and nothing else.
        self.assertEqual(set(self.found()), {"window"})
        self.assertEqual(open_gateways(self.connection), {"gateway-1"})
        # An end that an older copy has told is all that the centre can know; else it would be wrong.
        self.connection.execute("UPDATE stream_progress SET end_seq = 196 WHERE gateway_id = 'gateway-1'")
        self.assertEqual(set(self.found()), {"unsaid", "window"})
        self.connection.execute("INSERT INTO storm.copied VALUES ('gateway-1')")
        self.assertEqual(set(self.found()), {"window"})

    def test_an_open_window_may_be_behind_and_a_final_one_may_not(self):
        one = "WHERE gateway_id = 'gateway-0' AND seq = 100"
        window = f"""sensor_id = 'sensor-0' AND gateway_id = 'gateway-0'
            AND (SELECT event_time FROM sensor_data {one}) >= window_start
            AND (SELECT event_time FROM sensor_data {one}) < window_end"""
        parts = ("avg", "min", "max", "stddev")
        values = [f"{name}_{part}" for name in QUANTITIES for part in parts]
        sums = [
            f"{part if part != 'stddev' else 'stddev_samp'}(d.{name}) AS {name}_{part}"
            for name in QUANTITIES
            for part in parts
        ]
        # The row came after the windows had been written without it.
        self.change(f"""
            CREATE TEMPORARY TABLE before ON COMMIT DROP AS SELECT ctid AS id, * FROM sensor_data_agg WHERE {window};
            UPDATE sensor_data SET commit_number = commit_number + 1 {one};
            UPDATE sensor_data_agg w SET is_final = false, reading_count = r.n, warning_count = r.warnings,
                failure_count = r.failures, coverage = r.coverage, {", ".join(f"{name} = r.{name}" for name in values)}
            FROM (SELECT b.id, count(*) AS n, count(*) FILTER (WHERE status = 'warning') AS warnings,
                    count(*) FILTER (WHERE status = 'failure') AS failures,
                    least(1, sum(d.interval_ms) / (extract(epoch FROM b.window_size)::float8 * 1000)) AS coverage,
                    {", ".join(sums)}
                FROM before b JOIN sensor_data d ON d.gateway_id = b.gateway_id AND d.sensor_id = b.sensor_id
                    AND d.event_time >= b.window_start AND d.event_time < b.window_end AND d.seq <> 100
                GROUP BY b.id, b.window_size) AS r WHERE w.ctid = r.id
            """)
        self.assertEqual(self.found(settled=False), {})
        self.connection.execute(f"UPDATE sensor_data_agg SET is_final = true WHERE {window}")
        self.assertEqual(set(self.found(settled=False)), {"window"})

    def test_a_row_of_a_message_that_was_sent_again_may_come_from_either_place(self):
        self.change("""
            INSERT INTO storm.tapped SELECT 9, 0, true, gateway_id, stream_id, seq, stream_first, sensor_id, event_time,
                interval_ms, temperature, humidity, co2, pressure, battery_level, battery_voltage, latitude, longitude,
                faults, simulated, seen_at
            FROM storm.tapped WHERE gateway_id = 'gateway-0' AND seq = 50;
            UPDATE sensor_data SET kafka_partition = 9, kafka_offset = 0 WHERE gateway_id = 'gateway-0' AND seq = 50
            """)
        self.assertEqual(self.found(), {})

    def test_what_was_deleted_with_the_topic_may_be_a_hole_and_what_is_there_may_not(self):
        one = "WHERE gateway_id = 'gateway-0' AND seq = 100"
        self.change(f"""
            INSERT INTO loss (gateway_id, stream_id, first_seq, last_seq, detected_at, reason)
                SELECT gateway_id, stream_id, seq, seq, ingested_at, 'unknown' FROM sensor_data {one};
            DELETE FROM sensor_data {one};
            UPDATE stream_progress SET lost = 1 WHERE gateway_id = 'gateway-0'
            """)
        self.assertEqual(set(self.found()), {"lost on the topic", "unexplained", "window"})
        self.connection.execute(f"""
            UPDATE storm.tapped SET is_there = false {one};
            INSERT INTO storm.excused SELECT gateway_id, stream_id, seq, seq FROM storm.tapped WHERE NOT is_there
            """)
        # The windows that held it are wrong now, and nothing else.
        self.assertEqual(set(self.found()), {"window"})
        # It stands in the new log, too.
        self.connection.execute(f"""
            CREATE TEMPORARY TABLE again ON COMMIT DROP AS SELECT * FROM storm.tapped {one};
            UPDATE again SET log = 1, is_there = true, kafka_offset = 0;
            INSERT INTO storm.tapped SELECT * FROM again
            """)
        self.assertEqual(set(self.found()), {"lost on the topic", "window"})


if __name__ == "__main__":
    unittest.main()
