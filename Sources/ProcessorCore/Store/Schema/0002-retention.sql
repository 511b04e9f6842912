-- How far retention has come, in one row: what is older is gone or going, and nothing is written to it any more.
CREATE TABLE retention (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- Readings before this count as expired, also those that are still to come. The beginning of a day in UTC.
    readings_since timestamptz NOT NULL,
    -- Windows that begin before this are deleted.
    windows_since timestamptz NOT NULL
);
INSERT INTO retention (readings_since, windows_since) VALUES ('-infinity', '-infinity');

-- How many readings of each stream were admitted and are not kept.
CREATE TABLE expired (
    gateway_id text NOT NULL,
    stream_id text NOT NULL,
    -- Whether they were too old when they came, or were rows until their day was dropped: a row for each, as the one is
    -- written by batches and the other by maintenance, and neither is to wait for the other.
    on_arrival boolean NOT NULL,
    readings bigint NOT NULL,
    PRIMARY KEY (gateway_id, stream_id, on_arrival)
);
