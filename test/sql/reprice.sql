--
-- Room reprice: another amount for an order before it is paid, and a lower one
-- in its cooling-off; refused from every other state.
-- Scenarios 13 (mismatch(repriced)), 78; "reprice x everything".
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set money :inputdir '/sql/include/money.psql'
\i :money

-- What reprice_order says.
CREATE FUNCTION pg_temp.reprice(amount bigint, number text DEFAULT 'a') RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    o payorder.order_info;
BEGIN
    o := payorder.reprice_order(number, amount, 'shop', 'another price');
    RETURN concat_ws(', ', o.state, 'amount ' || o.amount, 'paid ' || o.paid_amount, 'refunding ' || nullif(o.refunding_amount, 0));
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION pg_temp.begin_payment(gateway text DEFAULT 'till', parallel boolean DEFAULT false, amount bigint DEFAULT NULL, number text DEFAULT 'a') RETURNS text
    LANGUAGE sql AS $$
SELECT format('%s %s', state, amount) FROM payorder.begin_payment(number, gateway, amount, parallel => begin_payment.parallel)
$$;
-- The nth attempt's number, from the oldest.
CREATE FUNCTION pg_temp.attempt(nth integer, number text DEFAULT 'a') RETURNS text
    LANGUAGE sql AS $$
SELECT payment_no FROM payorder.attempts WHERE order_no = number ORDER BY created_at, amount DESC OFFSET nth - 1 LIMIT 1
$$;
CREATE FUNCTION pg_temp.attempts(number text DEFAULT 'a') RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT format('%s %s %s', gateway, amount, state) FROM payorder.attempts WHERE order_no = number ORDER BY created_at, amount DESC
$$;

/* ---- before payment ---- */

\echo no attempt: the new amount is the price
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT pg_temp.reprice(80);
SELECT pg_temp.pay('t', 'a');
SELECT pg_temp.pay('t2', 'a', 80);
SELECT pg_temp.money();
SELECT pg_temp.waits();
SELECT event, from_state, to_state, actor, source, reason, payload FROM payorder.events WHERE event = 'reprice_order';
SELECT (payorder.verify_events('a')).ok;
SELECT pg_temp.wrong();
ROLLBACK;

\echo up and down, and the same again, which changes nothing
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT pg_temp.reprice(120), pg_temp.reprice(1), pg_temp.reprice(9223372036854775807), pg_temp.reprice(100);
CREATE TEMP TABLE before ON COMMIT DROP AS SELECT version, (SELECT count(*) FROM payorder.events) AS events FROM payorder.orders;
SELECT pg_temp.reprice(100);
SELECT o.version - b.version, (SELECT count(*) FROM payorder.events) - b.events FROM payorder.orders AS o, before AS b;
SELECT pg_temp.pay('t', 'a');
SELECT pg_temp.wrong();
ROLLBACK;

\echo not a price
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT a, pg_temp.reprice(a) FROM unnest(ARRAY[0, -1, -9223372036854775808, NULL]) WITH ORDINALITY AS v (a, n) ORDER BY n;
SELECT pg_temp.reprice(80, 'nobody'), pg_temp.reprice(80, NULL), pg_temp.reprice(80, '');
SELECT pg_temp.state_of($$SELECT payorder.reprice_order('a', 80, NULL, 'why')$$);
SELECT pg_temp.error_of(format('SELECT payorder.reprice_order(%s)', a))
    FROM unnest(ARRAY[$$'a', 0, 'shop', 'why'$$, $$'nobody', 80, 'shop', 'why'$$, $$'a', NULL, 'shop', 'why'$$]) WITH ORDINALITY AS v (a, n) ORDER BY n;
SELECT amount FROM payorder.orders;
SELECT pg_temp.wrong();
ROLLBACK;

\echo an open attempt is closed; who pays by it all the same pays another price (17); a new attempt pays
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT pg_temp.begin_payment();
SELECT pg_temp.reprice(80);
SELECT t.kind, t.gateway, t.payload ->> 'payment_no' = pg_temp.attempt(1) AS its FROM payorder.tasks AS t;
SELECT pg_temp.attempts();
-- once: not for each new price
SELECT pg_temp.reprice(90), pg_temp.reprice(80);
SELECT * FROM pg_temp.tasks();
SELECT pg_temp.state_of($$SELECT payorder.begin_payment('a', 'till')$$);
-- it is closed, and a new one is begun
SAVEPOINT s;
SELECT pg_temp.answer('close_payment', json_build_object('messages', json_build_array(json_build_object('txn_id', pg_temp.attempt(1), 'event', 'pay_closed', 'order_no', pg_temp.attempt(1)))));
SELECT pg_temp.state('a');
SELECT pg_temp.begin_payment();
SELECT pg_temp.attempts();
SELECT pg_temp.pay('t', pg_temp.attempt(2), 80);
SELECT pg_temp.money();
SELECT pg_temp.wrong();
-- the buyer pays the old one too, after all
SELECT pg_temp.pay('t2', pg_temp.attempt(1), 100);
SELECT pg_temp.wrong();
ROLLBACK TO s;
-- the old price was faster
SELECT pg_temp.pay('t', pg_temp.attempt(1), 100);
SELECT pg_temp.attempts();
SELECT pg_temp.money();
SELECT pg_temp.waits();
SELECT pg_temp.answer('close_payment', '{"already_paid": true}');
SELECT * FROM pg_temp.tasks();
SELECT pg_temp.wrong();
SAVEPOINT s;
-- a person keeps it
SELECT verdict, detail, state FROM payorder.settle_callback('till', 't', 'pay', 'keep', 'anna', 'the buyer agreed');
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK TO s;
-- or the buyer pays the new one, and the old one goes back
SELECT pg_temp.begin_payment();
SELECT pg_temp.pay('t2', pg_temp.attempt(2), 80);
SELECT verdict, detail, state FROM payorder.settle_callback('till', 't', 'pay', 'return', 'anna', 'the old price');
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo a higher price; the new amount through the old attempt is none of its either (16)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT pg_temp.begin_payment();
SELECT pg_temp.reprice(120);
SELECT pg_temp.pay('t', pg_temp.attempt(1), 120);
SELECT pg_temp.pay('t2', pg_temp.attempt(1), 100);
SELECT pg_temp.money();
-- back to the price of the attempt, and it fits again
SELECT pg_temp.begin_payment();
SELECT pg_temp.reprice(100);
SELECT pg_temp.pay('t3', pg_temp.attempt(1), 100);
SELECT pg_temp.attempts();
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo all open attempts, at all gateways, and no ended one (78)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.add_gateway('desk', 'generic', 'shop-2'), payorder.add_gateway('door', 'generic', 'shop-3') \g /dev/null
SELECT pg_temp.new_order('a');
SELECT pg_temp.begin_payment(), pg_temp.begin_payment('desk', true), pg_temp.begin_payment('door', true);
SELECT verdict FROM payorder.ingest('door', 'f', 'pay_failed', (SELECT payment_no FROM payorder.attempts WHERE gateway = 'door'));
SELECT pg_temp.reprice(80);
SELECT gateway, state FROM payorder.attempts ORDER BY 1;
SELECT kind, gateway FROM payorder.tasks ORDER BY 2;
SELECT pg_temp.wrong();
ROLLBACK;

\echo with a part paid: more than that
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.define_parts() \g /dev/null
SELECT pg_temp.new_order('a', 100, 'parts');
SELECT pg_temp.pay('p1', 'a', 40, 'pay_part');
SELECT a, pg_temp.reprice(a) FROM unnest(ARRAY[39, 40, 0]) WITH ORDINALITY AS v (a, n) ORDER BY n;
SELECT pg_temp.begin_payment(amount => 60);
SELECT pg_temp.reprice(90);
SELECT pg_temp.attempts(), (SELECT string_agg(t, ', ') FROM pg_temp.tasks() AS t);
-- another part of the old attempt's price is more than is left
SELECT pg_temp.pay('p2', pg_temp.attempt(1), 60, 'pay_part');
SELECT pg_temp.pay('p3', 'a', 20, 'pay_part');
SELECT pg_temp.reprice(61);
SELECT pg_temp.pay('p4', 'a', 1, 'pay_part');
SELECT pg_temp.money();
SELECT pg_temp.waits();
SELECT pg_temp.wrong();
ROLLBACK;

\echo a payment that waits is decided by the new price
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.new_order('b');
SELECT pg_temp.begin_payment();
SELECT payorder.pause_gateway('till', 'ops', 'x');
SELECT pg_temp.pay('t', pg_temp.attempt(1), 100), pg_temp.pay('tb', 'b', 80);
SELECT pg_temp.reprice(80), pg_temp.reprice(80, 'b');
SELECT payorder.resume_gateway('till', 'ops', 'x');
SELECT pg_temp.swept(now() + interval '1 minute');
SELECT pg_temp.money(), pg_temp.money('b');
SELECT pg_temp.wrong();
ROLLBACK;

/* ---- in the cooling-off ---- */

\echo lower only, and the difference goes back
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT a, pg_temp.reprice(a) FROM unnest(ARRAY[101, 0, -1, 9223372036854775807, NULL]) WITH ORDINALITY AS v (a, n) ORDER BY n;
CREATE TEMP TABLE timer ON COMMIT DROP AS SELECT * FROM payorder.timers WHERE state = 'paid';
SELECT pg_temp.reprice(100);
SELECT pg_temp.reprice(70);
SELECT pg_temp.masked(refund_no), cause, state, amount, from_kept, reason, actor FROM payorder.refunds;
SELECT pg_temp.money();
SELECT pg_temp.open_tasks();
-- the timer is the same row
SELECT count(*), count(b) FROM payorder.timers AS t LEFT JOIN timer AS b ON b = t WHERE t.state = 'paid';
SELECT pg_temp.state('a'), pg_temp.state_of($$SELECT payorder.fire('a', 'cooled')$$), pg_temp.state_of($$UPDATE payorder.orders SET state = 'to_ship'$$);
-- again and again, while the one before is under way, done, failed for good
SELECT pg_temp.reprice(60);
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.reprice(50);
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund_failed', 'r2');
SELECT pg_temp.money();
SELECT pg_temp.waits();
-- what is owed goes first
SELECT pg_temp.reprice(45);
SELECT pg_temp.refunds();
SELECT pg_temp.money();
SELECT pg_temp.wrong();
-- the attributes change, the cooling-off does not
UPDATE payorder.orders SET attributes = '{"colour": "green"}';
SELECT count(*), count(b) FROM payorder.timers AS t LEFT JOIN timer AS b ON b = t WHERE t.state = 'paid';
SELECT pg_temp.swept((SELECT due_at FROM timer) - interval '1 microsecond') ~ 'timers 1', pg_temp.state('a');
SAVEPOINT s;
-- it ends by its timer
SELECT pg_temp.swept((SELECT due_at FROM timer)), pg_temp.state('a');
SELECT pg_temp.reprice(40);
SELECT to_state, event, source FROM payorder.events WHERE order_no = 'a' ORDER BY seq DESC LIMIT 1;
SELECT pg_temp.wrong();
ROLLBACK TO s;
-- or by cancelling: the rest goes back, and nothing twice
SELECT (payorder.fire('a', 'cancel', 'buyer')).state;
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.reprice(30);
SELECT sum(amount) FILTER (WHERE state = 'asked') AS asked, sum(amount) FILTER (WHERE state = 'succeeded') AS succeeded FROM payorder.refunds;
SELECT pg_temp.hear('refund', 'q' || refund_no, refund_no, amount) FROM payorder.refunds WHERE state = 'asked' ORDER BY amount;
-- what came back from a failed one is a person's to ask for again
SELECT pg_temp.money();
SELECT pg_temp.waits();
SELECT pg_temp.ask('the_rest'), pg_temp.hear('refund', 'q', 'the_rest', 5);
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo the difference of several payments: newest first
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.define_parts() \g /dev/null
SELECT pg_temp.new_order('a', 100, 'parts');
SELECT pg_temp.pay('p1', 'a', 50, 'pay_part');
SELECT pg_temp.pay('p2', 'a', 30, 'pay_part');
SELECT pg_temp.pay('p3', 'a', 20, 'pay_part');
SELECT pg_temp.reprice(60);
SELECT pg_temp.refunds();
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo what can not go back can not be taken off: nothing has changed
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 80);
SELECT pg_temp.reprice(79);
SELECT pg_temp.reprice(80);
SELECT amount FROM payorder.orders;
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo beyond the limits of refunds: refused or held, as any refund
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT l, pg_temp.outcome(format('SELECT payorder.set_refund_limits(NULL, NULL, %L)', l),
                          $$SELECT concat_ws('; ', pg_temp.reprice(70), (SELECT string_agg(r, ', ') FROM pg_temp.refunds() AS r), (SELECT string_agg(m, ', ') FROM pg_temp.money() AS m), (SELECT string_agg(w, ', ') FROM pg_temp.wrong() AS w))$$)
    FROM unnest(ARRAY['{"share_per_hour": 0}', '{"smallest_amount": 31}', '{"smallest_amount": 30}', '{"max_age": "1 us"}']) WITH ORDINALITY AS v (l, n) ORDER BY n;
ROLLBACK;

/* ---- from every other state ---- */

\echo it has its price: closing, cancelling, ended, shipped, going back, frozen, of amount 0
BEGIN;
SELECT pg_temp.empty() \g /dev/null
CREATE FUNCTION pg_temp.prepared(number text, VARIADIC steps text[]) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    step text;
BEGIN
    PERFORM pg_temp.new_order(number, CASE WHEN steps = '{nothing}' THEN 0 ELSE 100 END);
    FOREACH step IN ARRAY steps LOOP
        CASE step
            WHEN 'nothing' THEN NULL;
            WHEN 'attempt' THEN PERFORM payorder.begin_payment(number, 'till');
            WHEN 'pay' THEN PERFORM pg_temp.pay('t' || number, number);
            WHEN 'cooled' THEN PERFORM payorder.sweep(1000, now() + interval '5 minutes 1 second');
            WHEN 'reversed' THEN PERFORM payorder.ingest('till', 't' || number, 'pay_reversed');
            WHEN 'refunded' THEN PERFORM payorder.ingest('till', 'r' || number, 'refund', amount => 100, payment_txn => 't' || number);
            ELSE PERFORM payorder.fire(number, step, 'tester');
        END CASE;
    END LOOP;
    RETURN (SELECT concat_ws(' ', state, CASE WHEN frozen THEN 'frozen' END) FROM payorder.orders WHERE order_no = number);
END $$;
SELECT pg_temp.outcome(format('SELECT pg_temp.prepared(''a'', VARIADIC %L)', steps),
                       $$SELECT concat_ws('; ', (SELECT concat_ws(' ', state, CASE WHEN frozen THEN 'frozen' END) FROM payorder.orders), pg_temp.reprice(80), pg_temp.reprice(120), pg_temp.reprice(100),
                                          (SELECT string_agg(w, ', ') FROM pg_temp.wrong() AS w))$$)
    FROM unnest(ARRAY['{attempt,close}', '{attempt,cancel}', '{close}', '{cancel}', '{pay,cooled}', '{pay,cooled,ship}', '{pay,cooled,ship,complete}', '{pay,cancel}', '{pay,refunded}',
                      '{pay,reversed}', '{pay,cooled,reversed}', '{nothing}']) WITH ORDINALITY AS v (steps, n) ORDER BY n;
SELECT pg_temp.new_order('b'), (payorder.fire('b', 'cancel')).state;
SELECT pg_temp.error_of($$SELECT payorder.reprice_order('b', 80, 'shop', 'why')$$);
ROLLBACK;

\echo a machine without a cooling-off: never after payment
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.define_machine('plain', '{"initial": "new", "states": {
    "new": {"on": {"pay": {"target": "paid"}, "drop": {"target": "dropped"}}, "after": {"1h": {"fire": "drop"}}},
    "paid": {"on": {"ship": {"target": "done"}}, "after": {"5m": {"fire": "ship"}}},
    "done": {"type": "final"}, "dropped": {"type": "final"}}}') \g /dev/null
SELECT pg_temp.new_order('a', 100, 'plain');
SELECT pg_temp.reprice(80), pg_temp.pay('t', 'a', 80), pg_temp.reprice(70);
ROLLBACK;

\echo in a dispute there is nothing to give back
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT verdict FROM payorder.ingest('till', 'd', 'chargeback', amount => 90, payment_txn => 't');
SELECT pg_temp.reprice(80), pg_temp.reprice(90);
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

BEGIN READ ONLY;
SELECT pg_temp.state_of($$SELECT payorder.reprice_order('a', 80, 'shop', 'why')$$);
ROLLBACK;
