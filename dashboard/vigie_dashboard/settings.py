"""What the environment says."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


class SettingsError(Exception):
    """A setting that cannot be used: one sentence for the person who starts the dashboard."""


@dataclass(frozen=True)
class Settings:
    # libpq's keywords or a URI. A password belongs into a file that PGPASSFILE or `passfile=` names.
    postgres: str
    # How long one query may take.
    statement_timeout_seconds: float = 10.0
    # How often the live view reads.
    refresh_seconds: float = 2.0
    # The file of the token that the processors want (their monitoring.token_file).
    token_file: str | None = None


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    postgres = environment.get("VIGIE_POSTGRES", "").strip()
    if not postgres:
        raise SettingsError('VIGIE_POSTGRES is not set: it names the database, such as "host=db user=me dbname=vigie".')
    return Settings(
        postgres=postgres,
        statement_timeout_seconds=_seconds(environment, "VIGIE_STATEMENT_TIMEOUT", 10.0),
        refresh_seconds=_seconds(environment, "VIGIE_REFRESH", 2.0),
        token_file=environment.get("VIGIE_TOKEN_FILE", "").strip() or None,
    )


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise SettingsError(f"{name} is {text!r}: a number of seconds from 0.1 to 3600 is needed.")
    return value
