"""How a command ends: with a status, and one sentence of what went wrong."""

import sys
from collections.abc import Callable

from . import interrupts
from .errors import HarnessError, in_words
from .interrupts import Stopped


def status_of(work: Callable[[], int]) -> int:
    """Does the work of a command, which a signal may end, and returns its exit status."""
    try:
        interrupts.raise_stopped()
        return work()
    except Stopped as stopped:
        return stopped.status
    except HarnessError as error:
        print(f"vigie: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"vigie: {in_words(error)}", file=sys.stderr)
        return 1
