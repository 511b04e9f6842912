"""The rule of offsets and of logs, case by case."""

import pytest

from vigie_spark.decoding import MessageMark
from vigie_spark.kafka import recognise
from vigie_spark.offsets import Position, Range, Restart, Verdict, judge_range

pytestmark = pytest.mark.ci

PLANNED = Range(partition=4, start=100, end=200, generation=2)


@pytest.mark.parametrize(
    ("next_", "verdict"),
    [(100, Verdict.TAKE), (150, Verdict.TAKE), (199, Verdict.TAKE), (200, Verdict.DONE), (900, Verdict.DONE)],
)
def test_ranges_that_begin_where_the_database_is_or_before(next_, verdict):
    assert judge_range(Position(next_, 2), PLANNED) is verdict


@pytest.mark.parametrize(
    "stored", [None, Position(99, 2), Position(0, 2), Position(100, 1), Position(100, 3), Position(200, 3)]
)
def test_ranges_that_end_the_query(stored):
    with pytest.raises(Restart):
        judge_range(stored, PLANNED)


LAST = MessageMark(99, 5, 10, 77)
READ = Position(100, 2, LAST)


@pytest.mark.parametrize(
    ("stored", "low", "end", "found", "to"),
    [
        (READ, 0, 100, LAST, None),
        (READ, 0, 500, LAST, None),
        # The position lies behind markers of a transaction.
        (Position(105, 2, LAST), 0, 105, LAST, None),
        # Retention has taken the last message, and then messages that nobody has read.
        (READ, 100, 500, None, None),
        (READ, 150, 500, None, Position(150, 2, LAST)),
        # Another message, none at that offset, out of range: another log.
        (READ, 0, 500, MessageMark(99, 5, 10, 78), Position(0, 3)),
        (READ, 0, 500, MessageMark(99, 6, 10, 77), Position(0, 3)),
        (READ, 0, 500, MessageMark(101, 5, 10, 77), Position(0, 3)),
        (READ, 20, 500, None, Position(20, 3)),
        (READ, 0, 50, None, Position(0, 3)),
        # Nobody has read anything yet.
        (Position(0), 0, 0, None, None),
        (Position(0), 30, 90, None, Position(30)),
        (Position(40), 0, 30, None, Position(0, 1)),
    ],
)
def test_recognising_a_log(stored, low, end, found, to):
    move = recognise(stored, low, end, found)
    assert (move.to if move else None) == to
