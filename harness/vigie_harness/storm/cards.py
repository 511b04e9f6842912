"""What the storm itself did to outboxes: which readings may be missing by it, and which streams may stay open.

The rest of what a gateway numbered must be a row or a recorded loss with a reason.
"""

import pathlib
import sqlite3
import threading
from dataclasses import dataclass, field

# No number is larger.
LAST = 9_007_199_254_740_991


def stream_name(number: int) -> str:
    """A stream's name as messages have it; SQLite's integers have a sign."""
    return f"{number & (1 << 64) - 1:016x}"


@dataclass
class Contents:
    """What stands in an outbox's file."""

    last_number: int = 0
    """The highest number that it knows of."""
    waiting: set[tuple[str, int]] = field(default_factory=set)
    """Stream and number of each reading that waits."""
    gaps: list[tuple[str, int, int]] = field(default_factory=list)
    """Stream, first and last number of what never comes and is not told yet."""
    untold: set[str] = field(default_factory=set)
    """Streams whose end is not told although it is known, or that still run."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing of it would be missed."""
        return not (self.waiting or self.gaps or self.untold)


# The highest number that was ever given: rows that are gone are remembered.
LAST_NUMBER = """
    SELECT max((SELECT last_number FROM outbox), coalesce((SELECT max(seq) FROM reading), 0),
        coalesce((SELECT max(seq) FROM quarantine), 0), coalesce((SELECT max(last) FROM gap), 0))
"""
_WAITING = "SELECT stream_id, seq FROM reading"
_GAPS = "SELECT stream_id, first, last FROM gap"
# Of a stream whose last number nobody knows no end will be told.
_UNTOLD = "SELECT stream_id FROM stream WHERE told < 2 AND (is_running = 1 OR last IS NOT NULL OR told = 0)"


def contents(path: pathlib.Path) -> Contents:
    """Reads a file in one transaction, and changes nothing. sqlite3.Error if it cannot be read."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2, isolation_level=None)
    try:
        connection.execute("BEGIN")
        (last_number,) = connection.execute(LAST_NUMBER).fetchone()
        return Contents(
            last_number,
            {(stream_name(stream), seq) for stream, seq in connection.execute(_WAITING)},
            [(stream_name(stream), first, last) for stream, first, last in connection.execute(_GAPS)],
            {stream_name(stream) for (stream,) in connection.execute(_UNTOLD)},
        )
    finally:
        connection.close()


def copy(path: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a file that may be in use, as documentation/operations.md says. sqlite3.Error if that cannot be done."""
    target.unlink(missing_ok=True)
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2, isolation_level=None)
    try:
        connection.execute("VACUUM INTO ?", (str(target),))
    finally:
        connection.close()


class Cards:
    """The account of what the storm did. May be called from any thread."""

    def __init__(self):
        self._lock = threading.Lock()
        self.excused: set[tuple[str, str, int, int]] = set()
        """Gateway, stream, first and last number of readings that may be missing, if the certificate does not agree."""
        self.doubtful: set[tuple[str, str | None]] = set()
        """Gateway and stream the end of which may never be told; without a stream any of that gateway."""
        self.copied: set[str] = set()
        """Gateways of which an older copy went on: it tells ends of streams that are none."""
        self.damaged: set[str] = set()
        """Gateways that may tell of readings that could not be read."""

    def lost(self, gateway: str, dead: Contents, back: Contents | None = None) -> None:
        """A file is gone with what only it held.

        Arguments:
            gateway: whose outbox it was.
            dead: what stood in it.
            back: what stands in the older copy that was put in its place, if one was.
        """
        with self._lock:
            self._excuse(gateway, dead, back.waiting if back else set())
            self.doubtful |= {(gateway, stream) for stream in dead.untold}
            self.doubtful |= {(gateway, stream) for stream, _ in dead.waiting}
        if back:
            self.copied_of(gateway, back)

    def harmed(self, gateway: str, before: Contents) -> None:
        """Parts of a file were damaged. When that is noticed the numbers may not be known any more."""
        with self._lock:
            self._excuse(gateway, before, set())
            self.doubtful.add((gateway, None))
            self.damaged.add(gateway)

    def copied_of(self, gateway: str, there: Contents) -> None:
        """A copy of a file goes on, with what stands there: it tells an end of its stream that may be none."""
        with self._lock:
            self.copied.add(gateway)
            self.doubtful |= {(gateway, stream) for stream in there.untold}

    def _excuse(self, gateway: str, dead: Contents, kept: set[tuple[str, int]]) -> None:
        self.excused |= {(gateway, stream, seq, seq) for stream, seq in dead.waiting - kept}
        self.excused |= {(gateway, stream, first, last) for stream, first, last in dead.gaps}
