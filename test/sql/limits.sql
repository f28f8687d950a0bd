--
-- Limits of refunds: set_refund_limits(), each limit alone and the strictest of
-- several, what is refused and what is held, refund_all, and the second person.
-- Scenario 43 (no mistake pays at machine speed).
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set money :inputdir '/sql/include/money.psql'
\i :money

-- What refund_all makes of an order with two payments, one of them refunded in
-- part, one old, under limits for all; then undone.
CREATE FUNCTION pg_temp.refund_all_with(limits text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    said text;
BEGIN
    PERFORM pg_temp.define_parts();
    PERFORM pg_temp.new_order('p', 100, 'parts');
    PERFORM payorder.ingest('till', 'p1', 'pay_part', 'p', 40, 'CNY', occurred_at => now() - interval '2 days');
    PERFORM payorder.ingest('till', 'p2', 'pay_part', 'p', 60, 'CNY');
    PERFORM payorder.request_refund('refund_1', 'p', 10, payment => 'p2');
    PERFORM pg_temp.hear('refund', 'r1', 'refund_1', 10);
    PERFORM payorder.set_refund_limits(NULL, NULL, limits::jsonb);
    PERFORM payorder.fire('p', 'cancel', 'tester');
    PERFORM payorder.sweep(100, now() + interval '10 seconds');
    SELECT concat_ws(E'\n  ', '', string_agg(pg_temp.masked(format('%s of %s: %s %s', refund_no, txn_id, state, amount)), E'\n  ' ORDER BY txn_id, amount),
                     (SELECT string_agg(cause, ', ') FROM payorder.attention), (SELECT string_agg(w, ', ') FROM pg_temp.wrong() AS w))
        INTO said FROM payorder.refunds;
    RAISE EXCEPTION SQLSTATE 'ZZZZZ';
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
    RETURN said;
END $$;

-- what set_refund_limits takes, and what not
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT a, pg_temp.state_of(format('SELECT payorder.set_refund_limits(%s)', a))
    FROM unnest(ARRAY[$$NULL, NULL, '{}'$$, $$'till', NULL, '{}'$$, $$NULL, 'order', '{}'$$, $$'till', 'order', '{}'$$,
                      $$'nowhere', NULL, '{}'$$, $$NULL, 'nothing', '{}'$$, $$'', NULL, '{}'$$, $$NULL, '', '{}'$$, $$'none', NULL, '{}'$$,
                      $$NULL, NULL, NULL$$, $$NULL, NULL, '[]'$$, $$NULL, NULL, '5'$$, $$NULL, NULL, 'null'$$,
                      $$NULL, NULL, '{"max_agee": "1 day"}'$$, $$NULL, NULL, '{"gateway": "till"}'$$, $$NULL, NULL, '{"max_age": "1 day", "x": null}'$$,
                      $$NULL, NULL, '{"max_age": "180 days"}'$$, $$NULL, NULL, '{"max_age": "36 hours"}'$$, $$NULL, NULL, '{"max_age": "0"}'$$, $$NULL, NULL, '{"max_age": "-1 day"}'$$,
                      $$NULL, NULL, '{"max_age": "6 months"}'$$, $$NULL, NULL, '{"max_age": "1 year"}'$$, $$NULL, NULL, '{"max_age": "366 days"}'$$, $$NULL, NULL, '{"max_age": "367 days"}'$$,
                      $$NULL, NULL, '{"max_age": "soon"}'$$, $$NULL, NULL, '{"max_age": 180}'$$, $$NULL, NULL, '{"max_age": null}'$$, $$NULL, NULL, '{"max_age": "infinity"}'$$,
                      $$NULL, NULL, '{"max_count": 1}'$$, $$NULL, NULL, '{"max_count": 0}'$$, $$NULL, NULL, '{"max_count": -1}'$$, $$NULL, NULL, '{"max_count": 1.5}'$$,
                      $$NULL, NULL, '{"max_count": "1"}'$$, $$NULL, NULL, '{"max_count": 2147483648}'$$, $$NULL, NULL, '{"max_count": true}'$$, $$NULL, NULL, '{"max_count": null}'$$,
                      $$NULL, NULL, '{"smallest_amount": 1}'$$, $$NULL, NULL, '{"smallest_amount": 0}'$$, $$NULL, NULL, '{"smallest_amount": -1}'$$, $$NULL, NULL, '{"smallest_amount": 9223372036854775807}'$$,
                      $$NULL, NULL, '{"smallest_amount": 9223372036854775808}'$$, $$NULL, NULL, '{"smallest_amount": 1.5}'$$,
                      $$NULL, NULL, '{"share_per_hour": 0}'$$, $$NULL, NULL, '{"share_per_hour": 1}'$$, $$NULL, NULL, '{"share_per_hour": 0.05}'$$, $$NULL, NULL, '{"share_per_hour": 1.01}'$$,
                      $$NULL, NULL, '{"share_per_hour": -0.1}'$$, $$NULL, NULL, '{"share_per_hour": "0.5"}'$$, $$NULL, NULL, '{"share_per_hour": "NaN"}'$$,
                      $$NULL, NULL, '{"second_person_above": 0}'$$, $$NULL, NULL, '{"second_person_above": -1}'$$, $$NULL, NULL, '{"second_person_above": 100}'$$, $$NULL, NULL, '{"second_person_above": [1]}'$$])
         WITH ORDINALITY AS t (a, n) ORDER BY n;
SELECT pg_temp.error_of('SELECT payorder.set_refund_limits(' || a || ')')
    FROM unnest(ARRAY[$$'nowhere', NULL, '{}'$$, $$NULL, 'nothing', '{}'$$, $$NULL, NULL, '[]'$$, $$NULL, NULL, '{"max": 1}'$$, $$NULL, NULL, '{"max_count": 1.5}'$$, $$NULL, NULL, '{"max_count": 0}'$$])
         WITH ORDINALITY AS t (a, n) ORDER BY n;
-- one limit is set, another one stays; null ends one
SELECT payorder.set_refund_limits(NULL, NULL, '{"max_count": 3, "max_age": "90 days"}');
SELECT payorder.set_refund_limits('till', NULL, '{"share_per_hour": 0.25}');
SELECT payorder.set_refund_limits(NULL, NULL, '{"max_count": 2, "smallest_amount": 10}');
SELECT payorder.set_refund_limits(NULL, NULL, '{"max_age": null}');
SELECT payorder.set_refund_limits('till', NULL, '{}');
SELECT * FROM payorder.refund_limits ORDER BY gateway, machine;
ROLLBACK;

\echo no limit: all of it, at once
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.set_refund_limits('till', 'order', '{}');
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 1), pg_temp.ask('refund_2', 1), pg_temp.ask('refund_3');
ROLLBACK;

\echo max_age of the payment, by when it happened
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.set_refund_limits(NULL, NULL, '{"max_age": "90 days"}');
SELECT pg_temp.new_order('a'), pg_temp.new_order('b'), pg_temp.new_order('c'), pg_temp.pay('tc', 'c');
SELECT (payorder.ingest('till', 't' || o, 'pay', o, 100, 'CNY', occurred_at => now() - days * interval '1 day')).verdict FROM (VALUES ('a', 89.9), ('b', 90.1)) AS v (o, days);
SELECT o, pg_temp.ask('refund_' || o, 10, number => o) FROM unnest('{a,b,c}'::text[]) AS o ORDER BY o;
SELECT pg_temp.error_of($$SELECT payorder.request_refund('refund_b', 'b', 10)$$);
-- nor by request_refunds
SELECT pg_temp.state_of($$SELECT payorder.request_refunds('refund_b', 'b', 10)$$);
-- a person can't ask past it either, but refund_all holds it for one
SELECT (payorder.fire('b', 'cancel', 'tester')).state;
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.refunds();
SELECT pg_temp.money('b');
SELECT pg_temp.waits();
SELECT pg_temp.wrong();
ROLLBACK;

\echo max_count of refunds of one payment; what was cancelled does not count
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.set_refund_limits(NULL, NULL, '{"max_count": 2}');
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a'), pg_temp.new_order('b'), pg_temp.pay('tb', 'b');
SELECT pg_temp.ask('refund_1', 10), pg_temp.ask('refund_2', 10);
SELECT pg_temp.ask('refund_3', 10);
-- the same request again is no other one
SELECT pg_temp.ask('refund_2', 10);
-- another payment has its own
SELECT pg_temp.ask('refund_b', 10, number => 'b');
-- failed ones count: they were sent
SELECT pg_temp.hear('refund_failed', 'r2', 'refund_2');
SELECT pg_temp.ask('refund_3', 10);
SELECT pg_temp.error_of($$SELECT payorder.request_refund('refund_3', 'a', 10)$$);
-- one that was held and is cancelled does not
SELECT payorder.set_refund_limits(NULL, NULL, '{"max_count": 3, "share_per_hour": 0}');
SELECT pg_temp.ask('refund_4', 10);
SELECT pg_temp.ask('refund_5', 10);
SELECT pg_temp.settle('refund_4', 'cancel');
SELECT payorder.set_refund_limits(NULL, NULL, '{"share_per_hour": null}');
SELECT pg_temp.ask('refund_5', 10);
SELECT pg_temp.ask('refund_6', 10);
SELECT pg_temp.refunds();
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo smallest_amount, but the rest is never too small
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.set_refund_limits(NULL, NULL, '{"smallest_amount": 30}');
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a'), pg_temp.new_order('b', 20), pg_temp.pay('tb', 'b', 20);
SELECT pg_temp.ask('refund_1', 29);
SELECT pg_temp.error_of($$SELECT payorder.request_refund('refund_1', 'a', 29)$$);
SELECT pg_temp.ask('refund_1', 30);
SELECT pg_temp.ask('refund_2', 45);
SELECT pg_temp.ask('refund_3', 24);
SELECT pg_temp.ask('refund_3', 25);
SELECT pg_temp.ask('refund_b', 19, number => 'b');
SELECT pg_temp.ask('refund_b', number => 'b');
SELECT pg_temp.money(), pg_temp.money('b');
SELECT pg_temp.wrong();
ROLLBACK;

\echo share_per_hour of what came in during the day before: beyond it held, for a person
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.set_refund_limits(NULL, NULL, '{"share_per_hour": 0.1}');
SELECT pg_temp.new_order('a', 1000), pg_temp.pay('t', 'a', 1000);
-- a tenth of 1000 within this hour
SELECT pg_temp.ask('refund_1', 60);
SELECT pg_temp.ask('refund_2', 41);
SELECT pg_temp.ask('refund_3', 40);
SELECT pg_temp.ask('refund_4', 1);
SELECT pg_temp.refunds();
SELECT pg_temp.money();
SELECT pg_temp.open_tasks();
SELECT pg_temp.waits();
-- what is held is promised: nothing else takes it
SELECT pg_temp.ask('refund_5', 859);
SELECT pg_temp.ask('refund_2', 41);
SELECT pg_temp.wrong();
-- more that comes in within the hour does not raise it
SELECT pg_temp.new_order('b', 5000), pg_temp.pay('tb', 'b', 5000);
SELECT pg_temp.ask('refund_b', 1, number => 'b');
-- a person lets it go, or not
SELECT pg_temp.settle('refund_2', 'release');
SELECT pg_temp.settle('refund_4', 'cancel');
SELECT pg_temp.refunds();
SELECT pg_temp.money();
SELECT pg_temp.open_tasks();
SELECT pg_temp.waits();
SELECT pg_temp.wrong();
-- the next hour, and what came in before it
SELECT pg_temp.tamper($$UPDATE payorder.refund_hours SET hour_began_at = hour_began_at - interval '59 minutes'$$);
SELECT pg_temp.ask('refund_6', 1);
SELECT pg_temp.tamper($$UPDATE payorder.refund_hours SET hour_began_at = hour_began_at - interval '1 minute'$$);
SELECT pg_temp.ask('refund_7', 601);
SELECT pg_temp.ask('refund_8', 200), pg_temp.ask('refund_9', 400, number => 'b'), pg_temp.ask('refund_10', 1);
SELECT pg_temp.wrong();
ROLLBACK;

\echo ... per gateway and currency; what is older than a day does not count
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.add_gateway('desk', 'generic', 'shop-2');
SELECT payorder.set_refund_limits(NULL, NULL, '{"share_per_hour": 0.5}');
SELECT pg_temp.new_order(o) FROM unnest('{a,b,c,d}'::text[]) AS o;
SELECT (payorder.create_order('u', 100, 'USD')).state;
SELECT (payorder.ingest(g, 't' || o, 'pay', o, 100, c)).verdict FROM (VALUES ('till', 'a', 'CNY'), ('till', 'b', 'CNY'), ('desk', 'c', 'CNY'), ('till', 'u', 'USD')) AS v (g, o, c);
SELECT pg_temp.tamper($$UPDATE payorder.payments SET received_at = received_at - interval '24 hours 1 minute' WHERE txn_id = 'tb'$$);
SELECT pg_temp.ask('refund_b', 51, number => 'b'), pg_temp.ask('refund_a', 50, number => 'a'), pg_temp.ask('refund_c', 50, number => 'c'), pg_temp.ask('refund_u', 50, number => 'u');
SELECT pg_temp.ask('refund_' || o || '2', 1, number => o) FROM unnest('{a,c,u}'::text[]) AS o;
SELECT pg_temp.waits();
-- what the console refunds is not asked for by us
SELECT verdict FROM payorder.ingest('desk', 'x', 'refund', amount => 49, payment_txn => 'tc');
SELECT pg_temp.wrong();
ROLLBACK;

\echo ... 0: nothing goes by itself; the whole refund is held, never a part of it
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.set_refund_limits(NULL, NULL, '{"share_per_hour": 0}');
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1');
SELECT pg_temp.money();
SELECT pg_temp.waits();
-- the gateway shows that somebody has refunded it there
SAVEPOINT s;
SELECT pg_temp.hear('refund', 'r1', 'refund_1', 100);
SELECT pg_temp.money();
SELECT pg_temp.waits();
SELECT pg_temp.wrong();
ROLLBACK TO s;
SELECT d, pg_temp.settle('refund_1', d) FROM unnest('{succeeded,failed,keep}'::text[]) WITH ORDINALITY AS v (d, n) ORDER BY n;
SELECT pg_temp.settle('refund_1', 'release');
SELECT pg_temp.settle('refund_1', 'release');
SELECT pg_temp.settle('refund_1', 'cancel');
SELECT pg_temp.waits();
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo refund_all beyond a limit: held, one for each payment, and the order waits
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT l, pg_temp.refund_all_with(l)
    FROM unnest(ARRAY['{}', '{"max_age": "1 day"}', '{"max_count": 1}', '{"smallest_amount": 200}', '{"share_per_hour": 0}', '{"share_per_hour": 1}', '{"second_person_above": 0}'])
         WITH ORDINALITY AS v (l, n) ORDER BY n;
ROLLBACK;
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.set_refund_limits(NULL, NULL, '{"share_per_hour": 0}');
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT (payorder.fire('a', 'cancel', 'tester')).state, pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.waits();
SELECT pg_temp.wrong();
-- it is not asked for a second time
SELECT pg_temp.swept(now() + interval '10 minutes');
SELECT pg_temp.refunds();
SAVEPOINT s;
-- cancelled while all is refunded: asked for again, and held again
SELECT pg_temp.settle((SELECT refund_no FROM payorder.refunds), 'cancel');
SELECT pg_temp.swept(now() + interval '20 seconds');
SELECT pg_temp.refunds();
SELECT pg_temp.wrong();
ROLLBACK TO s;
SELECT pg_temp.settle((SELECT refund_no FROM payorder.refunds), 'release');
SELECT pg_temp.waits();
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo the strictest of all that fit: gateway, machine, both, all
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.define_parts() \g /dev/null
SELECT payorder.add_gateway('desk', 'generic', 'shop-2');
SELECT pg_temp.new_order('a'), pg_temp.new_order('b', 100, 'parts'), pg_temp.new_order('c'), pg_temp.new_order('d', 100, 'parts');
SELECT (payorder.ingest(g, 't' || o, 'pay', o, 100, 'CNY')).verdict FROM (VALUES ('till', 'a'), ('till', 'b'), ('desk', 'c'), ('desk', 'd')) AS v (g, o);
SELECT gateway, machine, s,
       pg_temp.outcome(format('SELECT payorder.set_refund_limits(%L, %L, %L)', gateway, machine, s),
                       $$SELECT string_agg(o || ' ' || left(pg_temp.ask('refund_' || o, 10, number => o), 5), ', ' ORDER BY o) FROM unnest('{a,b,c,d}'::text[]) AS o$$)
    FROM (VALUES (1, NULL, NULL), (2, 'till', NULL), (3, NULL, 'parts'), (4, 'till', 'parts'), (5, 'desk', 'order')) AS v (n, gateway, machine),
         unnest(ARRAY['{"smallest_amount": 11}', '{"smallest_amount": 10}', '{"share_per_hour": 0}']) WITH ORDINALITY AS l (s, m)
    ORDER BY n, m;
-- the laxer row of two does not help
SELECT payorder.set_refund_limits(NULL, NULL, '{"smallest_amount": 20, "max_count": 5, "max_age": "1 day", "share_per_hour": 1}');
SELECT payorder.set_refund_limits('till', NULL, '{"smallest_amount": 5, "max_count": 1, "max_age": "10 days", "share_per_hour": 0.5}');
SELECT payorder.set_refund_limits('till', 'order', '{"smallest_amount": 10, "max_count": 9, "max_age": "100 days"}');
SELECT pg_temp.ask('refund_1', 19);
SELECT pg_temp.ask('refund_1', 20);
SELECT pg_temp.ask('refund_2', 20);
SELECT pg_temp.outcome($$SELECT pg_temp.tamper('UPDATE payorder.payments SET received_at = received_at - interval ''2 days''')$$, $$SELECT pg_temp.ask('refund_b', 20, number => 'b')$$);
SELECT pg_temp.ask('refund_b', 100, number => 'b');
SELECT pg_temp.ask('refund_c', 100, number => 'c');
ROLLBACK;

\echo a payment without an order: the limits of its gateway and of all, of no machine
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.set_refund_limits(NULL, 'order', '{"smallest_amount": 90}');
SELECT payorder.set_refund_limits('till', NULL, '{"smallest_amount": 20}');
SELECT pg_temp.pay('t', 'nobody');
SELECT payorder.alter_gateway('till', '{"auto_return_per_hour": 0}');
SELECT verdict, detail FROM payorder.settle_callback('till', 't', 'pay', 'return', 'anna', 'nobody asked for it');
SELECT pg_temp.settle((SELECT refund_no FROM payorder.refunds), 'cancel');
SELECT pg_temp.ask('refund_1', 19, 't', 'till', number => NULL);
SELECT pg_temp.ask('refund_1', 20, 't', 'till', number => NULL);
SELECT pg_temp.wrong();
ROLLBACK;

/* ---- the second person ---- */

\echo above second_person_above two persons say the same
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.set_refund_limits(NULL, NULL, '{"share_per_hour": 0, "second_person_above": 50}');
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 50), pg_temp.ask('refund_2', 49);
SELECT pg_temp.settle('refund_1', 'release');
SELECT pg_temp.settle('refund_2', 'cancel');
SELECT pg_temp.new_order('b'), pg_temp.pay('tb', 'b');
SELECT pg_temp.ask('refund_3', 51, number => 'b');
-- the first call only notes it
SELECT pg_temp.settle('refund_3', 'release', 'anna');
SELECT pg_temp.money('b');
SELECT cause, refund_no, decisions, first_actor, first_decision FROM payorder.attention WHERE refund_no = 'refund_3';
SELECT event, actor, source, reason, payload ->> 'decision', payload -> 'moved' FROM payorder.events WHERE order_no = 'b' ORDER BY seq DESC LIMIT 1;
SELECT pg_temp.wrong();
SELECT pg_temp.settle('refund_3', 'release', 'anna');
SELECT pg_temp.error_of($$SELECT payorder.settle_refund('refund_3', 'release', 'anna', 'x')$$);
-- another decision of another person is a first one again
SELECT pg_temp.settle('refund_3', 'cancel', 'bert');
SELECT first_actor, first_decision FROM payorder.attention WHERE refund_no = 'refund_3';
SELECT pg_temp.settle('refund_3', 'cancel', 'bert');
SELECT pg_temp.settle('refund_3', 'release', 'anna');
SELECT pg_temp.settle('refund_3', 'release', 'bert');
SELECT pg_temp.money('b');
SELECT count(*) FROM payorder.first_decisions;
SELECT pg_temp.waits();
SELECT event, actor, payload ->> 'decision' FROM payorder.events WHERE order_no = 'b' AND event LIKE 'settle%' ORDER BY seq;
SELECT pg_temp.wrong();
ROLLBACK;

\echo ... also of what the console shows, and of keeping
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.set_refund_limits('till', NULL, '{"second_person_above": 99}');
SELECT payorder.set_refund_limits(NULL, 'order', '{"second_person_above": 1000}');
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1');
SELECT pg_temp.take('refund');
SELECT pg_temp.give_up(false);
SELECT pg_temp.settle('refund_1', 'failed', 'anna');
SELECT pg_temp.settle('refund_1', 'succeeded', 'anna');
SELECT pg_temp.settle('refund_1', 'failed', 'bert');
SELECT pg_temp.refunds();
SELECT pg_temp.settle('refund_1', 'failed', 'anna');
SELECT pg_temp.money();
SELECT pg_temp.settle('refund_1', 'keep', 'anna');
SELECT pg_temp.settle('refund_1', 'keep', 'anna');
SELECT pg_temp.settle('refund_1', 'keep', 'bert');
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo ... and of keeping a payment; to return it one is enough
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.set_refund_limits(NULL, NULL, '{"second_person_above": 119}');
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a', 120), pg_temp.new_order('b'), pg_temp.pay('tb', 'b', 119);
SELECT verdict, detail, state, paid FROM payorder.settle_callback('till', 'tb', 'pay', 'keep', 'anna', 'the buyer was generous');
SELECT verdict, detail, state, paid FROM payorder.settle_callback('till', 't', 'pay', 'keep', 'anna', 'the buyer was generous');
SELECT pg_temp.money();
SELECT cause, first_actor, first_decision FROM payorder.attention;
SELECT pg_temp.state_of($$SELECT payorder.settle_callback('till', 't', 'pay', 'keep', 'anna', 'x')$$);
SELECT pg_temp.outcome($$SELECT payorder.settle_callback('till', 't', 'pay', 'return', 'anna', 'x')$$, $$SELECT string_agg(m, ';') FROM pg_temp.money() AS m$$);
SELECT verdict, detail, state, paid FROM payorder.settle_callback('till', 't', 'pay', 'keep', 'bert', 'I agree');
SELECT pg_temp.money();
SELECT pg_temp.waits();
SELECT pg_temp.wrong();
ROLLBACK;

BEGIN READ ONLY;
SELECT f, pg_temp.state_of('SELECT payorder.' || f)
    FROM unnest(ARRAY[$$set_refund_limits(NULL, NULL, '{}')$$, $$settle_refund('refund_1', 'keep', 'anna', 'x')$$, $$settle_callback('till', 't', 'pay', 'keep', 'anna', 'x')$$]) WITH ORDINALITY AS t (f, n) ORDER BY n;
ROLLBACK;
