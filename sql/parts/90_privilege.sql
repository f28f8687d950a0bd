/* ---- who may do what ---- */

CREATE FUNCTION payorder.create_roles()
    RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    role text;
    routine text;
    columns text;
    rights CONSTANT jsonb := '{
        "payorder_app": ["create_order", "begin_payment", "fire", "try_fire", "allowed_events",
                         "can_transition", "request_refund", "request_refunds", "reprice_order", "enqueue", "enqueue_batch",
                         "machine_diagram", "export_machine", "parse_amount", "format_amount"],
        "payorder_gateway": ["ingest_http"],
        "payorder_ingest": ["ingest", "ingest_batch", "parse_amount", "format_amount"],
        "payorder_worker": ["claim", "complete", "complete_batch", "fail", "heartbeat", "sweep", "run_sweeps", "claim_for_handler", "run_handler", "next_due",
                            "next_events", "ack_events", "parse_amount", "format_amount"],
        "payorder_support": ["allowed_events", "can_transition", "verify_events", "machine_diagram", "export_machine",
                             "guard_of", "retry_order", "retry_callback", "retry_dead", "cancel_task", "settle_callback", "settle_refund",
                             "request_refund", "request_refunds", "reprice_order", "order_money", "is_copy",
                             "consumer_lag", "event_digest", "parse_amount", "format_amount"],
        "payorder_admin": ["define_machine", "machine_diagram", "export_machine", "allowed_events", "can_transition", "guard", "unguard",
                           "check_transition", "guard_of", "add_gateway", "alter_gateway",
                           "adapter_defaults", "check_gateway", "decode_http", "ingest_waiting",
                           "add_gateway_key", "rotate_gateway_key", "retire_gateway_key", "check_gateway_keys",
                           "seal_secret", "reseal_secrets", "drop_secret",
                           "pause_gateway", "resume_gateway", "define_task_kind", "set_task_limit", "migrate_orders", "migrate_some", "purge", "purge_some", "start_worker",
                           "stop_worker", "schedule", "unschedule", "check_invariants", "sides_of_machines",
                           "verify_events", "retry_order", "retry_callback", "retry_dead", "cancel_task", "settle_callback",
                           "settle_refund", "request_refund", "request_refunds", "reprice_order", "order_money",
                           "set_refund_limits", "adopt_cluster", "is_copy", "requery", "create_consumer",
                           "drop_consumer", "seek_events", "consumer_lag", "consumers_behind", "event_digest",
                           "parse_amount", "format_amount"],
        "payorder_monitor": ["check_invariants", "sides_of_machines", "next_due", "is_copy", "guard_of", "consumer_lag"]}';
    readable CONSTANT jsonb := '{
        "payorder_app": ["order_overview"],
        "payorder_gateway": [],
        "payorder_ingest": [],
        "payorder_worker": [],
        "payorder_support": ["order_overview", "attention", "money_balance", "consumers", "orders", "purged_orders", "events", "attempts",
                             "payments", "refunds", "refund_limits", "machines", "states", "transitions", "state_timers",
                             "guarded", "guard_events", "quarantine", "ignored_messages", "gateway_messages"],
        "payorder_admin": ["order_overview", "attention", "money_balance", "consumers", "guarded", "task_limits", "purged_orders", "events_freed", "gateways", "gateway_keys", "sealed_secrets", "currencies",
                           "refund_limits", "task_kinds", "machines", "states", "transitions", "state_timers",
                           "quarantine", "ignored_messages", "gateway_messages"],
        "payorder_monitor": ["attention", "money_balance", "consumers", "guarded", "task_limits", "gateway_messages"]}';
    -- of what is readable, the columns, where not all are
    some_columns CONSTANT jsonb := '{
        "payorder_admin": {"sealed_secrets": "name, key_check, sealed_at, sealed_by"},
        "payorder_monitor": {"attention": "kind, cause, amount, currency, gateway, event, age, decisions"}}';
BEGIN
    FOR role IN SELECT k FROM jsonb_object_keys(rights) AS k ORDER BY k LOOP
        IF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            RETURN NEXT role;
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA payorder TO %I', role);
        FOR routine IN
            SELECT p.oid::regprocedure::text
            FROM jsonb_array_elements_text(rights -> role) AS f (name)
            JOIN pg_proc AS p ON p.proname = f.name
            WHERE p.pronamespace = 'payorder'::regnamespace
            ORDER BY 1
        LOOP
            EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', routine, role);
        END LOOP;
        FOR routine IN SELECT v FROM jsonb_array_elements_text(readable -> role) AS v LOOP
            columns := some_columns -> role ->> routine;
            EXECUTE format('GRANT SELECT %s ON payorder.%I TO %I', '(' || columns || ')', routine, role);
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION payorder.create_roles() IS
'creates the roles payorder_app, _gateway, _ingest, _worker, _support, _admin and _monitor where they are missing, gives them their rights, and returns those it created; for who may create roles and owns the extension''s objects. Errors: 42501.';

/*
 * Last, when all is there: only the owner has a right to anything.  What takes
 * it away is what PUBLIC has by itself, and what default privileges of the one
 * who installs have given to anybody.  Types keep what the server gives PUBLIC:
 * without the schema nobody can name them, and of an extension's types pg_dump
 * cannot keep it (it warns of each).
 */
DO $revoke$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        WITH given (kind, name, owner, acl) AS (
            SELECT 'SCHEMA', n.oid::regnamespace::text, n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner))
            FROM pg_namespace AS n WHERE n.nspname = 'payorder'
            UNION ALL
            SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass::text, c.relowner, c.relacl
            FROM pg_class AS c WHERE c.relnamespace = 'payorder'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
            UNION ALL
            SELECT 'ROUTINE', p.oid::regprocedure::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
            FROM pg_proc AS p WHERE p.pronamespace = 'payorder'::regnamespace)
        SELECT DISTINCT format('REVOKE ALL ON %s %s FROM %s', g.kind, g.name,
                               CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
        FROM given AS g, aclexplode(g.acl) AS a
        WHERE a.grantee <> g.owner
    LOOP
        EXECUTE statement;
    END LOOP;
END
$revoke$;
