--
-- Room sweep: one call does what is due, bounded, once, and nothing stops the
-- rest.  Scenarios 26, 31, 32, 33, 36, 77.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- a machine with one timer: unpaid for an hour is dropped
CREATE FUNCTION pg_temp.shop() RETURNS integer
    LANGUAGE sql AS $$
SELECT payorder.define_machine('shop', '{"initial": "new", "states": {"new": {"on": {"pay": {"target": "done"}, "drop": {"target": "gone"}},
    "after": {"1h": {"fire": "drop"}}}, "done": {"type": "final"}, "gone": {"type": "final"}}}')
$$;

-- refused
SELECT pg_temp.error_of($$SELECT payorder.sweep(0)$$);
SELECT a, pg_temp.state_of(format('SELECT payorder.sweep(%s)', a))
    FROM unnest(ARRAY['-1', '10000', '10001', 'NULL', '1, NULL', $$1, 'infinity'$$, $$1, '-infinity'$$]) WITH ORDINALITY AS t (a, n) ORDER BY n;
BEGIN READ ONLY;
SELECT pg_temp.error_of($$SELECT payorder.sweep()$$);
ROLLBACK;

-- nothing due, nothing done; at is the present if it is left out
BEGIN;
SELECT pg_temp.empty();
SELECT * FROM payorder.sweep();
SELECT pg_temp.shop();
SELECT pg_temp.new_order('o1', 100, 'shop');
SELECT * FROM payorder.sweep();
SELECT pg_temp.tamper($$UPDATE payorder.timers SET due_at = now()$$);
SELECT * FROM payorder.sweep();
SELECT pg_temp.state('o1');
ROLLBACK;

-- again and again: each timer is fired once, its event and tasks are there
-- once (26, 31)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1'), pg_temp.new_order('o2');
SELECT state FROM payorder.begin_payment('o1', 'till');
CREATE TEMP TABLE deadline ON COMMIT DROP AS SELECT max(due_at) AS due FROM payorder.timers;
SELECT n, pg_temp.swept(due) FROM deadline, generate_series(1, 10) AS n;
SELECT pg_temp.history(order_no) FROM payorder.orders ORDER BY order_no;
SELECT pg_temp.tasks('o1');
SELECT pg_temp.wrong();
ROLLBACK;

-- a sweep is bounded by its batch and says whether there is more; due first,
-- first done
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.shop();
SELECT pg_temp.new_order('o' || n, 100, 'shop') FROM generate_series(1, 5) AS n;
SELECT pg_temp.swept(now() + interval '2 hours', 2);
SELECT order_no, state FROM payorder.orders ORDER BY 1;
SELECT pg_temp.swept(now() + interval '2 hours', 2);
SELECT pg_temp.swept(now() + interval '2 hours', 2);
SELECT pg_temp.swept(now() + interval '2 hours', 2);
SELECT DISTINCT state FROM payorder.orders;
ROLLBACK;

-- fifty thousand due at once: batch by batch, and a callback between two of them
-- is applied at once (32)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.shop();
SELECT count(pg_temp.new_order('o' || n, 100, 'shop')) FROM generate_series(1, 50000) AS n;
CREATE FUNCTION pg_temp.sweep_all(batch integer, at timestamptz, OUT sweeps integer, OUT most integer, OUT fired integer, OUT paid text)
    LANGUAGE plpgsql AS $$
DECLARE
    counts payorder.sweep_counts;
BEGIN
    sweeps := 0;
    most := 0;
    fired := 0;
    LOOP
        SELECT * INTO counts FROM payorder.sweep(batch, at);
        sweeps := sweeps + 1;
        most := greatest(most, counts.timers);
        fired := fired + counts.timers;
        IF sweeps = 3 THEN
            paid := pg_temp.pay('t1', 'o50000');
        END IF;
        EXIT WHEN NOT counts.more OR sweeps > 100;
    END LOOP;
END $$;
SELECT sweeps, most, fired, paid FROM pg_temp.sweep_all(5000, now() + interval '2 hours');
SELECT state, count(*) FROM payorder.orders GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM payorder.timers;
SELECT count(*) FROM payorder.events WHERE source = 'timer';
ROLLBACK;

-- an order whose handling raises: tried three times, then set aside with its
-- error and a person told; all others go on, in the same sweep (33)
CREATE FUNCTION pg_temp.refuse() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.order_no LIKE 'bad%' THEN
        RAISE EXCEPTION 'not this one';
    END IF;
    RETURN NULL;
END $$;
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.shop();
SELECT pg_temp.new_order('bad1', 100, 'shop'), pg_temp.new_order('good1', 100, 'shop'), pg_temp.new_order('bad2', 100, 'shop'), pg_temp.new_order('good2', 100, 'shop');
CREATE TRIGGER refuse AFTER UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse();
SELECT pg_temp.swept(now() + interval '2 hours');
SELECT order_no, state, version FROM payorder.orders ORDER BY 1;
SELECT order_no, tries, error, due_at > now() + interval '2 hours', due_at < now() + interval '2 hours 1 minute' FROM payorder.timers ORDER BY 1;
SELECT pg_temp.swept(now() + interval '2 hours');
SELECT pg_temp.swept(now() + interval '3 hours');
SELECT pg_temp.swept(now() + interval '4 hours');
SELECT pg_temp.swept(now() + interval '300 days');
SELECT order_no, tries, error, due_at FROM payorder.timers ORDER BY 1;
SELECT kind, subject, cause, order_no, decisions FROM payorder.attention ORDER BY subject;
SELECT pg_temp.wrong();
-- it can be paid meanwhile (once its trigger lets it), and tried again by hand
DROP TRIGGER refuse ON payorder.orders;
SELECT pg_temp.pay('t1', 'bad2');
SELECT payorder.retry_order('bad1', 'anna', 'trigger dropped'), payorder.retry_order('bad2', 'anna', 'trigger dropped');
SELECT pg_temp.attention();
SELECT pg_temp.swept(clock_timestamp());
SELECT order_no, state FROM payorder.orders ORDER BY 1;
SELECT pg_temp.history('bad1');
SELECT actor, reason FROM payorder.events WHERE event = 'retry_order' AND order_no = 'bad1';
SELECT pg_temp.error_of($$SELECT payorder.retry_order('o9', 'anna', 'x')$$);
SELECT pg_temp.error_of($$SELECT payorder.retry_order('bad1', NULL, 'x')$$);
SELECT pg_temp.wrong();
ROLLBACK;
-- one at the head of a batch of one does not block the rest either
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.shop();
SELECT pg_temp.new_order('bad1', 100, 'shop'), pg_temp.new_order('good1', 100, 'shop');
CREATE TRIGGER refuse AFTER UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse();
SELECT pg_temp.swept(now() + interval '2 hours', 1);
SELECT pg_temp.swept(now() + interval '2 hours', 1);
SELECT pg_temp.state('good1');
ROLLBACK;

-- one of 64 raises: two more batches, not a subtransaction for each of the others
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.shop();
SELECT count(pg_temp.new_order('good' || n, 100, 'shop')) FROM generate_series(1, 40) AS n;
SELECT pg_temp.new_order('bad1', 100, 'shop');
SELECT count(pg_temp.new_order('good' || n, 100, 'shop')) FROM generate_series(41, 63) AS n;
CREATE TRIGGER refuse AFTER UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse();
SELECT pg_temp.swept(now() + interval '2 hours');
SELECT state, count(*), count(DISTINCT xmin::text) AS subtransactions FROM payorder.orders GROUP BY 1 ORDER BY 1;
SELECT order_no, tries FROM payorder.timers;
SELECT pg_temp.wrong();
ROLLBACK;
-- all of them
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.shop();
SELECT count(pg_temp.new_order('bad' || n, 100, 'shop')) FROM generate_series(1, 9) AS n;
CREATE TRIGGER refuse AFTER UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse();
SELECT pg_temp.swept(now() + interval '2 hours');
SELECT tries, count(*) FROM payorder.timers GROUP BY 1;
ROLLBACK;

-- what the server is to blame for, or what looks like it, never sets an order
-- aside, and stops no other; whoever looks after the server is told (33)
CREATE FUNCTION pg_temp.fail_like_the_server() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.order_no NOT LIKE 'good%' THEN
        RAISE EXCEPTION 'the server has a problem' USING ERRCODE = NEW.order_no;
    END IF;
    RETURN NULL;
END $$;
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.shop();
SELECT pg_temp.new_order(o, 100, 'shop')
    FROM unnest('{good1,40001,40P01,53100,53200,57014,57P01,58030,XX000,XX001,good2}'::text[]) AS o;
CREATE TRIGGER fail_like_the_server AFTER UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.fail_like_the_server();
SELECT pg_temp.swept(now() + interval '2 hours');
SELECT order_no FROM payorder.orders WHERE state = 'gone' ORDER BY 1;
SET LOCAL client_min_messages = error;
SELECT pg_temp.swept(now() + make_interval(hours => n)) FROM generate_series(3, 8) AS n;
SELECT order_no, tries, error, due_at - now() FROM payorder.timers ORDER BY 1;
SELECT pg_temp.attention();
SELECT pg_temp.wrong();
DROP TRIGGER fail_like_the_server ON payorder.orders;
SELECT pg_temp.swept(now() + interval '9 hours');
SELECT state, count(*) FROM payorder.orders GROUP BY 1;
ROLLBACK;
-- callbacks likewise
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.shop();
SELECT payorder.pause_gateway('till', 'ops', 'x');
SELECT pg_temp.new_order(o, 100, 'shop') FROM unnest('{53200,XX000,good1}'::text[]) AS o;
SELECT pg_temp.pay('t' || o, o) FROM unnest('{53200,XX000,good1}'::text[]) AS o;
CREATE TRIGGER fail_like_the_server AFTER UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.fail_like_the_server();
SELECT payorder.resume_gateway('till', 'ops', 'x');
SELECT pg_temp.swept(clock_timestamp() + interval '1 second', 2);
SELECT pg_temp.swept(clock_timestamp() + interval '1 second', 2);
SELECT order_no, state FROM payorder.orders ORDER BY 1;
SET LOCAL client_min_messages = error;
SELECT count(pg_temp.swept(now() + make_interval(hours => n))) FROM generate_series(1, 8) AS n;
SELECT order_no, tries, reason, next_at - now() < interval '8 hours 2 minutes' FROM payorder.callbacks_waiting ORDER BY 1;
SELECT pg_temp.attention();
DROP TRIGGER fail_like_the_server ON payorder.orders;
SELECT pg_temp.swept(now() + interval '9 hours') ~ 'callbacks 2';
SELECT DISTINCT state FROM payorder.orders;
SELECT pg_temp.wrong();
ROLLBACK;
-- the kernel's tasks and leases likewise
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('53200'), pg_temp.new_order('good1');
SELECT pg_temp.pay('t1', '53200'), pg_temp.pay('t2', 'good1');
SELECT (payorder.fire(o, 'cancel')).state FROM unnest('{53200,good1}'::text[]) AS o;
CREATE TRIGGER fail_like_the_server AFTER UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.fail_like_the_server();
SET LOCAL client_min_messages = error;
SELECT pg_temp.swept(clock_timestamp()) ~ 'failed 1, tasks 1';
SELECT pg_temp.swept(clock_timestamp() + make_interval(hours => n)) ~ 'failed 1' FROM generate_series(1, 12) AS n;
SELECT kind, attempts, error FROM payorder.task_ready WHERE kind = 'refund_all';
SELECT count(*) FROM payorder.task_dead;
DROP TRIGGER fail_like_the_server ON payorder.orders;
SELECT pg_temp.swept(clock_timestamp() + interval '20 hours') ~ 'tasks 1';
SELECT count(*) FROM payorder.refunds;
SELECT pg_temp.wrong();
ROLLBACK;
-- a request to cancel ends the sweep, and not an order's turn
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.shop();
SELECT pg_temp.new_order('slow', 100, 'shop');
CREATE FUNCTION pg_temp.sleep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN NULL; END';
CREATE TRIGGER sleep AFTER UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.sleep();
SAVEPOINT before;
SET LOCAL statement_timeout = '200ms';
\set VERBOSITY terse
SELECT pg_temp.swept(now() + interval '2 hours');
\set VERBOSITY default
ROLLBACK TO before;
SELECT order_no, tries, error FROM payorder.timers;
ROLLBACK;

-- a callback whose handling raises: three tries by the sweep, then set aside
-- and a person told; the order's timers don't fire over it, other orders'
-- callbacks go on (86, 33)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.shop();
SELECT pg_temp.new_order('bad1', 100, 'shop');
CREATE TRIGGER refuse AFTER UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse();
SELECT verdict, detail, ack_status FROM payorder.ingest('till', 't1', 'pay', 'bad1', 100, 'CNY');
SELECT pg_temp.swept(now() + make_interval(mins => n)) FROM generate_series(1, 4) AS n;
SELECT verdict, detail, error FROM payorder.callbacks;
SELECT pg_temp.attention();
SELECT review FROM payorder.payments;
SELECT next_at, tries FROM payorder.callbacks_waiting;
SELECT pg_temp.swept(now() + interval '2 hours');
SELECT pg_temp.state('bad1');
SELECT pg_temp.wrong();
SELECT pg_temp.new_order('good1', 100, 'shop');
SELECT pg_temp.pay('t2', 'good1');
DROP TRIGGER refuse ON payorder.orders;
SELECT payorder.retry_order('bad1', 'anna', 'trigger dropped');
SELECT pg_temp.swept(clock_timestamp());
SELECT pg_temp.state('bad1');
SELECT pg_temp.attention();
SELECT pg_temp.wrong();
ROLLBACK;

-- the gateway is paused for longer than pay_within while a payment lies
-- deferred: not expired; drained first when it is resumed (77)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1'), pg_temp.new_order('o2');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT payorder.pause_gateway('till', 'ops', 'maintenance');
SELECT verdict, detail, ack_status FROM payorder.ingest('till', 't1', 'pay', 'o1', 100, 'CNY');
SELECT order_no, count(*) FROM payorder.events GROUP BY 1 ORDER BY 1;
SELECT pg_temp.swept(pg_temp.due('o1', 4)) IS NOT NULL;
-- a waiting order is looked at again within a minute, no matter how long
SELECT count(*), bool_and(pg_temp.state('o1') = 'pending')
    FROM generate_series(16, 60) AS n, LATERAL payorder.sweep(1000, now() + make_interval(mins => n)) AS s;
SELECT order_no, state FROM payorder.orders ORDER BY 1;
-- nothing happened to the order, so its history has not grown by each look
SELECT count(*) < 6 FROM payorder.events WHERE order_no = 'o1';
SELECT count(*) < 6 FROM payorder.events WHERE txn_id = 't1';
SELECT count(*) < 4 FROM payorder.timers WHERE order_no = 'o1';
SELECT payorder.resume_gateway('till', 'ops', 'over');
SELECT pg_temp.swept(now() + interval '61 minutes') IS NOT NULL;
SELECT order_no, state FROM payorder.orders ORDER BY 1;
SELECT verdict, first_verdict FROM payorder.callbacks;
SELECT draining FROM payorder.gateways WHERE gateway = 'till';
SELECT pg_temp.swept(now() + interval '63 minutes') IS NOT NULL;
SELECT pg_temp.state('o1');
SELECT pg_temp.wrong();
ROLLBACK;

-- leases that have ended are taken back at their instant, not before (36)
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_task_kind('bake', lease => '10 minutes');
SELECT count(payorder.enqueue('bake')) FROM generate_series(1, 3);
SELECT count(*) FROM payorder.claim(max_tasks => 3);
SELECT pg_temp.swept(max(leased_until) - interval '1 microsecond') FROM payorder.task_leases;
SELECT pg_temp.swept(max(leased_until), 2) FROM payorder.task_leases;
SELECT pg_temp.swept(now() + interval '1 hour', 2);
SELECT pg_temp.swept(now() + interval '1 hour', 2);
SELECT * FROM pg_temp.tasks();
SELECT DISTINCT attempts, first_tried_at IS NOT NULL, error FROM payorder.task_ready;
SELECT pg_temp.wrong();
ROLLBACK;

-- the kernel's own tasks: carried out by the sweep; one that raises waits and
-- goes on being tried, others are not held up (33)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('bad1'), pg_temp.new_order('good1');
SELECT pg_temp.pay('t1', 'bad1'), pg_temp.pay('t2', 'good1');
SELECT state FROM payorder.fire('bad1', 'cancel');
SELECT state FROM payorder.fire('good1', 'cancel');
SELECT count(*) FROM payorder.claim('{refund_all}');
CREATE TRIGGER refuse AFTER UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse();
SELECT pg_temp.swept(clock_timestamp());
SELECT order_no, kind, pg_temp.tasks(order_no) FROM payorder.orders, LATERAL (VALUES ('')) AS v (kind) ORDER BY 1;
SELECT attempts, error, run_at > now() FROM payorder.task_ready WHERE kind = 'refund_all';
DROP TRIGGER refuse ON payorder.orders;
SELECT pg_temp.swept(now() + interval '1 hour') LIKE '%tasks 1%';
SELECT pg_temp.tasks('bad1');
SELECT pg_temp.wrong();
ROLLBACK;

-- what the user has put into the transaction before is kept, whatever raised
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.shop();
CREATE TEMP TABLE mine (n integer) ON COMMIT DROP;
INSERT INTO mine VALUES (1);
SELECT pg_temp.new_order('bad1', 100, 'shop');
CREATE TRIGGER refuse AFTER UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse();
SELECT pg_temp.swept(now() + interval '2 hours');
SELECT n FROM mine;
ROLLBACK;
