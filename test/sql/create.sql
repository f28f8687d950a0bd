--
-- Room create: create_order, once and again, what it refuses, orders of amount
-- 0, and orders that meet what came before them.
-- Scenarios 6, 11, 84; 13 and 86 for callbacks that waited.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- a new order: its row, its first event, its timers (all of them in the future)
BEGIN;
SELECT pg_temp.empty();
SELECT order_no, machine, machine_version, state, amount, currency, paid_amount, refunding_amount, refunded_amount, disputed_amount,
       overdrawn_amount, frozen, version, pay_by - created_at, cooling_off, created_at = updated_at, closed_at
    FROM payorder.create_order('o1', 1990, 'CNY');
SELECT attributes FROM payorder.orders;
SELECT seq, event, from_state, to_state, actor = session_user, source, payload FROM payorder.events;
SELECT kind, state, number, entered_seq, tries, date_trunc('second', due_at - created_at)
    FROM payorder.timers JOIN payorder.orders USING (order_no, state) ORDER BY due_at;
SELECT bool_and(due_at >= pay_by) FROM payorder.timers JOIN payorder.orders USING (order_no, state) WHERE number = 3;
SELECT * FROM pg_temp.tasks();
SELECT pg_temp.wrong();
ROLLBACK;

-- the same again is the same order, whatever became of it; nothing is written
BEGIN;
SELECT pg_temp.empty();
SELECT state, version FROM payorder.create_order('o1', 100, 'CNY', 'order', '[]', '{"a": 1}', '1 hour', '1 day');
SELECT state, version FROM payorder.create_order('o1', 100, 'CNY', 'order', '[]', '{"a": 1}', '1 hour', '1 day');
SELECT state, version FROM payorder.create_order('o1', 100, 'CNY', NULL, NULL);
SELECT state, version, pay_by - created_at, cooling_off FROM payorder.create_order('o1', 100, 'CNY', attributes => '{"a": 2}', pay_within => '2 hours');
SELECT attributes FROM payorder.orders;
SELECT pg_temp.pay('t1', 'o1');
SELECT state, version FROM payorder.create_order('o1', 100, 'CNY');
SELECT pg_temp.history('o1');
SELECT count(*) FROM payorder.timers WHERE state = 'pending';
-- each fact that differs is PO003
SELECT pg_temp.error_of($$SELECT payorder.create_order('o1', 101, 'CNY')$$);
SELECT pg_temp.state_of($$SELECT payorder.create_order('o1', 0, 'CNY')$$),
       pg_temp.state_of($$SELECT payorder.create_order('o1', 100, 'USD')$$);
SELECT payorder.define_machine('short', '{"initial": "new", "states": {"new": {"on": {"pay": {"target": "done"}, "drop": {"target": "gone"}},
    "after": {"1h": {"fire": "drop"}}}, "done": {"type": "final"}, "gone": {"type": "final"}}}');
SELECT pg_temp.state_of($$SELECT payorder.create_order('o1', 100, 'CNY', 'short')$$);
-- a newer version of its machine is not another machine; the order stays on its own
SELECT machine_version FROM payorder.create_order('o2', 5, 'CNY', 'short');
SELECT payorder.define_machine('short', '{"initial": "new", "states": {"new": {"on": {"pay": {"target": "done"}, "drop": {"target": "gone"}},
    "after": {"2h": {"fire": "drop"}}}, "done": {"type": "final"}, "gone": {"type": "final"}}}');
SELECT machine_version FROM payorder.create_order('o2', 5, 'CNY', 'short');
SELECT machine_version, pay_by, cooling_off FROM payorder.create_order('o3', 5, 'CNY', 'short');
ROLLBACK;

-- refused: machine, amount, currency, items
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.error_of($$SELECT payorder.create_order('o1', 100, 'CNY', 'nothing')$$);
SELECT pg_temp.error_of($$SELECT payorder.create_order('o1', 100, 'CNY', '')$$);
SELECT pg_temp.error_of($$SELECT payorder.create_order('o1', -1, 'CNY')$$);
SELECT pg_temp.error_of($$SELECT payorder.create_order('o1', 100, 'XXX')$$);
SELECT arguments, pg_temp.state_of(format('SELECT payorder.create_order(%s)', arguments))
    FROM unnest(ARRAY[$$'o1', (-9223372036854775808)::bigint, 'CNY'$$, $$'o1', 9223372036854775807, 'CNY'$$,
                      $$'o1', 100, 'cny'$$, $$'o1', 100, 'CN'$$, $$'o1', 100, 'CNYY'$$, $$'o1', 100, ''$$, $$'o1', 100, ' CNY'$$,
                      $$NULL, 100, 'CNY'$$, $$'o1', NULL, 'CNY'$$, $$'o1', 100, NULL$$,
                      $$'o1', 100, 'CNY', items => '{}'$$, $$'o1', 100, 'CNY', items => '5'$$, $$'o1', 100, 'CNY', items => 'null'$$,
                      $$'o1', 100, 'CNY', items => '[]'$$, $$'o1', 100, 'CNY', items => '[{"sku": "a", "quantity": 1}]'$$,
                      $$'o1', 100, 'CNY', items => '[[]]'$$]) WITH ORDINALITY AS a (arguments, n)
    ORDER BY n;
-- a decimal is no amount: 100.5 is never 101 (14)
SELECT pg_temp.state_of($$SELECT payorder.create_order('o1', 100.5, 'CNY')$$), pg_temp.state_of($$SELECT payorder.create_order('o1', '100.5', 'CNY')$$),
       pg_temp.state_of($$SELECT payorder.create_order('o1', 9223372036854775808, 'CNY')$$), pg_temp.state_of($$SELECT payorder.create_order('o1', 'NaN', 'CNY')$$);
SELECT count(*) FROM payorder.orders;
ROLLBACK;

-- intervals: positive, at most 366 days, no months, which have no length
BEGIN;
SELECT pg_temp.empty();
SELECT i, pg_temp.state_of(format('SELECT payorder.create_order(''o1'', 1, ''CNY'', pay_within => %L)', i)),
       pg_temp.state_of(format('SELECT payorder.create_order(''o1'', 1, ''CNY'', cooling_off => %L)', i))
    FROM unnest('{1 us,15 minutes,1 day -23 hours,366 days,8784 hours,0,-1 s,00:00:00,1 day -25 hours,366 days 1 us,8785 hours,1 month,1 year,1 month -30 days,-1 month 40 days,2147483647 days,2562047788 hours}'::text[])
        WITH ORDINALITY AS t (i, n) ORDER BY n;
SELECT pg_temp.error_of($$SELECT payorder.create_order('o1', 1, 'CNY', pay_within => '0')$$);
SELECT pg_temp.error_of($$SELECT payorder.create_order('o1', 1, 'CNY', cooling_off => '1 month')$$);
-- what they are for
SELECT pay_by - created_at, cooling_off FROM payorder.create_order('o1', 100, 'CNY', pay_within => '90 minutes', cooling_off => '2 days');
SELECT pg_temp.pay('t1', 'o1');
SELECT state, date_trunc('second', due_at - updated_at) FROM payorder.timers JOIN payorder.orders USING (order_no, state);
ROLLBACK;

-- order_no: 1 to 128 printable characters, of any script
BEGIN;
SELECT pg_temp.empty();
SELECT what, pg_temp.state_of(format('SELECT payorder.create_order(%L, 1, ''CNY'')', n))
    FROM (VALUES (1, 'empty', ''), (2, '128', repeat('x', 128)), (3, '129', repeat('x', 129)),
                 (4, '128 of three bytes', repeat('单', 128)), (5, '129 of three bytes', repeat('单', 129)),
                 (6, '128 of four bytes', repeat('🛒', 128)),
                 (7, 'tab', E'a\tb'), (8, 'newline', E'a\n'), (9, 'escape', E'\x1b[1m'), (10, 'delete', E'a\x7f'), (11, 'unit 1f', E'\x1f'),
                 (12, 'next line, a C1 control', E'a\u0085b'), (13, 'last C1 control', E'\u009f'), (14, 'no-break space, printable', E'a\u00a0b'),
                 (15, 'quotes', $$o'1" \ %s; --$$), (16, 'blank', ' '))
        AS t (number, what, n) ORDER BY number;
SELECT pg_temp.error_of($$SELECT payorder.create_order('', 1, 'CNY')$$);
-- upper and lower case are two orders, whatever the locale
SELECT pg_temp.new_order('a'), pg_temp.new_order('A'), pg_temp.new_order('ä');
SELECT order_no FROM payorder.orders ORDER BY order_no;
-- a long number can be paid under its name
SELECT pg_temp.new_order(repeat('单', 128));
SELECT pg_temp.pay('t1', repeat('单', 128));
SELECT pg_temp.wrong();
ROLLBACK;

-- attributes are kept as they are and can be changed
BEGIN;
SELECT pg_temp.empty();
SELECT state FROM payorder.create_order('o1', 1, 'CNY', attributes => '{"buyer": {"id": 7, "name": "李"}, "tags": ["a", null]}');
SELECT attributes FROM payorder.order_overview;
UPDATE payorder.orders SET attributes = jsonb_set(attributes, '{tags}', '[]');
SELECT attributes, version FROM payorder.orders;
ROLLBACK;

-- amount 0: paid at once, through the gateway none, once (84)
BEGIN;
SELECT pg_temp.empty();
SELECT state, amount, paid_amount, version FROM payorder.create_order('o1', 0, 'CNY');
SELECT state, amount, paid_amount, version FROM payorder.create_order('o1', 0, 'CNY');
SELECT pg_temp.history('o1');
SELECT gateway, txn_id, event, order_no, amount, currency, source, first_verdict, verdict FROM payorder.callbacks;
SELECT gateway, txn_id, order_no, disposition, amount, kept FROM payorder.payments;
SELECT payment_status FROM payorder.order_overview;
SELECT pg_temp.error_of($$SELECT payorder.ingest('none', 'o1', 'pay', 'o1', 0, 'CNY')$$);
SELECT pg_temp.state_of($$SELECT payorder.begin_payment('o1', 'till')$$), pg_temp.state_of($$SELECT payorder.begin_payment('o1', 'none')$$);
-- real money for it is excess
SELECT pg_temp.pay('t1', 'o1', 5);
-- a long number of several bytes a character, too
SELECT state FROM payorder.create_order(repeat('单', 128), 0, 'CNY');
-- and in a currency without decimals
SELECT state FROM payorder.create_order('o2', 0, 'JPY');
-- there is nothing to refund
SELECT state FROM payorder.fire('o2', 'cancel');
SELECT pg_temp.swept(clock_timestamp());
SELECT pg_temp.state('o2');
SELECT pg_temp.wrong();
ROLLBACK;

-- the payment came before its order: parked, and applied by the creation
-- itself, once (6)
BEGIN;
SELECT pg_temp.empty();
SELECT verdict, first_verdict, detail, order_no, state, paid, ack_status FROM payorder.ingest('till', 't1', 'pay', 'o1', 100, 'CNY');
SELECT verdict, reason, reference, order_no FROM payorder.callbacks_waiting;
SELECT order_no, disposition, review, kept FROM payorder.payments;
SELECT state, paid_amount, version FROM payorder.create_order('o1', 100, 'CNY');
SELECT pg_temp.history('o1');
SELECT order_no, first_verdict, verdict FROM payorder.callbacks;
SELECT order_no, disposition, review, kept FROM payorder.payments;
SELECT count(*) FROM payorder.callbacks_waiting;
SELECT verdict, first_verdict, detail, order_no, state, paid, ack_status FROM payorder.ingest('till', 't1', 'pay', 'o1', 100, 'CNY');
SELECT pg_temp.swept(clock_timestamp());
SELECT pg_temp.history('o1');
SELECT pg_temp.wrong();
ROLLBACK;

-- two payments of one order that is to come: one is the order's, the other
-- excess (5, 6), in the order of their arrival
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.pay('t1', 'o1'), pg_temp.pay('t2', 'o1');
SELECT state, paid_amount FROM payorder.create_order('o1', 100, 'CNY');
SELECT txn_id, verdict, disposition, kept, owed FROM payorder.callbacks JOIN payorder.payments USING (gateway, txn_id) ORDER BY 1;
SELECT cause, state FROM payorder.refunds;
SELECT pg_temp.wrong();
ROLLBACK;

-- what was parked with a wrong amount or currency does not stop the creation (13)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.pay('t1', 'o1', 99);
SELECT verdict, detail FROM payorder.ingest('till', 't2', 'pay', 'o1', 100, 'USD');
SELECT state, paid_amount FROM payorder.create_order('o1', 100, 'CNY');
SELECT txn_id, verdict, detail, review FROM payorder.callbacks JOIN payorder.payments USING (gateway, txn_id) ORDER BY 1;
SELECT subject, cause FROM payorder.attention ORDER BY 1;
SELECT pg_temp.pay('t3', 'o1');
SELECT pg_temp.wrong();
ROLLBACK;

-- refund before payment before order: all in their order, in one creation (11)
BEGIN;
SELECT pg_temp.empty();
SELECT verdict, detail FROM payorder.ingest('till', 'b1', 'refund', NULL, 100, 'CNY', payment_txn => 't1');
SELECT verdict, detail FROM payorder.ingest('till', 'f1', 'pay_failed', 'o1');
SELECT pg_temp.pay('t1', 'o1');
SELECT state, paid_amount, refunded_amount FROM payorder.create_order('o1', 100, 'CNY');
SELECT txn_id, event, verdict, detail FROM payorder.callbacks ORDER BY 1;
SELECT pg_temp.history('o1');
SELECT count(*) FROM payorder.callbacks_waiting;
SELECT pg_temp.wrong();
ROLLBACK;

-- while the gateway is paused it goes on waiting; the creation succeeds (23)
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.pause_gateway('till', 'ops', 'maintenance');
SELECT pg_temp.pay('t1', 'o1');
SELECT pg_temp.new_order('o1');
SELECT verdict, detail FROM payorder.callbacks;
SELECT payorder.resume_gateway('till', 'ops', 'over');
SELECT pg_temp.swept(clock_timestamp());
SELECT pg_temp.state('o1');
SELECT pg_temp.wrong();
ROLLBACK;

-- applying what was parked raises: never into the creation (86)
BEGIN;
SELECT pg_temp.empty();
CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not today''; END';
CREATE TRIGGER zzz AFTER UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse();
SELECT pg_temp.pay('t1', 'o1');
SELECT state FROM payorder.create_order('o1', 100, 'CNY');
SELECT verdict, detail, error FROM payorder.callbacks;
DROP TRIGGER zzz ON payorder.orders;
SELECT pg_temp.swept(clock_timestamp() + interval '1 minute');
SELECT pg_temp.state('o1');
SELECT pg_temp.wrong();
ROLLBACK;

-- a creation that is undone leaves the callback parked (24)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.pay('t1', 'o1');
SAVEPOINT s;
SELECT pg_temp.new_order('o1');
ROLLBACK TO s;
SELECT verdict, detail, order_no FROM payorder.callbacks;
SELECT review, kept FROM payorder.payments;
SELECT pg_temp.new_order('o1');
ROLLBACK;

BEGIN READ ONLY;
SELECT pg_temp.error_of($$SELECT payorder.create_order('o1', 100, 'CNY')$$);
ROLLBACK;
