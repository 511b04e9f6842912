"""Where each partition is read from: what PostgreSQL says, after its log was compared with the one read before."""

import logging
import time

import psycopg

from . import tables
from .alert_rows import open_log_alert
from .kafka import LogReader
from .offset_rows import advance, stored_positions
from .offsets import Position, Restart
from .rule_rows import write_rules
from .settings import Settings

log = logging.getLogger("vigie.spark")


class SchemaUnknown(Exception):
    """The database has another schema than this engine knows."""


def check_schema(connection: psycopg.Connection) -> None:
    try:
        found = connection.execute(tables.SCHEMA_NUMBER).fetchone()[0]
    except psycopg.errors.UndefinedTable:
        found = 0
    if found != tables.SCHEMA:
        remedy = "run `vigie-processor migrate`" if found < tables.SCHEMA else "run a newer job"
        raise SchemaUnknown(f"the database has schema {found}, this job knows {tables.SCHEMA}: {remedy}")


def locate(settings: Settings) -> dict[int, Position]:
    """Where each partition is to be read from, once its log was compared with the one that was read before."""
    topic = settings.kafka.topic
    reader = LogReader(settings.kafka)
    try:
        with psycopg.connect(settings.postgres, autocommit=True, connect_timeout=10) as connection:
            check_schema(connection)
            write_rules(connection, settings.rules)
            bounds = reader.bounds()
            stored = stored_positions(connection, topic)
            if new := bounds.keys() - stored.keys():
                connection.execute(tables.INSERT_POSITIONS, (topic, sorted(new)))
                stored = stored_positions(connection, topic)
            partitions = sorted(bounds)
            if taken := connection.execute(tables.TAKE_GATEWAYS, (partitions, partitions[0])).rowcount:
                log.info("took up %s gateways of partitions that are gone", taken)
            for partition, move in reader.compare(stored).items():
                log.warning("partition %s: %s, reading from offset %s", partition, move.reason, move.to.next)
                since, now = stored[partition], time.time_ns() // 1_000_000
                with connection.transaction():
                    if not advance(connection, topic, partition, since, move.to, now):
                        raise Restart(f"somebody else reads partition {partition}")
                    if move.to.generation != since.generation:
                        detail = f"read up to offset {since.next} of another log; reading from offset {move.to.next}"
                        open_log_alert(connection, topic, partition, detail, settings.notifies, now)
                stored[partition] = move.to
            return {partition: stored[partition] for partition in bounds}
    finally:
        reader.close()
