"""Runs a command with a broker and a PostgreSQL of its own, and says in the end what it ran against.

    tools/with-services [--broker apache|stand-in] -- COMMAND...

VIGIE_KAFKA (a bootstrap list) and VIGIE_POSTGRES (a connection string) name servers to use instead. Without
VIGIE_KAFKA it is Apache Kafka, from KAFKA_HOME or fetched; where it cannot be had, the stand-in. The command gets:

    VIGIE_KAFKA, VIGIE_POSTGRES    where the servers are
    VIGIE_KAFKA_KIND               apache, stand-in or yours
    VIGIE_KAFKA_HOME               Kafka's folder, if there is one
    VIGIE_KAFKA_NODE               the program that starts nodes of a test's own (vigie-kafka), if there is a Kafka
    VIGIE_NOIDA                    the stand-in's program
    VIGIE_POSTGRES_BIN             the folder of PostgreSQL's programs

The exit status is the command's; 2 for what is no command line, 127 for a command that is not there.
"""

import os
import pathlib
import shutil
import stat
import subprocess
import sys

from . import interrupts, versions
from .checkout import STATE
from .errors import HarnessError, UsageError, in_words
from .interrupts import Stopped
from .processes import end_session
from .scratch import scratch_folder
from .servers import Services


def parse(words: list[str]) -> tuple[str | None, list[str]]:
    """Which broker is wanted, and the command; UsageError for what is no command line."""
    wanted = None
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word == "--":
            break
        if word in ("-h", "--help"):
            print(__doc__.strip())
            raise SystemExit(0)
        name, _, value = word.partition("=")
        if name != "--broker":
            raise UsageError(f"{word} is no option: see --help.")
        wanted = value or (words.pop(0) if words else "")
        if wanted not in ("apache", "stand-in"):
            raise UsageError("--broker is apache or stand-in.")
    if not words:
        raise UsageError("there is no command to run: see --help.")
    return wanted, words


def main() -> int:
    folder = services = child = None
    status = 1
    try:
        wanted, command = parse(sys.argv[1:])
        if not shutil.which(command[0]):
            print(f"vigie: there is no command {command[0]}, or it may not be run.", file=sys.stderr)
            return 127
        interrupts.raise_stopped()
        folder = scratch_folder()
        # What the command leaves behind in the folder for temporary files goes with the rest.
        temporary = folder / "tmp"
        temporary.mkdir()
        temporary.chmod(0o1777)
        services = Services(folder, wanted)
        services.start()
        # On a terminal it is in our process group, so that it may read from there and Ctrl-C reaches all of it. Else it
        # has a session of its own, which can be ended with all that it has started.
        has_session = not sys.stdin.isatty()
        environment = os.environ | services.environment | {"TMPDIR": str(temporary)}
        child = subprocess.Popen(command, env=environment, start_new_session=has_session)
        status = child.wait()
    except Stopped as stopped:
        if child:
            end(child, has_session)
        status = stopped.status
    except HarnessError as error:
        print(f"vigie: {error}", file=sys.stderr)
        status = error.status
    except OSError as error:
        print(f"vigie: {in_words(error)}", file=sys.stderr)
        status = 1
    finally:
        interrupts.ignore()
        if services:
            services.stop()
        if folder:
            if status != 0:
                keep(folder / "tmp")
            shutil.rmtree(folder, ignore_errors=True)
    if child:
        report(services.parts)
    return status if status >= 0 else 128 - status


def keep(temporary: pathlib.Path) -> None:
    """What a command that failed has left behind is there to look at, until the next one fails."""
    if temporary.is_dir() and any(temporary.iterdir()):
        kept = STATE / "failed"
        shutil.rmtree(kept, ignore_errors=True)
        try:
            # Sockets and pipes cannot be copied and hold nothing to look at.
            shutil.copytree(temporary, kept, symlinks=True, ignore=special_files)
            print(f"What the command left behind: {kept}", file=sys.stderr)
        except OSError as error:
            print(f"What the command left behind is lost in part or whole: {error}", file=sys.stderr)


def special_files(folder, names):
    """Those of the names that are neither files, folders nor links."""
    kinds = {name: pathlib.Path(folder, name).lstat().st_mode for name in names}
    return {
        name for name, mode in kinds.items() if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))
    }


def end(child, has_session: bool) -> None:
    """Ends the command within a bound, with its session if it has one."""
    if has_session:
        end_session(child.pid, 30)
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def report(parts: dict[str, str]) -> None:
    print("\nRan against these real parts:")
    for name, text in (parts | versions.build_parts()).items():
        print(f"  {name:<10} {text}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
