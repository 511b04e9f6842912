"""The folders of the project. The package is installed in editable mode, so its own place tells them."""

import os
import pathlib

from .errors import HarnessError

ROOT = pathlib.Path(__file__).resolve().parents[2]
STATE = ROOT / ".vigie"
"""Everything that a command keeps between its runs."""


def programs(build: str = "debug") -> pathlib.Path:
    """The folder of Vigie's programs: VIGIE_BIN, or that of a build in this checkout."""
    return pathlib.Path(os.environ.get("VIGIE_BIN") or ROOT / ".build" / build)


def must_have(folder: pathlib.Path, *names: str, option: str = "VIGIE_BIN") -> None:
    """HarnessError if a program of Vigie's is not in a folder that `option` can name."""
    for name in names:
        if not os.access(folder / name, os.X_OK):
            command = "swift build" if folder == ROOT / ".build" / "debug" else "make build"
            raise HarnessError(
                f"{name} is not in {folder}: run `{command}`, or let {option} name another folder of Vigie's programs "
                "(those of `make build` are in .build/release)."
            )
