"""Readings over time: one row a quantity, gaps as gaps, bounds as bands, what is not plain marked."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pandas
import plotly.graph_objects as go

from vigie_dashboard.charts.bounds import bands, value_range
from vigie_dashboard.language import Language
from vigie_dashboard.quantities import BY_NAME
from vigie_dashboard.theme import Palette

# A line breaks where so many of a sensor's intervals have passed.
GAP_INTERVALS = 2.5
# In pixels: of a quantity with its title, of the part of that between the plots, and above and below them all.
ROW_HEIGHT = 210
BETWEEN = 36
TOP = 28
BOTTOM = 76


def with_gaps(frame: pandas.DataFrame, seconds_apart: float) -> pandas.DataFrame:
    """Puts an empty row where readings are missing, so that no line is drawn across. `time` is in order."""
    apart = frame["time"].diff().dt.total_seconds()
    allowed = (frame["interval_ms"] / 1000).clip(lower=seconds_apart) * GAP_INTERVALS
    starts = frame[apart > allowed]
    if starts.empty:
        return frame
    holes = starts[["time"]].assign(time=starts["time"] - pandas.Timedelta(milliseconds=1))
    return pandas.concat([frame, holes]).sort_values("time", ignore_index=True)


def height(quantities: int) -> int:
    """Of the whole figure, in pixels."""
    return TOP + BOTTOM + ROW_HEIGHT * max(quantities, 1)


def figure(
    frame: pandas.DataFrame,
    order: Sequence[str],
    quantities: Sequence[str],
    bounds: pandas.DataFrame,
    since: datetime,
    until: datetime,
    seconds_apart: float,
    language: Language,
    palette: Palette,
) -> go.Figure:
    """`frame` has a column `time` for the axis and `key` for the sensor; `since` and `until` are for the axis too.

    Made of plain dictionaries, as it is made anew with every refresh: Plotly checks them once, and not part by part.
    """
    by_sensor = dict(tuple(frame.groupby("key", sort=False))) if len(frame) else {}
    inner = ROW_HEIGHT * len(quantities)
    layout: dict[str, Any] = {
        "height": height(len(quantities)),
        "hovermode": "x",
        "showlegend": True,
        "legend": {"y": -30 / inner, "yanchor": "top", "x": 0},
        "margin": {"l": 8, "r": 8, "t": TOP, "b": 8},
        "xaxis": {"range": [since, until], "anchor": f"y{len(quantities)}" if len(quantities) > 1 else "y"},
    }
    annotations: list[dict] = []
    shapes: list[dict] = []
    traces: list[dict] = []
    named: set[str] = set()
    for row, quantity in enumerate(quantities):
        axis = "y" if row == 0 else f"y{row + 1}"
        top = 1 - row / len(quantities)
        own = bounds[bounds["quantity"] == quantity]
        limits = value_range(frame[quantity], own, quantity) if len(frame) else None
        layout[f"yaxis{axis[1:]}"] = {
            "domain": [top - (ROW_HEIGHT - BETWEEN) / inner, top],
            "anchor": "x",
            "tickformat": ",.1~f",
            "range": list(limits) if limits else None,
        }
        for index, key in enumerate(order):
            if key in by_sensor and by_sensor[key][quantity].notna().any():
                is_first = key not in named
                named.add(key)
                traces += _line(by_sensor[key], key, index, quantity, axis, is_first, seconds_apart, language, palette)
        beyond = ""
        if limits:
            drawn = bands(own, limits, language, palette, {"xref": "paper", "yref": axis})
            shapes += drawn.shapes
            annotations += drawn.annotations
            beyond = drawn.beyond
        annotations.append(
            {
                "text": f"<b>{language.quantity(quantity)}</b>"
                + (f" ({language.unit(quantity)})" if language.unit(quantity) else "")
                + (f"  <span style='color:{palette.muted};font-size:12px'>{beyond}</span>" if beyond else ""),
                "font": {"size": 14, "color": palette.text},
                "x": 0,
                "xref": "paper",
                "xanchor": "left",
                "y": top,
                "yref": "paper",
                "yanchor": "bottom",
                "yshift": 2,
                "showarrow": False,
            }
        )
    layout |= {"annotations": annotations, "shapes": shapes}
    return go.Figure(traces, layout)


def _line(
    readings, key, index, quantity, axis, is_first, seconds_apart, language: Language, palette: Palette
) -> list[dict]:
    drawn = with_gaps(readings, seconds_apart)
    is_simulated = bool(readings["simulated"].any())
    colour = palette.series_colour(index)
    name = key.split("/", 1)[1]
    label = f"{name} ({language.text('mark.simulated')})" if is_simulated else name
    digits = BY_NAME[quantity].digits
    common = {"type": "scatter", "yaxis": axis, "legendgroup": key, "showlegend": is_first}
    traces = [
        {
            **common,
            "x": drawn["time"].to_numpy(),
            "y": drawn[quantity].to_numpy(float),
            "name": label,
            "mode": "lines+markers" if len(readings) < 3 else "lines",
            "connectgaps": False,
            "line": {"color": colour, "width": 2, "dash": "dot" if is_simulated else palette.series_dash(index)},
            "hovertemplate": f"%{{y:,.{digits}f}} {language.unit(quantity)}<extra>{label}</extra>",
        }
    ]
    estimated = readings[readings["estimated"].fillna(False).astype(bool) & readings[quantity].notna()]
    if not estimated.empty:
        traces.append(
            {
                **common,
                "x": estimated["time"].to_numpy(),
                "y": estimated[quantity].to_numpy(float),
                "name": f"{name} ({language.text('mark.estimated')})",
                "mode": "markers",
                "marker": {"symbol": "circle-open", "size": 7, "color": colour, "line": {"width": 1.5}},
                "hoverinfo": "skip",
            }
        )
    return traces
