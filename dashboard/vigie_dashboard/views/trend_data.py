"""What the Trend view has read, kept for a minute: choosing another section asks the database for nothing twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas
import streamlit as st

from vigie_dashboard.context import Context
from vigie_dashboard.queries import rules
from vigie_dashboard.queries import trend as queries
from vigie_dashboard.trend.period import Grid, Sensor

_KEPT_SECONDS = 60


@dataclass(frozen=True)
class AlertFrames:
    in_time: pandas.DataFrame
    by_cause: pandas.DataFrame
    by_sensor: pandas.DataFrame
    by_hour: pandas.DataFrame


def sensors(context: Context) -> pandas.DataFrame:
    return _sensors(context, context.settings.postgres)


def window_sizes(context: Context, chosen: tuple[Sensor, ...]) -> pandas.DataFrame:
    return _window_sizes(context, context.settings.postgres, chosen)


def windows_since(context: Context) -> datetime | None:
    return _windows_since(context, context.settings.postgres)


def series(context: Context, chosen: tuple[Sensor, ...], grid: Grid) -> pandas.DataFrame:
    with st.spinner(context.text("state.loading")):
        return _series(context, context.settings.postgres, chosen, grid)


def failure_hours(context: Context, chosen: tuple[Sensor, ...], grid: Grid) -> pandas.DataFrame:
    with st.spinner(context.text("state.loading")):
        return _failure_hours(context, context.settings.postgres, chosen, grid)


def alerts(context: Context, chosen: tuple[Sensor, ...] | None, grid: Grid) -> AlertFrames:
    """Of the chosen sensors, or of all."""
    with st.spinner(context.text("state.loading")):
        return _alerts(context, context.settings.postgres, chosen, grid)


def losses(context: Context, chosen: tuple[Sensor, ...], grid: Grid) -> pandas.DataFrame:
    return _losses(context, context.settings.postgres, chosen, grid)


def bounds(context: Context) -> pandas.DataFrame:
    return _bounds(context, context.settings.postgres)


# What begins with an underscore is not part of the cache's key; the database's address is.


@st.cache_data(ttl=_KEPT_SECONDS, max_entries=4, show_spinner=False)
def _sensors(_context: Context, database: str) -> pandas.DataFrame:
    with _context.database.read() as reader:
        return queries.sensors(reader)


@st.cache_data(ttl=_KEPT_SECONDS, max_entries=64, show_spinner=False)
def _window_sizes(_context: Context, database: str, chosen: Sequence[Sensor]) -> pandas.DataFrame:
    with _context.database.read() as reader:
        return queries.window_sizes(reader, chosen)


@st.cache_data(ttl=_KEPT_SECONDS, max_entries=4, show_spinner=False)
def _windows_since(_context: Context, database: str) -> datetime | None:
    with _context.database.read() as reader:
        return queries.windows_since(reader)


@st.cache_data(ttl=_KEPT_SECONDS, max_entries=4, show_spinner=False)
def _bounds(_context: Context, database: str) -> pandas.DataFrame:
    with _context.database.read() as reader:
        return rules.bounds(reader)


@st.cache_data(ttl=_KEPT_SECONDS, max_entries=64, show_spinner=False)
def _series(_context: Context, database: str, chosen: Sequence[Sensor], grid: Grid) -> pandas.DataFrame:
    with _context.database.read() as reader:
        return queries.series(reader, chosen, grid)


@st.cache_data(ttl=_KEPT_SECONDS, max_entries=32, show_spinner=False)
def _failure_hours(_context: Context, database: str, chosen: Sequence[Sensor], grid: Grid) -> pandas.DataFrame:
    with _context.database.read() as reader:
        return queries.failure_hours(reader, chosen, grid)


@st.cache_data(ttl=_KEPT_SECONDS, max_entries=32, show_spinner=False)
def _alerts(_context: Context, database: str, chosen: Sequence[Sensor] | None, grid: Grid) -> AlertFrames:
    with _context.database.read() as reader:
        alerts = queries.Alerts(reader, chosen, grid, _context.now())
        return AlertFrames(alerts.in_time(), alerts.by_cause(), alerts.by_sensor(), alerts.by_hour())


@st.cache_data(ttl=_KEPT_SECONDS, max_entries=64, show_spinner=False)
def _losses(_context: Context, database: str, chosen: Sequence[Sensor], grid: Grid) -> pandas.DataFrame:
    with _context.database.read() as reader:
        return queries.losses(reader, chosen, grid)
