"""What the reader has chosen, as one value: the key of everything that is read for it."""

from dataclasses import dataclass
from datetime import datetime

from vigie_dashboard.trend.period import Grid, Sensor

# The periods to choose from, and their length in days. The last one is two dates.
PERIODS = {"24h": 1, "7d": 7, "30d": 30}
CUSTOM = "custom"

# Beyond that, neither lines nor a legend can be told apart.
MOST_SENSORS = 12


@dataclass(frozen=True)
class Choice:
    sensors: tuple[Sensor, ...]
    # Names, in the order in which they are shown.
    quantities: tuple[str, ...]
    period: str
    grid: Grid
    now: datetime

    @property
    def keys(self) -> list[tuple[str, str]]:
        """As the data frames name the sensors."""
        return [(sensor.gateway, sensor.name) for sensor in self.sensors]
