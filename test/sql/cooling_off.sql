--
-- The cooling-off after payment: as long as the order says, else its machine;
-- cancel goes through by itself, to_ship can't be reached but by its timer, and
-- what the gateways say meanwhile does not shorten or prolong it.
-- Scenarios 34, 35, 75.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set money :inputdir '/sql/include/money.psql'
\i :money

-- How long after its payment the cooling-off of an order ends.
CREATE FUNCTION pg_temp.cools(number text DEFAULT 'a') RETURNS interval
    LANGUAGE sql AS $$
SELECT date_trunc('second', t.due_at - e.at) FROM payorder.timers AS t
JOIN payorder.events AS e ON e.order_no = t.order_no AND e.seq = t.entered_seq
WHERE t.order_no = cools.number AND t.state = 'paid'
$$;
-- Whether it can be ended by hand, whoever tries.
CREATE FUNCTION pg_temp.by_hand(number text DEFAULT 'a') RETURNS text
    LANGUAGE sql AS $$
SELECT concat_ws(', ', pg_temp.state_of(format('SELECT payorder.fire(%L, ''cooled'')', number)),
                 (SELECT (payorder.try_fire(number, 'cooled')).sqlstate),
                 pg_temp.state_of(format('UPDATE payorder.orders SET state = ''to_ship'' WHERE order_no = %L', number)),
                 pg_temp.state_of(format('SELECT payorder.fire(%L, ''ship'')', number)),
                 (SELECT string_agg(e, ' ') FROM payorder.allowed_events(number) AS e))
$$;

\echo as long as the order says, else the machine
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.define_machine('slow', jsonb_set(definition::jsonb, '{parameters,cooling_off}', '"36h"')::json) FROM payorder.machines WHERE name = 'order' AND version = 1 \g /dev/null
SELECT o, (payorder.create_order(o, 100, 'CNY', m, cooling_off => c)).state
    FROM (VALUES ('a', 'order', NULL::interval), ('b', 'order', '1 hour'), ('c', 'slow', NULL), ('d', 'slow', '2 minutes'), ('e', 'order', '1 microsecond'), ('f', 'order', '366 days'), ('g', 'slow', '30 days')) AS v (o, m, c) ORDER BY o;
SELECT order_no, cooling_off FROM payorder.orders ORDER BY 1;
SELECT o, pg_temp.pay('t' || o, o), pg_temp.cools(o) FROM unnest('{a,b,c,d,e,f,g}'::text[]) AS o ORDER BY o;
-- an order in flight stays on its machine's version
SELECT payorder.define_machine('slow', jsonb_set(definition::jsonb, '{parameters,cooling_off}', '"1h"')::json) FROM payorder.machines WHERE name = 'slow' AND version = 1 \g /dev/null
SELECT pg_temp.cools('c'), pg_temp.new_order('h', 100, 'slow'), pg_temp.pay('th', 'h'), pg_temp.cools('h');
SELECT i, pg_temp.state_of(format('SELECT payorder.create_order(''x'', 1, ''CNY'', cooling_off => %L)', i)) FROM unnest('{0,-1 s,1 mon,366 days 1 us,1 day}'::interval[]) WITH ORDINALITY AS v (i, n) ORDER BY n;
SELECT pg_temp.wrong();
-- not longer or shorter where clocks are changed meanwhile: of these some end in
-- another season (34)
SET LOCAL TimeZone = 'America/New_York';
SELECT count(*) FROM generate_series(1, 12) AS n, LATERAL payorder.create_order('n' || n, 100, 'CNY', cooling_off => make_interval(days => 30 * n)), LATERAL pg_temp.pay('tn' || n, 'n' || n);
SELECT DISTINCT extract(epoch FROM pg_temp.cools('n' || n))::integer - n * 30 * 86400 FROM generate_series(1, 12) AS n;
ROLLBACK;

\echo it ends by its timer, once, and by nothing else (75)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.by_hand();
SELECT pg_temp.swept(pg_temp.due('a') - interval '1 microsecond') ~ '\mtimers', pg_temp.state('a');
SAVEPOINT s;
SELECT pg_temp.swept(pg_temp.due('a')), pg_temp.state('a');
SELECT pg_temp.history('a');
SELECT pg_temp.state_of($$SELECT payorder.fire('a', 'cancel')$$), pg_temp.state_of($$SELECT payorder.fire('a', 'ship')$$);
SELECT pg_temp.wrong();
ROLLBACK TO s;
-- the buyer cancels at the last instant: the timer is void
SELECT (payorder.fire('a', 'cancel', 'buyer')).state;
SELECT pg_temp.swept((SELECT due_at FROM payorder.timers WHERE order_no = 'a' AND state = 'paid')), pg_temp.state('a');
SELECT pg_temp.history('a');
SELECT pg_temp.wrong();
ROLLBACK;

\echo what does not touch it: attributes, refunds, a second payment, disputes, messages of old attempts
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT payment_no FROM payorder.begin_payment('a', 'till') \gset
SELECT pg_temp.pay('t', :'payment_no');
CREATE TEMP TABLE timer ON COMMIT DROP AS SELECT * FROM payorder.timers WHERE state = 'paid';
CREATE FUNCTION pg_temp.same_timer() RETURNS text
    LANGUAGE sql AS $$ SELECT format('%s timer, %s the same, %s', count(*), count(b), pg_temp.by_hand()) FROM payorder.timers AS t LEFT JOIN timer AS b ON b = t WHERE t.state = 'paid' $$;
UPDATE payorder.orders SET attributes = '{"gift": true}';
SELECT pg_temp.same_timer();
SELECT pg_temp.ask('refund_1', 10), pg_temp.hear('refund', 'r', 'refund_1', 10), pg_temp.hear('refund_failed', 'r', 'refund_1'), pg_temp.settle('refund_1', 'keep');
SELECT pg_temp.same_timer();
SELECT pg_temp.pay('t2', 'a', 30), pg_temp.hear('pay_closed', 'c'), pg_temp.hear('refund', 'x', NULL, 5, 't');
SELECT pg_temp.same_timer();
SELECT pg_temp.hear('chargeback', 'd', NULL, 50, 't'), pg_temp.hear('chargeback_reversed', 'd', NULL, 50, 't');
SELECT pg_temp.same_timer();
SELECT (payorder.reprice_order('a', 90, 'shop', 'a discount')).state;
SELECT pg_temp.same_timer();
SELECT pg_temp.hear('pay_reversed', 't');
SELECT pg_temp.same_timer();
SELECT pg_temp.swept((SELECT due_at FROM timer)) ~ '\mtimers', pg_temp.state('a');
SELECT pg_temp.wrong();
ROLLBACK;

\echo all of it goes back meanwhile: refunded, and the timer is void
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.hear('refund', 'x', NULL, 100, 't');
SELECT pg_temp.swept(now() + interval '6 minutes'), pg_temp.state('a');
SELECT pg_temp.wrong();
ROLLBACK;

\echo reopened after it expired: a cooling-off of its own, from then
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT (payorder.create_order('a', 100, 'CNY', cooling_off => '1 hour')).state, (payorder.fire('a', 'close')).state;
SELECT pg_temp.pay('t', 'a'), pg_temp.cools();
SELECT pg_temp.wrong();
ROLLBACK;
