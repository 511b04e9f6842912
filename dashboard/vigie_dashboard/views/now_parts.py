"""The HTML of the view `now`: what Streamlit's own tables cannot show in colour, with a symbol, on a phone."""

import functools
from datetime import datetime
from html import escape

import pandas

from vigie_dashboard.columns import each_written
from vigie_dashboard.context import Context
from vigie_dashboard.quantities import BY_NAME, QUANTITIES
from vigie_dashboard.theme import SYMBOLS

# More than these are shown only when they are asked for: nobody reads a list of hundreds on a wall, and what is below
# it would be out of sight.
MOST_ALERTS = 12
# Of these the least is what matters; of other quantities the most.
LEAST_FIRST = ("battery_level",)


def style(context: Context) -> str:
    """Once a page: the colours of the reader's theme."""
    palette = context.palette
    colours = "".join(f".vg-{name}{{--c:{colour}}}" for name, colour in palette.status.items())
    return f"""<style>
{colours}
.vg-banner {{ display:flex; flex-wrap:wrap; gap:.25rem 1.1rem; align-items:baseline; padding:.55rem .9rem;
  border-radius:.5rem; border-left:.4rem solid var(--c); background:color-mix(in srgb, var(--c) 12%, transparent); }}
.vg-banner b {{ font-size:1.35rem; font-weight:650; }}
.vg-banner .vg-part {{ font-size:1.05rem; white-space:nowrap; }}
.vg-banner .vg-live {{ margin-left:auto; color:{palette.muted}; font-size:.9rem; white-space:nowrap; }}
.vg-s {{ color:var(--c); font-weight:650; white-space:nowrap; }}
.vg-cards {{ display:grid; grid-template-columns:repeat(auto-fit, minmax(9.5rem, 1fr)); gap:.6rem; }}
.vg-card {{ border:1px solid {palette.grid}; border-radius:.5rem; padding:.55rem .8rem; }}
.vg-card .vg-label {{ color:{palette.muted}; font-size:.9rem; }}
.vg-card .vg-number {{ font-size:2rem; line-height:1.15; font-weight:600; font-variant-numeric:tabular-nums; }}
.vg-card .vg-of {{ font-size:1rem; font-weight:400; color:{palette.muted}; }}
.vg-card .vg-change {{ font-size:.88rem; color:{palette.muted}; }}
.vg-alert {{ display:grid;
  grid-template-columns:7.5rem minmax(8rem,1.2fr) minmax(10rem,1.2fr) minmax(8rem,1.2fr) 8.5rem;
  gap:.1rem .9rem; padding:.42rem .7rem; border-left:.3rem solid var(--c); border-bottom:1px solid {palette.grid};
  align-items:baseline; }}
.vg-alert > * {{ min-width:0; overflow-wrap:anywhere; }}
.vg-alert .vg-muted, .vg-muted {{ color:{palette.muted}; font-size:.88rem; }}
.vg-alert .vg-since {{ text-align:right; font-variant-numeric:tabular-nums; }}
.vg-scroll {{ overflow-x:auto; }}
.vg-sensors {{ border-collapse:collapse; width:100%; font-size:.95rem; }}
.vg-sensors th, .vg-sensors td {{ padding:.32rem .6rem; text-align:left; white-space:nowrap; font-weight:400;
  border:0; border-bottom:1px solid {palette.grid}; }}
.vg-sensors thead th {{ color:{palette.muted}; font-size:.88rem; white-space:normal; vertical-align:bottom;
  border-bottom:1px solid {palette.muted}; }}
.vg-sensors b {{ font-weight:600; }}
.vg-sensors .vg-n {{ text-align:right; font-variant-numeric:tabular-nums; }}
.vg-sensors td:last-child {{ color:{palette.muted}; }}
@media (max-width: 760px) {{
  .vg-sensors th, .vg-sensors td {{ padding:.3rem .4rem; }}
  .vg-sensors .vg-s > span {{ display:none; }}
  .vg-sensors tr > :first-child {{ font-size:0; padding-right:0; }}
  .vg-sensors tr > :first-child .vg-s {{ font-size:1rem; }}
  .vg-sensors tbody .vg-muted {{ display:block; font-size:.8rem; }}
  .vg-alert {{ grid-template-columns:1fr auto; }}
  .vg-alert .vg-sensor {{ grid-row:1; grid-column:1; }}
  .vg-alert .vg-since {{ grid-row:1; grid-column:2; }}
  .vg-alert .vg-what {{ grid-column:1; }}
  .vg-alert .vg-s {{ grid-row:2; grid-column:2; text-align:right; }}
  .vg-alert .vg-worst {{ grid-column:1 / -1; }}
  .vg-cards {{ grid-template-columns:1fr 1fr; gap:.4rem; }}
  .vg-card .vg-number {{ font-size:1.6rem; }}
  .vg-card:first-child:nth-last-child(odd) {{ grid-column:1 / -1; }}
  .vg-banner .vg-live {{ margin-left:0; width:100%; }}
}}
</style>"""


def banner(context: Context, sensors: pandas.DataFrame, alerts: pandas.DataFrame, now: datetime, is_live: bool) -> str:
    """The whole in one line, to be read from across the room."""
    language = context.language
    counts = sensors["status"].value_counts()
    critical = int((alerts["severity"] == "critical").sum())
    if critical or counts.get("critical", 0):
        level = "critical"
    elif counts.get("failure", 0):
        level = "failure"
    elif len(alerts) or counts.get("warning", 0):
        level = "warning"
    elif counts.get("stale", 0):
        level = "stale"
    else:
        level = "ok"
    parts = [
        f'<span class="vg-part"><span class="vg-s vg-{name}">{SYMBOLS[name]}</span> '
        f"{escape(language.count('now.count.' + name, int(counts[name])))}</span>"
        for name in ("critical", "failure", "warning", "stale", "ok")
        if counts.get(name, 0)
    ]
    told = language.text("now.live" if is_live else "now.as_of", time=language.time(now, context.zone))
    return (
        f'<div class="vg-banner vg-{level}" role="status"><b><span class="vg-s">{SYMBOLS[level]}</span> '
        f"{escape(language.text('now.level.' + level))}</b>{''.join(parts)}"
        f'<span class="vg-live">{escape(told)}</span></div>'
    )


def cards(context: Context, sensors: pandas.DataFrame, alerts: pandas.DataFrame, figures: dict[str, float]) -> str:
    """The key figures, each with its change against an hour ago."""
    language = context.language
    stale = int(sensors["is_stale"].sum())
    # Silence has a figure of its own.
    about_sensors = alerts[(alerts["kind"] != "silence") & (alerts["sensor_id"] != "")]
    in_alarm = len(about_sensors[["gateway_id", "sensor_id"]].drop_duplicates())
    total = len(sensors)
    known = figures["known_before"] > 0
    return (
        '<div class="vg-cards">'
        + _card(
            context, "now.figure.reporting", total - stale, figures["reporting_before"] if known else None, of=total
        )
        + _card(context, "now.figure.in_alarm", in_alarm, figures["in_alarm_before"] if known else None, "warning")
        + _card(context, "now.figure.stale", stale, figures["stale_before"] if known else None, "stale")
        + _card(
            context,
            "now.figure.critical",
            int((alerts["severity"] == "critical").sum()),
            None,
            "critical",
            note=language.count("now.alerts_open", len(alerts)),
        )
        + _card(context, "now.figure.readings", figures["readings"], figures["readings_before"] if known else None)
        + "</div>"
    )


def _card(
    context: Context, key: str, value: float, before: float | None, status: str = "", of: int | None = None, note=None
) -> str:
    language = context.language
    symbol = f'<span class="vg-s vg-{status}">{SYMBOLS[status]}</span> ' if status and value else ""
    rest = f' <span class="vg-of">/ {language.number(of)}</span>' if of is not None else ""
    digits = 1 if 0 < value < 10 and value != int(value) else 0
    if note is not None:
        change = note
    elif before is None:
        change = language.text("now.change.unknown")
    else:
        difference = round(value, digits) - round(before, digits)
        if not round(difference, digits):
            change = language.text("now.change.same")
        else:
            arrow = "↑" if difference > 0 else "↓"
            change = language.text(
                "now.change.by", change=f"{arrow}\u00a0{language.number(difference, digits, signed=True)}"
            )
    return (
        f'<div class="vg-card"><div class="vg-label">{escape(language.text(key))}</div>'
        f'<div class="vg-number">{symbol}{language.number(value, digits)}{rest}</div>'
        f'<div class="vg-change">{escape(change)}</div></div>'
    )


def alert_list(
    context: Context, alerts: pandas.DataFrame, sensors: pandas.DataFrame, now: datetime, most: int = MOST_ALERTS
) -> str:
    """What is wrong, one line each: how bad, where, what, the worst and the present value, since when."""
    language = context.language
    if alerts.empty:
        return (
            f'<div class="vg-alert vg-ok" style="display:block"><span class="vg-s">{SYMBOLS["ok"]}</span> '
            f"{escape(language.text('now.no_alerts'))}</div>"
        )
    shown = alerts.head(most)
    about = sensors[sensors["sensor_id"].isin(shown["sensor_id"])]
    latest = {(sensor.gateway_id, sensor.sensor_id): sensor for sensor in about.itertuples()}
    lines = [
        _alert(context, alert, latest.get((alert.gateway_id, alert.sensor_id)), now) for alert in shown.itertuples()
    ]
    more = len(alerts) - most
    if more > 0:
        lines.append(
            f'<div class="vg-muted" style="padding:.4rem .7rem">{escape(language.count("now.more", more))}</div>'
        )
    return "".join(lines)


def _alert(context: Context, alert, sensor, now: datetime) -> str:
    language = context.language
    since = alert.pending_since
    return (
        f'<div class="vg-alert vg-{escape(alert.severity)}">'
        f'<span class="vg-s">{SYMBOLS.get(alert.severity, "▲")} '
        f"{escape(language.text('status.' + alert.severity))}</span>"
        f'<span class="vg-sensor"><b>{escape(alert.sensor_id or alert.gateway_id)}</b>'
        + (f' <span class="vg-muted">{escape(alert.gateway_id)}</span>' if alert.sensor_id else "")
        + f'</span><span class="vg-what">{escape(what(context, alert))}</span>'
        f'<span class="vg-worst">{escape(_values(context, alert, sensor))}</span>'
        f'<span class="vg-since" title="{escape(language.date_time(since, context.zone, seconds=True))}">'
        f"{escape(language.age((now - since).total_seconds()))}"
        f' <span class="vg-muted">{escape(language.moment(since, now, context.zone))}</span></span></div>'
    )


def what(context: Context, alert) -> str:
    """The alert in the reader's words. The processor's detail is made of few forms; another one is shown as it is."""
    language = context.language
    words = alert.detail.split(" ")
    if alert.variable in BY_NAME:
        try:
            side, bound = words[0], float(words[1])
            return language.text(
                f"now.alert.{side}",
                quantity=language.quantity(alert.variable),
                bound=language.value(alert.variable, bound),
            )
        except (IndexError, ValueError, KeyError):
            return f"{language.quantity(alert.variable)}: {alert.detail}"
    kind = language.text(f"alert_kind.{alert.kind}") if f"alert_kind.{alert.kind}" in language.texts else alert.kind
    if alert.kind == "silence":
        return language.text("now.alert.silence")
    if alert.kind == "conflict" and pandas.notna(alert.worst_value):
        return language.count("now.alert.conflict", int(alert.worst_value))
    if alert.kind == "loss" and words[0].isdigit():
        found = language.count("now.alert.loss", int(words[0]))
        names = alert.detail.partition("(")[2].rstrip(")")
        reasons = ", ".join(language.loss_reason(name) for name in names.split(", "))
        return f"{found} ({reasons})" if names else found
    if alert.kind == "fault":
        return language.fault(alert.detail)
    if alert.kind == "log":
        return language.text("now.alert.log", partition=alert.variable)
    return f"{kind}: {alert.detail}" if alert.detail else kind


def _values(context: Context, alert, sensor) -> str:
    language = context.language
    if alert.variable not in BY_NAME or pandas.isna(alert.worst_value):
        return ""
    text = language.text("now.worst", value=language.value(alert.variable, float(alert.worst_value)))
    present = getattr(sensor, alert.variable, None)
    if pandas.notna(present):
        text += " · " + language.text("now.present", value=language.value(alert.variable, float(present)))
    return text


def sensor_table(context: Context, sensors: pandas.DataFrame) -> str:
    """A row a sensor. In HTML: Streamlit's own tables take a second to write a thousand rows in a reader's numbers."""
    language = context.language
    quantities = [quantity for quantity in QUANTITIES if sensors[quantity.name].notna().any()]
    head = [("now.status", ""), ("now.sensor", ""), ("now.age", "vg-n")]
    cells = [f'<th scope="col" class="{kind}">{escape(language.text(key))}</th>' for key, kind in head]
    cells += [
        f'<th scope="col" class="vg-n">{escape(language.quantity(quantity.name))} '
        f'<span class="vg-muted">{escape(quantity.unit)}</span></th>'
        for quantity in quantities
    ]
    cells.append(f'<th scope="col">{escape(language.text("now.marks"))}</th>')
    statuses = {name: _status_cell(language.text(f"status.{name}"), name) for name in sensors["status"].unique()}
    columns = [
        each_written(
            sensors[quantity.name], functools.partial(language.number, digits=quantity.digits), quantity.digits
        )
        for quantity in quantities
    ]
    ages = each_written(sensors["age"] // 1, language.age)
    rows = [
        f'<tr>{statuses[status]}<th scope="row"><b>{escape(sensor)}</b> '
        f'<span class="vg-muted">{escape(gateway)}</span></th>'
        f'<td class="vg-n">{age}</td>{"".join(f"""<td class="vg-n">{value or "–"}</td>""" for value in values)}'
        f"<td>{escape(mark)}</td></tr>"
        for status, sensor, gateway, age, mark, *values in zip(
            sensors["status"].tolist(),
            sensors["sensor_id"].tolist(),
            sensors["gateway_id"].tolist(),
            ages,
            _marks(context, sensors),
            *columns,
            strict=True,
        )
    ]
    return (
        f'<div class="vg-scroll"><table class="vg-sensors"><thead><tr>{"".join(cells)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _status_cell(text: str, status: str) -> str:
    return (
        f'<td class="vg-{status}" title="{escape(text)}"><span class="vg-s">{SYMBOLS[status]} '
        f"<span>{escape(text)}</span></span></td>"
    )


def _marks(context: Context, sensors: pandas.DataFrame) -> list[str]:
    """What is not plain about each sensor's last reading."""
    catching_up, simulated, estimated = (
        context.text(f"mark.{name}") for name in ("catching_up", "simulated", "estimated")
    )
    return [
        ", ".join(
            mark
            for mark in (
                catching_up if is_behind else "",
                simulated if is_simulated else "",
                estimated if quality == "estimated" else "",
                *(map(context.language.fault, faults) if faults is not None else ()),
            )
            if mark
        )
        for is_behind, is_simulated, quality, faults in zip(
            sensors["catching_up"].tolist(),
            sensors["simulated"].tolist(),
            sensors["time_quality"].tolist(),
            sensors["faults"].tolist(),
            strict=True,
        )
    ]
