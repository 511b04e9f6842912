"""The sections of the Trend view: each answers one question about the chosen sensors, quantities and period."""

from collections.abc import Mapping

import pandas
import streamlit as st

from vigie_dashboard.charts import trend as charts
from vigie_dashboard.charts.bounds import Bands, bands, value_range
from vigie_dashboard.context import Context
from vigie_dashboard.quantities import BY_NAME, QUANTITIES
from vigie_dashboard.trend import analysis
from vigie_dashboard.trend.choice import PERIODS, Choice
from vigie_dashboard.trend.download import csv, series_columns
from vigie_dashboard.views import trend_data as data

Key = tuple[str, str]

# How far from the values a bound may be to be drawn: who looks for a trend wants to see its shape.
_REACH = 0.6
# How much of a list is drawn; the table has it all.
_MOST_BARS = 15


def evolution(context: Context, choice: Choice) -> None:
    frame = data.series(context, choice.sensors, choice.grid)
    losses = data.losses(context, choice.sensors, choice.grid)
    if _is_empty(context, frame):
        return
    _figures(context, frame, losses)
    looks = _looks(context, choice)
    several = len(choice.sensors) > 1
    apart = False
    if several:
        apart = (
            st.segmented_control(
                context.text("trend.layout"),
                ["together", "apart"],
                default="together",
                required=True,
                format_func=lambda name: context.text(f"trend.layout.{name}"),
                label_visibility="collapsed",
                key="trend-layout",
            )
            == "apart"
        )
    for quantity in choice.quantities:
        if frame[f"{quantity}_avg"].notna().any():
            shows_extremes = apart or len(choice.sensors) <= charts.MOST_BANDS
            ends = ("min", "max") if shows_extremes else ("avg", "avg")
            limits, drawn = _bounds(context, quantity, *(frame[f"{quantity}_{end}"] for end in ends))
            _quantity_heading(context, quantity, drawn)
            if apart:
                _apart(context, choice, frame, losses, quantity, looks, limits, drawn)
            else:
                figure = charts.evolution(context, frame, quantity, looks, losses, choice.grid.bucket, limits, drawn)
                context.show(figure, f"trend-evolution-{quantity}", _alt(context, "evolution", quantity), 400)
    key = "trend.evolution.bands" if apart or len(choice.sensors) <= charts.MOST_BANDS else "trend.evolution.lines"
    st.caption(context.text(key) + " " + context.text("trend.evolution.help"))
    shown = frame[[column for column in series_columns(choice.quantities) if column in frame]]
    _download(context, choice, "evolution", shown)


def _apart(
    context, choice: Choice, frame, losses, quantity: str, looks: Mapping[Key, charts.Line], limits, drawn: Bands
) -> None:
    """A small figure for each sensor, all with the same scale."""
    keys = [key for key in choice.keys if frame.loc[_of(frame, key), f"{quantity}_avg"].notna().any()]
    for place in range(0, len(keys), 2):
        for column, key in zip(st.columns(2), keys[place : place + 2], strict=False):
            with column:
                st.markdown(f"**{looks[key].label}**")
                figure = charts.evolution(
                    context,
                    frame[_of(frame, key)],
                    quantity,
                    {key: looks[key]},
                    losses[losses["gateway_id"] == key[0]],
                    choice.grid.bucket,
                    limits,
                    drawn,
                )
                name = f"trend-evolution-{quantity}-{key[0]}-{key[1]}"
                context.show(figure, name, _alt(context, "evolution", quantity), 250)


def alerts(context: Context, choice: Choice) -> None:
    scope = st.segmented_control(
        context.text("trend.scope"),
        ["all", "chosen"],
        default="all",
        required=True,
        format_func=lambda name: context.text(f"trend.scope.{name}"),
        label_visibility="collapsed",
        key="trend-scope",
    )
    found = data.alerts(context, choice.sensors if scope == "chosen" else None, choice.grid)
    language = context.language
    if found.in_time.empty:
        st.success(context.text("trend.alerts.none"), icon=":material/check_circle:")
    else:
        _heading(context.text("trend.alerts.in_time"))
        grid = choice.grid
        figure = charts.alerts_in_time(context, found.in_time, grid.start, grid.end, grid.bucket)
        context.show(figure, "trend-alerts-time", _alt(context, "alerts"), 300)
        _download(context, choice, "alerts-in-time", found.in_time)
        left, right = st.columns(2)
        with left:
            _alerts_by_sensor(context, choice, found.by_sensor)
        with right:
            _heading(context.text("trend.alerts.by_cause"))
            _table(
                context,
                pandas.DataFrame(
                    {
                        "trend.kind": [context.text(f"alert_kind.{kind}") for kind in found.by_cause["kind"]],
                        "trend.cause": [
                            _cause(context, kind, name)
                            for kind, name in zip(found.by_cause["kind"], found.by_cause["variable"], strict=True)
                        ],
                        "trend.alerts": found.by_cause["alerts"],
                        "trend.critical": found.by_cause["critical"],
                        "trend.open": found.by_cause["still_open"],
                        "trend.median": found.by_cause["median_seconds"],
                    }
                ),
                {
                    "trend.alerts": language.number,
                    "trend.critical": language.number,
                    "trend.open": language.number,
                    "trend.median": language.duration,
                },
            )
            _download(context, choice, "alerts-by-cause", found.by_cause)
    left, right = st.columns(2)
    if not found.in_time.empty:
        with left:
            _heading(context.text("trend.alerts.by_hour"))
            _week(context, "trend-alert-hours", analysis.week(found.by_hour, "alerts", 0), False)
            _download(context, choice, "alerts-by-hour", found.by_hour)
    with right if not found.in_time.empty else left:
        _failures(context, choice)


def _week(context: Context, key: str, table: pandas.DataFrame, is_share: bool) -> None:
    context.show(charts.week(context, table, is_share), key, _alt(context, "week"), 460)


def _alerts_by_sensor(context: Context, choice: Choice, by_sensor: pandas.DataFrame) -> None:
    _heading(context.text("trend.alerts.by_sensor"))
    keys = list(dict.fromkeys(zip(by_sensor["gateway_id"], by_sensor["sensor_id"], strict=True)))
    shown = set(keys[:_MOST_BARS])
    rows = by_sensor[[key in shown for key in zip(by_sensor["gateway_id"], by_sensor["sensor_id"], strict=True)]]
    names = analysis.labels(sorted(shown))
    names |= {key: context.text("trend.stream", gateway=key[0]) for key in shown if not key[1]}
    figure = charts.alerts_by_sensor(context, rows, names)
    context.show(figure, "trend-alerts-sensor", _alt(context, "alerts"), 110 + 26 * len(shown))
    if len(keys) > len(shown):
        st.caption(context.text("trend.alerts.more", shown=len(shown), count=context.language.number(len(keys))))
    _download(context, choice, "alerts-by-sensor", by_sensor)


def _failures(context: Context, choice: Choice) -> None:
    """Readings that failed, from the windows of the chosen sensors."""
    _heading(context.text("trend.failures.by_hour"))
    hours = data.failure_hours(context, choice.sensors, choice.grid)
    failures, readings = int(hours["failures"].sum()), int(hours["readings"].sum())
    if not failures:
        st.success(context.text("trend.failures.none"), icon=":material/check_circle:")
        return
    _week(context, "trend-failure-hours", analysis.failure_shares(hours), True)
    st.caption(
        context.text(
            "trend.failures.share",
            failures=context.language.number(failures),
            readings=context.language.number(readings),
            share=context.language.percent(failures / readings, 2),
        )
    )
    _download(context, choice, "failures-by-hour", hours[["weekday", "hour", "readings", "failures", "warnings"]])


def sensors(context: Context, choice: Choice) -> None:
    frame = data.series(context, choice.sensors, choice.grid)
    if _is_empty(context, frame):
        return
    looks = _looks(context, choice)
    language = context.language
    for quantity in choice.quantities:
        ranked = analysis.ranking(frame, quantity)
        if not ranked["count"].any():
            continue
        _heading(language.quantity_with_unit(quantity))
        figure = charts.ranges(context, ranked, quantity, looks)
        context.show(
            figure,
            f"trend-ranges-{quantity}",
            _alt(context, "ranges", quantity),
            120 + 34 * int((ranked["count"] > 0).sum()),
        )

        def value(number: float, digits: int = BY_NAME[quantity].digits) -> str:
            return language.number(number, max(1, digits))

        _table(
            context,
            pandas.DataFrame(
                {
                    "trend.rank": range(1, len(ranked) + 1),
                    "trend.sensor": _names(ranked, looks),
                    "trend.average": ranked["avg"],
                    "trend.minimum": ranked["min"],
                    "trend.maximum": ranked["max"],
                    "trend.stddev": ranked["stddev"],
                    "trend.readings": ranked["count"],
                    "trend.coverage": ranked["coverage"],
                    "trend.warnings": ranked["warning_share"],
                    "trend.failures": ranked["failure_share"],
                }
            ),
            {
                **dict.fromkeys(("trend.average", "trend.minimum", "trend.maximum", "trend.stddev"), value),
                "trend.readings": language.number,
                "trend.coverage": _coverage_text(context),
                "trend.warnings": lambda share: language.percent(share, 1),
                "trend.failures": lambda share: language.percent(share, 1),
            },
        )
        _download(context, choice, f"sensors-{quantity}", ranked, quantity)
    st.caption(context.text("trend.sensors.help"))


def periods(context: Context, choice: Choice) -> None:
    offsets = {
        "before": max(1, round((choice.grid.end - choice.grid.start).total_seconds() / 86_400)),
        "week": 7,
        "4weeks": 28,
    }
    if choice.period in PERIODS:
        offsets["before"] = PERIODS[choice.period]
    # The same offset under two names would be no choice.
    names = [name for name in offsets if name == "before" or offsets[name] != offsets["before"]]
    name = st.segmented_control(
        context.text("trend.compare"),
        names,
        default="before",
        required=True,
        format_func=lambda name: context.text(f"trend.compare.{name}", days=offsets["before"]),
        key="trend-compare",
    )
    days = offsets[name]
    earlier_grid = choice.grid.moved_back(days)
    frame = data.series(context, choice.sensors, choice.grid)
    earlier = data.series(context, choice.sensors, earlier_grid)
    if _is_empty(context, frame):
        return
    language = context.language
    st.caption(
        context.text(
            "trend.compare.dates",
            start=language.date_time(choice.grid.start, context.zone),
            end=language.date_time(choice.grid.end, context.zone),
            earlier_start=language.date_time(earlier_grid.start, context.zone),
            earlier_end=language.date_time(earlier_grid.end, context.zone),
        )
    )
    if not earlier["readings"].sum():
        st.info(context.text("trend.compare.none"), icon=":material/info:")
        return
    looks = _looks(context, choice)
    downloads = []
    for quantity in choice.quantities:
        both = analysis.aligned(frame, earlier, quantity, days, context.zone)
        if not both["avg"].notna().any():
            continue
        averages = both[["avg", "avg_earlier"]].astype(float)
        limits, drawn = _bounds(context, quantity, averages.min(axis=1), averages.max(axis=1))
        _quantity_heading(context, quantity, drawn)
        _differences(context, frame, earlier, quantity, looks)
        keys = [key for key in choice.keys if both.loc[_of(both, key), "avg"].notna().any()]
        # Three beside each other, unless that leaves one alone in its line.
        width = 2 if len(keys) in (2, 4) else min(3, len(keys))
        for place in range(0, len(keys), width):
            for column, key in zip(st.columns(width), keys[place : place + width], strict=False):
                with column:
                    st.markdown(f"**{looks[key].label}**")
                    figure = charts.periods(context, both[_of(both, key)], quantity, looks[key], limits, drawn)
                    context.show(
                        figure, f"trend-periods-{quantity}-{key[0]}-{key[1]}", _alt(context, "periods", quantity), 240
                    )
        downloads.append((quantity, both))
    with st.container(horizontal=True):
        for quantity, both in downloads:
            _download(context, choice, f"periods-{quantity}", both, quantity, language.quantity(quantity))


def _differences(context: Context, frame, earlier, quantity: str, looks: Mapping[Key, charts.Line]) -> None:
    language = context.language
    table = analysis.differences(frame, earlier, quantity)

    def value(number: float, digits: int = max(1, BY_NAME[quantity].digits)) -> str:
        return language.number(number, digits)

    _table(
        context,
        pandas.DataFrame(
            {
                "trend.sensor": _names(table, looks),
                "trend.current": table["avg"],
                "trend.earlier": table["avg_earlier"],
                "trend.difference": table["difference"],
                "trend.coverage": table["coverage"],
                "trend.coverage.earlier": table["coverage_earlier"],
            }
        ),
        {
            "trend.current": value,
            "trend.earlier": value,
            "trend.difference": lambda number: language.number(number, max(1, BY_NAME[quantity].digits), signed=True),
            "trend.coverage": _coverage_text(context),
            "trend.coverage.earlier": _coverage_text(context),
        },
    )


def correlation(context: Context, choice: Choice) -> None:
    frame = data.series(context, choice.sensors, choice.grid)
    if _is_empty(context, frame):
        return
    deviations = analysis.deviations(frame)
    r, n = analysis.correlations(deviations)
    if len(r) < 2:
        st.info(context.text("trend.correlation.none"), icon=":material/info:")
        return
    left, right = st.columns(2)
    names = list(r.index)
    with left:
        _heading(context.text("trend.correlation.matrix"))
        context.show(charts.correlations(context, r, n), "trend-correlation", _alt(context, "correlation"), 420)
        pairs = [
            {"first": first, "second": second, "r": r.loc[first, second], "n": n.loc[first, second]}
            for place, first in enumerate(names)
            for second in names[place + 1 :]
        ]
        _download(context, choice, "correlation", pandas.DataFrame(pairs))
    with right:
        _heading(context.text("trend.correlation.pair"))
        strongest = max(pairs, key=lambda pair: abs(pair["r"]) if pair["r"] == pair["r"] else -1)
        with st.container(horizontal=True):
            x = st.selectbox(
                context.text("trend.correlation.x"),
                names,
                index=names.index(strongest["first"]),
                format_func=context.language.quantity,
                key="trend-x",
            )
            y = st.selectbox(
                context.text("trend.correlation.y"),
                names,
                index=names.index(strongest["second"]),
                format_func=context.language.quantity,
                key="trend-y",
            )
        good = frame[frame["coverage"].fillna(0) >= analysis.LOW_COVERAGE]
        figure = charts.scatter(context, good, x, y, _looks(context, choice))
        context.show(figure, "trend-scatter", _alt(context, "scatter"), 360)
        columns = ["gateway_id", "sensor_id", "bucket", *dict.fromkeys((f"{x}_avg", f"{y}_avg")), "coverage"]
        _download(context, choice, f"pairs-{x}-{y}", good[columns])
    st.caption(
        context.text(
            "trend.correlation.help",
            bucket=context.language.duration(choice.grid.bucket),
            least=context.language.percent(analysis.LOW_COVERAGE),
        )
    )


def coverage(context: Context, choice: Choice) -> None:
    frame = data.series(context, choice.sensors, choice.grid)
    losses = data.losses(context, choice.sensors, choice.grid)
    language = context.language
    _figures(context, frame, losses)
    looks = _looks(context, choice)
    table = analysis.coverage_by_sensor(frame)
    _heading(context.text("trend.coverage.by_sensor"))
    _table(
        context,
        pandas.DataFrame(
            {
                "trend.sensor": _names(table, looks),
                "trend.coverage": table["coverage"],
                "trend.readings": table["readings"],
                "trend.coverage.low": table["low_buckets"],
                "trend.coverage.buckets": table["buckets"],
                "trend.late": table["late"],
                "trend.failures": table["failures"],
            }
        ),
        {
            "trend.coverage": _coverage_text(context),
            **dict.fromkeys(
                ("trend.readings", "trend.coverage.low", "trend.coverage.buckets", "trend.late", "trend.failures"),
                language.number,
            ),
        },
    )
    _download(context, choice, "coverage", table)
    _heading(context.text("trend.coverage.in_time"))
    figure = charts.strip(context, frame, choice.grid.bucket, looks)
    context.show(figure, "trend-strip", _alt(context, "coverage"), 60 + 40 * len(choice.keys))
    st.caption(context.text("trend.coverage.help"))
    _heading(context.text("trend.losses"))
    if losses.empty:
        st.success(context.text("trend.losses.none"), icon=":material/check_circle:")
        return
    _table(
        context,
        pandas.DataFrame(
            {
                "trend.gateway": losses["gateway_id"],
                "trend.losses.readings": losses["readings"],
                "trend.losses.reason": losses["reason"].map(language.loss_reason),
                "trend.losses.after": [language.date_time(time, context.zone, True) for time in losses["after_time"]],
                "trend.losses.before": [language.date_time(time, context.zone, True) for time in losses["before_time"]],
                "trend.losses.detected": [language.date_time(time, context.zone) for time in losses["detected_at"]],
            }
        ),
        {"trend.losses.readings": language.number},
    )
    holes = int(losses["holes"].iloc[0])
    if holes > len(losses):
        st.caption(context.text("trend.losses.more", shown=len(losses), count=language.number(holes)))
    shown = losses[["gateway_id", "stream_id", "readings", "reason", "after_time", "before_time", "detected_at"]]
    _download(context, choice, "losses", shown)


def _figures(context: Context, frame: pandas.DataFrame, losses: pandas.DataFrame) -> None:
    """What all averages below rest on."""
    language = context.language
    readings, failures = int(frame["readings"].sum()), int(frame["failures"].sum())
    lost = 0 if losses.empty else int(losses["readings_in_all"].iloc[0])
    with st.container(horizontal=True, gap="large", key="trend-figures"):
        st.metric(context.text("trend.readings"), language.number(readings), width="content")
        st.metric(context.text("trend.coverage"), language.percent(analysis.coverage(frame), 1), width="content")
        share = failures / readings if readings else None
        st.metric(context.text("trend.failures"), language.percent(share, 2), width="content")
        st.metric(
            context.text("trend.lost.metric"),
            language.number(lost),
            width="content",
            help=context.text("trend.lost.help"),
        )


def _heading(text: str) -> None:
    """Smaller than the page's own."""
    st.subheader(text, anchor=False)


def _quantity_heading(context: Context, quantity: str, drawn: Bands) -> None:
    """With the bounds that its axis does not reach."""
    text = context.language.quantity_with_unit(quantity)
    # Markdown would take these for a quotation or a link.
    beyond = drawn.beyond.replace("<", "\\<").replace(">", "\\>")
    _heading(f"{text} :small[:gray[{beyond}]]" if beyond else text)


def _bounds(
    context: Context, quantity: str, lowest: pandas.Series, highest: pandas.Series
) -> tuple[tuple[float, float] | None, Bands]:
    """The limits of an axis that holds all values, and what to draw of the rules within them."""
    known = data.bounds(context)
    own = known[known["quantity"] == quantity]
    limits = value_range(pandas.concat([lowest, highest]).astype(float), own, quantity, _REACH)
    if limits is None:
        return None, Bands([], [], "")
    return limits, bands(own, limits, context.language, context.palette, {"xref": "x domain", "yref": "y"})


def _is_empty(context: Context, frame: pandas.DataFrame) -> bool:
    if frame["readings"].sum():
        return False
    st.info(context.text("trend.empty"), icon=":material/info:")
    return True


def _looks(context: Context, choice: Choice) -> dict[Key, charts.Line]:
    return charts.lines(context, analysis.labels(choice.keys))


def _names(frame: pandas.DataFrame, looks: Mapping[Key, charts.Line]) -> list[str]:
    return [looks[key].label for key in zip(frame["gateway_id"], frame["sensor_id"], strict=True)]


def _of(frame: pandas.DataFrame, key: Key) -> pandas.Series:
    return (frame["gateway_id"] == key[0]) & (frame["sensor_id"] == key[1])


def _cause(context: Context, kind: str, variable: str) -> str:
    """A quantity by its name; a chip as its maker writes it; a stream as it is."""
    if variable in {quantity.name for quantity in QUANTITIES}:
        return context.language.quantity(variable)
    return variable.upper() if kind == "fault" else variable


def _coverage_text(context: Context):
    """With a mark where it is low."""

    def written(share: float) -> str:
        text = context.language.percent(share, 1)
        return f"▲ {text}" if share < analysis.LOW_COVERAGE else text

    return written


def _table(context: Context, frame: pandas.DataFrame, formats: Mapping) -> None:
    """A table whose columns are keys of texts. It sorts by its numbers, and shows them as the language writes them."""
    names = {column: context.text(column) for column in frame}
    styled = frame.rename(columns=names).style.format({names[column]: write for column, write in formats.items()})
    height = "content" if len(frame) <= 12 else 460
    st.dataframe(styled, hide_index=True, width="stretch", height=height, placeholder="–")


def _alt(context: Context, name: str, quantity: str | None = None) -> str:
    text = context.text(f"trend.alt.{name}")
    return f"{text} {context.language.quantity(quantity)}" if quantity else text


def _download(
    context: Context,
    choice: Choice,
    name: str,
    frame: pandas.DataFrame,
    quantity: str | None = None,
    title: str | None = None,
) -> None:
    start = choice.grid.start.astimezone(context.zone)
    end = choice.grid.end.astimezone(context.zone)
    st.download_button(
        context.text("trend.download") + (f" · {title}" if title else ""),
        csv(frame, context.zone, quantity),
        file_name=f"vigie-{name}-{start:%Y%m%dT%H%M}-{end:%Y%m%dT%H%M}.csv",
        mime="text/csv",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
        key=f"trend-download-{name}",
    )
