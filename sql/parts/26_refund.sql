/* ---- room refund: money going back ---- */

CREATE TABLE payorder.refunds (
    refund_no text COLLATE "C" PRIMARY KEY CHECK (pg_catalog.length(refund_no) BETWEEN 1 AND 128),
    gateway text COLLATE "C" NOT NULL,
    txn_id text COLLATE "C" NOT NULL,
    order_no text COLLATE "C",
    amount bigint NOT NULL CHECK (amount > 0),
    currency char(3) COLLATE "C" NOT NULL,
    cause text COLLATE "C" NOT NULL CHECK (cause IN ('order', 'late', 'excess', 'review', 'external')),
    state text COLLATE "C" NOT NULL
        CHECK (state IN ('held', 'asked', 'in_doubt', 'stuck', 'succeeded', 'failed', 'reversed', 'cancelled')),
    from_kept bigint NOT NULL DEFAULT 0 CHECK (from_kept >= 0),
    from_owed bigint NOT NULL DEFAULT 0 CHECK (from_owed >= 0),
    from_review bigint NOT NULL DEFAULT 0 CHECK (from_review >= 0),
    gateway_refund_id text COLLATE "C",
    task_id bigint,
    reason text,
    actor text NOT NULL,
    requested_at timestamptz NOT NULL,
    asked_at timestamptz,
    first_tried_at timestamptz,
    succeeded_at timestamptz,
    ended_at timestamptz
) WITH (fillfactor = 80);
COMMENT ON TABLE payorder.refunds IS
'refunds of payments: ours and those made elsewhere (cause external); open = asked, in_doubt or stuck';
COMMENT ON COLUMN payorder.refunds.txn_id IS 'the payment that goes back, with gateway';
COMMENT ON COLUMN payorder.refunds.succeeded_at IS 'when it happened, as the gateway says';
SELECT pg_catalog.pg_extension_config_dump('payorder.refunds', '');
CREATE INDEX refunds_payment ON payorder.refunds (gateway, txn_id);
CREATE INDEX refunds_order ON payorder.refunds (order_no) WHERE order_no IS NOT NULL;
CREATE UNIQUE INDEX refunds_one_automatic ON payorder.refunds (gateway, txn_id)
    WHERE cause IN ('late', 'excess', 'review') AND state NOT IN ('failed', 'cancelled');
CREATE INDEX refunds_automatic ON payorder.refunds (gateway, requested_at)
    WHERE cause IN ('late', 'excess', 'review');

CREATE TRIGGER refunds_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON payorder.refunds
    FOR EACH STATEMENT EXECUTE FUNCTION payorder.refuse_change();

CREATE TYPE payorder.refund_info AS (
    refund_no text,
    order_no text,
    gateway text,
    payment text,
    amount bigint,
    currency text,
    cause text,
    state text,
    requested_at timestamptz,
    succeeded_at timestamptz
);

CREATE FUNCTION payorder.request_refund(
    refund_no text,
    order_no text,
    amount bigint DEFAULT NULL,
    reason text DEFAULT NULL,
    payment text DEFAULT NULL,
    currency text DEFAULT NULL,
    gateway text DEFAULT NULL,
    actor text DEFAULT NULL)
    RETURNS payorder.refund_info
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_request_refund';
COMMENT ON FUNCTION payorder.request_refund(text, text, bigint, text, text, text, text, text) IS
'asks for money back: reserves amount (minor units; NULL: all that can be) of one payment of the order and enqueues the task refund. refund_no is the caller''s, 8 to 32 of A-Z a-z 0-9 _; the same number again returns the refund. payment is its txn_id (with gateway where two gateways use one id), NULL: the order''s one payment. Errors: PO002 no such order, PO005 bad amount or a currency that is not the payment''s, PO006 more than can be refunded, or none, or a refund is stuck, PO014 refund_no was used for something else, 22023 bad refund_no, or several payments and none named, 55P03 the order is locked longer than payorder.lock_wait.';

/* Counted in a row of its own, under its lock, since a count of rows decides nothing. */
CREATE TABLE payorder.automatic_returns (
    gateway text COLLATE "C" PRIMARY KEY,
    hour_began_at timestamptz NOT NULL,
    returns integer NOT NULL,
    amounts jsonb NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE payorder.automatic_returns IS
'per gateway the automatic returns of the running hour: their number, and their amounts by currency';
SELECT pg_catalog.pg_extension_config_dump('payorder.automatic_returns', '');
CREATE INDEX refunds_gateway_id ON payorder.refunds (gateway, gateway_refund_id)
    WHERE gateway_refund_id IS NOT NULL;
