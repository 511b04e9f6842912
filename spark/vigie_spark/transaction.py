"""One range of one partition in one PostgreSQL transaction: offsets, rows, windows, sensors, streams and holes.

The order of the statements and of the locks is the processor's (documentation/architecture.md): the partition's offset,
the gateways in the order of their names' bytes, then what hangs on them.
"""

import dataclasses
import logging
import struct
from collections.abc import Iterable, Sequence

import numpy
import psycopg

from . import native, offset_rows, tables
from .admission import (
    NEVER,
    OK,
    STATUSES,
    Judged,
    Sensors,
    admit,
    advance,
    compare_within,
    first_numbers,
    judge,
    named_streams,
    note_reports,
    own_stream,
)
from .alert_rows import AlertRows, columns_of
from .alerts import Alerts
from .decoding import Batch
from .idle import Stretch, idle_through
from .offsets import Position
from .quantities import AGGREGATED, NAMES
from .retention import Cutoff, cutoff
from .settings import Settings
from .streams import REASONS, LossRange, StreamProgress, reason_of
from .strict import NO_STREAM, NOT_TOLD, stream_before
from .window_rows import WindowRows
from .windows import floored, outlook, panes_of

log = logging.getLogger("vigie.spark")

# PostgreSQL counts microseconds from 2000-01-01.
_EPOCH_2000 = 946_684_800_000


class StaleOffset(Exception):
    """The offset in the database is not the one that the batch begins with: somebody else has the partition."""


@dataclasses.dataclass(frozen=True)
class Conflict:
    """A reading that came under a number that another reading has."""

    row: int
    """Its place in the batch."""
    gateway_id: str
    own_stream: int
    """The stream that is made for it."""


class UnannouncedConflicts(Exception):
    """Conflicts that are not in the rejected topic yet: they go there first, then the transaction is tried again."""

    def __init__(self, conflicts: list[Conflict]):
        super().__init__(f"{len(conflicts)} conflicts")
        self.conflicts = conflicts


@dataclasses.dataclass
class Summary:
    """What a committed range came to."""

    messages: int = 0
    rows: int = 0
    duplicates: int = 0
    conflicts: int = 0
    expired: int = 0
    late: int = 0
    reports: int = 0
    rejected: int = 0
    windows: int = 0
    slow: int = 0
    """Messages that the strict decoder decided."""
    trials: int = 0
    """Transactions that were rolled back to find what the database refuses."""
    held: int = 0
    """Gateways whose windows the database refuses."""


class Transaction:
    def __init__(self, connection: psycopg.Connection, settings: Settings, now: int, held: frozenset[str]):
        self.connection = connection
        self.settings = settings
        self.held = held
        self.policy = settings.windows
        self.now = now
        self.commits: dict[str, int] = {}
        self.trusted: dict[str, bool] = {}
        self.windows = WindowRows(connection, settings.windows, now, self.commits)
        self.alerts = AlertRows(connection, settings.notifies, now)

    # Offsets

    def advance_offset(self, partition: int, since: Position, until: Position) -> None:
        topic = self.settings.kafka.topic
        if not offset_rows.advance(self.connection, topic, partition, since, until, self.now):
            raise StaleOffset(f"partition {partition} is not at {since.next} of log {since.generation} any more")

    # A batch

    def write(self, batch: Batch, announced: set[tuple[str, int]] | None) -> Summary:
        """Writes a batch. `announced` is None if it does not matter, as nothing is kept."""
        summary = Summary(messages=batch.messages.num_rows, reports=len(batch.reports), rejected=len(batch.rejected),
                          slow=batch.slow)  # fmt: skip
        stream_places = {stream: place for place, stream in enumerate(batch.streams)}
        named = named_streams(batch, stream_places)
        gateways = self.without_strangers(batch, named)
        if not gateways:
            return summary
        taken_over = self.lock(gateways, batch.partition)
        kept_since = cutoff(self.connection)
        names = batch.stream_names
        progress, is_new = self.load_streams(names, first_numbers(batch, stream_places))
        is_known = named | ~numpy.array(is_new, dtype=bool)
        note_reports(batch, stream_places, progress, [entry for entry in batch.rejected_numbers if is_known[entry[0]]])
        admitted = admit(batch, progress)

        event_time = batch.readings["event_time"]
        is_kept = admitted & (event_time >= kept_since.readings)
        summary.expired = self.add_expired(batch, admitted & ~is_kept, names)
        sensors = self.load_sensors(batch.sensor_names, taken_over)
        judged = judge(batch, numpy.flatnonzero(is_kept), sensors, self.settings.rules.quantities, self.policy)
        in_windows = ~judged.is_late if self.settings.drops_late else numpy.ones(len(judged.rows), dtype=bool)
        summary.rows = self.copy_readings(batch, judged, in_windows)
        summary.late = int(judged.is_late.sum())
        conflicts = self.conflicts(batch, admitted, kept_since.readings, announced)
        summary.conflicts = len(conflicts)
        summary.duplicates = batch.count - summary.rows - summary.expired - summary.conflicts

        self.write_windows(batch, judged, in_windows, sensors, kept_since)
        summary.windows = self.windows.count
        self.move_sensor_alerts(batch, judged, sensors)
        known = numpy.flatnonzero(is_known).tolist()
        streams = tuple([column[place] for place in known] for column in (names, progress, is_new))
        self.move_stream_alerts(*streams)
        self.move_conflict_alerts(self.note_conflicts(batch, conflicts, admitted, names))
        self.alerts.save()
        self.save_streams(*streams)
        return summary

    def without_strangers(self, batch: Batch, named: numpy.ndarray) -> list[str]:
        """The gateways of a batch, without those of which nothing is known but that rejected readings name them: who
        sends rubbish makes no rows."""
        certain = {batch.streams[place][0] for place in numpy.flatnonzero(named).tolist()}
        certain |= {gateway for gateway, _ in batch.reports}
        doubtful = [name for place, name in enumerate(batch.gateways) if place not in certain]
        found = {name for (name,) in self.connection.execute(tables.KNOWN_GATEWAYS, (doubtful,))} if doubtful else set()
        return [name for place, name in enumerate(batch.gateways) if place in certain or name in found]

    # The passing of time

    def pass_time(self, gateways: list[str], stretch: Stretch | None) -> None:
        if not gateways:
            return
        self.lock(gateways, None, inserting=False)
        sensors = self.load_sensors([], list(self.commits))
        ends = idle_through(sensors, stretch, self.settings.idle_timeout, self.policy) if stretch else None
        is_trusted = numpy.array([self.trusted[gateway] for gateway, _ in sensors.names], dtype=bool)
        stand = outlook(self.policy, sensors, is_trusted, idle_through=ends)
        self.windows.settle(sensors.names, stand, None, cutoff(self.connection))
        sensors.final_through = stand.final_after
        self.save_states(sensors, numpy.flatnonzero(stand.final_after != stand.final_before))
        silent = self.silent_sensors(list(self.commits), stretch)
        alerts = self.alerts.of_sensors([(gateway, sensor) for gateway, sensor, _, _ in silent])
        for gateway, sensor, since, interval in silent:
            alerts[gateway, sensor].look(stretch.through, since, interval, self.settings.rules.silence)
        self.alerts.save()

    def silent_sensors(self, gateways: list[str], stretch: Stretch | None) -> list[tuple[str, str, int, int]]:
        """The sensors whose silence becomes an alert, each with the beginning of its silence and its interval."""
        rule, found = self.settings.rules.silence, []
        if rule and stretch:
            for gateway, sensor, _, interval, _, arrival, *_ in self.connection.execute(
                tables.SPEAKING_SENSORS, (gateways,)
            ):
                since = max(stretch.since, arrival)
                if stretch.through - since >= rule.limit(interval):
                    found.append((gateway, sensor, since, interval))
        return found

    # Gateways

    def lock(self, gateways: Sequence[str], partition: int | None, inserting: bool = True) -> list[str]:
        """Locks gateways and gives them the next commit number and a new token.

        Returns those whose windows somebody else wrote last.
        """
        # Random, and negative: this transaction leaves every due window of these gateways in its row, but of those
        # whose windows are held back.
        token = tables.new_token(self.policy.fingerprint)
        self._lock(gateways, token, partition)
        if inserting and (missing := sorted(set(gateways) - self.commits.keys(), key=str.encode)):
            self.connection.execute(tables.INSERT_GATEWAYS, (partition, missing))
            self._lock(missing, token, partition)
        return [gateway for gateway, is_trusted in self.trusted.items() if not is_trusted]

    def _lock(self, gateways: Sequence[str], token: int, partition: int | None) -> None:
        parameters = (list(gateways), sorted(self.held), -token, token, partition)
        rows = self.connection.execute(tables.LOCK_GATEWAYS, parameters)
        for gateway, commit, previous_token in rows:
            self.commits[gateway] = commit
            # Of a gateway whose row was just made there is nothing that could be behind.
            self.trusted[gateway] = commit == 1 or tables.is_trusted(previous_token, self.policy.fingerprint)

    # Streams

    def load_streams(
        self, names: list[tuple[str, int]], first: numpy.ndarray
    ) -> tuple[list[StreamProgress], list[bool]]:
        """The progress of streams, and which of them have no row yet."""
        columns = ([gateway for gateway, _ in names], [f"{bits:016x}" for _, bits in names])
        found = {row[:2]: row[2:] for row in self.connection.execute(tables.STREAMS, columns)}
        losses: dict[tuple[str, str], list[LossRange]] = {}
        if found:
            known = list(found)
            for gateway, stream, *loss in self.connection.execute(
                tables.LOSSES, ([name[0] for name in known], [name[1] for name in known])
            ):
                first_number, last, before, after, reason = loss
                losses.setdefault((gateway, stream), []).append(
                    LossRange(first_number, last, reason_of(reason), before, after)
                )
        progress, is_new = [], []
        for place, name in enumerate(zip(*columns, strict=True)):
            row = found.get(name)
            is_new.append(row is None)
            if row is None:
                progress.append(StreamProgress(first=int(first[place])))
                continue
            first_number, last, last_event_time, end, previous, is_previous_known = row
            told = stream_before(int(previous, 16)) if previous else NO_STREAM if is_previous_known else NOT_TOLD
            progress.append(StreamProgress(first_number, last, last_event_time, end, told, losses.get(name, ())))
        return progress, is_new

    def save_streams(self, names, progress: list[StreamProgress], is_new: list[bool]) -> None:
        changed = [place for place, state in enumerate(progress) if is_new[place] or state.is_changed]
        if not changed:
            return
        rows, gone, new = [], [], []
        for place in changed:
            (gateway, bits), state = names[place], progress[place]
            stream = f"{bits:016x}"
            previous = f"{state.previous[1]:016x}" if state.previous[0] == 2 else None
            rows.append((gateway, stream, state.first, state.last, state.last_event_time, state.end, previous,
                         state.previous != NOT_TOLD, state.losses.numbers, self.now))  # fmt: skip
            removed, written_ = state.ranges_to_write()
            gone += [(gateway, stream, first) for first in removed]
            new += [(gateway, stream, loss.first, loss.last, loss.time_before, loss.time_after, REASONS[loss.reason],
                     self.now) for loss in written_]  # fmt: skip
        self.connection.execute(tables.SAVE_STREAMS, columns_of(rows))
        if gone:
            self.connection.execute(tables.DELETE_LOSSES, columns_of(gone))
        if new:
            self.connection.execute(tables.INSERT_LOSSES, columns_of(new))

    def add_expired(self, batch: Batch, is_expired: numpy.ndarray, names) -> int:
        places, counts = numpy.unique(batch.readings["stream"][is_expired], return_counts=True)
        if len(places):
            rows = [(names[place][0], f"{names[place][1]:016x}", count)
                    for place, count in zip(places.tolist(), counts.tolist(), strict=True)]  # fmt: skip
            self.connection.execute(tables.ADD_EXPIRED, columns_of(rows))
        return int(is_expired.sum())

    # Rows

    def copy_readings(self, batch: Batch, judged: Judged, in_windows: numpy.ndarray) -> int:
        """Writes the rows, in the order of their offsets."""
        count = len(judged.rows)
        if not count:
            return 0
        order = numpy.argsort(judged.rows)
        rows = judged.rows[order]
        readings = batch.readings
        sensor, stream = readings["sensor"][rows], readings["stream"][rows]
        gateway_of_sensor = numpy.array([gateway for gateway, _ in batch.sensors], dtype=numpy.int32)
        gateway = gateway_of_sensor[sensor]
        # A stranger has no commits, and no readings.
        commit = numpy.array([self.commits.get(name, 0) for name in batch.gateways], dtype=numpy.int64)
        has = readings["quantities"][rows]

        def texts(codes, values):
            return codes, native.Dictionary([value.encode() for value in values])

        def constant(value, kind):
            return numpy.full(count, value, dtype=kind), None

        columns = {
            "gateway_id": texts(gateway, batch.gateways),
            "sensor_id": texts(sensor, [name for _, name in batch.sensors]),
            "stream_id": texts(stream, [f"{bits:016x}" for _, bits in batch.streams]),
            "seq": (readings["sequence"][rows], None),
            "event_time": ((readings["event_time"][rows] - _EPOCH_2000) * 1000, None),
            "time_quality": texts(readings["is_estimated"][rows], ("synced", "estimated")),
            "interval_ms": (readings["interval"][rows].astype(numpy.int32), None),
            "faults": (readings["faults"][rows], native.Dictionary([_text_array(faults) for faults in batch.faults])),
            "latitude": (readings["latitude"][rows], readings["has_latitude"][rows] == 0),
            "longitude": (readings["longitude"][rows], readings["has_longitude"][rows] == 0),
            "simulated": (readings["is_simulated"][rows], None),
            "status": texts(judged.status[order], STATUSES),
            "late": (judged.is_late[order], None),
            "kafka_partition": constant(batch.partition, numpy.int32),
            "kafka_offset": (batch.offset[rows], None),
            "ingested_at": constant((self.now - _EPOCH_2000) * 1000, numpy.int64),
            "commit_number": (commit[gateway], None),
            "in_windows": (in_windows[order], None),
        }
        for place, name in enumerate(NAMES):
            columns[name] = (readings["values"][place, rows], has >> place & 1 == 0)
        stream = native.encode_rows([columns[name] for name in tables.READING], count)
        with self.connection.cursor().copy(tables.COPY_READINGS) as copy:
            copy.write(stream)
        return count

    # Conflicts

    def conflicts(
        self, batch: Batch, admitted: numpy.ndarray, cutoff: int, announced: set[tuple[str, int]] | None
    ) -> list[Conflict]:
        """The readings whose numbers other readings have. UnannouncedConflicts if any is neither in the rejected topic
        nor in the table."""
        differing, older = compare_within(batch, admitted, cutoff)
        differing += self._different(batch, older)
        if not differing:
            return []
        conflicts = [self._conflict(batch, row) for row in sorted(differing)]
        if announced is None:
            return conflicts
        new = {(conflict.gateway_id, conflict.own_stream): conflict for conflict in reversed(conflicts)}
        new = {name: conflict for name, conflict in new.items() if name not in announced}
        if new:
            rows = columns_of([(gateway, f"{bits:016x}") for gateway, bits in new])
            for gateway, stream in self.connection.execute(tables.KNOWN_CONFLICTS, rows):
                new.pop((gateway, int(stream, 16)))
        if new:
            raise UnannouncedConflicts(sorted(new.values(), key=lambda conflict: conflict.row))
        return conflicts

    def _different(self, batch: Batch, rows: list[int]) -> list[int]:
        """Which readings differ from the rows with their numbers, or have none at their sensor and time."""
        if not rows:
            return []
        readings = batch.readings
        times = readings["event_time"][rows].tolist()
        sensors = [batch.sensor_names[place] for place in readings["sensor"][rows].tolist()]
        streams = [batch.streams[place][1] for place in readings["stream"][rows].tolist()]
        values = [
            [
                readings["values"][place, row].item() if readings["quantities"][row] >> place & 1 else None
                for row in rows
            ]
            for place in range(len(NAMES))
        ]
        columns = (rows, [name[0] for name in sensors], [name[1] for name in sensors], times,
                   [f"{bits:016x}" for bits in streams], readings["sequence"][rows].tolist(), *values)  # fmt: skip
        found = self.connection.execute(tables.SAME_READINGS, (*columns, min(times), max(times)))
        same = {position for (position,) in found}
        return [row for row in rows if row not in same]

    def _conflict(self, batch: Batch, row: int) -> Conflict:
        readings = batch.readings
        gateway, sensor = batch.sensor_names[readings["sensor"][row]]
        has = int(readings["quantities"][row])
        values = {place: readings["values"][place, row].item() for place in range(len(NAMES)) if has >> place & 1}
        bits = own_stream(gateway, batch.streams[readings["stream"][row]][1], int(readings["sequence"][row]), sensor,
                          int(readings["event_time"][row]), values)  # fmt: skip
        return Conflict(row, gateway, bits)

    def note_conflicts(self, batch: Batch, conflicts: list[Conflict], admitted: numpy.ndarray, names) -> list[str]:
        """Writes conflicts, and settles those whose readings have come under their own streams.

        Returns the gateways of which conflicts were added or settled.
        """
        gateways = set()
        if conflicts:
            readings, rows = batch.readings, {}
            for conflict in conflicts:
                row = conflict.row
                gateway, sensor = batch.sensor_names[readings["sensor"][row]]
                rows.setdefault((gateway, conflict.own_stream), (
                    gateway, f"{conflict.own_stream:016x}", f"{batch.streams[readings['stream'][row]][1]:016x}",
                    int(readings["sequence"][row]), sensor, int(readings["event_time"][row]),
                    self.settings.kafka.topic, batch.partition, int(batch.offset[row]), self.now,
                ))  # fmt: skip
            added = self.connection.execute(tables.INSERT_CONFLICTS, columns_of(list(rows.values())))
            gateways |= {gateway for (gateway,) in added}
        own = numpy.unique(batch.readings["stream"][admitted & (batch.readings["sequence"] == 1)]).tolist()
        if own:
            rows = columns_of([(names[place][0], f"{names[place][1]:016x}") for place in own])
            settled = self.connection.execute(tables.SETTLE_CONFLICTS, (self.now, *rows))
            gateways |= {gateway for (gateway,) in settled}
        return sorted(gateways)

    # Alerts

    def move_sensor_alerts(self, batch: Batch, judged: Judged, sensors: Sensors) -> None:
        """Moves the alerts of sensors by their readings, in the order of arrival.

        A loop over the readings of sensors with which something is or becomes wrong: hysteresis is sequential. Of the
        others it sees nothing.
        """
        if not len(judged.rows):
            return
        starts = numpy.flatnonzero(numpy.diff(judged.sensor, prepend=-1))
        ends = numpy.append(starts[1:], len(judged.sensor))
        places = judged.sensor[starts].tolist()
        alerts = self.alerts.of_sensors([sensors.names[place] for place in places])
        troubles = numpy.flatnonzero(judged.status != OK)
        for place, start, end in zip(places, starts.tolist(), ends.tolist(), strict=True):
            of_sensor = alerts[sensors.names[place]]
            row = start
            while row < end:
                if not of_sensor.states and judged.status[row] == OK:
                    following = numpy.searchsorted(troubles, row)
                    row = int(troubles[following]) if following < len(troubles) else end
                    continue
                of_sensor.arrive(self.now)
                if judged.is_newest[row]:
                    self._evaluate(batch, int(judged.rows[row]), of_sensor)
                row += 1

    def _evaluate(self, batch: Batch, row: int, alerts: Alerts) -> None:
        readings = batch.readings
        has, faults = int(readings["quantities"][row]), int(readings["faults"][row])
        values = {place: readings["values"][place, row].item() for place in AGGREGATED if has >> place & 1}
        names = batch.faults[faults].split(" ") if faults >= 0 else []
        alerts.evaluate(values, names, int(readings["event_time"][row]), self.settings.rules)

    def move_stream_alerts(self, names, progress: list[StreamProgress], is_new: list[bool]) -> None:
        rule = self.settings.rules.loss
        places = [
            place for place, state in enumerate(progress)
            if (is_new[place] or state.is_changed) and (not is_new[place] or rule and len(state.losses))
        ]  # fmt: skip
        keys = [(names[place][0], "loss", f"{names[place][1]:016x}") for place in places]
        for place, alerts in zip(places, self.alerts.of_others(keys), strict=True):
            alerts.evaluate_losses(alerts.key[1], progress[place], rule)

    def move_conflict_alerts(self, gateways: list[str]) -> None:
        if not gateways:
            return
        counts = dict(self.connection.execute(tables.OPEN_CONFLICTS, (gateways,)))
        for alerts in self.alerts.of_others([(gateway, "conflict", "") for gateway in gateways]):
            alerts.evaluate_conflicts(counts[alerts.gateway_id], self.now, self.settings.rules.conflict)

    # Sensors

    def load_sensors(self, names: list[tuple[str, str]], taken_over: list[str]) -> Sensors:
        """The sensors as their rows have them, those without a row as unknown; behind them the others of gateways that
        are taken over, as far as they may have readings in open windows."""
        rows = list(self.connection.execute(tables.SENSORS, columns_of(names))) if names else []
        if taken_over:
            known = set(names)
            others = self.connection.execute(tables.OPEN_SENSORS, (taken_over, self.policy.longest))
            others = [row for row in others if row[:2] not in known]
            names, rows = names + [row[:2] for row in others], rows + others
        sensors = Sensors.unknown(names)
        self._fill(sensors, {name: place for place, name in enumerate(names)}, rows)
        return sensors

    def _fill(self, sensors: Sensors, places: dict, rows: Iterable[tuple]) -> None:
        for gateway, sensor, largest, interval, first, arrival, final, quantities, commit in rows:
            place = places[gateway, sensor]
            sensors.largest[place], sensors.interval[place] = largest, interval
            sensors.first_event_time[place], sensors.last_arrival[place] = first, arrival
            sensors.final_through[place] = NEVER if final is None else final
            sensors.last_commit[place] = commit
            sensors.quantities[place] = quantities

    def save_sensors(self, batch: Batch, judged: Judged, sensors: Sensors, newest: numpy.ndarray) -> None:
        """Writes sensors: all facts of those with a new latest reading, else only what the windows need."""
        touched = numpy.unique(judged.sensor)
        self.save_states(sensors, touched[newest[touched] < 0])
        readings, seen = batch.readings, []
        for place in touched[newest[touched] >= 0].tolist():
            row = judged.rows[newest[place]]
            has = int(readings["quantities"][row])
            faults = readings["faults"][row]
            seen.append((
                *self._state(sensors, place), int(readings["event_time"][row]), int(readings["interval"][row]),
                STATUSES[judged.status[newest[place]]],
                *(readings["values"][index, row].item() if has >> index & 1 else None for index in range(len(NAMES))),
                batch.faults[faults] if faults >= 0 else None,
                readings["latitude"][row].item() if readings["has_latitude"][row] else None,
                readings["longitude"][row].item() if readings["has_longitude"][row] else None,
                "estimated" if readings["is_estimated"][row] else "synced", bool(readings["is_simulated"][row]),
            ))  # fmt: skip
        if seen:
            self.connection.execute(tables.SAVE_SENSORS, columns_of(seen))

    def save_states(self, sensors: Sensors, places: numpy.ndarray) -> None:
        """Writes what the windows need of sensors that have a row."""
        if len(places):
            rows = [self._state(sensors, place) for place in places.tolist()]
            self.connection.execute(tables.SAVE_SENSOR_STATES, columns_of(rows))

    def _state(self, sensors: Sensors, place: int) -> tuple:
        columns = (sensors.first_event_time, sensors.last_arrival, sensors.final_through, sensors.quantities,
                   sensors.last_commit)  # fmt: skip
        return (*sensors.names[place], *(int(column[place]) for column in columns))

    # Windows

    def write_windows(
        self, batch: Batch, judged: Judged, in_windows: numpy.ndarray, sensors: Sensors, kept_since: Cutoff
    ) -> None:
        """Folds a batch into its windows, writes those that have become due, and the sensors themselves."""
        is_trusted = numpy.array([self.trusted[gateway] for gateway, _ in sensors.names], dtype=bool)
        event_time = batch.readings["event_time"][judged.rows]
        stand = outlook(self.policy, sensors, is_trusted, judged, event_time)
        is_held = numpy.array([gateway in self.held for gateway, _ in sensors.names], dtype=bool)
        panes = panes_of(batch, judged, in_windows, self.policy)
        if is_held.any():
            self.windows.settle(sensors.names, stand.without(is_held), panes, kept_since)
            # Nothing of theirs becomes final, and what late readings fall into is final no more.
            first = numpy.full(len(sensors.names), 2**62, dtype=numpy.int64)
            numpy.minimum.at(first, judged.sensor, floored(event_time, self.policy.pane))
            stand.final_after = numpy.where(is_held, numpy.minimum(stand.final, first), stand.final_after)
        else:
            self.windows.settle(sensors.names, stand, panes, kept_since)
        commit = numpy.array([self.commits[gateway] for gateway, _ in sensors.names], dtype=numpy.int64)
        newest = advance(sensors, judged, batch, self.now, commit)
        sensors.final_through = stand.final_after
        self.save_sensors(batch, judged, sensors, newest)
        is_rest = stand.final_after != stand.final_before
        is_rest[judged.sensor] = False
        self.save_states(sensors, numpy.flatnonzero(is_rest))


def _text_array(faults: str) -> bytes:
    """A text[] as array_send() writes it."""
    elements = [fault.encode() for fault in faults.split(" ")]
    text_type = 25
    head = struct.pack(">iiiii", 1, 0, text_type, len(elements), 1)
    return head + b"".join(struct.pack(">i", len(element)) + element for element in elements)
