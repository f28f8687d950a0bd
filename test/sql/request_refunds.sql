--
-- request_refunds(): an amount over several payments of an order; and
-- request_refund() of a payment without an order.  Orders that are paid in
-- parts.  Scenarios 43, 44, 80.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set money :inputdir '/sql/include/money.psql'
\i :money

-- What request_refunds says: its refunds, in its order.
CREATE FUNCTION pg_temp.ask_all(refund_no text, amount bigint DEFAULT NULL, number text DEFAULT 'a') RETURNS text
    LANGUAGE plpgsql AS $$
BEGIN
    RETURN coalesce((SELECT string_agg(format('%s %s %s of %s:%s', r.refund_no, r.state, r.amount, r.gateway, r.payment), ', ' ORDER BY r.n)
                     FROM payorder.request_refunds(ask_all.refund_no, number, ask_all.amount, 'test', 'tester') WITH ORDINALITY
                          AS r (refund_no, order_no, gateway, payment, amount, currency, cause, state, requested_at, succeeded_at, n)), 'nothing');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
-- An order of 100, paid in three parts: 50, 30 and 20, the newest last.
CREATE FUNCTION pg_temp.three(number text DEFAULT 'a') RETURNS text
    LANGUAGE sql AS $$
SELECT pg_temp.new_order(number, 100, 'parts');
SELECT pg_temp.pay(number || '1', number, 50, 'pay_part');
SELECT pg_temp.pay(number || '2', number, 30, 'pay_part');
SELECT pg_temp.pay(number || '3', number, 20, 'pay_part');
$$;

\echo newest payment first; as many refunds as are needed
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.define_parts() \g /dev/null
SELECT pg_temp.three();
SELECT n, pg_temp.outcome(format('SELECT set_config(''test.said'', pg_temp.ask_all(''refund'', %s), true)', coalesce(n, 'NULL')),
                          $$SELECT concat_ws(E'\n  ', '', current_setting('test.said'), (SELECT string_agg(m, ', ') FROM pg_temp.money() AS m), (SELECT string_agg(t, ', ') FROM pg_temp.open_tasks() AS t), (SELECT string_agg(w, ', ') FROM pg_temp.wrong() AS w))$$)
    FROM unnest('{1,20,21,50,51,100,101,NULL}'::text[]) WITH ORDINALITY AS v (n, m) ORDER BY m;
ROLLBACK;

\echo each is a refund of its own, with its number, task, event and end
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.define_parts() \g /dev/null
SELECT pg_temp.three();
SELECT pg_temp.ask_all('refund', 45);
SELECT pg_temp.refunds();
SELECT DISTINCT cause, reason, actor FROM payorder.refunds;
SELECT idempotency_key, payload ->> 'refund_no' = idempotency_key AS same, payload ->> 'txn_id' AS payment, payload -> 'amount' AS amount FROM payorder.tasks ORDER BY 1;
SELECT event, actor, txn_id, payload ->> 'refund_no' FROM payorder.events WHERE event = 'refund_asked' ORDER BY seq;
-- one succeeds, one fails; nothing is asked for again
SELECT pg_temp.hear('refund', 'r1', 'refund_1', 20), pg_temp.hear('refund_failed', 'r2', 'refund_2');
SELECT pg_temp.ask_all('refund', 45);
SELECT pg_temp.ask_all('refund');
SELECT pg_temp.money();
-- the rest with another number: what is owed goes first
SELECT pg_temp.ask_all('once_more', 30);
SELECT pg_temp.refunds();
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo the same number again: the same refunds, or PO014
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.define_parts() \g /dev/null
SELECT pg_temp.three(), pg_temp.three('b');
SELECT pg_temp.ask_all('refund', 45);
SELECT pg_temp.ask_all('refund', 45), (SELECT count(*) FROM payorder.refunds), (SELECT count(*) FROM payorder.tasks);
SELECT pg_temp.ask_all('refund');
SELECT pg_temp.ask_all('refund', 44), pg_temp.ask_all('refund', 46), pg_temp.ask_all('refund', 20);
SELECT pg_temp.ask_all('refund', 45, 'b'), pg_temp.ask_all('refund', number => 'b');
SELECT pg_temp.error_of($$SELECT payorder.request_refunds('refund', 'a', 44)$$);
-- what was asked for one by one is the same, if it has such a number
SELECT pg_temp.ask('refund_1', 20, 'a3');
SELECT pg_temp.ask('refund_1', 21, 'a3');
SELECT pg_temp.ask('single_1', 10, 'a1');
SELECT pg_temp.ask_all('single', 10);
SELECT pg_temp.ask_all('single', 11);
-- one number is not the beginning of another
SELECT pg_temp.ask_all('refund_1', 5);
SELECT pg_temp.refunds();
SELECT pg_temp.wrong();
ROLLBACK;

\echo refused: more than there is, nothing, no order, a bad number
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.define_parts() \g /dev/null
SELECT pg_temp.three(), pg_temp.new_order('unpaid');
SELECT n, pg_temp.ask_all('refund', n) FROM unnest(ARRAY[101, 9223372036854775807, 0, -1]) WITH ORDINALITY AS v (n, m) ORDER BY m;
SELECT pg_temp.ask_all('refund', number => 'unpaid'), pg_temp.ask_all('refund', 1, 'unpaid'), pg_temp.ask_all('refund', number => 'nobody'), pg_temp.ask_all('refund', number => NULL);
SELECT n, left(pg_temp.ask_all(n, 1), 5) FROM unnest(ARRAY[NULL, '', 'five5', 'six_66', repeat('x', 30), repeat('x', 31), 'with-minus', 'with space', 'ünïcodes']) WITH ORDINALITY AS v (n, m) ORDER BY m;
SELECT count(*) FROM payorder.refunds;
SELECT pg_temp.error_of($$SELECT payorder.request_refunds('refund', 'a', 101)$$);
SELECT pg_temp.wrong();
ROLLBACK;

\echo what is reserved, stuck, in review or a surplus is left out
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.define_parts() \g /dev/null
SELECT pg_temp.three(), pg_temp.pay('x', 'a', 70);
SELECT pg_temp.ask('reserved', 15, 'a3'), pg_temp.ask('stuck_one', 10, 'a2');
SELECT pg_temp.hear('refund_stuck', 's', 'stuck_one');
SELECT pg_temp.ask_all('refund', 56);
SELECT pg_temp.ask_all('refund');
SELECT pg_temp.money();
SELECT pg_temp.ask_all('nothing_left');
SELECT pg_temp.wrong();
ROLLBACK;

\echo an order with one payment, a failed refund of it before
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 40), pg_temp.hear('refund_failed', 'f', 'refund_1');
SELECT pg_temp.ask_all('all_of_it');
SELECT pg_temp.refunds();
SELECT pg_temp.waits();
SELECT pg_temp.hear('refund', 'r', 'all_of_it_1', 100);
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo payments at two gateways: each its own task there
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.define_parts() \g /dev/null
SELECT payorder.add_gateway('desk', 'generic', 'shop-2') \g /dev/null
SELECT pg_temp.new_order('a', 100, 'parts'), pg_temp.pay('t', 'a', 60, 'pay_part');
SELECT verdict FROM payorder.ingest('desk', 't', 'pay', 'a', 40, 'CNY');
SELECT pg_temp.ask_all('refund', 70);
SELECT gateway, idempotency_key, payload -> 'amount' FROM payorder.tasks ORDER BY 1;
SELECT pg_temp.wrong();
ROLLBACK;

\echo a limit of one payment refuses all, the share of the hour holds what is beyond it
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.define_parts() \g /dev/null
SELECT pg_temp.three();
SELECT pg_temp.ask('before_1', 1, 'a2');
SELECT l, pg_temp.outcome(format('SELECT payorder.set_refund_limits(NULL, NULL, %L)', l),
                          $$SELECT concat_ws('; ', pg_temp.ask_all('refund', 60), (SELECT string_agg(m, ', ') FROM pg_temp.money() AS m), (SELECT string_agg(w, ', ') FROM pg_temp.wrong() AS w))$$)
    FROM unnest(ARRAY['{"max_count": 1}', '{"max_count": 2}', '{"smallest_amount": 20}', '{"smallest_amount": 11}', '{"share_per_hour": 0.5}']) WITH ORDINALITY AS v (l, n) ORDER BY n;
ROLLBACK;

\echo all of it is refunded this way too: the order is refunded
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.define_parts() \g /dev/null
SELECT pg_temp.three();
SELECT pg_temp.ask_all('everything');
SELECT refund_no, pg_temp.hear('refund', 'r' || refund_no, refund_no, amount) FROM payorder.refunds ORDER BY refund_no;
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo a part is refunded while the rest is not paid yet
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.define_parts() \g /dev/null
SELECT pg_temp.new_order('a', 100, 'parts'), pg_temp.pay('a1', 'a', 40, 'pay_part');
SELECT pg_temp.ask_all('refund', 40);
SELECT pg_temp.hear('refund', 'r1', 'refund_1', 40);
SELECT pg_temp.money();
-- what was paid counts as paid, refunded or not
SELECT pg_temp.pay('a2', 'a', 60);
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

/* ---- a payment without an order ---- */

\echo named by its gateway and id; only what is owed can be asked back (80)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.pay('t', 'x'), pg_temp.pay('t2', 'y', 50);
SELECT pg_temp.ask('refund_1', 10, 't', 'till', number => NULL);
SELECT verdict, detail, order_no FROM payorder.settle_callback('till', 't', 'pay', 'return', 'anna', 'nobody knows it');
-- all of it is held for its return
SELECT pg_temp.ask('refund_1', 10, 't', 'till', number => NULL);
SELECT pg_temp.take('return');
SELECT pg_temp.finish('{"confirmed": ["t"]}');
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund_failed', 'f');
SELECT pg_temp.waits();
SELECT pg_temp.ask('refund_1', 101, 't', 'till', number => NULL);
SELECT pg_temp.ask('refund_1', 60, 't', 'till', number => NULL);
SELECT pg_temp.ask('refund_1', 60, 't', 'till', number => NULL), pg_temp.ask('refund_1', 61, 't', 'till', number => NULL), pg_temp.ask('refund_1', 60, 't2', 'till', number => NULL);
SELECT pg_temp.ask('refund_2', payment => 't', gateway => 'till', number => NULL);
SELECT order_no, gateway, txn_id, kept, owed, "returning" FROM payorder.payments ORDER BY txn_id;
SELECT refund_no, order_no, payment, state FROM payorder.request_refund('refund_2', NULL, payment => 't', gateway => 'till');
SELECT order_no, gateway, pg_temp.masked(idempotency_key) FROM payorder.tasks WHERE kind = 'refund' ORDER BY id;
SELECT pg_temp.hear('refund', 'r1', 'refund_1', 60), pg_temp.hear('refund', 'r2', 'refund_2', 40);
SELECT returned FROM payorder.payments WHERE txn_id = 't';
SELECT pg_temp.wrong();
-- what is not named well
SELECT a, pg_temp.state_of(format('SELECT payorder.request_refund(''refund_9'', NULL, %s)', a))
    FROM unnest(ARRAY[$$10$$, $$10, payment => 't2'$$, $$10, gateway => 'till'$$, $$10, payment => 't2', gateway => 'desk'$$, $$10, payment => 't9', gateway => 'till'$$,
                      $$0, payment => 't2', gateway => 'till'$$, $$10, payment => 't2', gateway => 'till', currency => 'USD'$$]) WITH ORDINALITY AS v (a, n) ORDER BY n;
ROLLBACK;

\echo a payment named without its order
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT refund_no, order_no, payment, state FROM payorder.request_refund('refund_1', NULL, 10, payment => 't', gateway => 'till');
SELECT pg_temp.ask('refund_1', 10);
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

BEGIN READ ONLY;
SELECT pg_temp.state_of($$SELECT payorder.request_refunds('refund', 'a')$$), pg_temp.state_of($$SELECT payorder.request_refund('refund_1', NULL, payment => 't', gateway => 'till')$$);
ROLLBACK;
