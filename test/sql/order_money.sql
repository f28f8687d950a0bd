--
-- order_money(): how the money of an order's payments moved.  Whatever happened
-- to an order, each row goes on from the one before, and the last row of each
-- payment is the payment's pots; also of what moved before its order was known.
-- Scenarios 6, 8, 11, 12, 71, 74, 79, 80.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set money :inputdir '/sql/include/money.psql'
\i :money

-- A payment's pots after each move, of those that are not empty.
CREATE FUNCTION pg_temp.moves(number text DEFAULT 'a') RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT format('%s%s %s %s: %s', nullif(m.gateway, 'till') || ':', m.txn_id, m.step, concat_ws(' ', m.event, m.reason),
              concat_ws(', ', 'kept ' || nullif(m.kept, 0), 'review ' || nullif(m.review, 0), 'owed ' || nullif(m.owed, 0), 'returning ' || nullif(m."returning", 0),
                        'returned ' || nullif(m.returned, 0), 'disputed ' || nullif(m.disputed, 0), 'undone ' || nullif(m.undone, 0), 'overdrawn ' || nullif(m.overdrawn, 0)))
FROM payorder.order_money(number) AS m
$$;

-- What is wrong with the moves of all orders: a step that is missing, a row that
-- does not follow from the one before, does not sum, or is not what is now.
CREATE FUNCTION pg_temp.wrong_moves() RETURNS SETOF text
    LANGUAGE sql AS $$
WITH moves AS (
    SELECT o.order_no, m.*, p.amount, row_number() OVER w AS number, count(*) OVER (PARTITION BY m.gateway, m.txn_id) AS steps,
           ARRAY[m.kept, m.review, m.owed, m."returning", m.returned, m.disputed, m.undone, m.overdrawn] AS pots,
           lag(ARRAY[m.kept, m.review, m.owed, m."returning", m.returned, m.disputed, m.undone, m.overdrawn], 1, '{0,0,0,0,0,0,0,0}') OVER w AS before,
           ARRAY[p.kept, p.review, p.owed, p."returning", p.returned, p.disputed, p.undone, p.overdrawn] AS now,
           lag(m.at) OVER w AS earlier, p.currency AS its_currency
    FROM payorder.orders AS o CROSS JOIN LATERAL payorder.order_money(o.order_no) AS m
    JOIN payorder.payments AS p ON p.gateway = m.gateway AND p.txn_id = m.txn_id AND p.order_no = o.order_no
    WINDOW w AS (PARTITION BY m.gateway, m.txn_id ORDER BY m.step))
SELECT format('%s %s:%s step %s', order_no, gateway, txn_id, step) || said
FROM moves, LATERAL (
    SELECT ' is not the next' WHERE step <> number
    UNION ALL SELECT ' does not sum' WHERE amount + overdrawn <> kept + review + owed + "returning" + returned + disputed + undone OR 0 > ANY (pots)
    UNION ALL SELECT ' does not follow' WHERE EXISTS (
        SELECT FROM unnest('{kept,review,owed,returning,returned,disputed,undone,overdrawn}'::text[], before, pots) AS u (pot, b, p)
        WHERE b + coalesce((moved ->> pot)::bigint, 0) IS DISTINCT FROM p)
    UNION ALL SELECT ' is not what is now' WHERE step = steps AND pots <> now
    UNION ALL SELECT ' is too early' WHERE at < earlier
    UNION ALL SELECT ' is in another currency' WHERE currency <> its_currency
    UNION ALL SELECT ' has no event, actor or move' WHERE event IS NULL OR actor IS NULL OR moved IS NULL) AS s (said)
UNION ALL
SELECT format('%s:%s has no move', p.gateway, p.txn_id) FROM payorder.payments AS p
WHERE p.order_no IS NOT NULL AND NOT EXISTS (SELECT FROM payorder.order_money(p.order_no) AS m WHERE m.gateway = p.gateway AND m.txn_id = p.txn_id)
$$;

\echo no order, no payment: no row
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT o, count(m) FROM unnest('{a,nobody,NULL}'::text[]) AS o LEFT JOIN LATERAL payorder.order_money(o) AS m ON true GROUP BY 1 ORDER BY 1;
ROLLBACK;

\echo an order whose payment came before it, was disputed and refunded while it waited (6, 11)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.pay('t', 'a');
SELECT pg_temp.hear('chargeback', 'd', NULL, 30, 't');
SELECT pg_temp.hear('refund', 'r', NULL, 20, 't');
SELECT pg_temp.hear('chargeback_reversed', 'd', NULL, 30, 't');
SELECT count(*) FROM payorder.order_money('a');
SELECT pg_temp.new_order('a');
SELECT pg_temp.moves();
SELECT pg_temp.wrong_moves();
-- and it goes on
SELECT pg_temp.ask('refund_1', 30);
SELECT pg_temp.hear('refund', 'r1', 'refund_1', 30);
SELECT pg_temp.hear('refund_failed', 'r1', 'refund_1');
SELECT pg_temp.moves() OFFSET 5;
SELECT pg_temp.money();
SELECT pg_temp.wrong_moves();
SELECT pg_temp.wrong();
ROLLBACK;

\echo all that can happen to one order
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.add_gateway('desk', 'generic', 'shop-2') \g /dev/null
SELECT pg_temp.new_order('a');
-- a mismatch, the payment, one too many, one that is undone
SELECT pg_temp.pay('t0', 'a', 120), pg_temp.pay('t', 'a'), pg_temp.pay('t2', 'a', 70);
SELECT verdict FROM payorder.ingest('desk', 't', 'pay', 'a', 55, 'CNY');
SELECT pg_temp.hear('pay_reversed', 't2');
-- refunds: asked, done, failed for good, failed later, made elsewhere, too much
SELECT pg_temp.ask('refund_1', 30, 't', 'till'), pg_temp.ask('refund_2', 20, 't', 'till'), pg_temp.ask('refund_3', 10, 't', 'till');
SELECT pg_temp.hear('refund', 'r1', 'refund_1', 30), pg_temp.hear('refund_failed', 'r2', 'refund_2'), pg_temp.hear('refund', 'r3', 'refund_3', 10), pg_temp.hear('refund_failed', 'r3', 'refund_3');
SELECT pg_temp.settle('refund_2', 'keep');
SELECT pg_temp.hear('refund', 'r2b', 'refund_2', 20);
SELECT pg_temp.hear('chargeback', 'd', NULL, 25, 't');
SELECT pg_temp.hear('refund', 'x', NULL, 40, 't');
SELECT pg_temp.hear('chargeback_reversed', 'd', NULL, 25, 't');
-- the mismatch goes back
SELECT verdict, detail FROM payorder.settle_callback('till', 't0', 'pay', 'return', 'anna', 'too much');
SELECT pg_temp.take('return');
SELECT pg_temp.finish(json_build_object('confirmed', ARRAY['t0', 't']));
SELECT pg_temp.moves();
SELECT pg_temp.money();
SELECT pg_temp.wrong_moves();
SELECT pg_temp.wrong();
SELECT gateway, txn_id, currency, step, event, reason, actor, moved FROM payorder.order_money('a') WHERE txn_id = 't' AND gateway = 'till' LIMIT 3;
ROLLBACK;

\echo what a person attached, kept, returned (79, 80)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.new_order('b'), pg_temp.new_order('c');
SELECT pg_temp.pay('ta', 'x'), pg_temp.pay('tb', 'b', 120), pg_temp.pay('tc', 'y', 77);
SELECT pg_temp.hear('refund', 'r', NULL, 10, 'ta');
SELECT verdict, detail FROM payorder.settle_callback('till', 'ta', 'pay', 'attach', 'anna', 'the number was misspelt', 'a');
SELECT verdict, detail FROM payorder.settle_callback('till', 'tb', 'pay', 'keep', 'anna', 'a gift');
SELECT verdict, detail FROM payorder.settle_callback('till', 'tc', 'pay', 'return', 'anna', 'nobody knows it');
SELECT pg_temp.moves('a'), pg_temp.moves('b');
SELECT pg_temp.wrong_moves();
SELECT pg_temp.wrong();
ROLLBACK;

\echo many orders, many moves, by chance but always the same
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.define_parts() \g /dev/null
SELECT setseed(0.1) \g /dev/null
CREATE FUNCTION pg_temp.shake(n integer) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    t text := 't' || 1 + floor(random() * 12);
    o text := 'o' || 1 + floor(random() * 6);
    a bigint := 1 + floor(random() * 60);
BEGIN
    CASE floor(random() * 12)
        WHEN 0 THEN PERFORM pg_temp.new_order(o, 100, 'parts');
        WHEN 1, 2 THEN PERFORM pg_temp.pay(t, o, CASE WHEN a > 40 THEN 100 ELSE a END, CASE WHEN a % 2 = 0 THEN 'pay' ELSE 'pay_part' END);
        WHEN 3 THEN PERFORM pg_temp.hear('refund', 'x' || n, NULL, a, t);
        WHEN 4 THEN PERFORM pg_temp.hear('chargeback', 'd' || n % 40, NULL, a, t);
        WHEN 5 THEN PERFORM pg_temp.hear('chargeback_reversed', 'd' || n % 40, NULL, a / 2 + 1, t);
        WHEN 6, 7 THEN PERFORM pg_temp.ask('refund_' || n, a, t, number => (SELECT order_no FROM payorder.payments WHERE txn_id = t AND order_no IN (SELECT order_no FROM payorder.orders)));
        WHEN 8 THEN PERFORM pg_temp.hear(CASE WHEN a % 3 = 0 THEN 'refund_failed' ELSE 'refund' END, 'r' || n, refund_no, amount) FROM payorder.refunds ORDER BY refund_no LIMIT 1;
        WHEN 9 THEN PERFORM payorder.sweep(100, now() + n * interval '1 second');
        WHEN 10 THEN IF n % 20 = 0 THEN PERFORM pg_temp.hear('pay_reversed', t); END IF;
        ELSE
            BEGIN
                PERFORM payorder.settle_callback('till', t, 'pay', CASE WHEN a % 2 = 0 THEN 'keep' ELSE 'return' END, 'anna', 'x', o);
            EXCEPTION WHEN OTHERS THEN
                IF SQLSTATE NOT IN ('55000', 'PO002', '22023') THEN RAISE; END IF;
            END;
    END CASE;
END $$;
SELECT count(pg_temp.shake(n)) FROM generate_series(1, 600) AS n;
SELECT count(*) > 5 AS orders, (SELECT count(*) > 8 FROM payorder.payments WHERE order_no IS NOT NULL) AS payments, sum(m.n) > 60 AS moves
    FROM payorder.orders AS o CROSS JOIN LATERAL (SELECT count(*) AS n FROM payorder.order_money(o.order_no)) AS m;
SELECT pg_temp.wrong_moves();
SELECT pg_temp.wrong();
SELECT bool_and(received = kept + waiting + returned + disputed + undone - overdrawn), bool_and(waiting = review + owed + "returning") FROM payorder.money_balance;
ROLLBACK;
