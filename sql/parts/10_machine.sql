/* ---- room machine: definitions of state machines ---- */

CREATE SEQUENCE payorder.machine_ids AS integer START 100;
SELECT pg_catalog.pg_extension_config_dump('payorder.machine_ids', '');

CREATE TABLE payorder.machines (
    id integer PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    initial text COLLATE "C" NOT NULL,
    definition json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    UNIQUE (name, version)
);
COMMENT ON TABLE payorder.machines IS
'versions of state machines; immutable, written by define_machine()';
SELECT pg_catalog.pg_extension_config_dump('payorder.machines', 'WHERE id >= 100');

CREATE TABLE payorder.states (
    machine_id integer NOT NULL,
    state text COLLATE "C" NOT NULL,
    final boolean NOT NULL,
    enqueue text[] NOT NULL DEFAULT '{}',
    alarm text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (machine_id, state)
);
COMMENT ON TABLE payorder.states IS
'states of a machine version, with the task kinds and alarms of their entry';
SELECT pg_catalog.pg_extension_config_dump('payorder.states', 'WHERE machine_id >= 100');

CREATE TABLE payorder.transitions (
    machine_id integer NOT NULL,
    from_state text COLLATE "C" NOT NULL,
    event text COLLATE "C" NOT NULL,
    candidate smallint NOT NULL,
    to_state text COLLATE "C" NOT NULL,
    guard text COLLATE "C",
    by_timer boolean NOT NULL DEFAULT false,
    within interval,
    stock text COLLATE "C",
    enqueue text[] NOT NULL DEFAULT '{}',
    alarm text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (machine_id, from_state, event, candidate)
);
COMMENT ON TABLE payorder.transitions IS
'edges of a machine version; of several candidates the first whose guard holds is taken';
SELECT pg_catalog.pg_extension_config_dump('payorder.transitions', 'WHERE machine_id >= 100');

CREATE TABLE payorder.state_timers (
    machine_id integer NOT NULL,
    state text COLLATE "C" NOT NULL,
    number smallint NOT NULL,
    after interval NOT NULL,
    parameter text COLLATE "C",
    action text COLLATE "C" NOT NULL CHECK (action IN ('fire', 'enqueue', 'alarm')),
    argument text COLLATE "C" NOT NULL,
    guard text COLLATE "C",
    retry interval,
    PRIMARY KEY (machine_id, state, number)
);
COMMENT ON TABLE payorder.state_timers IS
'what becomes due how long after a state was entered';
SELECT pg_catalog.pg_extension_config_dump('payorder.state_timers', 'WHERE machine_id >= 100');

CREATE FUNCTION payorder.define_machine(name text, definition json)
    RETURNS integer
    LANGUAGE c VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_define_machine';
COMMENT ON FUNCTION payorder.define_machine(text, json) IS
'checks a machine definition and stores it as the next version of name; returns its version (the newest one again when the definition is unchanged). Errors: PO004 with the place in the definition.';

CREATE FUNCTION payorder.machine_diagram(name text, format text DEFAULT 'mermaid', version integer DEFAULT NULL)
    RETURNS text
    LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_machine_diagram';
COMMENT ON FUNCTION payorder.machine_diagram(text, text, integer) IS
'the machine as a diagram in the language format (mermaid, dot for Graphviz, or scxml: W3C State Chart XML); version NULL is the newest. Errors: PO004 no such machine, 22023 unknown format.';

CREATE FUNCTION payorder.export_machine(name text, version integer DEFAULT NULL)
    RETURNS json
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    exported json;
BEGIN
    SELECT m.definition INTO exported FROM payorder.machines m
    WHERE m.name = export_machine.name AND (export_machine.version IS NULL OR m.version = export_machine.version)
    ORDER BY m.version DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such machine or version'
            USING ERRCODE = 'PO004', HINT = 'The table payorder.machines lists machines and versions.';
    END IF;
    RETURN exported;
END
$$;
COMMENT ON FUNCTION payorder.export_machine(text, integer) IS
'the definition of a machine as it was given to define_machine(), which takes it back as the same version; version NULL is the newest. Errors: PO004 no such machine or version.';

CREATE FUNCTION payorder.can_transition(machine text, from_state text, to_state text, version integer DEFAULT NULL)
    RETURNS boolean
    LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_can_transition';
COMMENT ON FUNCTION payorder.can_transition(text, text, text, integer) IS
'whether an edge of the machine leads from from_state to to_state, whatever its guard and whoever may take it; version NULL is the newest. Errors: PO004 no such machine or state.';

CREATE TRIGGER machines_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON payorder.machines
    FOR EACH STATEMENT EXECUTE FUNCTION payorder.refuse_change();
CREATE TRIGGER states_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON payorder.states
    FOR EACH STATEMENT EXECUTE FUNCTION payorder.refuse_change();
CREATE TRIGGER transitions_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON payorder.transitions
    FOR EACH STATEMENT EXECUTE FUNCTION payorder.refuse_change();
CREATE TRIGGER state_timers_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON payorder.state_timers
    FOR EACH STATEMENT EXECUTE FUNCTION payorder.refuse_change();
