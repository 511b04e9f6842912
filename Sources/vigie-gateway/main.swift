import Commands

await Program(
    name: "vigie-gateway",
    summary: "Samples the sensors of a board, keeps every reading in SQLite, and publishes them to Kafka.",
    commands: [Run.self, Scan.self, Sample.self, Diagnose.self, Calibrate.self, Buffer.self, Check.self],
    manual: manual
).main()
