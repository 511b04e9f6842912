import Commands

await Program(
    name: "vigie-simbus",
    summary:
        "The chips of a gateway's configuration as simulated hardware of this machine's kernel: I2C adapters and GPIO.",
    commands: [
        Run.self, Set.self, Unplug.self, Plug.self, Stick.self, Fault.self, Wedge.self, Heal.self, Line.self,
        Status.self,
    ],
    manual: manual
).main()
