"""What the view `now` reads."""

import pandas

from vigie_dashboard.database import Reader


def sensors(reader: Reader) -> pandas.DataFrame:
    """The latest known facts of every sensor."""
    return reader.frame(
        """
        SELECT gateway_id, sensor_id, last_event_time, last_arrival, interval_ms, last_status,
               temperature, humidity, co2, pressure, battery_level, faults, latitude, longitude, time_quality, simulated
        FROM sensor
        ORDER BY gateway_id, sensor_id
        """
    )
