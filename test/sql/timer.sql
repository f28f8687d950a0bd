--
-- Room timer: what is due when, never early, and what is void.
-- Scenarios 26, 29, 34, 35.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- due at its instant and not a microsecond before (34)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT payorder.next_due() = pg_temp.due('o1');
SELECT pg_temp.swept(pg_temp.due('o1') - interval '1 microsecond');
SELECT * FROM pg_temp.tasks();
SELECT pg_temp.swept(pg_temp.due('o1'));
SELECT * FROM pg_temp.tasks();
SELECT number FROM payorder.timers ORDER BY due_at;
-- the clock jumps back an hour: nothing again, nothing early
SELECT pg_temp.swept(now() - interval '1 hour');
SELECT count(*) FROM payorder.timers;
ROLLBACK;

-- the clock jumps forward a day: each timer once, and a state that is entered
-- then has its full time from then; back again: nothing early (34)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT pg_temp.swept(now() + interval '1 day');
SELECT pg_temp.tasks('o1');
SELECT pg_temp.state('o1');
SELECT number, due_at - now() FROM payorder.timers ORDER BY due_at;
SELECT updated_at - now(), (SELECT at - now() FROM payorder.events WHERE event = 'close') FROM payorder.orders;
SELECT pg_temp.swept(now());
SELECT pg_temp.swept(now() + interval '23 hours');
SELECT pg_temp.swept(now() + interval '1 day 30 minutes' - interval '1 microsecond');
SELECT pg_temp.state('o1');
SELECT pg_temp.swept(now() + interval '1 day 30 minutes');
SELECT pg_temp.state('o1');
SELECT closed_at - now() FROM payorder.orders;
SELECT pg_temp.wrong();
ROLLBACK;

-- a day is 24 hours, whatever the session's time zone does meanwhile (34): of
-- eleven spans of 30 to 330 days some end in another season than they begin
BEGIN;
SELECT pg_temp.empty();
SET LOCAL TimeZone = 'America/New_York';
SELECT count(DISTINCT extract(timezone FROM now() + make_interval(days => n))) FROM generate_series(30, 330, 30) AS n;
SELECT count(state) FROM generate_series(30, 330, 30) AS n,
    LATERAL payorder.create_order('p' || n, 100, 'CNY', pay_within => make_interval(days => n), cooling_off => make_interval(days => n)) AS o;
SELECT DISTINCT extract(epoch FROM pay_by - created_at) - substr(order_no, 2)::integer * 86400,
       round(extract(epoch FROM due_at - created_at) - substr(order_no, 2)::integer * 86400)
    FROM payorder.orders JOIN payorder.timers t USING (order_no, state) WHERE number = 3;
SET LOCAL TimeZone = 'Asia/Kathmandu';
SELECT count(pg_temp.pay('t' || order_no, order_no)) FROM payorder.orders;
SELECT DISTINCT round(extract(epoch FROM due_at - updated_at) - substr(order_no, 2)::integer * 86400)
    FROM payorder.orders JOIN payorder.timers t USING (order_no, state);
-- a machine's own days, and retries
SET LOCAL TimeZone = 'America/New_York';
SELECT payorder.define_machine('days', format('{"initial": "new", "states": {"new": {"on": {"pay": {"target": "done"}, "drop": {"target": "gone"}},
    "after": %s}, "done": {"type": "final"}, "gone": {"type": "final"}}}',
    (SELECT json_object_agg(n || 'd', json_build_object('fire', 'drop', 'guard', 'open_attempt', 'retry', n || 'd'))
     FROM generate_series(30, 330, 30) AS n))::json);
SELECT pg_temp.new_order('d', 100, 'days');
SELECT DISTINCT round(extract(epoch FROM due_at - created_at)) - (number + 1) * 30 * 86400 FROM payorder.timers JOIN payorder.orders USING (order_no, state) WHERE order_no = 'd';
CREATE TEMP TABLE before ON COMMIT DROP AS SELECT id, due_at FROM payorder.timers WHERE order_no = 'd';
SELECT pg_temp.swept(now() + interval '331 days');
SELECT count(*), count(DISTINCT t.due_at), bool_and(extract(epoch FROM t.due_at - (now() + interval '331 days')) = (number + 1) * 30 * 86400)
    FROM payorder.timers t JOIN before b USING (id);
ROLLBACK;

-- pay_within and cooling_off of the order go before the machine's
BEGIN;
SELECT pg_temp.empty();
SELECT state FROM payorder.create_order('o1', 100, 'CNY', pay_within => '1 hour', cooling_off => '3 days');
SELECT state FROM payorder.create_order('o2', 100, 'CNY');
SELECT order_no, number, date_trunc('second', due_at - created_at) FROM payorder.timers JOIN payorder.orders USING (order_no, state) WHERE number = 3 ORDER BY 1;
SELECT pg_temp.pay('t1', 'o1'), pg_temp.pay('t2', 'o2');
SELECT order_no, date_trunc('second', due_at - updated_at) FROM payorder.timers JOIN payorder.orders USING (order_no, state) ORDER BY 1;
-- within its cooling off an order can't be shipped and can be cancelled
SELECT pg_temp.swept(pg_temp.due('o2'));
SELECT order_no, state FROM payorder.orders ORDER BY 1;
SELECT pg_temp.swept(pg_temp.due('o1') - interval '1 microsecond');
SELECT pg_temp.state('o1');
SELECT pg_temp.state_of($$SELECT payorder.fire('o1', 'cancel')$$), pg_temp.state_of($$SELECT payorder.fire('o2', 'cancel')$$);
SELECT pg_temp.swept(pg_temp.due('o1'));
SELECT pg_temp.state('o1');
ROLLBACK;

-- an order that moved on makes its timers void: nothing is fired, asked or
-- said, the rows are gone (35)
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1'), pg_temp.new_order('o2'), pg_temp.new_order('o3');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT pg_temp.pay('t1', 'o1');
SELECT state FROM payorder.fire('o2', 'cancel');
SELECT order_no, count(*) FROM payorder.timers WHERE state = 'pending' GROUP BY 1 ORDER BY 1;
SELECT pg_temp.swept(pg_temp.due('o3', 4) - interval '1 microsecond');
SELECT order_no, state, number FROM payorder.timers ORDER BY 1;
SELECT order_no, state FROM payorder.orders ORDER BY 1;
SELECT * FROM pg_temp.tasks();
SELECT pg_temp.wrong();
ROLLBACK;

-- it came back to the same state: the timers of the first stay are void, those
-- of the second count from then (35)
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_machine('turns', '{
    "initial": "a",
    "states": {
        "a": {"on": {"pay": {"target": "done"}, "turn": {"target": "b"}, "drop": {"target": "gone"}}, "after": {"1h": {"fire": "drop"}}},
        "b": {"on": {"pay": {"target": "done"}, "turn": {"target": "a"}, "drop": {"target": "gone"}}, "after": {"1h": {"fire": "drop"}}},
        "done": {"type": "final"}, "gone": {"type": "final"}}}');
SELECT pg_temp.new_order('o1', 100, 'turns');
SELECT pg_temp.tamper($$UPDATE payorder.timers SET due_at = due_at - interval '30 minutes'$$);
SELECT state FROM payorder.fire('o1', 'turn');
SELECT state FROM payorder.fire('o1', 'turn');
SELECT count(*) FROM payorder.timers WHERE state = 'a';
SELECT pg_temp.swept(now() + interval '31 minutes');
SELECT pg_temp.state('o1');
SELECT pg_temp.swept(now() + interval '61 minutes');
SELECT pg_temp.history('o1');
-- an event that leaves the state alone does not begin a new stay
SELECT pg_temp.new_order('o2', 100, 'turns');
SELECT state FROM payorder.begin_payment('o2', 'till');
SELECT pg_temp.swept(now() + interval '61 minutes');
SELECT pg_temp.state('o2');
ROLLBACK;

-- two timers of one state are due in one sweep: the earlier is fired first and
-- makes the later one void
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_machine('race', '{
    "initial": "new",
    "states": {
        "new": {"on": {"pay": {"target": "done"}, "late": {"target": "second"}, "early": {"target": "first"}},
                "after": {"2h": {"fire": "late"}, "1h": {"fire": "early"}}},
        "done": {"type": "final"}, "first": {"type": "final"}, "second": {"type": "final"}}}');
SELECT pg_temp.new_order('o1', 100, 'race');
SELECT pg_temp.swept(now() + interval '3 hours');
SELECT pg_temp.state('o1');
SELECT count(*) FROM payorder.timers;
ROLLBACK;

-- a guard that does not hold: gone, or again after its retry.  An order is
-- completed by itself only once its money is quiet.
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT pg_temp.pay('t1', 'o1');
SELECT pg_temp.swept(pg_temp.due('o1'));
SELECT state FROM payorder.fire('o1', 'ship');
SELECT state FROM payorder.request_refund('R0000001', 'o1', 30);
CREATE TEMP TABLE first ON COMMIT DROP AS SELECT pg_temp.due('o1') AS due;
SELECT pg_temp.swept(due) FROM first;
SELECT pg_temp.state('o1');
SELECT due_at - due FROM payorder.timers, first WHERE order_no = 'o1' ORDER BY 1;
SELECT pg_temp.swept(due + interval '1 day') FROM first;
SELECT pg_temp.answer('refund', pg_temp.says('refund', 'b1', 30));
SELECT pg_temp.swept(due + interval '2 days' - interval '1 microsecond') FROM first;
SELECT pg_temp.state('o1');
SELECT pg_temp.swept(due + interval '2 days') FROM first;
SELECT pg_temp.state('o1');
SELECT pg_temp.wrong();
ROLLBACK;

-- a timer whose event is refused is no silent end: a person is told
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.define_machine('stuck', '{
    "initial": "new",
    "states": {
        "new": {"on": {"pay": {"target": "done"}, "drop": {"target": "gone", "guard": "open_attempt", "by": "timer"}}, "after": {"1h": {"fire": "drop"}}},
        "done": {"type": "final"}, "gone": {"type": "final"}}}');
SELECT pg_temp.new_order('o1', 100, 'stuck');
SELECT pg_temp.swept(pg_temp.due('o1'));
SELECT pg_temp.state('o1');
SELECT pg_temp.attention();
SELECT pg_temp.history('o1');
SELECT pg_temp.wrong();
ROLLBACK;

-- alarms: a review, an event, one for each subject and cause
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT pg_temp.pay('t1', 'o1');
SELECT pg_temp.swept(pg_temp.due('o1'));
SELECT pg_temp.swept(pg_temp.due('o1'));
SELECT pg_temp.attention();
SELECT pg_temp.history('o1');
SELECT pg_temp.swept(pg_temp.due('o1'));
SELECT pg_temp.attention();
SELECT pg_temp.state('o1');
SELECT count(*) FROM payorder.timers;
SELECT pg_temp.wrong();
SELECT state FROM payorder.fire('o1', 'ship');
SELECT pg_temp.attention();
ROLLBACK;

-- next_due: the nearest of timers, leases and callbacks that wait; NULL for never
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.next_due() IS NULL;
SELECT pg_temp.new_order('o1');
SELECT payorder.next_due() = (SELECT min(due_at) FROM payorder.timers);
SELECT payorder.define_task_kind('bake', lease => '10 seconds');
SELECT payorder.enqueue('bake') IS NOT NULL;
SELECT payorder.next_due() = (SELECT min(due_at) FROM payorder.timers);
SELECT count(*) FROM payorder.claim();
SELECT payorder.next_due() = (SELECT leased_until FROM payorder.task_leases);
SELECT verdict, detail FROM payorder.ingest('till', 'b1', 'refund', NULL, 5, 'CNY', payment_txn => 'nothing');
SELECT payorder.next_due() = (SELECT next_at FROM payorder.callbacks_waiting);
-- what was set aside is not due
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT pg_temp.tamper($$UPDATE payorder.timers SET due_at = 'infinity'$$);
SELECT payorder.next_due() IS NULL;
SELECT pg_temp.swept(now() + interval '300 years');
ROLLBACK;
