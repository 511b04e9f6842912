"""What every view gets."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pandas
import plotly.graph_objects as go
import streamlit as st

from vigie_dashboard.database import Database
from vigie_dashboard.language import Language
from vigie_dashboard.settings import Settings
from vigie_dashboard.theme import CHART_CONFIGURATION, Palette, template


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Context:
    settings: Settings
    database: Database
    language: Language
    palette: Palette
    # The reader's, as the browser says.
    zone: tzinfo
    now: Callable[[], datetime] = utc_now

    def text(self, key: str, **values: object) -> str:
        return self.language.text(key, **values)

    def local(self, times: pandas.Series) -> pandas.Series:
        """Times for a figure's axis: Plotly knows no time zones and shows what it is given."""
        return pandas.to_datetime(times, utc=True).dt.tz_convert(self.zone).dt.tz_localize(None)

    def local_time(self, moment: datetime) -> datetime:
        """One such time."""
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def show(self, figure: go.Figure, key: str, alt: str, height: int | None = None) -> None:
        """Puts a figure into the page in the reader's theme and language. `alt` is for those who cannot see it."""
        # Plotly takes no lists from a template.
        figure.update_xaxes(tickformatstops=self.language.plotly_date_stops)
        # The same `uirevision` leaves the reader's zoom and hidden series alone as the data change.
        figure.update_layout(template=template(self.palette, self.language), uirevision=key)
        if height:
            figure.update_layout(height=height)
        st.plotly_chart(figure, key=key, theme=None, config=CHART_CONFIGURATION, alt=alt)


def zone_of(name: str | None) -> tzinfo:
    """A time zone by the name that the browser gives, or UTC."""
    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError):
        return UTC
