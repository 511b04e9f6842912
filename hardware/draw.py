#!/usr/bin/env python3
"""Draws wiring.svg and multiplexer.svg beside this file. Both have a light ground of their own, so that wires keep
their usual colours on a dark page too."""

import html
import pathlib

WIRE = {
    "3V3": "#d62828", "GND": "#1d1d1d", "SDA": "#1f6fd6", "SCL": "#d99a00", "power": "#8a3fc9", "light": "#1c8f4e",
    "input": "#d9640d", "charge": "#8b5a2b", "5V": "#e0559b", "cell": "#0e8f94",
}  # fmt: skip


class Drawing:
    def __init__(self, width, height, title):
        self.title = html.escape(title)
        self.size = (width, height)
        self.parts = []
        self.text(28, 40, title, "title")

    def wire(self, kind, *points, width=3):
        line = " ".join(f"{x},{y}" for x, y in points)
        self.parts.append(
            f'<polyline points="{line}" fill="none" stroke="{WIRE[kind]}" stroke-width="{width}" '
            'stroke-linejoin="round" stroke-linecap="round"/>'
        )

    def dot(self, kind, x, y):
        self.parts.append(f'<circle cx="{x}" cy="{y}" r="5" fill="{WIRE[kind]}"/>')

    def text(self, x, y, text, style="", anchor="start"):
        self.parts.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}" class="{style}">{html.escape(text)}</text>')

    def box(self, x, y, width, height, style="part"):
        self.parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" class="{style}"/>')

    def resistor(self, x, y, label, vertical=True, side=14):
        """Centred on (x, y), 40 long."""
        w, h = (14, 40) if vertical else (40, 14)
        self.parts.append(f'<rect x="{x - w / 2}" y="{y - h / 2}" width="{w}" height="{h}" class="resistor"/>')
        if vertical:
            self.text(x + side, y + 5, label, "small", "start" if side > 0 else "end")
        else:
            self.text(x, y - 13, label, "small", "middle")

    def ground(self, x, y):
        self.wire("GND", (x, y), (x, y + 10))
        for step, half in enumerate((12, 7, 3)):
            self.wire("GND", (x - half, y + 10 + 6 * step), (x + half, y + 10 + 6 * step))

    def pin(self, x, y, number, name, kind):
        """A pin of the board's header: its number in a circle on the edge, its name inside."""
        self.parts.append(f'<circle cx="{x}" cy="{y}" r="13" fill="#fff" stroke="{WIRE[kind]}" stroke-width="3"/>')
        self.text(x, y + 5, str(number), "pin", "middle")
        self.text(x - 22, y + 5, name, "name", "end")

    def board(self, x, y, width, height, title, lines, pins):
        """A breakout; `pins` are (name, offset in x) on its upper edge."""
        self.box(x, y, width, height)
        for name, at in pins:
            self.text(x + at, y + 18, name, "tiny", "middle")
        self.text(x + width / 2, y + 50, title, "heading", "middle")
        for index, line in enumerate(lines):
            self.text(x + width / 2, y + 72 + 18 * index, line, "small", "middle")

    def svg(self):
        width, height = self.size
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
            f'font-family="DejaVu Sans, Verdana, sans-serif"><title>{self.title}</title>',
            "<style>text{font-size:15px;fill:#1d1d1d}.title{font-size:22px;font-weight:bold}"
            ".heading{font-size:17px;font-weight:bold}.name{font-size:15px}.small{font-size:13px;fill:#333}"
            ".tiny{font-size:11px;fill:#333}.pin{font-size:13px;font-weight:bold}"
            ".part{fill:#eef2f7;stroke:#5b6b7f;stroke-width:1.5}.host{fill:#e3efe3;stroke:#4f7f55;stroke-width:2}"
            ".resistor{fill:#fff;stroke:#1d1d1d;stroke-width:2}</style>",
            f'<rect x="2" y="2" width="{width - 4}" height="{height - 4}" rx="14" fill="#fbfbf8" stroke="#c9c9c0"/>',
            *self.parts, "</svg>", "",
        ])  # fmt: skip


RAILS = [("3V3", 130), ("SDA", 175), ("SCL", 220), ("GND", 265)]


def drops(drawing, x, y, kinds=("3V3", "SDA", "SCL", "GND"), first=20, step=30, rails=None):
    """A breakout's four wires to the rails; returns its pins."""
    rails = rails or dict(RAILS)
    names = {"3V3": "VIN", "GND": "GND", "SDA": "SDA", "SCL": "SCL"}
    for index, kind in enumerate(kinds):
        at = x + first + step * index
        drawing.wire(kind, (at, rails[kind]), (at, y))
        drawing.dot(kind, at, rails[kind])
    return [(names[kind], first + step * index) for index, kind in enumerate(kinds)]


def wiring():
    d = Drawing(1280, 860, "Vigie reference station")
    edge = 250
    d.box(40, 80, 210, 740, "host")
    d.text(145, 108, "Raspberry Pi", "heading", "middle")
    d.text(60, 290, "1.8 kΩ to 3V3 on", "small")
    d.text(60, 307, "SDA and SCL: on board", "small")
    rail = dict(RAILS)

    # Supply and bus, through the switches, to the sensors' rails.
    d.wire("3V3", (edge, 130), (365, 130))
    d.wire("SDA", (edge, 175), (365, 175))
    d.wire("SCL", (edge, 220), (365, 220))
    for kind, y in RAILS[:3]:
        d.wire(kind, (535, y), (1250, y))
    d.wire("GND", (edge, 265), (1250, 265))
    for kind, y in RAILS:
        name = {"3V3": "3V3 switched"}.get(kind, kind)
        d.text(1248, y - 9, name, "small", "end")

    d.box(365, 85, 170, 62)
    d.text(450, 106, "Q1 P-MOSFET", "heading", "middle")
    d.text(375, 135, "S", "small")
    d.text(525, 135, "D", "small", "end")
    d.text(450, 135, "load switch", "small", "middle")
    d.box(365, 158, 170, 80)
    d.text(450, 184, "Q2, Q3 N-MOSFETs", "small", "middle")
    d.text(450, 204, "gates: 3V3 switched;", "small", "middle")
    d.text(450, 222, "no bus without supply", "small", "middle")

    # To the gate of Q1.
    d.wire("power", (edge, 345), (345, 345), (345, 152), (450, 152), (450, 147))
    d.wire("power", (345, 345), (410, 345))
    d.dot("power", 345, 345)
    d.resistor(430, 345, "R1 100 kΩ", vertical=False)
    d.text(497, 350, "holds it on", "small")
    d.resistor(345, 308, "R3 10 kΩ")
    d.wire("GND", (450, 345), (475, 345))
    d.ground(475, 345)

    # Pull-ups of the sensors' side.
    for x, kind in ((556, "SDA"), (586, "SCL")):
        d.wire("3V3", (x, 130), (x, 133))
        d.dot("3V3", x, 130)
        d.wire(kind, (x, 173), (x, rail[kind]))
        d.dot(kind, x, rail[kind])
        d.resistor(x, 153, "")

    d.text(543, 118, "R4, R5 10 kΩ", "small")

    # The status light.
    d.wire("light", (edge, 430), (320, 430))
    d.resistor(340, 430, "R2 1 kΩ", vertical=False)
    d.wire("light", (360, 430), (400, 430))
    d.parts.append('<path d="M400,416 L400,444 L424,430 Z" fill="#1c8f4e"/>')
    d.wire("light", (424, 416), (424, 444))
    d.wire("GND", (424, 430), (475, 430))
    d.ground(475, 430)
    d.text(412, 408, "LED", "small", "middle")

    # The sensors.
    top = 400
    x = 610
    for title, lines in (
        ("BME280", ["0x76 (SDO: GND)", "air pressure"]),
        ("SCD41", ["0x62", "CO₂"]),
        ("SHT4x", ["0x44", "temperature,", "humidity"]),
        ("ADS1115", ["0x48 (ADDR: GND)", "cell voltage"]),
    ):
        width = 150
        pins = drops(d, x, top, first=22, step=35)
        d.board(x, top, width, 120, title, lines, pins)
        x += 163
    ads = 610 + 3 * 163
    d.text(ads + 75, top + 112, "A0", "tiny", "middle")

    # The cell and its divider.
    a0 = ads + 75
    d.wire("cell", (a0, top + 120), (a0, 640))
    d.dot("cell", a0, 580)
    d.wire("GND", (a0, 580), (a0 + 45, 580), (a0 + 45, 588))
    d.parts.append(f'<path d="M{a0 + 33},590 h24 M{a0 + 33},598 h24" stroke="#1d1d1d" stroke-width="3"/>')
    d.ground(a0 + 45, 600)
    d.text(a0 + 62, 602, "C1", "small")
    d.resistor(a0, 620, "", side=14)
    d.text(a0 - 14, 625, "R7 100 kΩ", "small", "end")
    d.ground(a0, 640)
    d.wire("cell", (a0, 550), (a0 - 135, 550))
    d.dot("cell", a0, 550)
    d.resistor(a0 - 155, 550, "R6 100 kΩ", vertical=False)
    cell = 870
    d.wire("cell", (a0 - 175, 550), (cell, 550), (cell, 660))
    d.dot("cell", cell, 622)

    d.box(cell - 70, 660, 140, 90)
    d.text(cell, 690, "Li-ion cell", "heading", "middle")
    d.text(cell, 712, "protected, fused", "small", "middle")
    d.text(cell + 8, 654, "+", "heading")
    d.text(cell + 8, 772, "−", "heading")
    d.wire("GND", (cell, 750), (cell, 790))

    # The charger and its outputs.
    d.box(375, 560, 260, 215)
    d.text(505, 586, "Charger with power path", "heading", "middle")
    d.text(490, 608, "and 5 V converter", "heading", "middle")
    d.text(623, 627, "BAT", "small", "end")
    d.wire("cell", (635, 622), (cell, 622))
    for y, number, name, kind, label in (
        (645, 11, "GPIO17 power good", "input", "PG: low while power from outside is good"),
        (685, 13, "GPIO27 charging", "charge", "CHG: low while charging"),
        (725, 2, "5V", "5V", "5 V out"),
        (760, 14, "GND", "GND", "GND"),
    ):
        d.wire(kind, (edge, y), (375, y))
        d.pin(edge, y, number, name, kind)
        short = {"input": "PG, open drain", "charge": "CHG, open drain"}.get(kind, label)
        d.text(387, y + 5, short, "small")
    d.wire("GND", (505, 775), (505, 790), (cell, 790))
    d.text(623, 700, "USB-C", "small", "end")
    d.text(623, 717, "5 V in", "small", "end")
    d.wire("5V", (635, 705), (700, 705))
    d.text(706, 710, "from outside", "small")

    for y, number, name, kind in (
        (130, 1, "3V3", "3V3"), (175, 3, "GPIO2 SDA", "SDA"), (220, 5, "GPIO3 SCL", "SCL"), (265, 6, "GND", "GND"),
        (345, 15, "GPIO22 sensor power", "power"), (430, 18, "GPIO24 status light", "light"),
    ):  # fmt: skip
        d.pin(edge, y, number, name, kind)
    d.text(145, 800, "numbers are header pins", "small", "middle")
    return d


def multiplexer():
    d = Drawing(1080, 420, "Two stations with the same addresses: a TCA9548A between")
    rails = {"3V3": 100, "SDA": 140, "SCL": 180, "GND": 220}
    for kind, y in rails.items():
        d.wire(kind, (60, y), (330, y))
        d.text(
            60, y - 9, {"3V3": "3V3 switched"}.get(kind, f"{kind} (after Q2, Q3)" if kind != "GND" else kind), "small"
        )
    d.box(330, 80, 190, 240)
    d.text(400, 190, "TCA9548A", "heading", "middle")
    d.text(400, 214, "0x70: A0, A1,", "small", "middle")
    d.text(400, 232, "A2 to GND", "small", "middle")
    d.text(400, 250, "RESET to VIN", "small", "middle")
    for y, channel, name in ((100, 0, "station duct"), (250, 1, "station hall")):
        low = {"SDA": y + 10, "SCL": y + 40}
        for kind in ("SDA", "SCL"):
            d.wire(kind, (520, low[kind]), (640, low[kind]))
            d.text(512, low[kind] + 5, f"{kind[:2]}{channel}", "small", "end")
            d.text(528, low[kind] - 7, f"{kind}, 10 kΩ to 3V3", "tiny")
        d.box(640, y - 10, 380, 80)
        d.text(830, y + 22, f"{name}: channel {channel}", "heading", "middle")
        d.text(830, y + 46, "BME280 0x76   SCD41 0x62   SHT4x 0x44", "small", "middle")
    d.text(
        330,
        360,
        "Each channel has pull-ups of its own: the breakouts' are enough. VIN and GND of all sensors are on",
        "small",
    )
    d.text(
        330,
        380,
        "3V3 switched and GND. A channel's chips are reached with multiplexer: {address: 0x70, channel: 1}.",
        "small",
    )
    return d


if __name__ == "__main__":
    here = pathlib.Path(__file__).resolve().parent
    (here / "wiring.svg").write_text(wiring().svg())
    (here / "multiplexer.svg").write_text(multiplexer().svg())
