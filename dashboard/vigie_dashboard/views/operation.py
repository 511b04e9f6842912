"""The view `operation`: how the pipeline does, for whoever runs it."""

import html
import math
import urllib.parse
from collections.abc import Callable
from datetime import datetime

import pandas
import streamlit as st
from pandas.io.formats.style import Styler

from vigie_dashboard import condition, processors
from vigie_dashboard.charts import operation as charts
from vigie_dashboard.condition import Finding
from vigie_dashboard.context import Context
from vigie_dashboard.processors import Answer
from vigie_dashboard.queries import operation as queries
from vigie_dashboard.queries.operation import Operation
from vigie_dashboard.states import guarded, load, show_empty
from vigie_dashboard.theme import SYMBOLS

# Heartbeats come every three seconds: little is gained by looking more often.
REFRESH_SECONDS = 5.0
# Rows of a table; more are found by name.
MOST_GATEWAYS = 300
CHART_HEIGHT = 240
# Of a table before it scrolls, and a row's height in it.
MOST_ROWS = 15
TABLE_ROW = 35

# How each state of a gateway, a clock or a processor looks: by a status' symbol and colour, never by colour alone.
GATEWAY_STATUS = {"ok": "ok", "clock": "warning", "behind": "warning", "silent": "stale"}
PROCESSOR_STATUS = {
    "healthy": "ok",
    "starting": "warning",
    "degraded": "warning",
    "failed": "critical",
    "gone": "stale",
}


def render(context: Context) -> None:
    st.fragment(_live, run_every=max(context.settings.refresh_seconds, REFRESH_SECONDS))(context)


def _live(context: Context) -> None:
    with guarded(context):
        _show(context)


@st.cache_data(ttl=2.0, max_entries=4, show_spinner=False)
def _ask(endpoints: tuple[str, ...], token_file: str | None) -> list[Answer]:
    """All readers share an answer: a processor is not asked more often because more people look."""
    return processors.ask(endpoints, token_file)


def _show(context: Context) -> None:
    loaded = load(context, "operation", queries.read)
    if loaded is None:
        return
    data = loaded.value
    if not data.has_readings and data.processors.empty:
        show_empty(context)
        return
    members = condition.with_life(data.processors)
    living = {row.endpoint for row in members.itertuples() if row.endpoint and row.condition != "gone"}
    # A socket is for who is on the processor's own machine.
    endpoints = tuple(sorted(endpoint for endpoint in living if not endpoint.startswith("unix:")))
    answers = _ask(endpoints, context.settings.token_file)
    heard = [answer for answer in answers if answer.trouble is None]
    partitions = condition.read_partitions(data.offsets, members, processors.partitions(heard))
    gateways = condition.judged(data.gateways)
    history = processors.together(processors.history(heard))

    _heading(context, loaded.at, heard, endpoints)
    _findings(
        context,
        condition.findings(members, partitions, gateways, data.loss_total, data.notifications, answers),
        gateways,
        members,
    )
    _figures(context, data, members, gateways, heard, history)
    _way(context, heard, history)
    _work(context, heard, history)
    _gateways(context, gateways)
    _losses(context, data)
    _processors(context, members, answers)
    _partitions(context, partitions)
    _notifications(context, data)


def _heading(context: Context, at: datetime, heard: list[Answer], endpoints: tuple[str, ...]) -> None:
    text, language = context.text, context.language
    parts = [text("operation.as_of", time=language.time(at, context.zone))]
    if endpoints:
        parts.append(
            text("operation.answered", heard=language.number(len(heard)), asked=language.number(len(endpoints)))
        )
    st.caption(" · ".join(parts))


# What needs a person


def _findings(context: Context, findings: list[Finding], gateways: pandas.DataFrame, members: pandas.DataFrame) -> None:
    """What needs a person, before all else: or that nothing does."""
    language = context.language
    lines = []
    if not findings:
        alive = members[members["condition"] != "gone"]["instance"].nunique()
        well = context.text(
            "operation.all_well", processors=language.number(alive), gateways=language.number(len(gateways))
        )
        lines.append(_line(context, "ok", well))
    for finding in findings:
        if finding.count is not None:
            sentence = language.count(finding.text, finding.count, **finding.values)
        else:
            sentence = context.text(finding.text, **finding.values)
        lines.append(_line(context, finding.status, sentence))
    with st.container(border=True, key="operation-findings"):
        st.html("".join(lines))


def _line(context: Context, status: str, sentence: str) -> str:
    """A sentence behind the symbol of its status. What it holds may come from anywhere, so it is escaped."""
    colour = context.palette.status[status]
    return (
        f'<p class="finding" data-status="{status}" style="margin:0.15rem 0;padding-left:1.6rem;text-indent:-1.6rem">'
        f'<span style="color:{colour};display:inline-block;width:1.6rem;text-indent:0">{SYMBOLS[status]}</span>'
        f"{html.escape(sentence)}</p>"
    )


# Key figures


def _figures(
    context: Context,
    data: Operation,
    members: pandas.DataFrame,
    gateways: pandas.DataFrame,
    heard: list[Answer],
    history: pandas.DataFrame,
) -> None:
    text, language = context.text, context.language
    alive = members[members["condition"] != "gone"]
    lag = pandas.to_numeric(alive["lag"], errors="coerce")
    way = processors.stages(heard).set_index("stage").loc["total"]
    batches = processors.batches(heard)["seconds"].astype(float)
    sending = int((~gateways["state"].eq("silent")).sum()) if len(gateways) else 0
    longest = charts.duration(batches.max() if len(batches) else None, language, short=True)
    cards = [
        (
            text("operation.throughput"), charts.written(float(alive["messages_per_second"].sum()), "/s", language),
            text("operation.throughput.note"), _spark(context, history, "messages_per_second"),
        ),
        (
            text("operation.lag"), language.compact(float(lag.sum())) if lag.notna().any() else language.number(None),
            text("operation.lag.note"), _spark(context, history, "lag"),
        ),
        (
            text("operation.way"), charts.duration(way["p50"], language),
            text("operation.way.note", p95=charts.duration(way["p95"], language)),
            _spark(context, history, "latency_median"),
        ),
        (
            text("operation.batch"), charts.duration(batches.median() if len(batches) else None, language, short=True),
            text("operation.batch.note", longest=longest),
            _spark(context, history, "batch_seconds"),
        ),
        (
            text("operation.gateways_sending"), f"{language.number(sending)} / {language.number(len(gateways))}",
            language.count("operation.sensors", float(gateways["sensors"].sum()) if len(gateways) else 0), "",
        ),
        (
            text("operation.missing"), language.compact(float(data.loss_total["readings"])),
            language.count("operation.holes", float(data.loss_total["holes"])), "",
        ),
    ]  # fmt: skip
    muted = context.palette.muted
    box = f"border:1px solid {context.palette.grid};border-radius:0.5rem;padding:0.6rem 0.75rem;min-width:0"
    # As many beside each other as there is room for.
    grid = "display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:0.75rem"
    large = "font-size:1.75rem;line-height:1.3;white-space:nowrap"
    st.html(
        f'<div class="figures" style="{grid}">'
        + "".join(
            f'<div class="figure" style="{box}">'
            f'<div style="font-size:0.875rem;color:{muted}">{html.escape(label)}</div>'
            f'<div class="value" style="{large}">{html.escape(value)}</div>'
            f'<div style="font-size:0.8rem;color:{muted}">{html.escape(note)}</div>{spark}</div>'
            for label, value, note, spark in cards
        )
        + "</div>"
    )


def _spark(context: Context, history: pandas.DataFrame, column: str) -> str:
    """The last minutes of a figure as a small line; nothing if little is known."""
    values = pandas.to_numeric(history[column], errors="coerce").dropna() if len(history) else []
    if len(values) < 3:
        return ""
    picture = urllib.parse.quote(charts.spark([float(value) for value in values], context.palette))
    style = "display:block;width:100%;height:2.2rem;margin-top:0.3rem"
    return f'<img alt="" style="{style}" src="data:image/svg+xml,{picture}">'


# Charts


def _way(context: Context, heard: list[Answer], history: pandas.DataFrame) -> None:
    text, language = context.text, context.language
    st.subheader(text("operation.way.title"), anchor=False)
    if not _has_answers(context, heard):
        return
    stages = processors.stages(heard)
    # On the board first, then where it goes: the order of the way, and the whole of it last.
    names = [text(f"operation.stage.{stage}") for stage in stages["stage"]]
    labels = {"p50": text("operation.median"), "p95": language.percent(0.95), "p99": language.percent(0.99)}
    left, right = st.columns(2, gap="medium")
    with left:
        _caption(text("operation.stages.caption", count=language.number(int(stages["count"].max()))))
        if stages["p50"].notna().any():
            alt = "; ".join(
                f"{name}: {charts.duration(value, language)}" for name, value in zip(names, stages["p50"], strict=True)
            )
            figure = charts.latency_by_stage(stages, names, labels, context.palette, language)
            context.show(figure, "operation-stages", alt, CHART_HEIGHT)
        else:
            _nothing(context)
    with right:
        _caption(text("operation.way_history.caption"))
        _history(
            context, "operation-way-history", history,
            {"latency_median": text("operation.median"), "latency_95": language.percent(0.95)}, "", is_duration=True,
        )  # fmt: skip


def _work(context: Context, heard: list[Answer], history: pandas.DataFrame) -> None:
    text = context.text
    if not heard:
        return
    st.subheader(text("operation.work.title"), anchor=False)
    left, right = st.columns(2, gap="medium")
    with left:
        _caption(text("operation.throughput.caption"))
        columns = {"messages_per_second": text("operation.messages"), "rows_per_second": text("operation.rows")}
        _history(context, "operation-throughput", history, columns, "/s")
    with right:
        _caption(text("operation.lag.caption"))
        _history(context, "operation-lag", history, {"lag": text("operation.messages")}, "")
    left, right = st.columns(2, gap="medium")
    with left:
        _batches(context, heard)
    with right:
        _counts(context, heard)


def _history(
    context: Context,
    key: str,
    history: pandas.DataFrame,
    columns: dict[str, str],
    unit: str,
    *,
    is_duration: bool = False,
) -> None:
    if history.empty or history[list(columns)].isna().all(axis=None):
        _nothing(context)
        return
    local = history.assign(time=context.local(history["time"]))
    now = context.local_time(context.now())
    figure = charts.lines(local, columns, now, unit, context.palette, context.language, is_duration=is_duration)
    last = {name: local[column].dropna() for column, name in columns.items()}

    def written(value: float) -> str:
        if is_duration:
            return charts.duration(value, context.language)
        return charts.written(value, unit, context.language)

    alt = "; ".join(f"{name}: {written(values.iloc[-1])}" for name, values in last.items() if len(values))
    context.show(figure, key, alt, CHART_HEIGHT)


def _batches(context: Context, heard: list[Answer]) -> None:
    text, language = context.text, context.language
    batches = processors.batches(heard)
    _caption(text("operation.batches.caption", count=language.number(len(batches))))
    if batches.empty:
        _nothing(context)
        return
    local = batches.assign(time=context.local(batches["time"]))
    labels = {"messages": text("operation.messages").lower(), "rows": text("operation.rows").lower()}
    figure = charts.batch_durations(local, labels, context.palette, language)
    longest = charts.duration(float(batches["seconds"].max()), language, short=True)
    context.show(figure, "operation-batches", text("operation.batches.alt", longest=longest), CHART_HEIGHT)


def _counts(context: Context, heard: list[Answer]) -> None:
    """What came of all messages since the processors started: what is late, double or refused as a share too."""
    text, language = context.text, context.language
    counts = processors.counts(heard)
    messages = counts.get("messages", 0)
    _caption(text("operation.counts.caption"))
    rows = []
    for name in ("messages", "rows", "duplicates", "late", "rejected", "windows"):
        share = counts.get(name, 0) / messages if messages and name not in ("messages", "windows") else None
        rows.append(
            (
                text(f"operation.counts.{name}"),
                language.number(counts.get(name)),
                language.percent(share, 1) if share is not None else "",
            )
        )
    if retried := processors.total(heard, "vigie_batch_retries_total"):
        rows.append((text("operation.counts.retried"), language.number(retried), ""))
    if skewed := processors.total(heard, "vigie_clock_skew_total"):
        rows.append((text("operation.counts.skewed"), language.number(skewed), ""))
    st.html(_table(context, rows))
    reasons = {
        name: count for name, count in processors.by_label(heard, "vigie_rejected_total", "reason").items() if count
    }  # fmt: skip
    if reasons:
        listed = sorted(reasons.items(), key=lambda entry: -entry[1])
        _caption(
            text("operation.rejected.reasons")
            + " "
            + ", ".join(f"{_reason(context, name)} {language.number(count)}" for name, count in listed)
        )


def _reason(context: Context, name: str) -> str:
    key = f"operation.rejected.{name}"
    return context.text(key) if key in context.language.texts else name


def _table(context: Context, rows: list[tuple[str, str, str]]) -> str:
    """A small table of names and numbers."""
    grid, muted = context.palette.grid, context.palette.muted
    cell = f"padding:0.28rem 0.4rem;border-bottom:1px solid {grid}"
    lines = "".join(
        f'<tr><th scope="row" style="{cell};text-align:left;font-weight:400">{html.escape(name)}</th>'
        f'<td style="{cell};text-align:right;font-variant-numeric:tabular-nums">{html.escape(number)}</td>'
        f'<td style="{cell};text-align:right;color:{muted};font-variant-numeric:tabular-nums">'
        f"{html.escape(share)}</td></tr>"
        for name, number, share in rows
    )
    return f'<table class="counts" style="width:100%;border-collapse:collapse;font-size:0.9rem">{lines}</table>'


# Gateways


def _gateways(context: Context, gateways: pandas.DataFrame) -> None:
    text, language = context.text, context.language
    st.subheader(text("operation.gateways.title"), anchor=False)
    if gateways.empty:
        _nothing(context)
        return
    with st.container(horizontal=True, vertical_alignment="top", key="operation-gateways-choice"):
        counts = gateways["state"].value_counts()
        options = list(condition.GATEWAY_STATES)
        chosen = st.pills(
            text("operation.gateways.state"), options, selection_mode="multi", key="operation-states",
            format_func=lambda state: f"{SYMBOLS[GATEWAY_STATUS[state]]} {text(f'operation.gateway.{state}')}",
        )  # fmt: skip
        wanted = st.text_input(
            text("operation.gateways.search"), key="operation-search", width=220,
            placeholder=text("operation.gateways.search.placeholder"),
        )  # fmt: skip
    shown = gateways
    if chosen:
        shown = shown[shown["state"].isin(chosen)]
    if wanted.strip():
        shown = shown[shown["gateway_id"].str.contains(wanted.strip(), case=False, regex=False)]
    summary = ", ".join(
        language.count(f"operation.gateways.count.{state}", int(counts[state])) for state in options if state in counts
    )
    more = len(shown) - MOST_GATEWAYS
    _caption(summary + (" · " + text("operation.gateways.more", count=language.number(more)) if more > 0 else ""))
    if shown.empty:
        st.info(text("state.nothing_chosen"))
        return
    st.dataframe(
        _gateway_table(context, shown.head(MOST_GATEWAYS)), hide_index=True, placeholder="–", key="operation-gateways",
        height=TABLE_ROW * (1 + min(len(shown), MOST_ROWS)) + 3,
        column_config=_columns(context, "operation.gateway.column", ("gateway_id",)),
    )  # fmt: skip
    _caption(text("operation.gateways.honest"))


def _gateway_table(context: Context, gateways: pandas.DataFrame) -> Styler:
    language = context.language
    bounds = dict(zip(gateways.index, gateways["is_bound"], strict=True))
    frame = pandas.DataFrame(
        {
            "state": [_named(context, GATEWAY_STATUS, "operation.gateway", name) for name in gateways["state"]],
            "gateway_id": gateways["gateway_id"],
            "arrival_age": gateways["arrival_age"].clip(lower=0),
            "delay": gateways["delay"],
            "waiting": gateways["waiting"],
            "clock": [context.text(f"operation.clock.{name}") for name in gateways["clock"]],
            "missing": gateways["missing"],
            "late": pandas.to_numeric(gateways["late"] / gateways["readings"], errors="coerce"),
            "sensors": gateways["sensors"],
            "streams": gateways["streams"],
            "partitions": [_numbers(numbers) for numbers in gateways["partitions"]],
            "expired": gateways["expired"],
        }
    )

    def waiting(index: int) -> Callable[[float], str]:
        prefix = "≤\u202f" if bounds[index] else "≈\u202f"
        return lambda value: (prefix if value else "") + language.compact(value)

    styler = _styled(context, frame, {
        "arrival_age": language.ago, "delay": lambda value: _delay(context, value), "missing": language.number,
        "late": language.percent, "sensors": language.number, "streams": language.number, "expired": language.number,
    }, ("state",))  # fmt: skip
    for index in frame.index:
        styler = styler.format(waiting(index), subset=([index], ["waiting"]))
    losing = context.palette.status["failure"]
    return styler.map(lambda value: f"color: {losing}; font-weight: 600" if value else "", subset=["missing"])


def _delay(context: Context, seconds: float) -> str:
    if seconds < -0.001:
        return context.text("operation.ahead", duration=context.language.duration(-seconds))
    return charts.duration(seconds, context.language)


# Losses


def _losses(context: Context, data: Operation) -> None:
    text, language = context.text, context.language
    st.subheader(text("operation.losses.title"), anchor=False)
    total = data.loss_total
    if not total["readings"]:
        st.html(_line(context, "ok", text("operation.losses.none")))
        return
    found = language.count("operation.holes", float(total["holes"]))
    sentence = language.count("operation.losses.total", float(total["readings"]), holes=found)
    if total["holes"] > len(data.losses):
        sentence += " " + text("operation.losses.newest", count=language.number(len(data.losses)))
    _caption(sentence)
    holes = pandas.DataFrame(
        {
            "gateway_id": data.losses["gateway_id"],
            "since": context.local(data.losses["after_time"]),
            "until": context.local(data.losses["before_time"]),
            "readings": data.losses["readings"],
        }
    )
    figure = charts.losses(
        holes,
        context.local_time(context.now()),
        {"missing": text("operation.losses.missing")},
        context.palette,
        language,
    )
    rows = min(charts.MOST_ROWS, data.losses["gateway_id"].nunique())
    context.show(figure, "operation-losses", sentence, 85 + 26 * rows)
    with st.expander(text("operation.losses.table"), key="operation-losses-table"):
        table = pandas.DataFrame(
            {
                "gateway_id": data.losses["gateway_id"],
                "stream_id": data.losses["stream_id"],
                "readings": data.losses["readings"],
                "reason": data.losses["reason"].map(language.loss_reason),
                "numbers": [
                    f"{row.first_seq} – {row.last_seq}" if row.last_seq > row.first_seq else f"{row.first_seq}"
                    for row in data.losses.itertuples()
                ],
                "after_time": [_time(context, value) for value in data.losses["after_time"]],
                "before_time": [_time(context, value) for value in data.losses["before_time"]],
                "age": data.losses["age"].clip(lower=0),
            }
        )
        st.dataframe(
            _styled(context, table, {"readings": language.number, "age": language.ago}),
            hide_index=True, placeholder="–",
            key="operation-losses-rows", column_config=_columns(context, "operation.loss.column", ("gateway_id",)),
        )  # fmt: skip


# Processors


def _processors(context: Context, members: pandas.DataFrame, answers: list[Answer]) -> None:
    text, language = context.text, context.language
    st.subheader(text("operation.processors.title"), anchor=False)
    if members.empty:
        st.info(text("operation.processors.none"))
        return
    troubles = {answer.endpoint: answer.trouble for answer in answers}
    seconds = (context.now() - pandas.to_datetime(members["started_at"], utc=True)).dt.total_seconds()
    table = pandas.DataFrame(
        {
            "state": [_named(context, PROCESSOR_STATUS, "operation.processor", name) for name in members["condition"]],
            "name": [f"{row.instance} · {row.worker}" for row in members.itertuples()],
            "partitions": [_numbers(numbers) for numbers in members["partitions"]],
            "lag": pandas.to_numeric(members["lag"], errors="coerce"),
            "rate": members["messages_per_second"],
            "age": members["age"].clip(lower=0),
            "uptime": seconds,
            "answer": [
                text(f"operation.answer.{_answer(troubles, row.endpoint)}") for row in members.itertuples()
            ],
            "host": members["host"],
            "version": members["version"],
            "group": members["consumer_group"],
            "endpoint": members["endpoint"],
        }
    )  # fmt: skip
    formats = {
        "lag": language.number, "rate": lambda value: charts.written(value, "/s", language), "age": language.ago,
        "uptime": language.duration,
    }  # fmt: skip
    columns = _columns(context, "operation.processor.column", ("name",))
    st.dataframe(
        _styled(context, table, formats, ("state",)), hide_index=True, placeholder="–", key="operation-processors",
        column_config=columns
        | {
            "name": st.column_config.Column(text("operation.processor.column.name"), pinned=True, width="medium"),
            "endpoint": st.column_config.LinkColumn(text("operation.processor.column.endpoint")),
        },
    )  # fmt: skip


def _answer(troubles: dict[str, str | None], endpoint: str | None) -> str:
    if not endpoint:
        return "no_endpoint"
    if endpoint not in troubles:
        return "not_asked"
    return troubles[endpoint] or "heard"


def _partitions(context: Context, partitions: pandas.DataFrame) -> None:
    text, language = context.text, context.language
    st.subheader(text("operation.partitions.title"), anchor=False)
    if partitions.empty:
        _nothing(context)
        return
    table = partitions.assign(
        reader=partitions["reader"].fillna(f"{SYMBOLS['critical']} {text('operation.partitions.nobody')}")
    )[["topic", "partition", "reader", "lag", "next_offset", "end", "age"]]
    formats = {
        "lag": language.number, "next_offset": language.number, "end": language.number, "age": language.ago,
    }  # fmt: skip
    st.dataframe(
        _styled(context, table, formats, ("reader",)), hide_index=True, placeholder="–", key="operation-partitions",
        column_config=_columns(context, "operation.partition.column", ()),
    )  # fmt: skip


def _notifications(context: Context, data: Operation) -> None:
    """What the webhook has not been told yet."""
    text, language = context.text, context.language
    st.subheader(text("operation.notifications.title"), anchor=False)
    waiting = data.notifications
    if not waiting["waiting"]:
        st.html(_line(context, "ok", text("operation.notifications.none")))
        return
    sentence = language.count(
        "operation.notifications.waiting",
        float(waiting["waiting"]),
        age=language.duration(float(waiting["oldest_age"])),
    )
    if waiting["last_error"]:
        sentence += " " + text(
            "operation.notifications.error", attempts=language.number(waiting["attempts"]), error=waiting["last_error"]
        )
    st.html(_line(context, "warning", sentence))


# Parts


def _has_answers(context: Context, heard: list[Answer]) -> bool:
    """Whether any processor answers; says so if none does."""
    if not heard:
        st.info(context.text("operation.no_answers"), icon=":material/link_off:")
    return bool(heard)


def _nothing(context: Context) -> None:
    st.caption(context.text("operation.nothing"))


def _caption(text: str) -> None:
    st.caption(text)


def _named(context: Context, statuses: dict[str, str], key: str, name: str) -> str:
    """A state by its symbol and its name."""
    return f"{SYMBOLS[statuses.get(name, 'unknown')]} {context.text(f'{key}.{name}')}"


def _styled(
    context: Context, frame: pandas.DataFrame, formats: dict[str, Callable[[float], str]], marked: tuple[str, ...] = ()
) -> Styler:
    """A table written in the reader's language whose columns still sort by value; `marked` ones have their symbol's
    colour."""

    def safe(write: Callable[[float], str]) -> Callable[[float], str]:
        return lambda value: "–" if value is None or (isinstance(value, float) and math.isnan(value)) else write(value)

    styler = frame.style.format({name: safe(write) for name, write in formats.items()}, na_rep="–")
    if marked:
        colours = {SYMBOLS[status]: colour for status, colour in context.palette.status.items()}
        styler = styler.map(
            lambda text: f"color: {colours[text[0]]}" if text and text[0] in colours else "", subset=list(marked)
        )
    return styler


def _columns(context: Context, key: str, pinned: tuple[str, ...]) -> dict[str, object]:
    """What each column is called: every text whose key begins so."""
    prefix = f"{key}."
    return {
        name.removeprefix(prefix): st.column_config.Column(text, pinned=name.removeprefix(prefix) in pinned or None)
        for name, text in context.language.texts.items()
        if name.startswith(prefix)
    }


def _numbers(numbers: list[int] | None) -> str:
    return ", ".join(map(str, numbers)) if numbers is not None and len(numbers) else "–"


def _time(context: Context, moment: datetime | None) -> str:
    return context.language.date_time(moment, context.zone, seconds=True) if not pandas.isna(moment) else "–"
