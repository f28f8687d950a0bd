/*
 * The yardstick of bench/ingest/run: ingest() in PL/pgSQL as an expert would
 * write it, on tables of its own with the same columns, defaults, CHECKs, indexes
 * and fillfactors (made by LIKE, so that they stay the same).
 *
 * Its guarantees are those of payorder.ingest():
 *   - a message that was seen is answered without a lock, a write or a number of
 *     a transaction; of two that come at once one waits for the other's key;
 *   - all is decided under the order's row lock, in statements begun after it was
 *     had; waits for locks are bounded by two seconds;
 *   - key, attempt, payment, order, event, timers and tasks are written in one
 *     subtransaction.  What raises in it undoes it, and the message is kept as
 *     deferred with its money in review; so it is when the order stays locked; a
 *     key that stays another's is undecided.  Failures of the server are raised;
 *   - the edge is one of the order's machine, which is rows of tables; its effects
 *     and timers follow from it;
 *   - the events of an order are numbered without a gap and chained by SHA-256 over
 *     the same bytes; a number that is taken is 40001;
 *   - nobody but the function's owner, in its own statements, changes the
 *     order's columns, payments, attempts, callbacks and events: triggers refuse
 *     the rest, and a user's BEFORE trigger that changes what was written is noticed;
 *   - definer, with search_path pinned.
 * Left out are the lines of the decision list that the calls measured don't take:
 * they are told apart, under the same conditions, and raise 0A000.  Left out, to
 * the yardstick's advantage, are also min_sync, copies of a database and epochs of
 * the log, which SQL cannot ask about cheaply.
 *
 * What a call writes that pays an order, as ours does:
 *   callbacks      1 row   the message, its hash and its verdict
 *   attempts       1 update (HOT): paid
 *   payments       1 row   kept
 *   orders         1 row locked, 1 update (HOT): state, paid_amount, version, updated_at
 *   events_NN      1 row   pay, with its hash
 *   timers         1 row   cooled
 *   tasks, task_ready 1 row each, which the machine of the bench asks for
 * run compares the rows of both, and counts their WAL records.
 *
 * What makes it fast: two reads and seven writes in all, each with a cached
 * generic plan; what is known before the lock is one statement, what is beside the
 * order another; the key's row is written once, with its verdict, since two
 * deliveries of one message meet at the key as well after the order's lock; the
 * event's number and hash are worked out by the statement that appends it; the
 * log's partitions are named (a cached plan for the parent would lock all 64 of them
 * at each run); one trigger for all columns, with a short WHEN; settings are set by an assignment,
 * which needs no executor; what is rare is in functions of its own; no dynamic SQL.
 * Tried, by instructions counted with callgrind (INSTRUCTIONS=1): a WHEN with all
 * columns and no look at them in the trigger (+ 7 %); timers and tasks as one
 * data-modifying CTE (- 0.5 %, lost again where a machine enqueues nothing); event,
 * timers and tasks as one (no difference).
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
CREATE SEQUENCE baseline.arrival_numbers;

CREATE TABLE baseline.gateways (LIKE payorder.gateways INCLUDING ALL);
CREATE TABLE baseline.currencies (LIKE payorder.currencies INCLUDING ALL);
CREATE TABLE baseline.states (LIKE payorder.states INCLUDING ALL);
CREATE TABLE baseline.transitions (LIKE payorder.transitions INCLUDING ALL);
CREATE TABLE baseline.state_timers (LIKE payorder.state_timers INCLUDING ALL);
CREATE TABLE baseline.orders (LIKE payorder.orders INCLUDING ALL);
CREATE TABLE baseline.attempts (LIKE payorder.attempts INCLUDING ALL);
CREATE TABLE baseline.payments (LIKE payorder.payments INCLUDING ALL);
CREATE TABLE baseline.callbacks (LIKE payorder.callbacks INCLUDING ALL);
CREATE TABLE baseline.callbacks_waiting (LIKE payorder.callbacks_waiting INCLUDING ALL);
CREATE TABLE baseline.timers (LIKE payorder.timers INCLUDING ALL);
CREATE TABLE baseline.tasks (LIKE payorder.tasks INCLUDING ALL);
CREATE TABLE baseline.task_ready (LIKE payorder.task_ready INCLUDING ALL);
CREATE TABLE baseline.task_keys (LIKE payorder.task_keys INCLUDING ALL);
CREATE TABLE baseline.events (LIKE payorder.events INCLUDING ALL) PARTITION BY LIST (slot);

ALTER TABLE baseline.tasks ALTER id SET DEFAULT nextval('baseline.task_ids');
ALTER TABLE baseline.timers ALTER id SET DEFAULT nextval('baseline.timer_ids');
ALTER TABLE baseline.events ALTER id SET DEFAULT nextval('baseline.event_ids');
ALTER TABLE baseline.callbacks_waiting ALTER arrival SET DEFAULT nextval('baseline.arrival_numbers');

CREATE TYPE baseline.ingest_result AS (
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

/* ---- guards ---- */

/*
 * A write of the kernel's is known by its role, and by how deep in triggers it was
 * announced to begin.  A statement that a user's trigger runs inside of it is a
 * level deeper.
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

CREATE FUNCTION baseline.order_changed() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF current_user OPERATOR(pg_catalog.=) 'baseline_kernel'::pg_catalog.name
       AND pg_catalog.current_setting('baseline.depth', true)
           OPERATOR(pg_catalog.=) (pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.-) 1)::pg_catalog.text
       AND NEW.version OPERATOR(pg_catalog.=) (OLD.version OPERATOR(pg_catalog.+) 1) THEN
        RETURN NULL;
    END IF;
    IF (OLD.order_no, OLD.machine_id, OLD.amount, OLD.currency, OLD.paid_amount, OLD.refunding_amount,
        OLD.refunded_amount, OLD.disputed_amount, OLD.overdrawn_amount, OLD.frozen, OLD.version, OLD.pay_by,
        OLD.cooling_off, OLD.created_at, OLD.updated_at, OLD.closed_at)
       IS DISTINCT FROM
       (NEW.order_no, NEW.machine_id, NEW.amount, NEW.currency, NEW.paid_amount, NEW.refunding_amount,
        NEW.refunded_amount, NEW.disputed_amount, NEW.overdrawn_amount, NEW.frozen, NEW.version, NEW.pay_by,
        NEW.cooling_off, NEW.created_at, NEW.updated_at, NEW.closed_at) THEN
        RAISE EXCEPTION 'only state and attributes of order "%" can be updated', OLD.order_no
            USING ERRCODE = '42501';
    END IF;
    IF OLD.state OPERATOR(pg_catalog.=) NEW.state THEN
        RETURN NULL;
    END IF;
    PERFORM FROM baseline.transitions AS t
    WHERE t.machine_id OPERATOR(pg_catalog.=) OLD.machine_id AND t.from_state OPERATOR(pg_catalog.=) OLD.state
      AND t.to_state OPERATOR(pg_catalog.=) NEW.state;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'order "%" cannot go from "%" to "%"', OLD.order_no, OLD.state, NEW.state
            USING ERRCODE = 'PO001';
    END IF;
    RAISE EXCEPTION 'the baseline takes no edge by hand' USING ERRCODE = '0A000';
END
$$;

-- One trigger for all, which asks for the columns itself: each statement parses its
-- WHEN, and is nearly always the kernel's.
CREATE TRIGGER orders_changed AFTER UPDATE ON baseline.orders FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*)
    EXECUTE FUNCTION baseline.order_changed();
CREATE TRIGGER orders_kept BEFORE DELETE OR TRUNCATE ON baseline.orders
    FOR EACH STATEMENT EXECUTE FUNCTION baseline.refuse_change();
CREATE TRIGGER payments_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON baseline.payments
    FOR EACH STATEMENT EXECUTE FUNCTION baseline.refuse_change();
CREATE TRIGGER attempts_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON baseline.attempts
    FOR EACH STATEMENT EXECUTE FUNCTION baseline.refuse_change();
CREATE TRIGGER callbacks_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON baseline.callbacks
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

/* ---- what is rare ---- */

-- The state of an order and whether it is paid, for the answer to a duplicate.
CREATE FUNCTION baseline.duplicate(seen baseline.callbacks)
    RETURNS baseline.ingest_result
    LANGUAGE plpgsql STABLE
AS $$
DECLARE
    result baseline.ingest_result;
BEGIN
    SELECT 'duplicate', seen.verdict, seen.order_no, o.state,
           CASE WHEN o.amount > 0 THEN o.paid_amount >= o.amount
                ELSE EXISTS (SELECT FROM baseline.payments AS p
                             WHERE p.order_no = o.order_no AND p.disposition = 'order') END,
           seen.detail, 200, 'text/plain', 'success'
    INTO result
    FROM (VALUES (1)) AS v LEFT JOIN baseline.orders AS o ON o.order_no = seen.order_no;
    RETURN result;
END
$$;

-- Has workers close what else is open of an order that is paid.
CREATE FUNCTION baseline.close_attempts(order_no text, trace text, at timestamptz)
    RETURNS void
    LANGUAGE sql
BEGIN ATOMIC
    WITH open AS (
        SELECT a.*, 'close_payment:' || a.payment_no AS key FROM baseline.attempts AS a
        WHERE a.order_no = close_attempts.order_no AND a.state = 'open'),
    keyed AS (
        INSERT INTO baseline.task_keys (dedup_key, task_id) SELECT o.key, nextval('baseline.task_ids') FROM open AS o
        ON CONFLICT (dedup_key) DO NOTHING RETURNING dedup_key, task_id),
    body AS (
        INSERT INTO baseline.tasks (id, kind, order_no, gateway, idempotency_key, dedup_key, payload, trace, created_at)
        SELECT k.task_id, 'close_payment', o.order_no, o.gateway, o.payment_no, o.key,
               ('{"order_no": ' || to_json(o.order_no)::text || ', "payment_no": "' || o.payment_no || '", "amount": '
                || o.amount::text || ', "currency": "' || o.currency || '"}')::json, close_attempts.trace, at
        FROM keyed AS k JOIN open AS o ON o.key = k.dedup_key
        RETURNING id, kind, gateway)
    INSERT INTO baseline.task_ready (task_id, run_at, kind, gateway)
    SELECT b.id, at, b.kind, b.gateway FROM body AS b;
END;

-- Keeps a message whose effects raised, or whose order stays locked.
CREATE FUNCTION baseline.keep_deferred(
    gateway text, txn_id text, event text, reference text, address text, amount bigint, currency text,
    occurred_at timestamptz, payload json, source text, trace text, detail text, error text, at timestamptz)
    RETURNS boolean
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    month CONSTANT timestamp := at AT TIME ZONE 'UTC';
BEGIN
    INSERT INTO baseline.callbacks (gateway, txn_id, event, reference, order_no, amount, currency, occurred_at, source,
                                    first_verdict, verdict, detail, error, body, body_sha256, received_at, decided_at)
    VALUES (gateway, txn_id, event, reference, address, amount, currency, occurred_at, source,
            'deferred', 'deferred', detail, error, payload, sha256(convert_to(payload::text, 'UTF8')), at, at)
    ON CONFLICT (gateway, txn_id, event) DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO baseline.payments (gateway, txn_id, event, order_no, payment_no, disposition, amount, currency, review,
                                   occurred_at, received_at)
    SELECT keep_deferred.gateway, keep_deferred.txn_id, keep_deferred.event, address,
           (SELECT a.payment_no FROM baseline.attempts AS a WHERE a.payment_no = reference),
           'review', keep_deferred.amount, keep_deferred.currency, keep_deferred.amount, keep_deferred.occurred_at, at;
    INSERT INTO baseline.callbacks_waiting (gateway, txn_id, event, verdict, reason, reference, order_no, drain_rank,
                                            occurred_at, arrived_at, next_at)
    VALUES (gateway, txn_id, event, 'deferred', detail, reference, address, 1, occurred_at, at, at);
    INSERT INTO baseline.events (slot, gateway, txn_id, event, actor, source, reason, payload, trace, at)
    VALUES ((12 * date_part('year', month) + date_part('month', month))::integer & 63, gateway, txn_id,
            'callback', 'gateway:' || gateway, source, 'deferred(' || detail || ')',
            ('{"event": ' || to_json(event)::text || ', "txn_id": ' || to_json(txn_id)::text
             || ', "verdict": "deferred", "detail": "' || detail || '", "amount": ' || amount::text
             || ', "currency": ' || to_json(currency)::text || ', "moved": {"review": ' || amount::text || '}}')::json,
            trace, at);
    RETURN true;
END
$$;

/* ---- the function itself ---- */

-- How a text is hashed: NULL distinct, else its length and its bytes in UTF-8.
CREATE FUNCTION baseline.hashed(field text) RETURNS bytea
    LANGUAGE sql IMMUTABLE
RETURN coalesce('\x01'::bytea || int4send(octet_length(convert_to(field, 'UTF8'))) || convert_to(field, 'UTF8'), '\x00');

/*
 * It is made with a branch for each of the log's 64 partitions, so that each has
 * its own cached plan; this month's comes first.
 */
DO $make$
DECLARE
    template CONSTANT text := $template$
CREATE FUNCTION baseline.ingest(
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
    RETURNS baseline.ingest_result
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $body$
#variable_conflict use_column
DECLARE
    at CONSTANT timestamptz := clock_timestamp();
    trace CONSTANT text := left(nullif(current_setting('baseline.trace', true), ''), 256);
    known record;               -- what is known before anything is locked
    seen baseline.callbacks;
    ordered baseline.orders;    -- the order, as it is and as it shall be
    written baseline.orders;
    beside record;              -- what is beside the order that is locked
    from_state text;
    month timestamp;
    seq integer;
    moved text;
    before_seq bytea;           -- what is hashed before and after the number
    after_seq bytea;
    at_key boolean;
    problem text;               -- why it is deferred
    message text;
BEGIN
    IF (gateway <> 'none' AND txn_id <> '' AND event IN ('pay', 'pay_part') AND source IN ('callback', 'query')
        AND payment_txn IS NULL AND refund_no IS NULL) IS NOT TRUE THEN
        IF gateway IS NULL OR txn_id IS NULL OR event IS NULL THEN
            RAISE EXCEPTION 'gateway, txn_id and event must not be null' USING ERRCODE = '22004';
        ELSIF source IN ('bill', 'operator') OR gateway = 'none' THEN
            RAISE EXCEPTION 'source or gateway is reserved' USING ERRCODE = '42501';
        ELSIF source NOT IN ('callback', 'query') THEN
            RAISE EXCEPTION 'unknown source' USING ERRCODE = '22023';
        END IF;
        RAISE EXCEPTION 'the baseline takes payments only' USING ERRCODE = '0A000';
    END IF;
    LOOP
        SELECT g.paused, g.require_attempt, g.pay_id_pattern IS NULL OR ingest.txn_id ~ g.pay_id_pattern AS id_fits,
               EXISTS (SELECT FROM baseline.currencies AS c WHERE c.currency = ingest.currency) AS currency_known,
               coalesce((SELECT a.order_no FROM baseline.attempts AS a WHERE a.payment_no = ingest.order_no),
                        (SELECT o.order_no FROM baseline.orders AS o WHERE o.order_no = ingest.order_no)) AS address,
               k.verdict
        INTO known
        FROM baseline.gateways AS g
        LEFT JOIN baseline.callbacks AS k
            ON k.gateway = g.gateway AND k.txn_id = ingest.txn_id AND k.event = ingest.event
        WHERE g.gateway = ingest.gateway;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no gateway "%"', gateway USING ERRCODE = 'PO010';
        END IF;
        IF known.verdict IS NOT NULL THEN
            SELECT k.* INTO seen FROM baseline.callbacks AS k
            WHERE k.gateway = ingest.gateway AND k.txn_id = ingest.txn_id AND k.event = ingest.event;
            IF (seen.reference, seen.amount, seen.currency) IS DISTINCT FROM (order_no, amount, currency)
                OR seen.verdict IN ('parked', 'deferred') THEN
                RAISE EXCEPTION 'the baseline keeps no conflicts, and drains nothing' USING ERRCODE = '0A000';
            END IF;
            RETURN baseline.duplicate(seen);
        END IF;
        IF (amount > 0 AND known.id_fits AND known.currency_known AND length(txn_id) <= 128
            AND txn_id !~ '[[:cntrl:]]' AND known.address IS NOT NULL) IS NOT TRUE
            OR known.paused THEN
            RAISE EXCEPTION 'the baseline knows no invalid, parked or paused messages' USING ERRCODE = '0A000';
        END IF;

        BEGIN
            at_key := false;
            SELECT o.* INTO ordered FROM baseline.orders AS o WHERE o.order_no = known.address FOR NO KEY UPDATE;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'no order "%"', known.address USING ERRCODE = 'PO002';
            END IF;
            SELECT a.order_no, a.gateway, a.amount, a.state, t.to_state, t.enqueue || s.enqueue AS enqueue,
                   EXISTS (SELECT FROM baseline.attempts AS n
                           WHERE n.order_no = ordered.order_no AND n.state = 'open'
                             AND n.payment_no IS DISTINCT FROM a.payment_no) AS others_are_open,
                   EXISTS (SELECT FROM baseline.callbacks_waiting AS w WHERE w.order_no = ordered.order_no)
                   OR EXISTS (SELECT FROM baseline.callbacks_waiting AS w
                              WHERE w.gateway = ingest.gateway
                                AND (w.payment_txn = ingest.txn_id OR w.txn_id = ingest.txn_id))
                   OR t.guard IS NOT NULL OR t.alarm <> '{}' OR s.alarm <> '{}'
                   OR EXISTS (SELECT FROM baseline.state_timers AS l
                              WHERE l.machine_id = t.machine_id AND l.state = t.from_state AND l.action = 'alarm')
                   OR s.final OR a.payment_no IS NULL AND known.require_attempt
                   OR t.enqueue || s.enqueue && '{query_payment,close_payment,query_refund,refund_all}' AS is_special
            INTO beside
            FROM baseline.transitions AS t
            JOIN baseline.states AS s ON s.machine_id = t.machine_id AND s.state = t.to_state
            LEFT JOIN baseline.attempts AS a ON a.payment_no = ingest.order_no
            WHERE t.machine_id = ordered.machine_id AND t.from_state = ordered.state AND t.event = 'pay'
            ORDER BY t.candidate LIMIT 1;
            IF (NOT ordered.frozen AND NOT beside.is_special AND ordered.paid_amount < ordered.amount
                AND amount = ordered.amount - ordered.paid_amount AND currency = ordered.currency
                AND coalesce(beside.order_no = ordered.order_no AND beside.gateway = gateway AND beside.amount = amount,
                             true)) IS NOT TRUE THEN
                RAISE EXCEPTION 'the baseline decides nothing but pay' USING ERRCODE = '0A000';
            END IF;

            from_state := ordered.state;
            ordered.state := beside.to_state;
            ordered.paid_amount := ordered.amount;
            ordered.version := ordered.version + 1;
            ordered.updated_at := at;
            moved := set_config('baseline.depth', pg_trigger_depth()::text, true);
            at_key := true;
            INSERT INTO baseline.callbacks (gateway, txn_id, event, reference, order_no, amount, currency, occurred_at,
                                            source, first_verdict, verdict, body, body_sha256, received_at, decided_at)
            VALUES (gateway, txn_id, event, order_no, ordered.order_no, amount, currency, occurred_at,
                    source, 'applied', 'applied', payload, sha256(convert_to(payload::text, 'UTF8')), at, at)
            ON CONFLICT (gateway, txn_id, event) DO NOTHING;
            IF NOT FOUND THEN
                CONTINUE;   -- somebody else was faster: look again
            END IF;
            at_key := false;
            UPDATE baseline.attempts AS a
            SET state = 'paid', applied_at = at,
                answered_at = CASE WHEN source = 'query' THEN coalesce(a.answered_at, at) ELSE a.answered_at END,
                notified_at = CASE WHEN source = 'query' THEN a.notified_at ELSE coalesce(a.notified_at, at) END
            WHERE a.payment_no = ingest.order_no AND a.state <> 'paid';
            INSERT INTO baseline.payments (gateway, txn_id, event, order_no, payment_no, disposition, amount, currency,
                                           kept, occurred_at, received_at)
            VALUES (gateway, txn_id, event, ordered.order_no, CASE WHEN beside.state IS NOT NULL THEN order_no END,
                    'order', amount, currency, amount, occurred_at, at)
            ON CONFLICT (gateway, txn_id) DO NOTHING;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'payment came under another name' USING ERRCODE = '55P03';
            END IF;
            UPDATE baseline.orders AS o
            SET state = ordered.state, paid_amount = ordered.paid_amount, version = ordered.version,
                updated_at = ordered.updated_at
            WHERE o.order_no = ordered.order_no
            RETURNING o.* INTO written;
            IF written IS DISTINCT FROM ordered THEN
                ordered.attributes := written.attributes;
                IF written IS DISTINCT FROM ordered THEN
                    RAISE EXCEPTION 'a trigger changed what was written for order "%"', ordered.order_no
                        USING ERRCODE = '42501';
                END IF;
            END IF;

            moved := '{"event": "' || event || '", "txn_id": ' || to_json(txn_id)::text
                || ', "verdict": "applied", "amount": ' || amount::text || ', "currency": "' || currency
                || '", "moved": {"kept": ' || amount::text || '}}';
            before_seq := '\x01'::bytea || int4send(octet_length(ordered.order_no))
                || convert_to(ordered.order_no, 'UTF8') || '\x0100000008';
            after_seq := '\x0100000003706179'::bytea  -- pay
                || '\x01' || int4send(octet_length(from_state)) || convert_to(from_state, 'UTF8')
                || '\x01' || int4send(octet_length(ordered.state)) || convert_to(ordered.state, 'UTF8')
                || '\x01' || int4send(8 + octet_length(gateway)) || convert_to('gateway:' || gateway, 'UTF8')
                || '\x01' || int4send(octet_length(source)) || convert_to(source, 'UTF8')
                || '\x01000000076170706c696564'  -- applied
                || '\x0100000020'::bytea || sha256(convert_to(moved, 'UTF8'))
                || '\x00'  -- no request_id
                || coalesce('\x01'::bytea || int4send(octet_length(trace)) || convert_to(trace, 'UTF8'), '\x00')
                || '\x01' || int4send(octet_length(gateway)) || convert_to(gateway, 'UTF8')
                || '\x01' || int4send(octet_length(txn_id)) || convert_to(txn_id, 'UTF8')
                || '\x0100000008' || timestamptz_send(at);
            month := ordered.created_at AT TIME ZONE 'UTC';
            CASE (12 * date_part('year', month) + date_part('month', month))::integer & 63{append}
            END CASE;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'could not serialize access to the events of order "%"', ordered.order_no
                    USING ERRCODE = '40001';
            END IF;
            INSERT INTO baseline.timers (due_at, order_no, kind, state, number, entered_seq)
            SELECT CASE s.parameter
                       WHEN 'cooling_off' THEN at + coalesce(ordered.cooling_off, s.after)
                       WHEN 'pay_within' THEN coalesce(at + (ordered.pay_by - ordered.created_at), at + s.after)
                       ELSE at + s.after END,
                   ordered.order_no, 'state', s.state, s.number, seq
            FROM baseline.state_timers AS s
            WHERE s.machine_id = ordered.machine_id AND s.state = ordered.state;
            IF beside.enqueue <> '{}' THEN
                WITH body AS (
                    INSERT INTO baseline.tasks (kind, order_no, payload, trace, created_at)
                    SELECT n.kind, ordered.order_no,
                           ('{"order_no": ' || to_json(ordered.order_no)::text || ', "state": "' || ordered.state
                            || '"}')::json, trace, at
                    FROM unnest(beside.enqueue) AS n (kind)
                    RETURNING id, kind)
                INSERT INTO baseline.task_ready (task_id, run_at, kind) SELECT b.id, at, b.kind FROM body AS b;
            END IF;
            IF beside.others_are_open THEN
                PERFORM baseline.close_attempts(ordered.order_no, trace, at);
            END IF;
            RETURN ROW('applied', NULL, ordered.order_no, ordered.state, true, NULL, 200, 'text/plain',
                       'success')::baseline.ingest_result;
        EXCEPTION WHEN OTHERS THEN
            -- failures of the server are raised, never acknowledged
            IF SQLSTATE ~ '^(40|53|57|58|XX|0A)' THEN
                RAISE;
            END IF;
            IF at_key AND SQLSTATE = '55P03' THEN
                RETURN ROW('deferred', NULL, NULL, NULL, false, 'undecided', NULL, NULL, NULL)::baseline.ingest_result;
            END IF;
            problem := CASE SQLSTATE WHEN '55P03' THEN 'locked' ELSE 'error' END;
            message := SQLERRM;
        END;

        BEGIN
            IF baseline.keep_deferred(gateway, txn_id, event, order_no, known.address, amount, currency, occurred_at,
                                      payload, source, trace, problem, message, at) THEN
                SELECT o.* INTO ordered FROM baseline.orders AS o WHERE o.order_no = known.address;
                RETURN ROW('deferred', NULL, known.address, ordered.state, ordered.paid_amount >= ordered.amount,
                           problem, 200, 'text/plain', 'success')::baseline.ingest_result;
            END IF;
        EXCEPTION WHEN lock_not_available THEN
            RETURN ROW('deferred', NULL, NULL, NULL, false, 'undecided', NULL, NULL, NULL)::baseline.ingest_result;
        END;
    END LOOP;
END
$body$
$template$;
    month CONSTANT timestamp := now() AT TIME ZONE 'UTC';
    n integer := (12 * date_part('year', month) + date_part('month', month))::integer & 63;
    append text := '';
BEGIN
    FOR age IN 0 .. 63 LOOP
        append := append || format('
            WHEN %s THEN
                INSERT INTO baseline.events_%s
                    (slot, order_no, seq, gateway, txn_id, event, from_state, to_state, actor, source, reason,
                     payload, trace, at, hash)
                SELECT %s, ordered.order_no, l.seq + 1, ingest.gateway, ingest.txn_id, ''pay'', from_state,
                       ordered.state, ''gateway:'' || ingest.gateway, ingest.source, ''applied'', moved::json, trace, at,
                       sha256(''\x01''::bytea || l.hash || before_seq || int8send(l.seq + 1) || after_seq)
                FROM (SELECT e.seq, e.hash FROM baseline.events_%s AS e
                      WHERE e.slot = %s AND e.order_no = ordered.order_no ORDER BY e.seq DESC LIMIT 1) AS l
                ON CONFLICT (slot, order_no, seq) DO NOTHING RETURNING seq INTO seq;',
            n, lpad(n::text, 2, '0'), n, lpad(n::text, 2, '0'), n);
        n := (n + 63) & 63;
    END LOOP;
    EXECUTE replace(template, '{append}', append);
END
$make$;

RESET search_path;
RESET ROLE;
