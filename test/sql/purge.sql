--
-- Room purge: closed orders go, what guards money stays, a month of the log
-- is freed, and what comes late brings an order back.  Time passes by "at".
-- Scenario 63 as far as old rows are concerned.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set ECHO none

-- Steps up to the last one; what they did, and what they did not do.
CREATE FUNCTION pg_temp.purged(days integer DEFAULT 120, archive boolean DEFAULT false, max_orders integer DEFAULT 1000,
                               older_than interval DEFAULT '60 days') RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    c payorder.purge_counts;
    orders integer := 0;
    callbacks integer := 0;
    tasks integer := 0;
    failed integer := 0;
    months text := '';
BEGIN
    LOOP
        SELECT p.* INTO c FROM payorder.purge_some(older_than, c.position, max_orders, archive,
                                                   now() + make_interval(days => days)) AS p;
        orders := orders + c.orders;
        callbacks := callbacks + c.callbacks;
        tasks := tasks + c.tasks;
        failed := failed + c.failed;
        IF c.freed IS NOT NULL THEN
            months := months || format(', a month freed, %s events carried over', c.carried);
        ELSIF c.held_by IS NOT NULL THEN
            months := months || ', a month held by ' || c.held_by;
        END IF;
        EXIT WHEN c.position IS NULL;
    END LOOP;
    RETURN format('%s orders, %s callbacks, %s tasks, %s failed%s', orders, callbacks, tasks, failed, months);
END $$;
CREATE FUNCTION pg_temp.there() RETURNS text
    LANGUAGE sql AS $$
SELECT coalesce(string_agg(order_no, ' ' ORDER BY order_no), 'none') FROM payorder.orders
$$;
CREATE FUNCTION pg_temp.logged() RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT coalesce(order_no, gateway || ':' || txn_id) || ': ' || string_agg(concat_ws(' ', seq, event), ', ' ORDER BY id)
FROM payorder.events GROUP BY order_no, gateway, txn_id, order_no IS NULL HAVING order_no IS NULL
UNION ALL
SELECT order_no || ': ' || string_agg(concat_ws(' ', seq, event), ', ' ORDER BY id)
FROM payorder.events WHERE order_no IS NOT NULL GROUP BY order_no
ORDER BY 1
$$;
CREATE FUNCTION pg_temp.clear() RETURNS void
    LANGUAGE sql AS $$
SELECT pg_temp.empty();
SELECT pg_temp.tamper('DELETE FROM payorder.' || r) FROM unnest('{purged_orders,events_freed,purge_archive}'::text[]) AS r;
$$;
-- Paid, shipped and completed.
CREATE FUNCTION pg_temp.completed(VARIADIC numbers text[]) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    number text;
BEGIN
    FOREACH number IN ARRAY numbers LOOP
        PERFORM payorder.create_order(number, 100, 'CNY');
        PERFORM payorder.ingest('till', 't-' || number, 'pay', number, 100, 'CNY', payload => '{"paid": "by card"}');
        PERFORM payorder.sweep(at => now() + interval '10 minutes');
        PERFORM payorder.fire(number, 'ship'), payorder.fire(number, 'complete');
    END LOOP;
    RETURN (SELECT string_agg(DISTINCT state, ' ') FROM payorder.orders WHERE order_no = ANY (numbers));
END $$;
CREATE FUNCTION pg_temp.answer_of(message payorder.ingest_result) RETURNS text
    LANGUAGE sql AS $$
SELECT concat_ws(' ', message.verdict, message.detail, 'first ' || message.first_verdict, message.order_no, message.state,
                 CASE WHEN message.paid THEN 'paid' END, message.ack_status)
$$;
-- The number of the only attempt.
CREATE FUNCTION pg_temp.number() RETURNS text
    LANGUAGE sql AS 'SELECT payment_no FROM payorder.attempts';
\set ECHO queries

-- ---- wrong calls
SELECT pg_temp.error_of(format('SELECT payorder.purge_some(%s)', arguments))
    FROM unnest(ARRAY['NULL', $$'0'$$, $$'23 hours'$$, $$'1801 days'$$, $$'2 months'$$, $$'-60 days'$$, $$'60 days', max_orders => 0$$,
                      $$'60 days', max_orders => 10001$$, $$'60 days', at => NULL$$, $$'60 days', at => 'infinity'$$,
                      $$'60 days', 'nonsense'$$, $$'60 days', 'tasks/x'$$, $$'60 days', ''$$]) AS arguments;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT payorder.purge_some('60 days');
ROLLBACK;
BEGIN READ ONLY;
SELECT payorder.purge_some('60 days');
ROLLBACK;

BEGIN;
SELECT pg_temp.clear();
SELECT pg_temp.purged();

-- ---- what is closed: its money is quiet, and nobody works for it
SELECT pg_temp.completed('done', 'lost', 'argued', 'task', 'waits', 'back', 'twice', 'held');
SELECT pg_temp.new_order('cancelled'), pg_temp.new_order('open'), pg_temp.new_order('tried'), pg_temp.new_order('shut');
SELECT state FROM payorder.fire('cancelled', 'cancel');
SELECT state FROM payorder.fire('shut', 'cancel');
SELECT state FROM payorder.begin_payment('open', 'till');
-- a dispute that was lost has its end, one that goes on has not
SELECT verdict FROM payorder.ingest('till', 'd1', 'chargeback', amount => 60, currency => 'CNY', payment_txn => 't-lost');
SELECT verdict FROM payorder.ingest('till', 'd1', 'chargeback_lost', payment_txn => 't-lost');
SELECT verdict FROM payorder.ingest('till', 'd2', 'chargeback', amount => 60, currency => 'CNY', payment_txn => 't-argued');
-- work for it that is not done, and some that is
SELECT payorder.define_task_kind('mail');
SELECT payorder.enqueue('mail', 'task') > 0, payorder.enqueue('mail', 'done') > 0;
SELECT payorder.cancel_task(id, 'ann', 'no need') FROM payorder.tasks WHERE order_no = 'done';
-- a message that waits
SELECT verdict, detail FROM payorder.ingest('till', 'rf', 'refund_failed', 'waits', refund_no => 'UNKNOWN1');
-- money that goes back, and money that is owed
SELECT state FROM payorder.request_refund('REFUND01', 'back', 30);
SELECT pg_temp.pay('second', 'twice'), pg_temp.pay('late', 'shut');
-- a review that nobody decided
SELECT pg_temp.pay('t-held', 'held', 99);
SELECT pg_temp.there();
SELECT pg_temp.purged();
SELECT pg_temp.there();
SELECT order_no, away, state, amount, first_amount, paid_amount, disputed_amount, last_seq FROM payorder.purged_orders ORDER BY 1;
SELECT pg_temp.wrong();
SELECT pg_temp.logged();
SELECT o.order_no, v.ok, v.events FROM (SELECT order_no FROM payorder.orders UNION SELECT order_no FROM payorder.purged_orders) AS o,
    payorder.verify_events(o.order_no) AS v ORDER BY 1;
-- nothing more to do: nothing is carried over a second time
SELECT pg_temp.purged();
-- not touched is what was closed, or touched, later
SELECT pg_temp.purged(days => 200, older_than => '199 days');
ROLLBACK;

-- ---- what comes again is answered as before, and writes nothing
BEGIN;
SELECT pg_temp.clear();
SELECT pg_temp.completed('done');
SELECT pg_temp.new_order('gone');
SELECT state FROM payorder.reprice_order('gone', 120, 'ann', 'more');
SELECT state FROM payorder.begin_payment('gone', 'till');
SELECT verdict FROM payorder.ingest('till', 'f1', 'pay_failed', pg_temp.number());
SELECT state FROM payorder.fire('gone', 'cancel');
SELECT state FROM payorder.request_refund('REFUND01', 'done', 30);
SELECT pg_temp.answer('refund', pg_temp.says('refund', 'r1', 30));
SELECT pg_temp.pay('t-done', 'done', 99);
SELECT payorder.cancel_task(task, 'ann', 'seen') FROM payorder.attention;
CREATE TEMP TABLE balance_before AS SELECT * FROM payorder.money_balance;
SELECT pg_temp.purged();
SELECT pg_temp.there();
TABLE payorder.money_balance EXCEPT TABLE balance_before;
SELECT gateway, txn_id, event, order_no, amount, verdict, body, headers, body_sha256 IS NOT NULL FROM payorder.callbacks ORDER BY 1, 2, 3;
SELECT txn_id, amount, body FROM payorder.callback_conflicts;
SELECT count(*) FROM payorder.tasks;
SELECT count(*) FROM payorder.task_finished;
COMMIT;
SELECT pg_temp.answer_of(payorder.ingest('till', 't-done', 'pay', 'done', 100, 'CNY', payload => '{"paid": "by card"}'));
SELECT pg_temp.answer_of(payorder.ingest('till', 'r1', 'refund', amount => 30, currency => 'CNY', payment_txn => 't-done', refund_no => 'REFUND01'));
SELECT pg_temp.answer_of(payorder.ingest('till', 'f1', 'pay_failed', pg_temp.number()));
BEGIN;
SELECT pg_temp.answer_of(payorder.ingest('till', 't-done', 'pay', 'done', 100, 'CNY')), pg_current_xact_id_if_assigned();
COMMIT;
SELECT order_no, state, amount, paid_amount, refunded_amount, closed_at IS NOT NULL FROM payorder.create_order('done', 100, 'CNY');
-- with the amount of before the repricing, and the one after it
SELECT order_no, state, amount FROM payorder.create_order('gone', 100, 'CNY');
SELECT order_no, state, amount FROM payorder.create_order('gone', 120, 'CNY');
SELECT pg_temp.error_of($$SELECT payorder.create_order('gone', 121, 'CNY')$$);
SELECT pg_temp.error_of($$SELECT payorder.create_order('gone', 120, 'EUR')$$);
SELECT payorder.allowed_events('gone');
-- a call that is refused leaves it where it is
SELECT pg_temp.error_of($$SELECT payorder.fire('gone', 'cancel')$$);
SELECT changed, state, sqlstate FROM payorder.try_fire('gone', 'cancel');
SELECT pg_temp.error_of($$SELECT payorder.begin_payment('gone', 'till')$$);
SELECT pg_temp.there();
-- and other facts under a known key are told of, on the order's chain
SELECT pg_temp.answer_of(payorder.ingest('till', 't-done', 'pay', 'done', 99, 'CNY'));
SELECT pg_temp.answer_of(payorder.ingest('till', 't-done', 'pay', 'done', 98, 'CNY'));
SELECT pg_temp.there(), pg_temp.attention();
SELECT pg_temp.history('done');
SELECT events, ok, broken_seq, problem FROM payorder.verify_events('done');
SELECT pg_temp.wrong();

-- ---- what is new brings the order back
SELECT pg_temp.answer_of(payorder.ingest('till', 'late', 'pay', pg_temp.number(), 120, 'CNY'));
SELECT cause, state, amount FROM payorder.refunds WHERE order_no = 'gone';
SELECT pg_temp.history('gone');
SELECT pg_temp.answer_of(payorder.ingest('till', 'd1', 'chargeback', amount => 40, currency => 'CNY', payment_txn => 't-done'));
SELECT disputed_amount, frozen FROM payorder.orders WHERE order_no = 'done';
SELECT pg_temp.wrong();
-- back, it stays until it has been quiet for as long again; then it goes again
BEGIN;
SELECT pg_temp.purged(30, older_than => '29 days');
SELECT pg_temp.there();
SELECT verdict FROM payorder.ingest('till', 'd1', 'chargeback_reversed', amount => 40, currency => 'CNY', payment_txn => 't-done');
SELECT payorder.cancel_task(task, 'ann', 'seen') FROM payorder.attention WHERE order_no = 'done';
SELECT pg_temp.purged(120);
SELECT pg_temp.there(), pg_temp.logged();
SELECT order_no, away, last_seq, base_seq, base_hash IS NOT NULL FROM payorder.purged_orders ORDER BY 1;
SELECT state FROM payorder.request_refund('REFUND02', 'done', 10);
SELECT pg_temp.history('done');
SELECT events, ok, broken_seq, problem FROM payorder.verify_events('done');
SELECT pg_temp.wrong();
ROLLBACK;
-- purged again with its events still there: the chain has two begins
BEGIN;
SELECT verdict FROM payorder.ingest('till', 'd1', 'chargeback_reversed', amount => 40, currency => 'CNY', payment_txn => 't-done');
SELECT payorder.cancel_task(task, 'ann', 'seen') FROM payorder.attention WHERE order_no = 'done';
SELECT orders FROM payorder.purge_some('60 days', at => now() + interval '120 days');
SELECT away, last_seq, base_seq FROM payorder.purged_orders WHERE order_no = 'done';
SELECT events, ok, broken_seq, problem FROM payorder.verify_events('done');
SELECT state FROM payorder.request_refund('REFUND02', 'done', 10);
SELECT pg_temp.history('done');
SELECT events, ok, broken_seq, problem FROM payorder.verify_events('done');
SELECT pg_temp.wrong();
-- what is kept of a chain shows what was changed, also by who makes hashes anew
SELECT pg_temp.outcome(format('SELECT pg_temp.tamper(%L)', change), $$SELECT concat_ws(' ', ok, broken_seq, problem) FROM payorder.verify_events('done')$$)
    FROM unnest(ARRAY[$$DELETE FROM payorder.events WHERE order_no = 'done' AND seq = (SELECT min(seq) FROM payorder.events WHERE order_no = 'done')$$,
                      $$UPDATE payorder.events SET actor = 'nobody' WHERE order_no = 'done' AND event = 'bring_back'$$,
                      $$UPDATE payorder.purged_orders SET last_hash = sha256('') WHERE order_no = 'done'$$,
                      $$UPDATE payorder.purged_orders SET base_hash = sha256('') WHERE order_no = 'done'$$,
                      $$DELETE FROM payorder.purged_orders WHERE order_no = 'done'$$]) AS change;
ROLLBACK;

-- ---- the guards, before, after, after an error, and after a rollback
BEGIN;
SELECT pg_temp.clear();
SELECT pg_temp.completed('a', 'b', 'c');
CREATE FUNCTION pg_temp.guards() RETURNS text
    LANGUAGE sql AS $$
SELECT string_agg(pg_temp.state_of(s), ' ')
    FROM unnest(ARRAY['DELETE FROM payorder.orders', 'TRUNCATE payorder.orders', 'DELETE FROM payorder.events', 'TRUNCATE payorder.events',
                      'UPDATE payorder.events SET reason = NULL', 'DELETE FROM payorder.callbacks', 'DELETE FROM payorder.purged_orders',
                      'TRUNCATE payorder.events_freed', current_setting('purge_test.truncate')]) AS s
$$;
SELECT set_config('purge_test.truncate', 'TRUNCATE ' || min(tableoid::regclass::text), true) ~ '_\d\d$' FROM payorder.events;
SELECT pg_temp.guards();
-- a user's foreign key holds one: it stays, and is told of; the others go
CREATE TABLE invoices (order_no text REFERENCES payorder.orders);
INSERT INTO invoices VALUES ('b');
SET LOCAL client_min_messages = warning;
SELECT orders, failed FROM payorder.purge_some('60 days', at => now() + interval '120 days');
SELECT pg_temp.there(), pg_temp.guards();
SELECT orders, failed FROM payorder.purge_some('60 days', at => now() + interval '120 days');
DROP TABLE invoices;
-- a trigger of the user's has none of purge()'s rights, and may not call it
CREATE FUNCTION pg_temp.meddle() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO meddled SELECT s, pg_temp.state_of(s)
        FROM unnest(ARRAY['DELETE FROM payorder.events', 'DELETE FROM payorder.orders', 'DELETE FROM payorder.purged_orders',
                          $c$SELECT payorder.purge_some('60 days')$c$, $c$UPDATE payorder.orders SET paid_amount = 0$c$]) AS s;
    RETURN NULL;
END $$;
CREATE TEMP TABLE meddled (statement text, outcome text);
CREATE TRIGGER meddle AFTER UPDATE ON payorder.callbacks FOR EACH ROW EXECUTE FUNCTION pg_temp.meddle();
SAVEPOINT s;
SELECT orders, failed FROM payorder.purge_some('60 days', at => now() + interval '120 days');
TABLE meddled;
ROLLBACK TO s;
SELECT pg_temp.there(), pg_temp.guards();
-- one that keeps the row
DROP TRIGGER meddle ON payorder.callbacks;
CREATE FUNCTION pg_temp.keep() RETURNS trigger
    LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER keep BEFORE DELETE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.keep();
SELECT orders, failed FROM payorder.purge_some('60 days', at => now() + interval '120 days');
SELECT pg_temp.there(), pg_temp.guards();
DROP TRIGGER keep ON payorder.orders;
SELECT pg_temp.purged(), pg_temp.there();
SELECT pg_temp.guards(), pg_temp.wrong();
ROLLBACK;

-- ---- moved, not dropped
BEGIN;
SELECT pg_temp.clear();
SELECT pg_temp.completed('a');
SELECT pg_temp.pay('t-a', 'a', 99);
SELECT payorder.cancel_task(task, 'ann', 'seen') FROM payorder.attention;
CREATE TEMP TABLE was AS SELECT * FROM payorder.events;
SET LOCAL bytea_output = 'escape';
SET LOCAL TimeZone = 'Asia/Kathmandu';
SELECT pg_temp.purged(archive => true);
SELECT order_no, content -> 'order' ->> 'state', json_array_length(content -> 'events'), json_array_length(content -> 'conflicts'),
       content -> 'callbacks' -> 0 ->> 'body', json_array_length(content -> 'tasks') FROM payorder.purge_archive;
-- lossless: the same events, with their hashes
SELECT count(*) FROM (
    SELECT e.* FROM payorder.purge_archive AS a, json_populate_recordset(NULL::was, a.content -> 'events') AS e) AS e
    JOIN was USING (id, txid, slot, order_no, seq, event, actor, source, at, hash) WHERE e.payload::text IS NOT DISTINCT FROM was.payload::text;
ROLLBACK;

-- ---- bounded steps; finished tasks without an order
BEGIN;
SELECT pg_temp.clear();
SELECT pg_temp.completed(VARIADIC array_agg('n' || i)) FROM generate_series(1, 7) AS i;
SELECT payorder.define_task_kind('mail');
SELECT count(payorder.enqueue('mail', CASE WHEN i = 2 THEN 'no order of ours' END)) FROM generate_series(1, 5) AS i;
SELECT payorder.cancel_task(id, 'ann', 'no need') FROM (SELECT id FROM payorder.tasks WHERE kind = 'mail' ORDER BY id LIMIT 4) AS t;
SELECT looked_at, orders FROM payorder.purge_some('60 days', max_orders => 3, at => now() + interval '120 days');
SELECT pg_temp.there();
SELECT looked_at, orders, tasks FROM payorder.purge_some('60 days', 'tasks/0', max_orders => 3, at => now() + interval '120 days');
SELECT pg_temp.purged(max_orders => 2);
SELECT pg_temp.there(), pg_temp.tasks();
ROLLBACK;

-- ---- an event without an order stays with its payment, and goes with it
BEGIN;
SELECT pg_temp.clear();
SELECT pg_temp.pay('early', 'e'), pg_temp.pay('alone', 'nowhere');
SELECT pg_temp.new_order('e'), pg_temp.swept(now() + interval '10 minutes');
SELECT state FROM payorder.fire('e', 'ship');
SELECT state FROM payorder.fire('e', 'complete');
SELECT pg_temp.logged();
SELECT pg_temp.purged();
SELECT pg_temp.logged(), pg_temp.wrong();
ROLLBACK;

-- ---- consumers: a month waits for them; a place in it is refused afterwards
SELECT pg_temp.clear(), pg_temp.completed('a');
SELECT pg_temp.new_order('open');
SELECT payorder.create_consumer('mail', '-infinity'), payorder.create_consumer('search', '-infinity');
SELECT pg_temp.purged(), pg_temp.there();
SELECT payorder.ack_events('mail', (SELECT max(position) FROM payorder.next_events('mail')));
SELECT pg_temp.purged();
SELECT count(*), max(order_no) FILTER (WHERE seq > 1) FROM payorder.next_events('search');
SELECT payorder.ack_events('search', (SELECT max(position) FROM payorder.next_events('search')));
SELECT pg_temp.purged();
SELECT count(*) FROM payorder.next_events('mail');
SELECT pg_temp.new_order('new');
SELECT order_no, seq FROM payorder.next_events('mail');
SELECT carried, before > now(), upto_id = (SELECT max(id) - 2 FROM payorder.events) FROM payorder.events_freed;
SELECT regexp_replace(pg_temp.error_of(s), 'up to .* ids up to \d+', 'up to X', 'g')
    FROM unnest(ARRAY[$$SELECT payorder.seek_events('mail', first_id => 1)$$, $$SELECT payorder.seek_events('mail', at => now())$$,
                      $$SELECT payorder.create_consumer('third', now() - interval '1 year')$$]) AS s;
SELECT payorder.create_consumer('third', '-infinity'), payorder.create_consumer('fourth', 'infinity');
SELECT string_agg(order_no || '/' || seq, ' ' ORDER BY id) FROM payorder.next_events('third');

-- ---- the procedure, by somebody with a role, and by somebody without
CREATE ROLE purge_admin;
CREATE ROLE purge_nobody;
GRANT USAGE ON SCHEMA payorder TO purge_admin, purge_nobody;
GRANT EXECUTE ON FUNCTION payorder.purge_some TO purge_admin;
GRANT EXECUTE ON PROCEDURE payorder.purge TO purge_admin, purge_nobody;
SET ROLE purge_nobody;
CALL payorder.purge('60 days');
RESET ROLE;
SET ROLE purge_admin;
CALL payorder.purge('60 days');
RESET ROLE;
-- without its owner's rights it does nothing
ALTER FUNCTION payorder.purge_some SECURITY INVOKER;
SET ROLE purge_admin;
CALL payorder.purge('60 days');
RESET ROLE;
ALTER FUNCTION payorder.purge_some SECURITY DEFINER;
DROP OWNED BY purge_admin, purge_nobody;
DROP ROLE purge_admin, purge_nobody;

SELECT payorder.drop_consumer(c) FROM unnest('{mail,search,third,fourth}'::text[]) AS c;
SELECT pg_temp.clear();
SELECT pg_temp.tamper('DELETE FROM payorder.log_epochs');
DELETE FROM payorder.gateways WHERE NOT builtin;
DELETE FROM payorder.task_kinds WHERE id >= 100;
