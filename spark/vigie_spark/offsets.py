"""The rule of offsets: what a task does with its range, by where PostgreSQL says that its partition was read to.

PostgreSQL alone decides. Whatever Spark runs twice, forgets, or plans from an old checkpoint does no harm.
"""

import dataclasses
import enum

from .decoding import MessageMark


@dataclasses.dataclass(frozen=True)
class Position:
    """How far a partition was read, and of which log."""

    next: int
    generation: int = 0
    """How often `next` has gone back."""
    last: MessageMark | None = None
    """The last message before `next`; None if nobody has read one yet."""


@dataclasses.dataclass(frozen=True)
class Range:
    """What a task is to read of a partition, as the driver planned it."""

    partition: int
    start: int
    end: int
    """The offset after the range."""
    generation: int
    """Of the log that the driver saw."""


class Verdict(enum.Enum):
    TAKE = "take"
    """What lies from the position to the range's end."""
    DONE = "done"
    """Another attempt, or the other engine, has committed all of it."""


class Restart(Exception):
    """The query is to end and to begin again where PostgreSQL says."""


def judge_range(stored: Position | None, planned: Range) -> Verdict:
    """What to do with a range; Restart if it is of another log, or begins beyond what is stored."""
    if stored is None:
        raise Restart(f"partition {planned.partition} has no row in consumed_offset")
    if stored.generation != planned.generation:
        raise Restart(f"partition {planned.partition} has another log: {stored.generation}, not {planned.generation}")
    if stored.next < planned.start:
        raise Restart(f"partition {planned.partition} was read up to {stored.next}, not up to {planned.start}")
    return Verdict.DONE if stored.next >= planned.end else Verdict.TAKE
