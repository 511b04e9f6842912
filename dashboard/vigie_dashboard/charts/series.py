"""Readings over time: one row a quantity, gaps as gaps, bounds as bands, what is not plain marked."""

from collections.abc import Sequence
from datetime import datetime

import pandas
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vigie_dashboard.language import Language
from vigie_dashboard.theme import Palette

# A line breaks where so many of a sensor's intervals have passed.
GAP_INTERVALS = 2.5
ROW_HEIGHT = 210
# The narrowest range of each axis, so that the noise of quiet air does not look like an event.
NARROWEST = {"temperature": 2.0, "humidity": 6.0, "co2": 150.0, "pressure": 3.0, "battery_level": 5.0}
# What no value of a quantity can pass.
LIMITS = {"humidity": (0.0, 100.0), "battery_level": (0.0, 100.0), "co2": (0.0, float("inf"))}


def with_gaps(frame: pandas.DataFrame, seconds_apart: float) -> pandas.DataFrame:
    """Puts an empty row where readings are missing, so that no line is drawn across. `time` is in order."""
    apart = frame["time"].diff().dt.total_seconds()
    allowed = (frame["interval_ms"] / 1000).clip(lower=seconds_apart) * GAP_INTERVALS
    starts = frame[apart > allowed]
    if starts.empty:
        return frame
    holes = starts[["time"]].assign(time=starts["time"] - pandas.Timedelta(milliseconds=1))
    return pandas.concat([frame, holes]).sort_values("time", ignore_index=True)


def value_range(
    values: pandas.Series, bounds: pandas.DataFrame, quantity: str
) -> tuple[float, float] | None:
    """The axis: what is there with some room, and the bounds that are not far from it."""
    values = values.dropna()
    if values.empty:
        return None
    low, high = float(values.min()), float(values.max())
    least = NARROWEST.get(quantity, 1.0)
    if high - low < least:
        middle = (high + low) / 2
        low, high = middle - least / 2, middle + least / 2
    span = high - low
    for bound in bounds["bound"]:
        if low - span <= bound < low:
            low = bound - span * 0.05
        elif high < bound <= high + span:
            high = bound + span * 0.05
    room = (high - low) * 0.08
    least_possible, most_possible = LIMITS.get(quantity, (float("-inf"), float("inf")))
    return max(low - room, least_possible), min(high + room, most_possible)


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
    """`frame` has a column `time` for the axis and `key` for the sensor; `since` and `until` are for the axis too."""
    result = make_subplots(
        rows=len(quantities),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.28 / max(len(quantities), 1) / 2,
        subplot_titles=[language.quantity_with_unit(name) for name in quantities],
    )
    by_sensor = dict(tuple(frame.groupby("key", sort=False))) if len(frame) else {}
    for row, quantity in enumerate(quantities, start=1):
        own = bounds[bounds["quantity"] == quantity]
        limits = value_range(frame[quantity], own, quantity) if len(frame) else None
        for index, key in enumerate(order):
            if key in by_sensor:
                _line(result, by_sensor[key], key, index, quantity, row, seconds_apart, language, palette)
        if limits:
            # After the lines, as Plotly adds no shapes to what is empty.
            result.update_yaxes(range=list(limits), row=row, col=1)
            _bands(result, own, limits, row, language, palette)
    result.update_xaxes(range=[since, until], showgrid=True)
    result.update_annotations(
        x=0, xanchor="left", font={"size": 14, "color": palette.text}, selector={"yanchor": "bottom"}
    )
    result.update_layout(
        height=60 + ROW_HEIGHT * len(quantities),
        hovermode="x",
        showlegend=True,
        legend={"y": -0.12 / max(len(quantities), 1) - 0.02, "yanchor": "top", "x": 0},
        margin={"l": 8, "r": 8, "t": 28, "b": 8},
    )
    return result


def _line(result, readings, key, index, quantity, row, seconds_apart, language: Language, palette: Palette) -> None:
    if readings[quantity].isna().all():
        return
    drawn = with_gaps(readings, seconds_apart)
    is_simulated = bool(readings["simulated"].any())
    marks = [language.text("mark.simulated")] if is_simulated else []
    colour = palette.series_colour(index)
    name = key.split("/", 1)[1]
    label = f"{name} ({', '.join(marks)})" if marks else name
    digits = {"temperature": 1, "pressure": 1}.get(quantity, 0)
    hover = f"%{{y:,.{digits}f}} {language.unit(quantity)}<extra>{label}</extra>"
    is_first = not any(trace.legendgroup == key for trace in result.data)
    result.add_trace(
        go.Scatter(
            x=drawn["time"],
            y=drawn[quantity],
            name=label,
            legendgroup=key,
            showlegend=is_first,
            mode="lines+markers" if len(readings) < 3 else "lines",
            connectgaps=False,
            line={"color": colour, "width": 2, "dash": "dot" if is_simulated else palette.series_dash(index)},
            hovertemplate=hover,
        ),
        row=row,
        col=1,
    )
    estimated = readings[readings["estimated"].fillna(False).astype(bool) & readings[quantity].notna()]
    if not estimated.empty:
        result.add_trace(
            go.Scatter(
                x=estimated["time"],
                y=estimated[quantity],
                name=f"{name} ({language.text('mark.estimated')})",
                legendgroup=key,
                showlegend=is_first,
                mode="markers",
                marker={"symbol": "circle-open", "size": 7, "color": colour, "line": {"width": 1.5}},
                hoverinfo="skip",
            ),
            row=row,
            col=1,
        )


def _bands(result, bounds: pandas.DataFrame, limits, row, language: Language, palette: Palette) -> None:
    """Where a value is beyond a bound. Named in words: a colour alone says nothing."""
    low, high = limits
    for side, is_above in (("above", True), ("below", False)):
        own = bounds[bounds["side"] == side].sort_values("bound", ascending=is_above)
        for bound in own.itertuples():
            if not low < bound.bound < high:
                continue
            colour = palette.status[bound.severity]
            result.add_hrect(
                y0=bound.bound,
                y1=high + (high - low) if is_above else low - (high - low),
                fillcolor=colour,
                opacity=0.13 if palette.is_dark else 0.09,
                line_width=0,
                layer="below",
                row=row,
                col=1,
            )
            result.add_hline(
                y=bound.bound,
                line={"color": colour, "width": 1.2, "dash": "dash"},
                annotation={
                    "text": f"{language.text('status.' + bound.severity)} "
                    f"{'>' if is_above else '<'} {language.value(bound.quantity, bound.bound)}",
                    "font": {"size": 11, "color": colour},
                    "xanchor": "right",
                },
                annotation_position="top right" if is_above else "bottom right",
                row=row,
                col=1,
            )
