/*
 * Orders of payorder's, made by its own functions, with an attempt each: :orders of
 * them are for the calls that are measured; up to 5,000 others are paid, so that no
 * table is empty and each plan is one for tables with rows.
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
FROM generate_series(1, :orders + least(:orders, 5000)) AS n;
SELECT count(payorder.begin_payment(order_no, 'wechat')) FROM payorder.orders;
SELECT count((r).verdict)
FROM (SELECT payorder.ingest('wechat', '42000' || lpad(right(a.order_no, 9), 23, '0'),
                             'pay', a.payment_no, a.amount, 'CNY', payload => '{"id": "EV-1"}') AS r
      FROM payorder.attempts AS a WHERE right(a.order_no, 9)::integer > :orders OFFSET 0) AS x;
ANALYZE;
\o
