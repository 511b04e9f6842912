import Commands

await Program(
    name: "vigie-fleet", summary: "Hundreds of simulated gateways, reproducible from a seed.",
    commands: [Produce.self, Print.self],
    manual: manual
).main()
