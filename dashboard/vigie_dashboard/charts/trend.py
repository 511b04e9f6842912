"""The Trend view's figures. Nothing is said by colour alone: lines have dashes, bars patterns, cells their numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy
import pandas
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vigie_dashboard.charts.bounds import Bands
from vigie_dashboard.context import Context
from vigie_dashboard.language.language import NARROW_SPACE
from vigie_dashboard.quantities import BY_NAME
from vigie_dashboard.theme import DASHES
from vigie_dashboard.trend.analysis import SENSOR, coverage, is_low

# Beyond so many lines their bands of extremes would only cover one another.
MOST_BANDS = 3
# Kinds of alerts, each with a place in the palette and a pattern.
KINDS = ("threshold", "fault", "silence", "battery", "loss", "conflict", "log")
_PATTERNS = {
    "threshold": "", "fault": "/", "silence": ".", "battery": "x", "loss": "-", "conflict": "+", "log": "|",
}  # fmt: skip
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "hexagon")
# Left of the plots, in pixels: room for the numbers of any quantity.
MARGIN = 52
# Light hatching for what is missing, in pixels.
_HATCH = {"shape": "/", "size": 6, "solidity": 0.25}

Key = tuple[str, str]


@dataclass(frozen=True)
class Line:
    """How one sensor is drawn, the same in all figures."""

    label: str
    colour: str
    dash: str
    symbol: str


def lines(context: Context, labels: Mapping[Key, str]) -> dict[Key, Line]:
    return {
        key: Line(
            label,
            context.palette.series_colour(index),
            DASHES[index % len(DASHES)],
            _SYMBOLS[index % len(_SYMBOLS)],
        )
        for index, (key, label) in enumerate(labels.items())
    }


def evolution(
    context: Context,
    frame: pandas.DataFrame,
    quantity: str,
    looks: Mapping[Key, Line],
    losses: pandas.DataFrame,
    bucket: int,
    limits: tuple[float, float] | None,
    drawn: Bands,
) -> go.Figure:
    """Averages with the band of their extremes, and the bounds of the rules; below, how much of each bucket they rest
    on, and what was lost. `limits` are the axis'."""
    groups = [(key, group) for key, group in _groups(frame) if key in looks]
    has_losses = not losses.empty
    figure = make_subplots(
        rows=3 if has_losses else 2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.03,
        row_heights=[0.85, 0.08, 0.07] if has_losses else [0.92, 0.08],
    )
    for key, group in groups:
        if len(groups) <= MOST_BANDS:
            figure.add_trace(_band(context, group, quantity, looks[key]), row=1, col=1)
    for key, group in groups:
        for trace in _line(context, group, quantity, looks[key]):
            figure.add_trace(trace, row=1, col=1)
    together = _together([group for _, group in groups])
    for trace in _coverage(context, together, bucket):
        figure.add_trace(trace, row=2, col=1)
    figure.add_annotation(
        text=f"{context.text('trend.coverage')} {context.language.percent(coverage(together), 1)}",
        x=0.004, xref="x2 domain", xanchor="left", y=0.5, yref="y2 domain", yanchor="middle", showarrow=False,
        font={"size": 11, "color": context.palette.text},
    )  # fmt: skip
    figure.update_yaxes(range=limits, tickformat=",.1~f", row=1, col=1)
    figure.update_yaxes(range=[0, 1.02], showticklabels=False, showgrid=False, row=2, col=1)
    if has_losses:
        figure.add_trace(_losses(context, losses), row=3, col=1)
        figure.update_yaxes(visible=False, range=[-1, 1], row=3, col=1)
    _time_axis(context, figure, _range(context, frame, bucket))
    figure.update_xaxes(showspikes=True, spikemode="across", spikethickness=1, spikedash="dot", row=1, col=1)
    figure.update_xaxes(spikecolor=context.palette.muted)
    figure.update_layout(hovermode="x", showlegend=len(groups) > 1, hoversubplots="axis", shapes=drawn.shapes)
    # Of one width, so that the same time is at the same place in the figures below each other.
    figure.update_layout(margin_l=MARGIN)
    figure.update_yaxes(automargin=False)
    for annotation in drawn.annotations:
        figure.add_annotation(annotation)
    return figure


def strip(context: Context, frame: pandas.DataFrame, bucket: int, looks: Mapping[Key, Line]) -> go.Figure:
    """The coverage of every sensor in time, one row each."""
    groups = list(_groups(frame))
    rows = max(1, len(groups))
    figure = make_subplots(rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.25 / rows)
    for row, (key, group) in enumerate(groups, start=1):
        for trace in _coverage(context, group, bucket):
            trace.showlegend = row == 1 and trace.showlegend
            figure.add_trace(trace, row=row, col=1)
        figure.update_yaxes(
            range=[0, 1.02], tickvals=[0.5], ticktext=[looks[key].label], showgrid=False, row=row, col=1
        )
    _time_axis(context, figure, _range(context, frame, bucket))
    return figure


def _groups(frame: pandas.DataFrame):
    return frame.groupby(SENSOR, sort=True)


def _together(groups: Sequence[pandas.DataFrame]) -> pandas.DataFrame:
    """Some sensors' buckets as if of one."""
    rows = pandas.concat(groups)
    rows = rows.assign(covered=rows["coverage"].fillna(0) * rows["expected_windows"])
    sums = rows.groupby("bucket")[["covered", "expected_windows", "readings"]].sum().reset_index()
    return sums.assign(coverage=sums["covered"] / sums["expected_windows"].where(sums["expected_windows"] > 0))


def _time_axis(context: Context, figure: go.Figure, limits: list[datetime] | None) -> None:
    """Dates as the language writes them: a template does not carry the formats over."""
    figure.update_xaxes(range=limits, tickformatstops=context.language.plotly_date_stops)


def _range(context: Context, frame: pandas.DataFrame, bucket: int) -> list[datetime]:
    times = context.local(frame["bucket"])
    return [times.min(), times.max() + pandas.Timedelta(seconds=bucket)]


def _hover(context: Context, row: pandas.Series, quantity: str) -> str:
    language = context.language
    parts = [
        f"<b>{language.value(quantity, row[f'{quantity}_avg'])}</b>",
        f"{language.number(row[f'{quantity}_min'], BY_NAME[quantity].digits)} … "
        f"{language.value(quantity, row[f'{quantity}_max'])}",
        f"n = {language.number(row[f'{quantity}_count'])}",
        f"{context.text('trend.coverage')} {language.percent(row['coverage'])}",
    ]
    return " · ".join(parts)


def _band(context: Context, group: pandas.DataFrame, quantity: str, look: Line) -> go.Scatter:
    """One closed shape for each stretch without a gap."""
    times = context.local(group["bucket"]).tolist()
    low, high = group[f"{quantity}_min"].tolist(), group[f"{quantity}_max"].tolist()
    xs: list[datetime | None] = []
    ys: list[float | None] = []
    for first, last in _stretches(group[f"{quantity}_avg"].notna().tolist()):
        span = slice(first, last + 1)
        xs += [*times[span], *reversed(times[span]), None]
        ys += [*high[span], *reversed(low[span]), None]
    return go.Scatter(
        x=xs,
        y=ys,
        fill="toself",
        fillcolor=_faded(look.colour, 0.18),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        legendgroup=look.label,
    )


def _line(context: Context, group: pandas.DataFrame, quantity: str, look: Line) -> list[go.Scatter]:
    times = context.local(group["bucket"])
    values = group[f"{quantity}_avg"]
    hover = [_hover(context, row, quantity) for _, row in group.iterrows()]
    line = go.Scatter(
        x=times,
        y=values,
        mode="lines",
        line={"color": look.colour, "dash": look.dash, "width": 2},
        name=look.label,
        legendgroup=look.label,
        text=hover,
        hovertemplate="%{text}<extra>" + look.label + "</extra>",
        connectgaps=False,
    )
    # What rests on little is marked, and what stands between two gaps would not be seen as a line.
    marked = is_low(group) & values.notna()
    present = values.notna().tolist()
    alone = [False] * len(present)
    for first, last in _stretches(present):
        alone[first] = first == last
    marked = marked | numpy.array(alone, dtype=bool)
    if not marked.any():
        return [line]
    points = go.Scatter(
        x=times[marked],
        y=values[marked],
        mode="markers",
        marker={
            "symbol": "circle-open",
            "size": 6,
            "color": context.palette.background,
            "line": {"color": look.colour, "width": 1.5},
        },
        legendgroup=look.label,
        showlegend=False,
        hoverinfo="skip",
    )
    return [line, points]


def _stretches(present: Sequence[bool]) -> list[tuple[int, int]]:
    """The first and the last index of each stretch of what is there."""
    found: list[tuple[int, int]] = []
    for index, there in enumerate(present):
        if there and index and present[index - 1]:
            found[-1] = (found[-1][0], index)
        elif there:
            found.append((index, index))
    return found


def _coverage(context: Context, group: pandas.DataFrame, bucket: int) -> list[go.Scatter]:
    """Steps as high as the coverage, and hatched where it is low."""
    begins = context.local(group["bucket"])
    ends = begins.shift(-1).fillna(begins + pandas.Timedelta(seconds=bucket))
    covered = group["coverage"].fillna(0).astype(float)
    hover = [
        f"{context.text('trend.coverage')} {context.language.percent(share)}, n = {context.language.number(readings)}"
        for share, readings in zip(group["coverage"], group["readings"], strict=True)
    ]
    low = is_low(group)
    traces = []
    if low.any():
        traces.append(
            _steps(
                begins[low],
                ends[low],
                [1.0] * int(low.sum()),
                fillcolor="rgba(0,0,0,0)",
                fillpattern={**_HATCH, "fgcolor": context.palette.muted, "bgcolor": "rgba(0,0,0,0)"},
                name=context.text("trend.coverage.low"),
                hoverinfo="skip",
            )
        )
    steps = _steps(
        begins, ends, covered, fillcolor=_faded(context.palette.muted, 0.28), name=context.text("trend.coverage")
    )
    steps.text = _each_corner(hover)
    steps.hovertemplate = "%{text}<extra></extra>"
    return [*traces, steps]


def _each_corner(texts: Sequence[str]) -> list[str]:
    return [text for text in texts for _ in range(4)]


def _steps(begins: pandas.Series, ends: pandas.Series, heights: Sequence[float], **others) -> go.Scatter:
    """Rectangles on the ground, as one shape: many bars would be slow."""
    xs: list[datetime] = []
    ys: list[float] = []
    for begin, end, height in zip(begins, ends, heights, strict=True):
        xs += [begin, begin, end, end]
        ys += [0, height, height, 0]
    return go.Scatter(x=xs, y=ys, mode="lines", line={"width": 0}, fill="tozeroy", showlegend=False, **others)


def _losses(context: Context, losses: pandas.DataFrame) -> go.Scatter:
    """A triangle in the middle of each hole and a line from the last reading before it to the first after it."""
    language = context.language
    begins, ends = context.local(losses["after_time"]), context.local(losses["before_time"])
    xs: list[datetime | None] = []
    texts: list[str] = []
    for begin, end, row in zip(begins, ends, losses.itertuples(), strict=True):
        xs += [begin, begin + (end - begin) / 2, end, None]
        text = f"▼ {language.count('trend.lost', row.readings)} · {row.gateway_id}"
        texts += [text, text, text, ""]
    return go.Scatter(
        x=xs,
        y=[0 if x is not None else None for x in xs],
        mode="lines+markers",
        marker={"symbol": "triangle-down", "size": [0, 9, 0, 0] * len(losses), "opacity": 1},
        line={"width": 3, "color": context.palette.status["failure"]},
        text=texts,
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )


def ranges(context: Context, ranking: pandas.DataFrame, quantity: str, looks: Mapping[Key, Line]) -> go.Figure:
    """A row a sensor: the extremes as a thin line, one standard deviation about the average as a thick one."""
    rows = ranking[ranking["count"] > 0].iloc[::-1]
    keys = list(zip(rows["gateway_id"], rows["sensor_id"], strict=True))
    names = [looks[key].label for key in keys]
    figure = go.Figure()
    thin: tuple[list, list] = ([], [])
    thick: tuple[list, list] = ([], [])
    for name, row in zip(names, rows.itertuples(), strict=True):
        thin[0].extend([row.min, row.max, None])
        thin[1].extend([name, name, None])
        if not numpy.isnan(row.stddev):
            # Of values that lie to one side the deviation reaches further than any of them does.
            thick[0].extend([max(row.min, row.avg - row.stddev), min(row.max, row.avg + row.stddev), None])
            thick[1].extend([name, name, None])
    colour = context.palette.series_colour(0)
    figure.add_scatter(
        x=thin[0],
        y=thin[1],
        mode="lines",
        line={"color": context.palette.muted, "width": 1.5},
        name=context.text("trend.extremes"),
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=thick[0],
        y=thick[1],
        mode="lines",
        line={"color": _faded(colour, 0.45), "width": 8},
        name=context.text("trend.deviation"),
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=rows["avg"],
        y=names,
        mode="markers",
        marker={"color": colour, "size": 10, "line": {"color": context.palette.background, "width": 1.5}},
        name=context.text("trend.average"),
        text=[
            f"<b>{context.language.value(quantity, row.avg)}</b> · {context.language.value(quantity, row.min)} … "
            f"{context.language.value(quantity, row.max)} · n = {context.language.number(row.count_)}"
            for row in rows.rename(columns={"count": "count_"}).itertuples()
        ],
        hovertemplate="%{text}<extra></extra>",
    )
    low, high = float(rows["min"].min()), float(rows["max"].max())
    room = (high - low) * 0.03 or 1
    figure.update_xaxes(range=[low - room, high + room], tickformat=",.1~f", nticks=6, tickangle=0)
    figure.update_yaxes(showgrid=False, type="category")
    return figure


def periods(
    context: Context,
    both: pandas.DataFrame,
    quantity: str,
    look: Line,
    limits: tuple[float, float] | None,
    drawn: Bands,
) -> go.Figure:
    """One sensor: this period as a strong line, the earlier one dashed, and the bounds of the rules."""
    language = context.language
    figure = go.Figure()
    hover = [
        f"<b>{language.value(quantity, row.avg)}</b> · {context.text('trend.earlier')} "
        f"{language.value(quantity, row.avg_earlier)} · Δ {language.value(quantity, row.difference, signed=True)}"
        for row in both.itertuples()
    ]
    figure.add_scatter(
        x=both["moment"],
        y=both["avg_earlier"],
        mode="lines",
        line={"color": context.palette.muted, "dash": "dash", "width": 1.5},
        name=context.text("trend.earlier"),
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=both["moment"],
        y=both["avg"],
        mode="lines",
        line={"color": look.colour, "width": 2.2},
        name=context.text("trend.current"),
        text=hover,
        hovertemplate="%{text}<extra></extra>",
    )
    _time_axis(context, figure, None)
    figure.update_yaxes(range=limits, tickformat=",.1~f")
    figure.update_layout(hovermode="x", shapes=drawn.shapes, annotations=drawn.annotations)
    return figure


def alerts_in_time(context: Context, frame: pandas.DataFrame, start: datetime, end: datetime, bucket: int) -> go.Figure:
    figure = go.Figure()
    totals = frame.groupby(["bucket", "kind"])["alerts"].sum().reset_index()
    for kind in KINDS:
        rows = totals[totals["kind"] == kind]
        if rows.empty:
            continue
        figure.add_bar(
            x=context.local(rows["bucket"]) + pandas.Timedelta(seconds=bucket / 2),
            y=rows["alerts"],
            width=bucket * 1000 * 0.92,
            name=context.text(f"alert_kind.{kind}"),
            marker=_kind_marker(context, kind),
            hovertemplate="%{y}",
        )
    figure.update_layout(barmode="stack", hovermode="x unified", legend_traceorder="normal")
    _time_axis(context, figure, [context.local_time(start), context.local_time(end)])
    figure.update_yaxes(rangemode="tozero", tickformat=",d", title_text=context.text("trend.alerts"))
    return figure


def alerts_by_sensor(context: Context, frame: pandas.DataFrame, names: Mapping[Key, str]) -> go.Figure:
    figure = go.Figure()
    order = list(dict.fromkeys(zip(frame["gateway_id"], frame["sensor_id"], strict=True)))
    for kind in KINDS:
        rows = frame[frame["kind"] == kind]
        if rows.empty:
            continue
        figure.add_bar(
            y=[names[key] for key in zip(rows["gateway_id"], rows["sensor_id"], strict=True)],
            x=rows["alerts"],
            orientation="h",
            name=context.text(f"alert_kind.{kind}"),
            marker=_kind_marker(context, kind),
            hovertemplate="%{x}",
        )
    totals = frame.groupby(SENSOR, sort=False)["alerts"].sum()
    figure.add_scatter(
        y=[names[key] for key in totals.index],
        x=totals,
        mode="text",
        text=[f" {context.language.number(total)}" for total in totals],
        textposition="middle right",
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_layout(barmode="stack", hovermode="y unified", legend_traceorder="normal", margin_r=32)
    figure.update_yaxes(
        categoryorder="array", categoryarray=[names[key] for key in reversed(order)], showgrid=False, type="category"
    )
    figure.update_xaxes(rangemode="tozero", tickformat=",d", title_text=context.text("trend.alerts"))
    return figure


def _kind_marker(context: Context, kind: str) -> dict:
    colour = context.palette.series_colour(KINDS.index(kind))
    return {
        "color": colour,
        "line": {"width": 0},
        "pattern": {
            "shape": _PATTERNS[kind],
            "solidity": 0.3,
            "size": 6,
            "fgcolor": context.palette.background,
            "bgcolor": colour,
            "fillmode": "replace",
        },
    }


def week(context: Context, table: pandas.DataFrame, is_share: bool) -> go.Figure:
    """Weekdays across, hours down, a number in every cell that has one to say: seven columns fit a phone."""
    language = context.language

    def written(value: float) -> str:
        return language.percent(value, 1 if value < 0.1 else 0) if is_share else language.number(value)

    # Of hours and weekdays.
    values = table.to_numpy(float).T
    largest = numpy.nanmax(values) if numpy.isfinite(values).any() else 0
    days = [language.weekday(day) for day in range(7)]
    hours = range(24)
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=[day[:3].capitalize() for day in days],
            y=[f"{hour:02d}:00" for hour in hours],
            zmin=0,
            zmax=largest or 1,
            colorscale=_tint(context),
            xgap=2,
            ygap=2,
            showscale=False,
            text=[["" if not value > 0 else _short(context, value, is_share) for value in row] for row in values],
            texttemplate="%{text}",
            textfont={"size": 11},
            customdata=[
                [
                    f"{days[day]}, {hour:02d}:00–{(hour + 1) % 24:02d}:00 · {written(values[hour][day])}"
                    for day in range(7)
                ]
                for hour in hours
            ],
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=False,
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category", dtick=3)
    figure.update_xaxes(showgrid=False, type="category", side="top")
    return figure


def _short(context: Context, value: float, is_share: bool) -> str:
    if not is_share:
        return context.language.compact(value)
    percent = value * 100
    return context.language.number(percent, 1 if percent < 10 else 0)


def correlations(context: Context, r: pandas.DataFrame, n: pandas.DataFrame) -> go.Figure:
    """Two colours for the two signs, and in every cell r with its n."""
    language = context.language
    names = list(r.index)
    titles = [language.quantity(name) for name in names]
    texts, hovers, values = [], [], []
    for i, first in enumerate(names):
        texts.append([])
        hovers.append([])
        values.append([])
        for j, second in enumerate(names):
            coefficient = r.loc[first, second]
            if j >= i:
                # The lower half says it all.
                texts[-1].append("")
                hovers[-1].append("")
                values[-1].append(None)
                continue
            count = f"n{NARROW_SPACE}={NARROW_SPACE}{language.compact(n.loc[first, second])}"
            known = not numpy.isnan(coefficient)
            texts[-1].append(f"<b>{language.number(coefficient, 2, signed=True)}</b><br>{count}" if known else count)
            hovers[-1].append(
                f"{titles[i]} – {titles[j]}: r = {language.number(coefficient, 3, signed=True)}, "
                f"n = {language.number(n.loc[first, second])}"
            )
            values[-1].append(coefficient if known else None)
    dark = context.palette.is_dark
    middle = context.palette.surface
    figure = go.Figure(
        go.Heatmap(
            z=values[1:],
            x=titles[:-1],
            y=titles[1:],
            zmin=-1,
            zmax=1,
            colorscale=[
                (0.0, "#FF8A3D" if dark else "#D55E00"),
                (0.5, middle),
                (1.0, "#56B4E9" if dark else "#3A9BD9"),
            ],
            xgap=3,
            ygap=3,
            colorbar={"tickvals": [-1, 0, 1], "ticktext": ["−1", "0", "+1"], "thickness": 10, "outlinewidth": 0},
            text=[row[:-1] for row in texts[1:]],
            texttemplate="%{text}",
            textfont={"size": 12},
            customdata=[row[:-1] for row in hovers[1:]],
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=False,
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    figure.update_xaxes(showgrid=False, type="category")
    return figure


def scatter(context: Context, frame: pandas.DataFrame, x: str, y: str, looks: Mapping[Key, Line]) -> go.Figure:
    """Every bucket as a point, by sensor."""
    language = context.language
    figure = go.Figure()
    for key, group in _groups(frame):
        rows = group[group[f"{x}_avg"].notna() & group[f"{y}_avg"].notna()]
        if rows.empty or key not in looks:
            continue
        look = looks[key]
        figure.add_trace(
            go.Scatter(
                x=rows[f"{x}_avg"],
                y=rows[f"{y}_avg"],
                mode="markers",
                name=look.label,
                marker={"color": look.colour, "symbol": look.symbol, "size": 6, "opacity": 0.55},
                text=[
                    f"{language.value(x, first)} · {language.value(y, second)}<br>"
                    f"{language.date_time(moment, context.zone)}"
                    for first, second, moment in zip(
                        rows[f"{x}_avg"], rows[f"{y}_avg"], rows["bucket"].dt.to_pydatetime(), strict=True
                    )
                ],
                hovertemplate="%{text}<extra>" + look.label + "</extra>",
            )
        )
    figure.update_xaxes(title_text=language.quantity_with_unit(x))
    figure.update_yaxes(title_text=language.quantity_with_unit(y))
    figure.update_layout(showlegend=True)
    return figure


def _tint(context: Context) -> list[tuple[float, str]]:
    """One hue from the background on: more is further from it, in both themes."""
    strong = context.palette.series_colour(0)
    return [(0.0, context.palette.surface), (1.0, strong)]


def _faded(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
