"""What is known of one stream: all numbers from `first` to `last` have been admitted, less those in its losses.

It follows `StreamProgress` of the Swift package, and like it does not depend on the order in which readings and reports
come, nor on how often.
"""

import bisect
import dataclasses
from collections.abc import Iterable

from .strict import NOT_TOLD

# Of two reasons of one number the one that stands later here holds. `other` is a reason of a newer gateway.
REASONS = ("unknown", "other", "quarantined", "dropped_oldest", "dropped_newest", "thinned", "queue_full", "unreadable",
           "stopped", "rejected")  # fmt: skip
UNKNOWN, REJECTED = 0, REASONS.index("rejected")


def reason_of(text: str) -> int:
    """The place of a reason, as a report or the table `loss` names it."""
    return REASONS.index(text) if text in REASONS else REASONS.index("other")


@dataclasses.dataclass(frozen=True)
class LossRange:
    """Numbers of one stream, one after the other, that are not there for one reason."""

    first: int
    last: int
    reason: int = UNKNOWN
    time_before: int | None = None
    """The event time of the reading `first - 1`, milliseconds since 1970; None if that is not there, or not known."""
    time_after: int | None = None
    """The same of the reading `last + 1`."""

    @property
    def count(self) -> int:
        return self.last - self.first + 1


class LossRanges:
    """The ranges of one stream, disjoint and in order."""

    def __init__(self, ranges: Iterable[LossRange] = ()):
        self._ranges = list(ranges)
        self._firsts = [range_.first for range_ in self._ranges]

    def __iter__(self):
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    @property
    def numbers(self) -> int:
        return sum(range_.count for range_ in self._ranges)

    @property
    def last(self) -> LossRange | None:
        return self._ranges[-1] if self._ranges else None

    def first_through(self, number: int) -> LossRange | None:
        """The first one that ends at a number or after it."""
        place = bisect.bisect_right(self._firsts, number) - 1
        if place >= 0 and self._ranges[place].last >= number:
            return self._ranges[place]
        return self._ranges[place + 1] if place + 1 < len(self._ranges) else None

    def containing(self, number: int) -> LossRange | None:
        found = self.first_through(number)
        return found if found and found.first <= number else None

    def ending_with(self, number: int) -> LossRange | None:
        found = self.first_through(number)
        return found if found and found.last == number else None

    def beginning_with(self, number: int) -> LossRange | None:
        place = bisect.bisect_left(self._firsts, number)
        return self._ranges[place] if place < len(self._firsts) and self._firsts[place] == number else None

    def set(self, range_: LossRange) -> None:
        """Puts a range in the place of the one with its first number. It must not overlap another one."""
        place = bisect.bisect_left(self._firsts, range_.first)
        if place < len(self._firsts) and self._firsts[place] == range_.first:
            self._ranges[place] = range_
        else:
            self._firsts.insert(place, range_.first)
            self._ranges.insert(place, range_)

    def remove(self, range_: LossRange) -> None:
        place = bisect.bisect_left(self._firsts, range_.first)
        del self._firsts[place], self._ranges[place]


class StreamProgress:
    """How far a stream was admitted, and what is not there."""

    def __init__(
        self, first: int = 1, last: int | None = None, last_event_time: int | None = None, end: int | None = None,
        previous: tuple[int, int] = NOT_TOLD, losses: Iterable[LossRange] = (),
    ):  # fmt: skip
        self.first = first
        """The smallest number that is known."""
        self.last = first - 1 if last is None else last
        """The largest number that was admitted or told; `first - 1` if there is none."""
        self.last_event_time = last_event_time
        """The event time of the largest number that was admitted, milliseconds since 1970."""
        self.end = end
        """The smallest number that was told to be the last one."""
        self.previous = previous
        self.losses = LossRanges(losses)
        self.last_admitted = self.last
        """The largest number that was admitted; 0 if none was."""
        while range_ := self.losses.ending_with(self.last_admitted):
            self.last_admitted = range_.first - 1
        if self.last_admitted < first:
            self.last_admitted = 0
        self._changes: dict[int, LossRange | None] = {}
        self._before = self._facts

    @property
    def _facts(self) -> tuple:
        return self.first, self.last, self.last_event_time, self.end, self.previous

    @property
    def is_changed(self) -> bool:
        """Whether something differs from what it was made of."""
        return bool(self._changes) or self._facts != self._before

    def ranges_to_write(self) -> tuple[list[int], list[LossRange]]:
        """The first numbers of the ranges that are gone or different, and those that are new or different."""
        gone, new = [], []
        for first, before in self._changes.items():
            after = self.losses.beginning_with(first)
            if after == before:
                continue
            if before:
                gone.append(first)
            if after:
                new.append(after)
        return gone, new

    # Readings

    def admit_run(self, first: int, last: int, first_time: int, last_time: int) -> bool | None:
        """Admits readings with the numbers from `first` to `last` in order, if that is simple.

        True if all are admitted, False if all were before; None if each is to be looked at, and nothing was done.
        """
        if first == self.last + 1 and (not self.losses or self.last_admitted == self.last):
            self.last = self.last_admitted = last
            self.last_event_time = last_time
            return True
        if last <= self.last and first >= self.first:
            loss = self.losses.first_through(first)
            if not loss or loss.first > last:
                return False
            if loss.first <= first and last <= loss.last:
                self._take(first, last, loss, first_time, last_time)
                self._note_admitted(last, last_time)
                return True
        return None

    def admit(self, sequence: int, event_time: int, stream_first: int = 1) -> bool:
        """Admits a reading once: False if it was admitted before."""
        if stream_first < self.first:
            self._lower(stream_first)
        if sequence > self.last:
            if sequence > self.last + 1:
                self._extend(sequence - 1)
            if self.last_admitted != self.last and (loss := self.losses.last):
                self._set(dataclasses.replace(loss, time_after=event_time))
            self.last = sequence
        else:
            loss = self.losses.containing(sequence)
            if not loss:
                return False
            self._take(sequence, sequence, loss, event_time, event_time)
        self._note_admitted(sequence, event_time)
        return True

    def _note_admitted(self, number: int, event_time: int) -> None:
        if number > self.last_admitted:
            self.last_admitted = number
            self.last_event_time = event_time

    def _take(self, first: int, last: int, loss: LossRange, first_time: int, last_time: int) -> None:
        """Admits all numbers from `first` to `last`, which a range contains, with the event times of these two."""
        self._remove(loss)
        if loss.first < first:
            self._set(dataclasses.replace(loss, last=first - 1, time_after=first_time))
        elif left := self.losses.ending_with(first - 1):
            self._set(dataclasses.replace(left, time_after=first_time))
        if loss.last > last:
            self._set(dataclasses.replace(loss, first=last + 1, time_before=last_time))
        elif right := self.losses.beginning_with(last + 1):
            self._set(dataclasses.replace(right, time_before=last_time))

    # Reports

    def note(self, first: int, last: int | None, previous: tuple[int, int]) -> None:
        """Takes note of what a report says of the stream."""
        if first < self.first:
            self._lower(first)
        if last is not None:
            self.end = last if self.end is None else min(self.end, last)
            self._extend(last)
        self.previous = max(self.previous, previous)

    def note_gap(self, ranges: list[tuple[int, int]], reason: int) -> None:
        """Gives numbers that were not admitted their reason; those that were not known are known from now on.

        The ranges are disjoint and in order, at least one.
        """
        if ranges[0][0] < self.first:
            self._lower(ranges[0][0])
        self._extend(ranges[-1][1])
        for first, last in ranges:
            self._give(first, last, reason)

    def _give(self, first: int, last: int, reason: int) -> None:
        following = first
        while (loss := self.losses.first_through(following)) and loss.first <= last:
            following = loss.last + 1
            if loss.reason >= reason:
                continue
            self._remove(loss)
            middle = dataclasses.replace(loss, reason=reason)
            if loss.first < first:
                self._set(dataclasses.replace(loss, last=first - 1, time_after=None))
                middle = dataclasses.replace(middle, first=first, time_before=None)
            if loss.last > last:
                self._set(dataclasses.replace(loss, first=last + 1, time_before=None))
                middle = dataclasses.replace(middle, last=last, time_after=None)
            self._join(middle)

    # What is known

    def _lower(self, number: int) -> None:
        """Makes a smaller number the first one."""
        if self.last < self.first:
            self.first, self.last = number, number - 1
            if self.end is not None:
                self._extend(self.end)
        else:
            loss = LossRange(number, self.first - 1)
            self.first = number
            self._join(loss)

    def _extend(self, number: int) -> None:
        """Makes a number the last one, if it is larger."""
        if number <= self.last:
            return
        time_before = self.last_event_time if self.last_admitted == self.last else None
        loss = LossRange(self.last + 1, number, time_before=time_before)
        self.last = number
        self._join(loss)

    def _join(self, loss: LossRange) -> None:
        """Adds a range, as one with those of the same reason that touch it."""
        left = self.losses.ending_with(loss.first - 1)
        if left and left.reason == loss.reason:
            self._remove(left)
            loss = dataclasses.replace(loss, first=left.first, time_before=left.time_before)
        right = self.losses.beginning_with(loss.last + 1)
        if right and right.reason == loss.reason:
            self._remove(right)
            loss = dataclasses.replace(loss, last=right.last, time_after=right.time_after)
        self._set(loss)

    def _set(self, loss: LossRange) -> None:
        self._changes.setdefault(loss.first, self.losses.beginning_with(loss.first))
        self.losses.set(loss)

    def _remove(self, loss: LossRange) -> None:
        self._changes.setdefault(loss.first, loss)
        self.losses.remove(loss)


def united(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same numbers as disjoint ranges in order."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged
