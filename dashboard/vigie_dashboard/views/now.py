"""The view `now`: what happens at this moment. Its parts refresh by themselves; the choices stand outside of them, so
that a refresh never touches what a reader is doing."""

from datetime import timedelta

import pandas
import streamlit as st

from vigie_dashboard.charts import places as places_chart
from vigie_dashboard.charts import series as series_chart
from vigie_dashboard.choices import chosen, keep, widget_key
from vigie_dashboard.context import Context
from vigie_dashboard.quantities import BY_NAME, QUANTITIES
from vigie_dashboard.queries import now as queries
from vigie_dashboard.sensor_status import with_status
from vigie_dashboard.states import guarded, load, show_empty
from vigie_dashboard.views import now_parts as parts

PERIODS = {"5m": 5, "15m": 15, "1h": 60, "3h": 180, "12h": 720}
USUAL_PERIOD = "1h"
# So many lines can still be told apart, and are read in time.
MOST_SENSORS = 7
# Without a choice.
SENSORS_BY_ITSELF = 3
# More points a line than a screen shows are averaged in the database.
MOST_POINTS = 900
# Of more sensors the table shows so many, and the rest when it is asked for.
MOST_ROWS = 50
# What the table may be ordered by, besides the quantities.
ORDERS = ("worst", "name", "age")
SNAPSHOT = "now.snapshot"
IS_WHOLE = "now.is_whole"


def render(context: Context) -> None:
    st.html(parts.style(context))
    every = context.settings.refresh_seconds
    # Tells the whole page's run from a refresh of its first part alone.
    st.session_state[IS_WHOLE] = True
    st.fragment(_overview, run_every=every)(context)
    st.session_state[IS_WHOLE] = False
    if SNAPSHOT not in st.session_state:
        return
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _series_choices(context)
        st.fragment(_series, run_every=every)(context)
    with right:
        _place_choice(context)
        st.fragment(_places, run_every=every)(context)
    _table_choices(context)
    st.fragment(_sensors, run_every=every)(context)


# What is wrong


def _overview(context: Context) -> None:
    with guarded(context):
        loaded = load(context, "now.overview", queries.overview)
        if loaded is None or loaded.value.sensors.empty:
            if loaded is not None:
                show_empty(context)
            if st.session_state.pop(SNAPSHOT, None) is not None and not st.session_state[IS_WHOLE]:
                # Nothing below may stay.
                st.rerun()
            return
        overview = loaded.value
        sensors = with_status(overview.sensors)
        known = st.session_state.get(SNAPSHOT)
        st.session_state[SNAPSHOT] = sensors
        st.session_state["now.bounds"] = overview.bounds
        st.session_state["now.at"] = overview.now
        is_new = known is None or set(known["key"]) != set(sensors["key"])
        if is_new and not st.session_state[IS_WHOLE]:
            # The other parts are not there yet, or the choices do not know of new sensors.
            st.rerun()
        st.html(parts.banner(context, sensors, overview.alerts, overview.now, loaded.error is None))
        st.html(parts.cards(context, sensors, overview.alerts, overview.figures))
        st.subheader(context.text("now.alerts"), anchor=False)
        count = len(overview.alerts)
        every = count > parts.MOST_ALERTS and st.toggle(
            context.text("now.every_alert", count=context.language.number(count)), key="alerts", bind="query-params"
        )
        most = count if every else parts.MOST_ALERTS
        st.html(parts.alert_list(context, overview.alerts, sensors, overview.now, most))


# Series


def _series_choices(context: Context) -> None:
    snapshot = st.session_state[SNAPSHOT]
    st.subheader(context.text("now.series"), anchor=False)
    st.multiselect(
        context.text("now.choose_sensors"),
        options=sorted(snapshot["key"]),
        format_func=_identity,
        placeholder=context.text("now.sensors_by_itself"),
        max_selections=MOST_SENSORS,
        key="sensors",
        bind="query-params",
        label_visibility="collapsed",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        names = [quantity.name for quantity in QUANTITIES]
        usual = _usual_quantities(snapshot)
        keep(
            "quantities",
            st.pills(
                context.text("now.choose_quantities"),
                options=names,
                selection_mode="multi",
                format_func=context.language.quantity,
                key=widget_key(context, "quantities", names, usual),
                label_visibility="collapsed",
            ),
            usual,
        )
        keep(
            "period",
            st.segmented_control(
                context.text("now.choose_period"),
                options=list(PERIODS),
                required=True,
                format_func=lambda name: context.language.duration(PERIODS[name] * 60.0),
                key=widget_key(context, "period", list(PERIODS), USUAL_PERIOD),
                label_visibility="collapsed",
            ),
            USUAL_PERIOD,
        )


def _usual_quantities(snapshot: pandas.DataFrame) -> list[str]:
    present = [quantity.name for quantity in QUANTITIES if snapshot[quantity.name].notna().any()]
    return [name for name in ("temperature", "co2") if name in present] or present[:1]


def _identity(key: str) -> str:
    return key


def _shown_keys(snapshot: pandas.DataFrame) -> list[str]:
    """The reader's choice, else the worst that send something."""
    own = [key for key in st.session_state.get("sensors", []) if key in set(snapshot["key"])]
    if own:
        return own
    alive = snapshot[snapshot["status"] != "stale"]
    return list((alive if len(alive) else snapshot)["key"].head(SENSORS_BY_ITSELF))


def _series(context: Context) -> None:
    with guarded(context):
        snapshot = st.session_state.get(SNAPSHOT)
        if snapshot is None:
            return
        keys = _shown_keys(snapshot)
        quantities = [quantity.name for quantity in QUANTITIES if quantity.name in chosen("quantities", [])]
        if not quantities:
            st.info(context.text("now.no_quantity"))
            return
        minutes = PERIODS[chosen("period", USUAL_PERIOD)]
        until = st.session_state["now.at"]
        since = until - timedelta(minutes=minutes)
        fastest = float(snapshot[snapshot["key"].isin(keys)]["interval_ms"].min()) / 1000
        bucket = bucket_for(minutes * 60, fastest)
        places = [tuple(key.split("/", 1)) for key in keys]
        loaded = load(
            context,
            "now.series",
            lambda reader: queries.series(reader, places, quantities, since, until, bucket),
            quiet=True,
        )
        if loaded is None:
            return
        frame = loaded.value
        if not set(quantities) <= set(frame.columns):
            # Of another choice, from before the database went away.
            return
        if frame.empty:
            st.info(context.text("now.no_readings", period=context.language.duration(minutes * 60.0)))
            return
        frame = frame.assign(
            time=context.local(frame["event_time"]), key=frame["gateway_id"] + "/" + frame["sensor_id"]
        )
        figure = series_chart.figure(
            frame,
            keys,
            quantities,
            st.session_state["now.bounds"],
            context.local_time(since),
            context.local_time(until),
            bucket.total_seconds() if bucket else 0.0,
            context.language,
            context.palette,
        )
        context.show(figure, "now-series", context.text("now.series.alt"))
        if bucket:
            st.caption(context.text("now.averaged", duration=context.language.duration(bucket)))


def bucket_for(seconds: float, interval: float) -> timedelta | None:
    """The length to average over so that a line has no more points than can be seen; None for readings as they are."""
    if seconds / max(interval, 0.001) <= MOST_POINTS:
        return None
    for length in (1, 2, 5, 10, 15, 30, 60, 120, 300):
        if seconds / length <= MOST_POINTS and length >= interval:
            return timedelta(seconds=length)
    return timedelta(seconds=600)


# Places


def _place_choice(context: Context) -> None:
    st.subheader(context.text("now.places"), anchor=False)
    options = ["status", *(quantity.name for quantity in QUANTITIES)]
    keep(
        "colour",
        st.selectbox(
            context.text("now.colour_by"),
            options=options,
            format_func=lambda name: (
                context.text("now.status") if name == "status" else context.language.quantity_with_unit(name)
            ),
            key=widget_key(context, "colour", options, "status"),
            label_visibility="collapsed",
        ),
        "status",
    )


def _places(context: Context) -> None:
    with guarded(context):
        snapshot = st.session_state.get(SNAPSHOT)
        if snapshot is None:
            return
        rows = len(chosen("quantities", []))
        figure = places_chart.figure(
            snapshot,
            chosen("colour", "status"),
            context.language,
            context.palette,
            # As high as the series beside it, but never too high for a phone.
            height=min(max(series_chart.height(rows), 420), 560),
        )
        if figure is None:
            st.info(context.text("now.no_places"))
            return
        context.show(figure, "now-places", context.text("now.places.alt"))
        missing = int(snapshot[["latitude", "longitude"]].isna().any(axis=1).sum())
        if missing:
            st.caption(context.language.count("now.without_place", missing))


# All sensors


def _table_choices(context: Context) -> None:
    snapshot = st.session_state[SNAPSHOT]
    st.subheader(context.text("now.all_sensors"), anchor=False)
    left, middle, right = st.columns([3, 2, 2], gap="small")
    with left:
        st.multiselect(
            context.text("now.choose_sites"),
            options=sorted(snapshot["gateway_id"].unique()),
            placeholder=context.text("now.all_sites"),
            key="sites",
            bind="query-params",
            label_visibility="collapsed",
        )
    with middle:
        st.text_input(
            context.text("now.find"),
            placeholder=context.text("now.find.placeholder"),
            key="find",
            bind="query-params",
            label_visibility="collapsed",
        )
    with right:
        orders = [*ORDERS, *(quantity.name for quantity in QUANTITIES)]
        keep(
            "order",
            st.selectbox(
                context.text("now.order"),
                options=orders,
                format_func=lambda name: _order_name(context, name),
                key=widget_key(context, "order", orders, "worst"),
                label_visibility="collapsed",
            ),
            "worst",
        )
    if len(snapshot) > MOST_ROWS:
        st.toggle(
            context.text("now.every_row", count=context.language.number(len(snapshot))),
            key="every",
            bind="query-params",
        )


def _order_name(context: Context, order: str) -> str:
    if order in ORDERS:
        return context.text(f"now.order.{order}")
    key = "now.order.least" if order in parts.LEAST_FIRST else "now.order.most"
    return context.text(key, quantity=context.language.quantity(order))


def _sensors(context: Context) -> None:
    with guarded(context):
        snapshot = st.session_state.get(SNAPSHOT)
        if snapshot is None:
            return
        shown = snapshot
        if sites := st.session_state.get("sites"):
            shown = shown[shown["gateway_id"].isin(sites)]
        if wanted := (st.session_state.get("find") or "").strip():
            shown = shown[shown["key"].str.contains(wanted, case=False, regex=False)]
        if shown.empty:
            st.info(context.text("state.nothing_chosen"))
            return
        shown = in_order(shown, chosen("order", "worst"))
        rows = len(shown) if st.session_state.get("every") else MOST_ROWS
        st.html(parts.sensor_table(context, shown.head(rows)))
        if len(shown) > rows:
            language = context.language
            st.caption(context.text("now.rows", shown=language.number(rows), count=language.number(len(shown))))


def in_order(sensors: pandas.DataFrame, order: str) -> pandas.DataFrame:
    """`sensors` come with the worst first, which also decides between equals; what has no value is last."""
    if order == "name":
        return sensors.sort_values(["sensor_id", "gateway_id"], ignore_index=True)
    if order == "age" or order in BY_NAME:
        least_first = order in parts.LEAST_FIRST
        return sensors.sort_values(order, ascending=least_first, kind="stable", ignore_index=True)
    return sensors
