/*
 * The data of bench/ingest/run: orders of payorder's (load_payorder.sql), and the
 * same rows in schema baseline.  All tables are written anew, in the order of
 * their keys, so that both lie alike on their pages.
 */
\set ON_ERROR_STOP on
\ir load_payorder.sql

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
