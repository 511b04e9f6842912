"""What the harness raises."""


class HarnessError(Exception):
    """Something that did not start, died or cannot be had: a sentence for a person that says what to do."""

    status = 1
    """With which a command ends that it ends."""


class UsageError(HarnessError):
    """What somebody said, in an option or in the environment, cannot be meant so."""

    status = 2


def in_words(error: OSError) -> str:
    """What the system refused, without its number: `/folder/file: Permission denied`."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename is not None else reason
