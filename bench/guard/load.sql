/*
 * The tables of bench/guard/run, :rows rows each, alike but for their triggers:
 * "free" has none, "guarded" is under guard(), "looked_up" has the trigger that an
 * expert would write in PL/pgSQL: AFTER ROW with the same WHEN, and the legal
 * transitions in a table with a primary key.
 */
\set ON_ERROR_STOP on
\o /dev/null
SELECT payorder.define_machine('ticket', '{
  "initial": "new",
  "states": {
    "new":      {"on": {"assign": {"target": "assigned"}, "reject": {"target": "rejected"}}},
    "assigned": {"on": {"begin": {"target": "working"}, "hand_back": {"target": "new"}}},
    "working":  {"on": {"finish": {"target": "done"}, "stop": {"target": "assigned"}, "wait": {"target": "waiting"}}},
    "waiting":  {"on": {"resume": {"target": "working"}}},
    "done":     {"on": {"reopen_it": {"target": "working"}, "bill": {"target": "billed"}}},
    "billed":   {"type": "final"},
    "rejected": {"type": "final"}}}');
\o

CREATE TABLE free (
    id bigint PRIMARY KEY,
    state text NOT NULL DEFAULT 'new',
    customer text NOT NULL,
    amount numeric(12, 2) NOT NULL,
    n integer NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 45);
CREATE TABLE guarded (LIKE free INCLUDING ALL) WITH (fillfactor = 45);
CREATE TABLE looked_up (LIKE free INCLUDING ALL) WITH (fillfactor = 45);
INSERT INTO free SELECT n, 'new', md5(n::text), n % 1000 FROM generate_series(1, :rows) AS n;
INSERT INTO guarded SELECT * FROM free;
INSERT INTO looked_up SELECT * FROM free;

\o /dev/null
SELECT payorder.guard('guarded', 'state', 'ticket');
\o

CREATE TABLE legal (
    from_state text NOT NULL,
    to_state text NOT NULL,
    PRIMARY KEY (from_state, to_state)
);
INSERT INTO legal
SELECT t.from_state, t.to_state
FROM payorder.transitions AS t JOIN payorder.machines AS m ON m.id = t.machine_id
WHERE m.name = 'ticket';
CREATE FUNCTION look_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM legal AS l WHERE l.from_state = OLD.state AND l.to_state = NEW.state;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'row % cannot go from % to %', NEW.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER look_up AFTER UPDATE ON looked_up FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION look_up();
VACUUM (FREEZE, ANALYZE) free, guarded, looked_up, legal;
