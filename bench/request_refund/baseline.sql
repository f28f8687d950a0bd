/*
 * The yardstick of bench/request_refund/run: request_refund() in PL/pgSQL as an
 * expert would write it, on tables of its own with the same columns, defaults,
 * CHECKs, indexes and fillfactors (made by LIKE, so that they stay the same).
 *
 * Its guarantees are those of payorder.request_refund():
 *   - the order's row is locked FOR NO KEY UPDATE, then the payment's FOR UPDATE;
 *     all is decided under these locks, in statements begun after the lock was
 *     had; waits for locks are bounded;
 *   - what can be refunded is owed, less what held returns will take, and then
 *     what is kept; a stuck refund, too much, another currency and several
 *     payments with none named are refused, with the same SQLSTATEs;
 *   - the same number again gives the same refund, with other content PO014;
 *   - refund, task, event, payment and order change in one transaction; the
 *     events of an order are numbered without a gap and chained by SHA-256 over
 *     the same bytes; a number that is taken is 40001;
 *   - nobody but the function's owner, in its own statements, changes the
 *     order's columns, payments, refunds and events: triggers refuse the rest,
 *     and a user's BEFORE trigger that changes what was written is noticed;
 *   - limits of refunds hold; share_per_hour is counted under its row's lock;
 *   - definer, with search_path pinned.
 * Left out are two branches that the calls measured don't take: a payment that
 * has no order, and holding a refund that is beyond share_per_hour (0A000).
 *
 * What a call writes that is asked for the first time, as ours does:
 *   tasks          1 row   the task "refund"
 *   task_ready     1 row   where it is
 *   refunds        1 row   asked
 *   payments       1 row locked, 1 update (HOT): the pots
 *   events_NN      1 row   refund_asked, with its hash
 *   orders         1 row locked, 1 update (HOT): refunding_amount, version, updated_at
 *   timers         1 row   only if a callback waits for this refund
 *   task_ready, task_keys, task_finished, tasks: only if a review of the payment
 *                  has lost its cause, or has none yet
 * run compares the rows of both, and counts their WAL records.
 *
 * What makes it fast: nine statements in all, each with a cached generic plan;
 * what is said about a payment elsewhere is read by one of them; reviews are
 * looked at only if what is owed changes, since nothing else here can end their
 * cause; the log's partitions are named (a cached plan for the parent would lock
 * all 64 of them at each run); what never changes is folded into the hash's
 * constants; the guards ask no table; no subtransaction, no dynamic SQL.  Tried
 * and slower, by instructions counted with callgrind: all writes as one
 * data-modifying CTE (+ 0.4 %), the reads under the locks as one statement
 * (+ 1.5 %), a helper function for the event (+ 3 %), the log's parent (+ 15 %).
 */
\set ON_ERROR_STOP on
SET client_min_messages = warning;
-- a superuser, as the owner of the extension's functions is one: fewer checks of rights
CREATE ROLE baseline_kernel NOLOGIN SUPERUSER;
CREATE SCHEMA baseline AUTHORIZATION baseline_kernel;
SET ROLE baseline_kernel;
SET search_path = pg_catalog, pg_temp;

/* ---- tables ---- */

CREATE SEQUENCE baseline.event_ids;
CREATE SEQUENCE baseline.task_ids;
CREATE SEQUENCE baseline.timer_ids;

CREATE TABLE baseline.orders (LIKE payorder.orders INCLUDING ALL);
CREATE TABLE baseline.payments (LIKE payorder.payments INCLUDING ALL);
CREATE TABLE baseline.refunds (LIKE payorder.refunds INCLUDING ALL);
CREATE TABLE baseline.tasks (LIKE payorder.tasks INCLUDING ALL);
CREATE TABLE baseline.task_ready (LIKE payorder.task_ready INCLUDING ALL);
CREATE TABLE baseline.task_keys (LIKE payorder.task_keys INCLUDING ALL);
CREATE TABLE baseline.task_finished (LIKE payorder.task_finished INCLUDING ALL);
CREATE TABLE baseline.machines (LIKE payorder.machines INCLUDING ALL);
CREATE TABLE baseline.refund_limits (LIKE payorder.refund_limits INCLUDING ALL);
CREATE TABLE baseline.refund_hours (LIKE payorder.refund_hours INCLUDING ALL);
CREATE TABLE baseline.timers (LIKE payorder.timers INCLUDING ALL);
CREATE TABLE baseline.callbacks_waiting (LIKE payorder.callbacks_waiting INCLUDING ALL);
CREATE TABLE baseline.events (LIKE payorder.events INCLUDING ALL) PARTITION BY LIST (slot);

ALTER TABLE baseline.tasks ALTER id SET DEFAULT nextval('baseline.task_ids');
ALTER TABLE baseline.timers ALTER id SET DEFAULT nextval('baseline.timer_ids');
ALTER TABLE baseline.events ALTER id SET DEFAULT nextval('baseline.event_ids');

CREATE TYPE baseline.refund_info AS (
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

/* ---- guards ---- */

/*
 * A write of the kernel's is known by its role, and by what it announced: how
 * deep in triggers it was begun, and the version and number of its order.  A
 * statement that a user's trigger runs inside of it is a level deeper.
 */
CREATE FUNCTION baseline.refuse_change() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF current_user OPERATOR(pg_catalog.=) 'baseline_kernel'::pg_catalog.name
       AND pg_catalog.current_setting('baseline.depth', true)
           OPERATOR(pg_catalog.=) (pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.-) 1)::pg_catalog.text THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% of table "%" is not allowed', TG_OP, TG_TABLE_NAME USING ERRCODE = '42501';
END
$$;

CREATE FUNCTION baseline.order_columns_changed() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF current_user OPERATOR(pg_catalog.=) 'baseline_kernel'::pg_catalog.name
       AND NEW.version OPERATOR(pg_catalog.=) (OLD.version OPERATOR(pg_catalog.+) 1)
       AND pg_catalog.current_setting('baseline.order', true)
           OPERATOR(pg_catalog.=) (NEW.version::pg_catalog.text OPERATOR(pg_catalog.||) OLD.order_no) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'only state and attributes of order "%" can be updated', OLD.order_no
        USING ERRCODE = '42501';
END
$$;

CREATE TRIGGER orders_columns AFTER UPDATE ON baseline.orders FOR EACH ROW
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
    EXECUTE FUNCTION baseline.order_columns_changed();
-- No edge of the machine is taken here, so a state never changes.
CREATE TRIGGER orders_state AFTER UPDATE ON baseline.orders FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION baseline.order_columns_changed();
CREATE TRIGGER orders_kept BEFORE DELETE OR TRUNCATE ON baseline.orders
    FOR EACH STATEMENT EXECUTE FUNCTION baseline.refuse_change();
CREATE TRIGGER payments_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON baseline.payments
    FOR EACH STATEMENT EXECUTE FUNCTION baseline.refuse_change();
CREATE TRIGGER refunds_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON baseline.refunds
    FOR EACH STATEMENT EXECUTE FUNCTION baseline.refuse_change();
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON baseline.events
    FOR EACH STATEMENT EXECUTE FUNCTION baseline.refuse_change();

DO $ring$
DECLARE
    partition text;
    storage record;
BEGIN
    FOR n IN 0 .. 63 LOOP
        partition := 'events_' || lpad(n::text, 2, '0');
        EXECUTE format('CREATE TABLE baseline.%I PARTITION OF baseline.events FOR VALUES IN (%s)', partition, n);
        EXECUTE format('CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON baseline.%I FOR EACH STATEMENT EXECUTE FUNCTION baseline.refuse_change()', partition);
    END LOOP;
    -- fillfactors and the like, which LIKE leaves out
    FOR storage IN
        SELECT t.relname, array_to_string(t.reloptions, ', ') AS options
        FROM pg_class AS t
        WHERE t.relnamespace = 'payorder'::regnamespace AND t.relkind = 'r' AND t.reloptions IS NOT NULL
          AND to_regclass(format('baseline.%I', t.relname)) IS NOT NULL
    LOOP
        EXECUTE format('ALTER TABLE baseline.%I SET (%s)', storage.relname, storage.options);
    END LOOP;
END
$ring$;

/* ---- the log ---- */

-- How a text is hashed: NULL distinct, else its length and its bytes in UTF-8.
CREATE FUNCTION baseline.hashed(field text) RETURNS bytea
    LANGUAGE sql IMMUTABLE
RETURN coalesce('\x01'::bytea || int4send(octet_length(convert_to(field, 'UTF8'))) || convert_to(field, 'UTF8'), '\x00');

/*
 * Appends an alarm to the chain of an order whose row is locked.  It is rare,
 * and so may look for the last event in the parent.
 */
CREATE FUNCTION baseline.append_alarm(
    order_no text, created_at timestamptz, state text, cause text, gateway text, txn_id text, at timestamptz)
    RETURNS void
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    month CONSTANT timestamp := created_at AT TIME ZONE 'UTC';
    part CONSTANT integer := (12 * date_part('year', month) + date_part('month', month))::integer & 63;
    trace CONSTANT text := left(nullif(current_setting('baseline.trace', true), ''), 256);
    last record;
BEGIN
    SELECT e.seq, e.hash INTO last FROM baseline.events AS e
    WHERE e.slot = part AND e.order_no = append_alarm.order_no ORDER BY e.seq DESC LIMIT 1;
    INSERT INTO baseline.events (slot, order_no, seq, gateway, txn_id, event, from_state, to_state, actor, source,
                                 reason, trace, at, hash)
    VALUES (part, order_no, last.seq + 1, gateway, txn_id, 'alarm', state, state, 'payorder', 'kernel', cause,
            trace, at,
            sha256('\x01' || last.hash || baseline.hashed(order_no) || '\x0100000008' || int8send(last.seq + 1)
                   || baseline.hashed('alarm') || baseline.hashed(state) || baseline.hashed(state)
                   || baseline.hashed('payorder') || baseline.hashed('kernel') || baseline.hashed(cause) || '\x0000'
                   || baseline.hashed(trace) || baseline.hashed(gateway) || baseline.hashed(txn_id)
                   || '\x0100000008' || timestamptz_send(at)))
    ON CONFLICT (slot, order_no, seq) DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'could not serialize access to the events of order "%"', order_no
            USING ERRCODE = '40001';
    END IF;
END
$$;

/* ---- reviews ---- */

-- Ends a review whose cause is gone.
CREATE FUNCTION baseline.close_review(key text, at timestamptz)
    RETURNS void
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    id bigint;
BEGIN
    DELETE FROM baseline.task_ready AS r USING baseline.task_keys AS k
    WHERE k.dedup_key = key AND r.task_id = k.task_id RETURNING r.task_id INTO id;
    IF FOUND THEN
        INSERT INTO baseline.task_finished (task_id, outcome, attempts, finished_at) VALUES (id, 'done', 0, at);
        DELETE FROM baseline.task_keys AS k WHERE k.dedup_key = key AND k.task_id = id;
    END IF;
END
$$;

-- Has a person look at a payment, and notes that in the order's chain.
CREATE FUNCTION baseline.payment_alarm(
    cause text, order_no text, created_at timestamptz, state text, gateway text, txn_id text, amount bigint,
    currency text, at timestamptz)
    RETURNS void
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    subject CONSTANT text := gateway || ':' || txn_id;
    key CONSTANT text := 'review:' || cause || ':' || subject;
    id bigint;
BEGIN
    INSERT INTO baseline.task_keys (dedup_key, task_id) VALUES (key, nextval('baseline.task_ids'))
    ON CONFLICT (dedup_key) DO NOTHING RETURNING task_id INTO id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO baseline.tasks (id, kind, order_no, gateway, dedup_key, payload, trace, created_at)
    VALUES (payment_alarm.id, 'review', order_no, gateway, key,
            json_build_object('subject', subject, 'cause', cause, 'amount', amount, 'currency', currency),
            nullif(current_setting('baseline.trace', true), ''), at);
    INSERT INTO baseline.task_ready (task_id, run_at, kind, gateway)
    VALUES (payment_alarm.id, 'infinity', 'review', gateway);
    PERFORM baseline.append_alarm(order_no, created_at, state, cause, gateway, txn_id, at);
END
$$;

/* ---- limits ---- */

-- Refuses what is beyond a limit, and counts what the hour's share allows.
CREATE FUNCTION baseline.check_limits(
    machine_id integer, paid baseline.payments, refunds bigint, wanted bigint, refundable bigint, at timestamptz)
    RETURNS void
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    limits record;
    beyond text;
BEGIN
    SELECT min(l.max_age) AS max_age, min(l.max_count) AS max_count, max(l.smallest_amount) AS smallest_amount,
           min(l.share_per_hour) AS share_per_hour
    INTO limits
    FROM baseline.refund_limits AS l
    WHERE l.gateway IN ('', paid.gateway)
      AND l.machine IN ('', (SELECT m.name FROM baseline.machines AS m WHERE m.id = check_limits.machine_id));
    beyond := CASE WHEN at - coalesce(paid.occurred_at, paid.received_at) > limits.max_age THEN 'max_age'
                   WHEN refunds >= limits.max_count THEN 'max_count'
                   WHEN wanted < limits.smallest_amount AND wanted < refundable THEN 'smallest_amount' END;
    IF beyond IS NOT NULL THEN
        RAISE EXCEPTION 'refund is beyond the limit % of payment "%:%"', beyond, paid.gateway, paid.txn_id
            USING ERRCODE = 'PO006';
    END IF;
    IF limits.share_per_hour IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO baseline.refund_hours (gateway, currency, hour_began_at, received, asked)
    VALUES (paid.gateway, paid.currency, '-infinity', 0, 0) ON CONFLICT (gateway, currency) DO NOTHING;
    UPDATE baseline.refund_hours AS h SET hour_began_at = n.began, received = n.received, asked = n.asked + wanted
    FROM (SELECT CASE WHEN fresh THEN at ELSE hour_began_at END AS began,
                 CASE WHEN fresh THEN 0 ELSE asked END AS asked,
                 CASE WHEN fresh
                     THEN coalesce((SELECT sum(p.amount) FROM baseline.payments AS p
                                    WHERE p.gateway = paid.gateway AND p.currency = paid.currency
                                      AND (p.received_at AT TIME ZONE 'UTC')::date
                                          BETWEEN (at AT TIME ZONE 'UTC')::date - 1 AND (at AT TIME ZONE 'UTC')::date
                                      AND p.received_at > at - interval '24 hours' AND p.received_at <= at), 0)
                     ELSE received END AS received
          FROM (SELECT l.*, l.hour_began_at <= at - interval '1 hour' AS fresh FROM baseline.refund_hours AS l
                WHERE l.gateway = paid.gateway AND l.currency = paid.currency FOR UPDATE) AS l) AS n
    WHERE h.gateway = paid.gateway AND h.currency = paid.currency
      AND n.asked + wanted <= limits.share_per_hour * n.received;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the baseline holds no refunds' USING ERRCODE = '0A000';
    END IF;
END
$$;

/* ---- the function itself ---- */

/*
 * It is made with a branch for each of the log's 64 partitions, so that each has
 * its own cached plans.
 */
DO $make$
DECLARE
    template CONSTANT text := $template$
CREATE FUNCTION baseline.request_refund(
    refund_no text,
    order_no text,
    amount bigint DEFAULT NULL,
    reason text DEFAULT NULL,
    payment text DEFAULT NULL,
    currency text DEFAULT NULL,
    gateway text DEFAULT NULL,
    actor text DEFAULT NULL)
    RETURNS baseline.refund_info
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $body$
#variable_conflict use_column
DECLARE
    at CONSTANT timestamptz := clock_timestamp();
    who CONSTANT text := coalesce(actor, session_user);
    trace CONSTANT text := left(nullif(current_setting('baseline.trace', true), ''), 256);
    ordered baseline.orders;    -- the order, as it is and as it shall be
    paid baseline.payments;
    fitting integer := 0;
    beside record;              -- what the refunds say
    earlier baseline.refunds;   -- the refund of this number, if there is one
    free_owed bigint;
    refundable bigint;
    wanted bigint;
    from_owed bigint;
    from_kept bigint;
    task bigint;
    written baseline.orders;
    month timestamp;
    slot integer;
    last_seq integer;
    last_hash bytea;
    payload text;
    state_hashed bytea;
    hash bytea;
    review text;
BEGIN
    IF refund_no IS NULL OR order_no IS NULL THEN
        RAISE EXCEPTION 'refund_no and order_no must not be null' USING ERRCODE = '22004';
    END IF;
    IF refund_no !~ '^[A-Za-z0-9_]{8,32}$' THEN
        RAISE EXCEPTION 'invalid refund_no' USING ERRCODE = '22023';
    END IF;
    IF amount <= 0 THEN
        RAISE EXCEPTION 'amount to refund must be positive' USING ERRCODE = 'PO005';
    END IF;

    SELECT o.* INTO ordered
    FROM baseline.orders AS o WHERE o.order_no = request_refund.order_no FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no order "%"', order_no USING ERRCODE = 'PO002';
    END IF;

    FOR paid IN
        SELECT p.* FROM baseline.payments AS p
        WHERE p.order_no = request_refund.order_no
          AND CASE WHEN request_refund.payment IS NULL THEN p.disposition = 'order'
                   ELSE p.txn_id = request_refund.payment END
          AND (request_refund.gateway IS NULL OR p.gateway = request_refund.gateway)
        FOR UPDATE
    LOOP
        fitting := fitting + 1;
    END LOOP;
    SELECT coalesce(sum(f.amount) FILTER (WHERE f.state = 'held'), 0)::bigint AS held,
           coalesce(bool_or(f.state = 'stuck'), false) AS is_stuck,
           count(*) FILTER (WHERE f.state <> 'cancelled' AND f.cause <> 'external') AS refunds,
           EXISTS (SELECT FROM baseline.refunds AS r WHERE r.refund_no = request_refund.refund_no) AS is_repeated,
           EXISTS (SELECT FROM baseline.refund_limits) AS is_limited
    INTO beside
    FROM baseline.refunds AS f WHERE f.gateway = paid.gateway AND f.txn_id = paid.txn_id;

    IF beside.is_repeated OR fitting = 0 THEN
        SELECT f.* INTO earlier FROM baseline.refunds AS f WHERE f.refund_no = request_refund.refund_no;
        IF FOUND THEN
            IF earlier.order_no IS DISTINCT FROM request_refund.order_no OR earlier.amount <> request_refund.amount
                OR earlier.txn_id <> payment OR earlier.gateway <> request_refund.gateway
                OR earlier.currency <> request_refund.currency THEN
                RAISE EXCEPTION 'refund_no "%" was used for another refund', refund_no USING ERRCODE = 'PO014';
            END IF;
            RETURN ROW(earlier.refund_no, earlier.order_no, earlier.gateway, earlier.txn_id, earlier.amount,
                       earlier.currency, earlier.cause, earlier.state, earlier.requested_at,
                       earlier.succeeded_at)::baseline.refund_info;
        END IF;
        RAISE EXCEPTION 'order "%" has no such payment to refund', order_no USING ERRCODE = 'PO006';
    END IF;
    IF fitting > 1 THEN
        RAISE EXCEPTION 'order "%" has several payments', order_no USING ERRCODE = '22023';
    END IF;
    IF request_refund.currency <> paid.currency THEN
        RAISE EXCEPTION 'payment was made in %', paid.currency USING ERRCODE = 'PO005';
    END IF;
    IF beside.is_stuck THEN
        RAISE EXCEPTION 'a refund of this payment is stuck at the gateway' USING ERRCODE = 'PO006';
    END IF;
    free_owed := greatest(paid.owed - beside.held, 0);
    refundable := CASE WHEN paid.disposition = 'order' THEN free_owed + paid.kept ELSE free_owed END;
    wanted := coalesce(amount, refundable);
    IF refundable = 0 OR wanted > refundable THEN
        RAISE EXCEPTION 'refund exceeds what can be refunded' USING ERRCODE = 'PO006',
            DETAIL = format('Of this payment of order "%s" %s can be refunded.', order_no, refundable);
    END IF;
    IF beside.is_limited THEN
        PERFORM baseline.check_limits(ordered.machine_id, paid, beside.refunds, wanted, refundable, at);
    END IF;
    from_owed := least(free_owed, wanted);
    from_kept := wanted - from_owed;

    ordered.version := ordered.version + 1;
    ordered.updated_at := at;
    IF paid.disposition = 'order' THEN
        ordered.refunding_amount := ordered.refunding_amount + wanted;
    END IF;
    PERFORM set_config('baseline.depth', pg_trigger_depth()::text, true),
            set_config('baseline.order', ordered.version::text || order_no, true);
    INSERT INTO baseline.tasks AS t (kind, order_no, gateway, idempotency_key, payload, trace, created_at)
    VALUES ('refund', order_no, paid.gateway, refund_no,
            ('{"refund_no": "' || refund_no || '", "txn_id": ' || to_json(paid.txn_id)::text
             || coalesce(', "payment_no": ' || to_json(paid.payment_no)::text, '')
             || ', "amount": ' || wanted::text || ', "currency": "' || paid.currency
             || '", "payment_amount": ' || paid.amount::text
             || coalesce(', "reason": ' || to_json(reason)::text, '') || '}')::json,
            trace, at)
    RETURNING t.id INTO task;
    INSERT INTO baseline.task_ready (task_id, run_at, kind, gateway) VALUES (task, at, 'refund', paid.gateway);
    INSERT INTO baseline.refunds (refund_no, gateway, txn_id, order_no, amount, currency, cause, state,
                                  from_kept, from_owed, task_id, reason, actor, requested_at, asked_at)
    VALUES (refund_no, paid.gateway, paid.txn_id, order_no, wanted, paid.currency, 'order', 'asked',
            from_kept, from_owed, task, reason, who, at, at)
    ON CONFLICT (refund_no) DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'refund_no "%" was used for another refund', refund_no USING ERRCODE = 'PO014';
    END IF;
    UPDATE baseline.payments AS p
    SET kept = p.kept - from_kept, owed = p.owed - from_owed, "returning" = p."returning" + wanted
    WHERE p.gateway = paid.gateway AND p.txn_id = paid.txn_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a trigger kept payment "%" from being changed', paid.txn_id USING ERRCODE = '42501';
    END IF;
    UPDATE baseline.orders AS o
    SET refunding_amount = ordered.refunding_amount, version = ordered.version, updated_at = ordered.updated_at
    WHERE o.order_no = request_refund.order_no
    RETURNING o.* INTO written;
    IF written IS DISTINCT FROM ordered THEN
        RAISE EXCEPTION 'a trigger changed what was written for order "%"', order_no USING ERRCODE = '42501';
    END IF;

    month := ordered.created_at AT TIME ZONE 'UTC';
    slot := (12 * date_part('year', month) + date_part('month', month))::integer & 63;
    CASE slot{last}
    END CASE;
    last_seq := coalesce(last_seq, 0) + 1;
    payload := '{"refund_no": "' || refund_no || '", "amount": ' || wanted::text || ', "cause": "order", "moved": {'
        || CASE WHEN from_kept > 0 THEN '"kept": ' || (-from_kept)::text || ', ' ELSE '' END
        || CASE WHEN from_owed > 0 THEN '"owed": ' || (-from_owed)::text || ', ' ELSE '' END
        || '"returning": ' || wanted::text || '}}';
    state_hashed := '\x01'::bytea || int4send(octet_length(ordered.state)) || convert_to(ordered.state, 'UTF8');
    hash := sha256(
        '\x01'::bytea || coalesce(last_hash, '\x0000000000000000000000000000000000000000000000000000000000000000')
        || '\x01' || int4send(octet_length(order_no)) || convert_to(order_no, 'UTF8')
        || '\x0100000008' || int8send(last_seq)
        || '\x010000000c726566756e645f61736b6564'  -- refund_asked
        || state_hashed || state_hashed
        || '\x01' || int4send(octet_length(who)) || convert_to(who, 'UTF8')
        || '\x01000000066b65726e656c'  -- kernel
        || coalesce('\x01'::bytea || int4send(octet_length(reason)) || convert_to(reason, 'UTF8'), '\x00')
        || '\x0100000020'::bytea || sha256(convert_to(payload, 'UTF8'))
        || '\x00'  -- no request_id
        || coalesce('\x01'::bytea || int4send(octet_length(trace)) || convert_to(trace, 'UTF8'), '\x00')
        || '\x01' || int4send(octet_length(paid.gateway)) || convert_to(paid.gateway, 'UTF8')
        || '\x01' || int4send(octet_length(paid.txn_id)) || convert_to(paid.txn_id, 'UTF8')
        || '\x0100000008' || timestamptz_send(at));
    CASE slot{insert}
    END CASE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'could not serialize access to the events of order "%"', order_no
            USING ERRCODE = '40001';
    END IF;

    INSERT INTO baseline.timers (due_at, order_no, kind)
    SELECT at, request_refund.order_no, 'drain' FROM baseline.callbacks_waiting AS w
    WHERE w.refund_no = request_refund.refund_no LIMIT 1;

    -- Only what is owed changes a review's cause here.
    IF from_owed > 0 THEN
        IF free_owed > from_owed THEN
            PERFORM baseline.payment_alarm('owed', order_no, ordered.created_at, ordered.state, paid.gateway,
                                           paid.txn_id, free_owed - from_owed, paid.currency, at);
        ELSE
            FOREACH review IN ARRAY ARRAY['owed', 'refund_reversed'] LOOP
                PERFORM baseline.close_review('review:' || review || ':' || paid.gateway || ':' || paid.txn_id, at);
            END LOOP;
        END IF;
    END IF;

    RETURN ROW(refund_no, order_no, paid.gateway, paid.txn_id, wanted, paid.currency, 'order', 'asked', at,
               NULL)::baseline.refund_info;
END
$body$
$template$;
    last text := '';
    insert text := '';
BEGIN
    FOR n IN 0 .. 63 LOOP
        last := last || format('
    WHEN %s THEN
        SELECT e.seq, e.hash INTO last_seq, last_hash FROM baseline.events_%s AS e
        WHERE e.slot = %s AND e.order_no = request_refund.order_no ORDER BY e.seq DESC LIMIT 1;',
            n, lpad(n::text, 2, '0'), n);
        insert := insert || format('
    WHEN %s THEN
        INSERT INTO baseline.events_%s
            (slot, order_no, seq, gateway, txn_id, event, from_state, to_state, actor, source, reason, payload,
             trace, at, hash)
        VALUES (%s, order_no, last_seq, paid.gateway, paid.txn_id, ''refund_asked'', ordered.state, ordered.state,
                who, ''kernel'', reason, payload::json, trace, at, hash)
        ON CONFLICT (slot, order_no, seq) DO NOTHING;',
            n, lpad(n::text, 2, '0'), n);
    END LOOP;
    EXECUTE replace(replace(template, '{last}', last), '{insert}', insert);
END
$make$;

RESET search_path;
RESET ROLE;
