/* ---- room task: queue and leases ---- */

CREATE SEQUENCE payorder.task_kind_ids AS integer START 100;
SELECT pg_catalog.pg_extension_config_dump('payorder.task_kind_ids', '');
CREATE SEQUENCE payorder.task_ids;
SELECT pg_catalog.pg_extension_config_dump('payorder.task_ids', '');
CREATE SEQUENCE payorder.lease_tokens;
SELECT pg_catalog.pg_extension_config_dump('payorder.lease_tokens', '');

CREATE TABLE payorder.task_kinds (
    id integer PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,
    worked_by text COLLATE "C" NOT NULL DEFAULT 'client'
        CHECK (worked_by IN ('client', 'kernel', 'person', 'handler')),
    money_out boolean NOT NULL DEFAULT false,
    handler text,
    handler_owner name,
    lease interval NOT NULL DEFAULT '1 minute',
    max_attempts integer NOT NULL DEFAULT 20 CHECK (max_attempts > 0),
    backoff_base interval NOT NULL DEFAULT '1 second',
    backoff_max interval NOT NULL DEFAULT '1 hour',
    backoff_list interval[],
    CHECK ((worked_by = 'handler') = (handler IS NOT NULL) AND (handler IS NULL) = (handler_owner IS NULL))
);
COMMENT ON TABLE payorder.task_kinds IS
'kinds of tasks; ids below 100 are the kernel''s; of two rows of one kind the higher id counts';
COMMENT ON COLUMN payorder.task_kinds.handler IS
'the function of one argument payorder.task_info that does the kind''s tasks, with its schema; resolved and checked when it is called';
COMMENT ON COLUMN payorder.task_kinds.handler_owner IS
'whose it was when the kind was defined; one that is another role''s now is not called';
SELECT pg_catalog.pg_extension_config_dump('payorder.task_kinds', 'WHERE id >= 100');
CREATE UNIQUE INDEX task_kinds_kind ON payorder.task_kinds (kind, (id >= 100));

INSERT INTO payorder.task_kinds (id, kind, worked_by, money_out, max_attempts, backoff_list) VALUES
    (1, 'query_payment', 'client', false, 12, NULL),
    (2, 'close_payment', 'client', false, 20, NULL),
    (3, 'refund', 'client', true, 20, NULL),
    (4, 'query_refund', 'client', false, 11, '{10 min,1 hour,6 hours,1 day,1 day,1 day,1 day,1 day,1 day,1 day}'),
    (5, 'return', 'client', false, 20, NULL),
    (6, 'refund_all', 'kernel', false, 20, NULL),
    (7, 'review', 'person', false, 1, NULL);

CREATE TABLE payorder.tasks (
    id bigint PRIMARY KEY DEFAULT pg_catalog.nextval('payorder.task_ids'),
    kind text COLLATE "C" NOT NULL,
    order_no text COLLATE "C",
    gateway text COLLATE "C",
    idempotency_key text COLLATE "C",
    dedup_key text COLLATE "C",
    payload json NOT NULL,
    not_after timestamptz,
    trace text,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE payorder.tasks IS
'bodies of tasks, immutable; where a task is: task_ready, task_leases, task_dead or task_finished';
SELECT pg_catalog.pg_extension_config_dump('payorder.tasks', '');
CREATE INDEX tasks_order ON payorder.tasks (order_no) WHERE order_no IS NOT NULL;

CREATE TABLE payorder.task_ready (
    task_id bigint PRIMARY KEY,
    run_at timestamptz NOT NULL,
    kind text COLLATE "C" NOT NULL,
    gateway text COLLATE "C",
    attempts integer NOT NULL DEFAULT 0,
    first_tried_at timestamptz,
    error text,
    handled boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE payorder.task_ready IS
'tasks that wait for their time and a worker; run_at infinity: for a person';
COMMENT ON COLUMN payorder.task_ready.handled IS
'it is of a kind with a handler: not for claim(); a kind has one from its first definition on, or never';
SELECT pg_catalog.pg_extension_config_dump('payorder.task_ready', '');
/* Neither those who claim nor those who run handlers pass over the others' tasks. */
CREATE INDEX task_ready_run_at ON payorder.task_ready (run_at, task_id) WHERE NOT handled;
CREATE INDEX task_ready_handled ON payorder.task_ready (run_at, task_id) WHERE handled;
CREATE INDEX task_ready_refund ON payorder.task_ready (first_tried_at)
    WHERE kind = 'refund' AND first_tried_at IS NOT NULL;

CREATE TABLE payorder.task_leases (
    task_id bigint PRIMARY KEY,
    token bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    gateway text COLLATE "C",
    worker text NOT NULL,
    attempts integer NOT NULL,
    first_tried_at timestamptz NOT NULL,
    leased_at timestamptz NOT NULL,
    leased_until timestamptz NOT NULL,
    gateway_slot integer,
    kind_slot integer
);
COMMENT ON TABLE payorder.task_leases IS
'tasks that a worker holds until leased_until; token proves it';
COMMENT ON COLUMN payorder.task_leases.gateway_slot IS 'which of the gateway''s task_slots it takes; NULL: not limited';
COMMENT ON COLUMN payorder.task_leases.kind_slot IS 'which of the kind''s task_slots it takes; NULL: not limited';
SELECT pg_catalog.pg_extension_config_dump('payorder.task_leases', '');
CREATE INDEX task_leases_until ON payorder.task_leases (leased_until);
CREATE UNIQUE INDEX task_leases_gateway_slot ON payorder.task_leases (gateway, gateway_slot)
    WHERE gateway_slot IS NOT NULL;
CREATE UNIQUE INDEX task_leases_kind_slot ON payorder.task_leases (kind, kind_slot)
    WHERE kind_slot IS NOT NULL;

/* A row to lock for each task that may run at once, since a count decides nothing. */
CREATE TABLE payorder.task_slots (
    scope text COLLATE "C" NOT NULL CHECK (scope IN ('gateway', 'kind')),
    name text COLLATE "C" NOT NULL,
    slot integer NOT NULL,
    PRIMARY KEY (scope, name, slot)
);
COMMENT ON TABLE payorder.task_slots IS
'how many tasks of a gateway, or of a kind, workers may hold at once: one row for each; none: any number';
SELECT pg_catalog.pg_extension_config_dump('payorder.task_slots', '');

CREATE TABLE payorder.task_dead (
    task_id bigint PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,
    gateway text COLLATE "C",
    attempts integer NOT NULL,
    first_tried_at timestamptz,
    error text,
    died_at timestamptz NOT NULL
);
COMMENT ON TABLE payorder.task_dead IS
'tasks given up; retry_dead() brings them back, cancel_task() ends them';
SELECT pg_catalog.pg_extension_config_dump('payorder.task_dead', '');

CREATE TABLE payorder.task_finished (
    task_id bigint PRIMARY KEY,
    outcome text COLLATE "C" NOT NULL CHECK (outcome IN ('done', 'cancelled')),
    attempts integer NOT NULL,
    result json,
    finished_at timestamptz NOT NULL
);
COMMENT ON TABLE payorder.task_finished IS 'tasks that ended done or cancelled, with their result';
SELECT pg_catalog.pg_extension_config_dump('payorder.task_finished', '');

CREATE TABLE payorder.task_keys (
    dedup_key text COLLATE "C" PRIMARY KEY,
    task_id bigint NOT NULL
);
COMMENT ON TABLE payorder.task_keys IS 'dedup keys of ready and leased tasks: one open task per key';
SELECT pg_catalog.pg_extension_config_dump('payorder.task_keys', '');

CREATE TYPE payorder.task_info AS (
    task bigint,
    token bigint,
    kind text,
    order_no text,
    gateway text,
    adapter text,
    merchant_id text,
    idempotency_key text,
    attempt integer,
    first_tried_at timestamptz,
    not_after timestamptz,
    leased_until timestamptz,
    trace text,
    payload json
);

CREATE FUNCTION payorder.define_task_kind(
    kind text,
    lease interval DEFAULT '1 minute',
    max_attempts integer DEFAULT 20,
    backoff_base interval DEFAULT '1 second',
    backoff_max interval DEFAULT '1 hour',
    backoff_list interval[] DEFAULT NULL,
    handler text DEFAULT NULL)
    RETURNS void
    LANGUAGE c VOLATILE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_define_task_kind';
COMMENT ON FUNCTION payorder.define_task_kind(text, interval, integer, interval, interval, interval[], text) IS
'defines a kind of task, or the timing of a kernel kind: lease, attempts, and the pause after the n-th failure: least(backoff_max, backoff_base * 2^(n-1)) * random(0.5 .. 1), or the n-th of backoff_list. handler: the name, with its schema, of a function(payorder.task_info) RETURNS json or void that the worker and run_sweeps() call for each task of the kind, as its owner; NULL for one that has a handler: it stays. Errors: 22023 bad value, a handler for a kind that clients or the kernel work, 42883 no such function, 42809 not one that can be a handler, 42501 not the caller''s function, nor a SECURITY DEFINER one that the caller may execute.';

CREATE FUNCTION payorder.enqueue(
    kind text,
    order_no text DEFAULT NULL,
    payload json DEFAULT '{}',
    run_at timestamptz DEFAULT NULL,
    dedup_key text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_enqueue';
COMMENT ON FUNCTION payorder.enqueue(text, text, json, timestamptz, text) IS
'puts a task of a user''s kind into the queue, ready at run_at (NULL: now); returns its id, or the id of the open task with the same dedup_key. Errors: 22023 unknown kind, invalid order_no or dedup_key too long, 42501 a kind of the kernel.';

CREATE FUNCTION payorder.enqueue_batch(
    kind text,
    payloads json[],
    order_nos text[] DEFAULT NULL,
    run_at timestamptz DEFAULT NULL)
    RETURNS bigint[]
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_enqueue_batch';
COMMENT ON FUNCTION payorder.enqueue_batch(text, json[], text[], timestamptz) IS
'puts up to 1000 tasks of one kind of a user''s into the queue, one for each element of payloads (NULL: {}), with the order of the same place in order_nos, ready at run_at (NULL: now); returns their ids in that order. Without dedup keys: for those enqueue(). Errors: 22023 unknown kind, invalid order_no or bad arrays, 42501 a kind of the kernel.';

CREATE FUNCTION payorder.complete_batch(tasks bigint[], tokens bigint[], results json[] DEFAULT NULL)
    RETURNS bigint[]
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_complete_batch';
COMMENT ON FUNCTION payorder.complete_batch(bigint[], bigint[], json[]) IS
'ends up to 1000 leased tasks of kinds of a user''s own, each with its token and result (NULL: none); returns the tasks whose lease is lost, which end nothing; the others have ended. Errors: 22023 a task of a kind of the kernel''s (then none has ended), or bad arrays or results, 55P03 a lease is locked longer than payorder.lock_wait.';

CREATE FUNCTION payorder.claim(
    kinds text[] DEFAULT NULL,
    max_tasks integer DEFAULT 1,
    lease interval DEFAULT NULL,
    worker text DEFAULT NULL,
    gateways text[] DEFAULT NULL)
    RETURNS SETOF payorder.task_info
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET plan_cache_mode = force_generic_plan
    AS 'MODULE_PATHNAME', 'payorder_claim';
COMMENT ON FUNCTION payorder.claim(text[], integer, interval, text, text[]) IS
'leases up to max_tasks ready tasks, oldest first, of the given kinds and gateways (NULL: all) for lease (NULL: the kind''s own); passed over are tasks of paused gateways, of all gateways in a database that is a copy (see adopt_cluster()), and refunds whose number the gateway may have forgotten (idempotency_window), which sweep() has asked about first. Commit before the outside call. Errors: 22023 bad value.';

CREATE FUNCTION payorder.set_task_limit(
    gateway text DEFAULT NULL,
    kind text DEFAULT NULL,
    max_running integer DEFAULT NULL)
    RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = 0
AS $$
DECLARE
    of_scope CONSTANT text := CASE WHEN kind IS NULL THEN 'gateway' ELSE 'kind' END;
    of_name CONSTANT text := coalesce(kind, gateway);
BEGIN
    PERFORM set_config('lock_timeout', coalesce(current_setting('payorder.lock_wait', true), '2s'), true);
    IF (gateway IS NULL) = (kind IS NULL) THEN
        RAISE EXCEPTION 'a limit is for a gateway or for a kind'
            USING ERRCODE = '22023', HINT = 'Give one of the two.';
    END IF;
    IF max_running NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION 'max_running is out of range'
            USING ERRCODE = '22023', HINT = 'Give 1 to 10000, NULL for no limit; pause_gateway() for none at all.';
    END IF;
    -- one at a time: the slots that another one makes cannot be seen; and the
    -- later snapshots of REPEATABLE READ must fail, so a lock is not enough
    UPDATE payorder.gateways g SET gateway = g.gateway
    WHERE g.gateway = set_task_limit.gateway AND NOT g.builtin;
    IF gateway IS NOT NULL AND NOT FOUND THEN
        RAISE EXCEPTION 'no gateway "%"', left(gateway, 63)
            USING ERRCODE = 'PO010', HINT = 'See payorder.gateways.';
    END IF;
    UPDATE payorder.task_kinds k SET kind = k.kind
    WHERE k.kind = set_task_limit.kind AND k.worked_by IN ('client', 'handler');
    IF kind IS NOT NULL AND NOT FOUND THEN
        RAISE EXCEPTION 'no kind "%" of tasks for workers', left(kind, 63)
            USING ERRCODE = '22023', HINT = 'See payorder.task_kinds.';
    END IF;
    DELETE FROM payorder.task_slots s
    WHERE s.scope = of_scope AND s.name = of_name AND s.slot > coalesce(max_running, 0);
    INSERT INTO payorder.task_slots (scope, name, slot)
    SELECT of_scope, of_name, i FROM generate_series(1, max_running) AS i
    ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION payorder.set_task_limit(text, text, integer) IS
'limits how many tasks of a gateway, or of a kind, workers hold at once: claim() gives out no more; NULL lifts the limit. Counted are tasks that are claimed from now on. Errors: 22023 both or none given, out of range, or no such kind, PO010 no such gateway, 55P03 tasks are being claimed for longer than payorder.lock_wait.';

CREATE VIEW payorder.task_limits AS
SELECT s.scope, s.name, pg_catalog.count(*) AS max_running,
       (SELECT pg_catalog.count(*) FROM payorder.task_leases AS l
        WHERE CASE s.scope WHEN 'gateway' THEN l.gateway = s.name AND l.gateway_slot IS NOT NULL
                           ELSE l.kind = s.name AND l.kind_slot IS NOT NULL END) AS running
FROM payorder.task_slots AS s
GROUP BY s.scope, s.name;
COMMENT ON VIEW payorder.task_limits IS
'how many tasks of a gateway or kind may be held at once, and how many are';

CREATE FUNCTION payorder.heartbeat(task bigint, token bigint, lease interval DEFAULT NULL)
    RETURNS timestamptz
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_heartbeat';
COMMENT ON FUNCTION payorder.heartbeat(bigint, bigint, interval) IS
'prolongs a lease to now + lease (NULL: the kind''s own) and returns its new end. Errors: PO008 the lease is lost.';
