--
-- Room attempt: begin_payment, and what becomes of attempts in doubt.
-- Scenarios 8, 26, 27, 28, 29, 30, 76, 78, 83.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

CREATE FUNCTION pg_temp.attempts(number text) RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT concat_ws(' ', gateway, amount, state, CASE WHEN asked_at IS NOT NULL THEN 'asked' END,
                 CASE WHEN answered_at IS NOT NULL THEN 'answered' END, CASE WHEN notified_at IS NOT NULL THEN 'notified' END,
                 CASE WHEN applied_at IS NOT NULL THEN 'applied' END)
FROM payorder.attempts WHERE order_no = number ORDER BY created_at
$$;
-- the number of an order's nth attempt
CREATE FUNCTION pg_temp.payment_no(number text, nth integer DEFAULT 1) RETURNS text
    LANGUAGE sql AS $$
SELECT payment_no FROM payorder.attempts WHERE order_no = number ORDER BY created_at LIMIT 1 OFFSET nth - 1
$$;

-- an attempt: its number fits all gateways and is never the same again
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1', 1990);
SELECT payment_no ~ '^[A-Za-z0-9_]{8,32}$', order_no, gateway, amount, currency, state, expires_at = (SELECT pay_by FROM payorder.orders)
    FROM payorder.begin_payment('o1', 'till');
SELECT event, from_state, to_state, actor = session_user, source, payload ->> 'payment_no' = pg_temp.payment_no('o1'), payload ->> 'amount'
    FROM payorder.events WHERE seq = 2;
SELECT state, version FROM payorder.orders;
-- it was decided under the order's lock, though the row did not change (law 3)
SELECT xmax <> 0 AS locked FROM payorder.orders;
SELECT pg_temp.attempts('o1');
SELECT * FROM pg_temp.tasks();
SELECT payment_status FROM payorder.order_overview;
DO $$
BEGIN
    FOR n IN 1 .. 200 LOOP
        PERFORM pg_temp.new_order('n' || n);
        PERFORM payorder.begin_payment('n' || n, 'till', actor => 'shop');
    END LOOP;
END $$;
SELECT count(DISTINCT payment_no), count(DISTINCT left(payment_no, 10)) > 190, bool_and(payment_no ~ '^[A-Za-z0-9_]{8,32}$') FROM payorder.attempts;
SELECT DISTINCT actor FROM payorder.events WHERE event = 'begin_payment' AND order_no <> 'o1';
ROLLBACK;

-- refused: order, gateway, amount
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT payorder.add_gateway('off', 'generic', 'shop-2', settings => '{"enabled": false}');
SELECT pg_temp.error_of($$SELECT payorder.begin_payment('o2', 'till')$$);
SELECT pg_temp.error_of($$SELECT payorder.begin_payment('o1', 'nowhere')$$);
SELECT pg_temp.error_of($$SELECT payorder.begin_payment('o1', 'none')$$);
SELECT pg_temp.error_of($$SELECT payorder.begin_payment('o1', 'off')$$);
SELECT pg_temp.error_of($$SELECT payorder.begin_payment(NULL, 'till')$$);
SELECT pg_temp.error_of($$SELECT payorder.begin_payment('o1', NULL)$$);
SELECT a, pg_temp.error_of(format('SELECT payorder.begin_payment(''o1'', ''till'', %s)', a)) FROM unnest('{0,-1,99,101,9223372036854775807}'::text[]) AS a;
SELECT state, amount FROM payorder.begin_payment('o1', 'till', 100);
SELECT count(*) FROM payorder.attempts;
-- a disabled gateway refuses begin_payment, never a callback (83)
SELECT verdict FROM payorder.ingest('off', 't1', 'pay', 'o1', 100, 'CNY');
ROLLBACK;

-- refused: states.  An order that is paid, being closed or closed takes none.
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order(s) FROM unnest('{paid,cancelled,expired,closing,cancelling,refunding}'::text[]) AS s;
SELECT state FROM payorder.begin_payment('closing', 'till');
SELECT state FROM payorder.begin_payment('cancelling', 'till');
SELECT state FROM payorder.fire('closing', 'close');
SELECT state FROM payorder.fire('cancelling', 'cancel');
SELECT state FROM payorder.fire('cancelled', 'cancel');
SELECT state FROM payorder.fire('expired', 'close');
SELECT pg_temp.pay('t1', 'paid'), pg_temp.pay('t2', 'refunding');
SELECT state FROM payorder.fire('refunding', 'cancel');
SELECT order_no, pg_temp.state_of(format('SELECT payorder.begin_payment(%L, ''till'', parallel => true)', order_no)) FROM payorder.orders ORDER BY 1;
SELECT pg_temp.error_of($$SELECT payorder.begin_payment('paid', 'till')$$);
SELECT pg_temp.error_of($$SELECT payorder.begin_payment('closing', 'till')$$);
ROLLBACK;

-- one open attempt, unless parallel ones are wanted; two at one gateway only if
-- the gateway allows it
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.add_gateway('other', 'generic', 'shop-2');
SELECT pg_temp.new_order('o1');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT regexp_replace(pg_temp.error_of($$SELECT payorder.begin_payment('o1', 'till')$$), 'Attempt "[^"]+"', 'Attempt "..."');
SELECT pg_temp.state_of($$SELECT payorder.begin_payment('o1', 'other')$$),
       pg_temp.state_of($$SELECT payorder.begin_payment('o1', 'other', parallel => NULL)$$),
       pg_temp.state_of($$SELECT payorder.begin_payment('o1', 'other', parallel => true)$$);
SELECT regexp_replace(pg_temp.error_of($$SELECT payorder.begin_payment('o1', 'till', parallel => true)$$), 'Attempt "[^"]+"', 'Attempt "..."');
SELECT payorder.alter_gateway('till', '{"parallel_attempts": true}');
SELECT pg_temp.state_of($$SELECT payorder.begin_payment('o1', 'till')$$), pg_temp.state_of($$SELECT payorder.begin_payment('o1', 'till', parallel => true)$$);
-- one that ended does not count
SELECT verdict, detail FROM payorder.ingest('till', 'f1', 'pay_failed', pg_temp.payment_no('o1'));
SELECT state FROM payorder.begin_payment('o1', 'other');
SELECT pg_temp.attempts('o1');
SELECT pg_temp.wrong();
ROLLBACK;

-- expires_at: the lesser of what is given and pay_by; both must lie ahead
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT e, pg_temp.outcome('SELECT 1', format($$SELECT CASE expires_at WHEN pay_by THEN 'pay_by' ELSE (expires_at - now())::text END
    FROM payorder.orders o, payorder.begin_payment('o1', 'till', expires_at => %s)$$, e))
    FROM unnest(ARRAY['NULL', $$now() + interval '5 minutes'$$, $$now() + interval '5 hours'$$, $$'infinity'$$,
                      $$now() - interval '1 second'$$, $$'-infinity'$$]) WITH ORDINALITY AS t (e, n) ORDER BY n;
SELECT state FROM payorder.create_order('o2', 100, 'CNY', pay_within => '1 microsecond');
SELECT pg_temp.error_of($$SELECT payorder.begin_payment('o2', 'till')$$);
SELECT pg_temp.state_of($$SELECT payorder.begin_payment('o2', 'till', expires_at => now() + interval '1 day')$$);
ROLLBACK;

-- in doubt: asked at 30 s, 2 min and 5 min after the order's creation, and
-- nobody is asked where there is no attempt (29)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1'), pg_temp.new_order('o2');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT pg_temp.swept(created_at + interval '29.9 s') FROM payorder.orders WHERE order_no = 'o1';
SELECT * FROM pg_temp.tasks();
SELECT pg_temp.swept(created_at + interval '31 s') FROM payorder.orders WHERE order_no = 'o1';
SELECT order_no, pg_temp.tasks(order_no) FROM payorder.orders ORDER BY 1;
SELECT pg_temp.attempts('o1');
SELECT t.gateway, t.idempotency_key = pg_temp.payment_no('o1'), t.payload ->> 'payment_no' = pg_temp.payment_no('o1'), t.payload ->> 'amount', t.payload ->> 'currency'
    FROM payorder.tasks t;
-- one question at a time for an attempt
SELECT pg_temp.swept(created_at + interval '2.1 min') FROM payorder.orders WHERE order_no = 'o1';
SELECT pg_temp.tasks('o1');
-- "unknown" is no end
SELECT pg_temp.answer('query_payment', '{"unknown": true}');
SELECT pg_temp.tasks('o1');
SELECT pg_temp.attempts('o1'), pg_temp.state('o1');
SELECT pg_temp.swept(created_at + interval '5.1 min') FROM payorder.orders WHERE order_no = 'o1';
SELECT pg_temp.tasks('o1');
SELECT pg_temp.answer('query_payment', pg_temp.says('pay', 't1', 100));
SELECT pg_temp.attempts('o1'), pg_temp.state('o1');
SELECT pg_temp.wrong();
ROLLBACK;

-- queries used up: the task is dead and listed, the attempt and the order are
-- as they were; unknown is never failed (30)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT pg_temp.swept(created_at + interval '31 s') FROM payorder.orders;
CREATE FUNCTION pg_temp.fail_until_dead() RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    t payorder.task_info;
    ended text := 'ready';
BEGIN
    WHILE ended = 'ready' AND coalesce(t.attempt, 0) < 100 LOOP
        PERFORM pg_temp.hurry();
        SELECT * INTO STRICT t FROM payorder.claim('{query_payment}');
        ended := payorder.fail(t.task, t.token, 'timeout');
    END LOOP;
    RETURN t.attempt;
END $$;
SELECT pg_temp.fail_until_dead() = (SELECT max_attempts FROM payorder.task_kinds WHERE kind = 'query_payment');
SELECT pg_temp.tasks('o1');
SELECT pg_temp.attention();
SELECT pg_temp.attempts('o1'), pg_temp.state('o1');
SELECT pg_temp.wrong();
ROLLBACK;

-- the deadline passes without an attempt: expired at once, closed once (26)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT pg_temp.swept(pg_temp.due('o1', 4) - interval '1 microsecond');
SELECT pg_temp.state('o1');
SELECT pg_temp.swept(pg_temp.due('o1'));
SELECT pg_temp.swept(now() + interval '1 day');
SELECT pg_temp.history('o1');
SELECT * FROM pg_temp.tasks();
SELECT pg_temp.wrong();
ROLLBACK;

-- the deadline passes with an attempt in doubt: closing; the gateway is asked
-- to close each open attempt once; its word ends the order (26)
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.add_gateway('other', 'generic', 'shop-2');
SELECT pg_temp.new_order('o1');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT state FROM payorder.begin_payment('o1', 'other', parallel => true);
SELECT pg_temp.swept(pg_temp.due('o1', 4));
SELECT pg_temp.state('o1');
SELECT kind, gateway, payload ->> 'payment_no' = idempotency_key FROM payorder.tasks WHERE kind = 'close_payment' ORDER BY gateway;
SELECT pg_temp.swept(pg_temp.due('o1') - interval '1 microsecond');
SELECT count(*) FROM payorder.tasks WHERE kind = 'close_payment';
-- the first is closed, the order waits for the second
SELECT pg_temp.answer('close_payment', pg_temp.says('pay_closed', 'c1'));
SELECT pg_temp.state('o1');
SELECT pg_temp.answer('close_payment', pg_temp.says('pay_closed', 'c2'));
SELECT pg_temp.attempts('o1');
SELECT pg_temp.history('o1');
SELECT pg_temp.answer('close_payment', '{}');
SELECT pg_temp.wrong();
ROLLBACK;

-- close answered "already paid": asked, and paid (27)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT state FROM payorder.fire('o1', 'close');
SELECT pg_temp.answer('close_payment', '{"already_paid": true}');
SELECT pg_temp.tasks('o1');
SELECT pg_temp.state('o1');
SELECT pg_temp.answer('query_payment', pg_temp.says('pay', 't1', 100));
SELECT pg_temp.history('o1');
SELECT pg_temp.attempts('o1');
SELECT pg_temp.wrong();
ROLLBACK;

-- close never answered: asked at 1 and 5 minutes, an alarm at 10, expired at 30;
-- the attempt is in doubt for good.  Money that comes later is late: within two
-- hours the order is reopened, after that the money goes back (28, 8)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT state FROM payorder.fire('o1', 'close');
SELECT pg_temp.swept(pg_temp.due('o1'));
SELECT pg_temp.tasks('o1');
SELECT pg_temp.answer('query_payment', '{"unknown": true}');
SELECT pg_temp.swept(pg_temp.due('o1'));
SELECT pg_temp.tasks('o1');
SELECT pg_temp.attention();
SELECT pg_temp.swept(pg_temp.due('o1'));
SELECT pg_temp.attention();
SELECT pg_temp.state('o1');
SELECT pg_temp.swept(pg_temp.due('o1'));
SELECT pg_temp.history('o1');
-- the alarm is over with the state that it was about
SELECT pg_temp.attention();
SELECT pg_temp.attempts('o1');
SAVEPOINT s;
SELECT pg_temp.pay('t1', pg_temp.payment_no('o1'));
SELECT pg_temp.attempts('o1');
SELECT pg_temp.wrong();
ROLLBACK TO s;
SELECT pg_temp.tamper($$UPDATE payorder.orders SET closed_at = now() - interval '2 hours 1 second'$$);
SELECT pg_temp.pay('t1', pg_temp.payment_no('o1'));
SELECT state, closed_at IS NOT NULL, paid_amount FROM payorder.orders;
SELECT disposition, owed FROM payorder.payments;
SELECT pg_temp.attempts('o1');
SELECT cause, state, amount FROM payorder.refunds;
SELECT pg_temp.wrong();
ROLLBACK;

-- the gateway does not know the number: before expires_at somebody can still
-- begin to pay, so the question comes again then; after it that is closed
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT state FROM payorder.begin_payment('o1', 'till', expires_at => now() + interval '10 minutes');
SELECT state FROM payorder.fire('o1', 'close');
SELECT pg_temp.answer('close_payment', '{"unknown": true}');
SELECT pg_temp.tasks('o1');
SELECT run_at = expires_at FROM payorder.task_ready, payorder.attempts;
SELECT pg_temp.attempts('o1'), pg_temp.state('o1');
SELECT pg_temp.tamper($$UPDATE payorder.attempts SET expires_at = now() - interval '1 microsecond'$$);
SELECT pg_temp.answer('close_payment', '{"unknown": true}');
SELECT pg_temp.attempts('o1'), pg_temp.state('o1');
SELECT pg_temp.history('o1');
SELECT pg_temp.tasks('o1');
SELECT pg_temp.wrong();
ROLLBACK;

-- the buyer cancels while a payment is in doubt, and the payment wins:
-- refunding, never paid; the money goes back by itself (76)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT state FROM payorder.fire('o1', 'cancel', 'buyer');
SELECT pg_temp.pay('t1', pg_temp.payment_no('o1'));
SELECT pg_temp.history('o1');
SELECT pg_temp.tasks('o1');
SELECT pg_temp.swept(clock_timestamp());
SELECT pg_temp.answer('refund', pg_temp.says('refund', 'b1', 100));
SELECT state, paid_amount, refunded_amount FROM payorder.orders;
SELECT pg_temp.answer('close_payment', pg_temp.says('pay_closed', 'c1'));
SELECT pg_temp.wrong();
ROLLBACK;
-- it loses: cancelled
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT state FROM payorder.fire('o1', 'cancel', 'buyer');
SELECT pg_temp.answer('close_payment', pg_temp.says('pay_closed', 'c1'));
SELECT pg_temp.state('o1');
SELECT pg_temp.pay('t1', pg_temp.payment_no('o1'));
SELECT pg_temp.wrong();
ROLLBACK;

-- the second attempt is paid while the first is open: the first is to be
-- closed; if it is paid all the same, that is excess (78, 5)
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.add_gateway('other', 'generic', 'shop-2');
SELECT pg_temp.new_order('o1');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT state FROM payorder.begin_payment('o1', 'other', parallel => true);
SELECT verdict, state FROM payorder.ingest('other', 't2', 'pay', pg_temp.payment_no('o1', 2), 100, 'CNY');
SELECT pg_temp.attempts('o1');
SELECT kind, gateway, payload ->> 'payment_no' = pg_temp.payment_no('o1') FROM payorder.tasks;
SAVEPOINT s;
SELECT pg_temp.answer('close_payment', pg_temp.says('pay_closed', 'c1'));
SELECT pg_temp.attempts('o1'), pg_temp.state('o1');
ROLLBACK TO s;
SELECT pg_temp.answer('close_payment', pg_temp.says('pay', 't1', 100));
SELECT pg_temp.attempts('o1');
SELECT state, paid_amount FROM payorder.orders;
SELECT gateway, disposition, kept, owed FROM payorder.payments ORDER BY 1;
SELECT pg_temp.wrong();
ROLLBACK;

-- when an attempt was asked about, answered, notified and when that took effect:
-- each by what happened, and the last time of it counts
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.alter_gateway('till', '{"failed_is_final": false}');
SELECT pg_temp.new_order('o1');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT pg_temp.attempts('o1');
-- what the gateway says and does not end it: notified, not applied
SAVEPOINT s;
SELECT verdict, detail FROM payorder.ingest('till', 'a1', 'authorised', pg_temp.payment_no('o1'));
SELECT pg_temp.attempts('o1');
ROLLBACK TO s;
SELECT verdict, detail FROM payorder.ingest('till', 'f1', 'pay_failed', pg_temp.payment_no('o1'));
SELECT pg_temp.attempts('o1');
-- asked, and answered; the callback says it again
SELECT pg_temp.swept(pg_temp.due('o1'));
SELECT pg_temp.attempts('o1');
SELECT pg_temp.answer('query_payment', pg_temp.says('pay', 't1', 100));
SELECT pg_temp.attempts('o1');
SELECT created_at <= notified_at, notified_at <= asked_at, answered_at >= notified_at, applied_at = answered_at, applied_at <= clock_timestamp() FROM payorder.attempts;
SELECT pg_temp.pay('t1', pg_temp.payment_no('o1'));
SELECT pg_temp.attempts('o1');
SELECT pg_temp.wrong();
ROLLBACK;
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1'), pg_temp.new_order('o2'), pg_temp.new_order('o3');
SELECT state FROM unnest('{o1,o2,o3}'::text[]) AS o, LATERAL payorder.begin_payment(o, 'till');
-- paid by a callback, closed by an answer, failed by a callback
SELECT pg_temp.pay('t1', pg_temp.payment_no('o1'));
SELECT state FROM payorder.fire('o2', 'close');
SELECT pg_temp.answer('close_payment', pg_temp.says('pay_closed', 'c2'));
SELECT verdict FROM payorder.ingest('till', 'f3', 'pay_failed', pg_temp.payment_no('o3'));
SELECT pg_temp.attempts('o1'), pg_temp.attempts('o2'), pg_temp.attempts('o3');
-- a mismatch is an answer about it too, and takes no effect on the order
SELECT pg_temp.new_order('o4');
SELECT state FROM payorder.begin_payment('o4', 'till');
SELECT pg_temp.pay('t4', pg_temp.payment_no('o4'), 99);
SELECT pg_temp.attempts('o4'), pg_temp.state('o4');
-- while the gateway is paused it was notified, and nothing has taken effect yet
SELECT pg_temp.new_order('o5');
SELECT state FROM payorder.begin_payment('o5', 'till');
SELECT payorder.pause_gateway('till', 'ops', 'x');
SELECT pg_temp.pay('t5', pg_temp.payment_no('o5'));
SELECT state, applied_at IS NULL FROM payorder.attempts WHERE order_no = 'o5';
SELECT payorder.resume_gateway('till', 'ops', 'x');
SELECT pg_temp.swept(now() + interval '5 seconds');
SELECT pg_temp.attempts('o5');
SELECT pg_temp.wrong();
ROLLBACK;

-- parallel attempts of an order at one gateway, where it allows them: each its
-- own number; one pays, the others are closed
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.alter_gateway('till', '{"parallel_attempts": true}');
SELECT pg_temp.new_order('o1');
SELECT state FROM generate_series(1, 3) AS n, LATERAL payorder.begin_payment('o1', 'till', parallel => n > 0);
SELECT count(DISTINCT payment_no), count(*) FILTER (WHERE state = 'open') FROM payorder.attempts;
SELECT pg_temp.wrong();
SELECT verdict, detail FROM payorder.ingest('till', 'f1', 'pay_failed', pg_temp.payment_no('o1'));
SELECT pg_temp.pay('t2', pg_temp.payment_no('o1', 2));
SELECT pg_temp.attempts('o1');
SELECT kind, payload ->> 'payment_no' = pg_temp.payment_no('o1', 3) AS the_third FROM payorder.tasks;
SELECT pg_temp.pay('t3', pg_temp.payment_no('o1', 3));
SELECT pg_temp.attempts('o1');
SELECT pg_temp.wrong();
ROLLBACK;
-- in parts: attempts for parts beside each other; a part closes those that ask
-- for more than is left
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.define_parts();
SELECT payorder.add_gateway('other', 'generic', 'shop-2');
SELECT pg_temp.new_order('o1', 100, 'parts');
SELECT a, pg_temp.state_of(format('SELECT payorder.begin_payment(''o1'', ''till'', %s)', a)) FROM unnest('{0,-1,1,40,100,101}'::bigint[]) AS a;
SELECT state, amount FROM payorder.begin_payment('o1', 'till', 40);
SELECT state, amount FROM payorder.begin_payment('o1', 'other', 61, parallel => true);
SELECT pg_temp.pay('p1', pg_temp.payment_no('o1'), 41, 'pay_part');
SELECT pg_temp.state('o1'), (SELECT review FROM payorder.payments);
SELECT state, amount FROM payorder.begin_payment('o1', 'till', 40, parallel => true);
SELECT pg_temp.pay('p2', pg_temp.payment_no('o1', 3), 40, 'pay_part');
SELECT pg_temp.attempts('o1');
SELECT kind, gateway FROM payorder.tasks WHERE kind <> 'review';
SELECT state, paid_amount, amount FROM payorder.orders;
SELECT pg_temp.wrong();
ROLLBACK;

BEGIN READ ONLY;
SELECT pg_temp.error_of($$SELECT payorder.begin_payment('o1', 'till')$$);
ROLLBACK;
