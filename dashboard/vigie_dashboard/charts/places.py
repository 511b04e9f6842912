"""Sensors by place, on an outline of land that comes with the program: no tile server, no network.

The outline is made from Natural Earth's 1:50m countries, which are in the public domain.
"""

import functools
import gzip
import json
import math
import pathlib

import pandas
import plotly.graph_objects as go

from vigie_dashboard.language import Language
from vigie_dashboard.quantities import BY_NAME
from vigie_dashboard.theme import MARKERS, STATUSES, SYMBOLS, Palette

LAND = pathlib.Path(__file__).with_name("land.json.gz")
KILOMETRES_A_DEGREE = 111.32
# Below this extent the outline tells nothing, and the sensors would look further apart than they are.
SMALLEST_KILOMETRES = 0.2

Ring = list[tuple[float, float]]


@functools.cache
def land() -> list[tuple[tuple[float, float, float, float], Ring]]:
    """All outlines as degrees (longitude, latitude), each with its bounds. Kept as differences of 0.01 degrees."""
    found = []
    for numbers in json.loads(gzip.decompress(LAND.read_bytes())):
        x = y = 0
        ring = []
        for index in range(0, len(numbers), 2):
            x, y = x + numbers[index], y + numbers[index + 1]
            ring.append((x / 100, y / 100))
        longitudes, latitudes = [point[0] for point in ring], [point[1] for point in ring]
        found.append(((min(longitudes), min(latitudes), max(longitudes), max(latitudes)), ring))
    return found


class Projection:
    """Kilometres east and north of the middle: true to scale near it, which is all that a site needs."""

    def __init__(self, longitudes: pandas.Series, latitudes: pandas.Series):
        self.longitude = (float(longitudes.min()) + float(longitudes.max())) / 2
        self.latitude = (float(latitudes.min()) + float(latitudes.max())) / 2
        self.east = KILOMETRES_A_DEGREE * max(0.05, math.cos(math.radians(self.latitude)))

    def x(self, longitude):
        return (longitude - self.longitude) * self.east

    def y(self, latitude):
        return (latitude - self.latitude) * KILOMETRES_A_DEGREE


def spread(frame: pandas.DataFrame, distance: float) -> pandas.DataFrame:
    """Moves sensors that would cover each other onto rings around their place, `distance` apart."""
    xs, ys = frame["x"].tolist(), frame["y"].tolist()
    places: dict[tuple[int, int], list[int]] = {}
    for row, (x, y) in enumerate(zip(xs, ys, strict=True)):
        places.setdefault((round(x / distance), round(y / distance)), []).append(row)
    for rows in places.values():
        if len(rows) < 2:
            continue
        x, y = sum(xs[row] for row in rows) / len(rows), sum(ys[row] for row in rows) / len(rows)
        placed, ring = 0, 1
        while placed < len(rows):
            room = max(1, int(2 * math.pi * ring)) if ring > 1 or len(rows) > 6 else len(rows)
            share = min(room, len(rows) - placed)
            radius = distance * (ring if len(rows) > 2 else 0.6)
            for step in range(share):
                angle = 2 * math.pi * step / share + ring
                row = rows[placed + step]
                xs[row], ys[row] = x + radius * math.cos(angle), y + radius * math.sin(angle)
            placed, ring = placed + share, ring + 1
    return frame.assign(x=xs, y=ys)


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
    projection = Projection(placed["longitude"], placed["latitude"])
    placed = placed.assign(x=projection.x(placed["longitude"]), y=projection.y(placed["latitude"]))
    extent = max(
        SMALLEST_KILOMETRES,
        (placed["x"].max() - placed["x"].min()) * 0.8,
        placed["y"].max() - placed["y"].min(),
    )
    placed = spread(placed, extent * 0.045)
    result = go.Figure()
    half = extent * 0.68
    _outline(result, projection, half * 3, palette)
    if colour_by in BY_NAME:
        _by_value(result, placed, colour_by, language, palette)
    else:
        _by_status(result, placed, language, palette)
    _names(result, placed, extent, palette)
    _scale(result, half, extent, language, palette)
    axis = {"visible": False, "showgrid": False, "zeroline": False}
    result.update_xaxes(**axis, range=[-half * 1.25, half * 1.25], constrain="domain")
    result.update_yaxes(**axis, range=[-half, half], scaleanchor="x", scaleratio=1)
    result.update_layout(
        height=height,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        dragmode="pan",
        plot_bgcolor=palette.surface,
        legend={"y": -0.02, "yanchor": "top"},
    )
    return result


def _outline(result: go.Figure, projection: Projection, half: float, palette: Palette) -> None:
    """Coasts and borders around the sensors; those further away would only be sent for nothing."""
    east, north = half / projection.east, half / KILOMETRES_A_DEGREE
    west_end, east_end = projection.longitude - east, projection.longitude + east
    south_end, north_end = projection.latitude - north, projection.latitude + north
    xs: list[float | None] = []
    ys: list[float | None] = []
    for (west, south, right, top), ring in land():
        if right < west_end or west > east_end or top < south_end or south > north_end:
            continue
        xs += [round(projection.x(longitude), 2) for longitude, _ in ring] + [None]
        ys += [round(projection.y(latitude), 2) for _, latitude in ring] + [None]
    if xs:
        result.add_trace(
            go.Scatter(
                x=xs,
                y=ys,
                mode="lines",
                fill="toself",
                fillcolor=palette.background,
                line={"color": palette.muted, "width": 0.8},
                hoverinfo="skip",
                showlegend=False,
            )
        )


def _hover(placed: pandas.DataFrame, language: Language) -> list[str]:
    texts = []
    for row in placed.itertuples():
        values = " · ".join(
            language.value(name, getattr(row, name))
            for name in ("temperature", "humidity", "co2")
            if pandas.notna(getattr(row, name))
        )
        texts.append(
            f"<b>{row.sensor_id}</b><br>{SYMBOLS[row.status]} {language.text('status.' + row.status)}"
            f" · {language.ago(row.age)}<br>{values}"
        )
    return texts


def _by_status(result: go.Figure, placed: pandas.DataFrame, language: Language, palette: Palette) -> None:
    # The worst on top.
    for status in reversed(STATUSES):
        rows = placed[placed["status"] == status]
        if rows.empty:
            continue
        result.add_trace(
            go.Scatter(
                x=rows["x"],
                y=rows["y"],
                mode="markers",
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


def _by_value(result: go.Figure, placed: pandas.DataFrame, quantity: str, language, palette: Palette) -> None:
    rows = placed[placed[quantity].notna() & ~placed["is_stale"]]
    without = placed.drop(rows.index)
    if not without.empty:
        result.add_trace(
            go.Scatter(
                x=without["x"],
                y=without["y"],
                mode="markers",
                name=language.text("now.no_value"),
                marker={"symbol": MARKERS["stale"], "size": 11, "color": palette.status["stale"]},
                text=_hover(without, language),
                hovertemplate="%{text}<extra></extra>",
            )
        )
    steps = [(index / (len(palette.scale) - 1), colour) for index, colour in enumerate(palette.scale)]
    result.add_trace(
        go.Scatter(
            x=rows["x"],
            y=rows["y"],
            mode="markers+text" if len(rows) <= 30 else "markers",
            text=[language.number(value, BY_NAME[quantity].digits) for value in rows[quantity]],
            textposition="top center",
            textfont={"size": 11, "color": palette.text},
            showlegend=False,
            marker={
                "symbol": "circle",
                "size": 14,
                "color": rows[quantity],
                "colorscale": steps,
                "line": {"width": 1, "color": palette.text},
                "colorbar": {
                    "title": {"text": language.unit(quantity)},
                    "thickness": 10,
                    "len": 0.6,
                    "outlinewidth": 0,
                    "x": 1,
                    "xanchor": "right",
                },
            },
            customdata=_hover(rows, language),
            hovertemplate="%{customdata}<extra></extra>",
        )
    )


def _names(result: go.Figure, placed: pandas.DataFrame, extent: float, palette: Palette) -> None:
    """The gateways' names, below their sensors, while there are few."""
    groups = placed.groupby("gateway_id").agg(x=("x", "mean"), y=("y", "min"))
    if len(groups) > 12:
        return
    for name, row in groups.iterrows():
        result.add_annotation(
            x=row["x"],
            y=row["y"] - extent * 0.035,
            text=name,
            showarrow=False,
            yanchor="top",
            font={"size": 12, "color": palette.text},
            bgcolor=palette.background,
            opacity=0.85,
        )


def _scale(result: go.Figure, half: float, extent: float, language: Language, palette: Palette) -> None:
    length = nice_length(extent)
    left, bottom = -half * 1.18, -half * 0.92
    line = {"color": palette.text, "width": 3}
    result.add_shape(type="line", x0=left, x1=left + length, y0=bottom, y1=bottom, line=line)
    text = f"{language.number(length)} km" if length >= 1 else f"{language.number(length * 1000)} m"
    result.add_annotation(
        x=left, y=bottom, text=text, showarrow=False, xanchor="left", yanchor="bottom", font={"size": 11}
    )
