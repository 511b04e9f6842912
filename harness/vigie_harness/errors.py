"""What the harness raises."""


class HarnessError(Exception):
    """Something that did not start, died or cannot be had: a sentence for a person that says what to do."""
