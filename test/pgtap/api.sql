-- The API's contract, as data: a change of the API is a change of a row here.
-- Names, arguments, results, volatility, definer, path, comments; what is
-- registered for dumps; triggers, references; nothing for PUBLIC.  62, 64, 66.
BEGIN;
SELECT no_plan();

-- ---- routines: name, how it runs, result, arguments
-- pinned: SET search_path = pg_catalog, pg_temp
CREATE TEMP TABLE contract (name text, traits text, result text, arguments text);
INSERT INTO contract VALUES
    ('ack_events', 'volatile definer pinned', 'boolean',
        'consumer text, "position" text'),
    ('add_gateway', 'volatile definer pinned lock_timeout=0', 'void',
        $$gateway text, adapter text, merchant_id text, app_scope text DEFAULT ''::text, settings jsonb DEFAULT '{}'::jsonb$$),
    ('adapter_defaults', 'immutable definer pinned', 'jsonb', 'adapter text'),
    ('check_gateway', 'stable definer pinned', 'void', 'gateway text'),
    ('ingest_http', 'volatile definer pinned', 'payorder.http_result',
        'gateway text, headers jsonb, body bytea, query text DEFAULT NULL::text'),
    ('decode_http', 'stable definer pinned', 'SETOF payorder.http_message',
        'gateway text, headers jsonb, body bytea, query text DEFAULT NULL::text, at timestamptz DEFAULT NULL::timestamptz'),
    ('ingest_waiting', 'volatile definer pinned', 'integer', 'gateway text'),
    ('add_gateway_key', 'volatile definer pinned', 'text',
        $$gateway text, key_id text DEFAULT NULL::text, purpose text DEFAULT 'verify'::text, public_key text DEFAULT NULL::text, secret text DEFAULT NULL::text, valid_from timestamptz DEFAULT NULL::timestamptz, valid_until timestamptz DEFAULT NULL::timestamptz$$),
    ('rotate_gateway_key', 'volatile definer pinned', 'text',
        $$gateway text, key_id text DEFAULT NULL::text, purpose text DEFAULT 'verify'::text, public_key text DEFAULT NULL::text, secret text DEFAULT NULL::text, valid_from timestamptz DEFAULT NULL::timestamptz, valid_until timestamptz DEFAULT NULL::timestamptz, overlap interval DEFAULT '7 days'::interval$$),
    ('retire_gateway_key', 'volatile definer pinned', 'void',
        $$gateway text, key_id text, purpose text DEFAULT 'verify'::text, at timestamptz DEFAULT NULL::timestamptz$$),
    ('check_gateway_keys', 'volatile definer pinned', 'integer',
        'gateway text, at timestamptz DEFAULT NULL::timestamptz'),
    ('seal_secret', 'volatile definer pinned', 'void', 'name text, source text'),
    ('reseal_secrets', 'volatile definer pinned', 'integer', 'old_key text'),
    ('drop_secret', 'volatile definer pinned', 'void', 'name text'),
    ('adopt_cluster', 'volatile definer pinned lock_timeout=0', 'void',
        'actor text, reason text'),
    ('allowed_events', 'stable strict definer pinned', 'SETOF text',
        'order_no text'),
    ('alter_gateway', 'volatile definer pinned lock_timeout=0', 'void',
        'gateway text, settings jsonb'),
    ('begin_payment', 'volatile definer pinned', 'payorder.attempt_info',
        'order_no text, gateway text, amount bigint DEFAULT NULL::bigint, expires_at timestamptz DEFAULT NULL::timestamptz, parallel boolean DEFAULT false, actor text DEFAULT NULL::text'),
    ('can_transition', 'stable definer pinned', 'boolean',
        'machine text, from_state text, to_state text, version integer DEFAULT NULL::integer'),
    ('cancel_task', 'volatile definer pinned', 'void',
        'task bigint, actor text, reason text'),
    ('check_invariants', 'stable definer pinned', 'TABLE(invariant text, subject text, detail text)',
        ''),
    ('check_transition', 'volatile', 'trigger',
        ''),
    ('claim', 'volatile definer pinned enable_seqscan=off enable_bitmapscan=off enable_hashjoin=off enable_mergejoin=off plan_cache_mode=force_generic_plan', 'SETOF payorder.task_info',
        'kinds text[] DEFAULT NULL::text[], max_tasks integer DEFAULT 1, lease interval DEFAULT NULL::interval, worker text DEFAULT NULL::text, gateways text[] DEFAULT NULL::text[]'),
    ('claim_for_handler', 'volatile definer pinned', 'record',
        'worker text DEFAULT NULL::text, OUT task bigint, OUT token bigint'),
    ('complete', 'volatile definer pinned', 'SETOF payorder.ingest_result',
        'task bigint, token bigint, result json DEFAULT NULL::json'),
    ('complete_batch', 'volatile definer pinned', 'bigint[]',
        'tasks bigint[], tokens bigint[], results json[] DEFAULT NULL::json[]'),
    ('consumer_lag', 'stable definer pinned enable_seqscan=off enable_bitmapscan=off plan_cache_mode=force_generic_plan jit=off', 'record',
        'consumer text, OUT "position" text, OUT behind integer, OUT oldest_at timestamptz'),
    ('consumers_behind', 'stable strict definer pinned enable_seqscan=off enable_bitmapscan=off plan_cache_mode=force_generic_plan jit=off', 'SETOF text',
        'slot integer'),
    ('create_consumer', 'volatile definer pinned enable_seqscan=off plan_cache_mode=force_generic_plan jit=off', 'boolean',
        'consumer text, at timestamptz DEFAULT NULL::timestamptz'),
    ('create_order', 'volatile definer pinned', 'payorder.order_info',
        $$order_no text, amount bigint, currency text, machine text DEFAULT 'order'::text, items jsonb DEFAULT NULL::jsonb, attributes jsonb DEFAULT NULL::jsonb, pay_within interval DEFAULT NULL::interval, cooling_off interval DEFAULT NULL::interval$$),
    ('create_roles', 'volatile pinned', 'SETOF text',
        ''),
    ('define_machine', 'volatile strict definer pinned', 'integer',
        'name text, definition json'),
    ('define_task_kind', 'volatile pinned', 'void',
        $$kind text, lease interval DEFAULT '00:01:00'::interval, max_attempts integer DEFAULT 20, backoff_base interval DEFAULT '00:00:01'::interval, backoff_max interval DEFAULT '01:00:00'::interval, backoff_list interval[] DEFAULT NULL::interval[], handler text DEFAULT NULL::text$$),
    ('drop_consumer', 'volatile definer pinned', 'boolean',
        'consumer text'),
    ('enqueue', 'volatile definer pinned', 'bigint',
        $$kind text, order_no text DEFAULT NULL::text, payload json DEFAULT '{}'::json, run_at timestamptz DEFAULT NULL::timestamptz, dedup_key text DEFAULT NULL::text$$),
    ('enqueue_batch', 'volatile definer pinned', 'bigint[]',
        'kind text, payloads json[], order_nos text[] DEFAULT NULL::text[], run_at timestamptz DEFAULT NULL::timestamptz'),
    ('event_digest', 'stable definer pinned enable_seqscan=off enable_bitmapscan=off plan_cache_mode=force_generic_plan jit=off', 'payorder.log_digest',
        'from_mark text DEFAULT NULL::text, to_mark text DEFAULT NULL::text'),
    ('fail', 'volatile definer pinned', 'text',
        'task bigint, token bigint, error text, retryable boolean DEFAULT true'),
    ('fire', 'volatile definer pinned', 'payorder.order_info',
        'order_no text, event text, actor text DEFAULT NULL::text, reason text DEFAULT NULL::text, payload json DEFAULT NULL::json, expected_version bigint DEFAULT NULL::bigint, request_id text DEFAULT NULL::text'),
    ('format_amount', 'stable definer pinned', 'text',
        'amount bigint, currency text, gateway text DEFAULT NULL::text'),
    ('guard', 'volatile pinned', 'integer',
        'relation regclass, state_column text, machine text, key_column text DEFAULT NULL::text, log boolean DEFAULT false'),
    ('guard_of', 'stable strict definer pinned', 'record',
        'trigger_id oid, OUT state_column text, OUT machine text, OUT version integer, OUT key_column text, OUT log boolean'),
    ('heartbeat', 'volatile definer pinned', 'timestamptz',
        'task bigint, token bigint, lease interval DEFAULT NULL::interval'),
    ('ingest', 'volatile definer pinned', 'payorder.ingest_result',
        $$gateway text, txn_id text, event text, order_no text DEFAULT NULL::text, amount bigint DEFAULT NULL::bigint, currency text DEFAULT NULL::text, occurred_at timestamptz DEFAULT NULL::timestamptz, payload json DEFAULT NULL::json, source text DEFAULT 'callback'::text, payment_txn text DEFAULT NULL::text, refund_no text DEFAULT NULL::text, amount_is_total boolean DEFAULT false$$),
    ('ingest_batch', 'volatile definer pinned', 'SETOF payorder.batch_result', 'messages json'),
    ('is_copy', 'stable definer pinned', 'boolean',
        ''),
    ('export_machine', 'stable definer pinned', 'json',
        'name text, version integer DEFAULT NULL::integer'),
    ('machine_diagram', 'stable definer pinned', 'text',
        $$name text, format text DEFAULT 'mermaid'::text, version integer DEFAULT NULL::integer$$),
    ('next_due', 'stable definer pinned', 'timestamptz',
        ''),
    ('next_events', 'volatile definer pinned enable_seqscan=off enable_bitmapscan=off plan_cache_mode=force_generic_plan jit=off', 'SETOF payorder.event_info',
        'consumer text, max_events integer DEFAULT 1000'),
    ('note_installation', 'volatile definer pinned', 'void',
        ''),
    ('order_columns_changed', 'volatile definer pinned', 'trigger',
        ''),
    ('order_money', 'stable strict definer pinned', 'TABLE(gateway text, txn_id text, currency text, step bigint, at timestamptz, event text, reason text, actor text, moved json, kept bigint, review bigint, owed bigint, "returning" bigint, returned bigint, disputed bigint, undone bigint, overdrawn bigint)',
        'order_no text'),
    ('order_state_changed', 'volatile definer pinned', 'trigger',
        ''),
    ('parse_amount', 'stable definer pinned', 'bigint',
        'amount text, currency text, gateway text DEFAULT NULL::text'),
    ('pause_gateway', 'volatile definer pinned lock_timeout=0', 'void',
        'gateway text, actor text, reason text'),
    ('refuse_change', 'volatile', 'trigger',
        ''),
    ('refuse_row_change', 'volatile', 'trigger',
        ''),
    ('reprice_order', 'volatile definer pinned', 'payorder.order_info',
        'order_no text, amount bigint, actor text, reason text'),
    ('requery', 'volatile definer pinned', 'integer',
        'since timestamptz, gateway text DEFAULT NULL::text'),
    ('request_refund', 'volatile definer pinned', 'payorder.refund_info',
        'refund_no text, order_no text, amount bigint DEFAULT NULL::bigint, reason text DEFAULT NULL::text, payment text DEFAULT NULL::text, currency text DEFAULT NULL::text, gateway text DEFAULT NULL::text, actor text DEFAULT NULL::text'),
    ('request_refunds', 'volatile definer pinned', 'SETOF payorder.refund_info',
        'refund_no text, order_no text, amount bigint DEFAULT NULL::bigint, reason text DEFAULT NULL::text, actor text DEFAULT NULL::text'),
    ('resume_gateway', 'volatile definer pinned lock_timeout=0', 'void',
        'gateway text, actor text, reason text'),
    ('retry_callback', 'volatile definer pinned', 'void',
        'gateway text, txn_id text, event text, actor text, reason text'),
    ('retry_dead', 'volatile definer pinned', 'void',
        'task bigint, actor text, reason text'),
    ('retry_order', 'volatile definer pinned', 'integer',
        'order_no text, actor text, reason text'),
    ('migrate_orders', 'procedure', '',
        'IN name text, IN from_version integer, IN to_version integer, IN reason text DEFAULT NULL::text, IN batch integer DEFAULT 1000, INOUT moved bigint DEFAULT 0'),
    ('purge', 'procedure', '',
        $$IN older_than interval, IN archive boolean DEFAULT false, IN batch integer DEFAULT 1000, IN longest interval DEFAULT '01:00:00'::interval, INOUT orders bigint DEFAULT 0, INOUT tasks bigint DEFAULT 0, INOUT freed integer DEFAULT 0, INOUT held_by text DEFAULT NULL::text$$),
    ('purge_some', 'volatile definer pinned enable_seqscan=off enable_bitmapscan=off plan_cache_mode=force_generic_plan jit=off TimeZone=UTC DateStyle=ISO, YMD bytea_output=hex', 'payorder.purge_counts',
        'older_than interval, "position" text DEFAULT NULL::text, max_orders integer DEFAULT 1000, archive boolean DEFAULT false, at timestamptz DEFAULT now()'),
    ('run_handler', 'volatile definer pinned', 'text',
        'task bigint, token bigint'),
    ('run_sweeps', 'procedure', '',
        $$IN batch integer DEFAULT 100, IN longest interval DEFAULT '00:00:50'::interval$$),
    ('schedule', 'volatile definer pinned', 'bigint',
        $$schedule text DEFAULT '* * * * *'::text$$),
    ('seek_events', 'volatile definer pinned enable_seqscan=off plan_cache_mode=force_generic_plan jit=off', 'bigint',
        'consumer text, at timestamptz DEFAULT NULL::timestamptz, first_id bigint DEFAULT NULL::bigint'),
    ('set_refund_limits', 'volatile definer pinned lock_timeout=0', 'void',
        'gateway text, machine text, limits jsonb'),
    ('migrate_order', 'volatile definer pinned', 'boolean',
        'order_no text, from_id integer, to_id integer, refused text[], reason text'),
    ('migrate_some', 'volatile definer pinned', 'text[]',
        'name text, from_version integer, to_version integer, reason text, after text, max_orders integer'),
    ('set_task_limit', 'volatile definer pinned lock_timeout=0', 'void',
        'gateway text DEFAULT NULL::text, kind text DEFAULT NULL::text, max_running integer DEFAULT NULL::integer'),
    ('settle_callback', 'volatile definer pinned', 'payorder.ingest_result',
        'gateway text, txn_id text, event text, decision text, actor text, reason text, order_no text DEFAULT NULL::text'),
    ('settle_refund', 'volatile definer pinned', 'payorder.refund_info',
        'refund_no text, decision text, actor text, reason text'),
    ('sides_of_machines', 'stable definer pinned', 'TABLE(machine_id integer, state text, paid boolean, unpaid boolean)',
        ''),
    ('start_worker', 'volatile strict definer pinned', 'integer',
        ''),
    ('stop_worker', 'volatile definer pinned', 'boolean',
        ''),
    ('sweep', 'volatile definer pinned', 'payorder.sweep_counts',
        'batch integer DEFAULT 100, at timestamptz DEFAULT now()'),
    ('try_fire', 'volatile definer pinned', 'payorder.fire_result',
        'order_no text, event text, actor text DEFAULT NULL::text, reason text DEFAULT NULL::text, payload json DEFAULT NULL::json, expected_version bigint DEFAULT NULL::bigint, request_id text DEFAULT NULL::text'),
    ('unguard', 'volatile pinned', 'void',
        'relation regclass, state_column text'),
    ('unschedule', 'volatile definer pinned', 'boolean',
        ''),
    ('verify_events', 'stable strict definer pinned', 'payorder.event_check',
        'order_no text');

SELECT bag_eq($test$
    SELECT format('%s: %s -> %s (%s)', p.proname,
           concat_ws(' ', CASE p.prokind WHEN 'p' THEN 'procedure' ELSE
                            CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END END,
                     CASE WHEN p.proisstrict THEN 'strict' END,
                     CASE WHEN p.prosecdef THEN 'definer' END,
                     replace(array_to_string(p.proconfig, ' '), 'search_path=pg_catalog, pg_temp', 'pinned')),
           replace(coalesce(pg_get_function_result(p.oid), ''), 'timestamp with time zone', 'timestamptz'),
           replace(pg_get_function_arguments(p.oid), 'timestamp with time zone', 'timestamptz')) COLLATE "C"
    FROM pg_proc AS p WHERE p.pronamespace = 'payorder'::regnamespace$test$,
    $test$SELECT format('%s: %s -> %s (%s)', name, traits, result, arguments) COLLATE "C" FROM contract$test$,
    'the routines are those of the contract');

SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc AS p
    WHERE p.pronamespace = 'payorder'::regnamespace AND p.proparallel <> 'u'$$,
    'none is called in a parallel worker');
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc AS p
    WHERE p.pronamespace = 'payorder'::regnamespace AND NOT p.prosecdef
      AND p.proname NOT IN ('refuse_change', 'refuse_row_change', 'run_sweeps', 'migrate_orders', 'purge', 'create_roles', 'guard', 'unguard', 'check_transition', 'define_task_kind')$$,
    'all are definers but the triggers that only refuse, the procedure that commits, what makes roles and what is done to users'' tables and functions');
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc AS p
    WHERE p.pronamespace = 'payorder'::regnamespace AND p.prosecdef
      AND (p.proconfig[1] = 'search_path=pg_catalog, pg_temp') IS NOT TRUE$$,
    'every definer pins its search_path');
SELECT is_empty($$
    SELECT proname FROM pg_proc WHERE pronamespace = 'payorder'::regnamespace
    GROUP BY 1 HAVING count(*) > 1$$,
    'no name is overloaded');
SELECT is_empty($$
    SELECT p.oid::regprocedure, a.name
    FROM pg_proc AS p CROSS JOIN LATERAL unnest(p.proargnames, p.proargmodes) AS a (name, mode)
    JOIN pg_get_keywords() AS k ON k.word = a.name AND k.catcode = 'R'
    WHERE p.pronamespace = 'payorder'::regnamespace AND coalesce(a.mode, 'i') NOT IN ('o', 't')$$,
    'no argument is named by a reserved word');
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc AS p
    WHERE p.pronamespace = 'payorder'::regnamespace AND p.pronargs > 0
      AND (p.proargnames IS NULL OR '' = ANY (p.proargnames))$$,
    'every argument has a name');
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc AS p
    WHERE p.pronamespace = 'payorder'::regnamespace
      AND (obj_description(p.oid, 'pg_proc') IS NULL OR length(obj_description(p.oid, 'pg_proc')) < 20)$$,
    'every routine has a comment');

-- ---- composite types and views: they only grow
CREATE TEMP TABLE columns_contract (name text, columns text);
INSERT INTO columns_contract VALUES
    ('attempt_info',
        'payment_no text, order_no text, gateway text, amount bigint, currency text, state text,
         expires_at timestamptz, created_at timestamptz'),
    ('attention',
        'kind text, subject text, cause text, amount bigint, currency text, order_no text, gateway
         text, txn_id text, event text, refund_no text, age interval, task bigint, decisions
         text[], first_actor text, first_decision text'),
    ('consumers',
        'consumer text, position text, behind integer, oldest_at timestamptz, lag interval,
         acked_at timestamptz, created_at timestamptz'),
    ('event_check',
        'order_no text, events integer, ok boolean, broken_seq integer, problem text'),
    ('event_info',
        'position text, id bigint, order_no text, seq integer, event text, from_state text,
         to_state text, actor text, source text, reason text, payload json, request_id text,
         trace text, gateway text, txn_id text, at timestamptz, hash bytea'),
    ('fire_result',
        'changed boolean, state text, sqlstate text, message text'),
    ('batch_result',
        'number integer, verdict text, first_verdict text, order_no text, state text, paid boolean, detail text, ack_status integer, ack_type text, ack_body text, sqlstate text, message text'),
    ('http_result',
        'ack_status integer, ack_type text, ack_body text, results payorder.ingest_result[]'),
    ('http_message',
        'number integer, verdict text, detail text, event text, txn_id text, order_no text, amount bigint,
         currency text, payment_txn text, refund_no text, amount_is_total boolean, occurred_at timestamptz,
         payload json, noteworthy boolean'),
    ('quarantine',
        'gateway text, number bigint, reason text, body_size bigint, body_sha256 bytea, headers json, received_at timestamptz'),
    ('ignored_messages',
        'gateway text, number bigint, type text, body json, body_sha256 bytea, headers json, received_at timestamptz'),
    ('gateway_messages',
        'gateway text, verdict text, reason text, day date, messages bigint'),
    ('guarded',
        'relation regclass, state_column text, machine text, version integer, key_column text, log
         boolean, enabled boolean'),
    ('ingest_result',
        'verdict text, first_verdict text, order_no text, state text, paid boolean, detail text,
         ack_status integer, ack_type text, ack_body text'),
    ('log_digest',
        'from_mark text, to_mark text, events bigint, first_id bigint, last_id bigint, digest bytea'),
    ('money_balance',
        'gateway text, currency character(3), day date, payments bigint, received numeric, kept
         numeric, waiting numeric, returned numeric, disputed numeric, undone numeric, overdrawn
         numeric, review numeric, owed numeric, returning numeric'),
    ('order_info',
        'order_no text, machine text, machine_version integer, state text, amount bigint, currency
         text, paid_amount bigint, refunding_amount bigint, refunded_amount bigint, disputed_amount
         bigint, overdrawn_amount bigint, frozen boolean, version bigint, pay_by timestamptz,
         cooling_off interval, created_at timestamptz, updated_at timestamptz, closed_at
         timestamptz'),
    ('order_overview',
        'order_no text, machine text, machine_version integer, state text, payment_status text,
         amount bigint, currency character(3), paid_amount bigint, refunding_amount bigint,
         refunded_amount bigint, disputed_amount bigint, overdrawn_amount bigint, frozen boolean,
         pay_by timestamptz, created_at timestamptz, updated_at timestamptz, closed_at timestamptz,
         attributes jsonb'),
    ('purge_counts',
        'position text, looked_at integer, orders bigint, callbacks bigint, tasks bigint, failed integer,
         freed integer, carried integer, held_by text'),
    ('refund_info',
        'refund_no text, order_no text, gateway text, payment text, amount bigint, currency text,
         cause text, state text, requested_at timestamptz, succeeded_at timestamptz'),
    ('sweep_counts',
        'timers integer, void_timers integer, leases integer, callbacks integer, tasks integer,
         failed integer, more boolean'),
    ('task_limits',
        'scope text, name text, max_running bigint, running bigint'),
    ('task_info',
        'task bigint, token bigint, kind text, order_no text, gateway text, adapter text,
         merchant_id text, idempotency_key text, attempt integer, first_tried_at timestamptz,
         not_after timestamptz, leased_until timestamptz, trace text, payload json');

SELECT bag_eq($test$
    SELECT format('%s: %s', c.relname,
           replace(string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum),
                   'timestamp with time zone', 'timestamptz')) COLLATE "C"
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'payorder'::regnamespace AND c.relkind IN ('c', 'v')
    GROUP BY c.relname$test$,
    $test$SELECT format('%s: %s', name, regexp_replace(columns, '\s+', ' ', 'g')) COLLATE "C" FROM columns_contract$test$,
    'the composite types and views have the columns of the contract');
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_class AS c ON c.reltype = p.prorettype
    WHERE p.pronamespace = 'payorder'::regnamespace AND c.relkind <> 'c'$$,
    'no function returns a row of a table');

-- ---- relations
SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class AS c
    WHERE c.relnamespace = 'payorder'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
      AND NOT c.relispartition AND coalesce(obj_description(c.oid, 'pg_class'), '') = ''$$,
    'every table and view has a comment');
SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class AS c
    WHERE c.relnamespace = 'payorder'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
      AND NOT EXISTS (SELECT FROM pg_depend AS d JOIN pg_extension AS x ON x.oid = d.refobjid
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
                        AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'payorder')$$,
    'every relation of the schema is the extension''s');
SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class AS c
    WHERE c.relnamespace = 'payorder'::regnamespace AND c.relpersistence <> 'p'$$,
    'nothing is unlogged');
SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class AS c
    WHERE c.relnamespace = 'payorder'::regnamespace AND c.relkind IN ('r', 'p')
      AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisunique)$$,
    'every table has a key');

-- ---- dumps: all data is registered, seeded rows are left out
SELECT is_empty($$
    SELECT c.oid::regclass
    FROM pg_class AS c
    WHERE c.relnamespace = 'payorder'::regnamespace AND c.relkind IN ('r', 'S')
      AND c.oid <> ALL (SELECT unnest(extconfig) FROM pg_extension WHERE extname = 'payorder')$$,
    'every table and sequence is registered with pg_extension_config_dump');
SELECT bag_eq($$
    SELECT format('%s %s', u.t::regclass, u.c) COLLATE "C"
    FROM pg_extension AS x, unnest(x.extconfig, x.extcondition) AS u (t, c)
    WHERE x.extname = 'payorder' AND u.c <> ''$$,
    $$VALUES ('payorder.currencies WHERE NOT builtin' COLLATE "C"),
             ('payorder.gateways WHERE NOT builtin'),
             ('payorder.machines WHERE id >= 100'),
             ('payorder.state_timers WHERE machine_id >= 100'),
             ('payorder.states WHERE machine_id >= 100'),
             ('payorder.task_kinds WHERE id >= 100'),
             ('payorder.transitions WHERE machine_id >= 100')$$,
    'seeded rows, and only those, are filtered');
SELECT is_empty($$
    SELECT 'machines', id::text FROM payorder.machines WHERE id >= 100
    UNION ALL SELECT 'task_kinds', id::text FROM payorder.task_kinds WHERE id >= 100
    UNION ALL SELECT 'gateways', gateway FROM payorder.gateways WHERE NOT builtin
    UNION ALL SELECT 'currencies', currency FROM payorder.currencies WHERE NOT builtin
    UNION ALL SELECT 'installation', salt::text FROM payorder.installation$$,
    'what is installed is seeded, and would not be dumped');
SELECT results_eq(
    $$SELECT nextval('payorder.machine_ids'), nextval('payorder.task_kind_ids')$$,
    $$VALUES (100::bigint, 100::bigint)$$,
    'users'' ids start at 100');
SELECT is_empty($$
    SELECT conrelid::regclass, conname FROM pg_constraint
    WHERE connamespace = 'payorder'::regnamespace AND contype = 'f'$$,
    'there are no foreign keys');

-- ---- triggers
SELECT is_empty($$
    SELECT tgrelid::regclass, tgname FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'payorder'::regnamespace AND t.tgtype & 4 <> 0$$,
    'no trigger fires on INSERT, or a restore would');
SELECT is_empty($$
    SELECT tgrelid::regclass, tgname FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'payorder'::regnamespace AND t.tgtype & 1 <> 0
      AND (t.tgqual IS NULL OR t.tgtype & 2 <> 0)$$,
    'every row trigger is an AFTER trigger with WHEN');
SELECT is_empty($$
    SELECT tgrelid::regclass, tgname FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'payorder'::regnamespace AND (t.tgenabled <> 'O' OR cardinality(t.tgattr::smallint[]) > 0)$$,
    'all triggers are enabled, and none relies on UPDATE OF');

-- what is refused by whom: D delete, T truncate, U update, as a statement
CREATE TEMP TABLE guarded (name text, refused text);
INSERT INTO guarded VALUES
    ('attempts', 'DTU'), ('callback_conflicts', 'DTU'), ('callbacks', 'DTU'), ('events', 'DTU'),
    ('guard_events', 'DTU'), ('machines', 'DTU'), ('orders', 'DT'), ('payments', 'DTU'), ('refunds', 'DTU'), ('state_timers', 'DTU'),
    ('states', 'DTU'), ('transitions', 'DTU'), ('purged_orders', 'DTU'), ('events_freed', 'DTU');
SELECT bag_eq($$
    SELECT format('%s %s', c.relname,
                  concat(CASE WHEN bit_or(t.tgtype) & 8 <> 0 THEN 'D' END,
                         CASE WHEN bit_or(t.tgtype) & 32 <> 0 THEN 'T' END,
                         CASE WHEN bit_or(t.tgtype) & 16 <> 0 THEN 'U' END)) COLLATE "C"
    FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
    WHERE t.tgfoid = 'payorder.refuse_change'::regproc AND t.tgtype & 1 = 0 AND t.tgtype & 2 <> 0
    GROUP BY c.relname$$,
    $$SELECT format('%s %s', name, refused) COLLATE "C" FROM guarded
      UNION ALL SELECT format('events_%s DTU', lpad(n::text, 2, '0')) FROM generate_series(0, 63) AS n$$,
    'tables that keep history refuse to lose it, each partition too');

-- they do refuse, whoever asks
SELECT throws_ok(format(q.statement, r.relation), '42501', NULL, format(q.statement, r.relation))
FROM (SELECT name, refused FROM guarded UNION ALL VALUES ('events_07', 'DTU')) AS g,
    LATERAL (SELECT 'payorder.' || g.name AS relation) AS r,
    (VALUES ('D', 'DELETE FROM %s'), ('T', 'TRUNCATE %s')) AS q (letter, statement)
WHERE strpos(g.refused, q.letter) > 0;
SELECT throws_ok(format('UPDATE payorder.%I SET %I = %I', g.name, a.attname, a.attname), '42501', NULL,
                 'UPDATE of ' || g.name)
FROM (SELECT name, refused FROM guarded UNION ALL VALUES ('events_07', 'DTU')) AS g
JOIN pg_attribute AS a ON a.attrelid = ('payorder.' || g.name)::regclass AND a.attnum = 1
WHERE strpos(g.refused, 'U') > 0;

-- ---- the ring
SELECT bag_eq($$
    SELECT format('%s %s', c.relname, pg_get_expr(c.relpartbound, c.oid)) COLLATE "C"
    FROM pg_class AS c JOIN pg_inherits AS i ON i.inhrelid = c.oid
    WHERE i.inhparent = 'payorder.events'::regclass$$,
    $$SELECT format($f$events_%s FOR VALUES IN ('%s')$f$, lpad(n::text, 2, '0'), n) COLLATE "C"
      FROM generate_series(0, 63) AS n$$,
    'the log is a ring of 64 partitions');

-- ---- PUBLIC has nothing
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc AS p
    WHERE p.pronamespace = 'payorder'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE')$$,
    'no routine is for PUBLIC');
SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class AS c
    WHERE c.relnamespace = 'payorder'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
      AND (has_table_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
           OR has_any_column_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))$$,
    'no table is for PUBLIC');
SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class AS c
    WHERE c.relnamespace = 'payorder'::regnamespace
      AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege('public', c.oid, 'USAGE, SELECT, UPDATE') END$$,
    'no sequence is for PUBLIC');
SELECT ok(NOT has_schema_privilege('public', 'payorder', 'USAGE, CREATE'), 'the schema is not for PUBLIC');

-- ---- the extension itself
SELECT results_eq($$
    SELECT v.relocatable, v.superuser, v.trusted, v.schema = 'pg_catalog', v.requires IS NULL
    FROM pg_extension AS x
    JOIN pg_available_extension_versions AS v ON v.name = x.extname AND v.version = x.extversion
    WHERE x.extname = 'payorder'$$,
    $$VALUES (false, true, false, true, true)$$,
    'the control file says what the design says');

SELECT * FROM finish();
ROLLBACK;
