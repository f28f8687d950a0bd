--
-- Limits of tasks: claim() gives out no more of a gateway, or of a kind, than
-- may run at once, and what is full bars nobody's way.  Scenario 39 (with many
-- workers: test/sim/test_task_limit.py).
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- What a claim gets, as "kind gateway".
CREATE FUNCTION pg_temp.claimed(most integer DEFAULT 20, kinds text[] DEFAULT NULL) RETURNS text
    LANGUAGE sql AS $$
SELECT string_agg(concat_ws(' ', kind, gateway), ', ' ORDER BY kind, gateway) FROM payorder.claim(kinds, most)
$$;
CREATE FUNCTION pg_temp.end_one(kind text) RETURNS bigint
    LANGUAGE sql AS $$
SELECT count(*) FROM (SELECT task_id, token FROM payorder.task_leases AS l WHERE l.kind = end_one.kind ORDER BY task_id LIMIT 1) AS t,
    LATERAL payorder.complete(task_id, token)
$$;
CREATE FUNCTION pg_temp.limits() RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT format('%s %s: %s of %s', scope, name, running, max_running) FROM payorder.task_limits ORDER BY scope, name
$$;
SELECT payorder.add_gateway('g', 'generic', 'g'), payorder.add_gateway('h', 'generic', 'h') \g /dev/null
SELECT payorder.define_task_kind('mail'), payorder.define_task_kind('pack', backoff_base => '1 ms', backoff_max => '1 ms') \g /dev/null
SELECT payorder.create_order('o' || i, 100, 'CNY') FROM generate_series(1, 8) AS i \g /dev/null
SELECT payorder.ingest(CASE WHEN i % 2 = 0 THEN 'g' ELSE 'h' END, 'p' || i, 'pay', 'o' || i, 100, 'CNY') FROM generate_series(1, 8) AS i \g /dev/null
SELECT payorder.request_refund('RF00000' || i, 'o' || i) FROM generate_series(1, 8) AS i \g /dev/null
SELECT payorder.enqueue(k) FROM unnest('{mail,pack}'::text[]) AS k, generate_series(1, 4) \g /dev/null
\set ECHO queries

/* ---- of a gateway, of a kind, of both ---- */

SELECT payorder.set_task_limit('g', max_running => 2), payorder.set_task_limit(kind => 'mail', max_running => 1);
SELECT pg_temp.claimed(3, '{refund}');
-- its two are out: the rest of the queue goes on without it
SELECT pg_temp.claimed();
SELECT pg_temp.claimed();
SELECT pg_temp.limits();
-- what ends makes room, however it ends
SELECT pg_temp.end_one('mail');
SELECT pg_temp.claimed();
SELECT payorder.fail(task_id, token, 'no') FROM payorder.task_leases WHERE kind = 'mail';
SELECT pg_temp.claimed(kinds => '{mail}');
SELECT leases FROM payorder.sweep(at => now() + interval '10 minutes');
SELECT pg_temp.limits();
SELECT count(*) FROM payorder.task_leases;

/* ---- changed while tasks are out ---- */

SELECT payorder.set_task_limit(kind => 'pack', max_running => 3);
UPDATE payorder.task_ready SET run_at = now() WHERE kind = 'pack';
SELECT pg_temp.claimed(kinds => '{pack}');
SELECT payorder.set_task_limit(kind => 'pack', max_running => 1);
SELECT pg_temp.claimed(kinds => '{pack}');
SELECT pg_temp.limits();
-- not until all beyond the new limit have ended
SELECT payorder.complete(task_id, token) FROM payorder.task_leases WHERE kind = 'pack' AND kind_slot IN (1, 2);
SELECT pg_temp.claimed(kinds => '{pack}');
SELECT payorder.complete(task_id, token) FROM payorder.task_leases WHERE kind = 'pack';
SELECT pg_temp.claimed(kinds => '{pack}');
SELECT payorder.set_task_limit(kind => 'pack', max_running => 4);
SELECT pg_temp.claimed(kinds => '{pack}');
SELECT payorder.set_task_limit('g'), payorder.set_task_limit(kind => 'mail'), payorder.set_task_limit(kind => 'pack', max_running => NULL);
SELECT pg_temp.limits();

/* ---- a gateway that is limited, and its kind ---- */

UPDATE payorder.task_ready SET run_at = now();
SELECT payorder.set_task_limit('g', max_running => 3), payorder.set_task_limit(kind => 'refund', max_running => 5);
SELECT pg_temp.claimed(kinds => '{refund}');
SELECT pg_temp.claimed(kinds => '{refund}');
SELECT pg_temp.limits();

/* ---- wrong calls ---- */

SELECT pg_temp.error_of(format('SELECT payorder.set_task_limit(%s)', arguments))
    FROM (VALUES (1, ''), (2, $$'g', 'mail', 1$$), (3, $$'x', NULL, 1$$), (4, $$kind => 'x', max_running => 1$$), (5, $$kind => 'review', max_running => 1$$),
                 (6, $$kind => 'refund_all', max_running => 1$$), (7, $$'g', max_running => 0$$), (8, $$'g', max_running => -1$$), (9, $$'g', max_running => 10001$$), (10, $$'none', max_running => 1$$))
        AS a (number, arguments)
    ORDER BY number;
SELECT * FROM payorder.check_invariants();
SELECT payorder.set_task_limit('g'), payorder.set_task_limit(kind => 'refund') \g /dev/null
