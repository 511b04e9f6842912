"""The dashboard under test: a database of its own in the PostgreSQL that VIGIE_POSTGRES names, and the application."""

import contextlib
import os
import unittest
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
from psycopg import conninfo, sql
from streamlit.testing.v1 import AppTest

from vigie_dashboard import database

from ..checkout import ROOT
from . import history

DASHBOARD = ROOT / "dashboard"
APPLICATION = DASHBOARD / "app.py"

# A reader is told sooner that the database is away than a loaded machine may need to connect.
database.CONNECT_SECONDS = 60.0

# How long a run of the application, a connection or a query may take: only what never ends takes so long.
PATIENCE = 600


def server() -> str:
    """The PostgreSQL for tests; without one, tests that need it say so."""
    if "VIGIE_POSTGRES" not in os.environ:
        raise unittest.SkipTest("VIGIE_POSTGRES is not set: run this with tools/with-services")
    return os.environ["VIGIE_POSTGRES"]


@contextlib.contextmanager
def scratch_database(plan=None) -> Iterator[str]:
    """A database with the processor's tables, filled as planned, and its connection string."""
    name = f"dashboard_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    address = conninfo.make_conninfo(server(), dbname=name)
    try:
        with psycopg.connect(address) as connection:
            history.migrate(connection)
            if plan:
                history.fill(connection, plan)
        yield address
    finally:
        with psycopg.connect(server(), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def small_plan():
    return history.Plan(now=datetime.now(UTC), sensors=12, days=1.2, interval=120)


@contextlib.contextmanager
def application(address: str | None, **environment: str) -> Iterator[AppTest]:
    """The application in front of a database, not run yet."""
    with _environment(address, environment):
        yield AppTest.from_file(str(APPLICATION), default_timeout=PATIENCE)


def view_script(name: str, language: str) -> None:
    """The script that shows one view without the frame. It must stand alone: the test client runs its source."""
    import importlib
    from datetime import UTC

    import streamlit as st

    from vigie_dashboard.context import Context
    from vigie_dashboard.database import Database
    from vigie_dashboard.language import LANGUAGES
    from vigie_dashboard.settings import read_settings
    from vigie_dashboard.theme import LIGHT

    @st.cache_resource
    def database(address: str) -> Database:
        return Database(address)

    settings = read_settings()
    view = importlib.import_module(f"vigie_dashboard.views.{name}")
    view.render(Context(settings, database(settings.postgres), LANGUAGES[language], LIGHT, UTC))


@contextlib.contextmanager
def view_alone(name: str, address: str, language: str = "en", **environment: str) -> Iterator[AppTest]:
    """One view without the frame, not run yet: Streamlit's test client reaches pages only if they are files."""

    with _environment(address, environment):
        yield AppTest.from_function(view_script, kwargs={"name": name, "language": language}, default_timeout=PATIENCE)


@contextlib.contextmanager
def _environment(address: str | None, environment: dict[str, str]) -> Iterator[None]:
    import streamlit

    changed = {"VIGIE_POSTGRES": address or "", "VIGIE_STATEMENT_TIMEOUT": str(PATIENCE), **environment}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    streamlit.cache_resource.clear()
    try:
        yield
    finally:
        streamlit.cache_resource.clear()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def words(test: AppTest) -> str:
    """All that the page says, for a look at whether something is among it."""
    parts = []
    for element in test.main:
        value = getattr(element, "value", None)
        if isinstance(value, str):
            parts.append(value)
    return "\n".join(parts)
