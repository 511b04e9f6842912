"""The view `trend`: what is chosen, and the section that is shown of it."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pandas
import streamlit as st

from vigie_dashboard.choices import keep, widget_key
from vigie_dashboard.context import Context
from vigie_dashboard.quantities import QUANTITIES, READING_QUANTITIES
from vigie_dashboard.states import show_empty
from vigie_dashboard.trend.choice import CUSTOM, MOST_SENSORS, PERIODS, Choice
from vigie_dashboard.trend.period import (
    Sensor,
    is_too_much,
    last_days,
    make_grid,
    possible_buckets,
    usual_bucket,
    window_size,
    zone_name,
)
from vigie_dashboard.views import trend_data as data
from vigie_dashboard.views import trend_sections as sections

SECTIONS = {
    "evolution": sections.evolution,
    "alerts": sections.alerts,
    "sensors": sections.sensors,
    "periods": sections.periods,
    "correlation": sections.correlation,
    "coverage": sections.coverage,
}

_DEFAULT_SENSORS = 3
_DEFAULT_QUANTITIES = ("temperature", "humidity", "co2")


def render(context: Context) -> None:
    known = data.sensors(context)
    if known.empty:
        show_empty(context)
        return
    now = context.now()
    left, right = st.columns([3, 2])
    with left:
        chosen = _sensors(context, known)
    with right:
        quantities = _quantities(context, known, chosen)
    # One line on a wide screen, several on a narrow one.
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    with line:
        period, start, end = _period(context, now, _usual_period(known, now))
    if not chosen or not quantities:
        _say(context, "trend.nothing_chosen")
        return
    if end <= start:
        _say(context, "trend.future")
        return
    sizes = data.window_sizes(context, chosen)
    buckets = possible_buckets(sizes, start, end)
    if not buckets:
        _say(context, "trend.no_windows")
        return
    with line:
        bucket = _bucket(context, buckets, end - start, period)
    step = window_size(sizes, bucket, start, end)
    grid = make_grid(start, end, bucket, step, context.zone)
    if is_too_much(grid, chosen):
        _say(context, "trend.too_much")
        return
    section = _section(context)
    SECTIONS[section](context, Choice(chosen, quantities, period, grid, now))
    _footing(context, grid)


def _kept(key: str, default: object) -> object:
    """What was chosen before the reader went to another view and came back: Streamlit forgets that."""
    return st.session_state.get(f"kept.{key}", default)


def _keep(key: str, value: object) -> object:
    st.session_state[f"kept.{key}"] = value
    return value


def _sensors(context: Context, known: pandas.DataFrame) -> tuple[Sensor, ...]:
    marks = {
        Sensor(row.gateway_id, row.sensor_id): f" ({context.text('mark.simulated')})" if row.simulated else ""
        for row in known.itertuples()
    }
    options = list(marks)
    default = [sensor for sensor in _kept("trend.sensors", options[:_DEFAULT_SENSORS]) if sensor in marks]
    chosen = st.multiselect(
        context.text("trend.sensors.choose"),
        options,
        default=default,
        max_selections=MOST_SENSORS,
        format_func=lambda sensor: sensor.label + marks[sensor],
        placeholder=context.text("trend.sensors.placeholder"),
        key="trend-sensors",
    )
    return tuple(sorted(_keep("trend.sensors", chosen)))


def _quantities(context: Context, known: pandas.DataFrame, chosen: tuple[Sensor, ...]) -> tuple[str, ...]:
    """Only those that some chosen sensor has ever given."""
    keys = set(zip(known["gateway_id"], known["sensor_id"], strict=True)) & {(s.gateway, s.name) for s in chosen}
    bits = 0
    for row in known.itertuples():
        if (row.gateway_id, row.sensor_id) in keys:
            bits |= row.quantities
    given = [quantity.name for quantity in QUANTITIES if bits >> READING_QUANTITIES.index(quantity) & 1]
    if not given:
        return ()
    default = [name for name in _kept("trend.quantities", _DEFAULT_QUANTITIES) if name in given] or given[:1]
    picked = st.pills(
        context.text("trend.quantities.choose"),
        given,
        selection_mode="multi",
        default=default,
        format_func=context.language.quantity,
        key="trend-quantities",
    )
    _keep("trend.quantities", picked)
    return tuple(name for name in given if name in picked)


def _usual_period(known: pandas.DataFrame, now: datetime) -> str:
    """A week, once there is more than a day to show of it."""
    return "7d" if now - known["first_event_time"].min() > timedelta(days=1) else "24h"


def _period(context: Context, now: datetime, usual: str) -> tuple[str, datetime, datetime]:
    options = [*PERIODS, CUSTOM]
    period = keep(
        "trend-period",
        st.segmented_control(
            context.text("trend.period"),
            options,
            required=True,
            format_func=lambda name: context.text(f"trend.period.{name}"),
            key=widget_key(context, "trend-period", options, usual),
            width="content",
        ),
        usual,
    )
    if period != CUSTOM:
        return (period, *last_days(now, PERIODS[period], context.zone))
    today = now.astimezone(context.zone).date()
    dates = st.date_input(
        context.text("trend.period.dates"),
        value=_kept("trend.dates", (today - timedelta(days=13), today)),
        max_value=today,
        format="DD/MM/YYYY" if context.language.code == "fr" else "YYYY-MM-DD",
        key="trend-dates",
        width=280,
    )
    if len(dates) < 2:
        # The reader has given the first date and is about to give the second.
        dates = (dates[0] if dates else today, dates[0] if dates else today)
    _keep("trend.dates", tuple(dates))
    zone = ZoneInfo(zone_name(context.zone))
    start = datetime.combine(dates[0], time(), zone)
    end = datetime.combine(dates[1] + timedelta(days=1), time(), zone)
    return period, start, min(end, now.replace(second=0, microsecond=0))


def _bucket(context: Context, buckets: list[int], length: timedelta, period: str) -> int:
    usual = usual_bucket(length)
    finer = [bucket for bucket in buckets if bucket >= usual]
    default = finer[0] if finer else buckets[-1]
    kept = _kept("trend.bucket", {}).get(period)
    chosen = st.segmented_control(
        context.text("trend.bucket"),
        buckets,
        default=kept if kept in buckets else default,
        required=True,
        format_func=context.language.duration,
        # Another period has other buckets, so it is another choice.
        key=f"trend-bucket-{period}-{'-'.join(map(str, buckets))}",
        help=context.text("trend.bucket.help"),
        width="content",
    )
    _keep("trend.bucket", {**_kept("trend.bucket", {}), period: chosen})
    return chosen


def _section(context: Context) -> str:
    section = st.segmented_control(
        context.text("trend.section"),
        list(SECTIONS),
        required=True,
        format_func=lambda name: context.text(f"trend.section.{name}"),
        label_visibility="collapsed",
        key=widget_key(context, "trend-section", list(SECTIONS), "evolution"),
    )
    return keep("trend-section", section, "evolution")


def _footing(context: Context, grid) -> None:
    """What everything above has been made from."""
    language = context.language
    since = data.windows_since(context)
    deleted = since is not None and since > grid.start
    if deleted:
        st.warning(
            context.text("trend.retention", date=language.date(since, context.zone)), icon=":material/auto_delete:"
        )
    st.caption(
        context.text(
            "trend.footing",
            start=language.date_time(grid.start, context.zone),
            end=language.date_time(grid.end, context.zone),
            zone=grid.zone,
            bucket=language.duration(grid.bucket),
            step=language.duration(grid.step),
        )
    )


def _say(context: Context, key: str) -> None:
    st.info(context.text(key), icon=":material/info:")
