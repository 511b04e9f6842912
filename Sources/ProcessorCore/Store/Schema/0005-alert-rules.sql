-- The bounds of the rules, a row each, as the processor that started last has them in its settings: for readers, who
-- could not tell otherwise how far a value is from being an alert.
CREATE TABLE alert_rule (
    quantity text NOT NULL,
    severity text NOT NULL,
    -- Passed by a value 'below' or 'above' it.
    side text NOT NULL,
    -- In the quantity's unit, as the next.
    bound double precision NOT NULL,
    -- How far inside the bounds a value must come back before an alert closes.
    hysteresis double precision NOT NULL,
    -- How long values must be beyond it before an alert opens.
    minimum_duration_ms bigint NOT NULL,
    PRIMARY KEY (quantity, severity, side)
);

-- What was open at a time, without a look at all that ever was.
CREATE INDEX alert_by_end ON alert (closed_at);
