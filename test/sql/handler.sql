--
-- Handlers of tasks: what may be one, as whom and how it is called, and how
-- its task ends.  With a worker: test/t/080_handler.pl.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set SHOW_CONTEXT never

SET client_min_messages = warning;
DROP SCHEMA IF EXISTS shop CASCADE;
DROP ROLE IF EXISTS handler_owner, handler_admin, handler_other;
CREATE ROLE handler_owner;
CREATE ROLE handler_admin;
CREATE ROLE handler_other;
CREATE SCHEMA shop;
GRANT USAGE ON SCHEMA shop, payorder TO handler_owner, handler_admin, handler_other;
GRANT USAGE ON TYPE payorder.task_info TO handler_owner, handler_admin, handler_other;
GRANT CREATE ON SCHEMA shop TO handler_owner, handler_admin, handler_other;
GRANT EXECUTE ON FUNCTION payorder.define_task_kind, payorder.enqueue TO handler_owner, handler_admin;
CREATE TABLE shop.sent (task bigint PRIMARY KEY, token bigint, attempt integer, who text, path text, payload text);
GRANT INSERT ON shop.sent TO handler_owner;
SET ROLE handler_owner;
CREATE FUNCTION shop.send(task payorder.task_info) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shop.sent VALUES (task.task, task.token, task.attempt, current_user, current_setting('search_path'), task.payload ->> 'to');
    RETURN json_build_object('to', task.payload ->> 'to');
END
$$;
CREATE FUNCTION shop.nothing(payorder.task_info) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION shop.nothing(text) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION shop.nulls(payorder.task_info) RETURNS json LANGUAGE sql AS 'SELECT NULL::json';
CREATE FUNCTION shop.lent(payorder.task_info) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT';
CREATE FUNCTION shop.locked(payorder.task_info) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT';
REVOKE ALL ON FUNCTION shop.locked FROM PUBLIC;
CREATE FUNCTION shop.jsonb(payorder.task_info) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CREATE FUNCTION shop.many(payorder.task_info) RETURNS SETOF json LANGUAGE sql AS 'SELECT NULL::json';
CREATE FUNCTION shop.record(record) RETURNS json LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE FUNCTION shop.two(payorder.task_info, integer DEFAULT 0) RETURNS json LANGUAGE sql AS 'SELECT NULL::json';
CREATE PROCEDURE shop.call(payorder.task_info) LANGUAGE sql AS 'SELECT';
CREATE FUNCTION shop."Odd ""name"(payorder.task_info) RETURNS void LANGUAGE sql AS 'SELECT';
RESET ROLE;
CREATE FUNCTION pg_temp.temporary(payorder.task_info) RETURNS void LANGUAGE sql AS 'SELECT';

-- What became of the tasks of a kind.
CREATE FUNCTION pg_temp.ends(kind text) RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT concat_ws(' ', coalesce(f.outcome, CASE WHEN r.task_id IS NOT NULL THEN 'ready' WHEN d.task_id IS NOT NULL THEN 'dead' ELSE 'leased' END),
                 coalesce(f.attempts, r.attempts, d.attempts, l.attempts), coalesce(f.result::text, r.error, d.error))
FROM payorder.tasks AS t LEFT JOIN payorder.task_ready AS r ON r.task_id = t.id LEFT JOIN payorder.task_dead AS d ON d.task_id = t.id
LEFT JOIN payorder.task_finished AS f ON f.task_id = t.id LEFT JOIN payorder.task_leases AS l ON l.task_id = t.id
WHERE t.kind = ends.kind ORDER BY t.id
$$;
-- Makes what waits for its next try due.
CREATE FUNCTION pg_temp.time_passes(kind text) RETURNS void
    LANGUAGE sql AS $$ UPDATE payorder.task_ready AS r SET run_at = now() WHERE handled AND r.kind = time_passes.kind $$;
CREATE TEMP TABLE leased (task bigint, token bigint);
\set ECHO queries

/* ---- what may be a handler, and whose ---- */

SELECT pg_temp.error_of(format('SELECT payorder.define_task_kind(''k'', handler => %L)', handler))
    FROM unnest('{send,shop.send(payorder.task_info),a.shop.send,shop.none,nowhere.send,shop.jsonb,shop.many,shop.record,shop.two,shop.call,pg_temp.temporary,"",.,pg_catalog.now}'::text[])
        WITH ORDINALITY AS h (handler, n) ORDER BY n;
SELECT pg_temp.error_of(format('SELECT payorder.define_task_kind(%L, handler => ''shop.nothing'')', kind))
    FROM unnest('{refund,review,refund_all}'::text[]) WITH ORDINALITY AS h (kind, n) ORDER BY n;
-- it runs as its owner: nobody gets one to run who could not do as much
SET ROLE handler_admin;
SELECT pg_temp.error_of(format('SELECT payorder.define_task_kind(''k'', handler => %L)', handler))
    FROM unnest('{shop.send,shop.locked,shop.lent}'::text[]) WITH ORDINALITY AS h (handler, n) ORDER BY n;
RESET ROLE;
GRANT handler_owner TO handler_admin;
SET ROLE handler_admin;
SELECT payorder.define_task_kind('send', lease => '10 seconds', max_attempts => 3, handler => 'Shop.SEND');
RESET ROLE;
REVOKE handler_owner FROM handler_admin;
SELECT payorder.define_task_kind('odd', handler => 'shop."Odd ""name"'), payorder.define_task_kind('nothing', handler => 'shop.nothing'),
       payorder.define_task_kind('nulls', handler => 'shop.nulls');
SELECT kind, worked_by, handler, handler_owner FROM payorder.task_kinds WHERE handler IS NOT NULL ORDER BY kind COLLATE "C";
-- once worked by programs, always; once by a handler, always
SELECT payorder.define_task_kind('programs');
SELECT pg_temp.error_of($$SELECT payorder.define_task_kind('programs', handler => 'shop.nothing')$$);
SELECT payorder.define_task_kind('send', lease => '20 seconds', max_attempts => 3);
SELECT worked_by, handler, handler_owner, lease FROM payorder.task_kinds WHERE kind = 'send';

/* ---- who runs it ---- */

SELECT payorder.enqueue(k, payload => '{"to": "a@example.org"}') IS NOT NULL AS enqueued FROM unnest('{send,odd,nothing,nulls,programs}'::text[]) AS k;
-- no program gets it
SELECT kind FROM payorder.claim(max_tasks => 10);
SELECT kind FROM payorder.claim('{send,nothing}', max_tasks => 10);
-- and no sweep in somebody's transaction does it, but that knows of it
SELECT tasks, more FROM payorder.sweep();
SELECT payorder.next_due() <= now() AS due;
SET payorder.trace = 'caller';
CALL payorder.run_sweeps();
SELECT pg_temp.ends(k) FROM unnest('{send,odd,nothing,nulls}'::text[]) WITH ORDINALITY AS k (k, n) ORDER BY n;
SELECT token, attempt, who, path, payload FROM shop.sent;
SELECT current_user = session_user AS myself, current_setting('search_path') AS path, current_setting('payorder.trace') AS trace;
SELECT payorder.next_due() IS NULL OR payorder.next_due() > now() AS nothing_due;
RESET payorder.trace;
-- whose lease it is
SELECT pg_temp.error_of($$SELECT payorder.run_handler(1, 1)$$);
SELECT pg_temp.error_of($$SELECT payorder.run_handler(NULL, 1)$$);
SELECT pg_temp.state_of(format('SELECT payorder.run_handler(%s, %s)', task_id, token)) FROM payorder.task_leases WHERE kind = 'programs';
SELECT * FROM payorder.claim_for_handler();
BEGIN READ ONLY;
SELECT payorder.claim_for_handler();
ROLLBACK;

/* ---- how it fails ---- */

-- its work is undone; again after the pause; in the end dead
SET ROLE handler_owner;
CREATE FUNCTION shop.fails(task payorder.task_info) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shop.sent (task) VALUES (task.task);
    RAISE EXCEPTION 'no such address' USING ERRCODE = coalesce(task.payload ->> 'code', '22000');
END
$$;
SELECT payorder.define_task_kind('fails', max_attempts => 3, backoff_list => '{1 hour}', handler => 'shop.fails');
SELECT payorder.enqueue('fails') > 0 AS enqueued;
RESET ROLE;
CALL payorder.run_sweeps();
SELECT pg_temp.ends('fails');
SELECT run_at > now() + interval '50 minutes' AND handled AS later FROM payorder.task_ready WHERE kind = 'fails';
SELECT pg_temp.time_passes('fails');
CALL payorder.run_sweeps();
SELECT pg_temp.ends('fails');
SELECT pg_temp.time_passes('fails');
CALL payorder.run_sweeps();
SELECT pg_temp.ends('fails');
SELECT count(*) FROM shop.sent;
SELECT kind, decisions FROM payorder.attention WHERE kind = 'dead task';
-- a person has it tried again
SELECT payorder.retry_dead(id, 'tester', 'test') FROM payorder.tasks WHERE kind = 'fails';
SELECT pg_temp.ends('fails'), payorder.next_due() <= now() AS due;
CALL payorder.run_sweeps();
SELECT pg_temp.ends('fails');
-- not worth another try: PO017; a lock that could not be had, a deadlock: again
SELECT payorder.enqueue('fails', payload => json_build_object('code', code)) > 0 AS enqueued FROM unnest('{PO017,55P03,40P01,PO002,XX000}'::text[]) WITH ORDINALITY AS c (code, n) ORDER BY n;
CALL payorder.run_sweeps();
SELECT pg_temp.ends('fails');
-- the server's failures are no answer: the caller's transaction ends, the lease stays
SELECT payorder.enqueue('fails', payload => json_build_object('code', '53200')) > 0 AS enqueued;
CALL payorder.run_sweeps();
SELECT l.kind, l.leased_until - l.leased_at AS lease FROM payorder.task_leases AS l WHERE kind = 'fails';
SELECT leases FROM payorder.sweep(at => now() + interval '1 hour');
-- in a snapshot's transaction nothing can be written after 40001
SELECT payorder.enqueue('fails', payload => json_build_object('code', '40001')) > 0 AS enqueued;
INSERT INTO leased SELECT task, token FROM payorder.claim_for_handler();
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT payorder.run_handler(task, token) FROM leased;
ROLLBACK;
SELECT payorder.fail(task, token, '40001') FROM leased;
SELECT pg_temp.ends('fails') OFFSET 6;

/* ---- what it may not do ---- */

SET ROLE handler_owner;
CREATE FUNCTION shop.tries(task payorder.task_info) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE task.payload ->> 'do';
END
$$;
RESET ROLE;
CREATE TABLE shop.parent (id integer PRIMARY KEY);
CREATE TABLE shop.deferred (id integer REFERENCES shop.parent DEFERRABLE INITIALLY DEFERRED);
GRANT INSERT ON shop.deferred TO handler_owner;
SELECT payorder.define_task_kind('tries', max_attempts => 1, handler => 'shop.tries');
SELECT payorder.enqueue('tries', payload => json_build_object('do', what)) > 0 AS enqueued
    FROM unnest(ARRAY['SET ROLE handler_other', 'RESET ROLE', 'SET SESSION AUTHORIZATION handler_other', 'CREATE TEMP TABLE t (a integer)', 'COMMIT',
                      'LISTEN x', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'INSERT INTO shop.deferred VALUES (1)', 'SELECT count(*) FROM sent',
                      'SELECT count(*) FROM payorder.tasks', 'DELETE FROM shop.sent', 'SELECT payorder.sweep()']) WITH ORDINALITY AS w (what, n) ORDER BY n;
CALL payorder.run_sweeps();
SELECT pg_temp.ends('tries');
-- what it sets ends with it
SELECT payorder.enqueue('tries', payload => json_build_object('do', what)) > 0 AS enqueued
    FROM unnest(ARRAY['SET search_path = shop', 'SET LOCAL payorder.trace = ''x''', 'SET statement_timeout = 1']) WITH ORDINALITY AS w (what, n) ORDER BY n;
CALL payorder.run_sweeps();
SELECT pg_temp.ends('tries') OFFSET 12;
SELECT current_setting('search_path') AS path, current_setting('payorder.trace') AS trace, current_setting('statement_timeout') AS timeout;
-- tables planted in the runner's session are not its tables; nor is the runner's path
CREATE TEMP TABLE parent (LIKE shop.parent);
SET search_path = pg_temp, shop;
SELECT payorder.enqueue('tries', payload => '{"do": "INSERT INTO deferred VALUES (2)"}') > 0 AS enqueued;
CALL payorder.run_sweeps();
RESET search_path;
DROP TABLE pg_temp.parent;
SELECT pg_temp.ends('tries') OFFSET 15;

/* ---- what changes under it ---- */

SELECT payorder.enqueue('nothing') > 0 AS enqueued;
ALTER FUNCTION shop.nothing(payorder.task_info) RENAME TO renamed;
CALL payorder.run_sweeps();
SELECT pg_temp.ends('nothing') OFFSET 1;
-- another's of the same name
SET ROLE handler_other;
CREATE FUNCTION shop.nothing(payorder.task_info) RETURNS void LANGUAGE sql AS 'SELECT';
RESET ROLE;
SELECT pg_temp.time_passes('nothing');
CALL payorder.run_sweeps();
SELECT pg_temp.ends('nothing') OFFSET 1;
DROP FUNCTION shop.nothing(payorder.task_info);
CREATE FUNCTION shop.nothing(payorder.task_info) RETURNS SETOF json LANGUAGE sql AS 'SELECT NULL::json';
ALTER FUNCTION shop.nothing(payorder.task_info) OWNER TO handler_owner;
SELECT pg_temp.time_passes('nothing');
CALL payorder.run_sweeps();
SELECT pg_temp.ends('nothing') OFFSET 1;
DROP FUNCTION shop.nothing(payorder.task_info);
ALTER FUNCTION shop.renamed(payorder.task_info) RENAME TO nothing;
SELECT pg_temp.time_passes('nothing');
CALL payorder.run_sweeps();
SELECT pg_temp.ends('nothing') OFFSET 1;
-- its owner is dropped, its things are somebody else's
SELECT payorder.enqueue('nothing') > 0 AS enqueued;
REASSIGN OWNED BY handler_owner TO CURRENT_USER;
DROP OWNED BY handler_owner;
DROP ROLE handler_owner;
CALL payorder.run_sweeps();
SELECT pg_temp.ends('nothing') OFFSET 2;
SELECT payorder.define_task_kind('nothing', handler => 'shop.nothing') FROM pg_temp.time_passes('nothing');
CALL payorder.run_sweeps();
SELECT pg_temp.ends('nothing') OFFSET 2;

/* ---- what it does in turn, and limits ---- */

CREATE FUNCTION shop.follows(task payorder.task_info) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM payorder.fire(task.order_no, 'cancel', reason => 'task ' || (task.payload ->> 'n')),
            payorder.enqueue('programs', task.order_no, dedup_key => task.order_no);
END
$$;
SELECT payorder.define_task_kind('follows', handler => 'shop.follows');
SELECT payorder.create_order('H1', 100, 'CNY') \g /dev/null
SET payorder.trace = 'of the shop';
SELECT payorder.enqueue('follows', 'H1', '{"n": 7}', dedup_key => 'once') = payorder.enqueue('follows', 'H1', dedup_key => 'once') AS one_task;
RESET payorder.trace;
CALL payorder.run_sweeps();
SELECT event, reason, trace FROM payorder.events WHERE order_no = 'H1' ORDER BY seq OFFSET 1;
SELECT kind, trace FROM payorder.tasks WHERE order_no = 'H1' ORDER BY kind;
-- as many at once as the kind's limit
SELECT payorder.define_task_kind('limited', handler => 'shop.nulls'), payorder.set_task_limit(kind => 'limited', max_running => 1);
SELECT payorder.enqueue('limited') > 0 AS enqueued FROM generate_series(1, 2);
TRUNCATE leased;
INSERT INTO leased SELECT task, token FROM payorder.claim_for_handler();
SELECT task FROM payorder.claim_for_handler();
SELECT payorder.run_handler(task, token) FROM leased;
UPDATE leased SET (task, token) = (SELECT task, token FROM payorder.claim_for_handler());
SELECT payorder.run_handler(task, token) FROM leased;
SELECT payorder.set_task_limit(kind => 'limited');
-- later is later; a cancelled one is not run
SELECT payorder.cancel_task(payorder.enqueue('limited', run_at => now() + interval '1 hour'), 'tester', 'test');
SELECT payorder.claim_for_handler();

/* ---- too long ---- */

SELECT payorder.define_task_kind('slow', lease => '100 ms', max_attempts => 1, handler => 'shop.tries'), payorder.enqueue('slow', payload => '{"do": "SELECT pg_catalog.pg_sleep(60)"}') > 0 AS enqueued;
CALL payorder.run_sweeps();
SELECT pg_temp.ends('slow');
-- the caller's limit is the caller's
SELECT payorder.define_task_kind('slow', lease => '1 min', max_attempts => 1, handler => 'shop.tries'), payorder.enqueue('slow', payload => '{"do": "SELECT pg_catalog.pg_sleep(60)"}') > 0 AS enqueued;
SET statement_timeout = '300 ms';
CALL payorder.run_sweeps();
RESET statement_timeout;
SELECT pg_temp.ends('slow') OFFSET 1;
SELECT leases FROM payorder.sweep(at => now() + interval '2 hours');
SELECT * FROM payorder.check_invariants() WHERE invariant LIKE 'task%' OR invariant LIKE 'lease%';

-- as it was
SELECT count(payorder.cancel_task(task_id, 'tester', 'test')) > 0 AS cancelled FROM payorder.task_ready WHERE handled;
DROP SCHEMA shop CASCADE;
DROP OWNED BY handler_admin, handler_other;
DROP ROLE handler_admin, handler_other;
