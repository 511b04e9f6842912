"""The view `trend`."""

import streamlit as st

from vigie_dashboard.context import Context
from vigie_dashboard.queries import trend as queries
from vigie_dashboard.states import load, show_empty


def render(context: Context) -> None:
    loaded = load(context, "trend", queries.has_readings)
    if loaded is None:
        return
    if not loaded.value:
        show_empty(context)
        return
    st.title(context.text("trend.title"), anchor=False)
