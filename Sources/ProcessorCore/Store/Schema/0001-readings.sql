-- One row a reading, each once. Day partitions are made by the processor as readings of the day arrive.
CREATE TABLE sensor_data (
    gateway_id text NOT NULL,
    sensor_id text NOT NULL,
    stream_id text NOT NULL,
    seq bigint NOT NULL,
    event_time timestamptz NOT NULL,
    time_quality text NOT NULL,
    interval_ms integer NOT NULL,
    temperature double precision,
    humidity double precision,
    co2 double precision,
    pressure double precision,
    battery_level double precision,
    battery_voltage double precision,
    faults text[],
    latitude double precision,
    longitude double precision,
    simulated boolean NOT NULL,
    status text NOT NULL,
    late boolean NOT NULL,
    kafka_partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    ingested_at timestamptz NOT NULL
) PARTITION BY RANGE (event_time);
CREATE INDEX sensor_data_by_sensor ON sensor_data (sensor_id, event_time);

-- One row a window. The gateway is in the key so that a sensor that moves has one writer a row.
CREATE TABLE sensor_data_agg (
    sensor_id text NOT NULL,
    gateway_id text NOT NULL,
    window_size interval NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    reading_count bigint NOT NULL,
    temperature_avg double precision, temperature_min double precision,
    temperature_max double precision, temperature_stddev double precision,
    humidity_avg double precision, humidity_min double precision,
    humidity_max double precision, humidity_stddev double precision,
    co2_avg double precision, co2_min double precision,
    co2_max double precision, co2_stddev double precision,
    pressure_avg double precision, pressure_min double precision,
    pressure_max double precision, pressure_stddev double precision,
    battery_level_avg double precision, battery_level_min double precision,
    battery_level_max double precision, battery_level_stddev double precision,
    warning_count bigint NOT NULL,
    failure_count bigint NOT NULL,
    late_count bigint NOT NULL,
    coverage double precision NOT NULL,
    revision integer NOT NULL,
    is_final boolean NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (sensor_id, gateway_id, window_size, window_start)
);

-- The latest known facts of a sensor, and what its windows need to be taken up again.
CREATE TABLE sensor (
    gateway_id text NOT NULL,
    sensor_id text NOT NULL,
    first_event_time timestamptz NOT NULL,
    last_event_time timestamptz NOT NULL,
    last_arrival timestamptz NOT NULL,
    -- Windows that end at or before this are final.
    final_through timestamptz NOT NULL,
    -- The quantities that it has given, one bit each: temperature, humidity, co2, pressure, battery_level.
    quantities smallint NOT NULL,
    interval_ms integer NOT NULL,
    last_status text NOT NULL,
    temperature double precision,
    humidity double precision,
    co2 double precision,
    pressure double precision,
    battery_level double precision,
    battery_voltage double precision,
    faults text[],
    latitude double precision,
    longitude double precision,
    time_quality text NOT NULL,
    simulated boolean NOT NULL,
    PRIMARY KEY (gateway_id, sensor_id)
);

-- What has been admitted of each stream. Its row is the lock of the stream's readings.
CREATE TABLE stream_progress (
    gateway_id text NOT NULL,
    stream_id text NOT NULL,
    last_seq bigint NOT NULL,
    last_event_time timestamptz,
    lost bigint NOT NULL,
    kafka_partition integer NOT NULL,
    -- Goes up with every commit, so that an owner sees that its copy in memory is out of date.
    revision bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (gateway_id, stream_id)
);

-- Every hole in a stream: readings that were numbered and have not arrived.
CREATE TABLE loss (
    gateway_id text NOT NULL,
    stream_id text NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    after_time timestamptz,
    before_time timestamptz,
    detected_at timestamptz NOT NULL,
    PRIMARY KEY (gateway_id, stream_id, first_seq)
);

-- Where to go on reading.
CREATE TABLE consumed_offset (
    topic text NOT NULL,
    kafka_partition integer NOT NULL,
    next_offset bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (topic, kafka_partition)
);
