/*
 * What the isolation specs begin with and end in.  test/run loads it into
 * their database, beside payorder.
 *
 *	given.nothing()		forgets what the permutation before has left
 *	given.open_order()	an order that waits for its payment
 *	given.paid_order()	one that is paid by the transaction PAID-<order>
 *	given.closed_order()	one that was cancelled before it was paid
 *	given.two_payments()	one that two parts have paid, PART-1 of 60 and PART-2 of 40
 *	given.attempt()		an order with an open attempt
 *	given.machine()		a machine of two states
 *	given.parts()		a machine that takes parts
 *	given.timers()		a machine with two timers of one instant
 *	given.copied()		the database is another one's copy
 *	given.due()		tasks of these kinds are due now
 *	given.refunded()	the answer of a worker whose refund went through
 *	given.until_they_meet()	waits until another session waits by polling
 *	given.serialized()	makes one message of all 40001s
 *	given.settle_made()	settles a refund whose number the kernel has made
 *	given.outcome		all that is to be known at the end, one row each; what
 *				breaks an invariant is BROKEN, and must never be there
 *	given.money		those of its rows that are about money
 *
 * Nothing in the outcome is random or depends on the clock: numbers that the
 * kernel makes are left out, and an instant is "soon" (due within a minute of
 * looking), "later" or "never".
 */
CREATE SCHEMA given;

/*
 * Serializable transactions lock what they have read, a table if it was
 * scanned: the plans must not depend on what autovacuum has counted.
 */
DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database());
    EXECUTE format('ALTER DATABASE %I SET payorder.lock_wait = ''30s''', current_database());
END
$$;

CREATE PROCEDURE given.nothing() LANGUAGE plpgsql
    SET session_replication_role = replica
AS $$
DECLARE
    sequence regclass;
    used text;
BEGIN
    SELECT string_agg(c.oid::regclass::text, ', ') INTO used
    FROM pg_class AS c
    WHERE c.relkind = 'r' AND c.relnamespace = 'payorder'::regnamespace
      AND (c.relispartition    -- of events
           OR c.relname IN ('orders', 'attempts', 'payments', 'callbacks', 'callback_conflicts',
                            'callbacks_waiting', 'refunds', 'refund_limits', 'refund_hours',
                            'first_decisions', 'automatic_returns', 'installation', 'timers',
                            'tasks', 'task_ready', 'task_leases', 'task_dead', 'task_finished', 'guard_events',
                            'task_keys', 'task_slots', 'consumer_cursors', 'purged_orders', 'events_freed', 'purge_archive'))
      AND pg_relation_size(c.oid) > 0;
    IF used IS NOT NULL THEN
        EXECUTE 'TRUNCATE ' || used;
    END IF;
    DELETE FROM payorder.machines WHERE id >= 100;
    DELETE FROM payorder.states WHERE machine_id >= 100;
    DELETE FROM payorder.transitions WHERE machine_id >= 100;
    DELETE FROM payorder.state_timers WHERE machine_id >= 100;
    DELETE FROM payorder.task_kinds WHERE id >= 100;
    DELETE FROM payorder.gateways WHERE NOT builtin;
    FOR sequence IN
        SELECT oid FROM pg_class
        WHERE relkind = 'S' AND relnamespace = 'payorder'::regnamespace
          AND relname <> 'machine_ids'    -- sessions may know the last ones still
    LOOP
        PERFORM setval(sequence, (SELECT seqstart FROM pg_sequence WHERE seqrelid = sequence), false);
    END LOOP;
    PERFORM payorder.add_gateway('alpha', 'generic', 'a'),
            payorder.add_gateway('beta', 'generic', 'b');
END
$$;

CREATE PROCEDURE given.open_order(order_no text, machine text DEFAULT 'order') LANGUAGE plpgsql AS $$
BEGIN
    PERFORM payorder.create_order(order_no, 100, 'CNY', machine => machine);
END
$$;

CREATE PROCEDURE given.paid_order(order_no text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM payorder.create_order(order_no, 100, 'CNY');
    PERFORM payorder.ingest('alpha', 'PAID-' || order_no, 'pay', order_no, 100, 'CNY');
END
$$;

CREATE PROCEDURE given.attempt(order_no text, gateway text DEFAULT 'alpha') LANGUAGE plpgsql AS $$
BEGIN
    PERFORM payorder.create_order(order_no, 100, 'CNY');
    PERFORM payorder.begin_payment(order_no, gateway);
END
$$;

CREATE PROCEDURE given.closed_order(order_no text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM payorder.create_order(order_no, 100, 'CNY');
    PERFORM payorder.fire(order_no, 'cancel', 'buyer');
END
$$;

CREATE PROCEDURE given.completed_order(order_no text) LANGUAGE plpgsql AS $$
BEGIN
    CALL given.paid_order(order_no);
    PERFORM payorder.sweep(at => now() + interval '10 minutes');
    PERFORM payorder.fire(order_no, 'ship'), payorder.fire(order_no, 'complete');
END
$$;

/* Four months pass and purge() is called: what it did. */
CREATE FUNCTION given.purge() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    c payorder.purge_counts;
    orders integer := 0;
    month text := '';
BEGIN
    LOOP
        c := payorder.purge_some('60 days', c.position, at => now() + interval '120 days');
        orders := orders + c.orders;
        month := month || coalesce(', held by ' || c.held_by, '')
            || CASE WHEN c.freed IS NULL THEN '' ELSE ', a month freed, carried ' || c.carried END;
        EXIT WHEN c.position IS NULL;
    END LOOP;
    RETURN orders || ' orders' || month;
END
$$;

/* The number of an order's only attempt at a gateway. */
-- 'T1 A': a payment T1 of 100 for order A, as a message of a batch
CREATE FUNCTION given.messages(VARIADIC payments text[]) RETURNS json LANGUAGE sql IMMUTABLE
AS $$
    SELECT json_agg(json_build_object('gateway', 'alpha', 'event', 'pay', 'amount', 100, 'currency', 'CNY',
                                      'txn_id', split_part(p, ' ', 1), 'order_no', split_part(p, ' ', 2)) ORDER BY n)
    FROM unnest(payments) WITH ORDINALITY AS u(p, n)
$$;
CREATE FUNCTION given.payment_no(order_no text, gateway text DEFAULT 'alpha') RETURNS text
    LANGUAGE sql STABLE
    RETURN (SELECT a.payment_no FROM payorder.attempts AS a
            WHERE a.order_no = payment_no.order_no AND a.gateway = payment_no.gateway);

/* JSON, which a spec can't hold: its braces end a step. */
CREATE FUNCTION given.machine(paid_state text, patience text) RETURNS json LANGUAGE sql IMMUTABLE
    RETURN json_build_object('initial', 'new', 'states', json_build_object(
        'new', json_build_object(
            'on', json_build_object('pay', json_build_object('target', paid_state)),
            'after', json_build_object(patience, json_build_object('alarm', 'unpaid'))),
        paid_state, json_build_object('type', 'final')));

/* A state with two timers of one instant: an alarm, and an event. */
CREATE FUNCTION given.timers() RETURNS json LANGUAGE sql IMMUTABLE
    RETURN json_build_object('initial', 'new', 'states', json_build_object(
        'new', json_build_object(
            'on', json_build_object('pay', json_build_object('target', 'paid'),
                                    'go', json_build_object('target', 'gone'),
                                    'expire', json_build_object('target', 'late')),
            'after', json_build_object('1h', json_build_object('alarm', 'slow'),
                                       '60m', json_build_object('fire', 'expire'))),
        'paid', json_build_object('type', 'final'),
        'gone', json_build_object('type', 'final'),
        'late', json_build_object('type', 'final')));

CREATE FUNCTION given.parts() RETURNS json LANGUAGE sql IMMUTABLE
    RETURN json_build_object('initial', 'new', 'parameters', json_build_object('cooling_off', '5m'),
        'states', json_build_object(
        'new', json_build_object(
            'on', json_build_object('pay', json_build_object('target', 'paid'),
                                    'pay_part', json_build_object('target', 'new'),
                                    'cancel', json_build_object('target', 'dropped')),
            'after', json_build_object('1h', json_build_object('alarm', 'unpaid'))),
        'paid', json_build_object(
            'on', json_build_object('refund_all', json_build_object('target', 'refunding'),
                                    'cooled', json_build_object('target', 'done', 'by', 'timer')),
            'after', json_build_object('{cooling_off}', json_build_object('fire', 'cooled'))),
        'refunding', json_build_object(
            'entry', json_build_object('enqueue', 'refund_all'),
            'on', json_build_object('refunded', json_build_object('target', 'returned')),
            'after', json_build_object('1d', json_build_object('alarm', 'slow'))),
        'done', json_build_object('type', 'final'),
        'dropped', json_build_object('type', 'final',
            'entry', json_build_object('enqueue', 'refund_all')),
        'returned', json_build_object('type', 'final')));

CREATE PROCEDURE given.two_payments(order_no text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM payorder.define_machine('parts', given.parts());
    PERFORM payorder.create_order(order_no, 100, 'CNY', machine => 'parts');
    PERFORM payorder.ingest('alpha', 'PART-1', 'pay_part', order_no, 60, 'CNY');
    COMMIT;    -- the newest is another instant's
    PERFORM payorder.ingest('alpha', 'PART-2', 'pay_part', order_no, 40, 'CNY');
END
$$;

/* What a restore into another database leaves. */
CREATE PROCEDURE given.copied() LANGUAGE sql SET session_replication_role = replica
BEGIN ATOMIC
    UPDATE payorder.installation SET database_oid = 1;
END;

/* Time passes: tasks of these kinds are due. */
CREATE PROCEDURE given.due(kinds text[]) LANGUAGE sql SET session_replication_role = replica
BEGIN ATOMIC
    UPDATE payorder.task_ready SET run_at = now() WHERE kind = ANY (kinds);
END;

CREATE FUNCTION given.refunded(gateway_refund_id text, amount bigint) RETURNS json LANGUAGE sql IMMUTABLE
    RETURN json_build_object('messages', json_build_array(json_build_object(
        'txn_id', gateway_refund_id, 'event', 'refund', 'amount', amount, 'currency', 'CNY')));

/*
 * Returns when another session, in the step that it is in, has come to where an
 * order and its callbacks look for each other; such a wait is no lock wait.
 */
CREATE PROCEDURE given.until_they_meet() LANGUAGE plpgsql AS $$
BEGIN
    WHILE NOT EXISTS (
        SELECT FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
        WHERE l.relation = 'payorder.callbacks_waiting_reference'::regclass
          AND a.state = 'active' AND a.backend_type = 'client backend'
          AND a.pid <> pg_backend_pid())
    LOOP
        PERFORM pg_stat_clear_snapshot(), pg_sleep(0.005);
    END LOOP;
END
$$;

/*
 * Runs a query of one value; for where one of several 40001s may come first.
 */
CREATE FUNCTION given.serialized(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE query INTO result;
    RETURN result;
EXCEPTION WHEN serialization_failure THEN
    RAISE EXCEPTION 'could not serialize' USING ERRCODE = '40001';
END
$$;

/*
 * A person settles the refund that the kernel has made; its number, which is
 * another each time, is not in the message.
 */
CREATE FUNCTION given.settle_made(decision text, actor text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (payorder.settle_refund((SELECT refund_no FROM payorder.refunds WHERE cause = 'review'),
                                   decision, actor, 'test')).state;
EXCEPTION WHEN SQLSTATE 'PO006' THEN
    RAISE EXCEPTION 'refused' USING ERRCODE = 'PO006';
END
$$;

CREATE FUNCTION given.roughly(instant timestamptz) RETURNS text LANGUAGE sql STABLE
    RETURN CASE WHEN instant = 'infinity' THEN 'never'
                WHEN instant <= now() + interval '1 minute' THEN 'soon'
                ELSE 'later' END;

/* A number, unless it is one that the kernel made. */
CREATE FUNCTION given.unless_made(number text, instead text) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN number ~ '^R[0-9a-f]{31}$' THEN instead ELSE number END;

CREATE FUNCTION given.places(OUT task_id bigint, OUT place text) RETURNS SETOF record
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT task_id, 'ready ' || given.roughly(run_at)
                    || CASE attempts WHEN 0 THEN '' ELSE ', tried ' || attempts END
    FROM payorder.task_ready
    UNION ALL SELECT task_id, 'leased by ' || worker FROM payorder.task_leases
    UNION ALL SELECT task_id, 'dead' FROM payorder.task_dead
    UNION ALL SELECT task_id, outcome FROM payorder.task_finished;
END;

CREATE VIEW given.outcome AS
SELECT what, subject, content
FROM (
    SELECT 1 AS part, o.order_no AS key, 0 AS number, 'order' AS what, o.order_no AS subject,
           concat_ws(' ', o.state, 'of ' || nullif(o.amount, 100), 'paid ' || nullif(o.paid_amount, 0),
                     'refunding ' || nullif(o.refunding_amount, 0),
                     'refunded ' || nullif(o.refunded_amount, 0),
                     'disputed ' || nullif(o.disputed_amount, 0),
                     'overdrawn ' || nullif(o.overdrawn_amount, 0),
                     CASE WHEN o.frozen THEN 'frozen' END) AS content
    FROM payorder.orders AS o
    UNION ALL
    SELECT 1, p.order_no, 1, 'purged', p.order_no,
           concat_ws(' ', p.state, CASE WHEN p.away THEN 'away' ELSE 'there' END, 'at', p.last_seq)
    FROM payorder.purged_orders AS p
    UNION ALL
    SELECT 2, e.order_no, e.seq, 'event', e.order_no || ' ' || e.seq,
           concat_ws(' ', e.event,
                     CASE WHEN e.from_state IS DISTINCT FROM e.to_state
                          THEN coalesce(e.from_state || ' ', '') || '-> ' || e.to_state END,
                     e.reason)
    FROM payorder.events AS e WHERE e.order_no IS NOT NULL
    UNION ALL
    SELECT 2, '~' || e.txn_id, row_number() OVER (ORDER BY e.id), 'event', e.gateway || ':' || e.txn_id,
           concat_ws(' ', e.event, e.reason)
    FROM payorder.events AS e WHERE e.order_no IS NULL
    UNION ALL
    SELECT 3, c.gateway || c.txn_id, 0, c.event, c.gateway || ':' || c.txn_id,
           c.verdict || coalesce('(' || c.detail || ')', '')
           || CASE WHEN c.first_verdict <> c.verdict THEN ', first ' || c.first_verdict ELSE '' END
    FROM payorder.callbacks AS c
    UNION ALL
    SELECT 4, f.gateway || f.txn_id, 0, 'evidence', f.gateway || ':' || f.txn_id, f.event || ' ' || f.detail
    FROM payorder.callback_conflicts AS f
    UNION ALL
    SELECT 5, w.gateway || w.txn_id, 0, 'waiting', w.gateway || ':' || w.txn_id,
           format('%s(%s) %s', w.verdict, w.reason, given.roughly(w.next_at))
    FROM payorder.callbacks_waiting AS w
    UNION ALL
    SELECT 6, a.order_no || a.gateway, row_number() OVER (ORDER BY a.created_at), 'attempt', a.order_no,
           a.gateway || ' ' || a.state
    FROM payorder.attempts AS a
    UNION ALL
    SELECT 7, p.gateway || p.txn_id, 0, 'payment', p.gateway || ':' || p.txn_id,
           concat_ws(' ', coalesce(p.order_no, '?') || ' ' || p.disposition || ' ' || p.amount || ':',
                     'kept ' || nullif(p.kept, 0), 'review ' || nullif(p.review, 0),
                     'owed ' || nullif(p.owed, 0), 'returning ' || nullif(p."returning", 0),
                     'returned ' || nullif(p.returned, 0),
                     'disputed ' || nullif(p.disputed, 0), 'undone ' || nullif(p.undone, 0),
                     'overdrawn ' || nullif(p.overdrawn, 0))
    FROM payorder.payments AS p
    UNION ALL
    SELECT 8, r.txn_id || given.unless_made(r.refund_no, r.cause), 0, 'refund',
           given.unless_made(r.refund_no, 'of ' || r.txn_id), format('%s %s %s', r.cause, r.amount, r.state)
    FROM payorder.refunds AS r
    UNION ALL
    SELECT 9, t.kind || coalesce(t.order_no, ''), row_number() OVER (ORDER BY t.id), 'task',
           concat_ws(' ', t.kind, t.order_no, t.payload ->> 'cause'), p.place
    FROM payorder.tasks AS t JOIN given.places() AS p ON p.task_id = t.id
    UNION ALL
    SELECT 10, t.order_no || coalesce(t.state, ''), 0, 'timer', t.order_no,
           format('%s %s', count(*), coalesce(t.state, t.kind)) || coalesce(' ' || min(t.error), '')
    FROM payorder.timers AS t GROUP BY t.order_no, t.state, t.kind
    UNION ALL
    SELECT 11, d.subject, 0, 'proposal', d.subject, d.decision || ' by ' || d.actor
    FROM payorder.first_decisions AS d
    UNION ALL
    SELECT 12, h.gateway || h.currency, 0, 'hour', h.gateway || ' ' || h.currency,
           format('%s of %s', trim_scale(h.asked), trim_scale(h.received))
    FROM payorder.refund_hours AS h
    UNION ALL
    SELECT 12, a.gateway, 0, 'hour', a.gateway, format('%s automatic returns', a.returns)
    FROM payorder.automatic_returns AS a WHERE a.returns > 0
    UNION ALL
    SELECT 13, i.invariant, 0, 'BROKEN', i.invariant, i.subject
    FROM payorder.check_invariants() AS i
    UNION ALL
    -- what is asked of a payment is there, and what is held is owed
    SELECT 13, p.gateway || p.txn_id, 0, 'BROKEN', 'overspent', p.gateway || ':' || p.txn_id
    FROM payorder.payments AS p
    CROSS JOIN LATERAL (
        SELECT sum(r.amount) FILTER (WHERE r.state IN ('held', 'asked', 'in_doubt', 'stuck', 'succeeded')) AS asked,
               sum(r.amount) FILTER (WHERE r.state = 'held') AS held
        FROM payorder.refunds AS r WHERE r.gateway = p.gateway AND r.txn_id = p.txn_id) AS r
    WHERE r.asked > p.amount + p.overdrawn OR r.held > p.owed) AS all_of_it
ORDER BY part, key, number, what, content;

CREATE VIEW given.money AS
SELECT * FROM given.outcome
WHERE what IN ('order', 'payment', 'refund', 'proposal', 'hour', 'evidence', 'waiting', 'BROKEN')
   OR what IN ('attempt', 'pay', 'pay_part', 'pay_reversed') OR what LIKE 'refund\_%' OR what LIKE 'chargeback%'
   OR what = 'task' AND content <> 'cancelled';
