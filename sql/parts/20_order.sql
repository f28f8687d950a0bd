/* ---- room order: the orders, their transitions and triggers ---- */

CREATE TABLE payorder.orders (
    order_no text COLLATE "C" PRIMARY KEY CHECK (pg_catalog.length(order_no) BETWEEN 1 AND 128),
    machine_id integer NOT NULL,
    state text COLLATE "C" NOT NULL,
    amount bigint NOT NULL CHECK (amount >= 0),
    currency char(3) COLLATE "C" NOT NULL,
    paid_amount bigint NOT NULL DEFAULT 0 CHECK (paid_amount >= 0),
    refunding_amount bigint NOT NULL DEFAULT 0 CHECK (refunding_amount >= 0),
    refunded_amount bigint NOT NULL DEFAULT 0 CHECK (refunded_amount >= 0),
    disputed_amount bigint NOT NULL DEFAULT 0 CHECK (disputed_amount >= 0),
    overdrawn_amount bigint NOT NULL DEFAULT 0 CHECK (overdrawn_amount >= 0),
    frozen boolean NOT NULL DEFAULT false,
    version bigint NOT NULL DEFAULT 1,
    pay_by timestamptz,
    cooling_off interval,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    closed_at timestamptz,
    attributes jsonb NOT NULL DEFAULT '{}',
    CHECK (refunded_amount + refunding_amount + disputed_amount <= paid_amount + overdrawn_amount)
) WITH (fillfactor = 70);
COMMENT ON TABLE payorder.orders IS
'payment orders; by hand only state (a legal transition) and attributes can be updated';
COMMENT ON COLUMN payorder.orders.amount IS 'in minor units of currency';
COMMENT ON COLUMN payorder.orders.paid_amount IS 'sum over the order''s payments of amount - undone';
COMMENT ON COLUMN payorder.orders.version IS 'counts the kernel''s updates of the row';
SELECT pg_catalog.pg_extension_config_dump('payorder.orders', '');

CREATE TYPE payorder.order_info AS (
    order_no text,
    machine text,
    machine_version integer,
    state text,
    amount bigint,
    currency text,
    paid_amount bigint,
    refunding_amount bigint,
    refunded_amount bigint,
    disputed_amount bigint,
    overdrawn_amount bigint,
    frozen boolean,
    version bigint,
    pay_by timestamptz,
    cooling_off interval,
    created_at timestamptz,
    updated_at timestamptz,
    closed_at timestamptz
);

CREATE TYPE payorder.fire_result AS (
    changed boolean,
    state text,
    sqlstate text,
    message text
);

CREATE FUNCTION payorder.fire(
    order_no text,
    event text,
    actor text DEFAULT NULL,
    reason text DEFAULT NULL,
    payload json DEFAULT NULL,
    expected_version bigint DEFAULT NULL,
    request_id text DEFAULT NULL)
    RETURNS payorder.order_info
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_fire';
COMMENT ON FUNCTION payorder.fire(text, text, text, text, json, bigint, text) IS
'takes the transition event of an order and returns the order after it. actor NULL is the session''s user. The same request_id again changes nothing and returns the order as it is now. Errors: PO001 not allowed now, PO002 no such order, PO009 version is not expected_version, PO014 request_id was used for something else, PO016 an edge that only ingest, refunds or timers take, 22023 request_id too long, 55P03 the order is locked longer than payorder.lock_wait.';

CREATE FUNCTION payorder.try_fire(
    order_no text,
    event text,
    actor text DEFAULT NULL,
    reason text DEFAULT NULL,
    payload json DEFAULT NULL,
    expected_version bigint DEFAULT NULL,
    request_id text DEFAULT NULL)
    RETURNS payorder.fire_result
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_try_fire';
COMMENT ON FUNCTION payorder.try_fire(text, text, text, text, json, bigint, text) IS
'as fire(), but a refusal comes back as (changed false, state, sqlstate, message) instead of an error; failures of the server itself are raised.';

CREATE FUNCTION payorder.allowed_events(order_no text)
    RETURNS SETOF text
    LANGUAGE c STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_allowed_events';
COMMENT ON FUNCTION payorder.allowed_events(text) IS
'events that fire() would accept for the order now, in the order of their names. Errors: PO002 no such order.';

CREATE FUNCTION payorder.order_state_changed() RETURNS trigger
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_order_state_changed';
COMMENT ON FUNCTION payorder.order_state_changed() IS
'trigger: a state changed by hand must be a legal transition; gives it the event and effects of fire() (PO001, PO016)';
CREATE FUNCTION payorder.order_columns_changed() RETURNS trigger
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_order_columns_changed';
COMMENT ON FUNCTION payorder.order_columns_changed() IS
'trigger: columns other than state and attributes are the kernel''s (42501)';

/* AFTER, because a BEFORE trigger of a user's with a later name would come between. */
CREATE TRIGGER orders_columns AFTER UPDATE ON payorder.orders FOR EACH ROW
    WHEN (OLD.order_no IS DISTINCT FROM NEW.order_no
          OR OLD.machine_id IS DISTINCT FROM NEW.machine_id
          OR OLD.amount IS DISTINCT FROM NEW.amount
          OR OLD.currency IS DISTINCT FROM NEW.currency
          OR OLD.paid_amount IS DISTINCT FROM NEW.paid_amount
          OR OLD.refunding_amount IS DISTINCT FROM NEW.refunding_amount
          OR OLD.refunded_amount IS DISTINCT FROM NEW.refunded_amount
          OR OLD.disputed_amount IS DISTINCT FROM NEW.disputed_amount
          OR OLD.overdrawn_amount IS DISTINCT FROM NEW.overdrawn_amount
          OR OLD.frozen IS DISTINCT FROM NEW.frozen
          OR OLD.version IS DISTINCT FROM NEW.version
          OR OLD.pay_by IS DISTINCT FROM NEW.pay_by
          OR OLD.cooling_off IS DISTINCT FROM NEW.cooling_off
          OR OLD.created_at IS DISTINCT FROM NEW.created_at
          OR OLD.updated_at IS DISTINCT FROM NEW.updated_at
          OR OLD.closed_at IS DISTINCT FROM NEW.closed_at)
    EXECUTE FUNCTION payorder.order_columns_changed();
CREATE TRIGGER orders_state AFTER UPDATE ON payorder.orders FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION payorder.order_state_changed();
CREATE TRIGGER orders_kept BEFORE DELETE OR TRUNCATE ON payorder.orders
    FOR EACH STATEMENT EXECUTE FUNCTION payorder.refuse_change('purge');
