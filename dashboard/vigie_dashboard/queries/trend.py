"""What the view `trend` reads."""

from vigie_dashboard.database import Reader


def has_readings(reader: Reader) -> bool:
    """Whether any sensor has been seen."""
    return reader.row("SELECT EXISTS (SELECT FROM sensor) AS found")["found"]
