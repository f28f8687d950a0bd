--
-- migrate_orders(): orders in flight go on under another version of their
-- machine, or all stay where they are.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- A machine whose state of waiting to be sent can be called otherwise, last
-- otherwise, and be reached before or after the payment.
CREATE FUNCTION pg_temp.version(patience text, sending text DEFAULT 'sending', cancel_is_final boolean DEFAULT true) RETURNS integer
    LANGUAGE sql AS $$
SELECT payorder.define_machine('parcel', format('{"initial": "new", "states": {
    "new": {"on": {"pay": {"target": "%2$s"}, "drop": {"target": "dropped"}, "close": {"target": "dropped"}}, "after": {"%1$s": {"fire": "close"}}},
    "%2$s": {"on": {"sent": {"target": "done"}}, "after": {"%1$s": {"alarm": "slow"}}},
    "dropped": %3$s,
    "done": {"type": "final"}}}', patience, sending,
    CASE WHEN cancel_is_final THEN '{"type": "final"}'
         ELSE '{"on": {"pay": {"target": "done"}, "bury": {"target": "gone"}}, "after": {"9d": {"fire": "bury"}}}, "gone": {"type": "final"}' END)::json)
$$;
CREATE FUNCTION pg_temp.orders() RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT format('%s: version %s, %s%s, paid %s, %s', o.order_no, m.version, o.state, CASE WHEN o.closed_at IS NOT NULL THEN ' closed' END, o.paid_amount,
              (SELECT string_agg(format('%s after %s', t.number, date_trunc('second', t.due_at - e.at)), ', ' ORDER BY t.due_at)
               FROM payorder.timers AS t
               JOIN LATERAL (SELECT at FROM payorder.events AS e WHERE e.order_no = o.order_no AND e.from_state IS DISTINCT FROM e.to_state ORDER BY seq DESC LIMIT 1) AS e ON true
               WHERE t.order_no = o.order_no AND t.state = o.state
                 AND t.entered_seq = (SELECT max(seq) FROM payorder.events AS e WHERE e.order_no = o.order_no
                                      AND (e.from_state IS DISTINCT FROM e.to_state OR e.event = 'migrate'))))
FROM payorder.orders AS o JOIN payorder.machines AS m ON m.id = o.machine_id WHERE o.order_no LIKE 'm_' ORDER BY 1
$$;
CREATE FUNCTION pg_temp.migrate_error(arguments text) RETURNS text
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT payorder.migrate_some(%s, NULL, '''', 10)', arguments);
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
-- What the procedure does, in this transaction: how many orders went.
CREATE FUNCTION pg_temp.migrate(from_version integer, to_version integer, reason text DEFAULT NULL, batch integer DEFAULT 1000) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    numbers text[];
    moved integer := 0;
    last text := '';
BEGIN
    LOOP
        numbers := payorder.migrate_some('parcel', from_version, to_version, reason, last, batch);
        EXIT WHEN numbers = '{}';
        moved := moved + cardinality(numbers);
        last := numbers[cardinality(numbers)];
    END LOOP;
    RETURN moved;
END $$;
\set ECHO queries

BEGIN;
SELECT pg_temp.empty();

SELECT pg_temp.version('1d');
SELECT payorder.create_order('m' || i, 100, 'CNY', 'parcel') FROM generate_series(1, 4) AS i \g /dev/null
SELECT verdict FROM payorder.ingest('till', 'p1', 'pay', 'm1', 100, 'CNY');
SELECT verdict FROM payorder.ingest('till', 'p2', 'pay', 'm2', 100, 'CNY');
SELECT state FROM payorder.fire('m2', 'sent');
SELECT state FROM payorder.fire('m3', 'drop');
SELECT pg_temp.version('2d');
SELECT pg_temp.orders();

/* ---- to the next version: state and money stay, timers are the new ones ---- */

SELECT pg_temp.migrate(1, 2, 'longer', 3);
SELECT pg_temp.orders();
SELECT seq, event, from_state, to_state, source, reason, payload FROM payorder.events WHERE order_no = 'm1' ORDER BY seq DESC LIMIT 1;
SELECT pg_temp.migrate(1, 2);
-- the old timers do nothing, the new ones fire in their time
SELECT timers, void_timers FROM payorder.sweep(at => now() + interval '25 hours');
SELECT state FROM payorder.orders WHERE order_no = 'm4';
SELECT timers, void_timers FROM payorder.sweep(at => now() + interval '49 hours');
SELECT state FROM payorder.orders WHERE order_no = 'm4';
SELECT order_no, cause FROM payorder.attention;

/* ---- and back ---- */

SELECT pg_temp.migrate(2, 1);
SELECT pg_temp.orders();

/* ---- refused: a state that is missing, or on the other side of payment ---- */

SELECT pg_temp.version('2d', 'posting');
SELECT pg_temp.error_of($$SELECT payorder.migrate_some('parcel', 1, 3, NULL, '', 10)$$);
SELECT payorder.define_machine('parcel', '{"initial": "new", "states": {
    "new": {"on": {"pay": {"target": "done"}, "pack": {"target": "sending"}, "close": {"target": "dropped"}}, "after": {"1d": {"fire": "close"}}},
    "sending": {"on": {"pay": {"target": "done"}, "close": {"target": "dropped"}}, "after": {"1d": {"fire": "close"}}},
    "dropped": {"type": "final"}, "done": {"type": "final"}}}');
SELECT pg_temp.error_of($$SELECT payorder.migrate_some('parcel', 1, 4, NULL, '', 10)$$);
-- nor past the check of all: the next of a list that was not begun
SELECT pg_temp.error_of($$SELECT payorder.migrate_some('parcel', 1, 4, NULL, 'm0', 10)$$);
SELECT pg_temp.error_of($$SELECT payorder.migrate_some('parcel', 1, 4, NULL, NULL, 10)$$);
SELECT pg_temp.orders();
-- a state that is final in one of them only
SELECT pg_temp.version('1d', 'sending', false);
SELECT pg_temp.migrate(1, 5);
SELECT pg_temp.orders();
SELECT pg_temp.migrate(5, 1);
SELECT pg_temp.orders();

/* ---- wrong calls ---- */

SELECT pg_temp.migrate_error(arguments) FROM (VALUES (1, $$'parcel', 1, 99$$), (2, $$'parcel', 99, 1$$), (3, $$'nothing', 1, 2$$), (4, $$NULL, 1, 2$$), (5, $$'parcel', NULL, 2$$)) AS a (n, arguments) ORDER BY n;
SELECT pg_temp.error_of($$SELECT payorder.migrate_some('parcel', 1, 2, NULL, '', 0)$$);
SELECT * FROM payorder.check_invariants();
SELECT order_no, ok FROM payorder.verify_events('m1');
ROLLBACK;

/* ---- the procedure commits as it goes ---- */

SELECT pg_temp.version('1d'), pg_temp.version('2d');
SELECT payorder.migrate_some('parcel', 2, 1, NULL, '', 10);
SELECT payorder.create_order('parcel' || i, 100, 'CNY', 'parcel') FROM generate_series(1, 5) AS i \g /dev/null
CALL payorder.migrate_orders('parcel', 2, 1, batch => 2);
SELECT m.version, count(*), count(DISTINCT e.txid)
    FROM payorder.orders AS o JOIN payorder.machines AS m ON m.id = o.machine_id JOIN payorder.events AS e USING (order_no)
    WHERE o.order_no LIKE 'parcel_' AND e.event = 'migrate' GROUP BY 1;
BEGIN;
CALL payorder.migrate_orders('parcel', 1, 2);
ROLLBACK;
