-- One row a gateway: the lock of whoever writes for it. No index has what changes in it, and each page has room for new
-- versions of its rows, so that a change writes neither an index nor another page.
CREATE TABLE gateway (
    gateway_id text PRIMARY KEY,
    -- One higher with each transaction that writes for the gateway.
    commit_number bigint NOT NULL,
    -- Random, and new with each such transaction: whoever wrote it last knows that its copy in memory is true.
    writer_token bigint NOT NULL,
    -- The Kafka partition of its last message: whoever has it looks after the gateway's windows and its silence.
    kafka_partition integer NOT NULL
) WITH (fillfactor = 40);
INSERT INTO gateway (gateway_id, commit_number, writer_token, kafka_partition)
    SELECT DISTINCT ON (gateway_id) gateway_id, 0, 0, kafka_partition FROM stream_progress
    ORDER BY gateway_id, updated_at DESC;
ALTER TABLE stream_progress DROP COLUMN revision, DROP COLUMN kafka_partition;

ALTER TABLE sensor_data
    -- The gateway's commit_number of the transaction that wrote the row; 0 in rows of older releases.
    ADD COLUMN commit_number bigint NOT NULL DEFAULT 0,
    -- Whether the windows count it: not if it was late and late_policy is drop.
    ADD COLUMN in_windows boolean NOT NULL DEFAULT true;

ALTER TABLE sensor_data_agg
    -- How many readings have the quantity, and the sum of the readings' interval_ms. NULL in rows of older releases.
    ADD COLUMN temperature_count bigint,
    ADD COLUMN humidity_count bigint,
    ADD COLUMN co2_count bigint,
    ADD COLUMN pressure_count bigint,
    ADD COLUMN battery_level_count bigint,
    ADD COLUMN covered_ms bigint,
    -- The window holds all readings of commits up to this one; a final window holds all readings.
    ADD COLUMN commit_number bigint NOT NULL DEFAULT 0;
-- How far the open windows of older releases go is not known. Whoever has their partition writes them anew.
UPDATE sensor_data_agg SET commit_number = -1 WHERE NOT is_final;

-- The gateway's commit_number of the transaction that admitted the sensor's last reading.
ALTER TABLE sensor ADD COLUMN last_commit bigint NOT NULL DEFAULT 0;
