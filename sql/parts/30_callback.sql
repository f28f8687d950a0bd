/* ---- room callback: what gateways say, and its verdicts ---- */

CREATE SEQUENCE payorder.arrival_numbers;
SELECT pg_catalog.pg_extension_config_dump('payorder.arrival_numbers', '');

CREATE TABLE payorder.callbacks (
    gateway text COLLATE "C" NOT NULL,
    txn_id text COLLATE "C" NOT NULL,
    event text COLLATE "C" NOT NULL,
    reference text COLLATE "C",
    payment_txn text COLLATE "C",
    refund_no text COLLATE "C",
    order_no text COLLATE "C",
    amount bigint,
    currency text COLLATE "C",
    amount_is_total boolean NOT NULL DEFAULT false,
    single_amount bigint,
    occurred_at timestamptz,
    source text COLLATE "C" NOT NULL,
    first_verdict text COLLATE "C",
    verdict text COLLATE "C",
    detail text COLLATE "C",
    error text,
    body json,
    body_sha256 bytea,
    headers json,
    received_at timestamptz NOT NULL,
    decided_at timestamptz,
    PRIMARY KEY (gateway, txn_id, event)
) WITH (fillfactor = 60);
COMMENT ON TABLE payorder.callbacks IS
'messages of gateways, one row per (gateway, transaction, event), with their verdict';
COMMENT ON COLUMN payorder.callbacks.reference IS 'order or payment number as the gateway gave it';
COMMENT ON COLUMN payorder.callbacks.single_amount IS
'of a running total (amount_is_total): the one refund''s amount that was worked out';
COMMENT ON COLUMN payorder.callbacks.order_no IS 'the order that it was resolved to';
SELECT pg_catalog.pg_extension_config_dump('payorder.callbacks', '');
CREATE INDEX callbacks_order ON payorder.callbacks (order_no) WHERE order_no IS NOT NULL;

CREATE TABLE payorder.callback_conflicts (
    gateway text COLLATE "C" NOT NULL,
    txn_id text COLLATE "C" NOT NULL,
    event text COLLATE "C" NOT NULL,
    facts_sha256 bytea NOT NULL,
    reference text COLLATE "C",
    payment_txn text COLLATE "C",
    refund_no text COLLATE "C",
    amount bigint,
    currency text COLLATE "C",
    amount_is_total boolean NOT NULL,
    occurred_at timestamptz,
    source text COLLATE "C" NOT NULL,
    detail text COLLATE "C" NOT NULL,
    body json,
    body_sha256 bytea,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (gateway, txn_id, event, facts_sha256)
);
COMMENT ON TABLE payorder.callback_conflicts IS
'evidence: messages whose key was seen before with other facts';
SELECT pg_catalog.pg_extension_config_dump('payorder.callback_conflicts', '');

CREATE TABLE payorder.callbacks_waiting (
    gateway text COLLATE "C" NOT NULL,
    txn_id text COLLATE "C" NOT NULL,
    event text COLLATE "C" NOT NULL,
    verdict text COLLATE "C" NOT NULL CHECK (verdict IN ('parked', 'deferred')),
    reason text COLLATE "C" NOT NULL,
    reference text COLLATE "C",
    order_no text COLLATE "C",
    payment_txn text COLLATE "C",
    refund_no text COLLATE "C",
    drain_rank smallint NOT NULL,
    occurred_at timestamptz,
    arrival bigint NOT NULL DEFAULT pg_catalog.nextval('payorder.arrival_numbers'),
    arrived_at timestamptz NOT NULL,
    next_at timestamptz NOT NULL,
    tries smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (gateway, txn_id, event)
);
COMMENT ON TABLE payorder.callbacks_waiting IS
'parked and deferred callbacks, with what they wait for; next_at: when sweep() looks at it next';
SELECT pg_catalog.pg_extension_config_dump('payorder.callbacks_waiting', '');
CREATE INDEX callbacks_waiting_reference ON payorder.callbacks_waiting (reference) WHERE reference IS NOT NULL;
CREATE INDEX callbacks_waiting_order ON payorder.callbacks_waiting (order_no) WHERE order_no IS NOT NULL;
CREATE INDEX callbacks_waiting_payment ON payorder.callbacks_waiting (gateway, payment_txn) WHERE payment_txn IS NOT NULL;
CREATE INDEX callbacks_waiting_refund ON payorder.callbacks_waiting (refund_no) WHERE refund_no IS NOT NULL;
CREATE INDEX callbacks_waiting_next ON payorder.callbacks_waiting (next_at, arrival);

CREATE TRIGGER callbacks_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON payorder.callbacks
    FOR EACH STATEMENT EXECUTE FUNCTION payorder.refuse_change();
CREATE TRIGGER callback_conflicts_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON payorder.callback_conflicts
    FOR EACH STATEMENT EXECUTE FUNCTION payorder.refuse_change();

CREATE TYPE payorder.ingest_result AS (
    verdict text,
    first_verdict text,
    order_no text,
    state text,
    paid boolean,
    detail text,
    ack_status integer,
    ack_type text,
    ack_body text
);

CREATE FUNCTION payorder.ingest(
    gateway text,
    txn_id text,
    event text,
    order_no text DEFAULT NULL,
    amount bigint DEFAULT NULL,
    currency text DEFAULT NULL,
    occurred_at timestamptz DEFAULT NULL,
    payload json DEFAULT NULL,
    source text DEFAULT 'callback',
    payment_txn text DEFAULT NULL,
    refund_no text DEFAULT NULL,
    amount_is_total boolean DEFAULT false)
    RETURNS payorder.ingest_result
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_ingest';
COMMENT ON FUNCTION payorder.ingest(text, text, text, text, bigint, text, timestamptz, json, text, text, text, boolean) IS
'takes one fact of a gateway, verified by the caller, and applies it exactly once: event is pay, pay_part, pay_failed, pay_closed, authorised, pay_reversed, refund, refund_failed, refund_stuck, chargeback, chargeback_reversed or chargeback_lost; txn_id the gateway''s id of it; order_no an order_no or payment_no; amount in minor units, with amount_is_total that of all refunds of the payment so far; payment_txn and refund_no name the payment and refund that an event is about. Returns the verdict; commit first, then answer the gateway with ack_status (NULL: do not acknowledge). Errors, only for a wrong call: 22004 NULL gateway, txn_id or event; 22023 unknown event or source; 42501 source of the kernel; PO010 unknown gateway.';

CREATE TYPE payorder.batch_result AS (
    number integer,
    verdict text,
    first_verdict text,
    order_no text,
    state text,
    paid boolean,
    detail text,
    ack_status integer,
    ack_type text,
    ack_body text,
    sqlstate text,
    message text
);

CREATE FUNCTION payorder.ingest_batch(messages json)
    RETURNS SETOF payorder.batch_result
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_ingest_batch';
COMMENT ON FUNCTION payorder.ingest_batch(json) IS
'takes many facts of gateways in one transaction: messages is an array of up to 10,000 objects with members named as ingest()''s arguments (occurred_at as ISO 8601 with its zone). Returns a row for each, in their order: number counts from 1, then what ingest() returns; or sqlstate and message of the error that a wrong one would raise, which undoes no other. Orders are locked sorted, so batches need not be. Errors, for the whole: 22023 not an array or too long, 22004 NULL.';

CREATE FUNCTION payorder.settle_callback(
    gateway text,
    txn_id text,
    event text,
    decision text,
    actor text,
    reason text,
    order_no text DEFAULT NULL)
    RETURNS payorder.ingest_result
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_settle_callback';
COMMENT ON FUNCTION payorder.settle_callback(text, text, text, text, text, text, text) IS
'a person''s decision about a callback: keep the payment''s money in review for its order (order_no where it has none), return it, attach a parked payment to the order order_no, or dismiss what has no money in it. Keeping more than second_person_above needs another actor''s same call. Returns the verdict that it has now. Errors: 55000 not possible, or it is deferred; PO002 no such order, PO015 the same person again, 22023 unknown decision or callback, 22004 NULL, 55P03 the order is locked longer than payorder.lock_wait.';

CREATE FUNCTION payorder.pause_gateway(gateway text, actor text, reason text)
    RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = 0
AS $$
BEGIN
    PERFORM set_config('lock_timeout', coalesce(current_setting('payorder.lock_wait', true), '2s'), true);
    UPDATE payorder.gateways g
    SET paused = true, pause_changed_at = now(),
        pause_changed_by = coalesce(actor, session_user), pause_reason = reason
    WHERE g.gateway = pause_gateway.gateway AND NOT g.builtin;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no gateway "%"', left(gateway, 63)
            USING ERRCODE = 'PO010', HINT = 'See payorder.gateways.';
    END IF;
END
$$;
COMMENT ON FUNCTION payorder.pause_gateway(text, text, text) IS
'pauses a gateway: its callbacks are taken and acknowledged but wait, its tasks are not given out, until resume_gateway(). Errors: PO010.';

CREATE FUNCTION payorder.resume_gateway(gateway text, actor text, reason text)
    RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = 0
AS $$
BEGIN
    PERFORM set_config('lock_timeout', coalesce(current_setting('payorder.lock_wait', true), '2s'), true);
    UPDATE payorder.gateways g
    SET paused = false, draining = true, pause_changed_at = now(),
        pause_changed_by = coalesce(actor, session_user), pause_reason = reason
    WHERE g.gateway = resume_gateway.gateway AND NOT g.builtin;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no gateway "%"', left(gateway, 63)
            USING ERRCODE = 'PO010', HINT = 'See payorder.gateways.';
    END IF;
END
$$;
COMMENT ON FUNCTION payorder.resume_gateway(text, text, text) IS
'ends a pause: sweep() applies what waited, orders by oldest arrival, within an order in the order of draining. Errors: PO010.';
