/* ---- room payment: the ledger of pots ---- */

CREATE TABLE payorder.payments (
    gateway text COLLATE "C" NOT NULL,
    txn_id text COLLATE "C" NOT NULL,
    event text COLLATE "C" NOT NULL DEFAULT 'pay' CHECK (event IN ('pay', 'pay_part')),
    order_no text COLLATE "C",
    payment_no text COLLATE "C",
    disposition text COLLATE "C" NOT NULL CHECK (disposition IN ('order', 'surplus', 'review')),
    amount bigint NOT NULL CHECK (amount >= 0),
    currency char(3) COLLATE "C" NOT NULL,
    kept bigint NOT NULL DEFAULT 0 CHECK (kept >= 0),
    review bigint NOT NULL DEFAULT 0 CHECK (review >= 0),
    owed bigint NOT NULL DEFAULT 0 CHECK (owed >= 0),
    "returning" bigint NOT NULL DEFAULT 0 CHECK ("returning" >= 0),
    returned bigint NOT NULL DEFAULT 0 CHECK (returned >= 0),
    disputed bigint NOT NULL DEFAULT 0 CHECK (disputed >= 0),
    undone bigint NOT NULL DEFAULT 0 CHECK (undone >= 0),
    overdrawn bigint NOT NULL DEFAULT 0 CHECK (overdrawn >= 0),
    occurred_at timestamptz,
    received_at timestamptz NOT NULL,
    reversed_at timestamptz,
    PRIMARY KEY (gateway, txn_id),
    CHECK (amount + overdrawn = kept + review + owed + "returning" + returned + disputed + undone)
) WITH (fillfactor = 70);
COMMENT ON TABLE payorder.payments IS
'money that gateways say they received, split over pots: whose it is now';
COMMENT ON COLUMN payorder.payments.event IS 'the event of the callback that made this row';
SELECT pg_catalog.pg_extension_config_dump('payorder.payments', '');
CREATE INDEX payments_order ON payorder.payments (order_no) WHERE order_no IS NOT NULL;
/* The day of money_balance. */
CREATE INDEX payments_day ON payorder.payments (((received_at AT TIME ZONE 'UTC')::date));

CREATE TRIGGER payments_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON payorder.payments
    FOR EACH STATEMENT EXECUTE FUNCTION payorder.refuse_change();

CREATE VIEW payorder.money_balance AS
SELECT p.gateway,
       p.currency,
       (p.received_at AT TIME ZONE 'UTC')::date AS day,
       pg_catalog.count(*) AS payments,
       pg_catalog.sum(p.amount) AS received,
       pg_catalog.sum(p.kept) AS kept,
       pg_catalog.sum(p.review + p.owed + p."returning") AS waiting,
       pg_catalog.sum(p.returned) AS returned,
       pg_catalog.sum(p.disputed) AS disputed,
       pg_catalog.sum(p.undone) AS undone,
       pg_catalog.sum(p.overdrawn) AS overdrawn,
       pg_catalog.sum(p.review) AS review,
       pg_catalog.sum(p.owed) AS owed,
       pg_catalog.sum(p."returning") AS "returning"
FROM payorder.payments AS p
GROUP BY 1, 2, 3;
COMMENT ON VIEW payorder.money_balance IS
'per gateway, currency and UTC day of arrival: received = kept + waiting + returned + disputed + undone - overdrawn; waiting = review + owed + returning';
