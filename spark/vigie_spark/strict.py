"""The strict decoder: one message at a time, with the processor's reasons, for what the columns leave over.

It follows `ReadingDecoder` of the Swift package over the same parser.
"""

import calendar
import ctypes
import dataclasses
import datetime
import re

from . import native
from .quantities import QUANTITIES
from .settings import Limits


@dataclasses.dataclass(eq=False)
class Rejection(Exception):
    """Why a message is neither a reading nor a report."""

    reason: str
    detail: str
    field: str | None = None

    def __str__(self) -> str:
        """As the processor writes it to the header `vigie-detail`."""
        return f"{self.field}: {self.detail}" if self.field else self.detail


@dataclasses.dataclass(frozen=True)
class Reading:
    """A valid reading. Times are in milliseconds since 1970, values by their quantities' places."""

    gateway_id: str
    sensor_id: str
    stream_id: int
    sequence: int
    stream_first: int
    event_time: int
    is_estimated: bool
    interval: int
    values: dict[int, float]
    latitude: float | None
    longitude: float | None
    is_simulated: bool
    faults: str | None
    """Separated by spaces."""


# What a report says of the stream before another one; of two sayings the larger one holds.
NOT_TOLD, NO_STREAM = (0, 0), (1, 0)


def stream_before(stream_id: int) -> tuple[int, int]:
    return (2, stream_id)


@dataclasses.dataclass(frozen=True)
class ToldStream:
    stream_id: int
    first: int
    last: int | None
    previous: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class ToldGap:
    stream_id: int
    reason: str
    ranges: list[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Report:
    """A valid report: numbers and ranges are within the contract's bounds. Ranges may overlap and come in any order."""

    gateway_id: str
    streams: list[ToldStream]
    gaps: list[ToldGap]


_IDENTIFIER = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_FAULT = re.compile(rb"[A-Za-z0-9._-]{1,64}:[A-Za-z0-9._-]{1,64}")
_HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]{16}")
_TIME = re.compile(rb"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_REQUIRED = ("schema", "gateway_id", "sensor_id", "stream_id", "seq", "event_time", "time_quality", "interval_ms")


def read_time(text: bytes) -> int | None:
    """An RFC 3339 date-time in milliseconds since 1970, without digits beyond those; None if it is none."""
    match = _TIME.fullmatch(text)
    if not match:
        return None
    year, month, day, hour, minute, second = (int(match[index]) for index in range(1, 7))
    if not 1 <= month <= 12 or hour > 23 or minute > 59 or second > 60:
        return None
    # Year 0 is one of the Gregorian calendar's leap years; Python's calendar begins with year 1.
    leap = year if year else 2000
    if not 1 <= day <= calendar.monthrange(leap, month)[1]:
        return None
    offset = 0
    if match[8]:
        hours, minutes = int(match[9]), int(match[10])
        if hours > 23 or minutes > 59:
            return None
        offset = (hours * 60 + minutes) * (-1 if match[8] == b"-" else 1)
    days = datetime.date(leap, month, day).toordinal() - _EPOCH
    if not year:
        days -= datetime.date(2000, 1, 1).toordinal() - datetime.date(1, 1, 1).toordinal() + 366
    fraction = int((match[7] or b"0")[:3].ljust(3, b"0"))
    return days * 86_400_000 + hour * 3_600_000 + (minute - offset) * 60_000 + second * 1000 + fraction


def write_time(milliseconds: int) -> str:
    """A time as the processor writes it, from the year 0 on."""
    # Python's calendar begins with year 1; the Gregorian one repeats after 400 years.
    shift = 400 if milliseconds < -62_135_596_800_000 else 0
    day, rest = divmod(milliseconds, 86_400_000)
    date = datetime.date.fromordinal(day + _EPOCH + shift * 146_097 // 400)
    minutes, rest = divmod(rest, 60_000)
    time = f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
    return f"{date.year - shift:04d}-{date:%m-%d}T{time}Z"


class StrictDecoder:
    """Decodes messages one by one. It is for one thread."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._library = native.library()
        self._parser = self._library.vigie_parser_new(limits.largest_message, native.QUANTITY_NAMES)
        if not self._parser:
            raise MemoryError("no memory for a parser")
        self._message = native.Message()
        self._is_parsed = False

    def __del__(self):
        if getattr(self, "_parser", None):
            self._library.vigie_parser_free(self._parser)

    def decode(self, value: bytes | None, now: int) -> Reading | Report:
        """What a message is. Rejection if it is neither; `now` is in milliseconds since 1970."""
        self._is_parsed = False
        if not value:
            raise Rejection("empty", "the message has no value")
        if len(value) > self._limits.largest_message:
            raise Rejection("too_large", f"{len(value)} bytes, at most {self._limits.largest_message} are allowed")
        outcome = self._library.vigie_parse(self._parser, value, len(value), ctypes.byref(self._message))
        if outcome != native.PARSED:
            raise self._rejection(outcome)
        self._is_parsed = True
        return self._report() if self._message.is_report else self._reading(now)

    @property
    def rejected_number(self) -> tuple[str, int, int] | None:
        """The gateway, stream and number of the reading that was rejected last; None if it does not say them as the
        contract wants."""
        message = self._message
        named = all(message.has(native.FIELDS.index(name)) for name in ("schema", "gateway_id", "stream_id", "seq"))
        if not self._is_parsed or message.is_report or not named or message.schema != 1:
            return None
        gateway_id, stream_id = message.gateway_id.value, message.stream_id.value
        if not _IDENTIFIER.fullmatch(gateway_id) or not _HEXADECIMAL.fullmatch(stream_id):
            return None
        if not 1 <= message.seq <= self._limits.largest_number:
            return None
        return gateway_id.decode(), int(stream_id, 16), message.seq

    def _rejection(self, outcome: int) -> Rejection:
        message = self._message
        field = None if message.field < 0 else self._name(message.field)
        if field and message.part:
            field = f"{field}.{message.part.decode()}"
        match outcome:
            case native.NOT_UTF8:
                return Rejection("not_utf8", "the message is not UTF-8")
            case native.NOT_AN_OBJECT:
                return Rejection("not_an_object", "the message is not a JSON object")
            case native.WRONG_TYPE:
                return Rejection("wrong_type", "the value is of another type", field)
            case native.DUPLICATE_FIELD:
                return Rejection("duplicate_field", "the field stands twice", field)
            case native.TOO_MANY_FAULTS:
                return Rejection("out_of_range", f"more than {native.MAXIMUM_FAULTS} faults", field)
            case native.MISSING_PART:
                return Rejection("missing_field", "the field is missing", field)
            case native.TOO_MANY_PARTS:
                return Rejection("out_of_range", "too many of them", field)
            case native.NO_MEMORY:
                return Rejection("too_large", "no memory to parse the message")
        return Rejection("not_json", "the message is not JSON")

    def _name(self, field: int) -> str:
        return self._library.vigie_field_name(self._parser, field).decode()

    def _require(self, names: tuple[str, ...]) -> None:
        for name in names:
            if not self._message.has(native.FIELDS.index(name)):
                raise Rejection("missing_field", "the field is missing", name)
        if self._message.schema != 1:
            raise Rejection("unsupported_schema", f"found {self._message.schema}, known is 1", "schema")

    def _reading(self, now: int) -> Reading:
        message, limits = self._message, self._limits
        self._require(_REQUIRED)
        stream_id = _stream_id(message.stream_id.value, "stream_id")
        event_time = read_time(message.event_time.value)
        if event_time is None:
            raise Rejection("invalid_text", "expected an RFC 3339 date-time", "event_time")
        if event_time < limits.earliest:
            raise Rejection("out_of_range", f"{_time(event_time)} is before any sensor of Vigie", "event_time")
        if event_time > now + limits.future_tolerance:
            raise Rejection("future", f"{_time(event_time)} is in the future of {_time(now)}", "event_time")
        _check(message.seq, 1, limits.largest_number, "seq")
        first = 1
        if message.has(native.FIELDS.index("stream_first")):
            first = message.stream_first
            _check(first, 1, message.seq, "stream_first")
        _check(message.interval_ms, 1, limits.longest_interval, "interval_ms")
        gateway_id = _identifier(message.gateway_id.value, "gateway_id")
        sensor_id = _identifier(message.sensor_id.value, "sensor_id")
        quality = message.time_quality.value
        if quality not in (b"synced", b"estimated"):
            raise Rejection("invalid_text", "expected synced or estimated", "time_quality")
        values = {}
        for index, quantity in enumerate(QUANTITIES):
            if message.has(native.FIRST_QUANTITY + index):
                values[index] = message.quantities[index]
                _check_number(values[index], *limits.ranges[index], quantity.name)
        places = []
        for field, value, bound in (
            (native.LATITUDE, message.latitude, 90.0),
            (native.LONGITUDE, message.longitude, 180.0),
        ):
            if message.has(field):
                _check_number(value, -bound, bound, self._name(field))
            places.append(value if message.has(field) else None)
        faults = [message.faults[index].value for index in range(message.fault_count)]
        if not all(_FAULT.fullmatch(fault) for fault in faults):
            raise Rejection("invalid_text", "expected chip:what", "faults")
        return Reading(
            gateway_id, sensor_id, stream_id, message.seq, first, event_time, quality == b"estimated",
            message.interval_ms, values, *places, message.simulated, b" ".join(faults).decode() if faults else None,
        )  # fmt: skip

    def _report(self) -> Report:
        message = self._message
        self._require(("schema", "gateway_id"))
        gateway_id = _identifier(message.gateway_id.value, "gateway_id")
        largest = self._limits.largest_number
        report = message.report
        streams = []
        for stream in (report.streams[index] for index in range(report.stream_count)):
            stream_id = _stream_id(stream.stream_id.value, "report.streams.stream_id")
            _check(stream.first, 1, largest, "report.streams.first")
            last = None
            if stream.has_last:
                _check(stream.last, stream.first - 1, largest, "report.streams.last")
                last = stream.last
            previous = NOT_TOLD
            if stream.has_previous:
                previous = NO_STREAM
                if stream.previous.bytes:
                    before = _stream_id(stream.previous.value, "report.streams.previous")
                    if before == stream_id:
                        raise Rejection(
                            "invalid_text", "a stream does not come before itself", "report.streams.previous"
                        )
                    previous = stream_before(before)
            streams.append(ToldStream(stream_id, stream.first, last, previous))
        gaps = []
        for gap in (report.gaps[index] for index in range(report.gap_count)):
            stream_id = _stream_id(gap.stream_id.value, "report.gaps.stream_id")
            if not 1 <= gap.reason.count <= 64:
                raise Rejection("invalid_text", "expected 1 to 64 bytes", "report.gaps.reason")
            ranges = []
            for index in range(gap.first_range, gap.first_range + gap.range_count):
                first, last = report.ranges[index].first, report.ranges[index].last
                _check(first, 1, largest, "report.gaps.ranges")
                _check(last, first, largest, "report.gaps.ranges")
                ranges.append((first, last))
            gaps.append(ToldGap(stream_id, gap.reason.value.decode(), ranges))
        return Report(gateway_id, streams, gaps)


def _time(milliseconds: int) -> str:
    try:
        return write_time(milliseconds)
    except (OverflowError, ValueError):
        return str(milliseconds)


def _stream_id(text: bytes, field: str) -> int:
    if not _HEXADECIMAL.fullmatch(text):
        raise Rejection("invalid_text", "expected 16 hexadecimal digits", field)
    return int(text, 16)


def _identifier(text: bytes, field: str) -> str:
    if not _IDENTIFIER.fullmatch(text):
        raise Rejection("invalid_text", "expected 1 to 64 of A-Z a-z 0-9 . _ -", field)
    return text.decode()


def _check(value: int, lowest: int, highest: int, field: str) -> None:
    if not lowest <= value <= highest:
        raise Rejection("out_of_range", f"found {value}, allowed is {lowest} to {highest}", field)


def _check_number(value: float, lowest: float, highest: float, field: str) -> None:
    if not lowest <= value <= highest:
        raise Rejection("out_of_range", f"found {value}, allowed is {float(lowest)} to {float(highest)}", field)
