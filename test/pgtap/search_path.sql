-- Functions, operators, types and temporary tables planted before the real
-- ones in the caller's search_path are never used (66).  What is planted is a
-- double of every function and operator of pg_catalog; each raises.
\set hostile 'planted, pg_temp, pg_catalog, public'
\set calm 'pg_catalog, public, pg_temp'
-- Secrets to seal, in a folder of the server's.
LOAD 'payorder';
COPY (SELECT 'whsec_hush') TO PROGRAM 'umask 077; mkdir -p payorder_test_secrets; cat > payorder_test_secrets/hush';
COPY (SELECT pg_catalog.repeat('0f', 32)) TO PROGRAM 'umask 077; cat > payorder_test_secrets/seal';
SELECT format('ALTER SYSTEM SET payorder.secret_directory = %L', current_setting('data_directory') || '/payorder_test_secrets') \gexec
ALTER SYSTEM SET payorder.seal_key = 'file:seal';
SELECT pg_reload_conf() \g /dev/null
\connect

SELECT no_plan();

DROP ROLE IF EXISTS payorder_test_caller;
CREATE ROLE payorder_test_caller;
CREATE SCHEMA planted;
GRANT USAGE ON SCHEMA planted TO PUBLIC;

DO $plant$
DECLARE
    f record;
    planted integer := 0;
BEGIN
    FOR f IN
        SELECT p.proname, p.oid::regprocedure AS name, oidvectortypes(p.proargtypes) AS arguments,
               (CASE WHEN p.proretset THEN 'SETOF ' ELSE '' END) || format_type(p.prorettype, NULL) AS result
        FROM pg_proc AS p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind IN ('f', 'a', 'w')
          AND NOT EXISTS (SELECT FROM unnest(p.proargtypes::oid[] || p.prorettype) AS a (t)
                          JOIN pg_type AS t ON t.oid = a.t
                          WHERE t.typtype = 'p' AND t.typname !~ '^any(element|array|nonarray)$')
          AND (SELECT count(*) FROM pg_proc AS d WHERE d.proname = p.proname) < 50
    LOOP
        BEGIN
            EXECUTE format($f$CREATE FUNCTION planted.%I(%s) RETURNS %s LANGUAGE plpgsql AS
                           'BEGIN RAISE ''planted function was called: %s''; END'$f$,
                           f.proname, f.arguments, f.result, f.name);
            planted := planted + 1;
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
    FOR f IN
        SELECT o.oid::regoperator AS name, o.oprname, o.oid AS id, o.oprleft::regtype AS left_type,
               o.oprright::regtype AS right_type, o.oprresult::regtype AS result
        FROM pg_operator AS o
        WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprleft <> 0
          AND NOT EXISTS (SELECT FROM pg_type AS t
                          WHERE t.oid IN (o.oprleft, o.oprright, o.oprresult) AND t.typtype = 'p'
                            AND t.typname !~ '^any(element|array|nonarray)$')
    LOOP
        BEGIN
            EXECUTE format($f$CREATE FUNCTION planted.%I(%s, %s) RETURNS %s LANGUAGE plpgsql AS
                           'BEGIN RAISE ''planted operator was called: %s''; END'$f$,
                           'operator_' || f.id, f.left_type, f.right_type, f.result, f.name);
            EXECUTE format('CREATE OPERATOR planted.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = planted.%I)',
                           f.oprname, f.left_type, f.right_type, 'operator_' || f.id);
            planted := planted + 1;
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
    IF planted < 2000 THEN
        RAISE 'only % functions and operators were planted', planted;
    END IF;
END
$plant$;

-- types, too; a value of one raises
CREATE FUNCTION planted.raise() RETURNS boolean LANGUAGE plpgsql AS
    'BEGIN RAISE ''planted type was used''; END';
CREATE DOMAIN planted.text AS pg_catalog.text CHECK (planted.raise());
CREATE DOMAIN planted.json AS pg_catalog.json CHECK (planted.raise());
CREATE DOMAIN planted.jsonb AS pg_catalog.jsonb CHECK (planted.raise());
CREATE DOMAIN planted.timestamptz AS pg_catalog.timestamptz CHECK (planted.raise());
CREATE DOMAIN planted.bytea AS pg_catalog.bytea CHECK (planted.raise());
CREATE DOMAIN planted.xid8 AS pg_catalog.xid8 CHECK (planted.raise());

-- and temporary tables with the names of the real ones and of catalogs
DO $plant$
DECLARE
    t text;
BEGIN
    FOR t IN SELECT c.relname FROM pg_class AS c
             WHERE c.relnamespace = 'payorder'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'c')
             UNION SELECT unnest('{pg_extension,pg_locks,pg_database,pg_roles,pg_class,pg_proc}'::name[])
    LOOP
        EXECUTE format('CREATE TEMP TABLE %I (planted integer)', t);
        EXECUTE format('GRANT ALL ON %I TO PUBLIC', t);
    END LOOP;
END
$plant$;

-- ---- they do raise
SET search_path = :calm;
CREATE FUNCTION public.control(statement text) RETURNS text LANGUAGE plpgsql
    SET search_path = planted, pg_temp, pg_catalog, public AS $$
BEGIN
    EXECUTE statement;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLERRM;
END
$$;
SELECT matches(public.control(s), '^planted (function|operator|type)', 'planted: ' || s)
FROM unnest(ARRAY['SELECT 1 = 1', 'SELECT now()', $$SELECT 'a' || 'b'::varchar$$, $$SELECT '1'::jsonb$$,
                  $$SELECT nextval('payorder.task_ids'::regclass)$$,
                  $$SELECT '{"a": 1}'::pg_catalog.json ->> 'a'$$, 'SELECT sum(1::bigint)']) AS s;
SELECT is(public.control('SELECT order_no FROM orders'), 'column "order_no" does not exist',
          'the planted tables come first, too');

-- ---- the extension is made under such a path
DROP EXTENSION payorder;
CREATE SCHEMA payorder;
SELECT throws_ok('CREATE EXTENSION payorder', '42P06', NULL, 'a schema that is there already is not adopted');
DROP SCHEMA payorder;
SET search_path = :hostile;
CREATE EXTENSION payorder;
SET search_path = :calm;
SELECT pass('CREATE EXTENSION under a hostile search_path');
SELECT is_empty($$
    SELECT d.classid::regclass, d.objid, d.refobjid
    FROM pg_depend AS d
    WHERE d.refclassid = 'pg_proc'::regclass
      AND d.refobjid IN (SELECT oid FROM pg_proc WHERE pronamespace = 'planted'::regnamespace)
      AND NOT EXISTS (SELECT FROM pg_operator AS o WHERE d.classid = 'pg_operator'::regclass AND o.oid = d.objid)
      AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE d.classid = 'pg_constraint'::regclass AND c.oid = d.objid
                      AND c.contypid <> 0)$$,
    'nothing of it depends on what was planted');

INSERT INTO payorder.gateways (gateway, adapter, merchant_id) VALUES ('w', 'wechatpay', 'm'), ('s', 'stripe', 'm');

CREATE TYPE public.coat AS ENUM ('wet', 'dry');
GRANT USAGE ON SCHEMA payorder TO payorder_test_caller;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA payorder TO payorder_test_caller;
GRANT SELECT ON ALL TABLES IN SCHEMA payorder TO payorder_test_caller;

CREATE TABLE public.tickets (id integer PRIMARY KEY, state varchar(9), coat public.coat);
ALTER TABLE public.tickets OWNER TO payorder_test_caller;

-- ---- every call, under the hostile path, by a role that has only its rights
-- which are all, the statistics say in the end
SET track_functions = 'all';
SET SESSION AUTHORIZATION payorder_test_caller;
SET search_path = :hostile;

SELECT payorder.add_gateway('g', 'generic', 'm', settings => '{"return_delay": "1 microsecond"}') \g /dev/null
SELECT payorder.alter_gateway('g', '{"auto_return_per_hour": 5, "pay_id_pattern": "^[a-z0-9]+$"}') \g /dev/null
SELECT payorder.pause_gateway('g', 'me', 'why') \g /dev/null
SELECT verdict AS paused FROM payorder.ingest('g', 't0', 'pay', 'O0', 100, 'CNY') \gset
SELECT payorder.resume_gateway('g', 'me', 'why') \g /dev/null
SELECT payorder.add_gateway_key('w', public_key => 'MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA5/EuX9ouiOj5ApxR78rDh3tox1lLFgNth/PCkZJ2FfcOTs/TZdnOF4atN6myV76/bzU7GIac88OrFuN7PZsZpQH+CPRjvhoZFnxg4/8ovtikskoEr+KA4psIFCBomyTYtDHeNYiz1Z3H9YicAlcp4U2DBdeWOhK3aNMiLVms3w4TUhdfJu2O9Jn+ciwiJO358CiM3C3sDyiwES8xaOLBkERc/RY7rcHSNVAgJIvFLHgIqoJbXR+8dhxlEzysXWyntj477woXpGZ1WcbxUwjcZ/YbXbtXwR+K+YoIogeMoukredioB1Qj8d7A41WP1COuJbNq9/CwBWYBntfp8dI5zQIDAQAB') \g /dev/null
SELECT payorder.retire_gateway_key('w', '') \g /dev/null
SELECT payorder.seal_secret('hush', 'file:hush') \g /dev/null
SELECT payorder.seal_secret('spare', 'file:hush') \g /dev/null
SELECT payorder.drop_secret('spare') \g /dev/null
SELECT payorder.add_gateway_key('s', secret => 'sealed:hush') \g /dev/null
SELECT payorder.rotate_gateway_key('s', 'second', secret => 'file:hush') \g /dev/null
SELECT payorder.check_gateway_keys('s') AS keys \gset
SELECT payorder.reseal_secrets('file:seal') AS resealed \gset
SELECT ack_status AS refused FROM payorder.ingest_http('s', '{"Stripe-Signature": "t=1,v1=00"}', 'x') \gset
SELECT ack_status AS unknown FROM payorder.ingest_http('w', '{"Wechatpay-Signature": "AA=="}', 'x') \gset
SELECT detail AS decoded FROM payorder.decode_http('s', '{}', 'x') \gset
SELECT payorder.ingest_waiting('s') AS waiting \gset
SELECT payorder.define_machine('short', '{"initial": "new", "states": {
    "new": {"on": {"pay": {"target": "done"}, "drop": {"target": "dropped"}}, "after": {"1h": {"fire": "drop"}}},
    "done": {"type": "final"}, "dropped": {"type": "final"}}}') AS machine \gset
SELECT payorder.machine_diagram('short') \g /dev/null
SELECT payorder.can_transition('order', 'pending', 'paid') AS can \gset
SELECT payorder.define_task_kind('mail', backoff_list => '{1 s,2 s}') \g /dev/null
SELECT state AS created FROM payorder.create_order('O0', 100, 'CNY', attributes => '{"a": 1}') \gset
SELECT state AS short FROM payorder.create_order('O1', 7, 'JPY', 'short', pay_within => '10 minutes') \gset
SELECT payment_no FROM payorder.begin_payment('O1', 'g') \gset
SELECT verdict AS first FROM payorder.ingest('g', 't1', 'pay', :'payment_no', 7, 'JPY', payload => '{"x": 1.50}') \gset
SELECT verdict AS again FROM payorder.ingest('g', 't1', 'pay', :'payment_no', 7, 'JPY') \gset
SELECT verdict AS conflict FROM payorder.ingest('g', 't1', 'pay', :'payment_no', 8, 'JPY') \gset
SELECT verdict AS excess FROM payorder.ingest('g', 't2', 'pay', 'O1', 7, 'JPY') \gset
SELECT verdict AS parked FROM payorder.ingest('g', 't3', 'pay', 'O3', 100, 'CNY') \gset
SELECT state AS parked_paid FROM payorder.create_order('O3', 100, 'CNY') \gset
SELECT state AS refund FROM payorder.request_refund('REFUND0001', 'O3', 40) \gset
SELECT task, token FROM payorder.claim('{refund}') \gset
SELECT payorder.heartbeat(:task, :token) \g /dev/null
SELECT verdict AS refunded FROM payorder.complete(:task, :token, '{"messages": [{"txn_id": "r1", "event": "refund",
    "amount": 40, "currency": "CNY", "refund_no": "REFUND0001", "payment_txn": "t3"}]}') \gset
SELECT payorder.enqueue('mail', 'O3', '{"a": 1}', dedup_key => 'k') AS mail \gset
SELECT task, token FROM payorder.claim('{mail}') \gset
SELECT payorder.fail(:task, :token, 'no', false) AS failed \gset
SELECT payorder.retry_dead(:mail, 'me', 'why') \g /dev/null
SELECT payorder.cancel_task(:mail, 'me', 'why') \g /dev/null
SELECT payorder.allowed_events('O3') \g /dev/null
SELECT state AS fired FROM payorder.fire('O3', 'cancel', 'me', 'why', '{"p": 1}', request_id => 'r') \gset
SELECT changed, sqlstate FROM payorder.try_fire('O1', 'pay') \gset
SELECT payorder.retry_order('O0', 'me', 'why') \g /dev/null
SELECT tasks AS swept FROM payorder.sweep(100, pg_catalog.clock_timestamp()) \gset
SELECT payorder.next_due() \g /dev/null
CALL payorder.run_sweeps(10, '1 second');
SELECT ok AS verified FROM payorder.verify_events('O3') \gset
SELECT pg_catalog.count(*) AS broken FROM payorder.check_invariants() \gset
SELECT payorder.sides_of_machines() \g /dev/null
SELECT payment_status FROM payorder.order_overview WHERE order_no OPERATOR(pg_catalog.=) 'O3'::pg_catalog.text \gset
SELECT pg_catalog.count(*) AS attention FROM payorder.attention \gset
SELECT pg_catalog.count(*) AS balance FROM payorder.money_balance \gset
SELECT payorder.parse_amount('19.90', 'CNY', 'g') AS parsed, payorder.format_amount(1990, 'CNY') AS formatted \gset
SELECT payorder.set_refund_limits('g', NULL, '{"share_per_hour": 0, "second_person_above": 0, "max_age": "1 day", "max_count": 9,
    "smallest_amount": 1}') \g /dev/null
SELECT payorder.create_order('O5', 100, 'CNY'), payorder.create_order('O6', 100, 'CNY') \g /dev/null
SELECT payorder.ingest('g', 't5', 'pay', 'O5', 100, 'CNY'), payorder.ingest('g', 't6', 'pay', 'O6', 120, 'CNY') \g /dev/null
SELECT state AS held FROM payorder.request_refund('REFUND0005', 'O5', 10) \gset
SELECT payorder.settle_refund('REFUND0005', 'release', 'me', 'why') \g /dev/null
SELECT state AS released FROM payorder.settle_refund('REFUND0005', 'release', 'you', 'why') \gset
SELECT detail AS proposed FROM payorder.settle_callback('g', 't6', 'pay', 'keep', 'me', 'why') \gset
SELECT detail AS settled FROM payorder.settle_callback('g', 't6', 'pay', 'keep', 'you', 'why') \gset
SELECT state AS parts FROM payorder.request_refunds('REFUND_6', 'O6', 5) \gset
SELECT amount AS repriced FROM payorder.reprice_order('O6', 90, 'me', 'why') \gset
SELECT verdict AS disputed FROM payorder.ingest('g', 'd6', 'chargeback', amount => 50, payment_txn => 't6') \gset
SELECT verdict AS reversed FROM payorder.ingest('g', 't6', 'pay_reversed') \gset
SELECT payorder.requery('2000-01-01Z') AS asked \gset
SELECT pg_catalog.count(*) AS moves FROM payorder.order_money('O6') \gset
SELECT payorder.note_installation() \g /dev/null
SELECT payorder.adopt_cluster('me', 'why') \g /dev/null
SELECT payorder.is_copy() AS copy \gset
SELECT pg_catalog.count(*) AS attention FROM payorder.attention \gset
SELECT pg_catalog.count(*) AS broken FROM payorder.check_invariants() \gset
SELECT payorder.define_machine('ticket', '{"initial": "new", "states": {
    "new": {"on": {"close": {"target": "closed"}}}, "closed": {"type": "final"}}}') \g /dev/null
SELECT payorder.define_machine('coat', '{"initial": "wet", "states": {
    "wet": {"on": {"wait": {"target": "dry"}}}, "dry": {"type": "final"}}}') \g /dev/null
SELECT payorder.guard('public.tickets', 'state', 'ticket', log => true) AS guarded \gset
SELECT payorder.guard('public.tickets', 'coat', 'coat', 'id') \g /dev/null
INSERT INTO public.tickets VALUES (1, 'new', 'wet');
UPDATE public.tickets SET state = 'closed', coat = 'dry';
SELECT pg_catalog.count(*) AS guards FROM payorder.guarded \gset
SELECT payorder.unguard('public.tickets', 'coat') \g /dev/null
SELECT payorder.create_consumer('outbox', '-infinity') AS made, payorder.create_consumer('since', '2000-01-01Z') AS since \gset
SELECT pg_catalog.count(*) AS given, pg_catalog.max(position) AS last FROM payorder.next_events('outbox', 7) \gset
SELECT payorder.ack_events('outbox', :'last') AS acked \gset
SELECT behind FROM payorder.consumers WHERE consumer OPERATOR(pg_catalog.=) 'outbox'::pg_catalog.text \gset
SELECT payorder.seek_events('outbox', first_id => 3) AS sought, payorder.seek_events('since', at => '2000-01-01Z') AS anew \gset
SELECT events, to_mark FROM payorder.event_digest() \gset
SELECT pg_catalog.count(*) AS late FROM payorder.consumers_behind(5) \gset
SELECT payorder.drop_consumer('since') AS dropped \gset
SELECT pg_catalog.count(*) AS batch FROM payorder.ingest_batch('[{"gateway": "g", "txn_id": "t9", "event": "pay", "order_no": "O9", "amount": 100, "currency": "CNY"}]') \gset
RESET SESSION AUTHORIZATION;
UPDATE payorder.callbacks_waiting SET verdict = 'deferred'::pg_catalog.text, reason = 'error'::pg_catalog.text, next_at = 'infinity'
WHERE txn_id OPERATOR(pg_catalog.=) 't9'::pg_catalog.text;
SET SESSION AUTHORIZATION payorder_test_caller;
SELECT payorder.retry_callback('g', 't9', 'pay', 'me', 'why') \g /dev/null
SELECT payorder.set_task_limit('g', max_running => 2), payorder.set_task_limit(kind => 'mail', max_running => 3) \g /dev/null
SELECT payorder.export_machine('short') \g /dev/null
SELECT payorder.define_machine('short', '{"initial": "new", "states": {
    "new": {"on": {"pay": {"target": "done"}, "drop": {"target": "dropped"}}, "after": {"2h": {"fire": "drop"}}},
    "done": {"type": "final"}, "dropped": {"type": "final"}}}') \g /dev/null
CALL payorder.migrate_orders('short', 1, 2, moved => 0) \gset
SELECT payorder.define_task_kind('note') \g /dev/null
SELECT payorder.enqueue_batch('note', '{"{}","{}"}') \g /dev/null
SELECT payorder.complete_batch(pg_catalog.array_agg(task), pg_catalog.array_agg(token)) AS lost
FROM payorder.claim('{note}', 2) \gset
RESET SESSION AUTHORIZATION;
CREATE FUNCTION public.payorder_test_handle(task payorder.task_info) RETURNS pg_catalog.json
    LANGUAGE sql AS $$ SELECT pg_catalog.json_build_object('one', 1 OPERATOR(pg_catalog.+) 1) $$;
ALTER FUNCTION public.payorder_test_handle OWNER TO payorder_test_caller;
SET SESSION AUTHORIZATION payorder_test_caller;
SELECT payorder.define_task_kind('noted', handler => 'public.payorder_test_handle') \g /dev/null
SELECT payorder.enqueue('noted') \g /dev/null
SELECT task, token FROM payorder.claim_for_handler() \gset
SELECT payorder.run_handler(:task, :token) AS handled \gset
CALL payorder.purge('1 day', orders => 0, tasks => 0, freed => 0, held_by => NULL) \gset
SELECT orders AS purged FROM payorder.purge_some('1 day') \gset
SELECT payorder.stop_worker() AS stopped \gset
SELECT payorder.unschedule() AS unscheduled \gset

SET search_path = :calm;
RESET SESSION AUTHORIZATION;

SELECT is(:keys, 2, 'keys are added, rotated and read');
SELECT is(:resealed, 0, 'a secret stays sealed by its key');
SELECT is(:'paused'::text, 'deferred', 'a paused gateway''s message waits');
SELECT is(:'created'::text, 'paid', '... and meets its order');
SELECT is(:machine, 1, 'a machine is defined');
SELECT is(:'can'::text, 't', 'and asked');
SELECT is(:'short'::text, 'new', 'an order of it is created');
SELECT is(:'first'::text, 'applied', 'its payment is applied');
SELECT is(:'again'::text, 'duplicate', 'once');
SELECT is(:'conflict'::text, 'conflict', 'another amount is a conflict');
SELECT is(:'excess'::text, 'excess', 'another payment is excess');
SELECT is(:'parked'::text, 'parked', 'an unknown order''s is parked');
SELECT is(:'parked_paid'::text, 'paid', 'until it comes');
SELECT is(:'refund'::text, 'asked', 'a refund is asked');
SELECT is(:'refunded'::text, 'applied', 'and answered');
SELECT is(:'failed'::text, 'dead', 'a task dies');
SELECT is(:'fired'::text, 'refunding', 'an order is cancelled');
SELECT is(:'sqlstate'::text, 'PO016', 'a money edge is refused');
SELECT is(:swept, 1, 'a sweep does the kernel''s task');
SELECT is(:'verified'::text, 't', 'events verify');
SELECT is(:broken, 0, 'the invariants hold');
SELECT is(:'payment_status'::text, 'part_refunded', 'the view shows it');
SELECT cmp_ok(:attention, '>', 0, 'a person sees what waits');
SELECT cmp_ok(:balance, '>', 0, 'the balance is there');
SELECT is((SELECT count(*) FROM payorder.refunds WHERE order_no = 'O3'), 2::bigint, 'the rest is refunded');
SELECT is(:parsed, 1990, 'an amount is read');
SELECT is(:'formatted'::text, '19.90', 'and written');
SELECT is(:'held'::text, 'held', 'a refund beyond a limit is held');
SELECT is(:'released'::text, 'asked', 'until two persons release it');
SELECT is(:'proposed'::text, 'second_person', 'one person proposes');
SELECT is(:'settled'::text, 'settled', 'another one agrees');
SELECT is(:'parts'::text, 'held', 'refunds of several payments are asked for');
SELECT is(:repriced, 90, 'an order is repriced');
SELECT is(:'disputed'::text, 'applied', 'a chargeback is applied');
SELECT is(:'reversed'::text, 'applied', 'a reversal too');
SELECT is(:batch || ':' || :moved, '1:1', 'a batch is taken, an order goes to another version');
SELECT is(:'lost'::text || ' ' || :'handled'::text, '{} done', 'tasks are done in a batch, and by a function');
SELECT cmp_ok(:asked, '>', 0, 'the gateways are asked again');
SELECT cmp_ok(:moves, '>', 3, 'the moves of an order''s money are seen');
SELECT is(:'copy'::text, 'f', 'this is no copy');
SELECT is(:guarded, 1, 'a table is guarded');
SELECT is(:guards, 2, 'by two machines');
SELECT results_eq('SELECT event FROM payorder.guard_events ORDER BY id', $$VALUES ('insert' COLLATE "C"), ('close')$$,
                  'the log has its transition');
SELECT matches(public.control($$UPDATE public.tickets SET state = 'new'$$), '^row "1" of table "tickets" cannot go',
               'and no way back');
SELECT is_empty($$
    SELECT tgname FROM pg_trigger AS t JOIN pg_depend AS d ON d.classid = 'pg_trigger'::regclass AND d.objid = t.oid
    WHERE t.tgrelid = 'public.tickets'::regclass AND d.refclassid IN ('pg_operator'::regclass, 'pg_type'::regclass)$$,
    'its triggers use nothing that was planted');
SELECT is(:'made' || ':' || :'since' || ':' || :'dropped', 't:t:t', 'consumers are made and dropped');
SELECT is(:given, 7, 'one is given events');
SELECT is(:'acked'::text, 't', 'which it acknowledges');
SELECT cmp_ok(:behind, '>', 7, 'and sees what is left');
SELECT is(:sought + :anew, 4, 'it is set back');
SELECT is(:events, (SELECT count(*)::integer FROM payorder.events WHERE id <= (SELECT last_id FROM payorder.event_digest(NULL, :'to_mark'))),
          'the log is digested');
SELECT matches(public.control($$SELECT payorder.retry_callback('g', 't1', 'pay', 'me', 'why')$$), '^(?!planted)',
               'retry_callback refuses by itself');

-- ---- triggers on orders, under the path of whoever updates
SET search_path = :hostile;
UPDATE payorder.orders SET attributes = '{"b": 2}'::pg_catalog.jsonb
WHERE order_no OPERATOR(pg_catalog.=) 'O1'::pg_catalog.text;
SELECT payorder.create_order('O4', 1, 'CNY') \g /dev/null
UPDATE payorder.orders SET state = 'cancelled' WHERE order_no OPERATOR(pg_catalog.=) 'O4'::pg_catalog.text;
SELECT payorder.create_roles() \g /dev/null
SET search_path = :calm;
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc AS p
    WHERE p.pronamespace = 'payorder'::regnamespace AND coalesce(pg_stat_get_function_calls(p.oid), 0) = 0
      -- a worker has a path of its own, pg_cron is not here, and a call that raises is not counted
      AND p.proname <> ALL ('{start_worker,schedule,refuse_row_change}')$$,
    'every routine of the catalog was called under that path');
SELECT is((SELECT event FROM payorder.events WHERE order_no = 'O4' ORDER BY seq DESC LIMIT 1), 'cancel',
          'a direct UPDATE takes its edge');
SELECT is(public.control($$UPDATE payorder.gateways SET gateway = 'x' WHERE gateway OPERATOR(pg_catalog.=) 'g'::pg_catalog.text$$),
          'what identifies a row of table "gateways" never changes', 'so is a change of what identifies a row');
SELECT matches(public.control($$UPDATE payorder.orders SET state = 'shipped'$$), '^(?!planted)',
               'an illegal one is refused by the real trigger');
SELECT is_empty('SELECT * FROM payorder.check_invariants()', 'the invariants hold');

ALTER SYSTEM RESET payorder.secret_directory;
ALTER SYSTEM RESET payorder.seal_key;
SELECT pg_reload_conf() \g /dev/null

DROP OWNED BY payorder_app, payorder_gateway, payorder_ingest, payorder_worker, payorder_support,
    payorder_admin, payorder_monitor, payorder_test_caller;
DROP ROLE payorder_app, payorder_gateway, payorder_ingest, payorder_worker, payorder_support,
    payorder_admin, payorder_monitor, payorder_test_caller;

SELECT * FROM finish();
