--
-- Room guard: a machine on tables of the user's own.  What is refused and what
-- the error says; text, varchar, domains and enums; partitions, inheritance,
-- generated columns, triggers of the user's, policies, views, writers without
-- rights; renames; the log; who may guard what.  Law 8.
--
\pset format unaligned
\pset tuples_only on

-- What a statement that is refused says, all of it but the hint, if asked for.
CREATE FUNCTION pg_temp.error_of(statement text, fields boolean DEFAULT false) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    said text;
    more text;
    at_schema text;
    at_table text;
    at_column text;
    at_constraint text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS said = MESSAGE_TEXT, more = PG_EXCEPTION_DETAIL, at_schema = SCHEMA_NAME,
        at_table = TABLE_NAME, at_column = COLUMN_NAME, at_constraint = CONSTRAINT_NAME;
    RETURN concat_ws(E'\n    ', SQLSTATE || ' ' || said, nullif(more, ''),
                     CASE WHEN fields THEN concat_ws(', ', at_schema, at_table, at_column, at_constraint) END);
END $$;

-- ---- machines of states and events only
SELECT payorder.define_machine('ticket', '{"initial": "open", "states": {
    "open":   {"on": {"take": {"target": "taken"}, "drop": {"target": "closed"}, "abort": {"target": "closed"}}},
    "taken":  {"on": {"solve": {"target": "closed"}, "hand_back": {"target": "open"}}},
    "closed": {"type": "final"}}}');
SELECT payorder.define_machine('paint', '{"initial": "wet", "states": {
    "wet": {"on": {"wait": {"target": "dry"}}}, "dry": {"type": "final"}}}');
SELECT payorder.can_transition('ticket', 'taken', 'closed'), payorder.can_transition('ticket', 'closed', 'open');
-- neither needs timers nor "pay", as soon as there is more it does
SELECT pg_temp.error_of($$SELECT payorder.define_machine('m', '{"initial": "a", "states": {
    "a": {"on": {"go": {"target": "b"}, "pay": {"target": "b"}}}, "b": {"type": "final"}}}')$$);
SELECT pg_temp.error_of($$SELECT payorder.define_machine('m', '{"initial": "a", "states": {
    "a": {"on": {"go": {"target": "b"}}, "after": {"1h": {"fire": "go"}}}, "b": {"type": "final"}}}')$$);
SELECT pg_temp.error_of($$SELECT payorder.define_machine('m', '{"initial": "a", "states": {
    "a": {"on": {"go": {"target": "b"}}}, "b": {"type": "final", "entry": {"alarm": "c"}}}}')$$);
SELECT pg_temp.error_of($$SELECT payorder.define_machine('m', '{"initial": "a", "states": {
    "a": {"on": {"go": {"target": "b"}}}, "b": {"on": {"go": {"target": "a"}}}}}')$$);
SELECT pg_temp.error_of($$SELECT payorder.create_order('G1', 1, 'CNY', 'ticket')$$);

-- ---- the plain case
CREATE TABLE tickets (id integer PRIMARY KEY, state text NOT NULL DEFAULT 'open', title text);
SELECT payorder.guard('tickets', 'state', 'ticket');
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'tickets'::regclass ORDER BY tgname;
INSERT INTO tickets VALUES (1), (2), (3);
UPDATE tickets SET title = 'a';
UPDATE tickets SET state = 'taken' WHERE id < 3;
UPDATE tickets SET state = state;
SELECT pg_temp.error_of($$INSERT INTO tickets VALUES (4, 'closed')$$, true);
SELECT pg_temp.error_of($$INSERT INTO tickets VALUES (4, 'Open')$$, true);
SELECT pg_temp.error_of($$UPDATE tickets SET state = 'taken'; UPDATE tickets SET state = 'gone' WHERE id = 3$$, true);
SELECT pg_temp.error_of($$UPDATE tickets SET state = 'lost' WHERE id = 1$$, true);
SELECT pg_temp.error_of($$UPDATE tickets SET state = '' WHERE id = 1$$);
UPDATE tickets SET state = 'closed' WHERE id = 1;
SELECT pg_temp.error_of($$UPDATE tickets SET state = 'open' WHERE id = 1$$, true);
SELECT pg_temp.error_of('UPDATE tickets SET state = repeat(''x'', 100000) WHERE id = 2') ~ '"x{1,128}"\.\.\.';
-- a second step in the same statement's trigger, transaction and command
UPDATE tickets SET state = CASE state WHEN 'open' THEN 'taken' WHEN 'taken' THEN 'open' ELSE state END;
SELECT id, state FROM tickets ORDER BY id;
-- DELETE and TRUNCATE are free
DELETE FROM tickets WHERE id = 1;

-- ---- however one writes: MERGE, ON CONFLICT, COPY, a view, a rule, a cursor, a CTE
MERGE INTO tickets AS t USING (VALUES (2, 'taken'), (5, 'open')) AS v (id, state) ON t.id = v.id
    WHEN MATCHED THEN UPDATE SET state = v.state WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.state);
SELECT pg_temp.error_of($$MERGE INTO tickets AS t USING (VALUES (3), (6)) AS v (id) ON t.id = v.id
    WHEN MATCHED THEN UPDATE SET state = 'done'$$);
SELECT pg_temp.error_of($$MERGE INTO tickets AS t USING (VALUES (7)) AS v (id) ON t.id = v.id
    WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'closed')$$);
INSERT INTO tickets VALUES (5, 'closed') ON CONFLICT (id) DO UPDATE SET state = excluded.state;
SELECT pg_temp.error_of($$INSERT INTO tickets VALUES (5, 'taken') ON CONFLICT (id) DO UPDATE SET state = excluded.state$$);
INSERT INTO tickets VALUES (5, 'taken') ON CONFLICT (id) DO NOTHING;
COPY tickets (id) FROM stdin;
8
\.
COPY tickets (id, state) FROM stdin;
9	closed
\.
CREATE VIEW ticket_view AS SELECT id, state FROM tickets;
SELECT pg_temp.error_of($$UPDATE ticket_view SET state = 'lost' WHERE id = 8$$);
CREATE RULE take_it AS ON DELETE TO ticket_view DO INSTEAD UPDATE tickets SET state = 'closed' WHERE id = OLD.id;
DELETE FROM ticket_view WHERE id = 8;
SELECT pg_temp.error_of($$UPDATE tickets SET state = 'open' WHERE id = 8$$);
SELECT pg_temp.error_of($$WITH w AS (UPDATE tickets SET state = 'open' WHERE id = 8 RETURNING id) SELECT * FROM w$$);
SELECT pg_temp.error_of($sql$DO $do$ DECLARE c CURSOR FOR SELECT FROM tickets WHERE id = 8 FOR UPDATE;
    BEGIN FOR r IN c LOOP UPDATE tickets SET state = 'open' WHERE CURRENT OF c; END LOOP; END $do$ $sql$);
-- it is not put off to the end of the transaction
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
SELECT pg_temp.error_of($$UPDATE tickets SET state = 'open' WHERE id = 8$$);
ROLLBACK;
SELECT id, state FROM tickets ORDER BY id;

-- ---- triggers of the user's beside it, also with later names
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.state := TG_ARGV[0];
    RETURN NEW;
END $$;
CREATE TRIGGER zz_meddle BEFORE UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION meddle('lost');
SELECT pg_temp.error_of($$UPDATE tickets SET title = 'b' WHERE id = 3$$);
DROP TRIGGER zz_meddle ON tickets;
CREATE TRIGGER zz_meddle BEFORE INSERT ON tickets FOR EACH ROW EXECUTE FUNCTION meddle('closed');
SELECT pg_temp.error_of($$INSERT INTO tickets VALUES (10)$$);
DROP TRIGGER zz_meddle ON tickets;
-- one that repairs it
CREATE TRIGGER zz_meddle BEFORE INSERT ON tickets FOR EACH ROW EXECUTE FUNCTION meddle('open');
INSERT INTO tickets VALUES (10, 'lost');
DROP TRIGGER zz_meddle ON tickets;
-- one that moves on, before and after the guard's: each step is judged
CREATE FUNCTION move_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tickets SET state = TG_ARGV[0] WHERE id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER aa_move AFTER UPDATE ON tickets FOR EACH ROW WHEN (NEW.state = 'taken') EXECUTE FUNCTION move_on('closed');
UPDATE tickets SET state = 'taken' WHERE id = 10;
SELECT state FROM tickets WHERE id = 10;
INSERT INTO tickets VALUES (11);
SELECT pg_temp.error_of($$UPDATE tickets SET state = 'lost' WHERE id = 11$$);
DROP TRIGGER aa_move ON tickets;
CREATE TRIGGER zz_move AFTER INSERT ON tickets FOR EACH ROW EXECUTE FUNCTION move_on('lost');
SELECT pg_temp.error_of($$INSERT INTO tickets VALUES (12)$$);
DROP TRIGGER zz_move ON tickets;
DROP FUNCTION meddle, move_on;

-- ---- names: renamed, quoted, of dropped columns beside it
ALTER TABLE tickets DROP COLUMN title;
ALTER TABLE tickets ADD COLUMN title text DEFAULT 'none';
ALTER TABLE tickets RENAME COLUMN state TO "The ""State""";
ALTER TABLE tickets RENAME COLUMN id TO "Key %s";
ALTER TABLE tickets RENAME TO "My Tickets";
CREATE SCHEMA "Other 'S'";
ALTER TABLE "My Tickets" SET SCHEMA "Other 'S'";
SELECT * FROM payorder.guarded;
SELECT pg_temp.error_of($$UPDATE "Other 'S'"."My Tickets" SET "The ""State""" = 'lost' WHERE "Key %s" = 11$$, true);
UPDATE "Other 'S'"."My Tickets" SET "The ""State""" = 'taken' WHERE "Key %s" = 11;
-- again: another key, with a log; the triggers keep their names
SELECT payorder.guard('"Other ''S''"."My Tickets"', 'The "State"', 'ticket', key_column => 'title', log => true);
SELECT pg_temp.error_of($$UPDATE "Other 'S'"."My Tickets" SET "The ""State""" = 'lost' WHERE "Key %s" = 11$$, true);
UPDATE "Other 'S'"."My Tickets" SET "The ""State""" = 'closed' WHERE "Key %s" = 11;
SELECT * FROM payorder.guarded;
SELECT schema_name, table_name, state_column, key, machine, version, event, from_state, to_state
    FROM payorder.guard_events ORDER BY id;
DROP VIEW ticket_view;
SELECT pg_temp.error_of($$ALTER TABLE "Other 'S'"."My Tickets" ALTER "The ""State""" TYPE varchar(30)$$) ~ '^0A000';
SELECT pg_temp.error_of($$ALTER TABLE "Other 'S'"."My Tickets" DROP "The ""State"""$$) ~ '^2BP01';
SELECT pg_temp.error_of($$ALTER TABLE "Other 'S'"."My Tickets" DROP title$$) ~ '^2BP01';
SELECT payorder.unguard('"Other ''S''"."My Tickets"', 'The "State"');
SELECT count(*) FROM payorder.guarded;
UPDATE "Other 'S'"."My Tickets" SET "The ""State""" = 'lost' WHERE "Key %s" = 11;
SELECT pg_temp.error_of($$SELECT payorder.guard('"Other ''S''"."My Tickets"', 'The "State"', 'ticket')$$);
SELECT pg_temp.error_of($$SELECT payorder.unguard('"Other ''S''"."My Tickets"', 'The "State"')$$);
DROP TABLE "Other 'S'"."My Tickets";
DROP SCHEMA "Other 'S'";

-- ---- varchar, domains, NULL
CREATE TABLE v (id integer PRIMARY KEY, state varchar(6));
SELECT payorder.guard('v', 'state', 'ticket');
INSERT INTO v VALUES (1, 'open');
UPDATE v SET state = 'taken';
SELECT pg_temp.error_of($$INSERT INTO v VALUES (2)$$);
SELECT pg_temp.error_of($$UPDATE v SET state = NULL$$);
SELECT pg_temp.error_of($$UPDATE v SET state = 'opened'$$);
SELECT payorder.unguard('v', 'state');
UPDATE v SET state = NULL;
SELECT pg_temp.error_of($$SELECT payorder.guard('v', 'state', 'ticket')$$);
ALTER TABLE v ALTER state TYPE varchar(5);
SELECT pg_temp.error_of($$SELECT payorder.guard('v', 'state', 'ticket')$$);
DROP TABLE v;
CREATE DOMAIN short AS varchar(6) CHECK (VALUE <> '');
CREATE TABLE v (id integer, state short, PRIMARY KEY (id));
SELECT payorder.guard('v', 'state', 'ticket');
INSERT INTO v VALUES (1, 'open');
SELECT pg_temp.error_of($$UPDATE v SET state = 'lost'$$);
UPDATE v SET state = 'taken';
-- from a state that came in with the triggers disabled
ALTER TABLE v DISABLE TRIGGER USER;
SELECT relation, enabled FROM payorder.guarded;
UPDATE v SET state = NULL;
ALTER TABLE v ENABLE TRIGGER USER;
SELECT relation, enabled FROM payorder.guarded;
UPDATE v SET id = 2;
SELECT pg_temp.error_of($$UPDATE v SET state = 'open'$$);
DROP TABLE v;

-- ---- enums, with labels that come, go by another name, and come back
CREATE TYPE paint AS ENUM ('dry', 'stripped');
CREATE TABLE walls (id integer PRIMARY KEY, paint paint);
SELECT pg_temp.error_of($$SELECT payorder.guard('walls', 'paint', 'paint')$$);
ALTER TYPE paint ADD VALUE 'wet' BEFORE 'dry';
SELECT payorder.guard('walls', 'paint', 'paint');
INSERT INTO walls VALUES (1, 'wet'), (2, 'wet'), (3, 'wet');
UPDATE walls SET paint = 'dry' WHERE id = 1;
SELECT pg_temp.error_of($$UPDATE walls SET paint = 'stripped' WHERE id = 1$$);
SELECT pg_temp.error_of($$INSERT INTO walls VALUES (4, 'dry')$$);
ALTER TYPE paint RENAME VALUE 'dry' TO 'hard';
SELECT pg_temp.error_of($$UPDATE walls SET paint = 'hard' WHERE id = 2$$);
SELECT pg_temp.error_of($$UPDATE walls SET paint = 'wet' WHERE id = 1$$);
ALTER TYPE paint ADD VALUE 'dry';
UPDATE walls SET paint = 'dry' WHERE id = 2;
BEGIN;
ALTER TYPE paint RENAME VALUE 'dry' TO 'dried';
SELECT pg_temp.error_of($$UPDATE walls SET paint = 'dried' WHERE id = 3$$);
ROLLBACK;
UPDATE walls SET paint = 'dry' WHERE id = 3;
DROP TABLE walls;
CREATE DOMAIN painted AS paint NOT NULL;
CREATE TABLE walls (id integer PRIMARY KEY, paint painted);
SELECT payorder.guard('walls', 'paint', 'paint');
INSERT INTO walls VALUES (1, 'wet'), (2, 'wet');
UPDATE walls SET paint = 'dry' WHERE id = 1;
SELECT pg_temp.error_of($$UPDATE walls SET paint = 'wet' WHERE id = 1$$);
DROP TABLE walls;
DROP DOMAIN painted;
DROP TYPE paint;

-- ---- two machines on two columns, each with a log of its own
CREATE TABLE two (id integer PRIMARY KEY, state text DEFAULT 'open', coat text DEFAULT 'wet');
SELECT payorder.guard('two', 'state', 'ticket');
SELECT payorder.guard('two', 'coat', 'paint', log => true);
SELECT * FROM payorder.guarded ORDER BY state_column;
INSERT INTO two VALUES (1), (2);
UPDATE two SET state = 'taken', coat = 'dry' WHERE id = 1;
SELECT pg_temp.error_of($$UPDATE two SET state = 'closed', coat = 'wet' WHERE id = 1$$);
SELECT pg_temp.error_of($$UPDATE two SET state = 'wet', coat = 'dry' WHERE id = 2$$);
SELECT pg_temp.error_of($$INSERT INTO two VALUES (3, 'open', 'open')$$);
-- what was named after a column stays with it, whatever the next is named
ALTER TABLE two RENAME state TO old_state;
ALTER TABLE two ADD state text DEFAULT 'wet';
SELECT payorder.guard('two', 'state', 'paint');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'two'::regclass ORDER BY 1;
SELECT payorder.unguard('two', 'old_state');
SELECT payorder.unguard('two', 'state');
SELECT relation, state_column FROM payorder.guarded;
SELECT key, event, from_state, to_state FROM payorder.guard_events WHERE table_name = 'two' ORDER BY id;
DROP TABLE two;

-- ---- versions: guard() pins the newest of that moment
CREATE TABLE v1 (id integer PRIMARY KEY, state text DEFAULT 'open');
SELECT payorder.guard('v1', 'state', 'ticket');
INSERT INTO v1 VALUES (1), (2);
SELECT payorder.define_machine('ticket', '{"initial": "open", "states": {
    "open": {"on": {"take": {"target": "taken"}}}, "taken": {"on": {"solve": {"target": "done"}}},
    "done": {"type": "final"}}}');
UPDATE v1 SET state = 'closed' WHERE id = 1;
SELECT pg_temp.error_of($$SELECT payorder.guard('v1', 'state', 'ticket')$$);
DELETE FROM v1 WHERE id = 1;
BEGIN;
SELECT payorder.guard('v1', 'state', 'ticket');
SELECT pg_temp.error_of($$UPDATE v1 SET state = 'closed'$$);
ROLLBACK;
UPDATE v1 SET state = 'taken';
SELECT payorder.guard('v1', 'state', 'ticket');
SELECT pg_temp.error_of($$UPDATE v1 SET state = 'closed'$$);
UPDATE v1 SET state = 'done';
SELECT version FROM payorder.guarded;
SELECT payorder.unguard('v1', 'state');
DROP TABLE v1;

-- ---- partitions: by state, in two levels, with columns at other places
CREATE TABLE parts (id integer, state text DEFAULT 'open', note text) PARTITION BY LIST (state);
CREATE TABLE parts_live PARTITION OF parts FOR VALUES IN ('open', 'taken') PARTITION BY LIST (state);
CREATE TABLE parts_taken (note text, gone integer, state text, id integer);
ALTER TABLE parts_taken DROP gone;
CREATE TABLE parts_open PARTITION OF parts_live FOR VALUES IN ('open');
ALTER TABLE parts_live ATTACH PARTITION parts_taken FOR VALUES IN ('taken');
CREATE TABLE parts_rest PARTITION OF parts DEFAULT;
SELECT pg_temp.error_of($$SELECT payorder.guard('parts', 'state', 'ticket')$$);
SELECT pg_temp.error_of($$SELECT payorder.guard('parts_live', 'state', 'ticket', 'id')$$);
SELECT payorder.guard('parts', 'state', 'ticket', 'id', true);
SELECT * FROM payorder.guarded;
INSERT INTO parts VALUES (1), (2), (3), (4);
SELECT pg_temp.error_of($$INSERT INTO parts VALUES (5, 'done')$$, true);
SELECT pg_temp.error_of($$INSERT INTO parts_rest VALUES (5, 'done')$$, true);
SELECT pg_temp.error_of($$UPDATE parts SET state = 'done'$$, true);
UPDATE parts SET state = 'taken' WHERE id < 4;
SELECT pg_temp.error_of($$UPDATE parts SET state = 'open' WHERE id = 1$$, true);
UPDATE parts SET state = 'done' WHERE id = 1;
SELECT pg_temp.error_of($$UPDATE parts SET state = 'open' WHERE id = 1$$);
-- a move with another key, and by MERGE
UPDATE parts SET state = 'taken', id = 14 WHERE id = 4;
MERGE INTO parts AS p USING (VALUES (2, 'done'), (14, 'done')) AS v (id, state) ON p.id = v.id
    WHEN MATCHED THEN UPDATE SET state = v.state;
SELECT pg_temp.error_of($$MERGE INTO parts AS p USING (VALUES (3)) AS v (id) ON p.id = v.id
    WHEN MATCHED THEN UPDATE SET state = 'open'$$);
-- a row that is not moved passes for none that is
SELECT pg_temp.error_of($$WITH u AS (UPDATE parts SET state = 'done' WHERE id = 3 RETURNING 1)
    INSERT INTO parts SELECT 20, 'done' FROM u$$);
SELECT pg_temp.error_of($$WITH d AS (DELETE FROM parts WHERE id = 3 RETURNING *) INSERT INTO parts SELECT id, 'done' FROM d$$);
-- nor one whose move a trigger swallowed
CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULL;
END $$;
CREATE TRIGGER swallow BEFORE INSERT ON parts_rest FOR EACH ROW WHEN (NEW.id = 3) EXECUTE FUNCTION swallow();
BEGIN;
UPDATE parts SET state = 'done' WHERE id = 3;
SELECT pg_temp.error_of($$INSERT INTO parts VALUES (21, 'done')$$);
ROLLBACK;
DROP TRIGGER swallow ON parts_rest;
-- a trigger that moves other rows while a row moves
CREATE FUNCTION move_another() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        UPDATE parts SET state = 'open' WHERE id = 3;
    EXCEPTION WHEN SQLSTATE 'PO001' THEN
        UPDATE parts SET state = 'done' WHERE id = 3;
    END;
    RETURN NULL;
END $$;
INSERT INTO parts VALUES (6);
CREATE TRIGGER zz_another AFTER DELETE ON parts FOR EACH ROW WHEN (OLD.id = 6) EXECUTE FUNCTION move_another();
UPDATE parts SET state = 'taken' WHERE id = 6;
DROP TRIGGER zz_another ON parts;
SELECT tableoid::regclass, id, state FROM parts ORDER BY id;
SELECT key, event, from_state, to_state FROM payorder.guard_events WHERE table_name = 'parts' ORDER BY id;
-- a move that leaves the state alone is none; also of a state that is unknown
CREATE TABLE months (id integer, month integer, state text DEFAULT 'open', PRIMARY KEY (month, id)) PARTITION BY LIST (month);
CREATE TABLE months_1 PARTITION OF months FOR VALUES IN (1);
CREATE TABLE months_2 PARTITION OF months FOR VALUES IN (2);
SELECT payorder.guard('months', 'state', 'ticket', 'id');
INSERT INTO months VALUES (1, 1), (2, 1);
UPDATE months SET state = 'taken';
UPDATE months SET month = 2 WHERE id = 1;
UPDATE months SET month = 1, state = 'done' WHERE id = 1;
SELECT pg_temp.error_of($$UPDATE months SET month = 2, state = 'open' WHERE id = 2$$);
INSERT INTO months VALUES (2, 1, 'done') ON CONFLICT (month, id) DO UPDATE SET state = excluded.state;
ALTER TABLE months_1 DISABLE TRIGGER USER;
UPDATE months_1 SET state = 'lost' WHERE id = 1;
ALTER TABLE months_1 ENABLE TRIGGER USER;
UPDATE months SET month = 2 WHERE id = 1;
SELECT pg_temp.error_of($$UPDATE months SET month = 1, state = 'open' WHERE id = 1$$);
-- detached it is free, attached it is guarded; what is guarded by itself is not attached
ALTER TABLE months DETACH PARTITION months_2;
UPDATE months_2 SET state = 'taken';
ALTER TABLE months ATTACH PARTITION months_2 FOR VALUES IN (2);
SELECT pg_temp.error_of($$UPDATE months_2 SET state = 'open'$$, true);
SELECT pg_temp.error_of($$SELECT payorder.unguard('months_2', 'state')$$);
ALTER TABLE months DETACH PARTITION months_2;
SELECT payorder.guard('months_2', 'state', 'ticket', 'id');
SELECT pg_temp.error_of($$ALTER TABLE months ATTACH PARTITION months_2 FOR VALUES IN (2)$$) ~ '^42710';
SELECT payorder.unguard('months', 'state');
ALTER TABLE months ATTACH PARTITION months_2 FOR VALUES IN (2);
SELECT relation, enabled FROM payorder.guarded WHERE relation <> 'parts'::regclass;
SELECT payorder.guard('months', 'state', 'ticket', 'id');
SELECT relation, enabled FROM payorder.guarded WHERE relation <> 'parts'::regclass;
SELECT payorder.unguard('months', 'state');
SELECT count(*) FROM pg_trigger WHERE tgfoid = 'payorder.check_transition()'::regprocedure AND tgrelid = 'months_2'::regclass;
DROP TABLE months, parts;

-- ---- inheritance: a child has triggers of its own
CREATE TABLE family (id integer PRIMARY KEY, state text DEFAULT 'open');
CREATE TABLE child (extra integer) INHERITS (family);
SELECT payorder.guard('family', 'state', 'ticket', 'id');
SELECT * FROM payorder.guarded ORDER BY relation;
INSERT INTO child VALUES (1);
SELECT pg_temp.error_of($$UPDATE family SET state = 'done'$$, true);
CREATE TABLE second () INHERITS (family);
SELECT count(*) FROM payorder.guarded;
SELECT payorder.guard('family', 'state', 'ticket', 'id');
SELECT count(*) FROM payorder.guarded;
INSERT INTO second SELECT 2;
SELECT pg_temp.error_of($$UPDATE family SET state = 'done' WHERE id = 2$$);
SELECT payorder.unguard('family', 'state');
SELECT count(*) FROM payorder.guarded;
DROP TABLE family CASCADE;

-- ---- generated columns as state and as key, a key of any type and of NULL
CREATE TABLE made (n integer, j json, state text GENERATED ALWAYS AS (CASE n WHEN 0 THEN 'open' WHEN 1 THEN 'taken' ELSE 'lost' END) STORED,
                   k text GENERATED ALWAYS AS ('key ' || n) STORED);
SELECT payorder.guard('made', 'state', 'ticket', 'k');
INSERT INTO made (n) VALUES (0);
SELECT pg_temp.error_of($$UPDATE made SET n = 2$$);
UPDATE made SET n = 1;
SELECT pg_temp.error_of($$INSERT INTO made (n) VALUES (7)$$);
SELECT payorder.guard('made', 'state', 'ticket', 'j');
SELECT pg_temp.error_of($$UPDATE made SET n = 2, j = '{"a": [1]}'$$);
SELECT pg_temp.error_of($$UPDATE made SET n = 2$$);
DROP TABLE made;
-- a row as key is neither NULL nor not
CREATE TYPE pair AS (a integer, b integer);
CREATE TABLE paired (k pair, state text);
SELECT payorder.guard('paired', 'state', 'ticket', 'k');
INSERT INTO paired VALUES ((1, NULL), 'open');
SELECT pg_temp.error_of($$INSERT INTO paired VALUES ((1, NULL), 'taken')$$);
SELECT pg_temp.error_of($$UPDATE paired SET state = 'done'$$);
DROP TABLE paired;
DROP TYPE pair;

-- ---- temporary and unlogged tables
CREATE TEMP TABLE short_lived (id integer PRIMARY KEY, state text) ON COMMIT DELETE ROWS;
SELECT payorder.guard('short_lived', 'state', 'ticket');
INSERT INTO short_lived VALUES (1, 'open');
SELECT pg_temp.error_of($$INSERT INTO short_lived VALUES (1, 'done')$$);
DROP TABLE short_lived;
CREATE UNLOGGED TABLE unlogged (id integer PRIMARY KEY, state text);
SELECT payorder.guard('unlogged', 'state', 'ticket');
SELECT pg_temp.error_of($$INSERT INTO unlogged VALUES (1, 'done')$$);
DROP TABLE unlogged;

-- ---- the log: a rollback takes its rows along, nobody changes it
CREATE TABLE logged (id text PRIMARY KEY, state text DEFAULT 'open');
SELECT payorder.guard('logged', 'state', 'ticket', log => true);
SET payorder.trace = 'a trace';
BEGIN;
INSERT INTO logged VALUES ('gone');
ROLLBACK;
INSERT INTO logged VALUES ('a'), (repeat('long ', 20000));
UPDATE logged SET state = 'taken' WHERE id = 'a';
RESET payorder.trace;
SELECT length(key), event, from_state, to_state, trace, actor = session_user, txid < pg_current_xact_id(),
       at BETWEEN now() - interval '1 hour' AND now()
    FROM payorder.guard_events WHERE table_name = 'logged' ORDER BY id;
SELECT pg_temp.error_of('UPDATE payorder.guard_events SET id = id');
SELECT pg_temp.error_of('DELETE FROM payorder.guard_events');
SELECT pg_temp.error_of('TRUNCATE payorder.guard_events');

-- ---- writers need no right to payorder, and are told what they may read
CREATE ROLE regress_guard_writer;
GRANT UPDATE, INSERT ON logged TO regress_guard_writer;
SET ROLE regress_guard_writer;
INSERT INTO logged VALUES ('w');
SELECT pg_temp.error_of($$UPDATE logged SET state = 'lost'$$, true);
SELECT pg_temp.error_of($$INSERT INTO logged VALUES ('x', 'lost')$$, true);
SELECT pg_temp.error_of('SELECT FROM payorder.guard_events');
SELECT pg_temp.error_of($$SELECT payorder.guard('logged', 'state', 'ticket')$$);
RESET ROLE;
GRANT SELECT (id, state) ON logged TO regress_guard_writer;
SET ROLE regress_guard_writer;
UPDATE logged SET state = 'taken' WHERE id = 'w';
SELECT pg_temp.error_of($$UPDATE logged SET state = 'lost' WHERE id = 'w'$$, true);
RESET ROLE;
SELECT key, event, from_state, to_state FROM payorder.guard_events WHERE table_name = 'logged' AND key = 'w' ORDER BY id;
-- policies: it holds for whom they bind, who is told no more than they let him see
ALTER TABLE logged ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON logged USING (id = 'w');
SET ROLE regress_guard_writer;
SELECT pg_temp.error_of($$UPDATE logged SET state = 'lost'$$, true);
UPDATE logged SET state = 'done';
RESET ROLE;
SELECT id, state FROM logged WHERE length(id) = 1 ORDER BY id;
DROP TABLE logged;

-- ---- who may guard: the owner, with rights to the functions
GRANT USAGE ON SCHEMA payorder TO regress_guard_writer;
GRANT EXECUTE ON FUNCTION payorder.guard, payorder.unguard TO regress_guard_writer;
GRANT CREATE ON SCHEMA public TO regress_guard_writer;
CREATE TABLE not_mine (id integer PRIMARY KEY, state text);
SET ROLE regress_guard_writer;
CREATE TABLE mine (id integer PRIMARY KEY, state text);
SELECT pg_temp.error_of($$SELECT payorder.guard('not_mine', 'state', 'ticket')$$);
SELECT pg_temp.error_of($$SELECT payorder.guard('mine', 'state', 'ticket')$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION payorder.check_transition TO regress_guard_writer;
SET ROLE regress_guard_writer;
SELECT payorder.guard('mine', 'state', 'ticket');
SELECT pg_temp.error_of($$INSERT INTO mine VALUES (1, 'done')$$);
SELECT payorder.unguard('mine', 'state');
-- rows that a policy hides from the owner, too, are looked at
INSERT INTO mine VALUES (1, 'lost');
ALTER TABLE mine ENABLE ROW LEVEL SECURITY;
ALTER TABLE mine FORCE ROW LEVEL SECURITY;
SELECT count(*) FROM mine;
SELECT pg_temp.error_of($$SELECT payorder.guard('mine', 'state', 'ticket')$$);
RESET ROLE;
SELECT pg_temp.error_of($$SELECT payorder.unguard('not_mine', 'state')$$);
SET ROLE regress_guard_writer;
SELECT pg_temp.error_of($$SELECT payorder.unguard('not_mine', 'state')$$);
RESET ROLE;
DROP TABLE mine, not_mine;
DROP OWNED BY regress_guard_writer;
DROP ROLE regress_guard_writer;

-- ---- what is no table of the user's
CREATE TABLE plain (id integer PRIMARY KEY, state text, wide char(9), n integer, other text COLLATE "C", many text[]);
CREATE VIEW plain_view AS SELECT id, state FROM plain;
CREATE MATERIALIZED VIEW stored AS SELECT id, state FROM plain;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE far (id integer, state text) SERVER nowhere;
CREATE TABLE mixed (id integer, state text) PARTITION BY LIST (id);
CREATE FOREIGN TABLE mixed_far PARTITION OF mixed DEFAULT SERVER nowhere;
CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE loose (id integer PRIMARY KEY, state text COLLATE no_case);
CREATE SEQUENCE numbers;
SELECT pg_temp.error_of(format('SELECT payorder.guard(%s)', arguments))
    FROM (VALUES (1, $$NULL, 'state', 'ticket'$$), (2, $$'plain', NULL, 'ticket'$$), (3, $$'plain', 'state', NULL$$),
                 (4, $$'plain', 'nothing', 'ticket'$$), (5, $$'plain', 'State', 'ticket'$$),
                 (6, $$'plain', 'ctid', 'ticket'$$), (7, $$'plain', 'state', 'nothing'$$),
                 (8, $$'plain', 'state', 'order'$$), (9, $$'plain', 'state', 'ticket', 'nothing'$$),
                 (10, $$'plain', 'wide', 'ticket'$$), (11, $$'plain', 'n', 'ticket'$$), (12, $$'plain', 'many', 'ticket'$$),
                 (13, $$'plain_view', 'state', 'ticket', 'id'$$), (14, $$'stored', 'state', 'ticket', 'id'$$),
                 (15, $$'far', 'state', 'ticket', 'id'$$), (16, $$'mixed', 'state', 'ticket', 'id'$$),
                 (17, $$'numbers', 'state', 'ticket', 'id'$$), (18, $$'plain_pkey', 'state', 'ticket', 'id'$$),
                 (19, $$'loose', 'state', 'ticket'$$), (20, $$'payorder.orders', 'state', 'ticket'$$),
                 (21, $$'payorder.events_07', 'event', 'ticket', 'id'$$), (22, $$'pg_class', 'relname', 'ticket', 'oid'$$),
                 (23, $$'0', 'state', 'ticket'$$))
        AS a (number, arguments)
    ORDER BY number;
SELECT payorder.guard('plain', 'other', 'ticket', 'other');
SELECT pg_temp.error_of($$INSERT INTO plain (id, other) VALUES (1, 'done')$$);
SELECT payorder.unguard('plain', 'other');
SELECT pg_temp.error_of(format('SELECT payorder.unguard(%s)', arguments))
    FROM (VALUES (1, $$NULL, 'state'$$), (2, $$'plain', NULL$$), (3, $$'plain', 'nothing'$$), (4, $$'plain', 'state'$$),
                 (5, $$'plain_view', 'state'$$), (6, $$'payorder.orders', 'state'$$))
        AS a (number, arguments)
    ORDER BY number;
BEGIN READ ONLY;
SELECT pg_temp.error_of($$SELECT payorder.guard('plain', 'state', 'ticket')$$);
SELECT pg_temp.error_of($$SELECT payorder.unguard('plain', 'state')$$);
ROLLBACK;

-- ---- the trigger function by hand
SELECT payorder.guard_of(0), payorder.guard_of(NULL);
CREATE TRIGGER wrong BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION payorder.check_transition('ticket', '1');
INSERT INTO plain VALUES (1, 'open');
SELECT pg_temp.error_of($$UPDATE plain SET state = 'taken'$$);
DROP TRIGGER wrong ON plain;
CREATE TRIGGER wrong AFTER UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION payorder.check_transition('ticket', '1');
SELECT pg_temp.error_of($$UPDATE plain SET state = 'taken'$$);
DROP TRIGGER wrong ON plain;
-- a WHEN of another form is left as it is
CREATE TRIGGER wrong AFTER UPDATE ON plain FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state AND NEW.id > 1)
    EXECUTE FUNCTION payorder.check_transition('ticket', '1');
UPDATE plain SET state = 'done';
SELECT pg_temp.error_of($$UPDATE plain SET id = 2, state = 'taken'$$);
SELECT count(*) FROM payorder.guarded;
DROP TRIGGER wrong ON plain;
CREATE TRIGGER wrong AFTER UPDATE ON plain FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state AND (NEW.state IS NULL) IS NOT NULL)
    EXECUTE FUNCTION payorder.check_transition('ticket', '99');
SELECT pg_temp.error_of($$UPDATE plain SET state = 'taken'$$);
SELECT * FROM payorder.guarded;
DROP TRIGGER wrong ON plain;

DROP TABLE plain, loose, mixed CASCADE;
DROP FOREIGN TABLE far;
DROP FOREIGN DATA WRAPPER nowhere CASCADE;
DROP SEQUENCE numbers;
DROP COLLATION no_case;
DROP DOMAIN short;
DROP FUNCTION swallow, move_another;
SELECT count(*) FROM payorder.guarded;
SELECT count(*) FROM payorder.check_invariants();

-- machines are for ever, but other tests list them
SET session_replication_role = replica;
DELETE FROM payorder.guard_events;
DELETE FROM payorder.states USING payorder.machines WHERE machine_id = id AND name IN ('ticket', 'paint');
DELETE FROM payorder.transitions USING payorder.machines WHERE machine_id = id AND name IN ('ticket', 'paint');
DELETE FROM payorder.machines WHERE name IN ('ticket', 'paint');
RESET session_replication_role;
