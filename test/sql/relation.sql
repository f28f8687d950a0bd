--
-- Room relation: no wait for another transaction is longer than
-- payorder.lock_wait (law 4).  The other transaction is a prepared one, so that
-- one session is enough.  Scenarios 7, 22 and 24.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
SELECT current_setting('max_prepared_transactions') = '0' AS none \gset
\if :none
\quit
\endif
SET statement_timeout = '5s';
SET payorder.lock_wait = '200ms';

-- what is written here is committed, so it is cleared away before and after
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1'), pg_temp.new_order('o2');
SELECT pg_temp.pay('t2', 'o2');

-- the other one holds two orders, the key of a callback and a new order
BEGIN;
SELECT state FROM payorder.fire('o1', 'cancel');
SELECT state FROM payorder.fire('o2', 'cancel');
SELECT verdict, detail, ack_status FROM payorder.ingest('till', 't9', 'pay', 'o9', 100, 'CNY');
SELECT pg_temp.new_order('o8');
PREPARE TRANSACTION 'payorder_waits';

SELECT clock_timestamp() AS began \gset
-- the order is busy: the callback is taken all the same, and waits (22)
SELECT verdict, detail, order_no, state, paid, ack_status FROM payorder.ingest('till', 't1', 'pay', 'o1', 100, 'CNY');
SELECT order_no, disposition, review FROM payorder.payments WHERE txn_id = 't1';
SELECT verdict, detail, ack_status FROM payorder.ingest('till', 't1', 'pay', 'o1', 100, 'CNY');
-- its key is undecided: no acknowledgement, nothing written
SELECT verdict, detail, order_no, ack_status, ack_type, ack_body FROM payorder.ingest('till', 't9', 'pay', 'o9', 100, 'CNY');
SELECT count(*) FROM payorder.callbacks WHERE txn_id = 't9';
-- other calls say so
SELECT statement, pg_temp.state_of('SELECT payorder.' || statement)
    FROM unnest(ARRAY[$$fire('o1', 'close')$$, $$begin_payment('o1', 'till')$$, $$request_refund('R0000002', 'o2')$$,
                      $$retry_order('o1', 'anna', 'x')$$, $$create_order('o8', 100, 'CNY')$$]) AS statement;
SELECT changed, state, sqlstate FROM payorder.try_fire('o1', 'close');
-- a new order and a callback of it that came at the same time: neither waits
-- for ever, the meeting is made up for (7)
SELECT pg_temp.new_order('o9');
SELECT verdict, detail, order_no, ack_status FROM payorder.ingest('till', 't8', 'pay', 'o8', 100, 'CNY');
-- a sweep passes over orders that are held, and does not forget what it could
-- not see yet
SELECT count(*) FROM generate_series(1, 3) AS n, LATERAL payorder.sweep(at => clock_timestamp() + make_interval(secs => n)) AS s;
SELECT order_no, state FROM payorder.orders ORDER BY 1;
SELECT clock_timestamp() - :'began' < interval '20 seconds' AS in_time;
-- lock_timeout, where it is shorter, goes first, and is as it was afterwards
SET lock_timeout = '50ms';
SET payorder.lock_wait = '60s';
SELECT pg_temp.state_of($$SELECT payorder.fire('o1', 'close')$$);
SHOW lock_timeout;
RESET lock_timeout;
SET payorder.lock_wait = '200ms';

COMMIT PREPARED 'payorder_waits';
-- all that waited is applied within seconds, not when somebody is alarmed
SELECT count(*) FROM generate_series(5, 30, 5) AS n, LATERAL payorder.sweep(at => clock_timestamp() + make_interval(secs => n)) AS s;
SELECT order_no, state, paid_amount FROM payorder.orders ORDER BY 1;
SELECT txn_id, verdict, detail FROM payorder.callbacks ORDER BY 1;
SELECT pg_temp.wrong();

SELECT pg_temp.empty();
DELETE FROM payorder.gateways WHERE NOT builtin;
