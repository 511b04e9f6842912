"""The processor's configuration file: the same file gives both engines their rules.

Everything in it is read and checked here too, also what only the processor needs, so that a file that one engine takes
is one that the other takes. What this engine cannot do is refused by name.
"""

import dataclasses
import hashlib
import ipaddress
import math
import os
import pathlib
import re

import psycopg

from .configuration import (
    BOOLEAN,
    TEXT,
    Section,
    Setting,
    SettingsError,
    choice,
    decode,
    duration,
    number,
    size,
    whole_number,
)
from .kafka_settings import KafkaSettings, check_clients, read_kafka
from .quantities import QUANTITIES

__all__ = ["KafkaSettings", "Settings", "SettingsError", "read_settings"]

MOST_PANES, MOST_WINDOWS_PER_READING = 100_000, 10_000
"""The most panes of a sensor in the processor's memory, and the most windows that a reading may be in."""
LARGEST_LIMIT = 1e9
"""The largest value for which the sums over all readings of a window are exact enough to be compared."""


@dataclasses.dataclass(frozen=True)
class WindowSpecification:
    """Windows of one size that begin every slide, aligned to 1970, in milliseconds."""

    size: int
    slide: int


# Of `WindowPolicy.fingerprint`.
FINGERPRINT_BITS = 24


@dataclasses.dataclass(frozen=True)
class WindowPolicy:
    """How event time is cut and how long it stays open, in milliseconds."""

    specifications: tuple[WindowSpecification, ...]
    lateness: int

    @property
    def fingerprint(self) -> int:
        """Digits of a hash of the sizes and slides, FINGERPRINT_BITS of them."""
        named = repr(sorted((specification.size, specification.slide) for specification in self.specifications))
        return int.from_bytes(hashlib.sha256(named.encode()).digest()[:8], "big") >> (64 - FINGERPRINT_BITS)

    @property
    def pane(self) -> int:
        """The greatest common slide."""
        return math.gcd(*(specification.slide for specification in self.specifications))

    @property
    def pane_count(self) -> int:
        """The most panes of a sensor that has a reading in each."""
        return (self.longest + self.lateness) // self.pane + 3

    @property
    def windows_per_reading(self) -> int:
        return sum(specification.size // specification.slide for specification in self.specifications)

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
class Settings:
    """What the job needs of the processor's configuration file."""

    kafka: KafkaSettings
    postgres: str = dataclasses.field(repr=False)
    """A libpq connection string. It may hold a password, although a file that `passfile=` names is better."""
    group: str
    """The processor's group, of which the heartbeat makes this job a member."""
    instance: str
    """The name of this job in it."""
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


def read_settings(file: str | os.PathLike, batch: int = 200_000, checking_files: bool = False) -> Settings:
    """Reads the processor's configuration file.

    Args:
        batch: the most messages of all partitions in one micro-batch.
        checking_files: whether everything is looked at that keeps the job from starting: also the files that the
            configuration names, and what the clients of Kafka and PostgreSQL take.

    Raises: ConfigurationError with all problems, each with its line.
    """
    folder = pathlib.Path(os.path.abspath(file)).parent
    return decode(file, lambda root: _settings(root, folder, batch, checking_files))


def _settings(root: Section, folder: pathlib.Path, batch: int, checking_files: bool) -> Settings:
    section = root.section("kafka")
    kafka = read_kafka(section, folder)
    group = section.value("group", TEXT, "vigie-processor")
    instance = section.optional("instance", TEXT) or kafka.properties.get("group.instance.id") or os.uname().nodename
    # Spark shares the partitions, so these mean nothing here.
    section.optional("group_protocol", choice("classic", "consumer"))
    section.optional("workers", whole_number(1, 64))
    section.optional("maximum_batch", whole_number(1, 1_000_000))
    postgres = _postgres(root.section("postgres"), checking_files)
    _monitoring(root)
    lateness = root.value("lateness", duration(), 600_000)
    windows = _windows(root, lateness)
    late_policy = root.value("late_policy", choice("recompute", "drop"), "recompute")
    idle_timeout = root.value("idle_timeout", duration(), 60_000)
    if retention := root.optional_section("retention"):
        # Nothing that may be open can be deleted, and whole days are.
        least = windows.longest + lateness + idle_timeout + 86_400_000
        retention.optional("readings", duration(least))
        retention.optional("windows", duration(least))
    update_interval = root.value("update_interval", duration(), 5000)
    root.optional("state_size", size(1 << 20))
    limits = _limits(root)
    rules = _rules(root)
    notifies = _webhook(root)
    root.optional("log_level", choice("error", "warning", "notice", "info", "debug"))
    if checking_files and root.is_document_valid:
        check_clients(section, kafka)
    return Settings(
        kafka=kafka, postgres=postgres, group=group, instance=instance, windows=windows,
        drops_late=late_policy == "drop", idle_timeout=idle_timeout, update_interval=update_interval, limits=limits,
        rules=rules, notifies=notifies, batch=batch,
    )  # fmt: skip


def _postgres(section: Section, checking_files: bool) -> str:
    connection = section.required("connection", TEXT)
    if checking_files and section.has("connection"):
        try:
            psycopg.conninfo.conninfo_to_dict(connection)
        except psycopg.Error:
            # What libpq says may quote a part of it, which may be the password.
            section.problem(
                "libpq does not take it: a keyword is unknown, or a value with spaces lacks its quotes", "connection"
            )
    section.optional("prepared_statements", BOOLEAN)
    section.optional("reader_role", TEXT)
    section.optional("days_ahead", whole_number(0, 366))
    return connection


def _monitoring(root: Section) -> None:
    """The endpoint is the processor's; it is looked at all the same, but for its files."""
    section = root.optional_section("monitoring")
    if not section:
        return
    listen = section.optional("listen", LISTEN)
    token_file = section.optional("token_file", TEXT)
    section.list("allowed_hosts", HOST)
    is_unprotected = section.value("unprotected", BOOLEAN, False)
    if is_unprotected and token_file:
        section.problem("token_file and unprotected exclude each other: leave one of them out", "unprotected")
    address = _host_of(listen or "unix:")
    if address and not (address.is_loopback or token_file or is_unprotected):
        section.problem(
            f"other machines reach {listen}: set token_file, or listen on 127.0.0.1 or a Unix socket; unprotected: true"
            " if something else protects it",
            "listen",
        )


def _host_of(listen: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address in `127.0.0.1:9464`, `[::1]:9464` or `localhost:9464`; None if it is anything else."""
    host, _, port = listen.rpartition(":")
    if not re.fullmatch(r"\+?[0-9]{1,5}", port) or int(port) > 65_535:
        return None
    try:
        if host.startswith("[") and host.endswith("]"):
            return ipaddress.ip_address(host[1:-1])
        return ipaddress.IPv4Address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return None


def _is_socket(listen: str) -> bool:
    path = listen.removeprefix("unix:")
    return path != listen and path.startswith("/") and not path.endswith("/") and len(path.encode()) <= 107


LISTEN = Setting(
    "an IP address and a port such as 127.0.0.1:9464, or a socket such as unix:/run/vigie/vigie.sock", "127.0.0.1:0",
    lambda text: text if _is_socket(text) or _host_of(text) else None,
)  # fmt: skip
HOST = Setting(
    "a host's name without its port, such as board-7.example", "",
    lambda text: text.lower() if re.fullmatch("[A-Za-z0-9._-]{0,252}[A-Za-z0-9_-]", text) else None,
)  # fmt: skip


def _webhook(root: Section) -> bool:
    """Whether there is one; the processor tells it of alerts (`run --maintenance`)."""
    section = root.optional_section("webhook")
    if not section:
        return False
    url = section.required("url", TEXT)
    section.optional("token_file", TEXT)
    section.optional("ca_file", TEXT)
    section.optional("timeout", duration(1, 20_000))
    if url and not re.fullmatch(r"https?://([^\x00-\x20\x7f/?#@]*@)?(\[[0-9a-f:.]+\]|[^\x00-\x20\x7f/?#@:\[\]]+)"
                                r"(:[0-9]{1,5})?([/?#][^\x00-\x20\x7f]*)?", url, re.IGNORECASE):  # fmt: skip
        section.problem("expected an address such as https://example.org/hook", "url")
    return True


def _windows(root: Section, lateness: int) -> WindowPolicy:
    specifications = []
    for section in root.sections("windows", "window"):
        window = section.required("size", duration(1))
        slide = section.value("slide", duration(1), window)
        if window % slide:
            section.problem("the slide must divide the size", "slide")
        else:
            specifications.append(WindowSpecification(window, slide))
    if not specifications:
        specifications = [WindowSpecification(600_000, 60_000), WindowSpecification(60_000, 60_000)]
    if len({specification.size for specification in specifications}) < len(specifications):
        root.problem(
            "a size stands twice: a window's row is found by its size and its beginning, so each size has one slide",
            "windows",
        )
    policy = WindowPolicy(tuple(specifications), lateness)
    if policy.pane_count > MOST_PANES or policy.windows_per_reading > MOST_WINDOWS_PER_READING:
        root.problem(
            f"a reading would be in {policy.windows_per_reading} windows and a sensor in memory could have"
            f" {policy.pane_count} panes of the greatest common slide; at most {MOST_WINDOWS_PER_READING} and"
            f" {MOST_PANES} are allowed: choose longer slides, shorter windows or less lateness",
            "windows",
        )
        return WindowPolicy((WindowSpecification(60_000, 60_000),), 0)
    return policy


def _limits(root: Section) -> Limits:
    limits = Limits()
    tolerance = root.value("future_tolerance", duration(), limits.future_tolerance)
    ranges = list(limits.ranges)
    if section := root.optional_section("limits"):
        bound = number(-LARGEST_LIMIT, LARGEST_LIMIT)
        for index, quantity in enumerate(QUANTITIES):
            if part := section.optional_section(quantity.name):
                ranges[index] = (part.value("min", bound, ranges[index][0]), part.value("max", bound, ranges[index][1]))
                if ranges[index][0] > ranges[index][1]:
                    part.problem("min is above max")
    return dataclasses.replace(limits, ranges=tuple(ranges), future_tolerance=tolerance)


def _rules(root: Section) -> AlertRules:
    quantities = root.optional_section("rules")
    rules = AlertRules(
        tuple(
            _rule(quantities.optional_section(quantity.name)) if quantities and quantity.is_aggregated
            else QuantityRule()
            for quantity in QUANTITIES
        )
    )  # fmt: skip
    alerts = root.optional_section("alerts")
    if not alerts:
        return rules

    def severity(section: Section) -> str:
        return section.value("severity", choice("warning", "critical"), "warning")

    found: dict = {}
    if section := alerts.optional_section("fault"):
        found["fault"] = FaultRule(severity(section), section.value("for", duration(), 0))
    if section := alerts.optional_section("silence"):
        found["silence"] = SilenceRule(
            severity(section), section.value("intervals", whole_number(1, 1_000_000), 5),
            section.value("at_least", duration(), 60_000),
        )  # fmt: skip
    if section := alerts.optional_section("loss"):
        rule = LossRule(
            severity(section), section.value("for", duration(), 600_000),
            section.value("clear_after", duration(), 86_400_000),
        )  # fmt: skip
        if rule.clear_after <= rule.minimum_duration:
            section.problem('must be longer than "for"', "clear_after")
        found["loss"] = rule
    if section := alerts.optional_section("conflict"):
        found["conflict"] = ConflictRule(severity(section))
    return dataclasses.replace(rules, **found)


def _rule(section: Section | None) -> QuantityRule:
    if section is None:
        return QuantityRule()

    def bounds(key: str) -> tuple[float, float]:
        part = section.optional_section(key)
        if part is None:
            return -math.inf, math.inf
        return part.value("below", number(), -math.inf), part.value("above", number(), math.inf)

    warning, critical = bounds("warning"), bounds("critical")
    hysteresis = section.value("hysteresis", number(0), 0)
    rule = QuantityRule(*warning, *critical, hysteresis, section.value("for", duration(), 0))
    if critical[1] < warning[1] < math.inf or critical[0] > warning[0] > -math.inf:
        section.problem("is passed before the warning", "critical")
    if rule.lowest > rule.highest:
        section.problem('"below" is above "above"')
    elif rule.hysteresis > rule.highest - rule.lowest:
        section.problem("is wider than the bounds, so no alert would close", "hysteresis")
    return rule
