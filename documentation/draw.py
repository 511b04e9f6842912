#!/usr/bin/env python3
"""Draws architecture.svg beside this file: the way of a reading. It follows the reader's choice of light or dark."""

import html
import pathlib

WIDTH, HEIGHT = 1290, 600
STYLE = """
svg { --ground: #ffffff; --ink: #1b2430; --quiet: #56616e; --line: #7b8794; --place: #f3f5f7; --part: #ffffff;
  --durable: #e3f1fb; --edge: #0072b2; }
@media (prefers-color-scheme: dark) {
  svg { --ground: #11161c; --ink: #e6eaee; --quiet: #a9b4c0; --line: #76828f; --place: #1a212a; --part: #232c37;
    --durable: #12344a; --edge: #56b4e9; } }
text { font: 15px system-ui, "DejaVu Sans", sans-serif; fill: var(--ink); }
.title { font-size: 18px; font-weight: 600; }
.small { font-size: 13px; fill: var(--quiet); }
.step { font-weight: 700; fill: var(--edge); }
.place { fill: var(--place); stroke: var(--line); }
.part { fill: var(--part); stroke: var(--line); }
.durable { fill: var(--durable); stroke: var(--edge); stroke-width: 2; }
.arrow { fill: none; stroke: var(--edge); stroke-width: 2.5; }
.back { fill: none; stroke: var(--line); stroke-width: 2; stroke-dasharray: 6 5; }
""".strip()


class Drawing:
    def __init__(self):
        self.parts = []

    def box(self, kind, x, y, width, height, title, *lines, size="") -> None:
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>')
        self.text(x + 14, y + 26, title, "title" if kind == "place" else size)
        for number, line in enumerate(lines):
            self.text(x + 14, y + 47 + 19 * number, line, "small")

    def text(self, x, y, text, kind="", anchor="start") -> None:
        self.parts.append(f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{html.escape(text)}</text>')

    def arrow(self, kind, *points) -> None:
        line = " ".join(f"{x},{y}" for x, y in points)
        tip = "tip" if kind == "arrow" else "quiet-tip"
        self.parts.append(f'<polyline class="{kind}" points="{line}" marker-end="url(#{tip})"/>')

    def svg(self) -> str:
        markers = "".join(
            f'<marker id="{name}" markerUnits="userSpaceOnUse" markerWidth="12" markerHeight="12" refX="10" refY="6" '
            f'orient="auto"><path d="M0,0 L12,6 L0,12 z" style="fill: var({colour})"/></marker>'
            for name, colour in (("tip", "--edge"), ("quiet-tip", "--line"))
        )
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            f'role="img" aria-label="The way of a reading from a chip to a row">\n<style>\n{STYLE}\n</style>\n'
            f'<defs>{markers}</defs>\n<rect width="{WIDTH}" height="{HEIGHT}" style="fill: var(--ground)"/>\n'
            f"{body}\n</svg>\n"
        )


def architecture() -> Drawing:
    drawing = Drawing()
    # The board.
    drawing.box("place", 20, 20, 360, 560, "A board: vigie-gateway")
    drawing.box(
        "part",
        40,
        64,
        320,
        74,
        "Chips",
        "BME280, SCD41, SHT4x and others on I2C;",
        "or their twins behind the same drivers",
    )
    drawing.box(
        "part",
        40,
        170,
        320,
        74,
        "Drivers and schedule",
        "a thread a bus; all chips of a station at once,",
        "at the slots of its interval",
    )
    drawing.box(
        "durable",
        40,
        276,
        320,
        112,
        "Outbox (SQLite)",
        "synced to disk before anything else sees it;",
        "gives the number: stream_id, seq.",
        "Bounded: the oldest go, counted",
    )
    drawing.box(
        "part",
        40,
        420,
        320,
        94,
        "Publisher",
        "in order, idempotent producer, acks=all;",
        "deletes what the broker acknowledged",
    )
    drawing.arrow("arrow", (200, 138), (200, 168))
    drawing.arrow("arrow", (200, 244), (200, 274))
    drawing.arrow("arrow", (150, 388), (150, 418))
    drawing.arrow("back", (250, 420), (250, 391))
    drawing.text(264, 409, "delete", "small")
    drawing.text(40, 552, "Sampling does not wait for the network.", "small")
    # Kafka.
    drawing.box("place", 430, 20, 240, 560, "Apache Kafka")
    drawing.box(
        "durable",
        450,
        250,
        200,
        112,
        "sensor.readings",
        "partitions by gateway_id;",
        "a reading may be there",
        "twice, after a crash",
    )
    drawing.box("part", 450, 420, 200, 94, "sensor.readings.", size="")
    drawing.text(464, 466, "rejected")
    drawing.text(464, 489, "as it came, with the reason", "small")
    drawing.arrow("arrow", (360, 467), (405, 467), (405, 306), (447, 306))
    # The centre.
    drawing.box("place", 720, 20, 550, 560, "The centre: vigie-processor")
    drawing.box(
        "part", 740, 64, 220, 112, "Fetcher", "a thread a worker; reads", "from the offsets that", "PostgreSQL has"
    )
    drawing.box(
        "part",
        1000,
        64,
        240,
        112,
        "Decoder",
        "strict; what is no reading",
        "goes to the rejected topic",
        "before the batch commits",
    )
    drawing.arrow("arrow", (650, 306), (695, 306), (695, 120), (737, 120))
    drawing.arrow("arrow", (960, 120), (997, 120))
    drawing.arrow("back", (1240, 150), (1255, 150), (1255, 548), (695, 548), (695, 467), (653, 467))
    drawing.box("durable", 740, 214, 500, 232, "One PostgreSQL transaction a batch")
    steps = (
        "offsets: compare-and-set on consumed_offset",
        "lock the gateways, check their tokens, load what the batch needs",
        "admit each number once: rows by COPY, late or not",
        "late: fold into their final windows",
        "windows: the final ones, and open ones when due",
        "sensors, alerts, webhook's notifications",
        "streams, holes; commit",
    )
    for number, step in enumerate(steps):
        drawing.text(758, 268 + 25 * number, str(number + 1), "step")
        drawing.text(782, 268 + 25 * number, step)
    drawing.arrow("arrow", (1120, 176), (1120, 212))
    drawing.arrow("back", (800, 214), (800, 179))
    drawing.text(812, 202, "where to go on", "small")
    drawing.box("part", 740, 470, 240, 60, "Dashboard", "reads the tables as vigie_reader")
    drawing.box("part", 1000, 470, 240, 60, "verify", "recomputes, prints a certificate")
    drawing.arrow("arrow", (850, 446), (850, 468))
    drawing.arrow("arrow", (1120, 446), (1120, 468))
    return drawing


if __name__ == "__main__":
    (pathlib.Path(__file__).parent / "architecture.svg").write_text(architecture().svg())
