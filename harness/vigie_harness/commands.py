"""Where the commands begin: signals first, then what takes long to import."""

from . import interrupts


def kafka() -> int:
    interrupts.end_at_once()
    from .kafka import command

    return command.main()


def storm() -> int:
    interrupts.end_at_once()
    from .storm import command

    return command.main()


def with_services() -> int:
    interrupts.end_at_once()
    from .with_services import main

    return main()
