"""Writes the bounds of the rules where the dashboard finds them, as the processor does when it starts."""

import math

import psycopg

from . import tables
from .alert_rows import columns_of
from .quantities import QUANTITIES
from .settings import AlertRules


def rows_of(rules: AlertRules) -> set[tuple]:
    """All bounds that there are: quantity, severity, side, bound, hysteresis, minimum duration in milliseconds."""
    return {
        (quantity.name, severity, side, bound, rule.hysteresis, rule.minimum_duration)
        for quantity, rule in zip(QUANTITIES, rules.quantities, strict=True)
        for severity, side, bound in (
            ("warning", "below", rule.warning_below), ("warning", "above", rule.warning_above),
            ("critical", "below", rule.critical_below), ("critical", "above", rule.critical_above),
        ) if math.isfinite(bound)
    }  # fmt: skip


def write_rules(connection: psycopg.Connection, rules: AlertRules) -> None:
    """Makes the table say what the rules say; nothing is written if it does already."""
    rows = rows_of(rules)
    with connection.transaction():
        # Engines that start at once look one after the other; readers are not held up.
        connection.execute(tables.LOCK_RULES)
        if set(connection.execute(tables.RULES).fetchall()) == rows:
            return
        connection.execute(tables.DELETE_RULES)
        if rows:
            connection.execute(tables.INSERT_RULES, columns_of(sorted(rows)))
