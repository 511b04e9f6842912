"""Messages that a decoder may get wrong: valid readings and reports, changed at random."""

import json
import random

from vigie_spark.strict import write_time

TOKENS = (
    "NaN", '"NaN"', "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "-0", "-0.0", "0", "5", "5.0", "5e0", "5.5",
    "05", "+5", ".5", "5.", "true", "false", "null", "[]", "{}", '""', '"5"', "[5]", '{"a":5}', "9007199254740991",
    "9007199254740992", "9223372036854775807", "9223372036854775808", "18446744073709551616", "1e18", "-1", "0.1e1",
    "604800000", "604800001", "1e1", '"a"', '"\\u0000"', '"\\ud800"', '"\\u00e9"', '"a\\u002eb"', '"synced"',
    '"estimated"', '"SYNCED"', '"a:b"', '["a:b"]', '["a:b","c"]', '[":b"]', '["a:b:c"]', '["a b:c"]', "[null]",
    '"0123456789ABCDEF"', '"0123456789abcdeg"', '"0123456789abcde"', '"' + "x" * 64 + '"', '"' + "x" * 65 + '"', "90",
    "90.0000001", "-180", "-180.5", "200", "200.00000000000003", "100.1", "1999-12-31", "1", "2",
)  # fmt: skip
TIMES = (
    "2026-11-24T08:15:30Z", "2026-11-24t08:15:30.5z", "2026-11-24T08:15:30.123456Z", "2026-11-24T08:15:30.123+01:00",
    "2026-11-24T08:15:30.123-23:59", "2026-11-24T08:15:60.000Z", "2026-11-24T08:15:61.000Z", "2026-11-24T24:00:00.000Z",
    "2026-02-29T08:15:30.123Z", "2024-02-29T08:15:30.123Z", "2026-11-31T08:15:30.123Z", "2026-11-24 08:15:30.123Z",
    "2026-11-24T08:15:30.123", "2026-11-24T08:15:30.Z", "2026-11-24T08:15:30.123Z ", "1999-12-31T23:59:59.999Z",
    "2000-01-01T00:00:00.000Z", "0000-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "2026-13-01T00:00:00.000Z",
    "2026-11-24T08:15:30.123+24:00", "2026-11-24T08:15:30.123+0100", "2026-1-24T08:15:30.123Z", "",
)  # fmt: skip
KEYS = ("schema", "gateway_id", "sensor_id", "stream_id", "seq", "stream_first", "event_time", "time_quality",
        "interval_ms", "temperature", "humidity", "co2", "pressure", "battery_level", "battery_voltage", "voc_index",
        "pm2_5", "faults", "latitude", "longitude", "simulated", "report", "unknown")  # fmt: skip
FRAGMENTS = (
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\x00",
    b" ",
    b"\n",
    b"{",
    b"}",
    b",",
    b'"',
    b"\xef\xbb\xbf",
    b"{}",
    b"x",
)


def _reading(chance: random.Random, number: int, now: int) -> dict[str, str]:
    fields = {
        "schema": 1, "gateway_id": f"g-{chance.randrange(5)}", "sensor_id": f"s-{chance.randrange(3)}",
        "stream_id": f"{chance.randrange(4):016x}", "seq": number,
        "event_time": write_time(now - chance.randrange(10**7)),
        "time_quality": chance.choice(("synced", "estimated")), "interval_ms": 1000, "temperature": 20.5,
        "humidity": 40, "co2": 411.0, "simulated": True,
    }  # fmt: skip
    if chance.random() < 0.3:
        fields |= {
            "latitude": 48.2,
            "longitude": 16.3,
            "faults": ["scd41:crc"],
            "stream_first": chance.randint(1, number),
        }
    return {key: json.dumps(value) for key, value in fields.items()}


def _report(chance: random.Random, number: int) -> dict[str, str]:
    streams = [{"stream_id": f"{place:016x}", "first": 1, "last": number, "previous": None} for place in range(2)]
    gaps = [{"stream_id": f"{9:016x}", "reason": "thinned", "ranges": [[1, number], [number + 2, number + 3]]}]
    report = json.dumps({"streams": streams, "gaps": gaps})
    for _ in range(chance.randrange(3)):
        old = chance.choice(
            ('"first"', '"last"', '"previous"', '"stream_id"', '"reason"', '"ranges"', "1", "null", "[[", "{")
        )
        new = chance.choice(
            ('"first"', '"last"', "null", "1.0", "0", "-1", '"x"', "[[", "[", "{", '"ranges": 3, "ranges"')
        )
        report = report.replace(old, new, 1)
    return {"schema": "1", "gateway_id": json.dumps(f"g-{chance.randrange(5)}"), "report": report}


def message(chance: random.Random, number: int, now: int) -> bytes | None:
    """One message. `now` is in milliseconds since 1970."""
    kind = chance.random()
    if kind < 0.01:
        return chance.choice(
            (None, b"", b"[]", b"5", b"null", b'"x"', b"{", b"}", b"x" * 65_537, b" " * 65_530 + b"{}")
        )
    fields = _report(chance, number) if kind < 0.1 else _reading(chance, number, now)
    items = list(fields.items())
    for _ in range(chance.choice((0, 0, 1, 1, 1, 2))):
        place = chance.randrange(len(items))
        match chance.randrange(7):
            case 0:
                items[place] = (items[place][0], chance.choice(TOKENS))
            case 1:
                items.append((chance.choice(KEYS), chance.choice(TOKENS)))
            case 2:
                items.pop(place)
            case 3:
                chance.shuffle(items)
            case 4:
                items = [(key, json.dumps(chance.choice(TIMES))) if key == "event_time" else (key, value)
                         for key, value in items]  # fmt: skip
            case 5:
                items.append(chance.choice(items))
            case 6:
                # The same name in another spelling.
                key = items[place][0]
                items[place] = (f"\\u{ord(key[0]):04x}{key[1:]}", items[place][1])
        if not items:
            break
    space = chance.choice(("", "", "", " ", "\n\t"))
    text = "{" + ",".join(f'{space}"{key}"{space}:{space}{value}' for key, value in items) + space + "}"
    encoded = text.encode()
    if chance.random() < 0.05:
        place = chance.randrange(len(encoded) + 1)
        encoded = encoded[:place] + chance.choice(FRAGMENTS) + encoded[place:]
    if chance.random() < 0.02:
        encoded = encoded[: chance.randrange(len(encoded))]
    return encoded


def messages(seed: int, count: int, now: int) -> list[bytes | None]:
    chance = random.Random(seed)
    made: list[bytes | None] = []
    for number in range(1, count + 1):
        if made and chance.random() < 0.05:
            # The same number again, with the same values or others.
            again = chance.choice(made) or b""
            made.append(again.replace(b"20.5", chance.choice((b"20.5", b"21.5"))))
        else:
            made.append(message(chance, number, now))
    return made
