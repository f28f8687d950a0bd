--
-- Room refund: what the shop asks for, what the kernel returns by itself, and
-- what the answers of workers and gateways do to both.
-- Scenarios 12, 43 (in turn), 44 to 46, 68 (second half), 71 to 73, 76, 80, 87,
-- 88.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- Numbers that the kernel makes are salted.
CREATE FUNCTION pg_temp.masked(said text) RETURNS text
    LANGUAGE sql AS $$ SELECT regexp_replace(said, '\mR[0-9a-f]{31}\M', '(made)', 'g') $$;

CREATE FUNCTION pg_temp.refunds() RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT said
FROM payorder.refunds AS r,
     concat_ws(' ', 'kept ' || nullif(r.from_kept, 0), 'owed ' || nullif(r.from_owed, 0), 'review ' || nullif(r.from_review, 0)) AS pots,
     pg_temp.masked(format('%s of %s: %s %s %s from %s', r.refund_no, r.txn_id, r.cause, r.state, r.amount, coalesce(nullif(pots, ''), 'nothing'))) AS said
ORDER BY said COLLATE "C"
$$;

CREATE FUNCTION pg_temp.money(number text DEFAULT 'a') RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT concat_ws(', ', o.order_no || ' ' || o.state, 'paid ' || o.paid_amount, 'refunding ' || nullif(o.refunding_amount, 0),
                 'refunded ' || nullif(o.refunded_amount, 0), 'overdrawn ' || nullif(o.overdrawn_amount, 0))
FROM payorder.orders AS o WHERE o.order_no = number
UNION ALL
(SELECT format('  %s%s: %s', CASE WHEN p.gateway <> 'till' THEN p.gateway || ':' END, p.txn_id,
              concat_ws(', ', 'kept ' || nullif(p.kept, 0), 'review ' || nullif(p.review, 0), 'owed ' || nullif(p.owed, 0),
                        'returning ' || nullif(p."returning", 0), 'returned ' || nullif(p.returned, 0),
                        'overdrawn ' || nullif(p.overdrawn, 0)))
FROM payorder.payments AS p WHERE p.order_no = number ORDER BY p.gateway, p.txn_id)
$$;

-- Tasks that are not ended, but for reviews.
CREATE FUNCTION pg_temp.open_tasks() RETURNS SETOF text
    LANGUAGE sql AS $$ SELECT t FROM pg_temp.tasks() AS t WHERE t !~ 'review|done|cancelled' ORDER BY t COLLATE "C" $$;

CREATE FUNCTION pg_temp.reviews() RETURNS SETOF text
    LANGUAGE sql AS $$ SELECT said FROM payorder.attention, pg_temp.masked(format('%s: %s', subject, cause)) AS said ORDER BY said COLLATE "C" $$;

-- A message about a refund; verdict, detail and the order's state.
CREATE FUNCTION pg_temp.hear(event text, txn text, refund_no text DEFAULT NULL, amount bigint DEFAULT NULL, payment text DEFAULT NULL)
    RETURNS text
    LANGUAGE sql AS $$
SELECT concat_ws(' ', verdict, detail, state)
FROM payorder.ingest('till', txn, event, amount => amount, payment_txn => payment, refund_no => refund_no)
$$;

-- What request_refund says.
CREATE FUNCTION pg_temp.ask(refund_no text, amount bigint DEFAULT NULL, payment text DEFAULT NULL, gateway text DEFAULT NULL,
                            currency text DEFAULT NULL, number text DEFAULT 'a')
    RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    r payorder.refund_info;
BEGIN
    r := payorder.request_refund(refund_no, number, amount, 'test', payment, currency, gateway, 'tester');
    RETURN format('%s %s of %s:%s', r.state, r.amount, r.gateway, r.payment);
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

-- A worker has a task of a kind; what it says is left in the table claimed.
CREATE TEMP TABLE claimed (task bigint, token bigint, kind text, gateway text, idempotency_key text, attempt integer, payload json);
CREATE FUNCTION pg_temp.take(kind text) RETURNS text
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_temp.hurry();
    DELETE FROM claimed;
    INSERT INTO claimed
        SELECT c.task, c.token, c.kind, c.gateway, c.idempotency_key, c.attempt, c.payload FROM payorder.claim(ARRAY[kind]) AS c;
    RETURN coalesce((SELECT pg_temp.masked(format('%s, key %s, attempt %s', c.kind, c.idempotency_key, c.attempt)) FROM claimed AS c), 'no task');
END $$;
CREATE FUNCTION pg_temp.give_up(retryable boolean DEFAULT true) RETURNS text
    LANGUAGE sql AS $$ SELECT payorder.fail(task, token, 'no answer', retryable) FROM claimed $$;
CREATE FUNCTION pg_temp.finish(result json DEFAULT NULL) RETURNS text
    LANGUAGE sql AS $$
SELECT coalesce((SELECT string_agg(concat_ws(' ', a.verdict, a.detail, a.state), ', ') FROM payorder.complete(c.task, c.token, result) AS a), 'no message')
FROM claimed AS c
$$;
-- The answer's message about the refund of the task that was claimed.
CREATE FUNCTION pg_temp.finish_with(event text, txn text) RETURNS text
    LANGUAGE sql AS $$
SELECT pg_temp.finish(json_build_object('messages', json_build_array(json_strip_nulls(json_build_object(
    'event', event, 'txn_id', txn, 'amount', CASE WHEN event = 'refund' THEN c.payload -> 'amount' END)))))
FROM claimed AS c
$$;

/* ---- what the shop asks for ---- */

\echo refused (44)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.new_order('unpaid'), pg_temp.pay('t', 'a');
SELECT refund_no, pg_temp.ask(refund_no, 10)
    FROM (VALUES (1, NULL), (2, ''), (3, 'seven_7'), (4, repeat('x', 33)), (5, 'with-minus'), (6, 'with space'), (7, 'ünïcodes'), (8, E'newline_\n')) AS v (n, refund_no) ORDER BY n;
SELECT amount, pg_temp.ask('refund_1', amount)
    FROM (VALUES (1, 0), (2, -1), (3, -9223372036854775808), (4, 101), (5, 9223372036854775807)) AS v (n, amount) ORDER BY n;
SELECT currency, pg_temp.ask('refund_1', 10, currency => currency) FROM (VALUES (1, 'USD'), (2, 'cny'), (3, ''), (4, 'XXXX')) AS v (n, currency) ORDER BY n;
SELECT pg_temp.ask('refund_1', 10, number => 'unpaid');
SELECT pg_temp.ask('refund_1', number => 'unpaid');
SELECT pg_temp.ask('refund_1', 10, number => 'nobody');
SELECT pg_temp.ask('refund_1', 10, number => NULL);
SELECT pg_temp.ask('refund_1', 10, payment => 'x');
SELECT pg_temp.ask('refund_1', 10, gateway => 'none');
SELECT pg_temp.refunds(), pg_temp.open_tasks();
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo money that is in review can not be refunded
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a', 120);
SELECT pg_temp.ask('refund_1', 10);
SELECT pg_temp.ask('refund_1', 10, payment => 't');
ROLLBACK;

\echo a hundred parts that sum to 101 of 100 (43)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a', 10000), pg_temp.pay('t', 'a', 10000);
SELECT pg_temp.ask('part_' || to_char(n, 'FM000'), 101), count(*) FROM generate_series(1, 100) AS n GROUP BY 1 ORDER BY 1;
SELECT pg_temp.money();
SELECT pg_temp.ask('the_rest');
SELECT pg_temp.ask('no_more_1');
SELECT pg_temp.ask('no_more_2', 1);
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo the same number again is the same refund
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.new_order('b'), pg_temp.pay('t', 'a'), pg_temp.pay('tb', 'b');
SELECT pg_temp.ask('refund_1', 30);
SELECT pg_temp.ask('refund_1', 30);
SELECT pg_temp.ask('refund_1');
SELECT pg_temp.ask('refund_1', 30, 't', 'till', 'CNY');
SELECT pg_temp.ask('refund_1', 31);
SELECT pg_temp.ask('refund_1', 30, 'other');
SELECT pg_temp.ask('refund_1', 30, 't', 'desk');
SELECT pg_temp.ask('refund_1', 30, currency => 'USD');
SELECT pg_temp.ask('refund_1', 30, number => 'b');
SELECT pg_temp.open_tasks();
SELECT pg_temp.hear('refund', 'r', 'refund_1', 30);
SELECT pg_temp.ask('refund_1', 30);
SELECT pg_temp.ask('refund_2');
SELECT pg_temp.hear('refund', 'r2', 'refund_2', 70);
SELECT pg_temp.ask('refund_2', 70);
SELECT pg_temp.money();
-- nor can a number of the kernel's be used
SELECT pg_temp.pay('t2', 'a');
SELECT pg_temp.ask(refund_no, number => 'b') = 'PO014 refund_no "' || refund_no || '" was used for another refund' AS refused
    FROM payorder.refunds WHERE cause = 'excess';
SELECT pg_temp.wrong();
ROLLBACK;

\echo of several payments one must be named
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.add_gateway('desk', 'generic', 'shop-2');
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT verdict FROM payorder.ingest('desk', 't', 'pay', 'a', 100, 'CNY');
-- the order's one payment
SELECT pg_temp.ask('refund_1', 10);
SELECT pg_temp.state_of($$SELECT payorder.request_refund('refund_2', 'a', 10, payment => 't')$$);
SELECT pg_temp.error_of($$SELECT payorder.request_refund('refund_2', 'a', 10, payment => 't')$$);
SELECT pg_temp.ask('refund_2', 10, 't', 'till');
-- all that is owed there is held for its return
SELECT pg_temp.ask('refund_3', 10, 't', 'desk');
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo owed goes before kept, and what held returns will take does not count
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 40);
SELECT pg_temp.hear('refund_failed', 'r1', 'refund_1');
SELECT pg_temp.money();
SELECT pg_temp.reviews();
SELECT pg_temp.ask('refund_2', 30);
SELECT pg_temp.refunds();
SELECT pg_temp.reviews();
SELECT pg_temp.ask('refund_3', 70);
SELECT pg_temp.refunds();
SELECT pg_temp.reviews();
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

/* ---- a worker's answers ---- */

\echo the task of a refund, and its way to success
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 30);
SELECT pg_temp.take('refund');
SELECT gateway, payload FROM claimed;
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.refunds();
SELECT pg_temp.open_tasks();
SELECT pg_temp.history('a');
SELECT pg_temp.wrong();
ROLLBACK;

\echo unknown: in doubt, and the same number again, never a new one (37, 45)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 100);
SELECT pg_temp.take('refund');
SELECT pg_temp.give_up();
SELECT pg_temp.refunds();
SELECT pg_temp.ask('refund_1', 100);
SELECT pg_temp.ask('refund_2', 1);
SELECT pg_temp.open_tasks();
-- completed without a final message: the gateway has it, and is asked about
-- it from now on, in a minute at first
SELECT pg_temp.take('refund');
SELECT pg_temp.finish('{"messages": []}');
SELECT pg_temp.refunds();
SELECT * FROM pg_temp.tasks('a');
SELECT run_at BETWEEN now() + interval '1 minute' AND clock_timestamp() + interval '1 minute' FROM payorder.task_ready;
SELECT pg_temp.take('refund');
SELECT pg_temp.take('query_refund');
SELECT payload ->> 'refund_no', payload ->> 'txn_id', payload -> 'amount' FROM claimed;
-- the gateway does not know the number: sent again, by the same one
SELECT pg_temp.finish('{"unknown": true}');
SELECT pg_temp.open_tasks();
SELECT pg_temp.money();
SELECT pg_temp.wrong();
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.open_tasks();
SELECT pg_temp.wrong();
ROLLBACK;

\echo asked about until the gateway answers: 1 minute, 10 minutes, 1 hour, 6 hours, daily to a week; then a person (45)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 100);
SELECT pg_temp.take('refund');
SELECT pg_temp.finish('{}');
-- each question's pause after the one before, and what it leads to
CREATE FUNCTION pg_temp.ask_about(how text, OUT pause interval, OUT ended text, OUT refund text)
    LANGUAGE plpgsql AS $$
DECLARE
    since timestamptz;
BEGIN
    PERFORM pg_temp.take('query_refund');
    since := clock_timestamp();
    ended := CASE how WHEN 'fail' THEN pg_temp.give_up() ELSE pg_temp.finish() END;
    SELECT date_trunc('minute', run_at - since + interval '30 s') INTO pause FROM payorder.task_ready WHERE kind = 'query_refund';
    SELECT state INTO refund FROM payorder.refunds WHERE refund_no = 'refund_1';
END $$;
-- a question that was not answered, and one that could not be asked: the same
SELECT n, a.* FROM generate_series(1, 10) AS n, LATERAL pg_temp.ask_about(CASE WHEN n % 2 = 0 THEN 'fail' ELSE 'complete' END) AS a;
SELECT pg_temp.attention();
SELECT pg_temp.wrong();
SELECT * FROM pg_temp.ask_about('complete');
SELECT * FROM pg_temp.tasks('a');
SELECT pg_temp.attention();
SELECT pg_temp.money();
SELECT pg_temp.ask('refund_2', 1);
SELECT pg_temp.wrong();
-- a person has it asked again: the review of its doubt is over
SELECT payorder.retry_dead(task, 'tester', 'again') FROM claimed;
SELECT pg_temp.attention();
SELECT pg_temp.wrong();
SELECT pg_temp.take('query_refund');
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo the number is unknown again and again: one task at a time, always the same number (45)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 100);
SELECT n, pg_temp.take('refund'), pg_temp.finish(), pg_temp.take('query_refund'), pg_temp.finish('{"unknown": true}')
    FROM generate_series(1, 3) AS n;
SELECT pg_temp.open_tasks();
SELECT DISTINCT idempotency_key, payload ->> 'refund_no' FROM payorder.tasks WHERE kind = 'refund';
SELECT pg_temp.refunds();
-- while it is being sent, a question's "unknown" says nothing new
SELECT pg_temp.take('refund');
SELECT pg_temp.hear('refund_stuck', 'r1', 'refund_1');
SELECT pg_temp.hear('refund', 'r1', 'refund_1', 100);
SELECT pg_temp.finish();
SELECT pg_temp.money();
SELECT pg_temp.open_tasks();
SELECT pg_temp.wrong();
ROLLBACK;

\echo the gateway may have forgotten the number: not sent again before it was asked about (73)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.alter_gateway('till', '{"idempotency_window": "24 hours"}');
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 60);
SELECT pg_temp.ask('refund_2', 40);
SELECT pg_temp.take('refund');
SELECT pg_temp.give_up();
SELECT pg_temp.refunds();
-- the window counts from the first try: within it the number is sent again
SELECT pg_temp.tamper($$UPDATE payorder.task_ready SET first_tried_at = now() - interval '23 hours 59 minutes' WHERE first_tried_at IS NOT NULL$$);
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.outcome($$SELECT pg_temp.hurry()$$, $$SELECT string_agg(idempotency_key, ' ' ORDER BY idempotency_key) FROM payorder.claim('{refund}', 10)$$);
-- past it not, nor is what was never tried kept back
SELECT pg_temp.tamper($$UPDATE payorder.task_ready SET first_tried_at = now() - interval '24 hours 1 minute' WHERE first_tried_at IS NOT NULL$$);
SELECT pg_temp.outcome($$SELECT pg_temp.hurry()$$, $$SELECT string_agg(idempotency_key, ' ' ORDER BY idempotency_key) FROM payorder.claim('{refund}', 10)$$);
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT * FROM pg_temp.tasks('a');
SELECT pg_temp.wrong();
SELECT run_at <= now() + interval '10 seconds', payload ->> 'refund_no' FROM payorder.task_ready JOIN payorder.tasks ON id = task_id WHERE task_ready.kind = 'query_refund';
SELECT pg_temp.swept(now() + interval '20 seconds');
-- known: it is over, nothing is sent
SAVEPOINT s;
SELECT pg_temp.take('query_refund');
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.money();
ROLLBACK TO s;
-- not known: the same number again, which may be sent now
SELECT pg_temp.take('query_refund');
SELECT pg_temp.finish('{"unknown": true}');
SELECT pg_temp.swept(now() + interval '30 seconds');
SELECT string_agg(idempotency_key, ' ' ORDER BY idempotency_key) FROM payorder.claim('{refund}', 10);
SELECT pg_temp.wrong();
ROLLBACK;
-- neither after its worker has gone, nor after a person has brought it back
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.alter_gateway('till', '{"idempotency_window": "24 hours"}');
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 60), pg_temp.take('refund');
SAVEPOINT s;
SELECT pg_temp.tamper($$UPDATE payorder.task_leases SET first_tried_at = now() - interval '25 hours'$$);
SELECT count(pg_temp.swept(now() + n * interval '10 minutes')) FROM generate_series(1, 2) AS n;
SELECT pg_temp.open_tasks();
SELECT pg_temp.wrong();
ROLLBACK TO s;
SELECT pg_temp.give_up(false);
SELECT pg_temp.tamper($$UPDATE payorder.task_dead SET first_tried_at = now() - interval '25 hours'$$);
SELECT payorder.retry_dead(task, 'tester', 'again') FROM claimed;
SELECT pg_temp.take('refund');
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.open_tasks();
SELECT pg_temp.wrong();
ROLLBACK;
BEGIN;
-- a gateway that never forgets
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 60);
SELECT pg_temp.take('refund');
SELECT pg_temp.give_up();
SELECT pg_temp.tamper($$UPDATE payorder.task_ready SET first_tried_at = now() - interval '300 days'$$);
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.take('refund');
ROLLBACK;

\echo a dead task frees nothing and waits for a person (46)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 100);
SELECT pg_temp.take('refund');
SELECT pg_temp.give_up(false);
SELECT pg_temp.money();
SELECT pg_temp.refunds();
SELECT pg_temp.open_tasks();
SELECT pg_temp.attention();
SELECT pg_temp.ask('refund_2', 1);
SELECT pg_temp.state_of(format('SELECT payorder.cancel_task(%s, ''tester'', ''no'')', task)) FROM claimed;
SELECT pg_temp.wrong();
SELECT payorder.retry_dead(task, 'tester', 'again') FROM claimed;
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.attention();
SELECT pg_temp.wrong();
ROLLBACK;

\echo one that was tried, died and is tried again is not unclaimed (12)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 100);
SELECT pg_temp.take('refund');
SELECT pg_temp.give_up(false);
SELECT payorder.retry_dead(task, 'tester', 'again') FROM claimed;
SELECT pg_temp.hear('refund', 'x1', NULL, 100, 't');
SELECT pg_temp.money();
SELECT pg_temp.refunds();
SELECT pg_temp.open_tasks();
SELECT pg_temp.reviews();
SELECT pg_temp.wrong();
ROLLBACK;

\echo the final no of the gateway: owed, for a person, and only now a new number (46)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 100);
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund_failed', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.refunds();
SELECT pg_temp.reviews();
SELECT pg_temp.ask('refund_1', 100);
SELECT pg_temp.ask('refund_2');
SELECT pg_temp.reviews();
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund', 'r2');
SELECT pg_temp.money();
SELECT pg_temp.open_tasks();
SELECT pg_temp.wrong();
ROLLBACK;

\echo an answer names its own refund and payment only
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.new_order('b'), pg_temp.pay('t', 'a'), pg_temp.pay('tb', 'b');
SELECT pg_temp.ask('refund_1', 30);
SELECT pg_temp.ask('refund_b', 30, number => 'b');
SELECT pg_temp.take('refund');
SELECT message, pg_temp.state_of(format('SELECT payorder.complete(%s, %s, %L)', task, token, json_build_object('messages', json_build_array(message))))
    FROM claimed,
         (VALUES (1, json '{"event": "refund", "txn_id": "r", "amount": 30, "refund_no": "refund_b"}'),
                 (2, '{"event": "refund", "txn_id": "r", "amount": 30, "payment_txn": "tb"}'),
                 (3, '{"event": "refund", "txn_id": "r", "amount": 30, "order_no": "b"}'),
                 (4, '{"event": "refund", "txn_id": "r", "amount": 30, "gateway": "desk"}'),
                 (5, '{"event": "pay", "txn_id": "r", "amount": 30, "currency": "CNY"}'),
                 (6, '{"event": "refund", "txn_id": "r", "amount": 30.5}'),
                 (7, '{"event": "refund", "txn_id": "r", "amount": "30"}'),
                 (8, '{"event": "refund", "txn_id": "r", "amount": 30, "refund_no": "refund_1", "payment_txn": "t", "order_no": "a"}')) AS m (n, message)
    ORDER BY n;
SELECT pg_temp.money(), pg_temp.money('b');
ROLLBACK;

\echo asked by the timer of the machine: query_refund, one for each open refund
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 30);
SELECT pg_temp.ask('refund_2', 20);
SELECT (payorder.fire('a', 'cancel', 'tester')).state;
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.refunds();
SELECT pg_temp.swept(now() + interval '1 hour 1 minute');
SELECT pg_temp.open_tasks();
SELECT pg_temp.take('query_refund');
SELECT pg_temp.masked(payload ->> 'refund_no'), payload ->> 'txn_id', payload -> 'amount' FROM claimed;
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.open_tasks();
SELECT pg_temp.wrong();
ROLLBACK;

/* ---- the gateway's later words ---- */

\echo failed days after its success: owed, an alarm (71); and succeeded after all (87)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1');
SELECT pg_temp.hear('refund', 'r1', 'refund_1', 100);
SELECT pg_temp.money();
SELECT pg_temp.hear('refund_failed', 'r1', 'refund_1');
SELECT pg_temp.money();
SELECT pg_temp.refunds();
SELECT pg_temp.reviews();
SELECT pg_temp.hear('refund', 'r1b', 'refund_1', 100);
SELECT pg_temp.money();
SELECT pg_temp.refunds();
SELECT pg_temp.reviews();
SELECT pg_temp.wrong();
ROLLBACK;

\echo success after a new number was asked for: both stand in the books
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1');
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund_failed', 'r1');
SELECT pg_temp.ask('refund_2');
-- nobody has sent the second yet: it is cancelled
SELECT pg_temp.hear('refund', 'r1b', 'refund_1', 100);
SELECT pg_temp.money();
SELECT pg_temp.refunds();
SELECT pg_temp.wrong();
ROLLBACK;
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1');
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund_failed', 'r1');
SELECT pg_temp.ask('refund_2');
-- the second is under way: it is asked about, and what is too much is said
SELECT pg_temp.take('refund');
SELECT pg_temp.hear('refund', 'r1b', 'refund_1', 100);
SELECT pg_temp.money();
SELECT pg_temp.open_tasks();
SELECT pg_temp.reviews();
SELECT pg_temp.finish_with('refund', 'r2');
SELECT pg_temp.money();
SELECT pg_temp.refunds();
SELECT pg_temp.reviews();
SELECT pg_temp.wrong();
ROLLBACK;

\echo kept, succeeded after all, reversed: owed once more, and it can be kept once more (71, 87)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 30), pg_temp.hear('refund_failed', 'f', 'refund_1');
SELECT state FROM payorder.settle_refund('refund_1', 'keep', 'tester', 'the buyer agreed');
SELECT pg_temp.state_of($$SELECT payorder.settle_refund('refund_1', 'keep', 'tester', 'once more')$$);
SELECT pg_temp.hear('refund', 'r', 'refund_1', 30);
SELECT pg_temp.money();
SELECT pg_temp.hear('refund_failed', 'r', 'refund_1');
SELECT pg_temp.money();
SELECT cause, refund_no, decisions FROM payorder.attention ORDER BY cause;
SELECT pg_temp.state_of($$SELECT payorder.settle_refund('refund_1', 'keep', 'tester', 'the buyer agreed')$$);
SELECT pg_temp.wrong();
ROLLBACK;

\echo stuck: nothing is freed, no new number; a later success is applied (72)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 30);
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund_stuck', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.refunds();
SELECT pg_temp.open_tasks();
SELECT pg_temp.reviews();
SELECT pg_temp.ask('refund_2', 10);
SELECT pg_temp.ask('refund_1', 30);
SELECT (payorder.fire('a', 'cancel', 'tester')).state;
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.refunds();
SELECT pg_temp.hear('refund', 'r1', 'refund_1', 30);
SELECT pg_temp.money();
SELECT pg_temp.reviews();
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

/* ---- refund_all ---- */

\echo a paid order is cancelled: all is refunded, once
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT (payorder.fire('a', 'cancel', 'tester')).state;
SELECT pg_temp.open_tasks();
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.refunds();
SELECT pg_temp.open_tasks();
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.open_tasks();
SELECT pg_temp.history('a');
SELECT pg_temp.wrong();
ROLLBACK;

\echo a part is refunded or under way already: only the rest is
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 30);
SELECT pg_temp.hear('refund', 'x', NULL, 20, 't');
SELECT (payorder.fire('a', 'cancel', 'tester')).state;
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.refunds();
SELECT pg_temp.hear('refund', 'r1', 'refund_1', 30);
SELECT pg_temp.money();
SELECT pg_temp.hear('refund', 'r2', refund_no, 50) FROM payorder.refunds WHERE refund_no ~ '^R';
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo the buyer cancels while the payment is in doubt, and the payment wins (76)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT count(*) FROM payorder.begin_payment('a', 'till');
SELECT (payorder.fire('a', 'cancel', 'tester')).state;
SELECT pg_temp.pay('t', payment_no) FROM payorder.attempts;
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.money();
SELECT to_state FROM payorder.events WHERE order_no = 'a' AND from_state IS DISTINCT FROM to_state ORDER BY seq;
SELECT pg_temp.wrong();
ROLLBACK;

\echo a part goes back in the console while all is refunded: the rest is asked for again, with a new number (12, 88)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT (payorder.fire('a', 'cancel', 'tester')).state;
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.hear('refund', 'x', NULL, 30, 't');
SELECT pg_temp.money();
SELECT pg_temp.open_tasks();
SELECT pg_temp.swept(now() + interval '20 seconds');
SELECT pg_temp.refunds();
SELECT count(DISTINCT refund_no) FROM payorder.refunds;
SELECT pg_temp.open_tasks();
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo kept grows while all is refunded: it is asked for as well
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 60);
SELECT (payorder.fire('a', 'cancel', 'tester')).state;
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.hear('refund', 'x', NULL, 1, 't');
SELECT pg_temp.refunds();
SELECT pg_temp.open_tasks();
SELECT pg_temp.swept(now() + interval '20 seconds');
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo nothing to refund: refunded at once
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a', 0);
SELECT (payorder.fire('a', 'cancel', 'tester')).state;
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo the console was faster than the sweep (12)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT (payorder.fire('a', 'cancel', 'tester')).state;
SELECT pg_temp.hear('refund', 'x', NULL, 100, 't');
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.refunds();
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo an excess that still waits keeps the order refunding
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a'), pg_temp.pay('t2', 'a', 7);
SELECT (payorder.fire('a', 'cancel', 'tester')).state;
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.hear('refund', 'r2', refund_no, 7) FROM payorder.refunds WHERE cause = 'excess';
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo a refund fails while all is refunded: it waits for a person, then the order is refunded
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT (payorder.fire('a', 'cancel', 'tester')).state;
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund_failed', 'r1');
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.money();
SELECT pg_temp.reviews();
SELECT pg_temp.ask('refund_2');
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund', 'r2');
SELECT pg_temp.money();
SELECT pg_temp.reviews();
SELECT pg_temp.wrong();
ROLLBACK;

\echo all of a shipped and of a completed order goes back
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.swept(now() + interval '6 minutes') IS NOT NULL;
SELECT (payorder.fire('a', 'ship', 'tester')).state, (payorder.fire('a', 'complete', 'tester')).state;
SELECT pg_temp.hear('refund', 'x1', NULL, 60, 't');
SELECT pg_temp.hear('refund', 'x2', NULL, 40, 't');
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

/* ---- what goes back by itself ---- */

\echo excess: held, asked about after the delay, both payments confirmed, returned
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a'), pg_temp.pay('t2', 'a', 7);
SELECT pg_temp.refunds();
SELECT floor(extract(epoch FROM r.run_at - now()) / 60) AS minutes FROM payorder.task_ready AS r WHERE r.kind = 'return';
SELECT count(*) FROM payorder.claim('{return}');
SELECT pg_temp.take('return');
SELECT pg_temp.masked(payload::text) FROM claimed;
SELECT pg_temp.finish('{"confirmed": ["t2", "t"]}');
SELECT pg_temp.refunds();
SELECT pg_temp.money();
SELECT pg_temp.take('refund');
SELECT (payload ->> 'refund_no') = idempotency_key AS same, payload ->> 'txn_id', payload -> 'amount' FROM claimed;
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.open_tasks();
SELECT pg_temp.reviews();
SELECT pg_temp.wrong();
ROLLBACK;

\echo not confirmed: for a person; nothing has moved
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a'), pg_temp.pay('t2', 'a', 7);
SELECT answer, pg_temp.outcome(format('SELECT * FROM pg_temp.take(''return''), pg_temp.finish(%L)', answer),
                               $$SELECT string_agg(s, ', ') FROM (SELECT pg_temp.refunds() UNION ALL SELECT pg_temp.reviews()) AS l (s)$$)
    FROM (VALUES (1, '{"confirmed": ["t2"]}'), (2, '{"confirmed": ["t"]}'), (3, '{"confirmed": []}'), (4, '{}'), (5, '{"confirmed": "t2"}'),
                 (6, '{"confirmed": true}'), (7, '{"confirmed": ["T", "T2"]}'), (8, '{"confirmed": ["t", "t2", "t3"]}'), (9, NULL)) AS v (n, answer)
    ORDER BY n;
ROLLBACK;

\echo late: its own payment is asked about
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), (payorder.fire('a', 'cancel', 'tester')).state;
SELECT pg_temp.pay('t', 'a');
-- what is owed is held: no other refund can take it
SELECT pg_temp.ask('refund_1', 10, 't');
SELECT pg_temp.take('return');
SELECT payload -> 'confirm' FROM claimed;
SELECT pg_temp.finish('{"confirmed": ["t"]}');
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo the refund of a return fails: owed, for a person, no other by itself; request_refund pays it back
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a'), pg_temp.pay('t2', 'a', 7);
SELECT pg_temp.take('return');
SELECT pg_temp.finish('{"confirmed": ["t2", "t"]}');
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund_failed', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.reviews();
SELECT pg_temp.swept(now() + interval '10 seconds');
SELECT pg_temp.open_tasks();
SELECT pg_temp.ask('refund_1', payment => 't2');
SELECT pg_temp.reviews();
SELECT pg_temp.take('refund');
SELECT pg_temp.finish_with('refund', 'r2');
SELECT pg_temp.money();
SELECT pg_temp.refunds();
SELECT pg_temp.wrong();
ROLLBACK;

\echo the question has no answer: asked again, dead in the end; the refund stays held
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a'), pg_temp.pay('t2', 'a', 7);
SELECT pg_temp.take('return');
SELECT pg_temp.give_up();
SELECT pg_temp.refunds();
SELECT pg_temp.open_tasks();
SELECT pg_temp.take('return');
SELECT pg_temp.give_up(false);
SELECT pg_temp.refunds();
SELECT pg_temp.attention();
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo made in the console while the question is under way: the answer returns nothing again (12, 88)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), (payorder.fire('a', 'cancel', 'tester')).state;
SELECT pg_temp.pay('t', 'a');
SELECT pg_temp.take('return');
SELECT pg_temp.hear('refund', 'x', NULL, 40, 't');
SELECT pg_temp.refunds();
SELECT pg_temp.reviews();
SELECT pg_temp.finish('{"confirmed": ["t"]}');
SELECT pg_temp.refunds();
SELECT pg_temp.open_tasks();
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

\echo at most so many in an hour; the others are held for a person, with an alarm (68)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.alter_gateway('till', '{"auto_return_per_hour": 3, "return_delay": "0"}');
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.pay('x' || n, 'a') FROM generate_series(1, 5) AS n;
SELECT pg_temp.refunds();
SELECT pg_temp.open_tasks();
SELECT pg_temp.reviews();
-- another gateway counts for itself, the next hour anew
SELECT payorder.add_gateway('desk', 'generic', 'shop-2');
SELECT verdict FROM payorder.ingest('desk', 'x6', 'pay', 'a', 100, 'CNY');
SELECT pg_temp.open_tasks();
UPDATE payorder.automatic_returns SET hour_began_at = hour_began_at - interval '59 minutes';
SELECT pg_temp.pay('x7', 'a');
SELECT pg_temp.open_tasks();
UPDATE payorder.automatic_returns SET hour_began_at = hour_began_at - interval '1 minute';
SELECT pg_temp.pay('x8', 'a');
SELECT pg_temp.open_tasks();
SELECT pg_temp.wrong();
ROLLBACK;

\echo at most so much in an hour, per currency
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.alter_gateway('till', '{"auto_return_amount_per_hour": 100}');
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT amount, currency, (payorder.ingest('till', 'x' || n, 'pay', 'a', amount, currency)).verdict
    FROM (VALUES (1, 101, 'CNY'), (2, 60, 'CNY'), (3, 41, 'CNY'), (4, 40, 'CNY'), (5, 1, 'CNY'), (6, 100, 'JPY'), (7, 1, 'JPY')) AS v (n, amount, currency) ORDER BY n;
SELECT txn_id, amount, state, task_id IS NOT NULL AS by_itself FROM payorder.refunds ORDER BY txn_id;
SELECT pg_temp.reviews();
SELECT pg_temp.wrong();
ROLLBACK;

\echo none at all
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.alter_gateway('till', '{"auto_return_per_hour": 0}');
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a'), pg_temp.pay('t2', 'a');
SELECT pg_temp.open_tasks();
SELECT pg_temp.reviews();
-- done in the console: the held one is no more, nor its review
SELECT pg_temp.hear('refund', 'c1', NULL, 100, 't2');
SELECT pg_temp.refunds();
SELECT pg_temp.reviews();
SELECT pg_temp.money();
SELECT pg_temp.wrong();
ROLLBACK;

/* ---- refunds that are not ours ---- */

\echo made in the console while ours is under way: ours fails, and the books are even (12, 88)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 60);
SELECT pg_temp.take('refund');
SELECT pg_temp.hear('refund', 'x', NULL, 100, 't');
SELECT pg_temp.money();
SELECT pg_temp.reviews();
SELECT pg_temp.open_tasks();
SELECT pg_temp.finish_with('refund_failed', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.refunds();
SELECT pg_temp.reviews();
SELECT pg_temp.wrong();
ROLLBACK;

\echo or ours goes through as well: too much went back, and it is said (12, 88)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 60);
SELECT pg_temp.take('refund');
SELECT pg_temp.hear('refund', 'x', NULL, 100, 't');
SELECT pg_temp.finish_with('refund', 'r1');
SELECT pg_temp.money();
SELECT pg_temp.reviews();
-- the console's fails later: what comes back covers what was too much
SELECT pg_temp.hear('refund_failed', 'x', NULL, NULL, 't');
SELECT pg_temp.money();
SELECT pg_temp.refunds();
SELECT pg_temp.reviews();
SELECT pg_temp.wrong();
ROLLBACK;

\echo several in the console; ours, not sent yet, gives way newest first (12, 88)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a'), pg_temp.pay('t', 'a');
SELECT pg_temp.ask('refund_1', 30);
SELECT pg_temp.ask('refund_2', 30);
SELECT pg_temp.hear('refund', 'x1', NULL, 40, 't');
SELECT pg_temp.refunds();
SELECT pg_temp.hear('refund', 'x2', NULL, 10, 't');
SELECT pg_temp.refunds();
SELECT pg_temp.open_tasks();
SELECT pg_temp.hear('refund', 'x3', NULL, 50, 't');
SELECT pg_temp.refunds();
SELECT pg_temp.money();
SELECT pg_temp.open_tasks();
SELECT pg_temp.wrong();
ROLLBACK;

\echo two payments, one id for both refunds: ids are the gateways own
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.add_gateway('desk', 'generic', 'shop-2');
SELECT pg_temp.new_order('a'), pg_temp.new_order('b'), pg_temp.pay('t', 'a');
SELECT verdict FROM payorder.ingest('desk', 't', 'pay', 'b', 100, 'CNY');
SELECT verdict, order_no FROM payorder.ingest('till', 'r', 'refund', amount => 10, payment_txn => 't');
SELECT verdict, order_no FROM payorder.ingest('desk', 'r', 'refund', amount => 20, payment_txn => 't');
SELECT pg_temp.refunds();
SELECT verdict, detail, order_no FROM payorder.ingest('desk', 'r', 'refund_failed');
SELECT pg_temp.money(), pg_temp.money('b');
SELECT pg_temp.wrong();
ROLLBACK;

\echo a refund number of ours, said by another gateway: not ours there
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.add_gateway('desk', 'generic', 'shop-2');
SELECT pg_temp.new_order('a'), pg_temp.new_order('b'), pg_temp.pay('t', 'a');
SELECT verdict FROM payorder.ingest('desk', 'tb', 'pay', 'b', 100, 'CNY');
SELECT pg_temp.ask('refund_1', 30);
SELECT verdict, detail, order_no FROM payorder.ingest('desk', 'r', 'refund', amount => 30, refund_no => 'refund_1');
SELECT verdict, detail, order_no FROM payorder.ingest('desk', 'r2', 'refund', amount => 30, payment_txn => 'tb', refund_no => 'refund_1');
SELECT verdict, detail, order_no FROM payorder.ingest('desk', 'r3', 'refund_failed', refund_no => 'refund_1');
SELECT pg_temp.refunds();
SELECT pg_temp.money(), pg_temp.money('b');
ROLLBACK;
