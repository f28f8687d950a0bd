/* ---- room timer: what is due when ---- */

CREATE SEQUENCE payorder.timer_ids;
SELECT pg_catalog.pg_extension_config_dump('payorder.timer_ids', '');

CREATE TABLE payorder.timers (
    due_at timestamptz NOT NULL,
    id bigint NOT NULL DEFAULT pg_catalog.nextval('payorder.timer_ids'),
    order_no text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('state', 'drain')),
    state text COLLATE "C",
    number smallint,
    entered_seq integer,
    tries smallint NOT NULL DEFAULT 0,
    error text,
    PRIMARY KEY (due_at, id),
    CHECK (kind = 'drain' OR (state IS NOT NULL AND number IS NOT NULL AND entered_seq IS NOT NULL))
) WITH (fillfactor = 70);
COMMENT ON TABLE payorder.timers IS
'one row per thing due; gone once fired or found void; due_at infinity: set aside after errors';
COMMENT ON COLUMN payorder.timers.entered_seq IS
'events.seq of the entry into state; the timer is void once the order has moved since';
SELECT pg_catalog.pg_extension_config_dump('payorder.timers', '');
