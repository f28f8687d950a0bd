/*
 * The data of bench/ingest/run: orders of payorder's, made by its own functions,
 * with an attempt each, and the same rows in schema baseline.  :orders of them are
 * for the calls that are measured; as many others are paid, so that no table is
 * empty and each plan is one for tables with rows.  All tables are written anew,
 * in the order of their keys, so that both lie alike on their pages.
 *
 * The machine is the default one, but that its state "paid" enqueues a task.
 */
\set ON_ERROR_STOP on
\o /dev/null
SELECT payorder.add_gateway('wechat', 'generic', '1900000001');
SELECT payorder.define_task_kind('pack');
SELECT payorder.define_machine('shop', jsonb_set(payorder.export_machine('order')::jsonb, '{states,paid,entry}',
                                                 '{"enqueue": "pack"}')::json);
SELECT count(payorder.create_order('A-' || lpad(n::text, 9, '0'), 1000 + n % 9000, 'CNY', 'shop'))
FROM generate_series(1, 2 * :orders) AS n;
SELECT count(payorder.begin_payment(order_no, 'wechat')) FROM payorder.orders;
SELECT count((r).verdict)
FROM (SELECT payorder.ingest('wechat', '42000' || lpad(right(a.order_no, 9), 23, '0'),
                             'pay', a.payment_no, a.amount, 'CNY', payload => '{"id": "EV-1"}') AS r
      FROM payorder.attempts AS a WHERE right(a.order_no, 9)::integer > :orders OFFSET 0) AS x;
ANALYZE;
\o

INSERT INTO baseline.gateways SELECT * FROM payorder.gateways;
INSERT INTO baseline.currencies SELECT * FROM payorder.currencies;
INSERT INTO baseline.states SELECT * FROM payorder.states;
INSERT INTO baseline.transitions SELECT * FROM payorder.transitions;
INSERT INTO baseline.state_timers SELECT * FROM payorder.state_timers;
INSERT INTO baseline.orders SELECT * FROM payorder.orders ORDER BY order_no;
INSERT INTO baseline.attempts SELECT * FROM payorder.attempts ORDER BY order_no;
INSERT INTO baseline.payments SELECT * FROM payorder.payments ORDER BY order_no;
INSERT INTO baseline.callbacks SELECT * FROM payorder.callbacks ORDER BY order_no;
INSERT INTO baseline.timers SELECT * FROM payorder.timers ORDER BY due_at, id;
INSERT INTO baseline.tasks SELECT * FROM payorder.tasks ORDER BY id;
INSERT INTO baseline.task_ready SELECT * FROM payorder.task_ready ORDER BY task_id;
INSERT INTO baseline.events SELECT * FROM payorder.events ORDER BY id;
SELECT setval('baseline.event_ids', nextval('payorder.event_ids')),
       setval('baseline.task_ids', nextval('payorder.task_ids')),
       setval('baseline.timer_ids', nextval('payorder.timer_ids')) \g /dev/null

SELECT format('VACUUM (FULL, ANALYZE) %I.%I', t.relnamespace::regnamespace, t.relname)
FROM pg_class AS t
WHERE t.relnamespace IN ('payorder'::regnamespace, 'baseline'::regnamespace) AND t.relkind = 'r'
ORDER BY t.relname \gexec
CHECKPOINT;
