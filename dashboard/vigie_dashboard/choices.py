"""What a reader chooses, kept in the session and in the URL by names that are the same in every language.

Streamlit's own binding to the URL writes an option as it is called on the page: an address that was sent to a reader of
another language would mean nothing. Here the widget belongs to a language, and the choice does not.
"""

from collections.abc import Sequence

import streamlit as st

from vigie_dashboard.context import Context

Choice = str | list[str]


def chosen(name: str, default: Choice) -> Choice:
    """What was chosen last in this session; for parts of the page that refresh without their choices."""
    return st.session_state.get(f"chosen.{name}", default)


def widget_key(context: Context, name: str, options: Sequence[str], default: Choice) -> str:
    """The key of a choice's widget, whose value is set if it is new: to what was chosen, else to what the URL says."""
    key = f"{name}-{context.language.code}"
    if key not in st.session_state:
        known = chosen(name, _in_url(name, default))
        if isinstance(default, list):
            st.session_state[key] = [option for option in known if option in options]
        else:
            st.session_state[key] = known if known in options else default
    return key


def keep(name: str, value: Choice, default: Choice) -> Choice:
    """Keeps what the widget says. The URL names it unless it goes without saying."""
    st.session_state[f"chosen.{name}"] = value
    if value == default:
        if name in st.query_params:
            del st.query_params[name]
    elif _in_url(name, None if isinstance(default, str) else []) != value:
        # Nothing at all is a choice too.
        st.query_params[name] = value or ""
    return value


def _in_url(name: str, default: Choice | None) -> Choice | None:
    if name not in st.query_params:
        return default
    if isinstance(default, list):
        return [option for option in st.query_params.get_all(name) if option]
    return st.query_params[name]
