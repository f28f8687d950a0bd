-- The roles of create_roles(): each can do what its list says and nothing
-- else, no role writes a table, and whoever has no role has nothing.  65, 75.
BEGIN;
SELECT no_plan();

SELECT bag_eq('SELECT payorder.create_roles()', $$
    VALUES ('payorder_admin'), ('payorder_app'), ('payorder_gateway'), ('payorder_ingest'),
           ('payorder_monitor'), ('payorder_support'), ('payorder_worker')$$,
    'create_roles() makes the roles');
SELECT is_empty('SELECT payorder.create_roles()', 'and once only');
SELECT is_empty($$
    SELECT rolname FROM pg_roles
    WHERE rolname ~ '^payorder_' AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb
                                      OR rolreplication OR rolbypassrls)$$,
    'none can log in or has an attribute');
CREATE ROLE payorder_test_nobody;

CREATE TEMP TABLE roles (role text);
INSERT INTO roles VALUES ('app'), ('gateway'), ('ingest'), ('worker'), ('support'), ('admin'), ('monitor'),
                         ('test_nobody');

-- ---- what each may call, and a call that gets as far as a clean refusal
CREATE TEMP TABLE rights (routine text, allowed text, call text);
INSERT INTO rights VALUES
    ('ack_events', 'worker', $$payorder.ack_events('mail', NULL)$$),
    ('consumer_lag', 'admin monitor support', $$payorder.consumer_lag(NULL)$$),
    ('consumers_behind', 'admin', $$payorder.consumers_behind(0)$$),
    ('create_consumer', 'admin', $$payorder.create_consumer('c' || (random() * 1e9)::bigint)$$),
    ('drop_consumer', 'admin', $$payorder.drop_consumer('no-such')$$),
    ('event_digest', 'admin support', $$payorder.event_digest()$$),
    ('next_events', 'worker', $$payorder.next_events('mail', 0)$$),
    ('seek_events', 'admin', $$payorder.seek_events('mail')$$),
    ('add_gateway', 'admin', $$payorder.add_gateway('G!', 'generic', 'm')$$),
    ('adapter_defaults', 'admin', $$payorder.adapter_defaults('no such')$$),
    ('check_gateway', 'admin', $$payorder.check_gateway('nowhere')$$),
    ('ingest_http', 'gateway', $$payorder.ingest_http('nowhere', '{}', '')$$),
    ('decode_http', 'admin', $$payorder.decode_http('nowhere', '{}', '')$$),
    ('ingest_waiting', 'admin', $$payorder.ingest_waiting('nowhere')$$),
    ('add_gateway_key', 'admin', $$payorder.add_gateway_key('nowhere', secret => 'file:x')$$),
    ('rotate_gateway_key', 'admin', $$payorder.rotate_gateway_key('nowhere', secret => 'file:x')$$),
    ('retire_gateway_key', 'admin', $$payorder.retire_gateway_key('nowhere', 'k')$$),
    ('check_gateway_keys', 'admin', $$payorder.check_gateway_keys('nowhere')$$),
    ('seal_secret', 'admin', $$payorder.seal_secret('x', 'y')$$),
    ('reseal_secrets', 'admin', $$payorder.reseal_secrets('x')$$),
    ('drop_secret', 'admin', $$payorder.drop_secret('no-such')$$),
    ('adopt_cluster', 'admin', $$payorder.adopt_cluster(NULL, 'why')$$),
    ('allowed_events', 'admin app support', $$payorder.allowed_events('no such')$$),
    ('alter_gateway', 'admin', $$payorder.alter_gateway('nowhere', '{}')$$),
    ('begin_payment', 'app', $$payorder.begin_payment('no such', 'g')$$),
    ('can_transition', 'admin app support', $$payorder.can_transition('order', 'pending', 'paid')$$),
    ('cancel_task', 'admin support', $$payorder.cancel_task(-1, 'me', 'why')$$),
    ('check_invariants', 'admin monitor', $$payorder.check_invariants()$$),
    ('check_transition', 'admin', NULL),
    ('claim', 'worker', $$payorder.claim()$$),
    ('claim_for_handler', 'worker', $$payorder.claim_for_handler()$$),
    ('complete', 'worker', $$payorder.complete(-1, 1)$$),
    ('complete_batch', 'worker', $$payorder.complete_batch('{-1}', '{1}')$$),
    ('create_order', 'app', $$payorder.create_order('P' || clock_timestamp(), 1, 'CNY')$$),
    ('create_roles', '', $$payorder.create_roles()$$),
    ('define_machine', 'admin', $$payorder.define_machine('m', '{}')$$),
    ('define_task_kind', 'admin', $$payorder.define_task_kind('kind_a', max_attempts => 0)$$),
    ('migrate_order', '', NULL),
    ('migrate_some', 'admin', $$payorder.migrate_some('no such', 1, 2, NULL, '', 1)$$),
    ('set_task_limit', 'admin', $$payorder.set_task_limit()$$),
    ('enqueue', 'app', $$payorder.enqueue('no_such_kind')$$),
    ('enqueue_batch', 'app', $$payorder.enqueue_batch('no_such_kind', '{}')$$),
    ('fail', 'worker', $$payorder.fail(-1, 1, 'error')$$),
    ('fire', 'app', $$payorder.fire('no such', 'cancel')$$),
    ('format_amount', 'admin app ingest support worker', $$payorder.format_amount(1, 'CNY')$$),
    ('guard', 'admin', $$payorder.guard(NULL, 'state', 'ticket')$$),
    ('guard_of', 'admin monitor support', $$payorder.guard_of(0)$$),
    ('heartbeat', 'worker', $$payorder.heartbeat(-1, 1)$$),
    ('ingest', 'ingest', $$payorder.ingest('nowhere', 't', 'pay')$$),
    ('ingest_batch', 'ingest', $$payorder.ingest_batch(NULL)$$),
    ('is_copy', 'admin monitor support', $$payorder.is_copy()$$),
    ('export_machine', 'admin app support', $$payorder.export_machine('order')$$),
    ('machine_diagram', 'admin app support', $$payorder.machine_diagram('order')$$),
    ('next_due', 'monitor worker', $$payorder.next_due()$$),
    ('note_installation', '', $$payorder.note_installation()$$),
    ('order_columns_changed', '', NULL),
    ('order_money', 'admin support', $$payorder.order_money('no such')$$),
    ('order_state_changed', '', NULL),
    ('parse_amount', 'admin app ingest support worker', $$payorder.parse_amount('1e2', 'CNY')$$),
    ('pause_gateway', 'admin', $$payorder.pause_gateway('nowhere', 'me', 'why')$$),
    ('refuse_change', '', NULL),
    ('refuse_row_change', '', NULL),
    ('reprice_order', 'admin app support', $$payorder.reprice_order('no such', 1, 'me', 'why')$$),
    ('requery', 'admin', $$payorder.requery(NULL)$$),
    ('request_refund', 'admin app support', $$payorder.request_refund('REFUND0001', 'no such')$$),
    ('request_refunds', 'admin app support', $$payorder.request_refunds('REFUND', 'no such')$$),
    ('resume_gateway', 'admin', $$payorder.resume_gateway('nowhere', 'me', 'why')$$),
    ('retry_callback', 'admin support', $$payorder.retry_callback('nowhere', 't', 'pay', 'me', 'why')$$),
    ('retry_dead', 'admin support', $$payorder.retry_dead(-1, 'me', 'why')$$),
    ('retry_order', 'admin support', $$payorder.retry_order('no such', 'me', 'why')$$),
    ('migrate_orders', 'admin', NULL),
    ('purge', 'admin', NULL),
    ('purge_some', 'admin', $$payorder.purge_some('1 second')$$),
    ('run_handler', 'worker', $$payorder.run_handler(-1, 1)$$),
    ('run_sweeps', 'worker', NULL),
    ('schedule', 'admin', $$payorder.schedule()$$),
    ('set_refund_limits', 'admin', $$payorder.set_refund_limits('nowhere', NULL, '{}')$$),
    ('settle_callback', 'admin support', $$payorder.settle_callback('nowhere', 't', 'pay', 'keep', 'me', 'why')$$),
    ('settle_refund', 'admin support', $$payorder.settle_refund('REFUND0001', 'keep', 'me', 'why')$$),
    ('sides_of_machines', 'admin monitor', $$payorder.sides_of_machines()$$),
    ('start_worker', 'admin', NULL),
    ('stop_worker', 'admin', $$payorder.stop_worker()$$),
    ('sweep', 'worker', $$payorder.sweep()$$),
    ('try_fire', 'app', $$payorder.try_fire('no such', 'cancel')$$),
    ('unguard', 'admin', $$payorder.unguard(NULL, 'state')$$),
    ('unschedule', 'admin', $$payorder.unschedule()$$),
    ('verify_events', 'admin support', $$payorder.verify_events('no such')$$);

SELECT bag_eq($$
    SELECT p.proname::text COLLATE "C" FROM pg_proc AS p WHERE p.pronamespace = 'payorder'::regnamespace$$,
    'SELECT routine COLLATE "C" FROM rights', 'each routine has its row here');

SELECT bag_eq($$
    SELECT format('%s may call %s', r.role, p.proname) COLLATE "C"
    FROM roles AS r JOIN pg_proc AS p ON p.pronamespace = 'payorder'::regnamespace
    WHERE has_function_privilege('payorder_' || r.role, p.oid, 'EXECUTE')$$, $$
    SELECT format('%s may call %s', a.role, g.routine) COLLATE "C"
    FROM rights AS g, string_to_table(nullif(g.allowed, ''), ' ') AS a (role)$$,
    'the roles have the rights of the list');

-- What a call as a role ends with; what it did is undone.
CREATE FUNCTION pg_temp.outcome(role text, statement text) RETURNS text
    LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        EXECUTE format('SET LOCAL ROLE %I', 'payorder_' || role);
        EXECUTE statement;
        RAISE EXCEPTION 'undo' USING ERRCODE = 'ZZ000';
    EXCEPTION
        WHEN insufficient_privilege THEN
            RETURN CASE WHEN SQLERRM ~ '^permission denied for ' THEN 'denied' ELSE 'PO or 22' END;
        WHEN SQLSTATE 'ZZ000' THEN RETURN 'done';
        WHEN OTHERS THEN
            RETURN CASE WHEN SQLSTATE ~ '^(PO|22)' OR SQLSTATE = '55000' THEN 'clean error'
                        ELSE SQLSTATE || ' ' || SQLERRM END;
    END;
END
$$;

SELECT CASE WHEN r.role = ANY (string_to_array(g.allowed, ' '))
       THEN ok(o.outcome IN ('done', 'clean error'), format('%s calls %s: %s', r.role, g.routine, o.outcome))
       ELSE is(o.outcome, 'denied', format('%s can''t call %s', r.role, g.routine)) END
FROM rights AS g CROSS JOIN roles AS r,
    LATERAL (SELECT pg_temp.outcome(r.role, 'SELECT count(*) FROM ' || g.call) AS outcome) AS o
WHERE g.call IS NOT NULL;
SELECT is(pg_temp.outcome(r.role, 'CALL payorder.run_sweeps()'),
          CASE r.role WHEN 'worker' THEN '2D000 invalid transaction termination' ELSE 'denied' END,
          format('%s and run_sweeps, which must not be in a transaction', r.role))
FROM roles AS r;

-- ---- relations: who may read, and that nobody may do more
CREATE TEMP TABLE readable (relation text, allowed text);
INSERT INTO readable VALUES
    ('attempts', 'support'), ('attention', 'admin monitor support'), ('task_limits', 'admin monitor'), ('consumers', 'admin monitor support'), ('currencies', 'admin'),
    ('events', 'support'), ('gateways', 'admin'), ('gateway_keys', 'admin'), ('sealed_secrets', 'admin'), ('guard_events', 'support'), ('guarded', 'admin monitor support'),
    ('machines', 'admin support'),
    ('quarantine', 'admin support'), ('ignored_messages', 'admin support'), ('gateway_messages', 'admin monitor support'),
    ('money_balance', 'admin monitor support'), ('order_overview', 'admin app support'), ('orders', 'support'), ('purged_orders', 'admin support'), ('events_freed', 'admin'),
    ('payments', 'support'), ('refund_limits', 'admin support'), ('refunds', 'support'), ('state_timers', 'admin support'),
    ('states', 'admin support'), ('task_kinds', 'admin'), ('transitions', 'admin support');

SELECT bag_eq($$
    SELECT format('%s may read %s', r.role, c.relname) COLLATE "C"
    FROM roles AS r JOIN pg_class AS c ON c.relnamespace = 'payorder'::regnamespace AND c.relkind IN ('r', 'p', 'v')
    WHERE has_any_column_privilege('payorder_' || r.role, c.oid, 'SELECT')$$, $$
    SELECT format('%s may read %s', a.role, g.relation) COLLATE "C"
    FROM readable AS g, string_to_table(g.allowed, ' ') AS a (role)$$,
    'the roles read what the list says');
SELECT is_empty($$
    SELECT r.role, c.oid::regclass
    FROM roles AS r JOIN pg_class AS c ON c.relnamespace = 'payorder'::regnamespace AND c.relkind IN ('r', 'p', 'v')
    WHERE has_table_privilege('payorder_' || r.role, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
       OR has_any_column_privilege('payorder_' || r.role, c.oid, 'INSERT, UPDATE, REFERENCES')$$,
    'no role writes a table');
SELECT is_empty($$
    SELECT r.role, c.oid::regclass
    FROM roles AS r JOIN pg_class AS c ON c.relnamespace = 'payorder'::regnamespace
    WHERE CASE c.relkind WHEN 'S' THEN
              has_sequence_privilege('payorder_' || r.role, c.oid, 'USAGE, SELECT, UPDATE') END$$,
    'no role uses a sequence');
SELECT is_empty($$
    SELECT role FROM roles WHERE has_schema_privilege('payorder_' || role, 'payorder', 'CREATE')$$,
    'no role makes anything in the schema');

-- and it is so when tried
SELECT is(pg_temp.outcome(r.role, format(w.statement, t.relation)), 'denied',
          format('%s: ' || w.statement, r.role, t.relation))
FROM roles AS r,
    (VALUES ('orders'), ('events'), ('events_07'), ('payments'), ('gateways'), ('timers'), ('tasks')) AS t (relation),
    (VALUES ('DELETE FROM payorder.%s'), ('TRUNCATE payorder.%s'),
            ('INSERT INTO payorder.%s DEFAULT VALUES')) AS w (statement);
SELECT is(pg_temp.outcome(r.role, u.statement), 'denied', r.role || ': ' || u.statement)
FROM roles AS r,
    (VALUES ($$UPDATE payorder.orders SET state = 'paid'$$),
            ($$UPDATE payorder.orders SET attributes = '{}'$$),
            ($$UPDATE payorder.payments SET kept = 0$$),
            ($$SELECT nextval('payorder.event_ids')$$),
            ($$SELECT FROM payorder.installation$$),
            ($$UPDATE payorder.installation SET system_identifier = 1$$),
            ($$UPDATE payorder.refund_limits SET second_person_above = NULL$$),
            ($$DELETE FROM payorder.first_decisions$$),
            ($$SELECT FROM payorder.first_decisions$$),
            ($$UPDATE payorder.refund_hours SET asked = 0$$),
            ($$SELECT FROM payorder.consumer_cursors$$),
            ($$UPDATE payorder.consumer_cursors SET acked_id = 1$$),
            ($$SELECT FROM payorder.callbacks$$),
            ($$SELECT FROM payorder.tasks$$),
            ($$SELECT FROM payorder.purge_archive$$),
            ($$SELECT ciphertext FROM payorder.sealed_secrets$$),
            ($$UPDATE payorder.gateway_keys SET valid_until = 'infinity'$$),
            ($$DELETE FROM payorder.sealed_secrets$$),
            ($$DELETE FROM payorder.purged_orders$$),
            ($$CREATE TABLE payorder.mine ()$$)) AS u (statement);

-- ---- a role that may do one thing can't do another through it
SELECT payorder.add_gateway('g', 'generic', 'm');
SELECT payorder.create_order('P1', 100, 'CNY');

SET LOCAL ROLE payorder_app;
-- pgTAP is not in that role's path
SELECT set_config('payorder_test.a', (payorder.create_order('P2', 100, 'CNY')).state, true);
RESET ROLE;
SELECT is(current_setting('payorder_test.a'), 'pending', 'app creates an order');
SELECT is((SELECT actor FROM payorder.events WHERE order_no = 'P2'), session_user::text,
          'its event names the session''s user');

SET LOCAL ROLE payorder_ingest;
SELECT set_config('payorder_test.a', (payorder.ingest('g', 't1', 'pay', 'P2', 100, 'CNY')).verdict, true);
RESET ROLE;
SELECT is(current_setting('payorder_test.a'), 'applied', 'ingest pays it');

-- sources that a caller can't claim, money edges for no role (75)
SELECT is(pg_temp.outcome('ingest', format($$SELECT payorder.ingest('g', 't2', 'pay', 'P1', 100, 'CNY', source => %L)$$, s)),
          'PO or 22', 'ingest can''t say it is ' || s)
FROM unnest('{bill,operator}'::text[]) AS s;
SELECT is((SELECT (payorder.try_fire('P1', e)).sqlstate), 'PO016', 'fire can''t take ' || e)
FROM unnest('{pay,reopen,close_confirmed,refunded}'::text[]) AS e;
SELECT is(pg_temp.outcome('app', format($$SELECT payorder.fire('P1', %L)$$, e)),
          'clean error', 'neither can app take ' || e)
FROM unnest('{pay,reopen,close_confirmed,refunded}'::text[]) AS e;
-- a person's second decision is another person's, by whichever role it comes
SELECT payorder.set_refund_limits(NULL, NULL, '{"second_person_above": 0}');
SELECT payorder.ingest('g', 't3', 'pay', 'P1', 120, 'CNY');
SET LOCAL ROLE payorder_support;
SELECT set_config('payorder_test.a', (payorder.settle_callback('g', 't3', 'pay', 'keep', 'anna', 'why')).detail, true);
RESET ROLE;
SELECT is(current_setting('payorder_test.a'), 'second_person', 'support decides first');
SELECT is(pg_temp.outcome('admin', $$SELECT payorder.settle_callback('g', 't3', 'pay', 'keep', 'anna', 'why')$$),
          'clean error', 'the same person again, as admin, is refused');
SET LOCAL ROLE payorder_admin;
SELECT set_config('payorder_test.a', (payorder.settle_callback('g', 't3', 'pay', 'keep', 'bert', 'why')).detail, true);
RESET ROLE;
SELECT is(current_setting('payorder_test.a'), 'settled', 'another one agrees');
SELECT bag_eq($$SELECT event, actor FROM payorder.events WHERE order_no = 'P1' AND event ~ '^settle'$$,
              $$VALUES ('settle_proposed', 'anna'), ('settle_callback', 'bert')$$, 'and both are in the log');
-- who sees what waits has all that a decision needs
SET LOCAL ROLE payorder_support;
SELECT set_config('payorder_test.a', count(*)::text, true) FROM payorder.attention;
SELECT set_config('payorder_test.a', count(*)::text, true) FROM payorder.order_money('P1');
RESET ROLE;
SELECT is(current_setting('payorder_test.a'), '2', 'support sees how an order''s money moved');
-- a worker of the outbox reads the log as a consumer
SELECT payorder.create_consumer('outbox', '-infinity');
SET LOCAL ROLE payorder_worker;
SELECT set_config('payorder_test.a', count(*)::text, true) FROM payorder.next_events('outbox');
RESET ROLE;
SELECT is(current_setting('payorder_test.a'), '0', 'worker asks for events, of which none is committed here');
SET LOCAL ROLE payorder_monitor;
SELECT set_config('payorder_test.a', behind::text, true) FROM payorder.consumers;
RESET ROLE;
SELECT cmp_ok(current_setting('payorder_test.a')::integer, '>', 5, 'monitor sees how far behind it is');
-- a kernel's kind of task is for the kernel
SELECT is(pg_temp.outcome('app', format($$SELECT payorder.enqueue(%L, 'P1')$$, k.kind)),
          'PO or 22', 'app can''t enqueue ' || k.kind)
FROM payorder.task_kinds AS k;

SELECT * FROM finish();
ROLLBACK;
