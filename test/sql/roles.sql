--
-- The roles of create_roles(), by role and function: every role really calls
-- every routine.  What it may is run and does its work; what it may not is
-- refused before it begins.  The same for every table, view and sequence, and
-- for the types.  What is added to the extension must be added here, or the
-- lists at the end of each part are not empty.  Scenario 65.
--
-- The extension belongs here to one who is no superuser any more, and whose
-- default privileges give everything to everybody.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set ECHO none

CREATE ROLE payorder_test_owner SUPERUSER;
CREATE ROLE payorder_test_nobody;
SET client_min_messages = error;
DROP EXTENSION payorder CASCADE;
RESET client_min_messages;
SET SESSION AUTHORIZATION payorder_test_owner;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC, payorder_test_nobody;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC, payorder_test_nobody;
ALTER DEFAULT PRIVILEGES GRANT ALL ON ROUTINES TO payorder_test_nobody;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC, payorder_test_nobody;
CREATE EXTENSION payorder;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC, payorder_test_nobody;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM PUBLIC, payorder_test_nobody;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON ROUTINES FROM payorder_test_nobody;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM PUBLIC, payorder_test_nobody;
RESET SESSION AUTHORIZATION;
ALTER ROLE payorder_test_owner NOSUPERUSER CREATEROLE;

-- Those that were not there before are dropped again at the end.
SET ROLE payorder_test_owner;
CREATE TEMP TABLE made AS SELECT role FROM payorder.create_roles() AS c (role);
RESET ROLE;
CREATE TEMP TABLE roles (n serial, role text);
INSERT INTO roles (role) SELECT string_to_table('app gateway ingest worker support admin monitor nobody', ' ');
CREATE FUNCTION pg_temp.full_name(role text) RETURNS name
    LANGUAGE sql AS $$ SELECT (CASE role WHEN 'nobody' THEN 'payorder_test_' ELSE 'payorder_' END || role)::name $$;
\set ECHO queries

/* ---- whom the extension's installation gave something: nobody ---- */

SELECT has_schema_privilege('payorder_test_nobody', 'payorder', 'USAGE') AS uses, has_schema_privilege('payorder_test_nobody', 'payorder', 'CREATE') AS creates;
SELECT c.oid::regclass FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.relnamespace = 'payorder'::regnamespace AND a.grantee NOT IN (SELECT r.oid FROM pg_roles AS r WHERE r.rolname = ANY ('{payorder_test_owner,payorder_app,payorder_worker,payorder_support,payorder_admin,payorder_monitor}'));
SELECT p.oid::regprocedure FROM pg_proc AS p WHERE p.pronamespace = 'payorder'::regnamespace AND has_function_privilege('payorder_test_nobody', p.oid, 'EXECUTE');
-- it may name what is there from here on
GRANT USAGE ON SCHEMA payorder TO payorder_test_nobody;

/* ---- what there is to work on ---- */

\set ECHO none
SET ROLE payorder_test_owner;
CREATE TEMP TABLE things (name text PRIMARY KEY, value text);
SELECT payorder.add_gateway('g', 'generic', 'shop-g'), payorder.add_gateway('h', 'generic', 'shop-h'), payorder.add_gateway('s', 'stripe', 'acct_1') \g /dev/null
\set public_key MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA5/EuX9ouiOj5ApxR78rDh3tox1lLFgNth/PCkZJ2FfcOTs/TZdnOF4atN6myV76/bzU7GIac88OrFuN7PZsZpQH+CPRjvhoZFnxg4/8ovtikskoEr+KA4psIFCBomyTYtDHeNYiz1Z3H9YicAlcp4U2DBdeWOhK3aNMiLVms3w4TUhdfJu2O9Jn+ciwiJO358CiM3C3sDyiwES8xaOLBkERc/RY7rcHSNVAgJIvFLHgIqoJbXR+8dhxlEzysXWyntj477woXpGZ1WcbxUwjcZ/YbXbtXwR+K+YoIogeMoukredioB1Qj8d7A41WP1COuJbNq9/CwBWYBntfp8dI5zQIDAQAB
INSERT INTO payorder.gateways (gateway, adapter, merchant_id) VALUES ('w', 'wechatpay', 'shop-w');
SELECT payorder.add_gateway_key('w', 'old', public_key => :'public_key') \g /dev/null
SELECT payorder.define_task_kind('mail') \g /dev/null
SELECT payorder.define_machine('ticket', '{"initial": "new", "states": {
    "new": {"on": {"close": {"target": "closed"}}}, "closed": {"type": "final"}}}') \g /dev/null
SELECT payorder.define_machine('parcel', format('{"initial": "new", "states": {
    "new": {"on": {"pay": {"target": "done"}, "close": {"target": "dropped"}}, "after": {"%s": {"fire": "close"}}},
    "dropped": {"type": "final"}, "done": {"type": "final"}}}', patience)::json)
FROM unnest('{1d,2d}'::text[]) AS patience \g /dev/null
SELECT payorder.create_order('R-' || name, 100, 'CNY') FROM unnest('{open,paid,more,held,asked,other}'::text[]) AS name \g /dev/null
SELECT payorder.create_order('R-parcel', 100, 'CNY', 'parcel') \g /dev/null
SELECT payorder.ingest(gateway, 't-' || name, 'pay', 'R-' || name, amount, 'CNY')
FROM (VALUES ('g', 'paid', 100), ('g', 'more', 120), ('h', 'held', 100), ('g', 'asked', 100), ('g', 'other', 100)) AS p (gateway, name, amount) \g /dev/null
SELECT payorder.ingest('g', 't-lost', 'pay', 'R-nowhere', 100, 'CNY') \g /dev/null
UPDATE payorder.callbacks_waiting SET verdict = 'deferred', reason = 'error', tries = 3, next_at = 'infinity';
SELECT payorder.set_refund_limits('h', NULL, '{"share_per_hour": 0}') \g /dev/null
SELECT payorder.request_refund('RFHELD001', 'R-held', 40), payorder.request_refund('RFASKED01', 'R-asked', 40) \g /dev/null
INSERT INTO things SELECT 'refund', format('%s, %s', task, token) FROM payorder.claim('{refund}');
SELECT payorder.enqueue('mail', 'R-open', dedup_key => 'dies') \g /dev/null
INSERT INTO things SELECT 'dead', c.task FROM payorder.claim('{mail}') AS c, payorder.fail(c.task, c.token, 'no', false);
SELECT payorder.enqueue('mail', 'R-open', dedup_key => 'out') \g /dev/null
INSERT INTO things SELECT 'mail', format('%s, %s', task, token) FROM payorder.claim('{mail}');
INSERT INTO things SELECT 'ready', payorder.enqueue('mail', 'R-open', '{"to": "them"}', dedup_key => 'waits');
SELECT payorder.create_consumer('outbox', '-infinity') \g /dev/null
INSERT INTO things SELECT 'position', position FROM payorder.next_events('outbox', 3) ORDER BY id DESC LIMIT 1;
RESET ROLE;
CREATE TABLE public.payorder_test_tickets (id integer PRIMARY KEY, state text NOT NULL);

-- What a statement as a role ends with: the rights fail, or it is run and what
-- it did is undone again.
CREATE FUNCTION pg_temp.tried(role text, statement text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    thing record;
    answer text := 'called';
BEGIN
    FOR thing IN SELECT name, value FROM things LOOP
        statement := replace(statement, '@' || thing.name || '@', thing.value);
    END LOOP;
    IF statement ~ '@tickets@' THEN    -- a table of the caller's own
        EXECUTE format('ALTER TABLE public.payorder_test_tickets OWNER TO %I', pg_temp.full_name(role));
        statement := replace(statement, '@tickets@', '''public.payorder_test_tickets''');
    END IF;
    EXECUTE format('SET LOCAL ROLE %I', pg_temp.full_name(role));
    IF statement ~ '^SELECT' THEN
        EXECUTE statement INTO answer;
    ELSE
        EXECUTE statement;
    END IF;
    RAISE EXCEPTION SQLSTATE 'ZZZZZ';
EXCEPTION
    WHEN SQLSTATE 'ZZZZZ' THEN
        RETURN 'ok ' || coalesce(answer, '(null)');
    WHEN insufficient_privilege THEN
        RETURN CASE WHEN SQLERRM ~ '^permission denied for (function|procedure|table|view|sequence|schema) ' THEN 'fail'
                    ELSE 'ok 42501 ' || SQLERRM END;
    WHEN OTHERS THEN
        RETURN format('ok %s %s', SQLSTATE, SQLERRM);
END $$;

-- A routine, the mark of each role in the order of the list below, and a call
-- whose answer is the same whoever calls.
CREATE TEMP TABLE calls (n serial, routine text PRIMARY KEY, marks text, call text);
INSERT INTO calls (routine, marks, call) VALUES
--                               app  gate inge work supp admi moni nobody
    ('create_order',           'ok   fail fail fail fail fail fail fail',
     $$SELECT state FROM payorder.create_order('R-new', 100, 'CNY')$$),
    ('begin_payment',          'ok   fail fail fail fail fail fail fail',
     $$SELECT concat_ws(' ', gateway, state) FROM payorder.begin_payment('R-open', 'g')$$),
    ('fire',                   'ok   fail fail fail fail fail fail fail',
     $$SELECT state FROM payorder.fire('R-open', 'cancel', 'buyer')$$),
    ('try_fire',               'ok   fail fail fail fail fail fail fail',
     $$SELECT concat_ws(' ', changed, state, sqlstate) FROM payorder.try_fire('R-open', 'pay')$$),
    ('allowed_events',         'ok   fail fail fail ok   ok   fail fail',
     $$SELECT string_agg(e, ' ' ORDER BY e COLLATE "C") FROM payorder.allowed_events('R-open') AS e$$),
    ('can_transition',         'ok   fail fail fail ok   ok   fail fail',
     $$SELECT payorder.can_transition('order', 'pending', 'paid')$$),
    ('reprice_order',          'ok   fail fail fail ok   ok   fail fail',
     $$SELECT amount FROM payorder.reprice_order('R-open', 90, 'me', 'coupon')$$),
    ('request_refund',         'ok   fail fail fail ok   ok   fail fail',
     $$SELECT concat_ws(' ', state, amount) FROM payorder.request_refund('RFNEW0001', 'R-paid', 30)$$),
    ('request_refunds',        'ok   fail fail fail ok   ok   fail fail',
     $$SELECT concat_ws(' ', refund_no, state, amount) FROM payorder.request_refunds('RFNEW_02', 'R-paid', 30)$$),
    ('enqueue',                'ok   fail fail fail fail fail fail fail',
     $$SELECT payorder.enqueue('mail', 'R-open', dedup_key => 'waits') = @ready@$$),
    ('enqueue_batch',          'ok   fail fail fail fail fail fail fail',
     $$SELECT cardinality(payorder.enqueue_batch('mail', '{null,null}', '{R-open,R-paid}'))$$),
    ('parse_amount',           'ok   fail ok   ok   ok   ok   fail fail',
     $$SELECT payorder.parse_amount('19.90', 'CNY')$$),
    ('format_amount',          'ok   fail ok   ok   ok   ok   fail fail',
     $$SELECT payorder.format_amount(1990, 'CNY')$$),
    ('ingest',                 'fail fail ok   fail fail fail fail fail',
     $$SELECT concat_ws(' ', verdict, state) FROM payorder.ingest('g', 't-new', 'pay', 'R-open', 100, 'CNY')$$),
    ('ingest_batch',           'fail fail ok   fail fail fail fail fail',
     $$SELECT concat_ws(' ', verdict, state) FROM payorder.ingest_batch('[{"gateway": "g", "txn_id": "t-new", "event": "pay", "order_no": "R-open", "amount": 100, "currency": "CNY"}]')$$),
    ('claim',                  'fail fail fail ok   fail fail fail fail',
     $$SELECT concat_ws(' ', kind, order_no, payload ->> 'to') FROM payorder.claim('{mail}')$$),
    ('complete',               'fail fail fail ok   fail fail fail fail',
     $$SELECT concat_ws(' ', verdict, order_no) FROM payorder.complete(@refund@, '{"messages": [{"txn_id": "r1", "event": "refund", "amount": 40, "currency": "CNY"}]}')$$),
    ('complete_batch',         'fail fail fail ok   fail fail fail fail',
     $$SELECT cardinality(payorder.complete_batch(ARRAY[-1, 0], ARRAY[1, 2]))$$),
    ('claim_for_handler',      'fail fail fail ok   fail fail fail fail',
     $$SELECT concat_ws(' ', task, token) FROM payorder.claim_for_handler()$$),
    ('run_handler',            'fail fail fail ok   fail fail fail fail',
     $$SELECT payorder.run_handler(@mail@)$$),
    ('fail',                   'fail fail fail ok   fail fail fail fail',
     $$SELECT payorder.fail(@mail@, 'mail box is full')$$),
    ('heartbeat',              'fail fail fail ok   fail fail fail fail',
     $$SELECT payorder.heartbeat(@mail@, '10 min') > now() + interval '9 min'$$),
    ('sweep',                  'fail fail fail ok   fail fail fail fail',
     $$SELECT failed FROM payorder.sweep()$$),
    ('run_sweeps',             'fail fail fail ok   fail fail fail fail',
     $$CALL payorder.run_sweeps()$$),
    ('next_due',               'fail fail fail ok   fail fail ok   fail',
     $$SELECT payorder.next_due() < now() + interval '1 day'$$),
    ('next_events',            'fail fail fail ok   fail fail fail fail',
     $$SELECT count(*) FROM payorder.next_events('outbox', 3)$$),
    ('ack_events',             'fail fail fail ok   fail fail fail fail',
     $$SELECT payorder.ack_events('outbox', '@position@')$$),
    ('settle_callback',        'fail fail fail fail ok   ok   fail fail',
     $$SELECT concat_ws(' ', verdict, detail, state) FROM payorder.settle_callback('g', 't-more', 'pay', 'keep', 'anna', 'they tipped')$$),
    ('settle_refund',          'fail fail fail fail ok   ok   fail fail',
     $$SELECT state FROM payorder.settle_refund('RFHELD001', 'release', 'anna', 'fine')$$),
    ('retry_order',            'fail fail fail fail ok   ok   fail fail',
     $$SELECT payorder.retry_order('R-open', 'anna', 'again')$$),
    ('retry_callback',         'fail fail fail fail ok   ok   fail fail',
     $$SELECT payorder.retry_callback('g', 't-lost', 'pay', 'anna', 'again')$$),
    ('retry_dead',             'fail fail fail fail ok   ok   fail fail',
     $$SELECT payorder.retry_dead(@dead@, 'anna', 'again')$$),
    ('cancel_task',            'fail fail fail fail ok   ok   fail fail',
     $$SELECT payorder.cancel_task(@ready@, 'anna', 'no more')$$),
    ('order_money',            'fail fail fail fail ok   ok   fail fail',
     $$SELECT string_agg(concat_ws(' ', event, moved), ', ') FROM payorder.order_money('R-paid')$$),
    ('verify_events',          'fail fail fail fail ok   ok   fail fail',
     $$SELECT ok FROM payorder.verify_events('R-paid')$$),
    ('event_digest',           'fail fail fail fail ok   ok   fail fail',
     $$SELECT events > 0 FROM payorder.event_digest()$$),
    ('is_copy',                'fail fail fail fail ok   ok   ok   fail',
     $$SELECT payorder.is_copy()$$),
    ('consumer_lag',           'fail fail fail fail ok   ok   ok   fail',
     $$SELECT behind > 0 FROM payorder.consumer_lag('outbox')$$),
    ('machine_diagram',        'ok   fail fail fail ok   ok   fail fail',
     $$SELECT length(payorder.machine_diagram('order')) > 100$$),
    ('export_machine',         'ok   fail fail fail ok   ok   fail fail',
     $$SELECT payorder.export_machine('ticket') ->> 'initial'$$),
    ('define_machine',         'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.define_machine('ticket', '{"initial": "new", "states": {"new": {"on": {"end": {"target": "gone"}}}, "gone": {"type": "final"}}}')$$),
    ('migrate_some',           'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.migrate_some('parcel', 1, 2, 'longer', '', 10)$$),
    ('migrate_orders',         'fail fail fail fail fail ok   fail fail',
     $$CALL payorder.migrate_orders('parcel', 1, 2)$$),
    ('migrate_order',          'fail fail fail fail fail fail fail fail',
     $$SELECT payorder.migrate_order('R-parcel', 1, 2, '{}', NULL)$$),
    ('purge_some',             'fail fail fail fail fail ok   fail fail',
     $$SELECT orders FROM payorder.purge_some('1 day')$$),
    ('purge',                  'fail fail fail fail fail ok   fail fail',
     $$CALL payorder.purge('1 day')$$),
    ('guard',                  'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.guard(@tickets@, 'state', 'ticket')$$),
    ('unguard',                'fail fail fail fail fail ok   fail fail',
     $$SELECT concat_ws(' ', payorder.guard(@tickets@, 'state', 'ticket'), payorder.unguard(@tickets@, 'state'))$$),
    ('guard_of',               'fail fail fail fail ok   ok   ok   fail',
     $$SELECT machine FROM payorder.guard_of(0)$$),
    ('add_gateway',            'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.add_gateway('new', 'generic', 'shop-n')$$),
    ('add_gateway_key',        'fail fail fail fail fail ok   fail fail',
     format($$SELECT payorder.add_gateway_key('w', 'new', public_key => %L)$$, :'public_key')),
    ('rotate_gateway_key',     'fail fail fail fail fail ok   fail fail',
     format($$SELECT payorder.rotate_gateway_key('w', 'new', public_key => %L)$$, :'public_key')),
    ('retire_gateway_key',     'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.retire_gateway_key('w', 'old')$$),
    ('check_gateway_keys',     'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.check_gateway_keys('w')$$),
    ('seal_secret',            'fail fail fail fail fail ok   fail fail',    -- a server for tests has no secrets
     $$SELECT payorder.seal_secret('new', 'hush')$$),
    ('reseal_secrets',         'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.reseal_secrets('hush')$$),
    ('drop_secret',            'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.drop_secret('not_there')$$),
    ('alter_gateway',          'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.alter_gateway('g', '{"enabled": false}')$$),
    ('adapter_defaults',       'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.adapter_defaults('stripe') ->> 'pay_id_pattern'$$),
    ('check_gateway',          'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.check_gateway('s')$$),
    ('ingest_http',            'fail ok   fail fail fail fail fail fail',
     $$SELECT concat_ws(' ', ack_status, results[1].verdict, results[1].detail) FROM payorder.ingest_http('s', '{}', 'x')$$),
    ('decode_http',            'fail fail fail fail fail ok   fail fail',
     $$SELECT concat_ws(' ', verdict, detail) FROM payorder.decode_http('s', '{}', 'x')$$),
    ('ingest_waiting',         'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.ingest_waiting('s')$$),
    ('pause_gateway',          'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.pause_gateway('g', 'dora', 'they are down')$$),
    ('resume_gateway',         'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.resume_gateway('g', 'dora', 'they are back')$$),
    ('define_task_kind',       'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.define_task_kind('letter')$$),
    ('set_task_limit',         'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.set_task_limit('g', max_running => 4)$$),
    ('set_refund_limits',      'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.set_refund_limits('g', NULL, '{"second_person_above": 1000}')$$),
    ('requery',                'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.requery('-infinity') > 0$$),
    ('adopt_cluster',          'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.adopt_cluster('dora', 'moved')$$),
    ('create_consumer',        'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.create_consumer('mails')$$),
    ('drop_consumer',          'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.drop_consumer('outbox')$$),
    ('seek_events',            'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.seek_events('outbox', first_id => 1) > 0$$),
    ('consumers_behind',       'fail fail fail fail fail ok   fail fail',
     $$SELECT count(*) FROM generate_series(0, 63) AS slot, payorder.consumers_behind(slot)$$),
    ('check_invariants',       'fail fail fail fail fail ok   ok   fail',
     $$SELECT count(*) FROM payorder.check_invariants()$$),
    ('sides_of_machines',      'fail fail fail fail fail ok   ok   fail',
     $$SELECT count(*) FILTER (WHERE paid) > 0 FROM payorder.sides_of_machines()$$),
    ('start_worker',           'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.start_worker()$$),
    ('stop_worker',            'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.stop_worker()$$),
    ('schedule',               'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.schedule()$$),
    ('unschedule',             'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.unschedule()$$),
    ('create_roles',           'fail fail fail fail fail fail fail fail',
     $$SELECT count(*) FROM payorder.create_roles()$$),
    ('note_installation',      'fail fail fail fail fail fail fail fail',
     $$SELECT payorder.note_installation()$$),
    ('check_transition',       'fail fail fail fail fail ok   fail fail',
     $$SELECT payorder.check_transition()$$),
    ('order_state_changed',    'fail fail fail fail fail fail fail fail',
     $$SELECT payorder.order_state_changed()$$),
    ('order_columns_changed',  'fail fail fail fail fail fail fail fail',
     $$SELECT payorder.order_columns_changed()$$),
    ('refuse_change',          'fail fail fail fail fail fail fail fail',
     $$SELECT payorder.refuse_change()$$),
    ('refuse_row_change',      'fail fail fail fail fail fail fail fail',
     $$SELECT payorder.refuse_row_change()$$);
CREATE TEMP VIEW marks AS
SELECT c.n, c.routine, r.n AS role_n, r.role, m.mark, c.call
FROM calls AS c, string_to_table(regexp_replace(c.marks, ' +', ' ', 'g'), ' ') WITH ORDINALITY AS m (mark, n)
JOIN roles AS r USING (n);
\set ECHO queries

/* ---- every role calls every routine ---- */


-- what starts a worker is started below, where it is stopped again
CREATE TEMP TABLE tried AS
SELECT *, CASE WHEN routine = 'start_worker' AND mark = 'ok' THEN 'ok (below)' ELSE pg_temp.tried(role, call) END AS outcome FROM pg_temp.marks;
SELECT format('%s: %s%s -- %s', role, routine, substr(outcome, 5 - (outcome ~ '^ok')::integer * 2), substr(outcome, 1, 4 - (outcome ~ '^ok')::integer * 2)) FROM tried ORDER BY n, role_n;
-- each as its mark says, and as the catalog says; every routine is in the list
SELECT role, routine, mark FROM tried WHERE (outcome = 'fail') <> (mark = 'fail');
SELECT m.role, m.routine, m.mark FROM pg_temp.marks AS m JOIN pg_proc AS p ON p.proname = m.routine AND p.pronamespace = 'payorder'::regnamespace WHERE has_function_privilege(pg_temp.full_name(m.role), p.oid, 'EXECUTE') <> (m.mark = 'ok');
SELECT p.proname AS not_in_the_list, r.role FROM pg_proc AS p CROSS JOIN roles AS r WHERE p.pronamespace = 'payorder'::regnamespace AND NOT EXISTS (SELECT FROM pg_temp.marks AS m WHERE m.routine = p.proname AND m.role = r.role AND m.mark IN ('ok', 'fail'));
SELECT c.routine AS not_there FROM calls AS c WHERE NOT EXISTS (SELECT FROM pg_proc AS p WHERE p.proname = c.routine AND p.pronamespace = 'payorder'::regnamespace);
SELECT p.proname AS for_public FROM pg_proc AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a WHERE p.pronamespace = 'payorder'::regnamespace AND a.grantee = 0;
-- what a person may decide by the view, support or admin may
SELECT DISTINCT d[1] AS decides, (SELECT string_agg(m.role, ' ' ORDER BY m.role_n) FROM pg_temp.marks AS m WHERE m.routine = d[1] AND m.mark = 'ok') AS who FROM regexp_matches(pg_get_viewdef('payorder.attention'), '[{,]([a-z_]+)(?= |,|})', 'g') AS d ORDER BY 1;

/* ---- what commits as it goes, and what stays beyond the transaction ---- */

SET ROLE payorder_worker;
CALL payorder.run_sweeps(); -- ok
CALL payorder.migrate_orders('parcel', 1, 2); -- fail
RESET ROLE;
SET ROLE payorder_admin;
CALL payorder.migrate_orders('parcel', 1, 2); -- ok
CALL payorder.run_sweeps(); -- fail
RESET ROLE;
ALTER ROLE payorder_test_owner SUPERUSER;
SET ROLE payorder_admin;
SELECT payorder.start_worker() > 0 AS started; -- ok
DO $$
BEGIN
    FOR i IN 1 .. 6000 LOOP
        EXIT WHEN payorder.stop_worker();
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$; -- ok
RESET ROLE;
ALTER ROLE payorder_test_owner NOSUPERUSER;

/* ---- tables, views, sequences: who may read, and that nobody but the owner does more ---- */

\set ECHO none
CREATE TEMP TABLE readers (relation text PRIMARY KEY, marks text);
INSERT INTO readers VALUES
--                     app  gate inge work supp admi moni nobody
    ('order_overview', 'ok   fail fail fail ok   ok   fail fail'),
    ('orders',         'fail fail fail fail ok   fail fail fail'),
    ('events',         'fail fail fail fail ok   fail fail fail'),
    ('guard_events',   'fail fail fail fail ok   fail fail fail'),
    ('purged_orders',  'fail fail fail fail ok   ok   fail fail'),
    ('events_freed',   'fail fail fail fail fail ok   fail fail'),
    ('attempts',       'fail fail fail fail ok   fail fail fail'),
    ('payments',       'fail fail fail fail ok   fail fail fail'),
    ('refunds',        'fail fail fail fail ok   fail fail fail'),
    ('refund_limits',  'fail fail fail fail ok   ok   fail fail'),
    ('machines',       'fail fail fail fail ok   ok   fail fail'),
    ('states',         'fail fail fail fail ok   ok   fail fail'),
    ('transitions',    'fail fail fail fail ok   ok   fail fail'),
    ('state_timers',   'fail fail fail fail ok   ok   fail fail'),
    ('gateways',       'fail fail fail fail fail ok   fail fail'),
    ('gateway_keys',   'fail fail fail fail fail ok   fail fail'),
    ('sealed_secrets', 'fail fail fail fail fail some fail fail'),
    ('currencies',     'fail fail fail fail fail ok   fail fail'),
    ('task_kinds',     'fail fail fail fail fail ok   fail fail'),
    ('attention',      'fail fail fail fail ok   ok   some fail'),
    ('money_balance',  'fail fail fail fail ok   ok   ok   fail'),
    ('quarantine',     'fail fail fail fail ok   ok   fail fail'),
    ('ignored_messages', 'fail fail fail fail ok   ok   fail fail'),
    ('gateway_messages', 'fail fail fail fail ok   ok   ok   fail'),
    ('consumers',      'fail fail fail fail ok   ok   ok   fail'),
    ('guarded',        'fail fail fail fail ok   ok   ok   fail'),
    ('task_limits',    'fail fail fail fail fail ok   ok   fail');
CREATE TEMP VIEW relations AS
SELECT c.relname::text AS relation, c.oid, c.relkind, r.n AS role_n, r.role,
       coalesce((string_to_array(regexp_replace(d.marks, ' +', ' ', 'g'), ' '))[r.n], 'fail') AS mark
FROM pg_class AS c CROSS JOIN roles AS r LEFT JOIN readers AS d ON d.relation = c.relname
WHERE c.relnamespace = 'payorder'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S');
\set ECHO queries

SELECT format('%s: %s -- %s', r.role, r.relation, o.outcome) FROM pg_temp.relations AS r, LATERAL (SELECT CASE WHEN pg_temp.tried(r.role, format('SELECT count(*) FROM payorder.%I', r.relation)) = 'fail' THEN 'fail' WHEN pg_temp.tried(r.role, format('SELECT (t.*)::text FROM payorder.%I AS t LIMIT 1', r.relation)) = 'fail' THEN 'some' ELSE 'ok' END AS outcome) AS o WHERE o.outcome <> 'fail' OR r.mark <> 'fail' ORDER BY r.role_n, r.relation COLLATE "C";
-- each as its mark says; the list names nothing that is not there
SELECT r.role, r.relation FROM pg_temp.relations AS r WHERE has_any_column_privilege(pg_temp.full_name(r.role), r.oid, 'SELECT') <> (r.mark <> 'fail') OR has_table_privilege(pg_temp.full_name(r.role), r.oid, 'SELECT') <> (r.mark = 'ok');
SELECT relation FROM readers WHERE to_regclass('payorder.' || relation) IS NULL;
-- monitor sees what waits, not whose it is
SELECT string_agg(a.attname, ' ' ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = 'payorder.attention'::regclass AND a.attnum > 0 AND has_column_privilege('payorder_monitor', a.attrelid, a.attnum, 'SELECT');
-- nobody writes, in any way
SELECT r.role, r.relation, w.statement
FROM pg_temp.relations AS r
JOIN (VALUES ('INSERT INTO payorder.%1$I DEFAULT VALUES', '{r,p,v}'::text[]), ('UPDATE payorder.%1$I SET %2$I = NULL', '{r,p,v}'), ('DELETE FROM payorder.%1$I', '{r,p,v}'), ('TRUNCATE payorder.%1$I', '{r,p}'),
             ('SELECT nextval(''payorder.%1$I'')', '{S}'), ('SELECT setval(''payorder.%1$I'', 1)', '{S}'), ('LOCK payorder.%1$I IN ROW EXCLUSIVE MODE', '{r,p,v}')) AS w (statement, kinds) ON r.relkind = ANY (w.kinds)
JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = 1
WHERE pg_temp.tried(r.role, format(w.statement, r.relation, a.attname)) !~ '^(fail$|ok 55000 cannot .* view )';
SELECT r.role, r.relation FROM pg_temp.relations AS r WHERE CASE WHEN r.relkind = 'S' THEN has_sequence_privilege(pg_temp.full_name(r.role), r.oid, 'USAGE, UPDATE, SELECT') ELSE has_table_privilege(pg_temp.full_name(r.role), r.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') OR has_any_column_privilege(pg_temp.full_name(r.role), r.oid, 'INSERT, UPDATE, REFERENCES') END;
SELECT role FROM roles WHERE has_schema_privilege(pg_temp.full_name(role), 'payorder', 'CREATE');

/* ---- types: PUBLIC may use them as the server says, but name none without the schema ---- */

SELECT r.role, has_schema_privilege(pg_temp.full_name(r.role), 'payorder', 'USAGE') AS names, count(*) FILTER (WHERE NOT has_type_privilege(pg_temp.full_name(r.role), t.oid, 'USAGE')) AS not_usable
FROM roles AS r, pg_type AS t WHERE t.typnamespace = 'payorder'::regnamespace GROUP BY r.n, r.role ORDER BY r.n;
SELECT has_schema_privilege('public', 'payorder', 'USAGE') AS names;

/* ---- what a right does not give ---- */

CREATE FUNCTION pg_temp.got(role text, statement text) RETURNS text LANGUAGE sql AS $$ SELECT format('%s: %s', role, substr(pg_temp.tried(role, statement), 4)) $$;
-- to pay an order is for ingest, which can't say that it is somebody else
SELECT pg_temp.got('app', format($$SELECT payorder.fire('R-open', %L)$$, e)) FROM unnest('{pay,pay_part,reopen,close_confirmed,refunded,timeout}'::text[]) AS e;
SELECT pg_temp.got('app', $$SELECT payorder.enqueue('refund', 'R-open')$$);
SELECT pg_temp.got('app', $$SELECT payorder.begin_payment('R-open', 'none')$$);
SELECT pg_temp.got('ingest', $$SELECT payorder.ingest('none', 't-new', 'pay', 'R-open', 100, 'CNY')$$);
SELECT pg_temp.got('ingest', format($$SELECT payorder.ingest('g', 't-new', 'pay', 'R-open', 100, 'CNY', source => %L)$$, s)) FROM unnest('{bill,operator,kernel}'::text[]) AS s;
SELECT pg_temp.got('ingest', $$SELECT message FROM payorder.ingest_batch('[{"gateway": "g", "txn_id": "t-new", "event": "pay", "order_no": "R-open", "amount": 100, "currency": "CNY", "source": "operator"}]')$$);
-- a worker answers for its task only, with the token it was given
SELECT pg_temp.got('worker', format($$SELECT payorder.complete(@refund@, '{"messages": [{"txn_id": "r1", "event": "refund", "amount": 40, "currency": "CNY", %s}]}')$$, m))
FROM unnest(ARRAY['"gateway": "h"', '"order_no": "R-other"', '"payment_txn": "t-other"', '"refund_no": "RFHELD001"']) AS m;
-- of a shop's own kind a result is kept, and nothing of it is ingested
SELECT pg_temp.got('worker', $$SELECT count(*) FROM payorder.complete(@mail@, '{"messages": [{"txn_id": "t-new", "event": "pay", "order_no": "R-open", "amount": 100, "currency": "CNY"}]}')$$);
SELECT pg_temp.got('worker', format($$SELECT payorder.%s$$, c)) FROM unnest(ARRAY['complete(@ready@, 1)', 'fail(@ready@, 1, ''no'')', 'heartbeat(@ready@, 1)']) AS c;
-- an admin guards tables of his own, and moves no order past the comparison of the versions
SELECT pg_temp.got('admin', $$SELECT payorder.guard('payorder.orders', 'state', 'ticket', 'order_no')$$);
SELECT pg_temp.got('admin', $$SELECT payorder.guard('pg_catalog.pg_class', 'relname', 'ticket', 'oid')$$);
SELECT pg_temp.got('admin', $$SELECT payorder.alter_gateway('none', '{"enabled": false}')$$);
SELECT pg_temp.got('admin', $$SELECT payorder.define_task_kind('mail', handler => 'pg_catalog.pg_reload_conf()')$$);
-- a view shows its rows and no others, not even to a function in the query
CREATE FUNCTION public.payorder_test_leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
    PERFORM set_config('payorder_test.seen', concat_ws(' ', nullif(current_setting('payorder_test.seen', true), ''), $1), false);
    RETURN true;
END $$;
SET ROLE payorder_support;
SELECT DISTINCT order_no FROM payorder.attention WHERE public.payorder_test_leak(order_no) ORDER BY 1;
SELECT DISTINCT string_to_table(current_setting('payorder_test.seen'), ' ') AS seen ORDER BY 1;
RESET ROLE;

/* ---- a member has what its role has, by inheritance or when it takes the role ---- */

CREATE ROLE payorder_test_member IN ROLE payorder_support;
CREATE ROLE payorder_test_aloof NOINHERIT IN ROLE payorder_support;
SET SESSION AUTHORIZATION payorder_test_member;
SELECT state FROM payorder.settle_refund('RFHELD001', 'release', 'anna', 'fine'); -- ok
SELECT state FROM payorder.orders WHERE order_no = 'R-held'; -- ok
SELECT state FROM payorder.fire('R-held', 'cancel'); -- fail
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION payorder_test_aloof;
SELECT payorder.retry_order('R-open', 'anna', 'again'); -- fail
SET ROLE payorder_support;
SELECT payorder.retry_order('R-open', 'anna', 'again'); -- ok
RESET SESSION AUTHORIZATION;
-- and hands the result on by a function of its own
CREATE SCHEMA payorder_test_shop AUTHORIZATION payorder_test_member;
SET SESSION AUTHORIZATION payorder_test_member;
CREATE FUNCTION payorder_test_shop.back(number text) RETURNS payorder.refund_info LANGUAGE sql RETURN payorder.request_refund('RFMINE001', number, 5); -- ok
SELECT state FROM payorder_test_shop.back('R-paid'); -- ok
CREATE EXTENSION payorder; -- fail
DROP EXTENSION payorder; -- fail
RESET SESSION AUTHORIZATION;
DROP SCHEMA payorder_test_shop CASCADE;
SELECT * FROM payorder.check_invariants();

/* ---- everything as it was ---- */

\set ECHO none
SET client_min_messages = error;
DROP FUNCTION public.payorder_test_leak(text);
DROP TABLE public.payorder_test_tickets;
DROP EXTENSION payorder CASCADE;
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT role FROM made UNION ALL SELECT unnest('{payorder_test_member,payorder_test_aloof,payorder_test_nobody}'::text[]) LOOP
        EXECUTE format('DROP ROLE %I', name);
    END LOOP;
END $$;
DROP OWNED BY payorder_test_owner;
DROP ROLE payorder_test_owner;
CREATE EXTENSION payorder;
