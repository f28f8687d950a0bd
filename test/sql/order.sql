--
-- Room order: fire, try_fire and allowed_events, and that a direct UPDATE of
-- an order is either the same as fire or refused, whoever writes and however.
-- Scenarios 64 and 75; 33 and 86 as far as a user's triggers are concerned.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- An order in each state of the default machine that can be reached by its
-- own means, each number is its state's name.
CREATE FUNCTION pg_temp.order_in(wanted text) RETURNS text
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_temp.new_order(wanted);
    IF wanted IN ('closing', 'cancelling') THEN
        PERFORM payorder.begin_payment(wanted, 'till');
        PERFORM payorder.fire(wanted, CASE wanted WHEN 'closing' THEN 'close' ELSE 'cancel' END);
    ELSIF wanted IN ('expired', 'cancelled') THEN
        PERFORM payorder.fire(wanted, CASE wanted WHEN 'expired' THEN 'close' ELSE 'cancel' END);
    ELSIF wanted <> 'pending' THEN
        PERFORM pg_temp.pay('pay-' || wanted, wanted);
        IF wanted = 'refunding' THEN
            PERFORM payorder.fire(wanted, 'refund_all');
        ELSIF wanted = 'refunded' THEN
            PERFORM payorder.ingest('till', 'back-' || wanted, 'refund', wanted, 100, 'CNY',
                                    payment_txn => 'pay-' || wanted);
        ELSIF wanted <> 'paid' THEN
            PERFORM payorder.sweep(1000, pg_temp.due(wanted));
            IF wanted IN ('shipped', 'completed') THEN
                PERFORM payorder.fire(wanted, 'ship');
            END IF;
            IF wanted = 'completed' THEN
                PERFORM payorder.fire(wanted, 'complete');
            END IF;
        END IF;
    END IF;
    RETURN pg_temp.state(wanted);
END $$;

-- One order in each state but the three that are over first, since a sweep
-- takes them there.
CREATE FUNCTION pg_temp.order_in_each_state() RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT pg_temp.order_in(s)
FROM unnest('{completed,shipped,to_ship,cancelled,cancelling,closing,expired,paid,pending,refunded,refunding}'::text[])
    WITH ORDINALITY AS w (s, n) ORDER BY n
$$;
CREATE FUNCTION pg_temp.events_of_order() RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT DISTINCT t.event FROM payorder.transitions t JOIN payorder.machines m ON m.id = t.machine_id
WHERE m.name = 'order' AND m.id < 100 ORDER BY t.event
$$;

-- fire: every state and event, to where or why not; an order's number is also
-- its state's name (75: pay, reopen, close_confirmed and refunded are PO016
-- everywhere, as is cooled, which is the timer's)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.order_in_each_state();
SELECT o.order_no, e, CASE r WHEN 'taken' THEN (SELECT string_agg(DISTINCT t.to_state, ' or ') FROM payorder.transitions t
                                                WHERE t.machine_id = o.machine_id AND t.from_state = o.state AND t.event = e)
                      ELSE r END
    FROM payorder.orders o, pg_temp.events_of_order() AS e,
         pg_temp.state_of(format('SELECT payorder.fire(%L, %L)', o.order_no, e)) AS r
    ORDER BY o.order_no, e;
SELECT o.order_no, string_agg(a, ' ' ORDER BY a) FROM payorder.orders o
    LEFT JOIN LATERAL payorder.allowed_events(o.order_no) AS a ON true GROUP BY 1 ORDER BY 1;
-- what is allowed is what fire takes, no more and no less
SELECT o.order_no, e FROM payorder.orders o, pg_temp.events_of_order() AS e
    WHERE (pg_temp.state_of(format('SELECT payorder.fire(%L, %L)', o.order_no, e)) = 'taken')
          IS DISTINCT FROM (e IN (SELECT payorder.allowed_events(o.order_no)));
-- UPDATE of the state, every pair of states: money edges and the timer's edge
-- are PO016, ways that the machine does not have PO001 (64, 75)
SELECT o.order_no, s.state, r
    FROM payorder.orders o JOIN payorder.states s USING (machine_id),
         pg_temp.state_of(format('UPDATE payorder.orders SET state = %L WHERE order_no = %L', s.state, o.order_no)) AS r
    WHERE s.state <> o.state
      AND (r <> 'PO001' OR EXISTS (SELECT FROM payorder.transitions t
                                   WHERE t.machine_id = o.machine_id AND t.from_state = o.state AND t.to_state = s.state))
    ORDER BY o.order_no, s.state;
-- nothing of all that has left a trace
SELECT o.order_no, o.state FROM payorder.orders o WHERE o.order_no <> o.state;
SELECT pg_temp.wrong();
ROLLBACK;

-- PO016 whoever does it (75)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
CREATE ROLE regress_payorder_shop;
GRANT USAGE ON SCHEMA payorder TO regress_payorder_shop;
GRANT SELECT, UPDATE, INSERT ON payorder.orders TO regress_payorder_shop;
GRANT EXECUTE ON FUNCTION payorder.fire TO regress_payorder_shop;
SELECT current_setting('is_superuser');
SELECT pg_temp.error_of($$SELECT payorder.fire('o1', 'pay')$$);
SELECT pg_temp.error_of($$UPDATE payorder.orders SET state = 'paid'$$);
SET LOCAL ROLE regress_payorder_shop;
SELECT current_setting('is_superuser');
SELECT pg_temp.error_of($$SELECT payorder.fire('o1', 'pay')$$);
SELECT pg_temp.error_of($$UPDATE payorder.orders SET state = 'paid'$$);
RESET ROLE;
ROLLBACK;

-- a money edge is PO016 too where its guard or its time does not hold
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.order_in('expired');
SELECT pg_temp.state_of($$UPDATE payorder.orders SET state = 'paid'$$);
SELECT pg_temp.tamper($$UPDATE payorder.orders SET closed_at = closed_at - interval '1 day'$$);
SELECT pg_temp.state_of($$UPDATE payorder.orders SET state = 'paid'$$);
SELECT pg_temp.state_of($$SELECT payorder.fire('expired', 'reopen')$$);
ROLLBACK;

-- what a refusal says: order, state, event, what is allowed, a hint
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT pg_temp.error_of($$SELECT payorder.fire('o1', 'ship')$$);
SELECT pg_temp.error_of($$SELECT payorder.fire('o1', 'nonsense')$$);
SELECT pg_temp.error_of($$SELECT payorder.fire('o2', 'ship')$$);
SELECT pg_temp.error_of($$SELECT payorder.allowed_events('o2')$$);
SELECT pg_temp.error_of($$SELECT payorder.fire(NULL, 'ship')$$);
SELECT pg_temp.error_of($$SELECT payorder.fire('o1', NULL)$$);
SELECT pg_temp.error_of($$SELECT payorder.fire('o1', 'cancel', expected_version => 7)$$);
SELECT split_part(pg_temp.error_of($$UPDATE payorder.orders SET state = 'to_ship'$$), E'\n', 1);
SELECT pg_temp.error_of($$UPDATE payorder.orders SET state = 'to_ship'$$) LIKE '%cancel, close%' AS names_what_is_allowed;
SELECT state FROM payorder.fire('o1', 'cancel');
SELECT pg_temp.error_of($$SELECT payorder.fire('o1', 'ship')$$);
ROLLBACK;

-- expected_version: version counts the kernel's updates of the row
BEGIN;
SELECT pg_temp.empty();
SELECT version FROM payorder.create_order('o1', 100, 'CNY');
UPDATE payorder.orders SET attributes = '{"note": "no update of the kernel"}';
SELECT version FROM payorder.orders;
SELECT state, version FROM payorder.fire('o1', 'cancel', expected_version => 1);
SELECT pg_temp.state_of($$SELECT payorder.fire('o1', 'cancel', expected_version => 1)$$);
SELECT pg_temp.state_of($$SELECT payorder.fire('o1', 'cancel', expected_version => 3)$$);
ROLLBACK;

-- request_id: the same again changes nothing, another content is PO014
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1'), pg_temp.new_order('o2');
SELECT state, version FROM payorder.fire('o1', 'cancel', 'anna', 'too dear', '{"by": "phone"}', request_id => 'r1');
SELECT state, version FROM payorder.fire('o1', 'cancel', 'anna', 'too dear', '{"by": "phone"}', request_id => 'r1');
SELECT state, version FROM payorder.fire('o1', 'cancel', 'anna', 'too dear', '{"by": "phone"}', 1, 'r1');
SELECT * FROM payorder.try_fire('o1', 'cancel', 'anna', 'too dear', '{"by": "phone"}', request_id => 'r1');
SELECT pg_temp.error_of($$SELECT payorder.fire('o1', 'close', 'anna', 'too dear', '{"by": "phone"}', request_id => 'r1')$$);
SELECT pg_temp.state_of($$SELECT payorder.fire('o1', 'cancel', 'anna', 'other', '{"by": "phone"}', request_id => 'r1')$$);
SELECT pg_temp.state_of($$SELECT payorder.fire('o1', 'cancel', 'anna', NULL, '{"by": "phone"}', request_id => 'r1')$$);
SELECT pg_temp.state_of($$SELECT payorder.fire('o1', 'cancel', 'anna', 'too dear', '{"by": "mail"}', request_id => 'r1')$$);
SELECT pg_temp.state_of($$SELECT payorder.fire('o1', 'cancel', 'anna', 'too dear', '{"by": "phone"}', request_id => 'r2')$$);
-- an id is one order's
SELECT state FROM payorder.fire('o2', 'close', request_id => 'r1');
SELECT event, actor = session_user AS by_session, source, reason, payload, request_id FROM payorder.events
    WHERE request_id IS NOT NULL ORDER BY order_no;
ROLLBACK;

-- try_fire: refusals as rows, failures as errors
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT * FROM payorder.try_fire('o1', 'ship');
SELECT * FROM payorder.try_fire('o1', 'pay');
SELECT * FROM payorder.try_fire('o2', 'ship');
SELECT * FROM payorder.try_fire('o1', 'cancel', expected_version => 7);
SELECT pg_temp.history('o1');
SELECT * FROM payorder.try_fire('o1', 'cancel');
SELECT * FROM payorder.try_fire('o1', 'cancel');
SELECT pg_temp.error_of($$SELECT payorder.try_fire(NULL, 'cancel')$$);
SELECT pg_temp.history('o1');
ROLLBACK;

-- a by-timer candidate is the timer's, wherever it stands among others
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_machine('turns', '{
    "initial": "new",
    "states": {
        "new": {"on": {"pay": {"target": "paid"},
                       "first": [{"guard": "open_attempt", "target": "a", "by": "timer"}, {"target": "b"}],
                       "last": [{"guard": "open_attempt", "target": "a"}, {"target": "b", "by": "timer"}]},
                "after": {"1h": {"fire": "first"}, "2h": {"fire": "last"}}},
        "paid": {"type": "final"}, "a": {"type": "final"}, "b": {"type": "final"}}}');
SELECT pg_temp.new_order('o1', 100, 'turns'), pg_temp.new_order('o2', 100, 'turns');
SELECT state FROM payorder.begin_payment('o2', 'till');
SELECT o, e, pg_temp.state_of(format('SELECT payorder.fire(%L, %L)', o, e)),
       e IN (SELECT payorder.allowed_events(o)) AS allowed
    FROM unnest('{o1,o2}'::text[]) AS o, unnest('{first,last}'::text[]) AS e ORDER BY o, e;
ROLLBACK;

-- UPDATE is the same as fire: order, event, timers, tasks (64).  Of two like
-- orders one goes by fire, one by UPDATE.
CREATE FUNCTION pg_temp.traces(number text) RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT format('order: %s version %s closed %s', state, version, closed_at IS NOT NULL)
FROM payorder.orders WHERE order_no = number
UNION ALL
(SELECT format('event %s: %s %s -> %s hashed %s', seq, event, from_state, to_state, hash IS NOT NULL)
 FROM payorder.events e WHERE order_no = number AND e.from_state <> e.to_state ORDER BY seq DESC LIMIT 1)
UNION ALL
(SELECT format('timer %s: in %s minutes', t.number, round(extract(epoch FROM t.due_at - o.updated_at) / 60))
 FROM payorder.timers t JOIN payorder.orders o USING (order_no, state)
 WHERE order_no = traces.number
   AND entered_seq = (SELECT max(seq) FROM payorder.events e WHERE e.order_no = traces.number AND e.from_state <> e.to_state)
 ORDER BY due_at, t.number)
UNION ALL
(SELECT 'task: ' || t FROM pg_temp.tasks(number) AS t ORDER BY 1)
$$;
CREATE FUNCTION pg_temp.both_ways(wanted text, event text, to_state text) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
DECLARE
    by_fire text[];
    by_update text[];
BEGIN
    PERFORM pg_temp.empty();
    PERFORM pg_temp.order_in(wanted);
    PERFORM payorder.fire(wanted, event);
    by_fire := ARRAY(SELECT pg_temp.traces(wanted));
    PERFORM pg_temp.empty();
    PERFORM pg_temp.order_in(wanted);
    EXECUTE format('UPDATE payorder.orders SET state = %L', to_state);
    by_update := ARRAY(SELECT pg_temp.traces(wanted));
    RETURN NEXT format('%s, the same both ways: %s', event, by_fire = by_update);
    RETURN QUERY SELECT unnest(by_update);
    RETURN QUERY SELECT pg_temp.wrong();
END $$;
BEGIN;
SELECT pg_temp.both_ways('pending', 'cancel', 'cancelled');
SELECT pg_temp.both_ways('paid', 'cancel', 'refunding');
SELECT pg_temp.both_ways('to_ship', 'ship', 'shipped');
SELECT pg_temp.both_ways('shipped', 'complete', 'completed');
SELECT pg_temp.both_ways('refunding', 'resume', 'to_ship');
ROLLBACK;

-- with an attempt open the same UPDATE is another edge, or none
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT pg_temp.state_of($$UPDATE payorder.orders SET state = 'cancelled'$$),
       pg_temp.state_of($$UPDATE payorder.orders SET state = 'expired'$$);
UPDATE payorder.orders SET state = 'cancelling', attributes = '{"a": 1}';
SELECT state, attributes, version FROM payorder.orders;
SELECT pg_temp.history('o1');
SELECT actor = session_user FROM payorder.events WHERE event = 'cancel';
SELECT pg_temp.tasks('o1');
ROLLBACK;

-- refused: what is no state, other columns, rows that go (64)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1'), pg_temp.new_order('o2');
SELECT pg_temp.state_of($$UPDATE payorder.orders SET state = NULL$$);
SELECT pg_temp.state_of($$UPDATE payorder.orders SET state = ''$$);
SELECT pg_temp.error_of($$UPDATE payorder.orders SET state = 'bogus' WHERE order_no = 'o1'$$) LIKE 'PO001%"pending"%"bogus"%';
SELECT pg_temp.error_of($$UPDATE payorder.orders SET amount = 1 WHERE order_no = 'o1'$$);
-- each column; those that a CHECK binds together with overdrawn_amount
SELECT a.attname, pg_temp.state_of(format('UPDATE payorder.orders SET %I = %s', a.attname,
        CASE WHEN a.attname = 'order_no' THEN $$order_no || 'x'$$
             WHEN a.attname = 'currency' THEN $$'USD'$$
             WHEN a.attname = 'state' THEN $$'cancelled'$$
             WHEN a.attname = 'frozen' THEN 'NOT frozen'
             WHEN a.attname = 'cooling_off' THEN $$interval '1 day'$$
             WHEN a.attname = 'attributes' THEN $$'{"a": 1}'$$
             WHEN a.attname IN ('refunding_amount', 'refunded_amount', 'disputed_amount') THEN '1, overdrawn_amount = 1'
             WHEN a.atttypid = 'timestamptz'::regtype THEN $$'epoch'$$
             ELSE a.attname || ' + 1' END))
    FROM pg_attribute a
    WHERE a.attrelid = 'payorder.orders'::regclass AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum;
-- the same value again is no change
SELECT pg_temp.state_of($$UPDATE payorder.orders SET amount = amount, state = state, version = version$$);
SELECT pg_temp.state_of($$DELETE FROM payorder.orders$$), pg_temp.state_of($$DELETE FROM payorder.orders WHERE false$$),
       pg_temp.state_of($$TRUNCATE payorder.orders$$), pg_temp.state_of($$TRUNCATE payorder.orders CASCADE$$);
SELECT pg_temp.error_of($$DELETE FROM payorder.orders$$);
-- many rows with one that may not: none goes
SELECT pg_temp.pay('t1', 'o2');
SELECT pg_temp.state_of($$UPDATE payorder.orders SET state = 'cancelled'$$);
SELECT pg_temp.error_of($$UPDATE payorder.orders SET state = 'cancelled'$$) LIKE 'PO001%"o2"%"paid"%"cancelled"%';
SELECT order_no, state, version FROM payorder.orders ORDER BY 1;
SELECT pg_temp.state_of($$UPDATE payorder.orders SET state = CASE order_no WHEN 'o1' THEN 'cancelled' ELSE 'refunding' END$$);
-- in one statement with what looks like the kernel's own write
SELECT pg_temp.state_of($$UPDATE payorder.orders SET state = 'cancelled', version = version + 1 WHERE order_no = 'o1'$$);
SELECT pg_temp.state_of($$UPDATE payorder.orders SET paid_amount = 100, version = version + 1 WHERE order_no = 'o1'$$);
ROLLBACK;

-- MERGE and INSERT … ON CONFLICT (64)
CREATE FUNCTION pg_temp.merge(action text) RETURNS text
    LANGUAGE sql AS $$
SELECT format('MERGE INTO payorder.orders o USING (VALUES (''o1''), (''o2'')) AS v (n) ON o.order_no = v.n WHEN MATCHED THEN %s', action)
$$;
CREATE FUNCTION pg_temp.upsert(action text) RETURNS text
    LANGUAGE sql AS $$
SELECT format('INSERT INTO payorder.orders (order_no, machine_id, state, amount, currency)
    SELECT order_no, machine_id, state, amount, currency FROM payorder.orders
    ON CONFLICT (order_no) DO UPDATE SET %s', action)
$$;
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1'), pg_temp.new_order('o2');
SELECT way, action, pg_temp.state_of(CASE way WHEN 'merge' THEN pg_temp.merge('UPDATE SET ' || action) ELSE pg_temp.upsert(action) END)
    FROM unnest('{merge,upsert}'::text[]) AS way,
         unnest(ARRAY[$$state = 'cancelled'$$, $$state = 'paid'$$, $$state = 'shipped'$$, 'amount = 1', 'paid_amount = 100', $$attributes = '{"a": 1}'$$])
             WITH ORDINALITY AS a (action, n)
    ORDER BY way, n;
SELECT pg_temp.state_of(pg_temp.merge('DELETE'));
SELECT pg_temp.error_of(pg_temp.merge($$UPDATE SET state = 'cancelled'$$));
SELECT pg_temp.history('o1');
ROLLBACK;
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT pg_temp.error_of(pg_temp.upsert($$state = 'cancelled'$$));
SELECT pg_temp.history('o1');
SELECT state, version, closed_at IS NOT NULL FROM payorder.orders;
SELECT pg_temp.wrong();
ROLLBACK;

-- several events fit: with the same effects one of them is taken, with
-- different ones the caller must say which
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_task_kind('bake');
SELECT payorder.define_machine('ways', '{
    "initial": "new",
    "states": {
        "new": {"on": {"pay": {"target": "paid"},
                       "left": {"target": "same"}, "right": {"target": "same"},
                       "warm": {"target": "other", "enqueue": "bake"}, "cold": {"target": "other"},
                       "loud": {"target": "third", "alarm": "noise"}, "still": {"target": "third"},
                       "slow": {"target": "fourth", "by": "timer"}, "quick": {"target": "fourth", "enqueue": "bake"}},
                "after": {"1h": {"fire": "slow"}}},
        "paid": {"type": "final"}, "same": {"type": "final"}, "other": {"type": "final"},
        "third": {"type": "final"}, "fourth": {"type": "final"}}}');
SELECT pg_temp.new_order('o1', 100, 'ways');
SELECT s, pg_temp.outcome(format('UPDATE payorder.orders SET state = %L', s),
                          format('SELECT event FROM payorder.events WHERE to_state = %L', s))
    FROM unnest('{same,other,third,fourth}'::text[]) WITH ORDINALITY AS s (s, n) ORDER BY n;
SELECT state FROM payorder.fire('o1', 'warm');
SELECT pg_temp.tasks('o1');
ROLLBACK;

-- triggers of the user's.  A BEFORE trigger with a late name that changes what
-- is the kernel's is refused in the kernel's write as in anybody's, whichever
-- column it is; attributes it may change.
CREATE FUNCTION pg_temp.meddle() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    NEW := jsonb_populate_record(NEW, TG_ARGV[0]::jsonb);
    RETURN NEW;
END $$;
CREATE FUNCTION pg_temp.meddled(change jsonb, statement text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    EXECUTE format('CREATE TRIGGER zzz BEFORE UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.meddle(%L)', change);
    answer := pg_temp.state_of(statement);
    DROP TRIGGER zzz ON payorder.orders;
    RETURN answer;
END $$;
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
DO $$
DECLARE
    change jsonb;
BEGIN
    FOREACH change IN ARRAY ARRAY['{"state": "expired"}', '{"state": "pending"}', '{"state": "paid"}', '{"amount": 1}', '{"currency": "USD"}',
                                  '{"paid_amount": 100}', '{"overdrawn_amount": 1}', '{"frozen": true}', '{"version": 9}',
                                  '{"order_no": "o2"}', '{"created_at": "2020-01-01 00:00:00+00"}',
                                  '{"closed_at": "2020-01-01 00:00:00+00"}', '{"closed_at": null}',
                                  '{"updated_at": "2020-01-01 00:00:00+00"}', '{"pay_by": "2020-01-01 00:00:00+00"}',
                                  '{"cooling_off": "300 days"}', '{"machine_id": 2}', '{"attributes": {"a": 1}}']::jsonb[] LOOP
        RAISE WARNING '% fire % update % attributes %', change,
            pg_temp.meddled(change, $s$SELECT payorder.fire('o1', 'cancel')$s$),
            pg_temp.meddled(change, $s$UPDATE payorder.orders SET state = 'cancelled'$s$),
            pg_temp.meddled(change, $s$UPDATE payorder.orders SET attributes = '{"b": 2}'$s$);
    END LOOP;
END $$;
-- and so it is while a callback is applied: kept for later, nothing half done (86)
CREATE TRIGGER zzz BEFORE UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.meddle('{"paid_amount": 1}');
SELECT pg_temp.pay('t1', 'o1');
SELECT state, paid_amount, version FROM payorder.orders;
DROP TRIGGER zzz ON payorder.orders;
SELECT pg_temp.pay('t1', 'o1');
SELECT pg_temp.wrong();
ROLLBACK;

-- a BEFORE trigger that swallows the kernel's write: an error of the user's,
-- no internal one, and a callback is kept (86)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
CREATE FUNCTION pg_temp.swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER zzz BEFORE UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.swallow();
SELECT pg_temp.state_of($$SELECT payorder.fire('o1', 'cancel')$$) NOT IN ('XX000', 'taken') AS refused;
SELECT pg_temp.outcome('SELECT 1', $$SELECT pg_temp.pay('t1', 'o1')$$);
ROLLBACK;

-- an AFTER trigger that updates attributes works, by its name before or after
-- payorder's own
CREATE FUNCTION pg_temp.note() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    UPDATE payorder.orders SET attributes = attributes || jsonb_build_object(TG_NAME, NEW.state) WHERE order_no = NEW.order_no;
    RETURN NULL;
END $$;
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1'), pg_temp.new_order('o2'), pg_temp.new_order('o3');
CREATE TRIGGER aaa AFTER UPDATE ON payorder.orders FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION pg_temp.note();
CREATE TRIGGER zzz AFTER UPDATE ON payorder.orders FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION pg_temp.note();
SELECT state FROM payorder.fire('o1', 'cancel');
UPDATE payorder.orders SET state = 'cancelled' WHERE order_no = 'o2';
SELECT pg_temp.pay('t3', 'o3');
SELECT order_no, state, version, attributes FROM payorder.orders ORDER BY 1;
SELECT pg_temp.history('o2');
SELECT pg_temp.wrong();
ROLLBACK;

-- a trigger that moves the order on in the same statement: refused, or each
-- step has its event in order; never a history that contradicts the order
CREATE FUNCTION pg_temp.move_on() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF TG_ARGV[0] = 'fire' THEN
        PERFORM payorder.fire(NEW.order_no, 'complete');
    ELSE
        UPDATE payorder.orders SET state = 'completed' WHERE order_no = NEW.order_no;
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION pg_temp.moved_on(name text, way text, statement text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    EXECUTE format($f$CREATE TRIGGER %I AFTER UPDATE ON payorder.orders FOR EACH ROW
        WHEN (OLD.state IS DISTINCT FROM NEW.state AND NEW.state = 'shipped')
        EXECUTE FUNCTION pg_temp.move_on(%L)$f$, name, way);
    EXECUTE statement;
    SELECT concat_ws('; ', string_agg(h, ', ' ORDER BY n), (SELECT state FROM payorder.orders WHERE order_no = 'to_ship'),
                     coalesce((SELECT string_agg(w, ', ') FROM pg_temp.wrong() AS w), 'well'))
        INTO answer FROM pg_temp.history('to_ship') WITH ORDINALITY AS h (h, n) WHERE n > 3;
    RAISE EXCEPTION SQLSTATE 'ZZZZZ';
EXCEPTION
    WHEN SQLSTATE 'ZZZZZ' THEN
        RETURN CASE WHEN answer LIKE '4 ship: %5 complete: %; completed; well' THEN 'in order' ELSE answer END;
    WHEN SQLSTATE 'PO001' THEN
        RETURN 'refused';
END $$;
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.order_in('to_ship');
DO $$
DECLARE
    name text;
    way text;
    statement text;
    answer text;
BEGIN
    FOREACH name IN ARRAY '{aaa,zzz}'::text[] LOOP
        FOREACH way IN ARRAY '{fire,update}'::text[] LOOP
            FOREACH statement IN ARRAY ARRAY[$s$SELECT payorder.fire('to_ship', 'ship')$s$, $s$UPDATE payorder.orders SET state = 'shipped'$s$] LOOP
                answer := pg_temp.moved_on(name, way, statement);
                IF answer NOT IN ('in order', 'refused') THEN
                    RAISE WARNING '% % %: %', name, way, statement, answer;
                END IF;
            END LOOP;
        END LOOP;
    END LOOP;
END $$;
ROLLBACK;

-- an UPDATE that leaves the state alone runs no trigger of payorder's
CREATE FUNCTION pg_temp.triggers_of(statement text) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || statement LOOP
        IF line LIKE '%Trigger%' THEN
            RETURN NEXT regexp_replace(line, 'time=[0-9.]+ ', '');
        END IF;
    END LOOP;
END $$;
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1'), pg_temp.new_order('o2');
SELECT pg_temp.triggers_of($$UPDATE payorder.orders SET attributes = '{"a": 1}'$$);
SELECT pg_temp.triggers_of($$UPDATE payorder.orders SET attributes = '{"a": 2}', state = state$$);
SELECT pg_temp.triggers_of($$UPDATE payorder.orders SET state = 'cancelled'$$);
SELECT count(*) FROM payorder.events WHERE event = 'cancel';
ROLLBACK;

-- closed_at: set on entering a final state, NULL again after reopen (8)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.order_in('expired');
SELECT closed_at IS NOT NULL FROM payorder.orders;
SELECT pg_temp.pay('t1', 'expired');
SELECT state, closed_at IS NULL, paid_amount FROM payorder.orders;
SELECT state FROM payorder.fire('expired', 'cancel');
SELECT closed_at IS NULL FROM payorder.orders;
SELECT pg_temp.swept(clock_timestamp());
SELECT pg_temp.tasks('expired');
SELECT verdict FROM payorder.claim() AS c, payorder.complete(c.task, c.token, json_build_object('messages', json_build_array(
    json_build_object('txn_id', 'b1', 'event', 'refund', 'amount', 100, 'currency', 'CNY'))));
SELECT state, closed_at IS NOT NULL FROM payorder.orders;
SELECT pg_temp.history('expired');
SELECT pg_temp.wrong();
ROLLBACK;

-- an effect that raises takes all of the transition with it, whoever asked for
-- it (law 1); a callback is kept for later (20, 86)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.order_in('paid'), pg_temp.order_in('pending');
CREATE FUNCTION pg_temp.no_timers() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no timers today''; END';
CREATE TRIGGER zzz BEFORE INSERT ON payorder.timers FOR EACH ROW WHEN (NEW.kind = 'state') EXECUTE FUNCTION pg_temp.no_timers();
SELECT pg_temp.error_of($$SELECT payorder.fire('paid', 'cancel')$$);
SELECT pg_temp.error_of($$SELECT payorder.try_fire('paid', 'cancel')$$);
SELECT pg_temp.error_of($$UPDATE payorder.orders SET state = 'refunding' WHERE order_no = 'paid'$$);
SELECT pg_temp.pay('t1', 'pending');
SELECT order_no, state, version, paid_amount FROM payorder.orders ORDER BY 1;
SELECT pg_temp.history('paid');
SELECT pg_temp.history('pending');
SELECT * FROM pg_temp.tasks();
SELECT disposition, kept, review FROM payorder.payments WHERE txn_id = 't1';
SELECT pg_temp.wrong();
DROP TRIGGER zzz ON payorder.timers;
SELECT pg_temp.pay('t1', 'pending');
SELECT pg_temp.wrong();
ROLLBACK;

-- what a savepoint undoes is undone: row, event, timers, tasks (24)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.order_in('paid');
SAVEPOINT s;
SELECT state FROM payorder.fire('paid', 'refund_all', request_id => 'r1');
SELECT pg_temp.tasks('paid');
ROLLBACK TO s;
SELECT pg_temp.tasks('paid');
SELECT pg_temp.state('paid');
SELECT pg_temp.history('paid');
SELECT state FROM payorder.fire('paid', 'refund_all', request_id => 'r1');
SELECT pg_temp.history('paid');
SELECT pg_temp.wrong();
ROLLBACK;

-- read-only transactions (25)
BEGIN READ ONLY;
SELECT pg_temp.error_of($$SELECT payorder.fire('o1', 'cancel')$$);
SELECT pg_temp.error_of($$SELECT payorder.try_fire('o1', 'cancel')$$);
ROLLBACK;
