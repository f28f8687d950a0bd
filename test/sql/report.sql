--
-- The reports: attention, money_balance, order_overview.payment_status, and
-- check_invariants on what is well.  That each invariant is found when it is
-- broken is in pgtap (invariants).
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- payment_status: each value.
CREATE FUNCTION pg_temp.status(number text) RETURNS text
    LANGUAGE sql AS $$
SELECT payment_status FROM payorder.order_overview WHERE order_no = number
$$;
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT pg_temp.status('o1');
SELECT payment_no FROM payorder.begin_payment('o1', 'till') \gset
SELECT pg_temp.status('o1');
SELECT verdict FROM payorder.ingest('till', 'f1', 'pay_failed', :'payment_no');
SELECT pg_temp.status('o1');
-- what lies in review is not paid
SELECT pg_temp.pay('t0', 'o1', 99);
SELECT pg_temp.status('o1');
SELECT pg_temp.pay('t1', 'o1');
SELECT pg_temp.status('o1');
SELECT pg_temp.pay('t2', 'o1', 5);
SELECT pg_temp.status('o1');
-- the surplus went back
SELECT verdict FROM payorder.ingest('till', 'b2', 'refund', NULL, 5, 'CNY', payment_txn => 't2');
SELECT pg_temp.status('o1');
SELECT state FROM payorder.request_refund('R0000001', 'o1', 30, payment => 't1');
SELECT pg_temp.status('o1');
SELECT verdict FROM payorder.ingest('till', 'b1', 'refund', NULL, 30, 'CNY', refund_no => 'R0000001');
SELECT pg_temp.status('o1');
SELECT verdict FROM payorder.ingest('till', 'b3', 'refund', NULL, 70, 'CNY', payment_txn => 't1');
SELECT pg_temp.status('o1');
SELECT state, paid_amount, refunded_amount FROM payorder.order_overview WHERE order_no = 'o1';
SELECT pg_temp.wrong();
-- amount 0; closed without money
SELECT pg_temp.new_order('o2', 0), pg_temp.new_order('o3');
SELECT state FROM payorder.fire('o3', 'cancel');
SELECT pg_temp.status('o2'), pg_temp.status('o3');
-- late money of an order that stays closed is a surplus
SELECT pg_temp.pay('t3', 'o3');
SELECT pg_temp.status('o3');
-- paid in part, then wholly; a dispute is said before everything else
SELECT pg_temp.define_parts();
SELECT pg_temp.new_order('o4', 100, 'parts'), pg_temp.pay('t4', 'o4', 40, 'pay_part');
SELECT pg_temp.status('o4');
SELECT pg_temp.pay('t5', 'o4', 60, 'pay_part');
SELECT pg_temp.status('o4');
SELECT verdict FROM payorder.ingest('till', 'b5', 'refund', NULL, 60, payment_txn => 't5');
SELECT verdict FROM payorder.ingest('till', 'd4', 'chargeback', NULL, 40, payment_txn => 't4');
SELECT pg_temp.status('o4');
SELECT verdict FROM payorder.ingest('till', 'd4', 'chargeback_reversed', NULL, 40, payment_txn => 't4');
SELECT pg_temp.status('o4');
SELECT machine, machine_version FROM payorder.order_overview WHERE order_no = 'o1';
ROLLBACK;

-- money_balance: received = kept + waiting + returned + disputed + undone -
-- overdrawn, per gateway, currency and UTC day; waiting with its reasons
BEGIN;
SELECT pg_temp.empty();
SELECT count(*) FROM payorder.money_balance;
SELECT payorder.add_gateway('other', 'generic', 'shop-2');
SELECT pg_temp.new_order('o' || n) FROM generate_series(1, 6) AS n;
SELECT state FROM payorder.create_order('u1', 100, 'USD');
SELECT pg_temp.pay('t' || n, 'o' || n) FROM generate_series(1, 4) AS n;
SELECT pg_temp.pay('t5', 'o1', 7), pg_temp.pay('t6', 'o5', 99), pg_temp.pay('t7', 'o9');
SELECT verdict FROM payorder.ingest('till', 'u1', 'pay', 'u1', 100, 'USD');
SELECT verdict FROM payorder.ingest('other', 't1', 'pay', 'o6', 100, 'CNY');
SELECT state FROM payorder.request_refund('R0000002', 'o2', 40);
SELECT verdict FROM payorder.ingest('till', 'b3', 'refund', NULL, 60, 'CNY', payment_txn => 't3');
-- more came back than was ever paid
SELECT verdict FROM payorder.ingest('till', 'b4', 'refund', NULL, 130, 'CNY', payment_txn => 't4');
-- a dispute, and a payment that was undone
SELECT verdict FROM payorder.ingest('till', 'd2', 'chargeback', NULL, 30, payment_txn => 't2');
SELECT pg_temp.new_order('o7'), pg_temp.pay('t8', 'o7'), (payorder.ingest('till', 't8', 'pay_reversed')).verdict;
SELECT gateway, currency, sum(payments), sum(received), sum(kept), sum(waiting), sum(review), sum(owed), sum("returning"), sum(returned),
       sum(disputed), sum(undone), sum(overdrawn)
    FROM payorder.money_balance GROUP BY 1, 2 ORDER BY 1, 2;
SELECT bool_and(received = kept + waiting + returned + disputed + undone - overdrawn), bool_and(waiting = review + owed + "returning") FROM payorder.money_balance;
SELECT pg_temp.wrong();
-- the day is the UTC one, wherever the session is
SELECT pg_temp.tamper($$UPDATE payorder.payments SET received_at = '2026-01-31 23:59:59.999999+00' WHERE txn_id = 'u1'$$);
SET LOCAL TimeZone = 'Asia/Shanghai';
SELECT day FROM payorder.money_balance WHERE currency = 'USD';
SET LOCAL TimeZone = 'America/New_York';
SELECT day FROM payorder.money_balance WHERE currency = 'USD';
ROLLBACK;

-- attention: everything that waits for a person, with subject, cause, amount,
-- order, age and what can be decided; gone when it is decided or over
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_task_kind('bake', max_attempts => 1);
SELECT count(*) FROM payorder.attention;
SELECT pg_temp.new_order('o' || n) FROM generate_series(1, 5) AS n;
SELECT pg_temp.pay('t1', 'o1', 99);
SELECT pg_temp.pay('t2', 'o2');
SELECT pg_temp.pay('t2', 'o2', 101);
SELECT pg_temp.pay('t3', 'o3');
SELECT verdict FROM payorder.ingest('till', 'b3', 'refund', NULL, 130, 'CNY', payment_txn => 't3');
SELECT pg_temp.pay('t4', 'o4');
SELECT state FROM payorder.request_refund('R0000004', 'o4', 60);
SELECT pg_temp.answer('refund', pg_temp.says('refund_failed', 'b4'));
SELECT verdict, detail FROM payorder.ingest('till', 't5', 'pay', 'o5', 0, 'CNY');
SELECT payorder.enqueue('bake', 'o5', '{"amount": "a lot", "currency": 5}') IS NOT NULL;
SELECT payorder.fail(task, token, 'burnt') FROM payorder.claim('{bake}');
SELECT kind, regexp_replace(subject, '^bake \d+', 'bake N') AS subject, cause, amount, currency, order_no, gateway, txn_id, event, refund_no,
       abs(extract(epoch FROM age)) < 3600 AS young, task IS NOT NULL AS task, decisions
    FROM payorder.attention ORDER BY cause, subject;
-- each has a decision that there is, but what was overdrawn, which ends by
-- itself; that each decision can be carried out is in attention.sql
SELECT DISTINCT d FROM payorder.attention, unnest(decisions) AS d
    WHERE NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'payorder'::regnamespace AND proname = split_part(d, ' ', 1));
SELECT cause FROM payorder.attention WHERE cardinality(decisions) = 0 ORDER BY 1;
SELECT pg_temp.wrong();
-- what is over is gone
SELECT state FROM payorder.request_refund('R0000005', 'o4', 60);
SELECT pg_temp.pay('t5', 'o5');
SELECT pg_temp.attention();
SELECT pg_temp.wrong();
ROLLBACK;

-- a payment that is parked: nobody is troubled at first, an alarm after
-- park_alert, a decision after park_limit; nothing more once its order is there
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.pay('t1', 'o1');
SELECT pg_temp.swept(now() + interval '9 minutes 59 seconds');
SELECT pg_temp.attention();
SELECT pg_temp.swept(now() + interval '10 minutes 1 second');
SELECT pg_temp.attention();
SELECT pg_temp.swept(now() + interval '2 days 23 hours');
SELECT pg_temp.attention();
SELECT pg_temp.swept(now() + interval '3 days 1 minute');
SELECT pg_temp.attention();
SELECT pg_temp.swept(now() + interval '30 days');
SELECT pg_temp.wrong();
SELECT pg_temp.new_order('o1');
SELECT pg_temp.state('o1');
SELECT pg_temp.attention();
SELECT pg_temp.wrong();
ROLLBACK;

-- check_invariants: no row for a shop in which everything happens
BEGIN;
SELECT pg_temp.empty();
SELECT * FROM payorder.check_invariants();
SELECT pg_temp.new_order('o' || n) FROM generate_series(1, 4) AS n;
SELECT count(pg_temp.pay('t' || n, 'o' || n, 99 + n % 2)) FROM generate_series(1, 3) AS n;
SELECT state FROM payorder.begin_payment('o4', 'till');
SELECT state FROM payorder.fire('o1', 'cancel');
SELECT count(*) FROM generate_series(1, 60) AS n, LATERAL payorder.sweep(1000, now() + make_interval(mins => n)) AS s;
SELECT order_no, state FROM payorder.orders ORDER BY 1;
SELECT * FROM payorder.check_invariants();
ROLLBACK;
BEGIN READ ONLY;
SELECT count(*) >= 0 FROM payorder.check_invariants();
ROLLBACK;
