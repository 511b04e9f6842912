"""The view `now`: what happens at this moment."""

import streamlit as st

from vigie_dashboard.context import Context
from vigie_dashboard.queries import now as queries
from vigie_dashboard.states import guarded, load, show_empty


def render(context: Context) -> None:
    st.fragment(_live, run_every=context.settings.refresh_seconds)(context)


def _live(context: Context) -> None:
    with guarded(context):
        _show(context)


def _show(context: Context) -> None:
    loaded = load(context, "now", queries.sensors)
    if loaded is None:
        return
    if loaded.value.empty:
        show_empty(context)
        return
    st.dataframe(loaded.value, hide_index=True)
