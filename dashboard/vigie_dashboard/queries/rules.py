"""What the processor's rules are, which more than one view reads."""

import pandas

from vigie_dashboard.database import Reader


def bounds(reader: Reader) -> pandas.DataFrame:
    """Every bound of the rules, as the processor has told them."""
    return reader.frame("SELECT quantity, severity, side, bound FROM alert_rule ORDER BY quantity, severity, side")
