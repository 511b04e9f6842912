"""Reads and writes alerts, what is pending, and what the webhook is to be told."""

from collections.abc import Iterable, Sequence

import psycopg

from . import tables
from .alerts import CLOSED, ESCALATED, OPENED, Alerts, AlertState


def columns_of(rows: Sequence[tuple]) -> list[list]:
    """Rows as columns."""
    return [list(column) for column in zip(*rows, strict=True)]


# MARK: Alerts about logs


def open_log_alert(
    connection: psycopg.Connection, topic: str, partition: int, detail: str, notifies: bool, now: int
) -> None:
    """Opens an alert that a partition has another log than was read before, unless one is open."""
    variable = f"{topic}[{partition}]"
    opened = connection.execute(tables.OPEN_LOG_ALERT, (variable, detail, now, now, now, now)).fetchall()
    _tell_of_logs(connection, OPENED, opened, notifies, now)


def close_log_alerts(
    connection: psycopg.Connection, topic: str, partitions: Iterable[int], notifies: bool, now: int
) -> int:
    """Closes the alerts about the logs of partitions that were read to their ends; returns how many."""
    variables = [f"{topic}[{partition}]" for partition in partitions]
    closed = connection.execute(tables.CLOSE_LOG_ALERTS, (variables, now, now)).fetchall()
    _tell_of_logs(connection, CLOSED, closed, notifies, now)
    return len(closed)


def _tell_of_logs(
    connection: psycopg.Connection, event: str, alerts: list[tuple], notifies: bool, now: int
) -> None:  # fmt: skip
    if notifies and alerts:
        rows = [(number, event, "warning", now, None, None, detail) for number, detail in alerts]
        connection.execute(tables.NOTIFY, (now, now, *columns_of(rows)))


# MARK: Alerts of gateways


class AlertRows:
    """The alerts that a transaction has to do with: loaded once, moved, and written at once."""

    def __init__(self, connection: psycopg.Connection, notifies: bool, now: int):
        self._connection = connection
        self._notifies = notifies
        self._now = now
        self._moved: list[Alerts] = []

    # Loading

    def of_sensors(self, names: list[tuple[str, str]]) -> dict[tuple[str, str], Alerts]:
        """What is pending or open of sensors."""
        alerts = {name: Alerts(*name) for name in names}
        if names:
            for gateway, sensor, state in self._read(tables.SENSOR_ALERTS, names):
                alerts[gateway, sensor].states.append(state)
        self._moved += alerts.values()
        return alerts

    def of_others(self, keys: list[tuple[str, str, str]]) -> list[Alerts]:
        """The alerts of streams or of gateways' conflicts: each gateway, kind and variable."""
        alerts = {key: Alerts(key[0], "", key=key[1:]) for key in keys}
        if keys:
            rows = [(gateway, "", kind, variable) for gateway, kind, variable in keys]
            for gateway, _, state in self._read(tables.OTHER_ALERTS, rows):
                alerts[gateway, state.kind, state.variable].states.append(state)
        self._moved += alerts.values()
        return list(alerts.values())

    def _read(self, statement: str, keys: Sequence[tuple]) -> Iterable[tuple[str, str, AlertState]]:
        for gateway, sensor, *state in self._connection.execute(statement, columns_of(keys)):
            yield gateway, sensor, AlertState(*state)

    # Writing

    def save(self) -> None:
        """Writes what has changed."""
        moved = [alerts for alerts in self._moved if alerts.is_changed]
        self._moved = []
        if not moved:
            return
        steps = [step for alerts in moved for step in alerts.steps]
        opened = [step for step in steps if step.action == OPENED]
        if opened:
            ids = self._connection.execute(tables.ALERT_IDS, (len(opened),))
            for step, (number,) in zip(opened, ids.fetchall(), strict=True):
                step.state.alert_id = number
        changes = self._changes(moved, steps)
        new = {step.state.alert_id: step for step in opened}
        # Alerts are closed before others are opened in their identity.
        self._update([change for number, change in changes.items() if number not in new])
        if new:
            rows = []
            for number, step in new.items():
                _, severity, detail, escalated_at, closed_at, worst = changes[number]
                rows.append((number, step.gateway_id, step.sensor_id, step.state.kind, step.state.variable, severity,
                             step.state.since, step.time, escalated_at, closed_at, step.value, worst, detail,
                             self._now))  # fmt: skip
            self._connection.execute(tables.INSERT_ALERTS, columns_of(rows))
        self._save_states(moved)
        if self._notifies and steps:
            rows = [(step.state.alert_id, step.action, step.severity, step.time, step.value, step.worst, step.detail)
                    for step in steps]  # fmt: skip
            self._connection.execute(tables.NOTIFY, (self._now, self._now, *columns_of(rows)))

    def _changes(self, moved: list[Alerts], steps: list) -> dict[int, tuple]:
        """What becomes of alerts that are or were open, by their numbers: the columns `tables.ALERT_CHANGE`."""
        changes: dict[int, tuple] = {}
        for step in steps:
            number = step.state.alert_id
            before = changes.get(number, (None,) * 6)
            escalated_at = step.time if step.action == ESCALATED else before[3]
            closed_at = step.time if step.action == CLOSED else before[4]
            changes[number] = (number, step.severity, step.detail, escalated_at, closed_at, step.worst)
        for state in (state for alerts in moved for state in alerts.states if state.severity):
            number = state.alert_id
            _, _, _, escalated_at, closed_at, _ = changes.get(number, (None,) * 6)
            changes[number] = (number, state.severity, state.detail, escalated_at, closed_at, state.worst)
        return changes

    def _update(self, changes: list[tuple]) -> None:
        if changes:
            self._connection.execute(tables.UPDATE_ALERTS, (self._now, *columns_of(sorted(changes))))

    def _save_states(self, moved: list[Alerts]) -> None:
        gone = [(alerts.gateway_id, alerts.sensor_id, *(alerts.key or (None, None))) for alerts in moved]
        self._connection.execute(tables.DELETE_ALERT_STATES, columns_of(gone))
        rows = [
            (alerts.gateway_id, alerts.sensor_id, state.kind, state.variable, state.side, state.since,
             state.critical_since, state.worst, state.detail, state.severity, state.alert_id)
            for alerts in moved for state in alerts.states
        ]  # fmt: skip
        if rows:
            self._connection.execute(tables.INSERT_ALERT_STATES, columns_of(rows))
