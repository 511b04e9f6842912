"""The decoder: what the columns take is what the strict decoder takes, message by message."""

import json
import os
import random
import time

import corpus
import numpy
import pyarrow
import pytest
import support

from vigie_spark import native
from vigie_spark.decoding import BatchDecoder
from vigie_spark.quantities import NAMES, QUANTITIES
from vigie_spark.settings import Limits
from vigie_spark.strict import Reading, Rejection, StrictDecoder, read_time, write_time

pytestmark = pytest.mark.ci

SEED = int(os.environ.get("VIGIE_SEED") or random.randrange(2**31))
NOW = 1_795_800_000_000


def table_of(values: list[bytes | None]) -> pyarrow.Table:
    count = len(values)
    return pyarrow.Table.from_arrays(
        [pyarrow.array([3] * count, pyarrow.int32()), pyarrow.array(range(count), pyarrow.int64()),
         pyarrow.array([0] * count, pyarrow.timestamp("us")), pyarrow.array([0] * count, pyarrow.int32()),
         pyarrow.array([b"key"] * count, pyarrow.binary()), pyarrow.array(values, pyarrow.binary()),
         pyarrow.nulls(count, support.MESSAGE.field("headers").type)],
        schema=support.MESSAGE,
    )  # fmt: skip


def strict_verdict(decoder: StrictDecoder, value: bytes | None):
    try:
        return decoder.decode(value, NOW)
    except Rejection as rejection:
        return rejection.reason, rejection.field, rejection.detail


def reading_of(batch, place: int) -> Reading:
    """A row of the columns as the strict decoder would say it."""
    readings = batch.readings
    gateway, sensor = batch.sensor_names[readings["sensor"][place]]
    has = int(readings["quantities"][place])
    values = {index: readings["values"][index, place].item() for index in range(len(NAMES)) if has >> index & 1}
    faults = readings["faults"][place]
    return Reading(
        gateway, sensor, batch.streams[readings["stream"][place]][1], int(readings["sequence"][place]),
        int(readings["stream_first"][place]), int(readings["event_time"][place]), bool(readings["is_estimated"][place]),
        int(readings["interval"][place]), values,
        readings["latitude"][place].item() if readings["has_latitude"][place] else None,
        readings["longitude"][place].item() if readings["has_longitude"][place] else None,
        bool(readings["is_simulated"][place]), batch.faults[faults] if faults >= 0 else None,
    )  # fmt: skip


def test_columns_say_what_the_strict_decoder_says():
    print(f"VIGIE_SEED={SEED}")
    values = corpus.messages(SEED, 20_000, NOW)
    batch = BatchDecoder(Limits()).decode(3, table_of(values), NOW)
    strict = StrictDecoder(Limits())
    rows = {int(row): place for place, row in enumerate(batch.readings["row"])}
    rejected = {message.offset: message.rejection for message in batch.rejected}
    reports = iter(batch.reports)
    for row, value in enumerate(values):
        verdict = strict_verdict(strict, value)
        if isinstance(verdict, Reading):
            assert reading_of(batch, rows.pop(row)) == verdict, value
        elif isinstance(verdict, tuple):
            rejection = rejected.pop(row)
            assert (rejection.reason, rejection.field, rejection.detail) == verdict, value
        else:
            assert next(reports)[1] == verdict, value
    assert not rows and not rejected and next(reports, None) is None
    assert batch.slow < len(values)


def test_quantities_are_those_of_the_contract():
    schema = json.loads((support.ROOT / "documentation" / "reading.schema.json").read_text())["properties"]
    for quantity in QUANTITIES:
        assert (schema[quantity.name]["minimum"], schema[quantity.name]["maximum"]) == (
            quantity.lowest,
            quantity.highest,
        )


def contract_examples() -> list[tuple[bytes, str]]:
    """The messages of documentation/, each with its verdict."""
    folder = support.ROOT / "documentation"
    readings = json.loads((folder / "reading.examples.json").read_text())
    found = []
    for example in readings["examples"]:
        fields = readings["message"] | ({example["field"]: example["text"]} if "field" in example else {})
        text = "{" + ",".join(f'"{name}":{value}' for name, value in fields.items() if value is not None) + "}"
        found.append((example.get("message", text).encode(), example["verdict"]))
    for example in json.loads((folder / "report.examples.json").read_text())["examples"]:
        text = example.get("message") or '{"schema":1,"gateway_id":"g","report":' + example["report"] + "}"
        found.append((text.encode(), example["verdict"]))
    return found


def test_examples_of_the_contract():
    now = read_time(b"2026-11-24T00:00:00Z")
    examples = contract_examples()
    batch = BatchDecoder(Limits()).decode(3, table_of([value for value, _ in examples]), now)
    reasons = {message.offset: message.rejection.reason for message in batch.rejected}
    assert len(examples) > 100
    for row, (value, verdict) in enumerate(examples):
        assert reasons.get(row, "accepted") == verdict, value


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [(b"1970-01-01T00:00:00Z", 0), (b"2024-02-29T23:59:60.9999Z", 1_709_251_200_999), (b"2023-02-29T00:00:00Z", None),
     (b"1970-01-01T01:00:00+01:00", 0), (b"0000-02-29T00:00:00Z", -62_162_121_600_000), (b"1970-01-01T00:00:00", None)],
)  # fmt: skip
def test_times(text, milliseconds):
    assert read_time(text) == milliseconds


def test_times_as_they_are_written():
    for text in ("0000-01-01T00:00:00.000Z", "0000-02-29T23:59:59.999Z", "0001-01-01T00:00:00.000Z",
                 "1969-12-31T23:59:59.999Z", "2026-11-24T08:15:30.123Z", "9999-12-31T23:59:59.999Z"):  # fmt: skip
        assert write_time(read_time(text.encode())) == text


def test_rows_for_copy():
    """The stream as PostgreSQL's documentation describes it."""
    stream = native.encode_rows(
        [(numpy.array([1, -1]), native.Dictionary([b"a", b"bc"])), (numpy.array([7, 8], numpy.int32), None),
         (numpy.array([1.5, 0.0]), numpy.array([False, True]))], 2,
    )  # fmt: skip
    rows = (
        b"\0\3" + b"\0\0\0\2bc" + b"\0\0\0\4\0\0\0\7" + b"\0\0\0\10" + bytes.fromhex("3ff8000000000000")
        + b"\0\3" + b"\xff\xff\xff\xff" + b"\0\0\0\4\0\0\0\10" + b"\xff\xff\xff\xff"
    )  # fmt: skip
    assert bytes(stream) == b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows + b"\xff\xff"


@support.needs_servers
def test_both_engines_give_the_same_verdicts(tmp_path):
    print(f"VIGIE_SEED={SEED}")
    now = time.time_ns() // 1_000_000
    values = corpus.messages(SEED, int(os.environ.get("VIGIE_CORPUS") or 5000), now)
    topic = support.make_topic(1)
    support.send(topic, [(b"key", value) for value in values])
    left, right = support.make_centre(tmp_path, topic, "a"), support.make_centre(tmp_path, topic, "b")
    support.run_processor(left, 300)
    summaries = support.Tasks(right, largest=1000, seed=SEED).run()
    assert support.details(left) == support.details(right)
    assert support.rejected(left) == support.rejected(right)
    assert support.rows(left) == support.rows(right)
    # Whether a rejected number of a stream that is not known yet is lost depends on where batches end.
    assert support.lost_numbers(left) == support.lost_numbers(right)
    assert support.streams(left) == support.streams(right)
    found = [centre.query("SELECT gateway_id, own_stream_id, seq, kafka_offset FROM sequence_conflict ORDER BY 1, 2")
             for centre in (left, right)]  # fmt: skip
    assert found[0] == found[1] and found[0]
    assert sum(summary.conflicts for summary in summaries) > 0
