/*
 * The data of bench/clients/run: orders of payorder's (bench/ingest/load_payorder.sql)
 * whose payment numbers a client can work out, and the same rows in schema bare.
 * All tables are written anew, in the order of their keys.
 */
\set ON_ERROR_STOP on
\ir ../ingest/load_payorder.sql

BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE payorder.attempts SET payment_no = 'PAY' || right(order_no, 9);
COMMIT;
INSERT INTO bare.orders SELECT * FROM payorder.orders ORDER BY order_no;
INSERT INTO bare.attempts SELECT * FROM payorder.attempts ORDER BY payment_no;
INSERT INTO bare.payments SELECT * FROM payorder.payments ORDER BY order_no;
INSERT INTO bare.callbacks SELECT * FROM payorder.callbacks ORDER BY order_no;
INSERT INTO bare.timers SELECT * FROM payorder.timers ORDER BY due_at, id;
INSERT INTO bare.tasks SELECT * FROM payorder.tasks ORDER BY id;
INSERT INTO bare.task_ready SELECT * FROM payorder.task_ready ORDER BY task_id;
INSERT INTO bare.events SELECT * FROM payorder.events ORDER BY id;
SELECT setval('bare.event_ids', nextval('payorder.event_ids')),
       setval('bare.task_ids', nextval('payorder.task_ids')),
       setval('bare.timer_ids', nextval('payorder.timer_ids')) \g /dev/null

SELECT format('VACUUM (FULL, ANALYZE) %I.%I', t.relnamespace::regnamespace, t.relname)
FROM pg_class AS t
WHERE t.relnamespace IN ('payorder'::regnamespace, 'bare'::regnamespace) AND t.relkind = 'r'
ORDER BY t.relname \gexec
CHECKPOINT;
