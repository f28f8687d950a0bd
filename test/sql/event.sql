--
-- Room event: the append-only log, its ring of partitions, and the hash chain
-- of an order.  Scenarios 64 (event rows changed) and 24 as far as numbers
-- without a gap are concerned.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- the ring: 64 partitions, each for its own slot, each dumped, each guarded
SELECT count(*), min(slot), max(slot), count(DISTINCT slot)
    FROM (SELECT substring(pg_get_expr(c.relpartbound, c.oid) FROM '\d+')::integer
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
          WHERE i.inhparent = 'payorder.events'::regclass) AS p (slot);
SELECT count(*) FROM pg_inherits i, pg_extension e
    WHERE i.inhparent = 'payorder.events'::regclass AND e.extname = 'payorder' AND i.inhrelid = ANY (e.extconfig);

-- append-only, on the log and on each partition, with rows and without (64)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT pg_temp.error_of($$UPDATE payorder.events SET reason = 'x'$$);
SELECT pg_temp.error_of($$DELETE FROM payorder.events$$);
SELECT pg_temp.error_of($$TRUNCATE payorder.events$$);
SELECT command, count(*) FILTER (WHERE pg_temp.state_of(format(command, i.inhrelid::regclass)) = '42501')
    FROM pg_inherits i, unnest(ARRAY['UPDATE %s SET reason = NULL', 'UPDATE %s SET slot = 0', 'DELETE FROM %s', 'DELETE FROM %s WHERE false', 'TRUNCATE %s']) AS command
    WHERE i.inhparent = 'payorder.events'::regclass
    GROUP BY command ORDER BY command;
SELECT pg_temp.state_of(format('MERGE INTO %s e USING (VALUES (1)) AS v (n) ON true WHEN MATCHED THEN %s', tableoid::regclass, action))
    FROM payorder.events, unnest('{UPDATE SET reason = NULL,DELETE}'::text[]) AS action;
SELECT pg_temp.history('o1');
ROLLBACK;

-- the hash, computed a second time from its description: version byte; the
-- hash before; fields with a byte for NULL and their length; integers and
-- times in 8 bytes, big-endian; the payload by its SHA-256
CREATE FUNCTION pg_temp.field(value bytea) RETURNS bytea
    LANGUAGE sql AS $$
SELECT coalesce('\x01' || int4send(octet_length(value)) || value, '\x00')
$$;
CREATE FUNCTION pg_temp.field(value text) RETURNS bytea
    LANGUAGE sql AS $$
SELECT pg_temp.field(convert_to(value, 'UTF8'))
$$;
CREATE FUNCTION pg_temp.hash_of(e payorder.events) RETURNS bytea
    LANGUAGE sql AS $$
SELECT sha256('\x01'
    || coalesce((SELECT p.hash FROM payorder.events p WHERE p.order_no = e.order_no AND p.seq = e.seq - 1),
                decode(repeat('00', 32), 'hex'))
    || pg_temp.field(e.order_no) || pg_temp.field(int8send(e.seq))
    || pg_temp.field(e.event) || pg_temp.field(e.from_state) || pg_temp.field(e.to_state)
    || pg_temp.field(e.actor) || pg_temp.field(e.source) || pg_temp.field(e.reason)
    || pg_temp.field(sha256(convert_to(e.payload::text, 'UTF8'))) || pg_temp.field(e.request_id)
    || pg_temp.field(e.trace) || pg_temp.field(e.gateway) || pg_temp.field(e.txn_id)
    || pg_temp.field(timestamptz_send(e.at)))
$$;
-- an order with a history in which each column is filled somewhere
CREATE FUNCTION pg_temp.full_life(number text) RETURNS text
    LANGUAGE sql AS $$
SELECT pg_temp.new_order(number);
SELECT set_config('payorder.trace', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', true);
SELECT state FROM payorder.begin_payment(number, 'till', actor => 'shop');
SELECT pg_temp.pay('t-' || number, number);
SELECT set_config('payorder.trace', '', true);
SELECT state FROM payorder.fire(number, 'cancel', 'Søren', '买错了', '{"note":  "two  blanks", "a": 1}', request_id => 'r-1');
$$;
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.full_life('订单-1'), pg_temp.full_life('o2');
SELECT count(*), bool_and(hash = pg_temp.hash_of(e)) FROM payorder.events e;
SELECT v.order_no, v.events, v.ok, v.broken_seq, v.problem
    FROM payorder.orders o, payorder.verify_events(o.order_no) AS v ORDER BY 1;
-- numbers without a gap, for each order its own; an undone event leaves none
SELECT order_no, array_agg(seq ORDER BY seq) FROM payorder.events GROUP BY 1 ORDER BY 1;
SAVEPOINT s;
SELECT state FROM payorder.fire('o2', 'resume');
ROLLBACK TO s;
SELECT state FROM payorder.fire('o2', 'resume', reason => 'again');
SELECT pg_temp.history('o2');
SELECT ok, events FROM payorder.verify_events('o2');
-- the payload stays as it came
SELECT payload FROM payorder.events WHERE request_id IS NOT NULL AND order_no = 'o2';
-- ids grow with each event
SELECT bool_and(id > before) FROM (SELECT id, lag(id) OVER (PARTITION BY order_no ORDER BY seq) AS before FROM payorder.events) AS e;
-- attributes are the order's, no event's
UPDATE payorder.orders SET attributes = '{"secret": "kept out of the log"}' WHERE order_no = 'o2';
SELECT state FROM payorder.fire('o2', 'ship');
SELECT count(*) FROM payorder.events WHERE payload::text LIKE '%secret%' OR reason LIKE '%secret%';
-- how a session shows times, bytes and texts does not matter
SELECT z, d, (SELECT ok FROM payorder.verify_events('订单-1'))
    FROM unnest('{UTC,America/New_York,Asia/Kathmandu,+14}'::text[]) AS z,
         unnest('{"ISO, YMD","German, DMY","SQL, MDY"}'::text[]) AS d,
         LATERAL (SELECT set_config('TimeZone', z, true), set_config('DateStyle', d, true)) AS s
    ORDER BY z, d;
SET LOCAL bytea_output = 'escape';
SET LOCAL client_encoding = 'LATIN1';
SET LOCAL extra_float_digits = 0;
SET LOCAL lc_messages = 'C';
SET LOCAL standard_conforming_strings = off;
SELECT ok FROM payorder.verify_events('o2');
ROLLBACK;

-- each kind of tampering is found, with the first event that is wrong (64):
-- every column of what happened; NULL and '' are two things, and so are
-- payloads that mean the same
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.full_life('o1'), pg_temp.full_life('o2');
SELECT pg_temp.history('o1');
DO $$
DECLARE
    change text;
    v payorder.event_check;
    found text;
BEGIN
    FOREACH change IN ARRAY ARRAY[
        $c$event = 'paid' WHERE seq = 3$c$, $c$from_state = 'closing' WHERE seq = 3$c$, $c$from_state = NULL WHERE seq = 3$c$,
        $c$to_state = 'to_ship' WHERE seq = 3$c$, $c$actor = 'nobody' WHERE seq = 2$c$, $c$source = 'fire' WHERE seq = 3$c$,
        $c$reason = 'another' WHERE seq = 4$c$, $c$reason = '' WHERE seq = 1$c$, $c$reason = NULL WHERE seq = 4$c$,
        $c$payload = '{"note": "two  blanks", "a": 1}' WHERE seq = 4$c$, $c$payload = NULL WHERE seq = 4$c$,
        $c$payload = '{}' WHERE seq = 1$c$, $c$request_id = 'r-2' WHERE seq = 4$c$, $c$request_id = NULL WHERE seq = 4$c$,
        $c$trace = NULL WHERE seq = 3$c$, $c$trace = '' WHERE seq = 1$c$, $c$gateway = 'none' WHERE seq = 3$c$, $c$txn_id = 't2' WHERE seq = 3$c$,
        $c$at = at + interval '1 microsecond' WHERE seq = 4$c$, $c$at = at - interval '1 hour' WHERE seq = 1$c$,
        $c$hash = sha256('') WHERE seq = 2$c$, $c$hash = substr(hash, 1, 31) WHERE seq = 2$c$,
        $c$actor = actor || 'x', source = 'x' WHERE seq = 2$c$,
        $c$event = 'pa', from_state = 'y' || from_state WHERE seq = 3$c$,
        $c$seq = 9 WHERE seq = 4$c$, $c$seq = 0 WHERE seq = 1$c$,
        $c$order_no = 'o2', seq = 5, request_id = NULL WHERE seq = 4$c$,
        $c$id = id + 100 WHERE seq = 3$c$, $c$txid = '3' WHERE seq = 3$c$] LOOP
        BEGIN
            PERFORM pg_temp.tamper(format('UPDATE payorder.events SET %s AND order_no = ''o1''', change));
            SELECT * INTO v FROM payorder.verify_events('o1');
            SELECT string_agg(DISTINCT invariant || ' ' || subject, ', ') INTO found FROM payorder.check_invariants()
                WHERE invariant IN ('events_verify', 'order_state_is_last_event');
            RAISE EXCEPTION SQLSTATE 'ZZZZZ';
        EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
            RAISE WARNING '%: % [%]', change, coalesce(v.broken_seq || ' ' || v.problem, 'ok'), found;
        END;
    END LOOP;
END $$;
-- two events that changed places
SELECT pg_temp.outcome($$SELECT pg_temp.tamper('UPDATE payorder.events SET seq = -seq WHERE order_no = ''o1'' AND seq IN (2, 3)'),
                                pg_temp.tamper('UPDATE payorder.events SET seq = seq + 5 WHERE order_no = ''o1'' AND seq < 0')$$,
                       $$SELECT concat_ws(' ', broken_seq, problem) FROM payorder.verify_events('o1')$$);
-- removed events: one in the middle, the first, all
SELECT seqs, pg_temp.outcome(format('SELECT pg_temp.tamper(%L)', format('DELETE FROM payorder.events WHERE order_no = ''o1'' AND seq IN (%s)', seqs)),
                             $$SELECT concat_ws(' ', ok, events, broken_seq, problem) FROM payorder.verify_events('o1')$$)
    FROM unnest('{2,3,1,"2, 3","1, 2, 3, 4"}'::text[]) WITH ORDINALITY AS s (seqs, n) ORDER BY n;
-- the last one: a chain knows nothing of what comes after its end, but where
-- the event moved the order, the order's state contradicts the log
SELECT pg_temp.outcome($$SELECT pg_temp.tamper('DELETE FROM payorder.events WHERE order_no = ''o1'' AND seq = 4')$$,
                       $$SELECT concat_ws(' ', ok, events, (SELECT string_agg(w, ', ') FROM pg_temp.wrong() AS w)) FROM payorder.verify_events('o1')$$);
-- the other order's chain was never touched
SELECT ok FROM payorder.verify_events('o2');
SELECT pg_temp.error_of($$SELECT payorder.verify_events('o3')$$);
SELECT payorder.verify_events(NULL) IS NULL;
ROLLBACK;

-- slots: the month of the order's creation in UTC, for all its life and
-- wherever the session is; one order's events lie in one partition
CREATE FUNCTION pg_temp.slot(at timestamptz) RETURNS integer
    LANGUAGE sql AS $$
SELECT (12 * extract(year FROM at AT TIME ZONE 'UTC') + extract(month FROM at AT TIME ZONE 'UTC'))::integer % 64
$$;
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT slot = pg_temp.slot(o.created_at), e.tableoid::regclass::text = 'payorder.events_' || lpad(slot::text, 2, '0')
    FROM payorder.events e JOIN payorder.orders o USING (order_no);
SELECT pg_temp.tamper(format('UPDATE payorder.orders SET created_at = %L', at)) IS NOT NULL,
       pg_temp.tamper(format('UPDATE payorder.events SET slot = %s', pg_temp.slot(at))) IS NOT NULL
    FROM (VALUES (timestamptz '2021-12-31 23:59:59.999999+00')) AS t (at);
SET LOCAL TimeZone = 'Asia/Shanghai';
SELECT state FROM payorder.fire('o1', 'cancel', request_id => 'r1');
SELECT event, slot, tableoid::regclass FROM payorder.events ORDER BY seq;
SELECT ok, events FROM payorder.verify_events('o1');
SELECT state, version FROM payorder.fire('o1', 'cancel', request_id => 'r1');
SELECT pg_temp.wrong();
ROLLBACK;

-- money without an order: the event names the payment, has no number and no
-- hash, and lies in the slot of the payment's month, also when it comes later
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.pay('t1', 'o1');
SELECT event, order_no, seq, hash, gateway, txn_id, reason, source FROM payorder.events;
SELECT e.slot = pg_temp.slot(p.received_at) FROM payorder.events e JOIN payorder.payments p USING (gateway, txn_id);
SELECT pg_temp.tamper($$UPDATE payorder.payments SET received_at = received_at - interval '70 days'$$);
SELECT verdict, detail FROM payorder.ingest('till', 'b1', 'refund', NULL, 40, 'CNY', payment_txn => 't1');
SELECT e.reason, e.txn_id, e.slot = pg_temp.slot(p.received_at)
    FROM payorder.events e JOIN payorder.payments p USING (gateway, txn_id)
    WHERE e.id > (SELECT min(id) FROM payorder.events) ORDER BY e.id;
-- once it has its order, events are in the order's chain
SELECT pg_temp.new_order('o1');
SELECT seq, event, txn_id, reason FROM payorder.events WHERE order_no = 'o1' ORDER BY seq;
SELECT ok FROM payorder.verify_events('o1');
ROLLBACK;

-- payorder.trace is noted with events and tasks, up to 256 characters
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SET LOCAL payorder.trace = 'trace-1';
SELECT pg_temp.pay('t1', 'o1');
SELECT set_config('payorder.trace', repeat('x', 300), true) IS NOT NULL;
SELECT state FROM payorder.fire('o1', 'cancel');
SELECT event, left(trace, 8), length(trace) FROM payorder.events ORDER BY seq;
SELECT kind, left(trace, 8), length(trace) FROM payorder.tasks;
SELECT ok FROM payorder.verify_events('o1');
ROLLBACK;
