"""In what time silence means something: `CaughtUpTracker` of the Swift package, kept by the driver.

No input or output.
"""

import dataclasses

import numpy

from .admission import NEVER, Sensors
from .settings import WindowPolicy
from .windows import floored

# The longest time between two confirmations that is no gap, milliseconds.
LONGEST_GAP = 15_000


@dataclasses.dataclass(frozen=True)
class Stretch:
    """A time in which everything that was sent to a partition is known to be in the database, without a gap.

    While the job was down, had a backlog, or could not reach the broker or the database, nobody was silent.
    """

    since: int
    """Milliseconds since 1970, by the driver's clock."""
    through: int


class CaughtUp:
    """The stretches of the partitions."""

    def __init__(self) -> None:
        self.stretches: dict[int, Stretch] = {}

    def confirm(self, partition: int, time: int) -> None:
        """Notes that all that was in a partition at some time is in the database."""
        known = self.stretches.get(partition)
        since = known.since if known and 0 <= time - known.through <= LONGEST_GAP else time
        self.stretches[partition] = Stretch(since, time)


def idle_through(sensors: Sensors, stretch: Stretch, timeout: int, policy: WindowPolicy) -> numpy.ndarray:
    """Through when the windows of each sensor become final because it is idle; NEVER where that makes none final.

    In steps of a pane, so that a silent sensor is not written at every look.
    """
    since = numpy.maximum(sensors.last_arrival, stretch.since)
    end = floored(stretch.through - policy.lateness, policy.pane)
    return numpy.where((stretch.through - since >= timeout) & (end > sensors.final_through), end, NEVER)
