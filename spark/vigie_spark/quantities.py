"""What a reading may say of the air and of the battery: `Quantity` of the Swift package, for Python.

`tests/test_decoding.py` compares the list with the contract in documentation/reading.schema.json.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Quantity:
    """One quantity. Its place in QUANTITIES is its bit in `sensor.quantities`, and never changes."""

    name: str
    """In the contract, and of its column."""
    lowest: float
    """What physics allows, in the contract's unit."""
    highest: float
    is_aggregated: bool = True
    """Whether windows, rules and a sensor's status take it into account."""


QUANTITIES = (
    Quantity("temperature", -100, 200),
    Quantity("humidity", 0, 100),
    Quantity("co2", 0, 1_000_000),
    Quantity("pressure", 1, 2000),
    Quantity("battery_level", 0, 100),
    Quantity("battery_voltage", 0, 1000, is_aggregated=False),
    Quantity("voc_index", 1, 500),
    Quantity("pm2_5", 0, 1000),
)
NAMES = tuple(quantity.name for quantity in QUANTITIES)
AGGREGATED = tuple(index for index, quantity in enumerate(QUANTITIES) if quantity.is_aggregated)
AGGREGATED_NAMES = tuple(NAMES[index] for index in AGGREGATED)
AGGREGATED_BITS = sum(1 << index for index in AGGREGATED)
