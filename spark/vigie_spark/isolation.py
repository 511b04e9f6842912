"""What PostgreSQL refuses, such as by a constraint or a trigger of its operator: which errors are the fault of a row,
and how the guilty are found. No input or output.

It follows `PoisonSearch` and `HeldWindows` of the Swift package, so that both engines reject the same messages.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import psycopg

Member = TypeVar("Member")

# Seconds before windows that the database refuses are tried again.
INTERVAL = 10.0


def may_be_the_fault_of_a_row(error: psycopg.Error) -> bool:
    """Whether the server may accept the same transaction without some of its rows (PostgreSQL manual, appendix A).

    These are data exceptions (22), constraints (23), checks of views (44), what functions and triggers raise (P0, 38,
    39, and the classes that the standard leaves to users), and rows beyond the server's limits (54).
    """
    state = error.sqlstate
    if state is None:
        return False
    kind = state[:2]
    if kind in ("22", "23", "38", "39", "44", "54", "P0"):
        return True
    # 53, 55, 57, 58 and XX are PostgreSQL's.
    return kind not in ("53", "55", "57", "58", "XX") and ("5" <= kind[0] <= "9" or "I" <= kind[0] <= "Z")


def described(error: psycopg.Error, statement: str) -> str:
    """One line for a person, without values, as the processor writes it."""
    diagnosis = error.diag
    text = diagnosis.message_primary or ""
    if error.sqlstate and error.sqlstate.startswith("22"):
        # Messages of data exceptions end in the value: `invalid input syntax for type integer: "x"`.
        text = text.split(": ")[0]
    line = f"PostgreSQL {diagnosis.severity_nonlocalized or 'ERROR'} {error.sqlstate}: {text}"
    if diagnosis.constraint_name:
        line += f" (constraint {diagnosis.constraint_name})"
    return f"{line} in: {' '.join(statement.split())}" if statement else line


def refused(members: Sequence[Member], refusal: Callable[[Sequence[Member]], str | None]) -> dict[int, str]:
    """Finds what must be left out of a list that is refused as a whole, so that the rest is accepted.

    A part that is accepted is never looked at again, so k refused members of n cost about 2 k log2 n trials, and never
    more than 2 n. A member is only blamed after a trial of its own, or when the list is refused with it and accepted
    without it.

    Args:
        members: in their order.
        refusal: why a part, in the same order, is refused; None if it is accepted.

    Returns: the refused members and why, by their places in the list.
    """
    found: dict[int, str] = {}
    # Parts that are known or suspected to be refused; the last one is looked at next.
    parts = [range(len(members))]
    while parts:
        part = parts.pop()
        if len(part) <= 1:
            for place in part:
                if reason := refusal([members[place]]):
                    found[place] = reason
            continue
        middle = part.start + len(part) // 2
        left, right = range(part.start, middle), range(middle, part.stop)
        reason = refusal(members[left.start : left.stop])
        if reason is None:
            # Then it is the right half that is refused, which its own parts will show.
            parts.append(right)
            continue
        if len(left) == 1:
            found[left.start] = reason
        if len(right) == 1 or refusal(members[right.start : right.stop]):
            parts.append(right)
        if len(left) > 1:
            parts.append(left)
    _add_those_refused_together(members, found, refusal)
    return found


def _add_those_refused_together(
    members: Sequence[Member], found: dict[int, str], refusal: Callable[[Sequence[Member]], str | None]
) -> None:
    """Adds members that are accepted alone and refused together, such as two rows with one unique key: the first that
    is refused after those before it is left out."""
    while True:
        rest = [place for place in range(len(members)) if place not in found]
        latest = refusal([members[place] for place in rest]) if rest else None
        if latest is None:
            return
        accepted, refused_ = 0, len(rest)
        while refused_ - accepted > 1:
            middle = (accepted + refused_) // 2
            if reason := refusal([members[place] for place in rest[:middle]]):
                refused_, latest = middle, reason
            else:
                accepted = middle
        found[rest[refused_ - 1]] = latest


class HeldWindows:
    """Gateways whose windows the database refuses while it takes their readings.

    Their windows are computed from the rows when the database takes them again; until then none of theirs becomes
    final. Times are those of a clock that never goes back, in seconds.
    """

    def __init__(self) -> None:
        self.gateways: frozenset[str] = frozenset()
        self._retry = 0.0

    def hold(self, gateways: Iterable[str], now: float) -> None:
        self.gateways |= frozenset(gateways)
        self._retry = now + INTERVAL

    def release(self, now: float) -> None:
        """Lets windows be tried again that were held back for long enough."""
        if self.gateways and now >= self._retry:
            self.gateways = frozenset()
