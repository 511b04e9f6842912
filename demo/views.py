"""The demo's two faces: a live table for a terminal, plain lines for everything else."""

import dataclasses
import datetime

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

# Status by symbol and colour, so that neither alone carries it.
STATUS = {"ok": ("●", "green"), "warning": ("▲", "yellow"), "failure": ("✖", "red")}


class LiveView:
    """Redraws in place."""

    interval = 0.5

    def __enter__(self):
        self.console = Console()
        self.live = Live(console=self.console, auto_refresh=False, vertical_overflow="crop")
        self.live.__enter__()
        return self

    def __exit__(self, *exception):
        self.live.__exit__(*exception)

    def show(self, snapshot):
        self.live.update(frame(snapshot, self.console), refresh=True)


def frame(snapshot, console):
    """All there is, as far as it fits into the terminal: the figures always do."""
    sensors, boards, lines = sensor_table(snapshot, console.width), board_table(snapshot), figures(snapshot)
    for content in (Group(sensors, "", boards, lines), Group(sensors, lines)):
        if len(console.render_lines(content)) <= console.height:
            return content
    return Group(lines, "", sensors)


class PlainView:
    """A line a few seconds, for logs and pipes."""

    interval = 2

    def __init__(self):
        # By board and sensor, what was last said of it.
        self.said = {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def show(self, snapshot):
        counts = {name: sum(sensor.last_status == name for sensor in snapshot.sensors) for name in STATUS}
        waiting = [f"{board.name} {whole(board.waiting)}" for board in snapshot.boards]
        print(
            f"{clock(snapshot.uptime)}  {snapshot.rate:5.1f} readings/s  {snapshot.stored:,} stored  "
            f"measurement to row p50 {delay(snapshot.median)} p95 {delay(snapshot.nearly_worst)}"
            f"{in_brackets(counted(snapshot))}  {snapshot.windows} windows  sensors "
            + " ".join(f"{count} {name}" for name, count in counts.items())
            + f"  outbox {', '.join(waiting)}"
            + (f"  lost {snapshot.lost}" if snapshot.lost else "")
            + (f"  PostgreSQL: {snapshot.error}" if snapshot.error else ""),
            flush=True,
        )
        self.say_changes(snapshot)

    def say_changes(self, snapshot):
        """A line for each sensor that has another status than before, or the same for another reason."""
        for sensor in snapshot.sensors:
            found = reasons(sensor, snapshot.rules)
            kind = (sensor.last_status, [reason.name for reason in found])
            before = self.said.get((sensor.gateway_id, sensor.sensor_id), ("ok", []))
            self.said[sensor.gateway_id, sensor.sensor_id] = kind
            if kind != before:
                why = f": {', '.join(reason.text for reason in found)}" if found else ""
                print(f"         {sensor.gateway_id} {sensor.sensor_id} is {sensor.last_status}{why}", flush=True)


# With fewer columns there is no room for places, and of the reasons the first stands for all. Digits are never cut off.
WIDTH_WITH_PLACES = 118


def sensor_table(snapshot, width=WIDTH_WITH_PLACES):
    has_places = width >= WIDTH_WITH_PLACES
    table = Table(title="Vigie: the air now", title_justify="left", title_style="bold", header_style="dim", box=None,
                  padding=(0, 2 if has_places else 1, 0, 0))  # fmt: skip
    table.add_column("board / sensor", no_wrap=True)
    co2, battery_heading = ("CO₂ ppm", "battery") if has_places else ("CO₂", "bat.")
    for heading, widest in (("°C", 6), ("%RH", 5), (co2, 6), ("hPa", 7), (battery_heading, 5), ("age", 7)):
        table.add_column(heading, justify="right", no_wrap=True, min_width=widest)
    table.add_column("status", no_wrap=not has_places, overflow="ellipsis")
    if has_places:
        table.add_column("place", no_wrap=True, style="dim")
    now = datetime.datetime.now(datetime.UTC)
    gateway = None
    for sensor in snapshot.sensors:
        if sensor.gateway_id != gateway:
            gateway = sensor.gateway_id
            table.add_row(Text(gateway, style="bold"))
        table.add_row(
            f"  {sensor.sensor_id}",
            number(sensor.temperature, 2),
            number(sensor.humidity, 1),
            number(sensor.co2, 0),
            number(sensor.pressure, 1),
            battery(sensor),
            age((now - sensor.last_event_time).total_seconds(), sensor.interval_ms / 1000),
            status(sensor, snapshot.rules, in_short=not has_places),
            *([place(sensor)] if has_places else []),
        )
    if not snapshot.sensors:
        table.add_row(Text("waiting for the first readings", style="dim"))
    return table


def board_table(snapshot):
    table = Table(header_style="dim", box=None, padding=(0, 2, 0, 0))
    table.add_column("board", no_wrap=True)
    table.add_column("outbox", justify="right")
    table.add_column("memory", justify="right")
    table.add_column("metrics", style="dim", no_wrap=True)
    for board in snapshot.boards:
        if board.waiting is None:
            waiting = Text("no answer", style="red")
        else:
            waiting = Text(whole(board.waiting), style="green" if board.waiting < 100 else "yellow")
        memory = f"{board.resident / 2**20:.1f} MiB" if board.resident else "-"
        table.add_row(board.name, waiting, memory, f"{board.address}/metrics")
    return table


def figures(snapshot):
    pairs = [
        ("up", clock(snapshot.uptime)),
        ("readings/s", f"{snapshot.rate:.1f}"),
        ("stored", f"{snapshot.stored:,}"),
        ("measurement to row p50", delay(snapshot.median)),
        ("p95", delay(snapshot.nearly_worst)),
        ("windows", f"{snapshot.windows:,} ({snapshot.final_windows:,} final)"),
        ("lost", f"{snapshot.lost:,}"),
    ]
    line = Text("\n")
    for name, value in pairs:
        line.append(f"{name} ", style="dim")
        line.append(value, style="bold red" if name == "lost" and snapshot.lost else "bold")
        line.append("   ")
    if text := counted(snapshot):
        line.append(f"\nmeasurement to row: {text}", style="dim")
    if snapshot.error:
        line.append(f"\nPostgreSQL: {snapshot.error}", style="red")
    if snapshot.dashboard:
        line.append("\ndashboard ", style="dim")
        line.append(snapshot.dashboard)
    line.append("\nCtrl-C stops everything in order.", style="dim")
    return line


def summary(snapshot):
    """What a demo did, in a few lines."""
    # One of the visitor's own may be among them.
    boards = len({sensor.gateway_id for sensor in snapshot.sensors})
    left = sum(board.waiting or 0 for board in snapshot.boards)
    lines = [
        ("ran for", clock(snapshot.uptime)),
        ("readings stored", f"{snapshot.stored:,} in this run, by {len(snapshot.sensors)} sensors on {boards} boards"),
        ("first row", first_row(snapshot)),
        (
            "latency",
            f"p50 {delay(snapshot.median)}, p95 {delay(snapshot.nearly_worst)}, from the start of a measurement to its "
            f"row{in_brackets(counted(snapshot))}",
        ),
        ("windows written", f"{snapshot.windows:,}, of which {snapshot.final_windows:,} are final"),
        ("readings lost", f"{snapshot.lost:,}"),
    ]
    if left:
        lines.append(("left in outboxes", whole(left)))
    return "\nSummary\n" + "\n".join(f"  {name:<17} {text}" for name, text in lines) + "\n"


def first_row(snapshot):
    if snapshot.first is None:
        return "none yet"
    if snapshot.first <= 0:
        return f"{delay(-snapshot.first)} before everything ran"
    return f"{delay(snapshot.first)} after everything ran"


def number(value, digits):
    return Text("-", style="dim") if value is None else f"{value:,.{digits}f}"


def battery(sensor):
    if sensor.battery_level is None:
        return number(sensor.battery_voltage, 2)
    style = "red" if sensor.battery_level < 15 else "yellow" if sensor.battery_level < 30 else ""
    return Text(f"{sensor.battery_level:.0f} %", style=style)


def age(seconds, interval):
    style = "green" if seconds < 3 * interval + 1 else "yellow" if seconds < 10 * interval + 1 else "red"
    text = f"{max(seconds, 0):.1f} s" if seconds < 60 else clock(seconds)
    return Text(text, style=style)


def status(sensor, rules, in_short=False):
    symbol, style = STATUS.get(sensor.last_status, ("?", ""))
    names = [reason.name for reason in reasons(sensor, rules)]
    if in_short and names:
        # The symbol says the rest.
        return Text(f"{symbol} {names[0]}" + (f" +{len(names) - 1}" if len(names) > 1 else ""), style=style)
    why = ", ".join(names)
    return Text(f"{symbol} {sensor.last_status}{': ' if why else ''}{why}", style=style)


@dataclasses.dataclass
class Reason:
    """Why a sensor is not ok: in a word, and in a sentence's part."""

    name: str
    text: str


# Of each quantity that has bounds: its name, its unit and its decimals.
QUANTITIES = {
    "temperature": ("temperature", "°C", 1),
    "humidity": ("humidity", "%", 1),
    "co2": ("CO₂", "ppm", 0),
    "pressure": ("pressure", "hPa", 1),
    "battery_level": ("battery", "%", 1),
}


def reasons(sensor, rules):
    """Why a sensor has its status: its faults, and the values that are beyond their bounds."""
    if sensor.last_status == "ok":
        return []
    found = [Reason(fault, f"fault {fault}") for fault in sensor.faults or ()]
    for quantity, (name, unit, digits) in QUANTITIES.items():
        value = getattr(sensor, quantity)
        passed = [
            rule
            for rule in rules
            if rule.quantity == quantity and value is not None
            and (value < rule.bound if rule.side == "below" else value > rule.bound)
        ]  # fmt: skip
        if passed:
            # Beyond a critical bound it is beyond the warning's too.
            rule = min(passed, key=lambda rule: rule.severity)
            kind = f"{name} {'low' if rule.side == 'below' else 'high'}"
            text = f"{name} {value:,.{digits}f} {unit} is {rule.side} {rule.bound:,g} {unit}"
            found.append(Reason(kind, text))
    return found


def counted(snapshot):
    """Of what the latency is, and what it counts besides measurements as they are usually."""
    if not snapshot.timed:
        return ""
    of_start = f": {snapshot.with_start} of {snapshot.timed} with the 5 s of an SCD41's first measurement"
    return f"of {snapshot.period}{of_start if snapshot.with_start else ''}"


def in_brackets(text):
    return f" ({text})" if text else ""


def place(sensor):
    if sensor.latitude is None or sensor.longitude is None:
        return ""
    north, east = ("N" if sensor.latitude >= 0 else "S"), ("E" if sensor.longitude >= 0 else "W")
    return f"{abs(sensor.latitude):.3f}°{north} {abs(sensor.longitude):.3f}°{east}"


def delay(seconds):
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"


def whole(value):
    return "no answer" if value is None else f"{value:,.0f}"


def clock(seconds):
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"
