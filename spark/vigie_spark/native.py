"""The library that `native/build` makes: the project's parser, the columns of a batch, and rows for COPY."""

import ctypes
import functools
import os
import pathlib
from ctypes import POINTER, Structure, c_bool, c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint32, c_void_p

import numpy

from .quantities import NAMES

MAXIMUM_QUANTITIES = 12
MAXIMUM_FAULTS = 64

# The fields of the contract in the parser's numbering.
FIELDS = ("schema", "gateway_id", "sensor_id", "stream_id", "seq", "stream_first", "event_time", "time_quality",
          "interval_ms")  # fmt: skip
FIRST_QUANTITY = len(FIELDS)
FAULTS = FIRST_QUANTITY + MAXIMUM_QUANTITIES
LATITUDE, LONGITUDE = FAULTS + 1, FAULTS + 2

PARSED, NOT_JSON, NOT_UTF8, NOT_AN_OBJECT, WRONG_TYPE, DUPLICATE_FIELD, TOO_MANY_FAULTS, MISSING_PART, TOO_MANY_PARTS, \
    NO_MEMORY = range(10)  # fmt: skip

QUANTITY_NAMES = ",".join(NAMES).encode()


class Text(Structure):
    """Bytes that stay valid until the parser's next call."""

    _fields_ = [("bytes", c_void_p), ("count", c_size_t)]

    @property
    def value(self) -> bytes:
        return ctypes.string_at(self.bytes, self.count) if self.bytes else b""


class ReportStream(Structure):
    _fields_ = [("stream_id", Text), ("previous", Text), ("first", c_int64), ("last", c_int64), ("has_last", c_bool),
                ("has_previous", c_bool)]  # fmt: skip


class ReportGap(Structure):
    _fields_ = [("stream_id", Text), ("reason", Text), ("first_range", c_size_t), ("range_count", c_size_t)]


class ReportRange(Structure):
    _fields_ = [("first", c_int64), ("last", c_int64)]


class Report(Structure):
    _fields_ = [("streams", POINTER(ReportStream)), ("gaps", POINTER(ReportGap)), ("ranges", POINTER(ReportRange)),
                ("stream_count", c_size_t), ("gap_count", c_size_t), ("range_count", c_size_t)]  # fmt: skip


class Message(Structure):
    """What the parser makes of one message: `vigie_message`."""

    _fields_ = [
        ("present", c_uint32), ("field", c_int32), ("part", c_char_p), ("is_report", c_bool), ("report", Report),
        ("stream_first", c_int64), ("schema", c_int64), ("seq", c_int64), ("interval_ms", c_int64),
        ("gateway_id", Text), ("sensor_id", Text), ("stream_id", Text), ("event_time", Text), ("time_quality", Text),
        ("quantities", c_double * MAXIMUM_QUANTITIES), ("latitude", c_double), ("longitude", c_double),
        ("simulated", c_bool), ("fault_count", c_uint32), ("faults", Text * MAXIMUM_FAULTS),
    ]  # fmt: skip

    def has(self, field: int) -> bool:
        return bool(self.present >> field & 1)


class NativeLimits(Structure):
    _fields_ = [("lowest", c_void_p), ("highest", c_void_p), ("earliest", c_int64), ("latest", c_int64),
                ("largest_number", c_int64), ("longest_interval", c_int64)]  # fmt: skip


# The columns of a batch with their types, in the order of `vigie_columns`; `values` has one row a quantity.
COLUMNS = {
    "is_reading": numpy.uint8, "stream": numpy.int32, "sensor": numpy.int32, "faults": numpy.int32,
    "sequence": numpy.int64, "stream_first": numpy.int64, "event_time": numpy.int64, "interval": numpy.int64,
    "is_estimated": numpy.uint8, "is_simulated": numpy.uint8, "has_latitude": numpy.uint8,
    "has_longitude": numpy.uint8, "quantities": numpy.uint32, "values": numpy.float64, "latitude": numpy.float64,
    "longitude": numpy.float64,
}  # fmt: skip


class NativeColumns(Structure):
    _fields_ = [*((name, c_void_p) for name in COLUMNS), ("stride", c_size_t)]


class CopyColumn(Structure):
    _fields_ = [("numbers", c_void_p), ("is_null", c_void_p), ("width", c_size_t), ("codes", c_void_p),
                ("dictionary", c_void_p), ("dictionary_offsets", c_void_p)]  # fmt: skip


class LibraryMissing(Exception):
    """The library is not built, or not where it is looked for."""


def library_path() -> pathlib.Path:
    """VIGIE_SPARK_LIBRARY, else beside the package, else where `native/build` puts it in a checkout."""
    if named := os.environ.get("VIGIE_SPARK_LIBRARY"):
        return pathlib.Path(named)
    package = pathlib.Path(__file__).resolve().parent
    beside = package / "libvigie_spark.so"
    return beside if beside.exists() else package.parent.parent / ".vigie" / "spark" / "libvigie_spark.so"


@functools.cache
def library() -> ctypes.CDLL:
    """The library, loaded once in a process; LibraryMissing if there is none."""
    path = library_path()
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        raise LibraryMissing(f"{path} cannot be loaded ({error}): run spark/native/build") from None
    signatures = {
        "vigie_parser_new": (c_void_p, [c_size_t, c_char_p]),
        "vigie_parser_free": (None, [c_void_p]),
        "vigie_parse": (c_int32, [c_void_p, c_char_p, c_size_t, POINTER(Message)]),
        "vigie_field_name": (c_char_p, [c_void_p, c_int32]),
        "vigie_batch_new": (c_void_p, [c_size_t, c_char_p, c_size_t]),
        "vigie_batch_free": (None, [c_void_p]),
        "vigie_batch_decode": (c_size_t, [c_void_p, c_void_p, c_void_p, c_size_t, POINTER(NativeLimits),
                                          POINTER(NativeColumns), c_size_t]),
        "vigie_batch_gateway_count": (c_size_t, [c_void_p]),
        "vigie_batch_gateway": (c_char_p, [c_void_p, c_size_t]),
        "vigie_batch_sensor_count": (c_size_t, [c_void_p]),
        "vigie_batch_sensor": (c_char_p, [c_void_p, c_size_t, POINTER(c_int32)]),
        "vigie_batch_stream_count": (c_size_t, [c_void_p]),
        "vigie_batch_stream": (ctypes.c_uint64, [c_void_p, c_size_t, POINTER(c_int32)]),
        "vigie_batch_faults_count": (c_size_t, [c_void_p]),
        "vigie_batch_faults": (c_char_p, [c_void_p, c_size_t]),
        "vigie_copy_size": (c_size_t, [POINTER(CopyColumn), c_size_t, c_size_t]),
        "vigie_copy_encode": (None, [POINTER(CopyColumn), c_size_t, c_size_t, c_void_p]),
    }  # fmt: skip
    for name, (result, arguments) in signatures.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


# MARK: COPY


class Dictionary:
    """Values of a column that are written as they are, each once."""

    def __init__(self, values: list[bytes]):
        self.bytes = numpy.frombuffer(b"".join(values) or b"\0", dtype=numpy.uint8)
        self.offsets = numpy.zeros(len(values) + 1, dtype=numpy.int64)
        self.offsets[1:] = numpy.cumsum([len(value) for value in values])


def encode_rows(columns: list[tuple], count: int) -> memoryview:
    """Rows as the stream that `COPY ... FROM STDIN (FORMAT binary)` takes.

    A column is (codes, Dictionary), codes below zero for NULL, or (numbers, where NULL) with None for nowhere. Numbers
    are written with the width of their type, true or false as a byte.
    """
    natives = (CopyColumn * len(columns))()
    kept = []  # What the pointers point to.
    for native, (first, second) in zip(natives, columns, strict=True):
        if isinstance(second, Dictionary):
            codes = numpy.ascontiguousarray(first, dtype=numpy.int32)
            native.codes, native.dictionary = codes.ctypes.data, second.bytes.ctypes.data
            native.dictionary_offsets = second.offsets.ctypes.data
            kept += [codes, second]
        else:
            numbers = numpy.ascontiguousarray(first)
            native.numbers, native.width = numbers.ctypes.data, numbers.itemsize
            kept.append(numbers)
            if second is not None:
                is_null = numpy.ascontiguousarray(second, dtype=numpy.uint8)
                native.is_null = is_null.ctypes.data
                kept.append(is_null)
        if len(kept[-1] if not isinstance(kept[-1], Dictionary) else kept[-2]) != count:
            raise ValueError("columns of different lengths")
    stream = numpy.empty(library().vigie_copy_size(natives, len(columns), count), dtype=numpy.uint8)
    library().vigie_copy_encode(natives, len(columns), count, stream.ctypes.data)
    return memoryview(stream)
