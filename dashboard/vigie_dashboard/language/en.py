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
    # Operation
    "operation.title": "Operation",
}
