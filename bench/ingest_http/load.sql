/*
 * The data of bench/ingest_http/run: the machine and task kind of bench/ingest, and
 * :orders orders of which measure.py makes attempts at its gateways.
 */
\set ON_ERROR_STOP on
\o /dev/null
SELECT payorder.define_task_kind('pack');
SELECT payorder.define_machine('shop', jsonb_set(payorder.export_machine('order')::jsonb, '{states,paid,entry}',
                                                 '{"enqueue": "pack"}')::json);
SELECT count(payorder.create_order('A-' || lpad(n::text, 9, '0'), 1000 + n % 9000, 'CNY', 'shop'))
FROM generate_series(1, :orders) AS n;
\o
