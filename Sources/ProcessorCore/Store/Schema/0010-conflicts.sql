-- Readings that came under a number that another reading has: they are in the rejected topic, and no rows.
CREATE TABLE sequence_conflict (
    gateway_id text NOT NULL,
    -- What names the reading by its content: the stream under which redrive sends it, with the number 1.
    own_stream_id text NOT NULL,
    -- The stream and the number under which it came.
    stream_id text NOT NULL,
    seq bigint NOT NULL,
    sensor_id text NOT NULL,
    event_time timestamptz NOT NULL,
    -- Where it stands in Kafka.
    topic text NOT NULL,
    kafka_partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    detected_at timestamptz NOT NULL,
    -- When its row came, under its own stream; NULL until then.
    settled_at timestamptz,
    PRIMARY KEY (gateway_id, own_stream_id)
);
CREATE INDEX sequence_conflict_open ON sequence_conflict (gateway_id) WHERE settled_at IS NULL;
