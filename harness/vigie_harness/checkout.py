"""The folders of the project. The package is installed in editable mode, so its own place tells them."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
STATE = ROOT / ".vigie"
"""Everything that a command keeps between its runs."""


def programs(build: str = "debug") -> pathlib.Path:
    """The folder of Vigie's programs: VIGIE_BIN, or that of a build in this checkout."""
    return pathlib.Path(os.environ.get("VIGIE_BIN") or ROOT / ".build" / build)
