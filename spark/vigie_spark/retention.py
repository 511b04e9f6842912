"""How far retention has come."""

import dataclasses

import psycopg

from . import tables
from .admission import NEVER


@dataclasses.dataclass(frozen=True)
class Cutoff:
    """How far retention has come, milliseconds since 1970; NEVER where nothing is deleted."""

    readings: int
    windows: int


def cutoff(connection: psycopg.Connection) -> Cutoff:
    readings, windows = connection.execute(tables.CUTOFF).fetchone() or (None, None)
    return Cutoff(NEVER if readings is None else readings, NEVER if windows is None else windows)
