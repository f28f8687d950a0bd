/* ---- room event: the append-only log ---- */

CREATE SEQUENCE payorder.event_ids;
SELECT pg_catalog.pg_extension_config_dump('payorder.event_ids', '');

CREATE TABLE payorder.events (
    id bigint NOT NULL DEFAULT pg_catalog.nextval('payorder.event_ids'),
    txid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    slot smallint NOT NULL,
    order_no text COLLATE "C",
    seq integer,
    gateway text COLLATE "C",
    txn_id text COLLATE "C",
    event text COLLATE "C" NOT NULL,
    from_state text COLLATE "C",
    to_state text COLLATE "C",
    actor text NOT NULL,
    source text COLLATE "C" NOT NULL,
    reason text,
    payload json,
    request_id text COLLATE "C",
    trace text,
    at timestamptz NOT NULL,
    hash bytea,
    CHECK ((order_no IS NULL) = (seq IS NULL) AND (order_no IS NULL) = (hash IS NULL)),
    CHECK (order_no IS NOT NULL OR txn_id IS NOT NULL)
) PARTITION BY LIST (slot);
COMMENT ON TABLE payorder.events IS
'what happened: history, audit trail and outbox in one; append-only, hash-chained per order';
COMMENT ON COLUMN payorder.events.slot IS
'(12 * year + month) mod 64 of the order''s creation in UTC, or of the payment''s arrival where there is no order';
COMMENT ON COLUMN payorder.events.hash IS
'SHA-256 over the previous event''s hash and this event''s fields';

CREATE INDEX events_id ON payorder.events (id);
-- for what one transaction wrote, see src/event_mark.c
CREATE INDEX events_txid ON payorder.events (txid, id);
-- for what was written since an instant; costs an INSERT next to nothing
CREATE INDEX events_at ON payorder.events USING brin (at) WITH (autosummarize = on);
CREATE UNIQUE INDEX events_seq ON payorder.events (slot, order_no, seq);
CREATE UNIQUE INDEX events_request ON payorder.events (slot, order_no, request_id)
    WHERE request_id IS NOT NULL;

CREATE INDEX events_payment ON payorder.events (gateway, txn_id)
    WHERE order_no IS NULL;

CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payorder.events
    FOR EACH STATEMENT EXECUTE FUNCTION payorder.refuse_change('purge');

/*
 * The ring: made and registered here, because what is made later can't be
 * dumped cleanly.  Statement triggers of the parent don't fire for statements
 * on a partition, so each has its own.
 */
DO $ring$
DECLARE
    partition text;
BEGIN
    FOR n IN 0 .. 63 LOOP
        partition := 'events_' OPERATOR(pg_catalog.||) pg_catalog.lpad(n::text, 2, '0');
        EXECUTE pg_catalog.format('CREATE TABLE payorder.%I PARTITION OF payorder.events FOR VALUES IN (%s)',
                                  partition, n);
        EXECUTE pg_catalog.format('CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payorder.%I FOR EACH STATEMENT EXECUTE FUNCTION payorder.refuse_change(''purge'')',
                                  partition);
        PERFORM pg_catalog.pg_extension_config_dump(('payorder.' OPERATOR(pg_catalog.||) partition)::pg_catalog.regclass, '');
    END LOOP;
END
$ring$;

/*
 * Where the log was written.  What begins in another database is another
 * epoch, because numbers of transactions mean something in one cluster only.
 */
CREATE TABLE payorder.log_epochs (
    epoch integer NOT NULL CHECK (epoch > 0),
    first_id bigint NOT NULL CHECK (first_id > 0),
    system_identifier bigint NOT NULL,
    database_oid oid NOT NULL,
    began_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    txid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    PRIMARY KEY (epoch, txid)
);
COMMENT ON TABLE payorder.log_epochs IS
'the clusters and databases that the log was written in, each with its first event; transactions that were first at once have a row each, with the same epoch and first_id';
SELECT pg_catalog.pg_extension_config_dump('payorder.log_epochs', '');

CREATE TYPE payorder.event_check AS (
    order_no text,
    events integer,
    ok boolean,
    broken_seq integer,
    problem text
);

CREATE FUNCTION payorder.verify_events(order_no text)
    RETURNS payorder.event_check
    LANGUAGE c STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_verify_events';
COMMENT ON FUNCTION payorder.verify_events(text) IS
'recomputes the hash chain of an order''s events: ok, or the first event that is missing or was changed. Errors: PO002 no such order.';

CREATE TYPE payorder.log_digest AS (
    from_mark text,
    to_mark text,
    events bigint,
    first_id bigint,
    last_id bigint,
    digest bytea
);

CREATE FUNCTION payorder.event_digest(from_mark text DEFAULT NULL, to_mark text DEFAULT NULL)
    RETURNS payorder.log_digest
    LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan SET jit = off
    AS 'MODULE_PATHNAME', 'payorder_event_digest';
COMMENT ON FUNCTION payorder.event_digest(text, text) IS
'a digest of the events that were committed between two marks, which this function has returned before: from_mark NULL is the begin of the log, to_mark NULL is now. The same marks give the same digest for ever, also after dump and restore, unless an event was changed, removed or added. Returns both marks, how many events, the first and last id, and the digest. Errors: 22023 not a mark of this log, 25006 to_mark is NULL on a standby.';
