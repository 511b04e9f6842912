-- What gateways' reports tell of streams, and what a stream's readings say of its beginning. The streams that are there
-- began with number 1, and nothing was told of them.
ALTER TABLE stream_progress
    ADD COLUMN first_seq bigint NOT NULL DEFAULT 1,
    -- The last number, if it was told; of several the smallest. The stream has ended if last_seq is the same.
    ADD COLUMN end_seq bigint,
    -- The stream before it in the same outbox, if one was told; without one previous_known says whether it was told that
    -- there is none.
    ADD COLUMN previous_stream_id text,
    ADD COLUMN previous_known boolean NOT NULL DEFAULT false;

-- Why numbers are not there: 'unknown' for a hole.
ALTER TABLE loss ADD COLUMN reason text NOT NULL DEFAULT 'unknown';
