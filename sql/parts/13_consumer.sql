/* ---- room event: consumers of the log ---- */

CREATE SEQUENCE payorder.consumer_ids;
SELECT pg_catalog.pg_extension_config_dump('payorder.consumer_ids', '');

/* Marks are texts as event_digest() returns them. */
CREATE TABLE payorder.consumer_cursors (
    consumer text COLLATE "C" PRIMARY KEY,
    number bigint NOT NULL DEFAULT pg_catalog.nextval('payorder.consumer_ids'),
    batch bigint NOT NULL DEFAULT 1,
    seen text NOT NULL,
    upto text,
    late xid8[] NOT NULL,
    acked_id bigint NOT NULL,
    given_id bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    acked_at timestamptz,
    CHECK (acked_id <= given_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE payorder.consumer_cursors IS
'how far each consumer of the log is: the mark up to which all is acknowledged, and the open batch';
COMMENT ON COLUMN payorder.consumer_cursors.late IS
'transactions of the open batch that ran when the batch before ended';
SELECT pg_catalog.pg_extension_config_dump('payorder.consumer_cursors', '');

CREATE TYPE payorder.event_info AS (
    position text,
    id bigint,
    order_no text,
    seq integer,
    event text,
    from_state text,
    to_state text,
    actor text,
    source text,
    reason text,
    payload json,
    request_id text,
    trace text,
    gateway text,
    txn_id text,
    at timestamptz,
    hash bytea
);

CREATE FUNCTION payorder.create_consumer(consumer text, at timestamptz DEFAULT NULL)
    RETURNS boolean
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET jit = off
    AS 'MODULE_PATHNAME', 'payorder_create_consumer';
COMMENT ON FUNCTION payorder.create_consumer(text, timestamptz) IS
'makes a consumer of the log, of up to 63 lower-case letters, digits, "_" and "-": it gets what is committed from now on (at NULL), what was written at an instant or after it, or everything (at -infinity). Returns whether it was made; one that is there stays as it is. Errors: 22004 consumer is NULL, 22023 bad name.';

CREATE FUNCTION payorder.drop_consumer(consumer text)
    RETURNS boolean
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_drop_consumer';
COMMENT ON FUNCTION payorder.drop_consumer(text) IS
'drops a consumer of the log; returns whether there was one. Errors: 22004 consumer is NULL, 55P03 somebody uses it longer than payorder.lock_wait.';

CREATE FUNCTION payorder.next_events(consumer text, max_events integer DEFAULT 1000)
    RETURNS SETOF payorder.event_info
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan SET jit = off
    AS 'MODULE_PATHNAME', 'payorder_next_events';
COMMENT ON FUNCTION payorder.next_events(text, integer) IS
'up to max_events (1 to 10000) events that the consumer has not acknowledged, each order''s in their order, and the same again until it does. None: there is nothing new, or another session has the consumer. Only what is committed is given, whatever is still open. Errors: 22004 consumer is NULL, 22023 max_events is out of range, 42704 no such consumer, 55000 its cursor is of another copy of this database.';

CREATE FUNCTION payorder.ack_events(consumer text, "position" text)
    RETURNS boolean
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_ack_events';
COMMENT ON FUNCTION payorder.ack_events(text, text) IS
'acknowledges all events that the consumer was given up to and with the one of this position; returns whether that was news. Errors: 22004 an argument is NULL, 22023 not a position, or one that this consumer was not given, 42704 no such consumer, 55P03 somebody uses it longer than payorder.lock_wait.';

CREATE FUNCTION payorder.seek_events(consumer text, at timestamptz DEFAULT NULL, first_id bigint DEFAULT NULL)
    RETURNS bigint
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET jit = off
    AS 'MODULE_PATHNAME', 'payorder_seek_events';
COMMENT ON FUNCTION payorder.seek_events(text, timestamptz, bigint) IS
'sets a consumer back or forward: next are all committed events from the first one on that was written at that instant or later (at; -infinity: the first of all, infinity: none), or that has this id or a greater one (first_id); then what is committed later, whatever its id. Returns the id from which it goes on. Errors: 22004 consumer is NULL, 22023 not exactly one of at and first_id, 42704 no such consumer, 55P03 somebody uses it longer than payorder.lock_wait.';

CREATE FUNCTION payorder.consumer_lag(
    consumer text,
    OUT "position" text,
    OUT behind integer,
    OUT oldest_at timestamptz)
    LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan SET jit = off
    AS 'MODULE_PATHNAME', 'payorder_consumer_lag';
COMMENT ON FUNCTION payorder.consumer_lag(text) IS
'how far a consumer is: the position that it acknowledged last, how many committed events it has yet to acknowledge (counted up to 1000), and the time of the oldest of those counted. Errors: 22004 consumer is NULL, 42704 no such consumer.';

CREATE FUNCTION payorder.consumers_behind(slot integer)
    RETURNS SETOF text
    LANGUAGE c STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan SET jit = off
    AS 'MODULE_PATHNAME', 'payorder_consumers_behind';
COMMENT ON FUNCTION payorder.consumers_behind(integer) IS
'the consumers that have yet to acknowledge a committed event in a partition of the log (slot 0 to 63); none: all have passed it. Errors: 22023 slot is out of range.';

CREATE VIEW payorder.consumers AS
SELECT c.consumer, l."position", l.behind, l.oldest_at, pg_catalog.now() - l.oldest_at AS lag,
       c.acked_at, c.created_at
FROM payorder.consumer_cursors AS c, payorder.consumer_lag(c.consumer) AS l;
COMMENT ON VIEW payorder.consumers IS
'the consumers of the log and how far behind each is; behind is counted up to 1000';
