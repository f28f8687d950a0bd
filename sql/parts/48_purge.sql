/* ---- room purge: retention ---- */

/* What guards money of an order that was purged; it stays when the order is back. */
CREATE TABLE payorder.purged_orders (
    order_no text COLLATE "C" PRIMARY KEY,
    away boolean NOT NULL,
    frozen boolean NOT NULL,
    machine_id integer NOT NULL,
    state text COLLATE "C" NOT NULL,
    currency char(3) COLLATE "C" NOT NULL,
    amount bigint NOT NULL,
    first_amount bigint NOT NULL,
    paid_amount bigint NOT NULL,
    refunded_amount bigint NOT NULL,
    disputed_amount bigint NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    closed_at timestamptz NOT NULL,
    purged_at timestamptz NOT NULL,
    last_seq integer NOT NULL,
    last_hash bytea NOT NULL,
    base_seq integer,
    base_hash bytea
) WITH (fillfactor = 90);
COMMENT ON TABLE payorder.purged_orders IS
'numbers of orders that were purged, what they came to, and where their chains of events go on';
COMMENT ON COLUMN payorder.purged_orders.away IS 'false: something late brought the order back into payorder.orders';
COMMENT ON COLUMN payorder.purged_orders.last_seq IS 'number of the order''s last event when it was purged, with last_hash its hash';
COMMENT ON COLUMN payorder.purged_orders.base_seq IS
'of an order that was back and purged again: number and hash (base_hash) of the last of its events that are gone';
SELECT pg_catalog.pg_extension_config_dump('payorder.purged_orders', '');
CREATE TRIGGER purged_orders_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON payorder.purged_orders
    FOR EACH STATEMENT EXECUTE FUNCTION payorder.refuse_change();

CREATE TABLE payorder.events_freed (
    slot smallint NOT NULL CHECK (slot BETWEEN 0 AND 63),
    before timestamptz NOT NULL,
    upto_id bigint NOT NULL,
    carried integer NOT NULL,
    freed_at timestamptz NOT NULL,
    PRIMARY KEY (slot, before)
);
COMMENT ON TABLE payorder.events_freed IS
'when which partition of the log was freed: events written before that instant, with ids up to upto_id, are gone, but for those carried over';
SELECT pg_catalog.pg_extension_config_dump('payorder.events_freed', '');
CREATE TRIGGER events_freed_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON payorder.events_freed
    FOR EACH STATEMENT EXECUTE FUNCTION payorder.refuse_change();

/* No guard: what is in it is the owner's, to be taken elsewhere. */
CREATE TABLE payorder.purge_archive (
    order_no text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    purged_at timestamptz NOT NULL,
    content json NOT NULL,
    PRIMARY KEY (order_no, version)
);
COMMENT ON COLUMN payorder.purge_archive.version IS 'orders.version; another one each time that an order is purged';
COMMENT ON TABLE payorder.purge_archive IS
'what purge(archive => true) has removed: a row for each order, with its row, events, callbacks, conflicts and tasks as JSON; the owner takes it elsewhere and empties it';
SELECT pg_catalog.pg_extension_config_dump('payorder.purge_archive', '');

CREATE TYPE payorder.purge_counts AS (
    "position" text,
    looked_at integer,
    orders bigint,
    callbacks bigint,
    tasks bigint,
    failed integer,
    freed integer,
    carried integer,
    held_by text
);

CREATE FUNCTION payorder.purge_some(
    older_than interval,
    "position" text DEFAULT NULL,
    max_orders integer DEFAULT 1000,
    archive boolean DEFAULT false,
    at timestamptz DEFAULT pg_catalog.now())
    RETURNS payorder.purge_counts
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan SET jit = off
    SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET bytea_output = 'hex'
    AS 'MODULE_PATHNAME', 'payorder_purge_some';
COMMENT ON FUNCTION payorder.purge_some(interval, text, integer, boolean, timestamptz) IS
'one step of purge(), in the caller''s transaction: looks at the next max_orders (1 to 10000) orders after position (NULL: from the begin), or frees a partition of the log, or removes finished tasks without an order. Returns the position for the next step, NULL after the last one; how many orders were looked at, purged, and could not be purged (failed, told by a WARNING); callbacks emptied, tasks removed; the slot of the partition that was freed, how many events were carried over, or what holds it (held_by). Errors: 22023 bad value, 25000 not at READ COMMITTED, 42501 the function is not its owner''s, 55000 called by a trigger of itself, 55P03 the log is locked longer than payorder.lock_wait.';

CREATE PROCEDURE payorder.purge(
    older_than interval,
    archive boolean DEFAULT false,
    batch integer DEFAULT 1000,
    longest interval DEFAULT '1 hour',
    INOUT orders bigint DEFAULT 0,
    INOUT tasks bigint DEFAULT 0,
    INOUT freed integer DEFAULT 0,
    INOUT held_by text DEFAULT NULL)
    LANGUAGE plpgsql
AS $$
DECLARE
    counts payorder.purge_counts;
    stop_at pg_catalog.timestamptz := pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) longest;
BEGIN
    LOOP
        SELECT p.* INTO counts FROM payorder.purge_some(older_than, counts."position", batch, archive) AS p;
        COMMIT;
        orders := orders OPERATOR(pg_catalog.+) counts.orders;
        tasks := tasks OPERATOR(pg_catalog.+) counts.tasks;
        freed := freed OPERATOR(pg_catalog.+) (counts.freed IS NOT NULL)::pg_catalog.int4;
        held_by := coalesce(held_by, counts.held_by);
        EXIT WHEN counts."position" IS NULL
            OR pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>) stop_at;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE payorder.purge(interval, boolean, integer, interval, bigint, bigint, integer, text) IS
'removes orders that have been closed and quiet for older_than (1 to 1800 days) with their events, callbacks'' bodies and finished tasks, in transactions of batch orders each, no longer than longest; archive: puts what is removed into payorder.purge_archive. Returns how many orders and tasks were removed, how many months of the log freed, and what holds the first one that is not. What comes again for such an order is answered as before; what is new brings it back. Errors: as purge_some().';
