"""The command line of the storm.

    vigie-storm --seed 7 --faults 60 --nodes 1

Gateways with their own outboxes, two processors, Apache Kafka and PostgreSQL (with fsync), and faults drawn from the
seed: processes killed, paused, stopped and rolled, connections cut, reset, refused, delayed, throttled and swallowed,
disks full, outboxes and tables locked, outboxes deleted, damaged, cloned and replaced by older copies, sessions ended,
standbys promoted, leaders killed, partitions added, readings spread over partitions, old messages sent again, messages
deleted, the topic made anew. Then everything is healed, and an oracle that trusts nothing of Vigie compares the tables
with what was seen on the topic and in the outboxes.

The same seed gives the same schedule. What processes do in between is not the same twice, so a failure may need several
runs to come again. The exit status is 1 if a storm failed; logs and data of such a one are kept.

VIGIE_BIN names the folder of Vigie's programs; without it they are those of `swift build`, in .build/debug. `make
storm` builds those in .build/release and takes them.
"""

import argparse
import collections
import pathlib
import random
import shutil
import signal
import sys
import time

from rich.console import Console

from .. import interrupts
from ..arguments import positive, seconds
from ..checkout import STATE, must_have, programs
from ..endings import status_of
from ..interrupts import Stopped
from ..kafka.finding import find_kafka
from ..kafka.home import KafkaMissing
from .disk import SmallDisk
from .faults import BY_NAME, GROUPS
from .planted import PLANTS, plants_for_verify
from .report import counted
from .run import Plan, Storm, Verdict, schedule
from .world import layout

# More faults than this are divided into several storms, each of which begins with nothing.
EACH = 250


def plans(arguments) -> list[Plan]:
    """The storms of a command: successive seeds, about equal numbers of faults."""
    count = max(1, -(-arguments.faults // arguments.each))
    share, rest = divmod(arguments.faults, count)
    return [
        Plan(
            seed=arguments.seed + index, faults=share + (index < rest), nodes=arguments.nodes, every=arguments.every,
            only=arguments.only, proves=arguments.prove, keeps=arguments.keep)
        for index in range(count)
    ]  # fmt: skip


def parser() -> argparse.ArgumentParser:
    _, _, rest = __doc__.partition("\n\n")
    found = argparse.ArgumentParser(
        prog="vigie-storm", description=f"Runs Vigie under seeded faults.\n\n{rest}",
        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    found.add_argument("--seed", type=int, default=None, help="of the schedule; drawn and printed without it")
    found.add_argument("--faults", type=positive, default=60, help="how many; 60 by default")
    found.add_argument("--nodes", type=int, choices=(1, 3), default=1, help="of Kafka; 1 by default")
    found.add_argument(
        "--every", type=seconds, default=Plan.every, metavar="SECONDS", help="mean time between two; %(default)s"
    )
    found.add_argument("--each", type=positive, default=EACH, metavar="N", help="most faults of one storm; %(default)s")
    found.add_argument("--folder", type=pathlib.Path, default=STATE / "storm", help="for logs and data; %(default)s")
    found.add_argument(
        "--only", type=_kinds, default=(), metavar="KIND,...",
        help="these kinds of faults, not all; `outbox` is all that happens to an outbox's file"
    )  # fmt: skip
    found.add_argument("--keep", action="store_true", help="keep logs and data of a good end too")
    found.add_argument(
        "--prove", action="store_true", help="prove after a good end that the oracle and verify find planted faults"
    )
    found.add_argument(
        "--optional", action="store_true", help="where Apache Kafka is missing, say so and end with status 0"
    )
    found.add_argument("--plan", action="store_true", help="show the schedule only")
    return found


def _kinds(text: str) -> tuple[str, ...]:
    names = tuple(each for name in text.split(",") for each in GROUPS.get(name.strip(), [name.strip()]))
    if unknown := [name for name in names if name not in BY_NAME]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join([*GROUPS, *BY_NAME])}")
    return names


def main(words: list[str] | None = None) -> int:
    arguments = parser().parse_args(words)
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(1_000_000)
    console = Console(highlight=False)
    if arguments.plan:
        show_plans(arguments, console)
        return 0
    return status_of(lambda: run_on_kafka(arguments, console))


def run_on_kafka(arguments, console: Console) -> int:
    try:
        return run(arguments, console)
    except KafkaMissing as missing:
        print(f"vigie: the storm does not run, as it needs Apache Kafka: {missing}", file=sys.stderr)
        return 0 if arguments.optional else 1


def show_plans(arguments, console: Console) -> None:
    for plan in plans(arguments):
        console.print(plan.command)
        for fault in schedule(plan, layout(plan.nodes, SmallDisk.is_possible())):
            console.print(f"{fault.at:8.1f} s  #{fault.number:<4} {fault.duration:6.1f} s  {fault}", soft_wrap=True)


def run(arguments, console: Console) -> int:
    home = find_kafka()
    must_have(programs(), "vigie-gateway", "vigie-processor")
    failed: list[Verdict] = []
    done: collections.Counter[str] = collections.Counter()
    began = time.monotonic()
    all_plans = plans(arguments)
    for number, plan in enumerate(all_plans, 1):
        folder = arguments.folder.absolute() / f"{plan.nodes}-{plan.seed}"
        shutil.rmtree(folder, ignore_errors=True)
        storm = Storm(plan, folder, programs(), home, console)
        # A signal asks it to end in order; there is no second way.
        asked_by: list[int] = []

        def end(number, _frame, storm=storm, asked_by=asked_by):
            is_first = not asked_by
            asked_by.append(number)
            if is_first and storm.is_starting:
                # Nothing of it has to be brought to an end yet.
                raise Stopped(number)
            storm.stop()

        for number_of_signal in interrupts.SIGNALS:
            signal.signal(number_of_signal, end)
        verdict = storm.run()
        done.update(storm.timeline.done)
        show(verdict, storm, console, f" {number}/{len(all_plans)}" if len(all_plans) > 1 else "")
        if not verdict.is_good:
            failed.append(verdict)
        if asked_by:
            break
        interrupts.raise_stopped()
    if len(all_plans) > 1:
        console.print(f"\n{counted(done)}, in {number} storms, {len(failed)} failed, {time.monotonic() - began:.0f} s")
        for verdict in failed:
            console.print(f"  {verdict.plan.command}: {verdict.folder}", soft_wrap=True)
    if asked_by:
        return 128 + asked_by[0]
    return 1 if failed else 0


def show(verdict: Verdict, storm: Storm, console: Console, number: str) -> None:
    console.print(f"\n{storm.timeline.counts()}", soft_wrap=True)
    for name, figure in verdict.figures.items():
        console.print(f"  {name:<36} {figure}")
    show_incidents(verdict, storm, console)
    if verdict.was_interrupted:
        console.print("interrupted: nothing is said of the data", style="yellow")
    elif verdict.is_good:
        proof = ""
        if verdict.plan.proves:
            proof = (
                f", the oracle found all {len(PLANTS)} planted faults, and verify all {len(plants_for_verify())}"
                " that stand in the tables"
            )
        console.print(
            f"storm{number} held: each reading is once in the tables or in a recorded loss{proof}", style="green"
        )
    else:
        console.print(f"storm{number} FAILED: {verdict.plan.command}", style="red")
        console.print(verdict.story, soft_wrap=True, markup=False)
    if verdict.folder:
        console.print(f"logs and data: {verdict.folder}", soft_wrap=True)
    parts = ", ".join(f"{name} {seconds:.0f}" for name, seconds in verdict.phases.items())
    console.print(f"took {sum(verdict.phases.values()):.0f} s ({parts})")


def show_incidents(verdict: Verdict, storm: Storm, console: Console) -> None:
    """What was noticed and is no failure; the same of one process once, with how often it was so."""
    noticed: dict[tuple[str, str], list[float]] = {}
    for incident in verdict.incidents:
        if not incident.is_failure:
            noticed.setdefault((incident.member, incident.sentence.split(":\n")[0]), []).append(incident.at)
    for (member, sentence), times in noticed.items():
        often = f" ({len(times)} times)" if len(times) > 1 else ""
        at = times[0] - storm.timeline.began
        console.print(f"  noticed T+{at:.1f} s: {member} {sentence}{often}", soft_wrap=True, markup=False)
