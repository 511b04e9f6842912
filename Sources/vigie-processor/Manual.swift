import Commands

/// What the man page says besides the subcommands.
let manual = ProgramManual(
    description: """
        Reads the readings that gateways publish on a Kafka topic and writes rows, sliding windows, the progress of every \
        stream and its own Kafka offsets in one PostgreSQL transaction, so each reading is stored once, whatever is killed \
        when. What is missing is kept with its reason, as far as a gateway's report tells it, until it arrives. Rules open and close alerts in the same transaction.

        Several processors share the partitions of the topic. A processor starts where the database says, not where the \
        consumer group does.

        SIGTERM and SIGINT stop "run" in order. Under systemd it tells when it is ready and feeds the watchdog.
        """,
    environment: [
        (
            "PGPASSFILE, PGSSLMODE, PGSSLROOTCERT and others of libpq",
            "Hold for what the connection string of the configuration does not say."
        ),
        ("NO_COLOR", "If it is set and not empty, nothing is coloured. Colours are for terminals only."),
        ("NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID", "Set by systemd; see sd_notify(3)."),
        ("JOURNAL_STREAM", "Set by systemd; if standard error is the journal, log lines are in its form."),
    ],
    files: [
        (
            defaultConfiguration,
            "The configuration, in YAML. Passwords stand in files of their own, which it or libpq's passfile names."
        )
    ],
    exitStatus: """
        "verify" has 1 if anything does not agree, if it is not known how far some streams go, or if readings are missing \
        that may be among unread messages; "status" has 1 if a processor does not answer or is not well; "redrive" has 1 if something that was to be sent was not.
        """,
    examples: [
        (
            "vigie-processor check && vigie-processor migrate",
            "Make or update the tables before the service is started:"
        ),
        ("vigie-processor verify", "Show that every reading is there once and every window is right:"),
        ("vigie-processor status --watch", "Watch all processors:"),
        ("vigie-processor redrive --dry-run", "See which rejected messages would be valid now:"),
    ],
    seeAlso: ["vigie-gateway(1)", "vigie-dashboard(1)", "vigie-fleet(1)", "systemctl(1)", "journalctl(1)", "psql(1)"])
