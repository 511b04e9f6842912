-- The pipelines of all processors: each gives a sign of life every few seconds, and takes its row away as it stops. One
-- whose updated_at is older than a few of those is gone.
CREATE TABLE processor (
    -- The process: its name in the consumer group.
    instance text NOT NULL,
    -- Its pipeline, from 0.
    worker integer NOT NULL,
    host text NOT NULL,
    process_id integer NOT NULL,
    version text NOT NULL,
    topic text NOT NULL,
    consumer_group text NOT NULL,
    -- The partitions that it reads.
    partitions integer[] NOT NULL,
    -- The URL where it answers, as seen from its host.
    endpoint text,
    -- Messages of its partitions that are not in the database yet, if that is known.
    lag bigint,
    messages_per_second double precision NOT NULL,
    -- healthy, starting, degraded or failed.
    state text NOT NULL,
    started_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (instance, worker)
);
