"""From the messages of one partition's range to columns of readings, with what is no reading beside them."""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence

import numpy
import pyarrow

from . import native
from .quantities import QUANTITIES
from .settings import Limits
from .strict import Reading, Rejection, Report, StrictDecoder


@dataclasses.dataclass(frozen=True)
class MessageMark:
    """What is kept of a message to recognise its log."""

    offset: int
    timestamp: int | None
    """As Kafka has it, milliseconds since 1970."""
    size: int
    """The bytes of key and value."""
    checksum: int
    """CRC-32 of the key, followed by the value."""


def mark(offset: int, timestamp: int | None, key: bytes | None, value: bytes | None) -> MessageMark:
    key, value = key or b"", value or b""
    return MessageMark(offset, timestamp, len(key) + len(value), zlib.crc32(value, zlib.crc32(key)))


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A message for the rejected topic, unchanged, and why it goes there."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    rejection: Rejection
    own_stream: str | None = None
    """Of a conflict of numbers, the stream that is made for it."""


@dataclasses.dataclass
class Batch:
    """The messages of one partition's range: readings as columns in the order of arrival, with each name once."""

    partition: int
    messages: pyarrow.Table
    gateways: list[str]
    streams: list[tuple[int, int]]
    """The place of the gateway, and the stream's 64 bits."""
    sensors: list[tuple[int, str]]
    """The place of the gateway, and the sensor's name."""
    faults: list[str]
    readings: dict[str, numpy.ndarray]
    """The columns of `native.COLUMNS` without `is_reading`, and `row`, the message's place in `messages`. `values` has
    a row a quantity."""
    offset: numpy.ndarray
    """Of each reading."""
    reports: list[tuple[int, Report]]
    """With the places of their gateways."""
    rejected: list[Rejected]
    rejected_numbers: list[tuple[int, int]]
    """The numbers of rejected readings that say one, each with the place of its stream."""
    slow: int
    """How many messages the strict decoder decided."""
    report_rows: list[int] = dataclasses.field(default_factory=list)
    """The place in `messages` of each report."""

    @property
    def count(self) -> int:
        """How many readings."""
        return len(self.offset)

    @property
    def stream_names(self) -> list[tuple[str, int]]:
        return [(self.gateways[gateway], bits) for gateway, bits in self.streams]

    @property
    def sensor_names(self) -> list[tuple[str, str]]:
        return [(self.gateways[gateway], name) for gateway, name in self.sensors]

    def message(self, row: int, rejection: Rejection, own_stream: str | None = None) -> Rejected:
        """A message of the range as it came."""
        columns = {name: self.messages.column(name)[row].as_py() for name in ("offset", "key", "value", "headers")}
        headers = [(header["key"], header["value"]) for header in columns["headers"] or []]
        return Rejected(columns["offset"], columns["key"], columns["value"], headers, rejection, own_stream)

    # Parts: readings, then reports, then the numbers of rejected readings, by their places in `keeping`.

    @property
    def part_count(self) -> int:
        return self.count + len(self.reports) + len(self.rejected_numbers)

    def message_of_part(self, part: int, rejection: Rejection) -> Rejected | None:
        """The message of a part as it came; None of a rejected reading, whose message is rejected already."""
        if part < self.count:
            return self.message(int(self.readings["row"][part]), rejection)
        part -= self.count
        return self.message(self.report_rows[part], rejection) if part < len(self.reports) else None

    def keeping(self, parts: Sequence[int]) -> "Batch":
        """The same batch with only some of its parts, ascending, and only their names. Messages and rejected ones
        stay."""
        places = numpy.asarray(parts, dtype=numpy.int64)
        rows = places[places < self.count]
        others = (places[places >= self.count] - self.count).tolist()
        reports = [place for place in others if place < len(self.reports)]
        numbers = [place - len(self.reports) for place in others if place >= len(self.reports)]
        kept = dataclasses.replace(
            self, readings={name: column[..., rows] for name, column in self.readings.items()},
            offset=self.offset[rows], reports=[self.reports[place] for place in reports],
            rejected_numbers=[self.rejected_numbers[place] for place in numbers], rejected=list(self.rejected),
            report_rows=[self.report_rows[place] for place in reports],
        )  # fmt: skip
        kept._forget_names()
        return kept

    def _forget_names(self) -> None:
        """Leaves out the names that nothing in the batch has."""
        places = {stream: place for place, stream in enumerate(self.streams)}
        streams = set(numpy.unique(self.readings["stream"]).tolist())
        streams |= {place for place, _ in self.rejected_numbers}
        for gateway, report in self.reports:
            streams |= {places[gateway, told.stream_id]
                        for told in [*report.streams, *(gap for gap in report.gaps if gap.ranges)]}  # fmt: skip
        sensors = numpy.unique(self.readings["sensor"]).tolist()
        faults = [place for place in numpy.unique(self.readings["faults"]).tolist() if place >= 0]
        gateways = {self.streams[place][0] for place in streams} | {self.sensors[place][0] for place in sensors}
        gateways |= {gateway for gateway, _ in self.reports}
        new_gateway = {old: new for new, old in enumerate(sorted(gateways))}
        new_stream = {old: new for new, old in enumerate(sorted(streams))}

        def renumbered(name: str, kept: Sequence[int], count: int) -> numpy.ndarray:
            new = numpy.full(count + 1, -1, dtype=self.readings[name].dtype)
            new[list(kept)] = numpy.arange(len(kept))
            # -1, which stands for nothing, is the last one, and stays.
            return new[self.readings[name]]

        self.readings |= {
            "stream": renumbered("stream", sorted(streams), len(self.streams)),
            "sensor": renumbered("sensor", sensors, len(self.sensors)),
            "faults": renumbered("faults", faults, len(self.faults)),
        }
        self.streams = [(new_gateway[gateway], bits) for gateway, bits in
                        (self.streams[place] for place in sorted(streams))]  # fmt: skip
        self.sensors = [(new_gateway[self.sensors[place][0]], self.sensors[place][1]) for place in sensors]
        self.faults = [self.faults[place] for place in faults]
        self.gateways = [self.gateways[place] for place in sorted(gateways)]
        self.reports = [(new_gateway[gateway], report) for gateway, report in self.reports]
        self.rejected_numbers = [(new_stream[place], number) for place, number in self.rejected_numbers]

    def without(self, messages: Mapping[int, Rejected | None]) -> "Batch":
        """The batch without some parts, by their places, whose messages are rejected; None where that is so already.

        The numbers of readings are lost with them.
        """
        kept = self.keeping([part for part in range(self.part_count) if part not in messages])
        places = {name: place for place, name in enumerate(kept.gateways)}
        streams = {stream: place for place, stream in enumerate(kept.streams)}
        for part, message in sorted(messages.items()):
            if message is None:
                continue
            kept.rejected.append(message)
            if part < self.count:
                gateway, bits = self.streams[self.readings["stream"][part]]
                name = self.gateways[gateway]
                if name not in places:
                    places[name] = len(kept.gateways)
                    kept.gateways.append(name)
                stream = (places[name], bits)
                if stream not in streams:
                    streams[stream] = len(kept.streams)
                    kept.streams.append(stream)
                kept.rejected_numbers.append((streams[stream], int(self.readings["sequence"][part])))
        return kept

    @property
    def last(self) -> MessageMark | None:
        """The last message; None if there is none."""
        if not self.messages.num_rows:
            return None
        row = self.messages.slice(self.messages.num_rows - 1).to_pylist()[0]
        time = row["timestamp"] if row["timestampType"] >= 0 else None
        if time is not None:
            time = self.messages.column("timestamp")[-1].value // 1000
        return mark(row["offset"], time, row["key"], row["value"])


class BatchDecoder:
    """Decodes ranges. It is for one thread."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._strict = StrictDecoder(limits)
        self._library = native.library()
        self._lowest = numpy.array([low for low, _ in limits.ranges], dtype=numpy.float64)
        self._highest = numpy.array([high for _, high in limits.ranges], dtype=numpy.float64)

    def decode(self, partition: int, messages: pyarrow.Table, now: int) -> Batch:
        """The messages of a partition in the order of their offsets; `now` is in milliseconds since 1970."""
        count = messages.num_rows
        columns = {
            name: numpy.zeros((len(QUANTITIES), count) if name == "values" else count, dtype=kind)
            for name, kind in native.COLUMNS.items()
        }
        names = self._decode_fast(messages.column("value"), columns, now)
        reports, report_rows, rejected, rejected_numbers = [], [], [], []
        slow = numpy.flatnonzero(columns["is_reading"] == 0)
        batch = Batch(partition, messages, names.gateways, names.streams, names.sensors, names.faults, {},
                      numpy.empty(0, numpy.int64), reports, rejected, rejected_numbers, len(slow),
                      report_rows)  # fmt: skip
        values = messages.column("value")
        for row in slow.tolist():
            try:
                decoded = self._strict.decode(values[row].as_py(), now)
            except Rejection as rejection:
                rejected.append(batch.message(row, rejection))
                if number := self._strict.rejected_number:
                    gateway_id, stream_id, sequence = number
                    rejected_numbers.append((names.stream(names.gateway(gateway_id), stream_id), sequence))
                continue
            if isinstance(decoded, Report):
                gateway = names.gateway(decoded.gateway_id)
                reports.append((gateway, decoded))
                report_rows.append(row)
                for told in [*decoded.streams, *(gap for gap in decoded.gaps if gap.ranges)]:
                    names.stream(gateway, told.stream_id)
            else:
                names.fill(columns, row, decoded)
        rows = numpy.flatnonzero(columns.pop("is_reading"))
        batch.readings = {name: column[..., rows] for name, column in columns.items()}
        batch.readings["row"] = rows
        batch.offset = messages.column("offset").to_numpy()[rows]
        return batch

    def _decode_fast(self, values: pyarrow.ChunkedArray, columns: dict[str, numpy.ndarray], now: int) -> "_Names":
        limits = native.NativeLimits(
            self._lowest.ctypes.data, self._highest.ctypes.data, self._limits.earliest,
            now + self._limits.future_tolerance, self._limits.largest_number, self._limits.longest_interval,
        )  # fmt: skip
        pointers = native.NativeColumns(
            *(column.ctypes.data for column in columns.values()), columns["values"].shape[1]
        )
        batch = self._library.vigie_batch_new(self._limits.largest_message, native.QUANTITY_NAMES, len(QUANTITIES))
        if not batch:
            raise MemoryError("no memory for a batch")
        try:
            first = 0
            for chunk in values.chunks:
                # Without nulls the bytes of a message lie between its offsets; a null becomes an empty message.
                chunk = pyarrow.array(chunk).fill_null(b"") if chunk.null_count else chunk
                _, offsets, data = chunk.buffers()
                self._library.vigie_batch_decode(
                    batch, data.address if data else None, offsets.address + 4 * chunk.offset, len(chunk), limits,
                    pointers, first,
                )  # fmt: skip
                first += len(chunk)
            return _Names(self._library, batch)
        finally:
            self._library.vigie_batch_free(batch)


class _Names:
    """The names of a batch, each once: those that the library found, and those of messages that are read one by one."""

    def __init__(self, library, batch):
        gateway = native.c_int32()

        def gathered(kind, read):
            return [read(index) for index in range(getattr(library, f"vigie_batch_{kind}_count")(batch))]

        def sensor(index):
            name = library.vigie_batch_sensor(batch, index, gateway).decode()
            return gateway.value, name

        def stream(index):
            bits = library.vigie_batch_stream(batch, index, gateway)
            return gateway.value, bits

        self.gateways = gathered("gateway", lambda index: library.vigie_batch_gateway(batch, index).decode())
        self.sensors = gathered("sensor", sensor)
        self.streams = gathered("stream", stream)
        self.faults = gathered("faults", lambda index: library.vigie_batch_faults(batch, index).decode())
        self._places = [
            {name: place for place, name in enumerate(names)}
            for names in (self.gateways, self.sensors, self.streams, self.faults)
        ]

    def _place(self, kind: int, name) -> int:
        names, places = (self.gateways, self.sensors, self.streams, self.faults)[kind], self._places[kind]
        if name not in places:
            places[name] = len(names)
            names.append(name)
        return places[name]

    def gateway(self, name: str) -> int:
        return self._place(0, name)

    def stream(self, gateway: int, bits: int) -> int:
        return self._place(2, (gateway, bits))

    def fill(self, columns: dict[str, numpy.ndarray], row: int, reading: Reading) -> None:
        gateway = self.gateway(reading.gateway_id)
        bits = 0
        for index, value in reading.values.items():
            bits |= 1 << index
            columns["values"][index, row] = value
        entries = {
            "is_reading": 1, "stream": self.stream(gateway, reading.stream_id),
            "sensor": self._place(1, (gateway, reading.sensor_id)),
            "faults": -1 if reading.faults is None else self._place(3, reading.faults),
            "sequence": reading.sequence, "stream_first": reading.stream_first, "event_time": reading.event_time,
            "interval": reading.interval, "is_estimated": reading.is_estimated, "is_simulated": reading.is_simulated,
            "has_latitude": reading.latitude is not None, "has_longitude": reading.longitude is not None,
            "quantities": bits, "latitude": reading.latitude or 0, "longitude": reading.longitude or 0,
        }  # fmt: skip
        for name, value in entries.items():
            columns[name][row] = value
