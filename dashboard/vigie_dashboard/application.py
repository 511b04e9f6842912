"""The frame around the views: language, theme, navigation."""

import pathlib
from collections.abc import Callable
from functools import partial

import streamlit as st

from vigie_dashboard.context import Context, zone_of
from vigie_dashboard.database import Database
from vigie_dashboard.language import LANGUAGES, Language, language_of
from vigie_dashboard.settings import Settings, SettingsError, read_settings
from vigie_dashboard.states import guarded
from vigie_dashboard.theme import STYLE, palette_now
from vigie_dashboard.views import NAMES, now, operation, trend

# The symbol in the navigation, and the view.
VIEWS = {
    "now": (":material/sensors:", now.render),
    "trend": (":material/show_chart:", trend.render),
    "operation": (":material/monitor_heart:", operation.render),
}

# The key of the switch, and so the name in the URL.
LANGUAGE_KEY = "lang"

# In the browser's tab. Streamlit's own symbols would be fetched from another host.
ICON = pathlib.Path(__file__).with_name("icon.png")


@st.cache_resource(show_spinner=False)
def _database(settings: Settings) -> Database:
    """One pool for all readers."""
    return Database(settings.postgres, settings.statement_timeout_seconds)


def main() -> None:
    language = _language()
    st.set_page_config(page_title=language.text("application.title"), page_icon=str(ICON), layout="wide")
    try:
        settings = read_settings()
    except SettingsError as error:
        st.error(f"**{language.text('state.settings.title')}**\n\n{error}")
        return
    context = Context(
        settings=settings,
        database=_database(settings),
        language=language,
        palette=palette_now(),
        zone=zone_of(st.context.timezone),
    )

    def page_of(name: str, url_path: str, default: bool = False) -> st.Page:
        icon, render = VIEWS[name]
        title = language.text(f"view.{name}")
        return st.Page(partial(_render, render, context), title=title, icon=icon, url_path=url_path, default=default)

    first, *others = NAMES
    # Streamlit has the first at / alone, and wants another name for it. A reader may well type its own all the same.
    pages = [page_of(first, "home", default=True), *(page_of(name, name) for name in others)]
    by_name = page_of(first, first)
    page = st.navigation([*pages, by_name], position="hidden")
    _header(language, page.title, [by_name, *pages[1:]] if page is by_name else pages)
    page.run()


def _language() -> Language:
    """The choice that the switch keeps in the session and in the URL, else the browser's language."""
    chosen = st.session_state.get(LANGUAGE_KEY) or st.query_params.get(LANGUAGE_KEY)
    return language_of(chosen, st.context.locale)


def _header(language: Language, title: str, pages: list[st.Page]) -> None:
    """The ways to the views and the switch of the language, in one line also on a phone."""
    st.html(STYLE)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="header"):
        st.html(f"<h1>{title}</h1>")
        for page in pages:
            st.page_link(page)
        # Its value is in the URL, so a link keeps it.
        st.segmented_control(
            language.text("application.language"),
            options=list(LANGUAGES),
            # What is chosen by default must not follow the choice, which would then vanish from the URL.
            default=language_of(None, st.context.locale).code,
            required=True,
            label_visibility="collapsed",
            key=LANGUAGE_KEY,
            bind="query-params",
        )


def _render(render: Callable[[Context], None], context: Context) -> None:
    with guarded(context):
        render(context)
