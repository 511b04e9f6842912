import Commands
import KernelHardware

/// What the man page says besides the subcommands.
let manual = ProgramManual(
    description: """
        Gives the kernel of this machine the chips of a gateway's configuration, as a real board would have them: each bus \
        becomes an adapter /dev/i2c-N, the board's lines a GPIO chip. So i2cdetect(8), gpiomon(1) and vigie-gateway(1) in \
        hardware mode see a full station. The other subcommands change what the chips measure, and damage them. With the \
        program, whatever ends it, the devices go.
        """,
    files: [
        ("/etc/vigie/gateway.yaml", "The gateway's configuration, which says what chips there are."),
        (ControlSocket.usualPath, "Where 'vigie-simbus run' listens to the other subcommands."),
    ],
    examples: [
        (
            "sudo modprobe --all \(VirtualAdapter.modules) \(VirtualGPIOChip.modules)\nsudo vigie-simbus run &\nsudo i2cdetect -l",
            "Plug the chips in:"
        ),
        ("sudo vigie-simbus set cellar-air temperature=31 co2=2400", "Let the air be bad:"),
        ("sudo vigie-simbus unplug 0x76", "Take a chip off its bus:"),
    ],
    seeAlso: ["vigie-gateway(1)", "i2cdetect(8)", "gpiodetect(1)", "modprobe(8)"])
