import Commands

await Program(
    name: "vigie-processor",
    summary: "Turns the readings on a Kafka topic into rows, windows and a certificate, each reading once.",
    commands: [Run.self, Migrate.self, Verify.self, Redrive.self, Status.self, Check.self],
    manual: manual
).main()
