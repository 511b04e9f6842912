"""The processor's configuration file, as far as this engine needs it: the same file gives both engines their rules.

`vigie-processor check` finds mistakes in it; here only what this engine cannot do is refused.
"""

import dataclasses
import math
import pathlib
import re
from collections.abc import Mapping

import yaml

from .quantities import QUANTITIES


class SettingsError(Exception):
    """The configuration asks for something that is not a setting, or that this engine cannot do."""


_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def milliseconds(text: str | int, name: str) -> int:
    """A duration such as `10m`; SettingsError if it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", str(text))
    if not match:
        raise SettingsError(f"{name}: {text} is no duration such as 10s")
    return int(float(match[1]) * _UNITS[match[2]])


@dataclasses.dataclass(frozen=True)
class WindowSpecification:
    """Windows of one size that begin every slide, aligned to 1970, in milliseconds."""

    size: int
    slide: int


@dataclasses.dataclass(frozen=True)
class WindowPolicy:
    """How event time is cut and how long it stays open, in milliseconds."""

    specifications: tuple[WindowSpecification, ...]
    lateness: int

    @property
    def pane(self) -> int:
        """The greatest common slide."""
        return math.gcd(*(specification.slide for specification in self.specifications))

    @property
    def longest(self) -> int:
        return max(specification.size for specification in self.specifications)


@dataclasses.dataclass(frozen=True)
class QuantityRule:
    """The values of a quantity that are passed when something is wrong; infinite where there is no bound."""

    warning_below: float = -math.inf
    warning_above: float = math.inf
    critical_below: float = -math.inf
    critical_above: float = math.inf
    hysteresis: float = 0
    minimum_duration: int = 0

    @property
    def lowest(self) -> float:
        """A value below it passes a bound."""
        return max(self.warning_below, self.critical_below)

    @property
    def highest(self) -> float:
        """A value above it passes a bound."""
        return min(self.warning_above, self.critical_above)


@dataclasses.dataclass(frozen=True)
class FaultRule:
    """When a chip's faults are an alert: every reading must have had one for so long, milliseconds of event time."""

    severity: str
    minimum_duration: int


@dataclasses.dataclass(frozen=True)
class SilenceRule:
    """When a sensor that sends nothing is an alert."""

    severity: str
    intervals: int
    """After so many of its own intervals."""
    least: int
    """But never before this, milliseconds."""

    def limit(self, interval: int) -> int:
        return max(self.least, self.intervals * interval)


@dataclasses.dataclass(frozen=True)
class LossRule:
    """When holes in a stream are an alert, and when they are history; milliseconds of the stream's event time."""

    severity: str
    minimum_duration: int
    clear_after: int


@dataclasses.dataclass(frozen=True)
class ConflictRule:
    """How bad readings under the numbers of others are."""

    severity: str


@dataclasses.dataclass(frozen=True)
class AlertRules:
    """All rules of the centre. What is None is no alert."""

    quantities: tuple[QuantityRule, ...]
    """In the order of QUANTITIES."""
    fault: FaultRule | None = None
    silence: SilenceRule | None = None
    loss: LossRule | None = None
    conflict: ConflictRule | None = None


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a number of the contract may be; beyond it a message is rejected."""

    ranges: tuple[tuple[float, float], ...] = tuple((quantity.lowest, quantity.highest) for quantity in QUANTITIES)
    earliest: int = 946_684_800_000
    """Event times before this are a clock that was never set, milliseconds since 1970."""
    future_tolerance: int = 300_000
    """How far an event may lie in the future, milliseconds."""
    largest_number: int = 2**53 - 1
    longest_interval: int = 604_800_000
    """Milliseconds."""
    largest_message: int = 65_536
    """Bytes."""


@dataclasses.dataclass(frozen=True)
class KafkaSettings:
    """How to reach the cluster: librdkafka's properties, as the processor sets them."""

    topic: str
    rejected_topic: str
    properties: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the job needs of the processor's configuration file."""

    kafka: KafkaSettings
    postgres: str
    """A libpq connection string."""
    windows: WindowPolicy
    drops_late: bool
    """Whether no window counts late readings (`late_policy: drop`)."""
    idle_timeout: int
    """Milliseconds."""
    update_interval: int
    """How often to look for what the passing of time makes due, milliseconds."""
    limits: Limits
    rules: AlertRules
    notifies: bool
    """Whether there is a webhook to tell of alerts."""
    batch: int
    """The most messages of all partitions in one micro-batch."""


def read_settings(file: str | pathlib.Path, batch: int = 200_000) -> Settings:
    """Reads the processor's configuration file; SettingsError if this engine cannot do what it says."""
    path = pathlib.Path(file)
    try:
        root = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from None
    if not isinstance(root, dict):
        raise SettingsError(f"{file} is no configuration of the processor")
    return settings_of(root, path.parent, batch)


def settings_of(root: Mapping, folder: pathlib.Path, batch: int) -> Settings:
    connection = (root.get("postgres") or {}).get("connection")
    if not connection:
        raise SettingsError("postgres.connection is missing")
    policy = root.get("late_policy", "recompute")
    if policy not in ("recompute", "drop"):
        raise SettingsError(f"late_policy: {policy} is neither recompute nor drop")
    return Settings(
        kafka=_kafka(root.get("kafka") or {}, folder),
        postgres=connection,
        windows=_windows(root),
        drops_late=policy == "drop",
        idle_timeout=milliseconds(root.get("idle_timeout", "60s"), "idle_timeout"),
        update_interval=milliseconds(root.get("update_interval", "5s"), "update_interval"),
        limits=_limits(root),
        rules=_rules(root),
        notifies=bool(root.get("webhook")),
        batch=batch,
    )


def _windows(root: Mapping) -> WindowPolicy:
    specifications = []
    for window in root.get("windows") or [{"size": "10m", "slide": "1m"}, {"size": "1m"}]:
        size = milliseconds(window["size"], "windows.size")
        slide = milliseconds(window.get("slide", window["size"]), "windows.slide")
        if slide <= 0 or size % slide:
            raise SettingsError("windows: the slide must divide the size")
        specifications.append(WindowSpecification(size, slide))
    if len({specification.size for specification in specifications}) < len(specifications):
        raise SettingsError("windows: a size stands twice")
    return WindowPolicy(tuple(specifications), milliseconds(root.get("lateness", "10m"), "lateness"))


def _limits(root: Mapping) -> Limits:
    limits = Limits()
    configured = root.get("limits") or {}
    ranges = list(limits.ranges)
    for index, quantity in enumerate(QUANTITIES):
        range_ = configured.get(quantity.name) or {}
        ranges[index] = (float(range_.get("min", ranges[index][0])), float(range_.get("max", ranges[index][1])))
    tolerance = milliseconds(root.get("future_tolerance", "5m"), "future_tolerance")
    return dataclasses.replace(limits, ranges=tuple(ranges), future_tolerance=tolerance)


def _rules(root: Mapping) -> AlertRules:
    quantities = root.get("rules") or {}
    rules = AlertRules(
        tuple(
            _rule(quantities.get(quantity.name) or {}, quantity.name) if quantity.is_aggregated else QuantityRule()
            for quantity in QUANTITIES
        )
    )
    alerts = root.get("alerts") or {}

    def severity(section: Mapping) -> str:
        return section.get("severity", "warning")

    found: dict = {}
    for kind, section in alerts.items():
        section = section or {}
        match kind:
            case "fault":
                found[kind] = FaultRule(severity(section), milliseconds(section.get("for", "0s"), "alerts.fault.for"))
            case "silence":
                least = milliseconds(section.get("at_least", "60s"), "alerts.silence.at_least")
                found[kind] = SilenceRule(severity(section), int(section.get("intervals", 5)), least)
            case "loss":
                duration = milliseconds(section.get("for", "600s"), "alerts.loss.for")
                clear_after = milliseconds(section.get("clear_after", "1d"), "alerts.loss.clear_after")
                found[kind] = LossRule(severity(section), duration, clear_after)
            case "conflict":
                found[kind] = ConflictRule(severity(section))
            case _:
                raise SettingsError(f"alerts.{kind}: there is no such alert")
    return dataclasses.replace(rules, **found)


def _rule(section: Mapping, name: str) -> QuantityRule:
    warning, critical = section.get("warning") or {}, section.get("critical") or {}
    return QuantityRule(
        float(warning.get("below", -math.inf)), float(warning.get("above", math.inf)),
        float(critical.get("below", -math.inf)), float(critical.get("above", math.inf)),
        float(section.get("hysteresis", 0)), milliseconds(section.get("for", "0s"), f"rules.{name}.for"),
    )  # fmt: skip


def _kafka(section: Mapping, folder: pathlib.Path) -> KafkaSettings:
    if not section.get("bootstrap"):
        raise SettingsError("kafka.bootstrap is missing")
    for name in ("security", "ca_file", "certificate_file", "key_file", "mechanism", "username", "password_file"):
        if section.get(name):
            raise SettingsError(f"kafka.{name}: this engine does not reach protected clusters yet")
    if section.get("properties"):
        raise SettingsError("kafka.properties: this engine does not take librdkafka's properties yet")
    return KafkaSettings(
        topic=section.get("topic", "sensor.readings"),
        rejected_topic=section.get("rejected_topic", "sensor.readings.rejected"),
        properties={"bootstrap.servers": str(section["bootstrap"])},
    )
