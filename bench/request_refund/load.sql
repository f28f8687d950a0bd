/*
 * The data of bench/request_refund/run: paid orders of payorder's, made by its
 * own functions, and the same rows in schema baseline.  :orders of them are for
 * the calls that are measured.  As many others have a refund already, and
 * every tenth of these a review that is open, so that no table is empty
 * and each plan is one for tables with rows.  All tables are written anew, in
 * the order of their keys, so that both lie alike on their pages.
 */
\set ON_ERROR_STOP on
\o /dev/null
SELECT payorder.add_gateway('wechat', 'generic', '1900000001');
SELECT count(payorder.create_order('A-' || lpad(n::text, 9, '0'), 1000 + n % 9000, 'CNY'))
FROM generate_series(1, 2 * :orders) AS n;
SELECT count(payorder.begin_payment(order_no, 'wechat')) FROM payorder.orders;
-- every tenth of the second half is paid in another currency first
SELECT count((r).verdict)
FROM (SELECT payorder.ingest('wechat', '43000' || lpad(right(a.order_no, 9), 23, '0'),
                             'pay', a.payment_no, a.amount, 'USD', payload => '{"id": "EV-0"}') AS r
      FROM payorder.attempts AS a
      WHERE right(a.order_no, 9)::integer > :orders AND right(a.order_no, 9)::integer % 10 = 0 OFFSET 0) AS x;
SELECT count((r).verdict)
FROM (SELECT payorder.ingest('wechat', '42000' || lpad(right(a.order_no, 9), 23, '0'),
                             'pay', a.payment_no, a.amount, 'CNY', payload => '{"id": "EV-1"}') AS r
      FROM payorder.attempts AS a OFFSET 0) AS x;
SELECT count((r).state)
FROM (SELECT payorder.request_refund('OLD' || right(o.order_no, 9), o.order_no, 500, 'scratched') AS r
      FROM payorder.orders AS o WHERE right(o.order_no, 9)::integer > :orders OFFSET 0) AS x;
ANALYZE;
\o

INSERT INTO baseline.machines SELECT * FROM payorder.machines;
INSERT INTO baseline.refund_limits SELECT * FROM payorder.refund_limits;
INSERT INTO baseline.orders SELECT * FROM payorder.orders ORDER BY order_no;
INSERT INTO baseline.payments SELECT * FROM payorder.payments ORDER BY order_no;
INSERT INTO baseline.refunds SELECT * FROM payorder.refunds ORDER BY refund_no;
INSERT INTO baseline.tasks SELECT * FROM payorder.tasks ORDER BY id;
INSERT INTO baseline.task_ready SELECT * FROM payorder.task_ready ORDER BY task_id;
INSERT INTO baseline.task_keys SELECT * FROM payorder.task_keys ORDER BY task_id;
INSERT INTO baseline.task_finished SELECT * FROM payorder.task_finished ORDER BY task_id;
INSERT INTO baseline.timers SELECT * FROM payorder.timers ORDER BY due_at, id;
INSERT INTO baseline.events SELECT * FROM payorder.events ORDER BY id;
SELECT setval('baseline.event_ids', nextval('payorder.event_ids')),
       setval('baseline.task_ids', nextval('payorder.task_ids')),
       setval('baseline.timer_ids', nextval('payorder.timer_ids')) \g /dev/null

SELECT format('VACUUM (FULL, ANALYZE) %I.%I', t.relnamespace::regnamespace, t.relname)
FROM pg_class AS t
WHERE t.relnamespace IN ('payorder'::regnamespace, 'baseline'::regnamespace) AND t.relkind = 'r'
ORDER BY t.relname \gexec
CHECKPOINT;
