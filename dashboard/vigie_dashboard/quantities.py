"""What a sensor measures: columns of the tables, their units, and the digits that are worth showing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    # The column, and the end of its text's key.
    name: str
    unit: str
    digits: int


TEMPERATURE = Quantity("temperature", "°C", 1)
HUMIDITY = Quantity("humidity", "%", 0)
CO2 = Quantity("co2", "ppm", 0)
PRESSURE = Quantity("pressure", "hPa", 1)
BATTERY_LEVEL = Quantity("battery_level", "%", 0)
BATTERY_VOLTAGE = Quantity("battery_voltage", "V", 2)

# Those that windows have, in the order in which they are shown.
QUANTITIES = (TEMPERATURE, HUMIDITY, CO2, PRESSURE, BATTERY_LEVEL)
# Those that a reading may have.
READING_QUANTITIES = (*QUANTITIES, BATTERY_VOLTAGE)

BY_NAME = {quantity.name: quantity for quantity in READING_QUANTITIES}
