"""The view `operation`."""

import streamlit as st

from vigie_dashboard.context import Context
from vigie_dashboard.queries import operation as queries
from vigie_dashboard.states import load, show_empty


def render(context: Context) -> None:
    loaded = load(context, "operation", queries.has_readings)
    if loaded is None:
        return
    if not loaded.value:
        show_empty(context)
        return
    st.title(context.text("operation.title"), anchor=False)
