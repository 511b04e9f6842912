"""What a page says when it has nothing to show, or shows what is no longer new."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, TypeVar

import streamlit as st

from vigie_dashboard.context import Context
from vigie_dashboard.database import DatabaseAway, DatabaseError, NotAllowed, NotVigie, Reader, SchemaTooOld, TooSlow

log = logging.getLogger("vigie.dashboard")

Value = TypeVar("Value")

# The texts of each error, and a symbol, as a colour alone says nothing.
_STATES: tuple[tuple[type[DatabaseError], str, str], ...] = (
    (DatabaseAway, "state.away", "✖"),
    (NotVigie, "state.not_vigie", "▲"),
    (SchemaTooOld, "state.schema", "▲"),
    (NotAllowed, "state.not_allowed", "▲"),
    (TooSlow, "state.slow", "▲"),
)


@dataclass(frozen=True)
class Loaded(Generic[Value]):
    """What was read, when, and what has kept it from being read anew since."""

    value: Value
    at: datetime
    # What its queries took.
    seconds: float
    error: DatabaseError | None = None


def load(context: Context, key: str, read: Callable[[Reader], Value], quiet: bool = False) -> Loaded[Value] | None:
    """Reads from the database, and shows the page's state if that fails.

    What was read last under this key comes back with the error when the database is away, so that a page which
    refreshes itself keeps what it shows and says how old it is; None when there is nothing to show.
    `quiet` is for the second part of a page whose first part says already that the database is away.
    """
    kept_key = f"loaded.{key}"
    kept: Loaded[Value] | None = st.session_state.get(kept_key)
    try:
        with context.database.read() as reader:
            value = read(reader)
        loaded = Loaded(value, context.now(), reader.seconds)
    except DatabaseError as error:
        _log(error)
        if kept is None or not isinstance(error, (DatabaseAway, TooSlow)):
            if not quiet:
                show_error(context, error)
            return None
        loaded = replace(kept, error=error)
        if not quiet:
            show_stale(context, loaded)
        return loaded
    st.session_state[kept_key] = loaded
    return loaded


@contextmanager
def guarded(context: Context) -> Iterator[None]:
    """Shows the state instead of what raised an error. For a whole view, and inside every fragment that reads."""
    try:
        yield
    except DatabaseError as error:
        _log(error)
        show_error(context, error)
    except Exception:
        log.exception("a view failed")
        show_state(context, "state.failed", "✖")


def show_error(context: Context, error: DatabaseError) -> None:
    """The state that an error means, in the place of what cannot be shown."""
    meant = ((key, symbol) for kind, key, symbol in _STATES if isinstance(error, kind))
    key, symbol = next(meant, ("state.failed", "✖"))
    show_state(context, key, symbol)


def show_stale(context: Context, loaded: Loaded) -> None:
    """A line above data that could not be read anew."""
    key = "state.slow.stale" if isinstance(loaded.error, TooSlow) else "state.away.stale"
    st.warning(
        context.text(
            key,
            duration=context.language.duration(max(1.0, (context.now() - loaded.at).total_seconds())),
            time=context.language.time(loaded.at, context.zone),
        ),
        icon=":material/cloud_off:",
    )


def show_empty(context: Context) -> None:
    """A database without readings."""
    show_state(context, "state.empty", "○")


def show_state(context: Context, key: str, symbol: str) -> None:
    """A title and a sentence (KEY.title, KEY.text) in the middle of the page."""
    with st.container(border=True, horizontal_alignment="center", key=key.replace(".", "-")):
        st.subheader(f"{symbol} {context.text(f'{key}.title')}", anchor=False, text_alignment="center")
        st.markdown(context.text(f"{key}.text"), text_alignment="center")


_last_logged: dict[str, float] = {}


def _log(error: DatabaseError) -> None:
    """Once a minute a kind: a page that refreshes itself would fill the log."""
    kind = type(error).__name__
    now = time.monotonic()
    if now - _last_logged.get(kind, -60) >= 60:
        _last_logged[kind] = now
        log.warning("%s: %s", kind, str(error).strip().replace("\n", " "))
