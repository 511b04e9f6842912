"""The command line of the hostile fleets.

    tools/with-services -- .vigie/venv/bin/python -m vigie_harness.fleets [--size small|large] [--only NAME,...]

Sends the fleets of Tests/Fleets/fleets.toml to the broker that VIGIE_KAFKA names, lets a processor read them into the
PostgreSQL that VIGIE_POSTGRES names, and accounts for every message. Small fleets are on one topic, for one processor;
of the large ones each has its own. The exit status is 1 if anything is not as the fleets say; then logs and manifests
are kept in the folder for temporary files.

VIGIE_BIN names the folder of Vigie's programs; without it they are those of `swift build`, in .build/debug.
"""

import argparse
import os
import pathlib
import shutil
import tempfile
import time
from collections import Counter

import psycopg
from confluent_kafka import KafkaException

from ..arguments import positive
from ..checkout import must_have, programs
from ..endings import status_of
from ..errors import HarnessError, UsageError
from .run import FleetRun, Outcome, Servers
from .table import Fleet, Size, read

BOUNDS = {"small": 120.0, "large": 1800.0}
"""Seconds for each step of a run, which on a quiet machine takes a few."""


def parser() -> argparse.ArgumentParser:
    _, _, rest = __doc__.partition("\n\n")
    found = argparse.ArgumentParser(
        prog="vigie-fleets", description=f"Accounts for every message of hostile fleets.\n\n{rest}",
        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    found.add_argument("--size", choices=tuple(BOUNDS), default="small", help="%(default)s by default")
    found.add_argument("--only", metavar="NAME,...", help="these fleets, not all")
    found.add_argument("--seed", type=positive, default=1, help="of all that is random; %(default)s by default")
    found.add_argument("--list", action="store_true", help="show the table only")
    return found


def chosen(fleets: list[Fleet], names: str | None) -> list[Fleet]:
    """Those that are named; UsageError for a name that none has."""
    if not names:
        return fleets
    wanted = names.split(",")
    if unknown := set(wanted) - {fleet.name for fleet in fleets}:
        raise UsageError(f"there is no fleet {', '.join(sorted(unknown))}: see --list.")
    return [fleet for fleet in fleets if fleet.name in wanted]


def groups(fleets: list[Fleet], size: Size) -> list[list[Fleet]]:
    """Those that share a topic and a processor: small ones with the same settings, of the large ones each alone."""
    if size == "large":
        return [[fleet] for fleet in fleets]
    found: dict[tuple, list[Fleet]] = {}
    for fleet in fleets:
        found.setdefault(tuple(fleet.settings), []).append(fleet)
    return list(found.values())


def counted(counts: Counter[str]) -> str:
    """Such as "5 row, 3 duplicate", the largest first."""
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"


def show(fleets: list[Fleet], outcome: Outcome) -> None:
    for fleet in fleets:
        name = fleet.name
        late = outcome.late.get(name, (0, 0))[1]
        lost = counted(outcome.losses.get(name, Counter()))
        print(f"{name}: {counted(outcome.classes.get(name, Counter()))}; late {late}; lost {lost}")
    print(
        f"  {outcome.messages} messages in {outcome.seconds:.1f} s, {outcome.peak_mib} MiB at most, "
        f"{'accounted for' if not outcome.faults else 'WRONG'}",
        flush=True,
    )
    for fault in outcome.faults:
        print(f"  {fault}", flush=True)


def account(arguments) -> int:
    fleets = chosen(read(), arguments.only)
    if arguments.list:
        for fleet in fleets:
            print(f"{fleet.name:<16} {fleet.hostile}")
        return 0
    for name in ("VIGIE_KAFKA", "VIGIE_POSTGRES"):
        if not os.environ.get(name):
            raise UsageError(f"{name} names no server: tools/with-services starts both.")
    must_have(programs(), "vigie-fleet", "vigie-processor")
    servers = Servers(os.environ["VIGIE_KAFKA"], os.environ["VIGIE_POSTGRES"], programs())
    folder = pathlib.Path(tempfile.mkdtemp(prefix="vigie-fleets-"))
    began = time.monotonic()
    faults = 0
    for number, group in enumerate(groups(fleets, arguments.size), 1):
        name = f"{os.getpid()}-{number}"
        run = FleetRun(group, arguments.size, arguments.seed, servers, folder, name, BOUNDS[arguments.size])
        try:
            outcome = run.run()
        except (psycopg.Error, KafkaException) as error:
            raise HarnessError(str(error).strip()) from error
        show(group, outcome)
        faults += len(outcome.faults)
    print(f"{len(fleets)} fleets, seed {arguments.seed}, {time.monotonic() - began:.0f} s, {faults} faults")
    if faults:
        print(f"logs and manifests: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def main(words: list[str] | None = None) -> int:
    arguments = parser().parse_args(words)
    return status_of(lambda: account(arguments))
