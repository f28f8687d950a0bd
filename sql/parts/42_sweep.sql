/* ---- room sweep: what is due ---- */

CREATE TYPE payorder.sweep_counts AS (
    timers integer,
    void_timers integer,
    leases integer,
    callbacks integer,
    tasks integer,
    failed integer,
    more boolean
);

CREATE FUNCTION payorder.sweep(batch integer DEFAULT 100, at timestamptz DEFAULT pg_catalog.now())
    RETURNS payorder.sweep_counts
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_sweep';
COMMENT ON FUNCTION payorder.sweep(integer, timestamptz) IS
'does what is due at the instant at, up to batch of each: fires timers, takes back expired leases, applies waiting callbacks, carries out internal tasks; says what it did and whether more is due. Safe at any time, any number of times, by several at once. Errors: 22023 bad batch.';

CREATE FUNCTION payorder.retry_order(order_no text, actor text, reason text)
    RETURNS integer
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_retry_order';
COMMENT ON FUNCTION payorder.retry_order(text, text, text) IS
'makes an order''s timers and callbacks that were set aside after errors due again; returns how many. Errors: PO002 no such order, 55P03 the order is locked longer than payorder.lock_wait.';

CREATE FUNCTION payorder.retry_callback(gateway text, txn_id text, event text, actor text, reason text)
    RETURNS void
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_retry_callback';
COMMENT ON FUNCTION payorder.retry_callback(text, text, text, text, text) IS
'makes a callback that was set aside after errors due again, with or without an order. Errors: 22023 none was set aside under this key, 22004 NULL.';

CREATE FUNCTION payorder.next_due()
    RETURNS timestamptz
    LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_next_due';
COMMENT ON FUNCTION payorder.next_due() IS
'the instant at which sweep() has something to do next, or a task with a handler is due, which run_sweeps() and the worker do; NULL for never';
