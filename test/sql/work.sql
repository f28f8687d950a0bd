--
-- Room work: the answers to tasks, complete, fail and cancel_task, and the end
-- of a lease where money hangs on it.
-- Scenarios 14, 27, 29, 30, 37, 42, 45, 46.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- Two orders, each with an attempt, and the query_payment task of the first
-- leased in "mine".
CREATE FUNCTION pg_temp.ask() RETURNS text
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_temp.empty();
    PERFORM payorder.add_gateway('other', 'generic', 'shop-2');
    PERFORM pg_temp.new_order('o1'), pg_temp.new_order('o2');
    PERFORM payorder.begin_payment('o1', 'till');
    PERFORM payorder.sweep(100, pg_temp.due('o1'));
    PERFORM payorder.begin_payment('o2', 'till');
    PERFORM pg_temp.hurry();
    CREATE TEMP TABLE mine ON COMMIT DROP AS SELECT c.* FROM payorder.claim('{query_payment}') AS c;
    RETURN (SELECT string_agg(kind || ' ' || order_no, ', ') FROM mine);
END $$;
CREATE FUNCTION pg_temp.payment_no(number text) RETURNS text
    LANGUAGE sql AS $$
SELECT payment_no FROM payorder.attempts WHERE order_no = number
$$;
-- What a result leads to: the verdicts, or how it is refused; then undone.
CREATE FUNCTION pg_temp.result(result text) RETURNS text
    LANGUAGE sql AS $$
SELECT pg_temp.outcome('SELECT 1', format($q$SELECT coalesce(string_agg(concat_ws(' ', c.verdict, c.detail, c.order_no, c.state), ', '), 'no message')
    FROM mine, payorder.complete(mine.task, mine.token, %L) AS c$q$, result))
$$;
-- One message as JSON text.
CREATE FUNCTION pg_temp.message(members text) RETURNS text
    LANGUAGE sql AS $$
SELECT format('{"messages": [{"txn_id": "t1", "event": "pay", "amount": 100, "currency": "CNY"%s}]}', members)
$$;

-- an answer's form: 22023 for what is no answer, and the task stays leased
BEGIN;
SELECT pg_temp.ask();
SELECT r, regexp_replace(pg_temp.result(r), '^(\w{5}) .*', '\1')
    FROM unnest(ARRAY['5', '"x"', '[]', 'true', '{"messages": 5}', '{"messages": {}}', '{"messages": [5]}', '{"messages": [[]]}', '{"messages": [{}]}',
                      '{"messages": [{"event": "pay"}]}', '{"messages": [{"txn_id": "t1"}]}', '{"messages": [{"txn_id": 1, "event": "pay"}]}',
                      '{"messages": [{"txn_id": "t1", "event": 1}]}', '{"messages": [{"txn_id": "t1", "event": "nonsense"}]}',
                      '{"messages": [{"txn_id": "t1", "event": "pay", "currency": 1}]}', '{"messages": [], "messages": []}',
                      '{"message": []}', '{"unknown": "yes"}', '{"confirmed": "t1"}']) WITH ORDINALITY AS t (r, n) ORDER BY n;
SELECT pg_temp.error_of(format('SELECT payorder.complete(%s, %s, ''5'')', task, token)) FROM mine;
SELECT m, regexp_replace(pg_temp.result(pg_temp.message(m)), '^(\w{5}) .*', '\1')
    FROM unnest(ARRAY[', "occurred_at": "soon"', ', "occurred_at": 5', ', "amount": 100', ', "payload": {"a": 1, "a": 2}']) AS m;
SELECT * FROM pg_temp.tasks();
SELECT count(*) FROM payorder.callbacks;
-- more messages than any question has
SELECT left(pg_temp.result((SELECT json_build_object('messages', json_agg(json_build_object('txn_id', 'x' || n, 'event', 'pay_failed'))) FROM generate_series(1, 101) AS n)::text), 5);
SELECT pg_temp.tasks();
-- nothing to say is an answer too
SELECT r, pg_temp.result(r) FROM unnest(ARRAY[NULL, '{}', '{"messages": []}', '{"unknown": true}', '{"unknown": false}']) WITH ORDINALITY AS t (r, n) ORDER BY n;
ROLLBACK;

-- an amount that is none: kept as mismatch, never rounded, never applied (14)
BEGIN;
SELECT pg_temp.ask();
SELECT a, pg_temp.result(format('{"messages": [{"txn_id": "t1", "event": "pay", "currency": "CNY", "amount": %s}]}', a))
    FROM unnest('{100,"\"100\"",100.0,100.5,99.5,1e2,0,-100,"null",true,9223372036854775807,9223372036854775808,"{\"v\": 100}"}'::text[]) WITH ORDINALITY AS t (a, n) ORDER BY n;
SELECT pg_temp.result('{"messages": [{"txn_id": "t1", "event": "pay", "currency": "CNY"}]}');
SELECT pg_temp.result('{"messages": [{"txn_id": "t1", "event": "pay", "amount": 100}]}');
-- times as the gateway says them: with their zone, whatever the session's
SET LOCAL DateStyle = 'SQL, DMY';
SELECT pg_temp.result(pg_temp.message(', "occurred_at": "2026-02-01T03:04:05+08:00"'));
SELECT count(*) FROM mine, payorder.complete(mine.task, mine.token, pg_temp.message(', "occurred_at": "2026-02-01T03:04:05+08:00"')::json);
SELECT occurred_at = timestamptz '2026-01-31 19:04:05+00', source FROM payorder.callbacks;
ROLLBACK;

-- an answer may only speak about its own gateway, order, payment or refund
BEGIN;
SELECT pg_temp.ask();
SELECT w, regexp_replace(pg_temp.result(pg_temp.message(m)), '^(\w{5}) .*', '\1')
    FROM (VALUES (1, 'nothing named', ''), (2, 'its order', ', "order_no": "o1"'),
                 (3, 'its attempt', format(', "order_no": "%s"', pg_temp.payment_no('o1'))), (4, 'its gateway', ', "gateway": "till"'),
                 (5, 'another order', ', "order_no": "o2"'), (6, 'another attempt', format(', "order_no": "%s"', pg_temp.payment_no('o2'))),
                 (7, 'an order to come', ', "order_no": "o3"'), (8, 'another gateway', ', "gateway": "other"')) AS t (n, w, m) ORDER BY n;
SELECT pg_temp.pay('t9', 'o2');
SELECT w, regexp_replace(pg_temp.result(format('{"messages": [%s]}', m)), '^(\w{5}) .*', '\1')
    FROM (VALUES (1, 'another order''s payment again', '{"txn_id": "t9", "event": "pay", "amount": 100, "currency": "CNY"}'),
                 (2, 'refund of another order''s payment', '{"txn_id": "b1", "event": "refund", "amount": 100, "currency": "CNY", "payment_txn": "t9"}'),
                 (3, 'refund of a payment not known', '{"txn_id": "b1", "event": "refund", "amount": 100, "currency": "CNY", "payment_txn": "t7"}'),
                 (4, 'refund of no payment', '{"txn_id": "b1", "event": "refund", "amount": 100, "currency": "CNY"}'),
                 (5, 'payment and its refund in one answer', '{"txn_id": "t1", "event": "pay", "amount": 100, "currency": "CNY"},
                      {"txn_id": "b1", "event": "refund", "amount": 30, "currency": "CNY", "payment_txn": "t1"}')) AS t (n, w, m) ORDER BY n;
SELECT order_no, state, paid_amount, refunded_amount FROM payorder.orders ORDER BY 1;
-- the first message is good, the second is not: neither is taken
SELECT left(pg_temp.result('{"messages": [{"txn_id": "t1", "event": "pay", "amount": 100, "currency": "CNY"}, {"txn_id": "t2", "event": "pay", "amount": 100, "currency": "CNY", "order_no": "o2"}]}'), 5);
SELECT pg_temp.state('o1');
SELECT regexp_replace(pg_temp.error_of(format('SELECT payorder.complete(%s, %s, %L)', task, token, pg_temp.message(', "order_no": "o2"'))), 'task \d+', 'task N') FROM mine;
-- a payment event is no answer to a question about a refund, nor a refund to close
SELECT state FROM payorder.request_refund('R0000002', 'o2', 50);
DROP TABLE mine;
CREATE TEMP TABLE mine ON COMMIT DROP AS SELECT c.* FROM payorder.claim('{refund}') AS c;
SELECT w, regexp_replace(pg_temp.result(format('{"messages": [%s]}', m)), '^(\w{5}) .*', '\1')
    FROM (VALUES (1, 'its refund', '{"txn_id": "b1", "event": "refund", "amount": 50, "currency": "CNY"}'),
                 (2, 'its refund, named', '{"txn_id": "b1", "event": "refund", "amount": 50, "currency": "CNY", "refund_no": "R0000002", "payment_txn": "t9"}'),
                 (3, 'another refund', '{"txn_id": "b1", "event": "refund", "amount": 50, "currency": "CNY", "refund_no": "R0000009"}'),
                 (4, 'another payment', '{"txn_id": "b1", "event": "refund", "amount": 50, "currency": "CNY", "payment_txn": "t8"}'),
                 (5, 'another order', '{"txn_id": "b1", "event": "refund", "amount": 50, "currency": "CNY", "order_no": "o1"}'),
                 (6, 'a payment', '{"txn_id": "t8", "event": "pay", "amount": 50, "currency": "CNY"}')) AS t (n, w, m) ORDER BY n;
ROLLBACK;

-- the answer and the end of its task are one: what is undone is both
BEGIN;
SELECT pg_temp.ask();
SAVEPOINT s;
SELECT c.verdict, c.first_verdict, c.order_no, c.state, c.paid, c.ack_status FROM mine, payorder.complete(mine.task, mine.token, pg_temp.message('')::json) AS c;
SELECT * FROM pg_temp.tasks();
SELECT outcome, attempts, result ->> 'messages' IS NOT NULL FROM payorder.task_finished;
SELECT state, source FROM payorder.orders, payorder.callbacks WHERE orders.order_no = 'o1';
ROLLBACK TO s;
SELECT * FROM pg_temp.tasks();
SELECT pg_temp.state('o1');
-- the callback had come meanwhile: a duplicate, and the task is done (69)
SELECT pg_temp.pay('t1', pg_temp.payment_no('o1'));
SELECT c.verdict, c.first_verdict, c.state FROM mine, payorder.complete(mine.task, mine.token, pg_temp.message('')::json) AS c;
SELECT * FROM pg_temp.tasks();
SELECT pg_temp.wrong();
ROLLBACK;

-- a refund answered without a final word: in doubt, nothing freed; its task is
-- done and the gateway is asked about it, by the same number, never a new one
-- (45, 37)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT pg_temp.pay('t1', 'o1');
SELECT state FROM payorder.request_refund('R0000001', 'o1');
SELECT kind, idempotency_key, payload ->> 'refund_no', payload ->> 'amount', payload ->> 'currency', payload ->> 'txn_id' FROM payorder.tasks;
SAVEPOINT asked;
SELECT pg_temp.answer('refund', '{}');
SELECT refund_no, state, first_tried_at IS NOT NULL FROM payorder.refunds;
SELECT * FROM pg_temp.tasks();
SELECT kept, owed, "returning", returned FROM payorder.payments;
SELECT kind, run_at BETWEEN now() + interval '1 minute' AND clock_timestamp() + interval '1 minute' FROM payorder.task_ready;
SELECT pg_temp.answer('refund', NULL);
SELECT pg_temp.state_of($$SELECT payorder.request_refund('R0000009', 'o1')$$);
SELECT pg_temp.wrong();
-- the question, answered so and so
SELECT r, pg_temp.outcome(format('SELECT pg_temp.answer(''query_refund'', %L)', r),
                          $$SELECT concat_ws(', ', (SELECT state FROM payorder.refunds), (SELECT string_agg(t, ', ') FROM pg_temp.tasks() AS t), (SELECT string_agg(w, ', ') FROM pg_temp.wrong() AS w))$$)
    FROM unnest(ARRAY[NULL, '{}', '{"unknown": false}', '{"unknown": true}', '{"messages": []}', '{"messages": [{"event": "refund", "txn_id": "b1", "amount": 100}]}',
                      '{"messages": [{"event": "refund_failed", "txn_id": "b1"}]}', '{"messages": [{"event": "refund_stuck", "txn_id": "b1"}]}',
                      '{"messages": [{"event": "refund", "txn_id": "b1", "amount": 99}]}']) WITH ORDINALITY AS t (r, n) ORDER BY n;
-- unknown to the gateway: the task again, with the same number
SELECT pg_temp.answer('query_refund', '{"unknown": true}');
SELECT * FROM pg_temp.tasks();
SELECT idempotency_key, run_at <= clock_timestamp() FROM payorder.tasks JOIN payorder.task_ready ON task_id = id;
ROLLBACK TO asked;
-- the worker dies: sent again, by the same number
SELECT idempotency_key, attempt FROM payorder.claim('{refund}');
SELECT pg_temp.swept(now() + interval '1 hour') LIKE '%leases 1%';
SELECT state FROM payorder.refunds;
SELECT pg_temp.hurry();
SELECT idempotency_key, attempt FROM payorder.claim('{refund}');
SELECT pg_temp.swept(now() + interval '2 hours') LIKE '%leases 1%';
SELECT pg_temp.answer('refund', pg_temp.says('refund', 'b1', 100));
SELECT state FROM payorder.refunds;
SELECT state, refunded_amount FROM payorder.orders;
SELECT * FROM pg_temp.tasks();
SELECT pg_temp.wrong();
ROLLBACK;

-- it fails for good by the gateway's final word: owed, and a person is asked; a
-- dead task or fail() frees nothing (46, 42)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1'), pg_temp.new_order('o2');
SELECT pg_temp.pay('t1', 'o1'), pg_temp.pay('t2', 'o2');
SELECT state FROM payorder.request_refund('R0000001', 'o1');
SELECT pg_temp.answer('refund', pg_temp.says('refund_failed', 'b1'));
SELECT state FROM payorder.refunds;
SELECT kept, owed, "returning", returned FROM payorder.payments WHERE txn_id = 't1';
SELECT pg_temp.attention();
SELECT state FROM payorder.request_refund('R0000002', 'o1');
SELECT pg_temp.attention();
SELECT pg_temp.answer('refund', pg_temp.says('refund', 'b2', 100));
SELECT state FROM payorder.request_refund('R0000003', 'o2');
SELECT payorder.fail(task, token, 'account closed', false) FROM payorder.claim('{refund}');
SELECT state FROM payorder.refunds WHERE refund_no = 'R0000003';
SELECT kept, owed, "returning", returned FROM payorder.payments WHERE txn_id = 't2';
SELECT pg_temp.attention();
SELECT pg_temp.state_of($$SELECT payorder.request_refund('R0000004', 'o2')$$);
SELECT verdict FROM payorder.ingest('till', 'b3', 'refund', NULL, 100, 'CNY', refund_no => 'R0000003');
SELECT pg_temp.attention();
SELECT pg_temp.wrong();
ROLLBACK;

-- a refund that ended in another way takes its task with it, ready or dead: no
-- worker sends money for what is over
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o' || n) FROM generate_series(1, 4) AS n;
SELECT pg_temp.pay('t' || n, 'o' || n) FROM generate_series(1, 4) AS n;
SELECT state FROM generate_series(1, 4) AS n, LATERAL payorder.request_refund('R000000' || n, 'o' || n);
SELECT payorder.fail(task, token, 'x') FROM payorder.claim('{refund}');
SELECT payorder.fail(task, token, 'x', false) FROM payorder.claim('{refund}');
SELECT count(*) FROM payorder.claim('{refund}');
SELECT verdict FROM generate_series(1, 4) AS n, LATERAL payorder.ingest('till', 'b' || n, 'refund', NULL, 100, 'CNY', refund_no => 'R000000' || n);
SELECT state FROM payorder.refunds;
SELECT pg_temp.hurry();
SELECT count(*) FROM payorder.claim('{refund}');
SELECT pg_temp.attention();
SELECT order_no, state FROM payorder.orders ORDER BY 1;
SELECT pg_temp.wrong();
ROLLBACK;

-- cancel_task: what is ready or dead, with who and why; not what is leased or
-- ended
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_task_kind('bake');
SELECT pg_temp.new_order('o1');
SELECT payorder.enqueue('bake', 'o1', dedup_key => 'k1') AS task \gset
SELECT payorder.cancel_task(:task, 'anna', 'no flour');
SELECT outcome, attempts, result ->> 'actor', result ->> 'reason' FROM payorder.task_finished;
SELECT event, actor, source, reason FROM payorder.events WHERE event = 'cancel_task';
SELECT count(*) FROM payorder.claim();
SELECT regexp_replace(pg_temp.error_of(format('SELECT payorder.cancel_task(%s, ''anna'', ''x'')', :task)), 'task \d+', 'task N');
SELECT payorder.enqueue('bake', dedup_key => 'k1') <> :task;
SELECT task, token FROM payorder.claim() \gset
SELECT pg_temp.state_of(format('SELECT payorder.cancel_task(%s, ''anna'', ''x'')', :task));
SELECT payorder.fail(:task, :token, 'x', false);
SELECT payorder.cancel_task(:task, 'anna', NULL);
SELECT * FROM pg_temp.tasks();
SELECT a, pg_temp.state_of(format('SELECT payorder.cancel_task(%s)', a)) FROM unnest(ARRAY[$$NULL, 'anna', 'x'$$, $$0, 'anna', 'x'$$, $$1, NULL, 'x'$$]) AS a;
SELECT pg_temp.wrong();
ROLLBACK;

-- money hangs on it: a refund's task, a return's task are not cancelled while
-- their refund is open or held, ready or dead
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT pg_temp.pay('t1', 'o1'), pg_temp.pay('t2', 'o1');
SELECT state FROM payorder.request_refund('R0000001', 'o1', payment => 't1');
SELECT kind, pg_temp.state_of(format('SELECT payorder.cancel_task(%s, ''anna'', ''x'')', id)) FROM payorder.tasks ORDER BY kind;
SELECT regexp_replace(pg_temp.error_of(format('SELECT payorder.cancel_task(%s, ''anna'', ''x'')', id)), 'task \d+', 'task N') FROM payorder.tasks WHERE kind = 'refund';
SELECT payorder.fail(task, token, 'x', false) FROM payorder.claim('{refund}');
SELECT kind, pg_temp.state_of(format('SELECT payorder.cancel_task(%s, ''anna'', ''x'')', id)) FROM payorder.tasks WHERE kind = 'refund';
SELECT decisions FROM payorder.attention WHERE kind = 'dead task';
SELECT pg_temp.wrong();
ROLLBACK;

-- reviews: cancelled by a person, but not while the money that they are about
-- waits and would be forgotten (law 6)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1'), pg_temp.new_order('o2');
SELECT pg_temp.pay('t1', 'o1', 99);
SELECT pg_temp.pay('t2', 'o2');
SELECT state FROM payorder.request_refund('R0000001', 'o2', 100);
SELECT pg_temp.answer('refund', pg_temp.says('refund_failed', 'b1'));
SELECT verdict FROM payorder.ingest('till', 't2', 'pay', 'o2', 77, 'CNY');
SELECT verdict, detail FROM payorder.ingest('till', 't3', 'pay', 'o2', NULL, 'CNY');
SELECT cause, pg_temp.outcome(format('SELECT payorder.cancel_task(%s, ''anna'', ''looked at it'')', task),
                              $$SELECT coalesce(string_agg(w, ', '), 'well') FROM pg_temp.wrong() AS w$$) LIKE '42501 %' AS kept
    FROM payorder.attention WHERE cause IN ('mismatch', 'owed') ORDER BY cause;
SELECT cause, pg_temp.outcome(format('SELECT payorder.cancel_task(%s, ''anna'', ''looked at it'')', task),
                              $$SELECT coalesce(string_agg(w, ', '), 'well') FROM pg_temp.wrong() AS w$$) AS "then"
    FROM payorder.attention WHERE cause IN ('conflict', 'invalid') ORDER BY cause;
ROLLBACK;

-- an automatic return asks first: confirmed, it becomes a refund; not
-- confirmed, a person is asked and nothing goes out
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT pg_temp.pay('t1', 'o1'), pg_temp.pay('t2', 'o1');
SELECT kind, run_at >= now() + interval '10 minutes', run_at < now() + interval '11 minutes' FROM payorder.task_ready;
SELECT count(*) FROM payorder.claim('{return}');
SELECT payload -> 'confirm', payload ->> 'amount', payload ->> 'txn_id' FROM payorder.tasks;
SAVEPOINT s;
SELECT pg_temp.answer('return', '{"confirmed": ["t1", "t2"]}');
SELECT cause, state FROM payorder.refunds;
SELECT txn_id, kept, owed, "returning" FROM payorder.payments ORDER BY 1;
SELECT * FROM pg_temp.tasks();
SELECT pg_temp.answer('refund', pg_temp.says('refund', 'b1', 100));
SELECT txn_id, kept, owed, "returning", returned FROM payorder.payments ORDER BY 1;
SELECT state, paid_amount, refunded_amount FROM payorder.orders;
SELECT pg_temp.wrong();
ROLLBACK TO s;
SELECT r, pg_temp.outcome(format('SELECT pg_temp.answer(''return'', %L)', r),
                          $$SELECT concat_ws(' ', (SELECT state FROM payorder.refunds), (SELECT string_agg(cause, ', ') FROM payorder.attention), (SELECT string_agg(w, ', ') FROM pg_temp.wrong() AS w))$$)
    FROM unnest(ARRAY['{"confirmed": ["t2"]}', '{"confirmed": []}', '{}', '{"confirmed": ["t1", "t3"]}', '{"confirmed": [1, 2]}']) AS r;
ROLLBACK;

BEGIN READ ONLY;
SELECT f, pg_temp.state_of('SELECT payorder.' || f) FROM unnest(ARRAY['complete(1, 1)', $$fail(1, 1, 'x')$$, $$cancel_task(1, 'a', 'b')$$]) AS f;
ROLLBACK;
