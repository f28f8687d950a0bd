/*
 * The yardstick of bench/clients/run: one data-modifying CTE that writes what
 * ingest() writes for a payment, and checks nothing: no key that was seen, no lock
 * but the updates' own, no guard, no subtransaction, no CHECK and no trigger.  It
 * has the same columns and indexes, for who reads the rows needs them; the edge of
 * the machine, its task and the length of its timer are written into the
 * statement, as is the month's partition of the log, :slot.
 */
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE SCHEMA bare;
CREATE SEQUENCE bare.event_ids;
CREATE SEQUENCE bare.task_ids;
CREATE SEQUENCE bare.timer_ids;

CREATE TABLE bare.orders (LIKE payorder.orders INCLUDING ALL EXCLUDING CONSTRAINTS);
CREATE TABLE bare.attempts (LIKE payorder.attempts INCLUDING ALL EXCLUDING CONSTRAINTS);
CREATE TABLE bare.payments (LIKE payorder.payments INCLUDING ALL EXCLUDING CONSTRAINTS);
CREATE TABLE bare.callbacks (LIKE payorder.callbacks INCLUDING ALL EXCLUDING CONSTRAINTS);
CREATE TABLE bare.timers (LIKE payorder.timers INCLUDING ALL EXCLUDING CONSTRAINTS);
CREATE TABLE bare.tasks (LIKE payorder.tasks INCLUDING ALL EXCLUDING CONSTRAINTS);
CREATE TABLE bare.task_ready (LIKE payorder.task_ready INCLUDING ALL EXCLUDING CONSTRAINTS);
CREATE TABLE bare.events (LIKE payorder.events INCLUDING ALL EXCLUDING CONSTRAINTS) PARTITION BY LIST (slot);
ALTER TABLE bare.tasks ALTER id SET DEFAULT nextval('bare.task_ids');
ALTER TABLE bare.timers ALTER id SET DEFAULT nextval('bare.timer_ids');
ALTER TABLE bare.events ALTER id SET DEFAULT nextval('bare.event_ids');
SELECT format('CREATE TABLE bare.events_%s PARTITION OF bare.events FOR VALUES IN (%s)', lpad(n::text, 2, '0'), n)
FROM generate_series(0, 63) AS n \gexec
-- fillfactors and the like, which LIKE leaves out
SELECT format('ALTER TABLE bare.%I SET (%s)', t.relname, array_to_string(t.reloptions, ', '))
FROM pg_class AS t
WHERE t.relnamespace = 'payorder'::regnamespace AND t.relkind = 'r' AND t.reloptions IS NOT NULL
  AND to_regclass(format('bare.%I', t.relname)) IS NOT NULL \gexec

CREATE FUNCTION bare.hashed(field text) RETURNS bytea
    LANGUAGE sql IMMUTABLE
RETURN '\x01'::bytea || int4send(octet_length(field)) || convert_to(field, 'UTF8');
