"""Sensors by place, on an outline of land that comes with the program: no tile server, no network.

The outline is made from Natural Earth's 1:50m countries, which are in the public domain.
"""

import functools
import gzip
import json
import math
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import pandas
import plotly.graph_objects as go

from vigie_dashboard.columns import each_written
from vigie_dashboard.language import Language
from vigie_dashboard.quantities import BY_NAME
from vigie_dashboard.theme import MARKERS, STATUSES, SYMBOLS, Palette

LAND = pathlib.Path(__file__).with_name("land.json.gz")
KILOMETRES_A_DEGREE = 111.32
# Below this extent the outline tells nothing, and the sensors would look further apart than they are.
SMALLEST_KILOMETRES = 0.2
# So many values can stand beside their sensors, if each has room; so many sensors are tried.
MOST_VALUES = 40
MOST_TRIED = 120
# In pixels: the narrowest map, on a phone, the radius of a marker, the height of a value's text, its width a letter.
NARROWEST = 340
RADIUS = 8
TEXT_HEIGHT = 13
LETTER_WIDTH = 6.5

# Degrees east and north of each corner.
Ring = numpy.ndarray


@functools.cache
def land() -> list[tuple[tuple[float, float, float, float], Ring]]:
    """All outlines as degrees (longitude, latitude), each with its bounds. Kept as differences of 0.01 degrees."""
    found = []
    for numbers in json.loads(gzip.decompress(LAND.read_bytes())):
        ring = numpy.cumsum(numpy.array(numbers).reshape(-1, 2), axis=0) / 100
        found.append(((*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist()), ring))
    return found


class Projection:
    """Kilometres east and north of the middle: true to scale near it, which is all that a site needs."""

    def __init__(self, longitudes: numpy.ndarray, latitudes: numpy.ndarray):
        self.longitude = (float(longitudes.min()) + float(longitudes.max())) / 2
        self.latitude = (float(latitudes.min()) + float(latitudes.max())) / 2
        self.east = KILOMETRES_A_DEGREE * max(0.05, math.cos(math.radians(self.latitude)))

    def x(self, longitude):
        return (longitude - self.longitude) * self.east

    def y(self, latitude):
        return (latitude - self.latitude) * KILOMETRES_A_DEGREE


def spread(xs: numpy.ndarray, ys: numpy.ndarray, distance: float) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Moves sensors that would cover each other onto rings around their place, `distance` apart."""
    moved_xs, moved_ys = xs.astype(float), ys.astype(float)
    places: dict[tuple[int, int], list[int]] = {}
    for row, (x, y) in enumerate(zip(xs.tolist(), ys.tolist(), strict=True)):
        places.setdefault((round(x / distance), round(y / distance)), []).append(row)
    for rows in places.values():
        if len(rows) < 2:
            continue
        x, y = xs[rows].mean(), ys[rows].mean()
        placed, ring = 0, 1
        while placed < len(rows):
            room = max(1, int(2 * math.pi * ring)) if ring > 1 or len(rows) > 6 else len(rows)
            share = min(room, len(rows) - placed)
            radius = distance * (ring if len(rows) > 2 else 0.6)
            angles = 2 * math.pi * numpy.arange(share) / share + ring
            own = rows[placed : placed + share]
            moved_xs[own], moved_ys[own] = x + radius * numpy.cos(angles), y + radius * numpy.sin(angles)
            placed, ring = placed + share, ring + 1
    return moved_xs, moved_ys


@dataclass(frozen=True)
class Ground:
    """What of the map follows from where the sensors are, and so stays from one refresh to the next."""

    # Of each sensor, in kilometres.
    xs: numpy.ndarray
    ys: numpy.ndarray
    extent: float
    # The outline of land, with gaps between its parts.
    land_xs: numpy.ndarray
    land_ys: numpy.ndarray

    @property
    def half(self) -> float:
        """Half of the height that is shown at first."""
        return self.extent * 0.68


@functools.lru_cache(maxsize=16)
def _ground(longitudes: bytes, latitudes: bytes) -> Ground:
    """From degrees as the bytes of float64."""
    longitude, latitude = numpy.frombuffer(longitudes), numpy.frombuffer(latitudes)
    projection = Projection(longitude, latitude)
    xs, ys = projection.x(longitude), projection.y(latitude)
    extent = max(SMALLEST_KILOMETRES, float(numpy.ptp(xs)) * 0.8, float(numpy.ptp(ys)))
    xs, ys = spread(xs, ys, extent * 0.055)
    return Ground(xs, ys, extent, *_outline(projection, extent * 1.5))


@dataclass(frozen=True)
class Boxes:
    """Rectangles in pixels: left, bottom, right and top of each."""

    sides: numpy.ndarray

    def meet(self, box: tuple[float, float, float, float]) -> bool:
        left, bottom, right, top = self.sides
        return bool(((left < box[2]) & (right > box[0]) & (bottom < box[3]) & (top > box[1])).any())

    def __add__(self, box: tuple[float, float, float, float]) -> "Boxes":
        return Boxes(numpy.column_stack((self.sides, box)))


def beside(x: float, y: float, width: float) -> dict[str, tuple[float, float, float, float]]:
    """Where a text of a width may stand at a marker, by Plotly's names, the best first: each with the room it takes."""
    half, near, far = width / 2, RADIUS + 1, RADIUS + 1 + TEXT_HEIGHT
    return {
        "top center": (x - half, y + near, x + half, y + far),
        "middle right": (x + near, y - TEXT_HEIGHT / 2, x + near + width, y + TEXT_HEIGHT / 2),
        "middle left": (x - near - width, y - TEXT_HEIGHT / 2, x - near, y + TEXT_HEIGHT / 2),
        "bottom center": (x - half, y - far, x + half, y - near),
    }


def with_room(
    xs: numpy.ndarray, ys: numpy.ndarray, texts: Sequence[str], order: Sequence[int], taken: Boxes
) -> tuple[list[str], list[str]]:
    """The texts that can be read beside their markers, empty for the others, and where each stands.

    Places are in pixels. In `order` each text goes where it covers no marker and no text that is there already.
    """
    shown, positions = [""] * len(texts), ["top center"] * len(texts)
    placed = 0
    for row in list(order)[:MOST_TRIED]:
        for position, box in beside(xs[row], ys[row], len(texts[row]) * LETTER_WIDTH).items():
            if not taken.meet(box):
                shown[row], positions[row], taken = texts[row], position, taken + box
                placed += 1
                break
        if placed == MOST_VALUES:
            break
    return shown, positions


def nice_length(extent: float) -> float:
    """1, 2 or 5 times a power of ten, about a quarter of an extent: for the scale."""
    wanted = extent / 4
    power = 10 ** math.floor(math.log10(wanted))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= wanted)


def figure(
    sensors: pandas.DataFrame, colour_by: str, language: Language, palette: Palette, height: int = 420
) -> go.Figure | None:
    """`colour_by` is `status` or a quantity; None if no sensor says where it is."""
    placed = sensors.dropna(subset=["latitude", "longitude"])
    if placed.empty:
        return None
    # In an order that stays, so that a sensor stays at its place as its status changes.
    placed = placed.sort_values(["gateway_id", "sensor_id"], ignore_index=True)
    ground = _ground(*(placed[name].to_numpy(float).tobytes() for name in ("longitude", "latitude")))
    placed = placed.assign(x=ground.xs, y=ground.ys)
    result = go.Figure()
    if len(ground.land_xs):
        result.add_trace(
            go.Scatter(
                x=ground.land_xs,
                y=ground.land_ys,
                mode="lines",
                fill="toself",
                fillcolor=palette.background,
                line={"color": palette.muted, "width": 0.8},
                hoverinfo="skip",
                showlegend=False,
            )
        )
    half, extent = ground.half, ground.extent
    names = _names(result, placed, extent, palette)
    if colour_by in BY_NAME:
        # On a wider map there is more room than that, and never less.
        pixel = max(2.5 * half / NARROWEST, 2 * half / height)
        _by_value(result, placed, colour_by, language, palette, names, pixel)
    else:
        _by_status(result, placed, language, palette)
    _scale(result, half, extent, language, palette)
    axis = {"visible": False, "showgrid": False, "zeroline": False}
    result.update_xaxes(**axis, range=[-half * 1.25, half * 1.25], constrain="domain")
    result.update_yaxes(**axis, range=[-half, half], scaleanchor="x", scaleratio=1)
    result.update_layout(
        height=height,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        dragmode="pan",
        plot_bgcolor=palette.surface,
        legend={"y": -0.12 if colour_by in BY_NAME else -0.02, "yanchor": "top"},
    )
    return result


def _outline(projection: Projection, half: float) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Coasts and borders around the sensors; those further away would only be sent for nothing."""
    east, north = half / projection.east, half / KILOMETRES_A_DEGREE
    west_end, east_end = projection.longitude - east, projection.longitude + east
    south_end, north_end = projection.latitude - north, projection.latitude + north
    gap = numpy.full((1, 2), numpy.nan)
    parts = [
        part
        for (west, south, right, top), ring in land()
        if not (right < west_end or west > east_end or top < south_end or south > north_end)
        for part in (ring, gap)
    ]
    degrees = numpy.concatenate(parts) if parts else numpy.empty((0, 2))
    xs, ys = projection.x(degrees[:, 0]), projection.y(degrees[:, 1])
    # Corners that fall on one point of the screen are sent once.
    screen = numpy.round(numpy.column_stack((xs, ys)) / (half / 800))
    is_kept = numpy.ones(len(xs), bool)
    is_kept[1:] = (screen[1:] != screen[:-1]).any(axis=1)
    return xs[is_kept].astype("float32"), ys[is_kept].astype("float32")


# What is said of a sensor under the pointer, beside its status.
HOVER_QUANTITIES = ("temperature", "humidity", "co2")


def _hover(placed: pandas.DataFrame, language: Language) -> list[str]:
    columns = [
        each_written(placed[name], functools.partial(language.value, name), BY_NAME[name].digits)
        for name in HOVER_QUANTITIES
    ]
    ages = each_written(placed["age"] // 1, language.ago)
    statuses = {name: f"{SYMBOLS[name]} {language.text('status.' + name)}" for name in placed["status"].unique()}
    return [
        f"<b>{sensor}</b><br>{statuses[status]} · {age}<br>{' · '.join(value for value in values if value)}"
        for sensor, status, age, *values in zip(
            placed["sensor_id"].tolist(), placed["status"].tolist(), ages, *columns, strict=True
        )
    ]


def _markers(rows: pandas.DataFrame, **others) -> go.Scatter:
    """Sensors at their places. Arrays go to the browser as bytes, which costs neither side much."""
    return go.Scatter(x=rows["x"].to_numpy(), y=rows["y"].to_numpy(), **{"mode": "markers", **others})


def _by_status(result: go.Figure, placed: pandas.DataFrame, language: Language, palette: Palette) -> None:
    # The worst on top.
    for status in reversed(STATUSES):
        rows = placed[placed["status"] == status]
        if rows.empty:
            continue
        result.add_trace(
            _markers(
                rows,
                name=f"{language.text('status.' + status)} ({language.number(len(rows))})",
                marker={
                    "symbol": MARKERS[status],
                    "size": 11 if status == "ok" else 14,
                    "color": palette.status[status],
                    "line": {"width": 2 if status == "stale" else 1, "color": palette.status[status]},
                },
                text=_hover(rows, language),
                hovertemplate="%{text}<extra></extra>",
            )
        )


def _by_value(
    result: go.Figure,
    placed: pandas.DataFrame,
    quantity: str,
    language: Language,
    palette: Palette,
    names: dict[str, tuple[float, float]],
    pixel: float,
) -> None:
    """`names` are those that stand on the map, and where; `pixel` is how many kilometres one is at the most."""
    rows = placed[placed[quantity].notna() & ~placed["is_stale"]]
    without = placed.drop(rows.index)
    if not without.empty:
        result.add_trace(
            _markers(
                without,
                name=language.text("now.no_value"),
                marker={"symbol": MARKERS["stale"], "size": 11, "color": palette.status["stale"]},
                text=_hover(without, language),
                hovertemplate="%{text}<extra></extra>",
            )
        )
    steps = [(index / (len(palette.scale) - 1), colour) for index, colour in enumerate(palette.scale)]
    digits = BY_NAME[quantity].digits
    xs, ys = placed["x"].to_numpy() / pixel, placed["y"].to_numpy() / pixel
    taken = Boxes(numpy.stack((xs - RADIUS, ys - RADIUS, xs + RADIUS, ys + RADIUS)))
    for name, (x, y) in names.items():
        half, top = len(name) * LETTER_WIDTH / 2, y / pixel - NAME_SHIFT
        taken += (x / pixel - half, top - TEXT_HEIGHT - 4, x / pixel + half, top)
    texts, positions = with_room(
        rows["x"].to_numpy() / pixel,
        rows["y"].to_numpy() / pixel,
        each_written(rows[quantity], lambda value: language.number(value, digits), digits),
        # The worst first, then as they stand.
        sorted(range(len(rows)), key=lambda row: STATUSES.index(rows["status"].iloc[row])),
        taken,
    )
    result.add_trace(
        _markers(
            rows,
            mode="markers+text",
            text=texts,
            textposition=positions,
            textfont={"size": 11, "color": palette.text},
            showlegend=False,
            marker={
                "symbol": "circle",
                "size": 14,
                "color": rows[quantity].to_numpy(float),
                "colorscale": steps,
                "line": {"width": 1, "color": palette.text},
                "colorbar": {
                    "title": {"text": language.unit(quantity), "side": "right", "font": {"size": 12}},
                    "orientation": "h",
                    "thickness": 10,
                    "len": 0.7,
                    "outlinewidth": 0,
                    "tickformat": ",.1~f",
                    "nticks": 6,
                    "x": 0,
                    "xanchor": "left",
                    "y": 0,
                    "yanchor": "top",
                },
            },
            customdata=_hover(rows, language),
            hovertemplate="%{customdata}<extra></extra>",
        )
    )


# In pixels, from the lowest sensor of a gateway down to its name.
NAME_SHIFT = 12


def _names(
    result: go.Figure, placed: pandas.DataFrame, extent: float, palette: Palette
) -> dict[str, tuple[float, float]]:
    """The gateways' names, below their sensors, while there are few; those that would cover another one are left out.

    Returns those that stand there, and where.
    """
    groups = placed.groupby("gateway_id").agg(x=("x", "mean"), y=("y", "min"))
    taken: dict[str, tuple[float, float]] = {}
    if len(groups) > 12:
        return taken
    for name, row in groups.iterrows():
        if any(abs(row["x"] - x) < extent * 0.3 and abs(row["y"] - y) < extent * 0.09 for x, y in taken.values()):
            continue
        taken[str(name)] = (row["x"], row["y"])
        result.add_annotation(
            x=row["x"],
            y=row["y"],
            yshift=-NAME_SHIFT,
            text=name,
            showarrow=False,
            yanchor="top",
            font={"size": 12, "color": palette.text},
            bgcolor=palette.background,
            opacity=0.85,
        )
    return taken


def _scale(result: go.Figure, half: float, extent: float, language: Language, palette: Palette) -> None:
    length = nice_length(extent)
    left, bottom = -half * 1.18, -half * 0.92
    line = {"color": palette.text, "width": 3}
    result.add_shape(type="line", x0=left, x1=left + length, y0=bottom, y1=bottom, line=line)
    text = f"{language.number(length)} km" if length >= 1 else f"{language.number(length * 1000)} m"
    result.add_annotation(
        x=left, y=bottom, text=text, showarrow=False, xanchor="left", yanchor="bottom", font={"size": 11}
    )
