--
-- Room task: the queue, leases and their tokens, backoff, dead letters.
-- Scenarios 36, 37, 38, 40, 41, 42.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- define_task_kind: what it takes
BEGIN;
SELECT pg_temp.empty();
SELECT a, pg_temp.state_of(format('SELECT payorder.define_task_kind(%s)', a))
    FROM unnest(ARRAY[$$''$$, 'NULL', $$'Bake'$$, $$'a-b'$$, $$'a b'$$, $$repeat('x', 63)$$, $$repeat('x', 64)$$,
                      $$'bake', lease => '0'$$, $$'bake', lease => '-1 s'$$, $$'bake', lease => '1 month'$$, $$'bake', lease => '366 days'$$,
                      $$'bake', lease => '366 days 1 us'$$, $$'bake', lease => NULL$$,
                      $$'bake', max_attempts => 0$$, $$'bake', max_attempts => -1$$, $$'bake', max_attempts => 1$$, $$'bake', max_attempts => 2147483647$$,
                      $$'bake', max_attempts => NULL$$,
                      $$'bake', backoff_base => '0'$$, $$'bake', backoff_base => NULL$$, $$'bake', backoff_max => '-1 day'$$, $$'bake', backoff_max => NULL$$,
                      $$'bake', backoff_list => '{}'$$, $$'bake', backoff_list => '{1 s,NULL}'$$, $$'bake', backoff_list => '{1 s,0}'$$,
                      $$'bake', backoff_list => '{{1 s},{2 s}}'$$, $$'bake', backoff_list => '{1 s,1 month}'$$, $$'bake', backoff_list => '{1 s,2 s}'$$,
                      $$'bake', handler => 'pg_catalog.now()'$$]) WITH ORDINALITY AS t (a, n) ORDER BY n;
SELECT pg_temp.error_of($$SELECT payorder.define_task_kind('Bake')$$);
SELECT pg_temp.error_of($$SELECT payorder.define_task_kind('bake', lease => '0')$$);
SELECT pg_temp.error_of($$SELECT payorder.define_task_kind('bake', max_attempts => 0)$$);
SELECT pg_temp.error_of($$SELECT payorder.define_task_kind('bake', backoff_list => '{}')$$);
-- again: the newest timing; of a kernel's kind only the timing, and the
-- kernel's own row stays
SELECT payorder.define_task_kind('bake');
SELECT payorder.define_task_kind('bake', lease => '2 minutes', max_attempts => 3);
SELECT payorder.define_task_kind('refund', lease => '5 minutes');
SELECT id >= 100 AS users, kind, worked_by, money_out, lease, max_attempts FROM payorder.task_kinds WHERE kind IN ('bake', 'refund') ORDER BY kind, id;
SELECT pg_temp.new_order('o1');
SELECT pg_temp.pay('t1', 'o1');
SELECT state FROM payorder.request_refund('R0000001', 'o1');
SELECT kind, leased_until - now() > interval '4 minutes 59 seconds' FROM payorder.claim();
ROLLBACK;

-- enqueue: of users' kinds only; what the kernel makes, nobody else does
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_task_kind('bake');
SELECT kind, pg_temp.state_of(format('SELECT payorder.enqueue(%L)', kind)) FROM payorder.task_kinds WHERE id < 100 ORDER BY id;
SELECT pg_temp.error_of($$SELECT payorder.enqueue('refund')$$);
SELECT pg_temp.error_of($$SELECT payorder.enqueue('brew')$$);
SELECT a, pg_temp.state_of(format('SELECT payorder.enqueue(%s)', a))
    FROM unnest(ARRAY['NULL', $$''$$, $$'bake', run_at => 'infinity'$$, $$'bake', run_at => '-infinity'$$, $$'bake', payload => NULL$$,
                      $$'bake', payload => '[1, 2]'$$, $$'bake', run_at => '1970-01-01'$$]) WITH ORDINALITY AS t (a, n) ORDER BY n;
-- a payload that could never be read again is refused when it is put in, not
-- when it is too late
SELECT pg_temp.state_of($$SELECT payorder.enqueue('bake', payload => '{"a": 1, "a": 2}')$$),
       pg_temp.state_of($$SELECT payorder.enqueue('bake', payload => '{"a": "\u0000"}')$$);
-- redefining a money kind does not open it
SELECT payorder.define_task_kind('refund', lease => '5 minutes');
SELECT pg_temp.state_of($$SELECT payorder.enqueue('refund')$$);
-- what a worker gets
SELECT pg_temp.new_order('o1');
SET LOCAL payorder.trace = 'trace-1';
SELECT payorder.enqueue('bake', 'o1', '{"loaves": 3}', dedup_key => 'k1') IS NOT NULL;
SELECT kind, order_no, gateway, adapter, merchant_id, idempotency_key, attempt, first_tried_at IS NOT NULL, not_after,
       leased_until - first_tried_at, trace, payload
    FROM payorder.claim();
-- undone with the transaction that made it (40)
SAVEPOINT s;
SELECT payorder.enqueue('bake') IS NOT NULL;
ROLLBACK TO s;
SELECT count(*) FROM payorder.tasks;
SELECT count(*) FROM payorder.claim();
SELECT pg_temp.wrong();
ROLLBACK;

-- enqueue_batch: as enqueue, many at once
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_task_kind('bake');
SELECT a, pg_temp.state_of(format('SELECT payorder.enqueue_batch(%s)', a))
    FROM unnest(ARRAY[$$'brew', '{}'$$, $$'refund', '{}'$$, $$NULL, '{}'$$, $$'bake', NULL$$, $$'bake', '{}'$$, $$'bake', '{1,2}', '{o1}'$$,
                      $$'bake', '{}', '{o1}'$$, $$'bake', '{1,2}', NULL$$, $$'bake', '{{1,2}}'$$, $$'bake', '{1}', run_at => 'infinity'$$,
                      $$'bake', array_fill('{}'::json, '{1000}')$$, $$'bake', array_fill('{}'::json, '{1001}')$$,
                      $$'bake', ARRAY['{"a": 1, "a": 2}']::json[]$$, $$'bake', ARRAY['1', '{"a": "\u0000"}']::json[]$$]) WITH ORDINALITY AS t (a, n) ORDER BY n;
SELECT pg_temp.error_of($$SELECT payorder.enqueue_batch('bake', '{1,2}', '{o1}')$$);
SELECT pg_temp.error_of($$SELECT payorder.enqueue_batch('bake', array_fill('{}'::json, '{1001}'))$$);
DELETE FROM payorder.task_ready;
SELECT payorder.enqueue_batch('bake', '{}');
-- what a worker gets, in the order of the payloads
SET LOCAL payorder.trace = 'trace-1';
CREATE TEMP TABLE made ON COMMIT DROP AS
SELECT id, n FROM unnest(payorder.enqueue_batch('bake', '{1,NULL,"\"x\"",4}', '{o1,o2,NULL,o4}')) WITH ORDINALITY AS t (id, n);
SELECT m.n, c.kind, c.order_no, c.payload, c.attempt, c.trace, c.leased_until - c.first_tried_at
    FROM payorder.claim(max_tasks => 10) AS c JOIN made AS m ON m.id = c.task ORDER BY m.n;
SELECT count(*) FROM payorder.enqueue_batch('bake', '{1,2}', run_at => now() + interval '1 hour');
SELECT count(*) FROM payorder.claim(max_tasks => 10);
SELECT pg_temp.wrong();
ROLLBACK;

-- complete_batch: each task by its token; a lost one undoes no other
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_task_kind('bake');
SELECT cardinality(payorder.enqueue_batch('bake', '{1,2,3,4,5}'));
SELECT payorder.enqueue('bake', dedup_key => 'k') IS NOT NULL;
CREATE TEMP TABLE mine ON COMMIT DROP AS SELECT row_number() OVER (ORDER BY task) AS n, task, token FROM payorder.claim(max_tasks => 10);
SELECT a, pg_temp.state_of(format('SELECT payorder.complete_batch(%s)', a))
    FROM unnest(ARRAY[$$'{}', '{}'$$, $$NULL, NULL$$, $$'{1}', '{}'$$, $$'{1}', NULL$$, $$'{1,2}', '{1,2}', '{1}'$$, $$'{{1,2}}', '{{1,2}}'$$,
                      $$'{NULL}', '{NULL}'$$, $$'{1}', '{1}', ARRAY['{"a": 1, "a": 2}']::json[]$$,
                      $$array_fill(1::bigint, '{1001}'), array_fill(1::bigint, '{1001}')$$]) WITH ORDINALITY AS t (a, n) ORDER BY n;
-- the second has another's token, the third is given twice, the seventh is nobody's
SELECT (SELECT array_agg(m.n ORDER BY m.n) FROM unnest(lost) AS l LEFT JOIN mine AS m ON m.task = l) AS lost
    FROM (SELECT payorder.complete_batch(array_agg(task ORDER BY n DESC) || (SELECT task FROM mine WHERE n = 3) || 0::bigint,
                                         array_agg(CASE n WHEN 2 THEN 0 ELSE token END ORDER BY n DESC) || (SELECT token FROM mine WHERE n = 3) || 0::bigint,
                                         array_agg(CASE n WHEN 4 THEN NULL ELSE json_build_object('n', n) END ORDER BY n DESC) || NULL::json || NULL::json) AS lost
          FROM mine) AS x;
SELECT m.n, f.outcome, f.attempts, CASE WHEN m.n <> 3 THEN f.result::text END AS result FROM payorder.task_finished AS f JOIN mine AS m ON m.task = f.task_id ORDER BY m.n;
SELECT m.n FROM payorder.task_leases AS l JOIN mine AS m ON m.task = l.task_id;
SELECT count(*) FROM payorder.task_keys;
-- again: all but the second are lost, by the first answer
SELECT cardinality(payorder.complete_batch(array_agg(task), array_agg(token))) FROM mine;
SELECT count(*) FROM payorder.task_finished;
-- a kind of the kernel's: none has ended
SELECT cardinality(payorder.enqueue_batch('bake', '{1}'));
SELECT pg_temp.new_order('o1');
SELECT pg_temp.pay('t1', 'o1');
SELECT state FROM payorder.request_refund('R0000001', 'o1');
CREATE TEMP TABLE kinds ON COMMIT DROP AS SELECT * FROM payorder.claim(max_tasks => 10);
SELECT string_agg(kind, ', ' ORDER BY kind) FROM kinds;
SELECT regexp_replace(pg_temp.error_of($$SELECT payorder.complete_batch(array_agg(task), array_agg(token)) FROM kinds$$), 'task \d+', 'task N');
SELECT count(*) FROM payorder.task_leases;
SELECT pg_temp.wrong();
ROLLBACK;

-- dedup_key: one open task; a key is free again once its task has ended (41)
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_task_kind('bake', max_attempts => 1);
SELECT payorder.define_task_kind('brew');
CREATE TEMP TABLE ids (name text, id bigint) ON COMMIT DROP;
INSERT INTO ids SELECT 'first', payorder.enqueue('bake', dedup_key => 'k1', payload => '{"n": 1}');
INSERT INTO ids SELECT 'same key', payorder.enqueue('bake', dedup_key => 'k1', payload => '{"n": 2}');
INSERT INTO ids SELECT 'other key', payorder.enqueue('bake', dedup_key => 'k2');
INSERT INTO ids SELECT 'no key', payorder.enqueue('bake');
CREATE TEMP TABLE mine ON COMMIT DROP AS SELECT c.* FROM payorder.claim(max_tasks => 10) AS c;
INSERT INTO ids SELECT 'while leased', payorder.enqueue('bake', dedup_key => 'k1');
SELECT payload FROM payorder.tasks WHERE id = (SELECT id FROM ids WHERE name = 'first');
SELECT count(c) FROM mine, payorder.complete(mine.task, mine.token) AS c WHERE task = (SELECT id FROM ids WHERE name = 'first');
INSERT INTO ids SELECT 'after it was done', payorder.enqueue('bake', dedup_key => 'k1');
SELECT payorder.fail(task, token, 'burnt') FROM mine WHERE task = (SELECT id FROM ids WHERE name = 'other key');
INSERT INTO ids SELECT 'after death', payorder.enqueue('bake', dedup_key => 'k2');
SELECT payorder.cancel_task((SELECT id FROM ids WHERE name = 'after it was done'), 'anna', 'enough');
INSERT INTO ids SELECT 'after cancel', payorder.enqueue('bake', dedup_key => 'k1');
SELECT name, dense_rank() OVER (ORDER BY id) FROM ids ORDER BY id, name;
-- the dead one can't come back while a newer one has its key
SELECT regexp_replace(pg_temp.error_of(format('SELECT payorder.retry_dead(%s, ''anna'', ''x'')', id)), 'task \d+', 'task N', 'g') FROM ids WHERE name = 'other key';
-- a user's key is none of the kernel's
SELECT payorder.enqueue('bake', dedup_key => 'review:owed:till:t1') IS NOT NULL;
SELECT count(*) FROM payorder.task_keys WHERE dedup_key = 'review:owed:till:t1';
SELECT pg_temp.wrong();
ROLLBACK;

-- claim: which tasks, in which order, how many
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.add_gateway('other', 'generic', 'shop-2');
SELECT payorder.define_task_kind('bake'), payorder.define_task_kind('brew');
SELECT count(payorder.enqueue('bake', payload => json_build_object('n', n), run_at => now() - make_interval(mins => 10 - n))) FROM generate_series(1, 4) AS n;
SELECT payorder.enqueue('brew', payload => '{"n": 5}', run_at => now() - interval '1 hour') IS NOT NULL;
SELECT payorder.enqueue('brew', payload => '{"n": 6}', run_at => now() + interval '1 hour') IS NOT NULL;
SELECT pg_temp.new_order('o1'), pg_temp.new_order('o2');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT state FROM payorder.begin_payment('o2', 'other');
SELECT state FROM payorder.fire('o1', 'close');
SELECT state FROM payorder.fire('o2', 'close');
CREATE FUNCTION pg_temp.claimed(arguments text) RETURNS text
    LANGUAGE sql AS $$
SELECT pg_temp.outcome('SELECT 1', format($q$SELECT coalesce(string_agg(concat(kind, coalesce(gateway, payload ->> 'n')), ' ' ORDER BY kind, gateway, payload ->> 'n'), 'nothing')
    FROM payorder.claim(%s)$q$, arguments))
$$;
SELECT a, pg_temp.claimed(a)
    FROM unnest(ARRAY['', 'max_tasks => 3', 'max_tasks => 100', $$'{bake}', 2$$, $$'{bake,brew}', 2$$, $$'{}', 100$$, $$'{nothing}', 100$$,
                      $$'{close_payment}', 100$$, $$gateways => '{other}', max_tasks => 100$$, $$gateways => '{}', max_tasks => 100$$,
                      $$'{refund_all,review}', 100$$, 'max_tasks => 0', 'max_tasks => -1', 'max_tasks => 1000', 'max_tasks => 1001',
                      $$lease => '0'$$, $$lease => '-1 s'$$, $$lease => '1 month'$$, 'max_tasks => NULL']) WITH ORDINALITY AS t (a, n) ORDER BY n;
-- tasks of a paused gateway are passed over; of a disabled one they are not
SELECT payorder.pause_gateway('till', 'ops', 'x');
SELECT payorder.alter_gateway('other', '{"enabled": false}');
SELECT pg_temp.claimed('max_tasks => 100');
SELECT payorder.resume_gateway('till', 'ops', 'x');
SELECT pg_temp.claimed('max_tasks => 100');
-- each once
SELECT count(*) FROM payorder.claim(max_tasks => 4);
SELECT count(*) FROM payorder.claim(max_tasks => 4);
SELECT count(*) FROM payorder.claim(max_tasks => 4);
SELECT count(*), count(DISTINCT task_id), count(DISTINCT token) FROM payorder.task_leases;
SELECT pg_temp.wrong();
ROLLBACK;

-- reviews are a person's and what sweep() does is the kernel's: no claim gives
-- them out, and no new row for their kind changes that
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1'), pg_temp.new_order('o2');
SELECT pg_temp.pay('t1', 'o1', 99), pg_temp.pay('t2', 'o2');
SELECT state FROM payorder.fire('o2', 'cancel');
SELECT payorder.define_task_kind('review'), payorder.define_task_kind('refund_all');
SELECT * FROM pg_temp.tasks();
SELECT count(*) FROM payorder.claim(max_tasks => 100);
SELECT count(*) FROM payorder.claim('{review,refund_all}', 100);
SELECT pg_temp.swept(clock_timestamp());
SELECT * FROM pg_temp.tasks();
ROLLBACK;

-- a worker dies: its lease ends, the task is retaken with a new token and the
-- same idempotency key; the late worker is refused (36, 37)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT pg_temp.pay('t1', 'o1');
SELECT state FROM payorder.request_refund('R0000001', 'o1');
CREATE TEMP TABLE late ON COMMIT DROP AS SELECT c.* FROM payorder.claim(worker => 'w1') AS c;
SELECT worker, attempts FROM payorder.task_leases;
SELECT pg_temp.swept(leased_until) FROM payorder.task_leases;
SELECT attempts, error FROM payorder.task_ready;
SELECT regexp_replace(pg_temp.error_of(format('SELECT payorder.complete(%s, %s)', task, token)), '\d+ is', 'N is') FROM late;
SELECT pg_temp.state_of(format('SELECT payorder.fail(%s, %s, ''x'')', task, token)), pg_temp.state_of(format('SELECT payorder.heartbeat(%s, %s)', task, token)) FROM late;
SELECT pg_temp.hurry();
CREATE TEMP TABLE next ON COMMIT DROP AS SELECT c.* FROM payorder.claim(worker => 'w2') AS c;
SELECT n.task = l.task, n.token <> l.token, n.idempotency_key, n.idempotency_key = l.idempotency_key, n.attempt, n.first_tried_at = l.first_tried_at,
       n.payload::text = l.payload::text
    FROM next n, late l;
SELECT pg_temp.state_of(format('SELECT payorder.%s(%s, %s%s)', f, task, token, CASE f WHEN 'fail' THEN ', ''x''' END))
    FROM late, unnest('{complete,fail,heartbeat}'::text[]) AS f;
SELECT count(*) FROM next, payorder.complete(task, token, pg_temp.says('refund', 'b1', 100));
-- it is over for everybody
SELECT pg_temp.state_of(format('SELECT payorder.%s(%s, %s%s)', f, task, token, CASE f WHEN 'fail' THEN ', ''x''' END))
    FROM next, unnest('{complete,fail,heartbeat}'::text[]) AS f;
SELECT * FROM pg_temp.tasks();
SELECT a, pg_temp.state_of(format('SELECT payorder.complete(%s)', a)) FROM unnest('{"NULL, 1","1, NULL","0, 0","-1, 1"}'::text[]) AS a;
SELECT pg_temp.wrong();
ROLLBACK;

-- heartbeat: a longer lease for who has it, from now
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_task_kind('bake', lease => '10 seconds');
SELECT payorder.enqueue('bake') IS NOT NULL;
CREATE TEMP TABLE mine ON COMMIT DROP AS SELECT c.* FROM payorder.claim() AS c;
SELECT leased_until - leased_at FROM payorder.task_leases;
SELECT date_trunc('second', payorder.heartbeat(task, token) - now()) BETWEEN '10 s' AND '15 s' FROM mine;
SELECT payorder.heartbeat(task, token, '1 hour') > now() + interval '59 minutes' FROM mine;
SELECT leased_until > now() + interval '59 minutes' FROM payorder.task_leases;
SELECT pg_temp.swept(now() + interval '30 minutes');
SELECT l, pg_temp.state_of(format('SELECT payorder.heartbeat(%s, %s, %L)', task, token, l)) FROM mine, unnest('{0,-1 s,1 month,367 days,366 days}'::text[]) AS l;
SELECT pg_temp.state_of(format('SELECT payorder.heartbeat(%s, %s)', task, token + 1)), pg_temp.state_of('SELECT payorder.heartbeat(NULL, 1)') FROM mine;
ROLLBACK;

-- a lease in days is as long in every time zone (34): of eleven some end in
-- another season
BEGIN;
SELECT pg_temp.empty();
SET LOCAL TimeZone = 'America/New_York';
SELECT payorder.define_task_kind('bake');
SELECT count(payorder.enqueue('bake')) FROM generate_series(1, 11);
CREATE TEMP TABLE mine ON COMMIT DROP AS SELECT n, c.* FROM generate_series(30, 330, 30) AS n, LATERAL payorder.claim(lease => make_interval(days => n)) AS c;
SELECT DISTINCT extract(epoch FROM l.leased_until - l.leased_at) - n * 86400.0 = 0 FROM payorder.task_leases l JOIN mine m ON m.task = l.task_id;
SELECT DISTINCT abs(extract(epoch FROM payorder.heartbeat(task, token, make_interval(days => n)) - now()) - n * 86400) < 600 FROM mine;
ROLLBACK;

-- a transient failure: again after a pause that doubles, up to a maximum, of
-- which it is between half and the whole; dead after max_attempts (38, 42)
CREATE FUNCTION pg_temp.fail_once(kind text, OUT attempt integer, OUT ended text, OUT pause interval)
    LANGUAGE plpgsql AS $$
DECLARE
    t payorder.task_info;
    failed_at timestamptz;
BEGIN
    PERFORM pg_temp.hurry();
    SELECT * INTO STRICT t FROM payorder.claim(ARRAY[kind]);
    attempt := t.attempt;
    failed_at := clock_timestamp();
    ended := payorder.fail(t.task, t.token, 'timeout ' || t.attempt);
    SELECT run_at - failed_at INTO pause FROM payorder.task_ready WHERE task_id = t.task;
END $$;
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_task_kind('bake', max_attempts => 7, backoff_base => '10 seconds', backoff_max => '2 minutes');
SELECT payorder.enqueue('bake', payload => '{"n": 1}') IS NOT NULL;
SELECT attempt, ended, pause BETWEEN interval '1 second' * least(120, 10 * 2 ^ (attempt - 1)) / 2
                            AND interval '1 second' * least(120, 10 * 2 ^ (attempt - 1)) + interval '1 second' AS pause
    FROM generate_series(1, 7), LATERAL pg_temp.fail_once('bake' || left('', generate_series));
SELECT * FROM pg_temp.tasks();
SELECT attempts, error, first_tried_at IS NOT NULL FROM payorder.task_dead;
SELECT kind, regexp_replace(subject, '\d+', 'N'), cause, decisions FROM payorder.attention;
SELECT pg_temp.wrong();
-- the pauses of many are not all the same
SELECT count(payorder.enqueue('bake')) FROM generate_series(1, 50);
SELECT count(payorder.fail(task, token, 'x')) FROM payorder.claim(max_tasks => 50);
SELECT count(DISTINCT run_at) > 25, max(run_at) - min(run_at) > interval '1 second', min(run_at) > now() + interval '4.9 seconds' FROM payorder.task_ready;
ROLLBACK;
-- a list of pauses: the n-th after the n-th failure, the last one for all after
-- it, as they are
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_task_kind('bake', max_attempts => 5, backoff_list => '{1 min,1 hour,2 days}');
SELECT payorder.enqueue('bake') IS NOT NULL;
SELECT attempt, ended, date_trunc('minute', pause) FROM generate_series(1, 5) AS n, LATERAL pg_temp.fail_once('bake' || left('', n));
ROLLBACK;
-- a poison task among others: they are worked all the same (38)
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_task_kind('bake', max_attempts => 2);
SELECT payorder.enqueue('bake', payload => '{"poison": true}') IS NOT NULL;
SELECT count(payorder.enqueue('bake', payload => '{"poison": false}')) FROM generate_series(1, 3);
CREATE FUNCTION pg_temp.work() RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    t payorder.task_info;
    n integer := 0;
BEGIN
    LOOP
        PERFORM pg_temp.hurry();
        SELECT * INTO t FROM payorder.claim();
        EXIT WHEN t.task IS NULL OR n > 100;
        n := n + 1;
        IF t.payload ->> 'poison' = 'true' THEN
            PERFORM payorder.fail(t.task, t.token, 'poison');
        ELSE
            PERFORM payorder.complete(t.task, t.token, '{"loaves": 1}');
        END IF;
    END LOOP;
    RETURN n;
END $$;
SELECT pg_temp.work();
SELECT * FROM pg_temp.tasks();
SELECT outcome, attempts, result FROM payorder.task_finished;
ROLLBACK;
-- a permanent error is dead at once, with its reason (42)
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_task_kind('bake');
SELECT count(payorder.enqueue('bake')) FROM generate_series(1, 3);
SELECT payorder.fail(task, token, 'no such oven', retryable => false) FROM payorder.claim();
SELECT payorder.fail(task, token, 'no fire', retryable => NULL) FROM payorder.claim();
SELECT payorder.fail(task, token, NULL) FROM payorder.claim();
SELECT attempts, error FROM payorder.task_dead;
SELECT attempts, error FROM payorder.task_ready ORDER BY task_id;
ROLLBACK;
-- the end of a lease counts as a failure: in the end dead, not for ever (36, 38)
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_task_kind('bake', max_attempts => 2);
SELECT payorder.enqueue('bake') IS NOT NULL;
SELECT count(*) FROM payorder.claim();
SELECT pg_temp.swept(now() + interval '1 hour');
SELECT pg_temp.hurry();
SELECT count(*) FROM payorder.claim();
SELECT pg_temp.swept(now() + interval '2 hours');
SELECT attempts, error FROM payorder.task_dead;
ROLLBACK;

-- retry_dead: ready again now, with a new budget, the same idempotency key and
-- the time of the first try (38)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT pg_temp.pay('t1', 'o1');
SELECT state FROM payorder.request_refund('R0000001', 'o1');
CREATE TEMP TABLE first ON COMMIT DROP AS SELECT c.* FROM payorder.claim() AS c;
SELECT payorder.fail(task, token, 'account closed', false) FROM first;
SELECT state FROM payorder.refunds;
SELECT count(*) FROM payorder.claim('{refund}');
SELECT payorder.retry_dead(task, 'anna', 'account is open again') FROM first;
SELECT * FROM pg_temp.tasks();
SELECT event, actor, source, reason FROM payorder.events WHERE event = 'retry_dead';
SELECT n.task = f.task, n.idempotency_key, n.first_tried_at = f.first_tried_at FROM payorder.claim('{refund}') AS n, first f;
SELECT pg_temp.state_of(format('SELECT payorder.retry_dead(%s, ''anna'', ''x'')', task)) FROM first;
SELECT a, pg_temp.state_of(format('SELECT payorder.retry_dead(%s)', a)) FROM unnest(ARRAY[$$NULL, 'anna', 'x'$$, $$0, 'anna', 'x'$$]) AS a;
SELECT pg_temp.wrong();
ROLLBACK;
-- a refund that was tried once is a claimed one for good, retried by hand or
-- not: an external refund of the same money does not cancel it (VERDICTS 35)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT pg_temp.pay('t1', 'o1');
SELECT state FROM payorder.request_refund('R0000001', 'o1');
CREATE TEMP TABLE first ON COMMIT DROP AS SELECT c.* FROM payorder.claim() AS c;
SELECT payorder.fail(task, token, 'timeout', false) FROM first;
SELECT payorder.retry_dead(task, 'anna', 'again') FROM first;
SELECT verdict, detail FROM payorder.ingest('till', 'b1', 'refund', NULL, 100, 'CNY', payment_txn => 't1');
SELECT state FROM payorder.refunds WHERE refund_no = 'R0000001';
SELECT "returning", returned, overdrawn FROM payorder.payments;
SELECT count(*) FROM payorder.tasks WHERE kind = 'query_refund';
SELECT pg_temp.wrong();
ROLLBACK;

-- bodies are immutable in what the queue does with them
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_task_kind('bake');
SELECT payorder.enqueue('bake', payload => '{"n":  1}') IS NOT NULL;
CREATE TEMP TABLE body ON COMMIT DROP AS SELECT * FROM payorder.tasks;
SELECT payorder.fail(task, token, 'x') FROM payorder.claim();
SELECT pg_temp.hurry();
SELECT count(d) FROM payorder.claim() AS c, payorder.complete(c.task, c.token, '{"done": true}') AS d;
SELECT b.payload::text = t.payload::text, (b.created_at, b.kind) = (t.created_at, t.kind) FROM payorder.tasks t, body b;
SELECT attempts, outcome, result FROM payorder.task_finished;
ROLLBACK;

BEGIN READ ONLY;
SELECT f, pg_temp.state_of('SELECT payorder.' || f) FROM unnest(ARRAY[$$enqueue('bake')$$, $$enqueue_batch('bake', '{1}')$$, $$complete_batch('{1}', '{1}')$$, 'claim()', 'heartbeat(1, 1)', $$retry_dead(1, 'a', 'b')$$, $$define_task_kind('bake')$$]) AS f;
ROLLBACK;
