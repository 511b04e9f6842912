"""The table of hostile fleets: Tests/Fleets/fleets.toml, where its keys are explained."""

import pathlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..checkout import ROOT
from ..errors import HarnessError

TABLE = ROOT / "Tests" / "Fleets" / "fleets.toml"
Size = Literal["small", "large"]


@dataclass(frozen=True)
class Fleet:
    name: str
    hostile: str
    produce: Sequence[str]
    small: str
    large: str
    repeats: int = 1
    rejected: str | None = None
    settings: Sequence[str] = ()

    def runs(self, size: Size) -> list[list[str]]:
        """The words of `vigie-fleet produce` for each of its runs."""
        more = getattr(self, size).split()
        return [line.split() + more for line in self.produce]

    @property
    def is_scattered(self) -> bool:
        """Whether the messages of a gateway are on several partitions: nobody knows which of them is read first."""
        return any("--scattered" in line.split() for line in self.produce)


def read(path: pathlib.Path = TABLE) -> list[Fleet]:
    """All fleets. HarnessError if the table is not as its first lines say."""
    try:
        with open(path, "rb") as file:
            return [Fleet(**entry) for entry in tomllib.load(file)["fleet"]]
    except (tomllib.TOMLDecodeError, TypeError, KeyError) as error:
        raise HarnessError(f"{path} is no table of fleets: {error}") from None
