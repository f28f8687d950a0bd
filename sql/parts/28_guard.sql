/* ---- room guard: the machine on users' own tables ---- */

CREATE SEQUENCE payorder.guard_event_ids;
SELECT pg_catalog.pg_extension_config_dump('payorder.guard_event_ids', '');

CREATE TABLE payorder.guard_events (
    id bigint PRIMARY KEY DEFAULT pg_catalog.nextval('payorder.guard_event_ids'),
    txid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    schema_name text COLLATE "C" NOT NULL,
    table_name text COLLATE "C" NOT NULL,
    state_column text COLLATE "C" NOT NULL,
    key text COLLATE "C",
    machine text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    event text COLLATE "C" NOT NULL,
    from_state text COLLATE "C",
    to_state text COLLATE "C" NOT NULL,
    actor text NOT NULL,
    trace text,
    at timestamptz NOT NULL
);
COMMENT ON TABLE payorder.guard_events IS
'insertions and transitions of rows under guard() with log => true; append-only';
COMMENT ON COLUMN payorder.guard_events.key IS 'the key column''s value as text';
COMMENT ON COLUMN payorder.guard_events.event IS
'the machine''s event that leads there, the first by name if there are several; insert for a new row';
SELECT pg_catalog.pg_extension_config_dump('payorder.guard_events', '');

/* Of any length, which a btree's entry can't have. */
CREATE INDEX guard_events_key ON payorder.guard_events USING hash (key);

CREATE TRIGGER guard_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payorder.guard_events
    FOR EACH STATEMENT EXECUTE FUNCTION payorder.refuse_change();

/* No SET: a definer's frame would cost more than the check. It acts as its owner where it must. */
CREATE FUNCTION payorder.check_transition() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'payorder_check_transition';
COMMENT ON FUNCTION payorder.check_transition() IS
'trigger of guarded tables, made by guard(): refuses states that the machine does not lead to (PO001); arguments: machine, version, and log if it is logged';

CREATE FUNCTION payorder.guard(
    relation regclass,
    state_column text,
    machine text,
    key_column text DEFAULT NULL,
    log boolean DEFAULT false)
    RETURNS integer
    LANGUAGE c VOLATILE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_guard';
COMMENT ON FUNCTION payorder.guard(regclass, text, text, text, boolean) IS
'puts the newest version of a machine of states and events on a column (text, varchar or enum) of a table of the caller''s, and returns that version: from now on a row begins in the initial state and moves along the machine''s edges only, whoever writes (PO001). key_column names a row in errors and in the log; NULL is the primary key, if it is one column. log: each insertion and transition writes a row of guard_events. Again: the newest version, this key and this log in place of the former. Tables that inherit go with it. Errors: PO004 no such machine or one for orders, 22004 relation, state_column or machine is NULL or there is no such primary key, 22023 the column cannot have a state of the machine, 42501 not the table''s owner or a table of payorder''s, 42703 no such column, 42804 its type, 42P21 its collation, 42809 not a table, a partition or a foreign table, 0A000 a column that is not stored, 55000 a row is in a state that the machine does not have.';

CREATE FUNCTION payorder.unguard(relation regclass, state_column text)
    RETURNS void
    LANGUAGE c VOLATILE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_unguard';
COMMENT ON FUNCTION payorder.unguard(regclass, text) IS
'takes the machine off a column of a table of the caller''s, and of the tables that inherit. Errors: 22004 an argument is NULL, 42501 not the table''s owner, 42703 no such column, 42704 it is not guarded, 42809 not a table, or a partition.';

CREATE FUNCTION payorder.guard_of(
    trigger_id oid,
    OUT state_column text,
    OUT machine text,
    OUT version integer,
    OUT key_column text,
    OUT log boolean)
    LANGUAGE c STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_guard_of';
COMMENT ON FUNCTION payorder.guard_of(oid) IS
'what the definition of a guard''s trigger says, given its pg_trigger.oid; NULL for any other. For the view guarded.';

CREATE VIEW payorder.guarded AS
SELECT t.tgrelid::pg_catalog.regclass AS relation, g.state_column, g.machine, g.version, g.key_column, g.log,
       pg_catalog.count(*) >= CASE c.relkind WHEN 'p' THEN 3 ELSE 2 END
       AND pg_catalog.bool_and(t.tgenabled IN ('O', 'A')) AS enabled
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
CROSS JOIN LATERAL payorder.guard_of(t.oid) AS g
WHERE t.tgfoid = 'payorder.check_transition()'::pg_catalog.regprocedure AND t.tgparentid = 0
  AND g.machine IS NOT NULL
GROUP BY t.tgrelid, c.relkind, g.state_column, g.machine, g.version, g.key_column, g.log;
COMMENT ON VIEW payorder.guarded IS
'what is guarded by which machine, read from the triggers themselves; enabled: none of them is missing or disabled';
