"""Figures of the Operation view: pure functions of what was measured."""

import math
from collections.abc import Sequence
from datetime import datetime

import pandas
import plotly.graph_objects as go

from vigie_dashboard.language import Language
from vigie_dashboard.theme import Palette

# What takes less is shown there: clocks of milliseconds tell no more.
SHORTEST = 0.001
# At which a logarithmic axis of time has its ticks: where a person's units change.
DURATIONS = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36_000, 86_400, 864_000)
# The least end of an axis of counts.
LOWEST_TOP = 4.0
# Gateways in the figure of losses; the table has all.
MOST_ROWS = 12


def latency_by_stage(
    stages: pandas.DataFrame, names: Sequence[str], labels: dict[str, str], palette: Palette, language: Language
) -> go.Figure:
    """How long each part of the way takes: median, 95 % and 99 %, on one logarithmic axis.

    `stages` has stage, p50, p95 and p99 in seconds; `names` are what to call them, in the same order.
    """
    figure = go.Figure()
    rows = list(range(len(names)))
    for index, row in enumerate(stages.itertuples()):
        if math.isnan(row.p50):
            continue
        is_total = row.stage == "total"
        colour = palette.series_colour(1 if is_total else 0)
        p50, p95, p99 = (max(value, SHORTEST) for value in (row.p50, row.p95, row.p99))
        for left, right, width in ((p50, p95, 9), (p95, p99, 3)):
            figure.add_scatter(
                x=[left, right], y=[index, index], mode="lines", line={"color": colour, "width": width},
                opacity=0.55 if width > 3 else 0.8, hoverinfo="skip", showlegend=False,
            )  # fmt: skip
    for name, symbol, size in (("p50", "circle", 12), ("p95", "diamond", 11), ("p99", "line-ns-open", 13)):
        values = [max(value, SHORTEST) if not math.isnan(value) else None for value in stages[name]]
        colours = [palette.series_colour(1 if stage == "total" else 0) for stage in stages["stage"]]
        figure.add_scatter(
            x=values, y=rows, mode="markers", name=labels[name],
            marker={"symbol": symbol, "size": size, "color": colours,
                    "line": {"width": 2 if symbol == "line-ns-open" else 1.5,
                             "color": colours if symbol == "line-ns-open" else palette.background}},
            customdata=[[name_, duration(value, language)] for name_, value in zip(names, stages[name], strict=True)],
            hovertemplate=f"%{{customdata[0]}}<br>{labels[name]}: <b>%{{customdata[1]}}</b><extra></extra>",
        )  # fmt: skip
    largest = max([SHORTEST * 10, *(value for value in stages["p99"] if not math.isnan(value))])
    figure.update_xaxes(**duration_axis(SHORTEST, largest, language))
    figure.update_yaxes(
        tickmode="array", tickvals=rows, ticktext=list(names), range=[len(names) - 0.4, -0.6], showgrid=False,
        tickfont={"color": palette.text}, fixedrange=True,
    )  # fmt: skip
    figure.update_layout(legend={"itemclick": False, "itemdoubleclick": False})
    return figure


def lines(
    frame: pandas.DataFrame,
    columns: dict[str, str],
    now: datetime,
    unit: str,
    palette: Palette,
    language: Language,
    *,
    is_duration: bool = False,
    fills: bool = True,
) -> go.Figure:
    """Some columns over the last ten minutes, with gaps where nothing is known.

    `frame` has a row a second, its times already local, and `columns` gives what each is called.
    """
    figure = go.Figure()
    for index, (column, name) in enumerate(columns.items()):
        values = frame[column]
        if is_duration:
            values = values.clip(lower=SHORTEST)
        text = [duration(value, language) if is_duration else written(value, unit, language) for value in frame[column]]
        figure.add_scatter(
            x=frame["time"], y=values, mode="lines", name=name, connectgaps=False, customdata=text,
            line={"color": palette.series_colour(index), "width": 2 if index == 0 else 1.3,
                  "dash": ("solid", "dot", "dash")[index % 3]},
            fill="tozeroy" if fills and index == 0 and not is_duration else None,
            fillcolor=translucent(palette.series_colour(index), 0.15),
            hovertemplate=f"%{{x|%H:%M:%S}}<br>{name}: <b>%{{customdata}}</b><extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(
        range=[now - pandas.Timedelta(minutes=10), now], tickformat="%H:%M", showgrid=False, fixedrange=True, nticks=6
    )
    if is_duration:
        known = pandas.concat([frame[column].dropna() for column in columns]) if len(frame) else pandas.Series([])
        low = max(SHORTEST, float(known.min())) if len(known) else SHORTEST
        high = float(known.max()) if len(known) else 1.0
        figure.update_yaxes(**duration_axis(low, high, language))
    else:
        highest = frame[list(columns)].max().max()
        figure.update_yaxes(
            # Nothing at all is a line at the bottom, and no count has a half.
            range=[0, max(float(highest) * 1.08, LOWEST_TOP) if pandas.notna(highest) else LOWEST_TOP],
            tickformat=",.0f", ticksuffix=f"\u202f{unit}" if unit else "", nticks=4, fixedrange=True,
        )  # fmt: skip
    figure.update_layout(showlegend=len(columns) > 1, hovermode="x")
    return figure


def batch_durations(
    batches: pandas.DataFrame, labels: dict[str, str], palette: Palette, language: Language
) -> go.Figure:
    """The last batches: when, how long, and by the size of the mark how many messages. Times are local already."""
    figure = go.Figure()
    # Small batches look small, also when there are no others.
    largest = max(float(batches["messages"].max()), 50.0) if len(batches) else 50.0
    for index, (instance, frame) in enumerate(batches.groupby("instance", sort=True)):
        sizes = [5 + 15 * math.sqrt(messages / largest) for messages in frame["messages"]]
        texts = [
            [duration(row.seconds, language, short=True), language.number(row.messages), language.number(row.rows)]
            for row in frame.itertuples()
        ]
        colour = palette.series_colour(index)
        figure.add_scatter(
            x=frame["time"], y=frame["seconds"], mode="markers", name=str(instance), customdata=texts,
            marker={"size": sizes, "color": translucent(colour, 0.55), "line": {"width": 1, "color": colour},
                    "symbol": ("circle", "square", "triangle-up", "diamond")[index % 4]},
            hovertemplate="%{x|%H:%M:%S}<br><b>%{customdata[0]}</b><br>"
            f"%{{customdata[1]}} {labels['messages']}, %{{customdata[2]}} {labels['rows']}<extra></extra>",
        )  # fmt: skip
    low, high = (float(batches["seconds"].min()), float(batches["seconds"].max())) if len(batches) else (0.001, 0.1)
    figure.update_yaxes(**duration_axis(low, high, language))
    figure.update_xaxes(tickformat="%H:%M:%S", showgrid=False, fixedrange=True, nticks=4)
    figure.update_layout(showlegend=batches["instance"].nunique() > 1)
    return figure


def counted(names: Sequence[str], values: Sequence[float], palette: Palette, language: Language) -> go.Figure:
    """Bars of counts, the largest on top, each with its number."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    figure = go.Figure()
    figure.add_bar(
        x=[values[index] for index in order], y=[names[index] for index in order], orientation="h",
        marker={"color": palette.series_colour(1)}, text=[language.number(values[index]) for index in order],
        textposition="outside", cliponaxis=False, hoverinfo="skip",
    )  # fmt: skip
    figure.update_xaxes(visible=False, range=[0, max([*values, 1]) * 1.2], fixedrange=True)
    figure.update_yaxes(showgrid=False, tickfont={"color": palette.text}, fixedrange=True)
    figure.update_layout(bargap=0.35)
    return figure


def losses(
    holes: pandas.DataFrame, now: datetime, labels: dict[str, str], palette: Palette, language: Language
) -> go.Figure:
    """When readings are missing, gateway by gateway: each hole between the readings on its two sides.

    `holes` has gateway_id, since, until (local, NaT where nothing is known), and readings. A hole with one known side
    is drawn as a mark there.
    """
    figure = go.Figure()
    gateways = list(holes.groupby("gateway_id")["readings"].sum().sort_values(ascending=False).index[:MOST_ROWS])
    shown = holes[holes["gateway_id"].isin(gateways)].copy()
    shown["since"] = shown["since"].fillna(shown["until"])
    shown["until"] = shown["until"].fillna(shown["since"])
    shown = shown.dropna(subset=["since"])
    place = {name: index for index, name in enumerate(gateways)}
    colour = palette.status["failure"]
    x: list[object] = []
    y: list[object] = []
    for row in shown.itertuples():
        x += [row.since, row.until, None]
        y += [place[row.gateway_id], place[row.gateway_id], None]
    figure.add_scatter(x=x, y=y, mode="lines", line={"color": colour, "width": 9}, hoverinfo="skip", showlegend=False)
    figure.add_scatter(
        x=shown["since"] + (shown["until"] - shown["since"]) / 2, y=[place[name] for name in shown["gateway_id"]],
        mode="markers", showlegend=False,
        marker={"symbol": "square", "size": 9, "color": colour},
        customdata=[
            [row.gateway_id, language.number(row.readings), f"{row.since:%H:%M:%S}", f"{row.until:%H:%M:%S}"]
            for row in shown.itertuples()
        ],
        hovertemplate=f"%{{customdata[0]}}<br><b>%{{customdata[1]}}</b> {labels['missing']}<br>"
        "%{customdata[2]} – %{customdata[3]}<extra></extra>",
    )  # fmt: skip
    first = min([now - pandas.Timedelta(minutes=10), *shown["since"]])
    # With room before the first one, which would else begin in the axis.
    figure.update_xaxes(
        range=[first - (now - first) * 0.02, now], fixedrange=True, nticks=6,
        tickformatstops=language.plotly_date_stops,
    )  # fmt: skip
    figure.update_yaxes(
        tickmode="array", tickvals=list(range(len(gateways))), ticktext=gateways, showgrid=False,
        range=[len(gateways) - 0.4, -0.6], tickfont={"color": palette.text}, fixedrange=True,
    )  # fmt: skip
    return figure


def spark(values: Sequence[float], palette: Palette, width: int = 160, height: int = 36) -> str:
    """A line without axes as an SVG picture, from zero to the largest value."""
    top = max(*values, 1e-9)
    step = width / max(1, len(values) - 1)
    points = [f"{index * step:.1f},{height - 2 - value / top * (height - 5):.1f}" for index, value in enumerate(values)]
    colour = palette.series_colour(0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" preserveAspectRatio="none">'
        f'<polygon points="0,{height} {" ".join(points)} {width},{height}" fill="{colour}" fill-opacity="0.14"/>'
        f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.5" '
        'vector-effect="non-scaling-stroke"/></svg>'
    )


def duration(seconds: float | None, language: Language, *, short: bool = False) -> str:
    """A length of time; what is less than the clocks tell is said so, unless one clock measured it (`short`)."""
    if seconds is None or not math.isfinite(seconds):
        return language.duration(None)
    if seconds < 0.01 and short:
        return f"{language.number(seconds * 1000, 1)}\u202fms"
    if seconds <= SHORTEST and not short:
        return "< 1\u202fms"
    return language.duration(seconds)


def duration_axis(low: float, high: float, language: Language) -> dict[str, object]:
    """A logarithmic axis of time whose ticks are a person's units, a little wider than from `low` to `high`."""
    low, high = max(low, 1e-4), max(high, low, 1e-4)
    bottom, top = math.log10(low) - 0.12, math.log10(high) + 0.12
    if top - bottom < 1:
        middle = (bottom + top) / 2
        bottom, top = middle - 0.5, middle + 0.5
    ticks = [value for value in (0.0001, *DURATIONS) if bottom <= math.log10(value) <= top]
    if len(ticks) > 5:
        # A phone has no room for more.
        ticks = ticks[::2]
    texts = [
        language.duration(float(round(value)))
        if value >= 1
        else f"{language.number(value * 1000, 0 if value >= 0.001 else 1)}\u202fms"
        for value in ticks
    ]
    return {
        "type": "log", "range": [bottom, top], "tickmode": "array", "tickvals": ticks, "ticktext": texts,
        "tickangle": 0, "fixedrange": True,
    }  # fmt: skip


def written(value: float | None, unit: str, language: Language) -> str:
    """A number with its unit: with a decimal where it is small."""
    if value is None or not math.isfinite(value):
        return language.number(None)
    digits = 1 if abs(value) < 10 and value != int(value) else 0
    return language.number(value, digits) + (f"\u202f{unit}" if unit else "")


def translucent(colour: str, opacity: float) -> str:
    """A colour #RRGGBB with an opacity."""
    red, green, blue = (int(colour[index : index + 2], 16) for index in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
