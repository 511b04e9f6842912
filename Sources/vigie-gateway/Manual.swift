import Commands

/// What the man page says besides the subcommands.
let manual = ProgramManual(
    description: """
        Reads the sensors that are wired to a board over I2C on a fixed schedule. A reading is written to the outbox, an \
        SQLite file, and synced to disk before anything else sees it; its number is given once. The publisher sends \
        readings to Kafka in order and deletes them when the broker has acknowledged them. While the broker is away, \
        sampling goes on and the outbox grows to its bounds.

        A configuration in simulated mode uses the same drivers on simulated chips; a reading that was taken so says \
        so, into its row.

        The subcommands scan, sample, doctor and calibrate are for who stands before the board. A gateway and these \
        commands keep off each other's buses: who comes second says which process has the bus.

        SIGTERM and SIGINT stop "run" in order: what is in the outbox is published for a few seconds, and the rest is \
        kept for the next start. Under systemd it tells when it is ready and feeds the watchdog.
        """,
    environment: [
        ("NO_COLOR", "If it is set and not empty, nothing is coloured. Colours are for terminals only."),
        ("NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID", "Set by systemd; see sd_notify(3)."),
        ("JOURNAL_STREAM", "Set by systemd; if standard error is the journal, log lines are in its form."),
    ],
    files: [
        (
            defaultConfiguration,
            "The configuration, in YAML. It names the outbox; a relative path there is relative to this file. Passwords stand in files of their own."
        ),
        ("/dev/i2c-N", "The I2C adapters, from the kernel's module i2c-dev."),
        ("/dev/gpiochipN", "The GPIO chips, if the configuration has lines of the board."),
    ],
    exitStatus: """
        "doctor" has 1 if there is a failure, 0 if there are warnings only; "scan" and "sample" have 1 if a bus or a chip \
        failed.
        """,
    examples: [
        ("vigie-gateway scan", "See what is wired to the board, without a configuration:"),
        ("vigie-gateway check && vigie-gateway sample", "Try a configuration before the service is started:"),
        ("vigie-gateway doctor", "Find out why something does not work:"),
        (
            "systemctl stop vigie-gateway\nvigie-gateway calibrate recalibrate --reference 420\nsystemctl start vigie-gateway",
            "Tell an SCD41 in fresh air the true CO2:"
        ),
    ],
    seeAlso: [
        "vigie-simbus(1)", "vigie-processor(1)", "i2cdetect(8)", "gpiodetect(1)", "systemctl(1)", "journalctl(1)",
    ])
