"""Reads and writes how far the partitions were read: the rows of `consumed_offset`."""

import dataclasses

import psycopg

from . import tables
from .decoding import MessageMark
from .offsets import Position


def position_of(row: tuple) -> Position:
    """A position from the columns `tables.POSITION`."""
    following, generation, offset, timestamp, size, checksum = row
    last = None if offset is None else MessageMark(offset, timestamp, size, checksum)
    return Position(following, generation, last)


def stored_positions(connection: psycopg.Connection, topic: str) -> dict[int, Position]:
    return {partition: position_of(row) for partition, *row in connection.execute(tables.POSITIONS, (topic,))}


def advance(
    connection: psycopg.Connection, topic: str, partition: int, since: Position, until: Position, now: int
) -> bool:
    """Writes how far a partition was read; False if it does not stand at `since`, as somebody else has written it.

    Args:
        now: milliseconds since 1970.
    """
    mark = dataclasses.astuple(until.last) if until.last else (None,) * 4
    done = connection.execute(
        tables.ADVANCE,
        (until.next, until.generation, *mark, now, topic, partition, since.next, since.generation),
    )
    return done.rowcount == 1
