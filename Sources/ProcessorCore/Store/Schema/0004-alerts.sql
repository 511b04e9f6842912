CREATE SEQUENCE alert_id;

-- One row an alert, from its opening on.
CREATE TABLE alert (
    id bigint PRIMARY KEY,
    gateway_id text NOT NULL,
    -- Empty for what is about the gateway's stream.
    sensor_id text NOT NULL,
    kind text NOT NULL,
    -- The quantity, the chip or the stream.
    variable text NOT NULL,
    -- The worst so far.
    severity text NOT NULL,
    -- Since when it was wrong, and from when on it was an alert. Event times, for silence by the processor's clock.
    pending_since timestamptz NOT NULL,
    opened_at timestamptz NOT NULL,
    escalated_at timestamptz,
    closed_at timestamptz,
    -- The value that opened it, and the one furthest beyond the bounds.
    value double precision,
    worst_value double precision,
    detail text NOT NULL,
    updated_at timestamptz NOT NULL
);
-- Whatever goes wrong, nobody opens an alert that is open.
CREATE UNIQUE INDEX alert_open ON alert (gateway_id, sensor_id, kind, variable) WHERE closed_at IS NULL;
CREATE INDEX alert_by_time ON alert (opened_at);

-- What is pending or open, so that a processor that takes over goes on where the last one was.
CREATE TABLE alert_state (
    gateway_id text NOT NULL,
    sensor_id text NOT NULL,
    kind text NOT NULL,
    variable text NOT NULL,
    side text,
    since timestamptz NOT NULL,
    critical_since timestamptz,
    worst double precision,
    detail text NOT NULL,
    severity text,
    -- NULL while it is pending.
    alert_id bigint REFERENCES alert (id),
    PRIMARY KEY (gateway_id, sensor_id, kind, variable),
    CHECK ((severity IS NULL) = (alert_id IS NULL))
);

-- What the webhook is to be told, written with the alert itself.
CREATE TABLE alert_notification (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    alert_id bigint NOT NULL REFERENCES alert (id),
    event text NOT NULL,
    payload text NOT NULL,
    created_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    last_error text,
    sent_at timestamptz,
    UNIQUE (alert_id, event)
);
CREATE INDEX alert_notification_unsent ON alert_notification (id) WHERE sent_at IS NULL;
