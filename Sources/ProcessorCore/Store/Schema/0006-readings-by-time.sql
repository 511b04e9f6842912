-- What came in a minute, of all sensors. Readings are written nearly in the order of their times, so each few pages need
-- only their first and last one: some 0.01 % of the table, and next to nothing to write. What has come since the last
-- summary is looked through without one, so it is made as the pages fill.
CREATE INDEX sensor_data_by_time ON sensor_data USING brin (event_time)
    WITH (pages_per_range = 64, autosummarize = on);
