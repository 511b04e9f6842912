"""Which faults come when. Pure: the same arguments give the same schedule."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

# A fault that finds what it needs in use is drawn again so often, and after that a little later.
ATTEMPTS = 40


@dataclass(frozen=True)
class Layout:
    """What there is to break."""

    gateways: Sequence[str]
    processors: Sequence[str]
    nodes: Sequence[str]
    links: Sequence[str]
    """The connections that have a proxy, by name."""
    tables: Sequence[str]
    can_fill_disks: bool = True
    """Whether each outbox has a file system of its own."""
    topic_anew: int = 6
    """How often the topic may be made anew in all."""
    partitions_to_add: int = 4
    """How many partitions may be added to the topic in all."""


@dataclass(frozen=True)
class Fault:
    """One fault of a schedule."""

    number: int
    at: float
    """Seconds after the first fault could come."""
    kind: str
    target: str
    duration: float
    """Seconds from its beginning to its end; 0 for what happens in an instant."""
    seed: int
    """For what it draws when it happens, such as which messages are sent again."""
    parameters: dict = field(default_factory=dict)

    @property
    def end(self) -> float:
        return self.at + self.duration

    def __str__(self) -> str:
        text = ", ".join(f"{name} {value}" for name, value in self.parameters.items())
        return f"{self.kind} {self.target}" + (f" ({text})" if text else "")


class Kind:
    """What a schedule has to know of a kind of fault. `faults` makes them do something."""

    name: str
    """One or two words, as the timeline shows them."""
    weight: float = 1.0
    """How often it comes, in proportion to the others."""
    duration: tuple[float, float] = (0.0, 0.0)
    """The shortest and the longest, in seconds."""

    @classmethod
    def targets(cls, layout: Layout) -> Sequence[str]:
        """What it may happen to."""
        raise NotImplementedError

    @classmethod
    def needs(cls, target: str, layout: Layout) -> Sequence[str]:
        """What no other fault may use at the same time."""
        return [target]

    @classmethod
    def limit(cls, layout: Layout) -> int | None:
        """The most of it in one schedule."""
        return None

    @classmethod
    def parameters(cls, chance: random.Random) -> dict:
        """What else is drawn for it."""
        return {}


def draw(kinds: Sequence[type[Kind]], layout: Layout, seed: int, count: int, every: float = 1.0) -> list[Fault]:
    """A schedule of `count` faults that begin `every` seconds in the mean, in the order of their beginnings.

    Several are under way at once, but never two that need the same thing. No fault is longer than about a seventh of
    the whole, so that a short storm has many of them.
    """
    chance = random.Random(seed)
    longest = min(60.0, max(8.0, count * every / 7))
    kinds = [kind for kind in kinds if kind.targets(layout) and kind.limit(layout) != 0]
    busy: dict[str, float] = {}
    drawn: dict[str, int] = {}
    faults: list[Fault] = []
    now = 0.0
    while len(faults) < count:
        now += chance.uniform(0.0, 2.0) * every
        for _ in range(ATTEMPTS):
            possible = [
                kind for kind in kinds if (most := kind.limit(layout)) is None or drawn.get(kind.name, 0) < most
            ]
            kind = chance.choices(possible, [kind.weight for kind in possible])[0]
            target = chance.choice(list(kind.targets(layout)))
            needs = kind.needs(target, layout)
            if all(busy.get(need, 0.0) <= now for need in needs):
                break
        else:
            continue
        low, high = kind.duration
        high = min(high, longest)
        # Evenly over orders of magnitude: most are short, some are long.
        duration = math.exp(chance.uniform(math.log(low), math.log(max(low, high)))) if low > 0 else 0.0
        fault = Fault(
            number=len(faults) + 1, at=round(now, 3), kind=kind.name, target=target, duration=round(duration, 3),
            seed=chance.getrandbits(32), parameters=kind.parameters(chance))  # fmt: skip
        drawn[kind.name] = drawn.get(kind.name, 0) + 1
        for need in needs:
            # What was killed has a moment to live before it is struck again.
            busy[need] = fault.end + 0.5
        faults.append(fault)
    return faults
