"""English."""

TEXTS: dict[str, str] = {
    # Everywhere
    "application.title": "Vigie",
    "application.language": "Language",
    "view.now": "Now",
    "view.trend": "Trend",
    "view.operation": "Operation",
    "unit.day": "d",
    "time.now": "just now",
    "time.ago": "{duration} ago",
    "quantity.temperature": "Temperature",
    "quantity.humidity": "Humidity",
    "quantity.co2": "CO₂",
    "quantity.pressure": "Pressure",
    "quantity.battery_level": "Battery",
    "quantity.battery_voltage": "Battery voltage",
    "status.ok": "OK",
    "status.warning": "Warning",
    "status.critical": "Critical",
    "status.failure": "Failure",
    "status.stale": "Stale",
    "status.unknown": "Unknown",
    "alert_kind.threshold": "Threshold",
    "alert_kind.fault": "Fault",
    "alert_kind.silence": "Silence",
    "alert_kind.battery": "Battery",
    "alert_kind.loss": "Loss",
    "mark.simulated": "simulated",
    "mark.estimated": "time estimated",
    # States
    "state.loading": "Reading the database …",
    "state.empty.title": "No readings yet",
    "state.empty.text": (
        "The database is there and holds no reading. As soon as a board sends its first one, it shows here by itself."
    ),
    "state.nothing_chosen": "Nothing matches what is chosen.",
    "state.away.title": "The database is away",
    "state.away.text": "It does not answer. This page tries again by itself and needs no reload.",
    "state.away.stale": "The database has not answered for {duration}. What is shown is from {time}. Trying again.",
    "state.not_vigie.title": "This is no Vigie database",
    "state.not_vigie.text": (
        "It answers, but this login sees no table of Vigie in it. "
        "Check VIGIE_POSTGRES, and run `vigie-processor migrate` for a new database."
    ),
    "state.schema.title": "The database is of an older version",
    "state.schema.text": "Its tables lack what this dashboard shows. Run `vigie-processor migrate`.",
    "state.not_allowed.title": "This login may not read the tables",
    "state.not_allowed.text": "Give it the role vigie_reader: `GRANT vigie_reader TO …`.",
    "state.slow.title": "The answer took too long",
    "state.slow.text": "The query was stopped at its bound. Choose a shorter period or fewer sensors.",
    "state.slow.stale": "The last answer took too long and was stopped. What is shown is from {time}. Trying again.",
    "state.settings.title": "The dashboard is not configured",
    "state.failed.title": "Something went wrong in the dashboard",
    "state.failed.text": "The log has the details.",
    # Now
    "now.title": "Now",
    # Trend
    "trend.title": "Trend",
    "trend.sensors.choose": "Sensors",
    "trend.sensors.placeholder": "Choose sensors",
    "trend.quantities.choose": "Quantities",
    "trend.period": "Period",
    "trend.period.24h": "24 hours",
    "trend.period.7d": "7 days",
    "trend.period.30d": "30 days",
    "trend.period.custom": "Dates",
    "trend.period.dates": "From and to",
    "trend.bucket": "Averages over",
    "trend.bucket.help": (
        "Each point is the average of all readings in so much time. Hours and days are those of your clock."
    ),
    "trend.section": "Section",
    "trend.section.evolution": "Evolution",
    "trend.section.alerts": "Alerts and failures",
    "trend.section.sensors": "Sensors",
    "trend.section.periods": "Periods",
    "trend.section.correlation": "Correlation",
    "trend.section.coverage": "Coverage and losses",
    "trend.nothing_chosen": "Choose at least one sensor and one quantity.",
    "trend.future": "This period has not begun yet.",
    "trend.no_windows": (
        "The processor has not made windows of these sensors for this period that averages could be put together from."
    ),
    "trend.too_much": "This is too much at once: choose fewer sensors or a shorter period.",
    "trend.empty": "These sensors have no readings in this period.",
    "trend.retention": "Windows from before {date} have been deleted: averages and coverage begin there.",
    "trend.footing": (
        "{start} to {end} ({zone}), in steps of {bucket}, from the processor’s windows of {step}. Averages are "
        "weighted by the readings in each window."
    ),
    "trend.layout": "Layout",
    "trend.layout.together": "Together",
    "trend.layout.apart": "One each",
    "trend.evolution.bands": "The line is the average, the band reaches from the lowest to the highest reading.",
    "trend.evolution.lines": "The lines are averages; with three sensors or fewer, bands show the extremes.",
    "trend.evolution.help": (
        "The strip below is the coverage: the share of the expected readings that are there, hatched below 50 %. "
        "Averages of such times, and of times that stand alone, are hollow circles. ▼ marks lost readings."
    ),
    "trend.scope": "Of which sensors",
    "trend.scope.all": "All sensors",
    "trend.scope.chosen": "Chosen sensors",
    "trend.alerts": "Alerts",
    "trend.alerts.none": "No alert was opened in this period.",
    "trend.alerts.in_time": "Alerts opened",
    "trend.alerts.by_sensor": "By sensor",
    "trend.alerts.by_cause": "By kind and cause",
    "trend.alerts.by_hour": "Alerts by weekday and hour",
    "trend.alerts.more": "The {shown} with the most alerts, of {count}. The CSV file has all.",
    "trend.stream": "{gateway} (stream)",
    "trend.failures.by_hour": "Failed readings of the chosen sensors by weekday and hour, in %",
    "trend.failures.none": "No reading of the chosen sensors failed in this period.",
    "trend.failures.share": "{failures} of {readings} readings failed ({share}).",
    "trend.hour": "Hour of day",
    "trend.kind": "Kind",
    "trend.cause": "Cause",
    "trend.critical": "Critical",
    "trend.open": "Still open",
    "trend.median": "Median duration",
    "trend.rank": "Rank",
    "trend.sensor": "Sensor",
    "trend.gateway": "Gateway",
    "trend.average": "Average",
    "trend.minimum": "Lowest",
    "trend.maximum": "Highest",
    "trend.stddev": "Std. dev.",
    "trend.deviation": "Average ± standard deviation",
    "trend.extremes": "Lowest to highest",
    "trend.readings": "Readings",
    "trend.coverage": "Coverage",
    "trend.coverage.earlier": "Coverage before",
    "trend.coverage.low": "Steps below 50 %",
    "trend.coverage.buckets": "Steps",
    "trend.coverage.by_sensor": "What the averages rest on",
    "trend.coverage.in_time": "Coverage in time",
    "trend.coverage.help": (
        "Coverage is the share of the readings expected from a sensor’s sampling interval that are there, from its "
        "first reading on. Hatched: below 50 %."
    ),
    "trend.warnings": "Warnings",
    "trend.failures": "Failures",
    "trend.late": "Late",
    "trend.lost.one": "{count} reading lost",
    "trend.lost.other": "{count} readings lost",
    "trend.lost.metric": "Lost",
    "trend.lost.help": (
        "Readings that the gateways of these sensors numbered and that have not arrived. A gateway numbers the "
        "readings of all its sensors together, so they may be another sensor’s."
    ),
    "trend.losses": "Lost readings",
    "trend.losses.none": "No reading of these gateways is missing in this period.",
    "trend.losses.readings": "Readings lost",
    "trend.losses.after": "After",
    "trend.losses.before": "Before",
    "trend.losses.detected": "Noticed",
    "trend.losses.more": "The {shown} largest of {count}.",
    "trend.sensors.help": (
        "Ranked by average over the whole period. The thick line is the average ± one standard deviation of the "
        "readings, the thin one reaches from the lowest to the highest."
    ),
    "trend.compare": "Compared with",
    "trend.compare.before": "The {days} d before",
    "trend.compare.week": "A week earlier",
    "trend.compare.4weeks": "4 weeks earlier",
    "trend.compare.dates": (
        "{start} to {end}, against {earlier_start} to {earlier_end}, aligned by the time of day on your clock."
    ),
    "trend.compare.none": "These sensors have no readings in the earlier period.",
    "trend.current": "This period",
    "trend.earlier": "Earlier",
    "trend.difference": "Difference",
    "trend.correlation.none": "At least two quantities with readings are needed.",
    "trend.correlation.matrix": "Correlation of quantities",
    "trend.correlation.pair": "Two of them",
    "trend.correlation.x": "Across",
    "trend.correlation.y": "Up",
    "trend.correlation.help": (
        "Pearson’s r of averages over {bucket}, each about its sensor’s own average, so that places that differ do "
        "not pass for quantities that move together. n is how many averages; those with a coverage below {least} are "
        "left out. Neighbouring averages resemble each other, so r says less than n independent ones would. The "
        "points are the averages as they are."
    ),
    "trend.download": "CSV",
    "trend.alt.evolution": "Averages in time with their extremes and coverage:",
    "trend.alt.alerts": "Number of alerts by kind.",
    "trend.alt.week": "Table of weekdays and hours.",
    "trend.alt.ranges": "Average, standard deviation and extremes of each sensor:",
    "trend.alt.periods": "This period and the earlier one:",
    "trend.alt.correlation": "Matrix of correlation coefficients.",
    "trend.alt.scatter": "Two quantities against each other.",
    "trend.alt.coverage": "Coverage in time.",
    # Operation
    "operation.title": "Operation",
}
