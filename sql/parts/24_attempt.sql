/* ---- room attempt: tries to pay an order ---- */

CREATE TABLE payorder.attempts (
    -- a count in the pattern would cost 20 times as much, at each write of the row
    payment_no text COLLATE "C" PRIMARY KEY
        CHECK (pg_catalog.length(payment_no) BETWEEN 8 AND 32 AND payment_no ~ '^[A-Za-z0-9_]*$'),
    order_no text COLLATE "C" NOT NULL,
    gateway text COLLATE "C" NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    currency char(3) COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL CHECK (state IN ('open', 'paid', 'failed', 'closed')),
    expires_at timestamptz,
    created_at timestamptz NOT NULL,
    asked_at timestamptz,
    answered_at timestamptz,
    notified_at timestamptz,
    applied_at timestamptz
) WITH (fillfactor = 80);
COMMENT ON TABLE payorder.attempts IS
'tries to pay an order, each with its own number for the gateway; open means in doubt';
SELECT pg_catalog.pg_extension_config_dump('payorder.attempts', '');
CREATE INDEX attempts_order ON payorder.attempts (order_no);
CREATE TRIGGER attempts_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON payorder.attempts
    FOR EACH STATEMENT EXECUTE FUNCTION payorder.refuse_change();

CREATE TYPE payorder.attempt_info AS (
    payment_no text,
    order_no text,
    gateway text,
    amount bigint,
    currency text,
    state text,
    expires_at timestamptz,
    created_at timestamptz
);

CREATE FUNCTION payorder.begin_payment(
    order_no text,
    gateway text,
    amount bigint DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL,
    parallel boolean DEFAULT false,
    actor text DEFAULT NULL)
    RETURNS payorder.attempt_info
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_begin_payment';
COMMENT ON FUNCTION payorder.begin_payment(text, text, bigint, timestamptz, boolean, text) IS
'opens an attempt to pay the order at a gateway and returns it with its payment_no, the number for the gateway. amount in minor units (NULL: what is left to pay); expires_at is cut to the order''s pay_by: give it to the gateway as the time to expire. Errors: PO001 the order takes no payment now or has an open attempt (parallel => true allows another), PO002 no such order, PO005 bad amount, PO010 no such gateway or disabled, 55P03 the order is locked longer than payorder.lock_wait.';

CREATE VIEW payorder.order_overview AS
SELECT o.order_no, m.name AS machine, m.version AS machine_version, o.state,
       CASE WHEN o.disputed_amount > 0 THEN 'disputed'
            WHEN o.refunded_amount > 0 AND o.refunded_amount >= o.paid_amount THEN 'refunded'
            WHEN o.refunded_amount > 0 THEN 'part_refunded'
            WHEN EXISTS (SELECT FROM payorder.payments AS p
                         WHERE p.order_no = o.order_no AND p.disposition = 'surplus'
                           AND p.owed + p."returning" > 0) THEN 'surplus'
            WHEN o.paid_amount >= o.amount AND o.paid_amount > 0 THEN 'paid'
            WHEN o.amount = 0 AND EXISTS (SELECT FROM payorder.payments AS p
                                          WHERE p.order_no = o.order_no AND p.disposition = 'order') THEN 'paid'
            WHEN o.paid_amount > 0 THEN 'part_paid'
            WHEN EXISTS (SELECT FROM payorder.attempts AS a
                         WHERE a.order_no = o.order_no AND a.state = 'open') THEN 'in_doubt'
            ELSE 'unpaid' END AS payment_status,
       o.amount, o.currency, o.paid_amount, o.refunding_amount, o.refunded_amount,
       o.disputed_amount, o.overdrawn_amount, o.frozen, o.pay_by,
       o.created_at, o.updated_at, o.closed_at, o.attributes
FROM payorder.orders AS o
JOIN payorder.machines AS m ON m.id = o.machine_id;
COMMENT ON VIEW payorder.order_overview IS
'orders with their machine by name and payment_status: unpaid, in_doubt, part_paid, paid, part_refunded, refunded, disputed, surplus';
