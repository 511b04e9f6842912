"""What is wrong with sensors, streams and gateways: pending, open, over. No input or output.

It follows `SensorAlerts`, `StreamAlert` and `ConflictAlert` of the Swift package. A sensor's alerts move with its
readings in the order of event time and, for silence, with the clock; those of a stream with its holes; those of a
gateway with its conflicts. For nearly every sensor there is nothing, so that a reading that is in order costs nothing.
"""

import dataclasses

from .quantities import NAMES
from .settings import AlertRules, FaultRule, LossRule, QuantityRule, SilenceRule
from .streams import REASONS, UNKNOWN, StreamProgress

BELOW, ABOVE = "below", "above"
WARNING, CRITICAL = "warning", "critical"
OPENED, ESCALATED, CLOSED = "opened", "escalated", "closed"


@dataclasses.dataclass
class AlertState:
    """Something that is wrong: not yet for long enough (pending), or an alert that is open. A row of `alert_state`."""

    kind: str
    variable: str
    """The quantity, the chip or the stream; empty for silence and conflicts."""
    side: str | None
    """Of the bounds; None for what has none."""
    since: int
    """Since when it has been wrong without a break, milliseconds since 1970."""
    critical_since: int | None = None
    worst: float | None = None
    """The value furthest beyond the bounds."""
    detail: str = ""
    severity: str | None = None
    """Of the open alert; None while it is pending."""
    alert_id: int | None = None
    """Of the row of `alert`; None while it is pending, and until an opened one is written."""


@dataclasses.dataclass(frozen=True)
class Step:
    """A step in an alert's life, as it was when it was taken."""

    gateway_id: str
    sensor_id: str
    action: str
    state: AlertState
    """Which goes on changing."""
    severity: str
    time: int
    """Event time, and the centre's clock for silence and conflicts; milliseconds since 1970."""
    value: float | None
    worst: float | None
    detail: str


@dataclasses.dataclass
class Alerts:
    """The alerts of one sensor, of one stream, or of one gateway's conflicts, and what a transaction did to them."""

    gateway_id: str
    sensor_id: str
    """Empty for what is about a stream or a gateway."""
    states: list[AlertState] = dataclasses.field(default_factory=list)
    steps: list[Step] = dataclasses.field(default_factory=list)
    is_changed: bool = False
    key: tuple[str, str] | None = None
    """The kind and variable of what is about a stream or a gateway: the only one."""

    def _step(self, action: str, state: AlertState, time: int, value: float | None = None) -> None:
        self.steps.append(
            Step(self.gateway_id, self.sensor_id, action, state, state.severity or WARNING, time, value, state.worst,
                 state.detail)
        )  # fmt: skip

    def _find(self, kind: str, variable: str) -> AlertState | None:
        return next((state for state in self.states if (state.kind, state.variable) == (kind, variable)), None)

    def _add(self, state: AlertState) -> AlertState:
        self.states.append(state)
        self.is_changed = True
        return state

    def _end(self, state: AlertState, time: int, value: float | None = None) -> None:
        self.states.remove(state)
        self.is_changed = True
        if state.severity:
            self._step(CLOSED, state, time, value)

    # Readings

    def evaluate(self, values: dict[int, float], faults: list[str], time: int, rules: AlertRules) -> None:
        """Evaluates the newest reading of a sensor. A quantity that is missing neither opens nor closes anything."""
        for place, value in values.items():
            self._evaluate_value(NAMES[place], value, rules.quantities[place], time)
        self._evaluate_faults(faults, rules.fault, time)

    def _evaluate_value(self, name: str, value: float, rule: QuantityRule, time: int) -> None:
        kind = "battery" if name == "battery_level" else "threshold"
        side = ABOVE if value > rule.highest else BELOW if value < rule.lowest else None
        state = self._find(kind, name)
        if state:
            is_over = side is None if state.severity is None else _is_back(rule, value, state.side)
            if is_over or side not in (None, state.side):
                self._end(state, time, value)
                state = None
        if state is None and side:
            state = self._add(AlertState(kind, name, side, since=time, worst=value))
        if state:
            before = dataclasses.replace(state)
            bound = rule.critical_above if side == ABOVE else rule.critical_below
            is_beyond = side is not None and (value > bound if side == ABOVE else value < bound)
            self._update(state, value, is_beyond, rule, time)
            self.is_changed |= state != before

    def _update(self, state: AlertState, value: float, is_beyond_critical: bool, rule: QuantityRule, time: int) -> None:
        is_above = state.side == ABOVE
        state.worst = max(state.worst, value) if is_above else min(state.worst, value)
        if not is_beyond_critical:
            state.critical_since = None
        elif state.critical_since is None:
            state.critical_since = time
        is_critical = state.critical_since is not None and time - state.critical_since >= rule.minimum_duration
        if state.severity is None:
            if time - state.since < rule.minimum_duration:
                return
            state.severity = CRITICAL if is_critical else WARNING
            state.detail = _beyond(rule, is_critical, is_above)
            self._step(OPENED, state, time, value)
        elif state.severity == WARNING and is_critical:
            state.severity = CRITICAL
            state.detail = _beyond(rule, True, is_above)
            self._step(ESCALATED, state, time, value)

    def _evaluate_faults(self, faults: list[str], rule: FaultRule | None, time: int) -> None:
        present: dict[str, str] = {}
        for fault in faults if rule else ():
            present.setdefault(fault.partition(":")[0], fault)
        for state in [state for state in reversed(self.states) if state.kind == "fault"]:
            if state.variable not in present:
                self._end(state, time)
        for chip, fault in present.items():
            state = self._find("fault", chip) or self._add(AlertState("fault", chip, None, since=time, detail=fault))
            if state.severity is None and time - state.since >= rule.minimum_duration:
                state.severity, state.detail = rule.severity, fault
                self.is_changed = True
                self._step(OPENED, state, time)

    # Silence

    def arrive(self, now: int) -> None:
        """Notes that a reading has come, old or new."""
        if state := self._find("silence", ""):
            self._end(state, now)

    def look(self, now: int, since: int, interval: int, rule: SilenceRule) -> None:
        """Looks whether the sensor has been silent for too long: since a time, as far as is known up to another."""
        if self._find("silence", "") or now - since < rule.limit(interval):
            return
        detail = f"no reading for {(now - since) // 1000} s"
        state = self._add(AlertState("silence", "", None, since=since, detail=detail, severity=rule.severity))
        self._step(OPENED, state, now)

    # Streams and gateways

    def evaluate_losses(self, stream: str, progress: StreamProgress, rule: LossRule | None) -> None:
        """Looks at the holes of a stream."""
        time = progress.last_event_time
        if time is None:
            return
        missing, first, reasons = 0, None, set()
        for loss in progress.losses if rule else ():
            times = [side for side in (loss.time_before, loss.time_after) if side is not None]
            # A late reading on one side of a hole does not make the hole old.
            seen = max(times) if times else time
            if time - seen < rule.clear_after:
                missing += loss.count
                first = seen if first is None else min(first, seen)
                if loss.reason != UNKNOWN:
                    reasons.add(REASONS[loss.reason])
        why = f" ({', '.join(sorted(reasons))})" if reasons else ""
        is_due = first is not None and time - first >= rule.minimum_duration
        self._evaluate_count("loss", stream, missing, is_due, first, time, rule, f"{missing} readings missing{why}")

    def evaluate_conflicts(self, count: int, time: int, rule) -> None:
        """Looks at the conflicts of a gateway that are not settled."""
        detail = f"{count} readings under numbers that other readings have"
        self._evaluate_count("conflict", "", count if rule else 0, count > 0, time, time, rule, detail)

    def _evaluate_count(self, kind, variable, count: int, is_due: bool, since, time: int, rule, detail: str) -> None:
        state = self._find(kind, variable)
        if not count:
            if state:
                self._end(state, time, 0.0)
        elif state:
            worst = max(state.worst or 0.0, float(count))
            self.is_changed |= worst != state.worst
            state.worst = worst
        elif is_due:
            state = AlertState(kind, variable, None, since, worst=float(count), detail=detail, severity=rule.severity)
            self._step(OPENED, self._add(state), time, float(count))


def _is_back(rule: QuantityRule, value: float, side: str | None) -> bool:
    """Whether a value is far enough inside the bounds of a side for an alert to close."""
    return value >= rule.lowest + rule.hysteresis if side == BELOW else value <= rule.highest - rule.hysteresis


def _beyond(rule: QuantityRule, is_critical: bool, is_above: bool) -> str:
    if is_above:
        return f"above {rule.critical_above if is_critical else rule.warning_above}"
    return f"below {rule.critical_below if is_critical else rule.warning_below}"
