import Commands

/// What the man page says besides the subcommands.
let manual = ProgramManual(
    description: """
        Makes the readings of hundreds of gateways, for load and for trouble: duplicates, malformed messages, bad air, \
        sensors that fall silent, readings that come late, numbers that never come, conflicts. All of it comes from one seed, so the same seed and start give \
        the same messages. They go straight to Kafka, without an outbox, and say that they are simulated. At its \
        end the fleet reports that its streams have ended; another run has streams of its own.
        """,
    examples: [
        (
            "vigie-fleet produce --bootstrap kafka-1:9092 --gateways 200 --rate 1000 --count 60000",
            "Sixty thousand readings in a minute:"
        ),
        (
            "vigie-fleet print --seed 7 --start 2026-03-01T06:30:00Z --count 10 --duplicates 0.2 --malformed 0.1",
            "Look at what some trouble looks like:"
        ),
        (
            "vigie-fleet print --count 20 --gateways 2 --readings-per-stream 3 --reported-lost 0.3 --extreme values",
            "Gateways that start again and again, lose readings and say why:"
        ),
    ],
    seeAlso: ["vigie-processor(1)", "vigie-gateway(1)"])
