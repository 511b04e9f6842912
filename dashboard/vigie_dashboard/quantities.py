"""What a sensor measures: columns of the tables, their units, and how they are drawn.

The names and their order are those of `Quantity` in the processor's source; a test compares them.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    # The column, and the end of its text's key.
    name: str
    unit: str
    # That are worth showing behind the point.
    digits: int
    # The narrowest range of its axis, so that the noise of quiet air does not look like an event.
    narrowest: float = 1.0
    # What no value can pass.
    lowest: float = -math.inf
    highest: float = math.inf
    # Whether windows and rules have it.
    is_aggregated: bool = True


# Those that a reading may have, in the order in which they are shown.
READING_QUANTITIES = (
    Quantity("temperature", "°C", 1, narrowest=2.0),
    Quantity("humidity", "%", 0, narrowest=6.0, lowest=0.0, highest=100.0),
    Quantity("co2", "ppm", 0, narrowest=150.0, lowest=0.0),
    Quantity("pressure", "hPa", 1, narrowest=3.0),
    Quantity("battery_level", "%", 0, narrowest=5.0, lowest=0.0, highest=100.0),
    Quantity("battery_voltage", "V", 2, is_aggregated=False),
    Quantity("voc_index", "", 0, narrowest=20.0, lowest=1.0, highest=500.0),
    Quantity("pm2_5", "µg/m³", 1, narrowest=5.0, lowest=0.0),
)

# Those that windows have.
QUANTITIES = tuple(quantity for quantity in READING_QUANTITIES if quantity.is_aggregated)

BY_NAME = {quantity.name: quantity for quantity in READING_QUANTITIES}
