-- The log that was read: how often its offset has gone back, and the last message that was consumed, by which the log is
-- recognised. All of the message is NULL until one has been consumed.
ALTER TABLE consumed_offset
    ADD COLUMN log_generation bigint NOT NULL DEFAULT 0,
    ADD COLUMN message_offset bigint,
    -- Milliseconds since 1970, as Kafka has them; NULL also if the message has no time.
    ADD COLUMN message_timestamp bigint,
    -- Of key and value, in bytes.
    ADD COLUMN message_size bigint,
    -- CRC-32 of key and value.
    ADD COLUMN message_checksum bigint;
