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
    kept_again bigint NOT NULL DEFAULT 0 CHECK (kept_again >= 0),
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
COMMENT ON COLUMN payorder.refunds.kept_again IS
'what of an ended refund''s amount a person let the shop keep after all (settle_refund keep)';
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
'asks for money back: reserves amount (minor units; NULL: all that can be) of one payment of the order and enqueues the task refund. refund_no is the caller''s, 8 to 32 of A-Z a-z 0-9 _; the same number again returns the refund. payment is its txn_id (with gateway where two gateways use one id), NULL: the order''s one payment; order_no may be NULL for a payment without an order that is named with its gateway. Beyond the share per hour of set_refund_limits() the refund is held for a person. Errors: PO002 no such order, PO005 bad amount or a currency that is not the payment''s, PO006 more than can be refunded, or none, beyond a limit, or a refund is stuck, PO014 refund_no was used for something else, 22023 bad refund_no, or several payments and none named, 55P03 the order is locked longer than payorder.lock_wait.';

CREATE FUNCTION payorder.request_refunds(
    refund_no text,
    order_no text,
    amount bigint DEFAULT NULL,
    reason text DEFAULT NULL,
    actor text DEFAULT NULL)
    RETURNS SETOF payorder.refund_info
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_request_refunds';
COMMENT ON FUNCTION payorder.request_refunds(text, text, bigint, text, text) IS
'asks for an amount (minor units; NULL: all that can be) of an order that was paid by several payments: one refund for each payment that is needed, newest payment first, with the numbers refund_no_1, refund_no_2, and so on; again with the same number the same refunds. Errors: as request_refund().';

/* ---- limits, so that no mistake pays at machine speed ---- */

CREATE TABLE payorder.refund_limits (
    gateway text COLLATE "C" NOT NULL,
    machine text COLLATE "C" NOT NULL,
    max_age interval CHECK (max_age > '0'),
    max_count integer CHECK (max_count > 0),
    smallest_amount bigint CHECK (smallest_amount > 0),
    share_per_hour numeric CHECK (share_per_hour BETWEEN 0 AND 1),
    second_person_above bigint CHECK (second_person_above >= 0),
    PRIMARY KEY (gateway, machine)
);
COMMENT ON TABLE payorder.refund_limits IS
'limits of refunds for a gateway, a machine, both or (empty) all; the strictest of those that fit holds';
COMMENT ON COLUMN payorder.refund_limits.max_age IS 'of the payment';
COMMENT ON COLUMN payorder.refund_limits.max_count IS 'refunds of one payment';
COMMENT ON COLUMN payorder.refund_limits.smallest_amount IS 'in minor units, unless it is the rest of the payment';
COMMENT ON COLUMN payorder.refund_limits.share_per_hour IS
'what may be asked back within an hour, per gateway and currency, of what came in during the 24 hours before that hour began; beyond it refunds are held';
COMMENT ON COLUMN payorder.refund_limits.second_person_above IS
'decisions about more than this, in minor units, need two persons';
SELECT pg_catalog.pg_extension_config_dump('payorder.refund_limits', '');

CREATE TABLE payorder.refund_hours (
    gateway text COLLATE "C" NOT NULL,
    currency char(3) COLLATE "C" NOT NULL,
    hour_began_at timestamptz NOT NULL,
    received numeric NOT NULL,
    asked numeric NOT NULL,
    PRIMARY KEY (gateway, currency)
) WITH (fillfactor = 50);
COMMENT ON TABLE payorder.refund_hours IS
'per gateway and currency: what was asked back in the running hour, and what came in during the 24 hours before it';
SELECT pg_catalog.pg_extension_config_dump('payorder.refund_hours', '');

CREATE TABLE payorder.first_decisions (
    subject text COLLATE "C" PRIMARY KEY,
    decision text COLLATE "C" NOT NULL,
    actor text NOT NULL,
    reason text,
    decided_at timestamptz NOT NULL
);
COMMENT ON TABLE payorder.first_decisions IS
'decisions about money above a limit that wait for a second person';
SELECT pg_catalog.pg_extension_config_dump('payorder.first_decisions', '');

CREATE FUNCTION payorder.set_refund_limits(gateway text, machine text, limits jsonb)
    RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = 0
AS $$
DECLARE
    unknown text;
    merged payorder.refund_limits;
    known CONSTANT jsonb := '{"max_age": "string", "max_count": "number", "smallest_amount": "number",
                              "share_per_hour": "number", "second_person_above": "number"}';
BEGIN
    PERFORM set_config('lock_timeout', coalesce(current_setting('payorder.lock_wait', true), '2s'), true);
    IF limits IS NULL OR jsonb_typeof(limits) <> 'object' THEN
        RAISE EXCEPTION 'limits must be a JSON object'
            USING ERRCODE = '22023', HINT = 'Give {"limit": value, ...}; null ends a limit.';
    END IF;
    IF gateway IS NOT NULL AND NOT EXISTS (SELECT FROM payorder.gateways AS g
                                           WHERE g.gateway = set_refund_limits.gateway) THEN
        RAISE EXCEPTION 'no gateway "%"', left(gateway, 63)
            USING ERRCODE = 'PO010', HINT = 'See payorder.gateways; NULL stands for all.';
    END IF;
    IF machine IS NOT NULL AND NOT EXISTS (SELECT FROM payorder.machines AS m
                                           WHERE m.name = set_refund_limits.machine) THEN
        RAISE EXCEPTION 'no machine "%"', left(machine, 63)
            USING ERRCODE = 'PO004', HINT = 'See payorder.machines; NULL stands for all.';
    END IF;
    SELECT k INTO unknown FROM jsonb_each(limits) AS e (k, v)
    WHERE known -> k IS NULL OR jsonb_typeof(v) NOT IN (known ->> k, 'null')
    ORDER BY k LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'unknown limit "%", or one of a wrong type', left(unknown, 63)
            USING ERRCODE = '22023',
                  HINT = 'Limits are max_age (an interval as text), max_count, smallest_amount, share_per_hour and second_person_above (numbers).';
    END IF;
    INSERT INTO payorder.refund_limits (gateway, machine)
    VALUES (coalesce(set_refund_limits.gateway, ''), coalesce(set_refund_limits.machine, ''))
    ON CONFLICT ON CONSTRAINT refund_limits_pkey DO NOTHING;
    BEGIN
        SELECT (jsonb_populate_record(l, limits)).* INTO merged
        FROM payorder.refund_limits AS l
        WHERE l.gateway = coalesce(set_refund_limits.gateway, '')
          AND l.machine = coalesce(set_refund_limits.machine, '') FOR UPDATE;
    EXCEPTION WHEN data_exception THEN
        RAISE EXCEPTION 'a limit has a wrong form'
            USING ERRCODE = '22023', DETAIL = left(SQLERRM, 200), HINT = 'Amounts and counts are whole numbers, max_age is a text like "180 days".';
    END;
    IF merged.max_age <= '0' OR merged.max_age > '366 days'
        OR extract(month FROM merged.max_age) <> 0 OR extract(year FROM merged.max_age) <> 0
        OR merged.max_count < 1 OR merged.smallest_amount < 1
        OR merged.share_per_hour < 0 OR merged.share_per_hour > 1 OR merged.share_per_hour = 'NaN'
        OR merged.second_person_above < 0 THEN
        RAISE EXCEPTION 'a limit is out of range'
            USING ERRCODE = '22023',
                  HINT = 'max_age is positive, at most 366 days and without months; counts and amounts are positive, share_per_hour is 0 to 1.';
    END IF;
    UPDATE payorder.refund_limits AS l
    SET max_age = merged.max_age, max_count = merged.max_count, smallest_amount = merged.smallest_amount,
        share_per_hour = merged.share_per_hour, second_person_above = merged.second_person_above
    WHERE l.gateway = merged.gateway AND l.machine = merged.machine;
END
$$;
COMMENT ON FUNCTION payorder.set_refund_limits(text, text, jsonb) IS
'sets limits of refunds for a gateway (NULL: all) and a machine (NULL: all), given as {"limit": value}, null ends one: max_age of the payment (interval), max_count refunds of one payment, smallest_amount (minor units), share_per_hour (0 to 1), second_person_above (minor units). All rows that fit hold. Errors: PO004 no such machine, PO010 no such gateway, 22023 unknown or bad limit.';

CREATE FUNCTION payorder.settle_refund(refund_no text, decision text, actor text, reason text)
    RETURNS payorder.refund_info
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_settle_refund';
COMMENT ON FUNCTION payorder.settle_refund(text, text, text, text) IS
'a person''s decision about a refund: succeeded or failed, as the gateway''s console shows, of an open one that was sent; release or cancel a held one; keep what an ended one has left owed. Above second_person_above the first call only notes the decision and another actor''s same call carries it out. Returns the refund. Errors: PO006 not possible in its state, PO015 the same person again, 22023 unknown decision or refund, 22004 NULL, 55P03 the order is locked longer than payorder.lock_wait.';

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
