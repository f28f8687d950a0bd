--
-- Room callback: what the list of verdicts (verdicts.sql) leaves open: facts
-- that are filled in, what waits and in which order it is drained, alarms,
-- errors, ids and amounts at their limits.
-- Scenarios 6, 11, 13, 14, 22 to 24, 33, 68 (first half), 77, 83, 84, 86.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- A message at the till; verdict, detail, first verdict and the order's state.
CREATE FUNCTION pg_temp.hear(event text, txn text, number text DEFAULT NULL, amount bigint DEFAULT NULL,
                             currency text DEFAULT 'CNY', payment_txn text DEFAULT NULL, refund_no text DEFAULT NULL,
                             occurred_at timestamptz DEFAULT NULL, gateway text DEFAULT 'till')
    RETURNS text
    LANGUAGE sql AS $$
SELECT format('%s%s%s%s%s', a.verdict, '(' || a.detail || ')', ', first ' || a.first_verdict, ', ' || a.state,
              CASE WHEN a.paid THEN ', paid' END)
       || CASE WHEN a.ack_status IS DISTINCT FROM 200 THEN ', not acknowledged' ELSE '' END
FROM payorder.ingest(gateway, txn, event, number, amount, CASE WHEN amount IS NOT NULL THEN currency END, occurred_at,
                     payment_txn => payment_txn, refund_no => refund_no) AS a
$$;

-- What waits, in the order in which it came.
CREATE FUNCTION pg_temp.waiting() RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT format('%s %s: %s(%s) for %s, tries %s, %s', w.txn_id, w.event, w.verdict, w.reason,
              coalesce(w.order_no, 'no order'), w.tries,
              CASE WHEN w.next_at = 'infinity' THEN 'not by itself' ELSE 'by itself' END)
FROM payorder.callbacks_waiting AS w ORDER BY w.arrival
$$;

-- How the messages stand.
CREATE FUNCTION pg_temp.verdicts() RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT format('%s %s: %s%s, first %s', c.txn_id, c.event, c.verdict, '(' || c.detail || ')', c.first_verdict)
FROM payorder.callbacks AS c ORDER BY c.txn_id, c.event
$$;

-- Where the money is.
CREATE FUNCTION pg_temp.pots() RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT format('%s of %s: %s', p.txn_id, coalesce(p.order_no, 'no order'),
              concat_ws(', ', 'kept ' || nullif(p.kept, 0), 'review ' || nullif(p.review, 0), 'owed ' || nullif(p.owed, 0),
                        'returning ' || nullif(p."returning", 0), 'returned ' || nullif(p.returned, 0),
                        'overdrawn ' || nullif(p.overdrawn, 0)))
FROM payorder.payments AS p ORDER BY p.txn_id
$$;

-- What waits for a person.
CREATE FUNCTION pg_temp.reviews() RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT said FROM payorder.attention, format('%s: %s', subject, cause) AS said ORDER BY said COLLATE "C"
$$;

-- All events, in the order in which they were written, and what they say.
CREATE FUNCTION pg_temp.story() RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT format('%s: %s %s', coalesce(order_no, 'no order'), event, concat_ws(' ', payload ->> 'event', payload ->> 'txn_id'))
FROM payorder.events WHERE event <> 'create_order' ORDER BY id
$$;

CREATE FUNCTION pg_temp.second_gateway() RETURNS void
    LANGUAGE sql AS $$ SELECT payorder.add_gateway('desk', 'generic', 'shop-2') $$;
CREATE FUNCTION pg_temp.pause(gateway text DEFAULT 'till') RETURNS void
    LANGUAGE sql AS $$ SELECT payorder.pause_gateway(gateway, 'tester', 'test') $$;
CREATE FUNCTION pg_temp.resume(gateway text DEFAULT 'till') RETURNS void
    LANGUAGE sql AS $$ SELECT payorder.resume_gateway(gateway, 'tester', 'test') $$;

/* ---- facts ---- */

\echo facts that were NULL are filled in, once, each with one event; nothing else changes
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT pg_temp.hear('pay', 't', 'a', 100);
SELECT pg_temp.hear('refund', 'r', NULL, 30, currency => NULL, payment_txn => 't');
CREATE TEMP TABLE seen ON COMMIT DROP AS SELECT count(*) AS events FROM payorder.events;
SELECT pg_temp.hear('refund', 'r', 'a', 30, payment_txn => 't');
SELECT pg_temp.hear('refund', 'r', 'a', 30, payment_txn => 't', refund_no => 'shop_refund_1');
SELECT pg_temp.hear('refund', 'r', 'a', 30, payment_txn => 't', refund_no => 'shop_refund_1');
SELECT pg_temp.hear('refund', 'r', 'a', 30, payment_txn => 't', refund_no => 'shop_refund_2');
SELECT pg_temp.hear('refund', 'r', 'a', 30, 'USD', payment_txn => 't', refund_no => 'shop_refund_1');
SELECT reference, payment_txn, refund_no, amount, currency FROM payorder.callbacks WHERE txn_id = 'r';
-- two fill-ins, two conflicts
SELECT count(*) - (SELECT events FROM seen) AS events FROM payorder.events;
SELECT pg_temp.pots();
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo a message that is not well-formed fills nothing in
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.hear('refund', 'r', NULL, 30, currency => NULL, payment_txn => 't');
SELECT pg_temp.hear('refund', 'r', E'a\nb', 30, payment_txn => 't');
SELECT pg_temp.hear('refund', 'r', 'a', 0, payment_txn => 't');
SELECT reference, payment_txn, refund_no, amount, currency FROM payorder.callbacks WHERE txn_id = 'r';
SELECT pg_temp.waiting();
ROLLBACK;

\echo a fact that is filled in counts from then on: the order that a parked payment names
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.hear('pay', 't', NULL, 100);
SELECT pg_temp.hear('pay', 't', 'a', 100);
SELECT pg_temp.hear('pay', 't', 'b', 100);
SELECT pg_temp.new_order('b');
SELECT pg_temp.new_order('a');
SELECT pg_temp.verdicts();
SELECT pg_temp.pots();
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo only facts are compared: not body, time or source; the first body is kept
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT verdict FROM payorder.ingest('till', 't', 'pay', 'a', 100, 'CNY', now() - interval '1 hour', '{"n": 1, "n": 2, "x":  100.50}');
SELECT verdict FROM payorder.ingest('till', 't', 'pay', 'a', 100, 'CNY', now(), '{"other": "body"}', 'query');
SELECT body, body_sha256 = sha256('{"n": 1, "n": 2, "x":  100.50}') AS digest, source, occurred_at < now() AS first FROM payorder.callbacks;
-- no body where none is to be stored, its digest all the same
SET LOCAL payorder.store_body = off;
SELECT verdict FROM payorder.ingest('till', 't2', 'pay', 'a', 100, 'CNY', payload => '{"card": "4242"}');
SELECT body, body_sha256 = sha256('{"card": "4242"}') AS digest FROM payorder.callbacks WHERE txn_id = 't2';
SELECT count(*) FROM payorder.events WHERE payload::text LIKE '%4242%';
ROLLBACK;

\echo a huge payload
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT verdict FROM payorder.ingest('till', 't', 'pay', 'a', 100, 'CNY', payload => json_build_object('x', repeat('z', 5000000)));
SELECT verdict FROM payorder.ingest('till', 't', 'pay', 'a', 100, 'CNY', payload => json_build_object('y', repeat('z', 5000000)));
SELECT octet_length(body::text) FROM payorder.callbacks;
SELECT verdict FROM payorder.ingest('till', 't2', 'pay_failed', 'a', payload => (repeat('[', 5000) || repeat(']', 5000))::json);
ROLLBACK;

/* ---- amounts and currencies ---- */

\echo automatic returns of any amounts within one hour
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT pg_temp.hear('pay', 't1', 'a', 100);
SELECT pg_temp.hear('pay', 't2', 'a', 9223372036854775807);
SELECT pg_temp.hear('pay', 't3', 'a', 1);
SELECT pg_temp.pots();
ROLLBACK;

\echo amounts at their limits (13, 14)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a', 9223372036854775807);
SELECT pg_temp.hear('pay', 't' || n, 'a', amount)
    FROM (VALUES (1, 0), (2, -1), (3, -9223372036854775808), (4, 9223372036854775806), (5, 9223372036854775807), (6, 1)) AS v (n, amount) ORDER BY n;
SELECT pg_temp.hear('refund', 'r', NULL, 9223372036854775807, payment_txn => 't5');
SELECT pg_temp.pots();
SELECT paid_amount, refunded_amount, state FROM payorder.orders;
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo more went back than a bigint can hold: it waits with its error, and nothing is lost
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a', 9223372036854775807);
SELECT pg_temp.hear('pay', 't', 'a', 9223372036854775807);
SELECT pg_temp.hear('refund', 'r', NULL, 9223372036854775807, payment_txn => 't');
SELECT pg_temp.hear('refund', 'r2', NULL, 9223372036854775807, payment_txn => 't');
SELECT pg_temp.pots();
SELECT pg_temp.waiting();
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo currencies without and with three decimals, unknown, in lower case, too long, a space, not ASCII
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT number, (payorder.create_order(number, 100, number)).state FROM (VALUES ('JPY'), ('KWD'), ('CNY')) AS v (number);
SELECT currency, pg_temp.hear('pay', 't' || n, number, 100, currency)
    FROM (VALUES (1, 'JPY', 'JPY'), (2, 'KWD', 'KWD'), (3, 'CNY', 'JPY'), (4, 'CNY', 'XXX'), (5, 'CNY', 'cny'), (6, 'CNY', 'CNYY'),
                 (7, 'CNY', 'CN'), (8, 'CNY', ' '), (9, 'CNY', 'CNY '), (10, 'CNY', '￥')) AS v (n, number, currency) ORDER BY n;
SELECT pg_temp.hear('pay', 't11', 'CNY', 100);
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo an order of amount 0 is paid at once, and what comes to it is excess (84)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('free', 0);
SELECT pg_temp.history('free');
SELECT gateway, txn_id, event, amount, verdict, source FROM payorder.callbacks;
SELECT pg_temp.hear('pay', 't', 'free', 1);
SELECT pg_temp.new_order('free', 0);
SELECT count(*) FROM payorder.callbacks;
-- an order that was paid before it came, and costs nothing
SELECT pg_temp.hear('pay', 't2', 'free2', 5);
SELECT pg_temp.new_order('free2', 0);
SELECT pg_temp.verdicts();
SELECT * FROM payorder.check_invariants();
ROLLBACK;

/* ---- ids ---- */

\echo the longest id is 128 characters; a longer one is refused, never cut, and still one key
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT pg_temp.hear('pay', repeat('t', 129), 'a', 100);
SELECT pg_temp.hear('pay', repeat('t', 129), 'a', 100);
SELECT pg_temp.hear('pay', repeat('t', 129), 'a', 101);
SELECT pg_temp.hear('pay', repeat('t', 128) || 'u', 'a', 100);
SELECT pg_temp.hear('pay', repeat('t', 100000), 'a', 100);
SELECT pg_temp.hear('pay', repeat('t', 128), 'a', 100);
SELECT length(txn_id) <= 128 AS fits, txn_id = repeat('t', 128) AS whole, verdict FROM payorder.callbacks ORDER BY 1, 2, 3;
SELECT sum(review) AS review, sum(kept) AS kept FROM payorder.payments;
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo characters are counted, not bytes
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order(repeat('单', 128));
SELECT replace(pg_temp.hear('pay', repeat('号', 128), repeat('单', 128), 100), '号', '');
SELECT pg_temp.hear('refund', 'r', NULL, 30, payment_txn => repeat('号', 128));
SELECT pg_temp.hear('refund', repeat('退', 128), NULL, 30, payment_txn => repeat('号', 128));
SELECT length(refund_no) <= 128, state FROM payorder.refunds ORDER BY 1;
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo ids that are no ids: empty, control characters; and ids that only look bad
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order(number) FROM (VALUES ('a'), ('''; DROP TABLE payorder.orders; --'), ('"quoted" \ back $1 %s {"json": 1}'), ('日本-ünï-😀')) AS v (number);
SELECT pg_temp.hear('pay', txn, number, 100)
    FROM (VALUES (1, '', 'a'), (2, E'new\nline', 'a'), (3, E'\t', 'a'), (4, E'del\x7f', 'a'), (5, E'\x01', 'a'),
                 (6, 't1', ''), (7, 't2', E'a\r'), (8, 't3', repeat('x', 129)),
                 (9, '''; DELETE FROM payorder.payments; --', '''; DROP TABLE payorder.orders; --'),
                 (10, '"%s" \ $1 {}', '"quoted" \ back $1 %s {"json": 1}'), (11, '支付😀', '日本-ünï-😀'), (12, ' ', 'a')) AS v (n, txn, number) ORDER BY n;
SELECT pg_temp.hear('refund', 'r1', NULL, 10, payment_txn => '');
SELECT pg_temp.hear('refund', 'r2', NULL, 10, payment_txn => '支付😀', refund_no => '');
SELECT pg_temp.hear('refund', 'r3', NULL, 10, payment_txn => '支付😀', refund_no => repeat('r', 129));
SELECT pg_temp.hear('refund', 'r4:''"\', NULL, 10, payment_txn => '支付😀', refund_no => 'the shop''s "own"');
SELECT pg_temp.hear('pay_closed', 't4', E'\x02');
SELECT order_no, state FROM payorder.orders ORDER BY 1;
SELECT count(*) FILTER (WHERE (payorder.verify_events(order_no)).ok) = count(*) AS verified FROM payorder.orders;
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo doubles under another form of id are no second payment (68)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.alter_gateway('till', '{"pay_id_pattern": "^pi_"}');
SELECT pg_temp.new_order('a' || n) FROM generate_series(1, 50) AS n \g /dev/null
SELECT pg_temp.hear('pay', 'pi_' || n, 'a' || n, 100), count(*) FROM generate_series(1, 50) AS n GROUP BY 1;
SELECT pg_temp.hear('pay', 'ch_' || n, 'a' || n, 100), count(*) FROM generate_series(1, 50) AS n GROUP BY 1;
SELECT disposition, sum(kept) AS kept, sum(review) AS review, sum(owed) AS owed FROM payorder.payments GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM payorder.refunds;
SELECT cause, count(*) FROM payorder.attention GROUP BY 1;
-- other events have ids of their own
SELECT pg_temp.hear('refund', 're_1', NULL, 10, payment_txn => 'pi_1');
SELECT pg_temp.hear('pay_failed', 'ch_x', 'a2');
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo a disabled gateway is heard, and begins nothing (83)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT payorder.alter_gateway('till', '{"enabled": false}');
SELECT pg_temp.state_of($$SELECT payorder.begin_payment('a', 'till')$$);
SELECT pg_temp.hear('pay', 't', 'a', 100);
SELECT pg_temp.hear('refund', 'r', NULL, 100, payment_txn => 't');
ROLLBACK;

/* ---- what waits ---- */

\echo parked before the order: applied by its creation, in the order of draining (6, 11)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.hear('refund_failed', 'r1', 'a', refund_no => 'nobody_knows_it');
SELECT pg_temp.hear('refund', 'r2', NULL, 30, payment_txn => 't2', occurred_at => '2020-01-04');
SELECT pg_temp.hear('refund', 'r1', NULL, 20, payment_txn => 't2', occurred_at => '2020-01-03');
SELECT pg_temp.hear('pay_closed', 'c', 'a', occurred_at => '2020-01-01');
SELECT pg_temp.hear('pay', 't1', 'a', 100, occurred_at => '2020-01-02');
SELECT pg_temp.hear('pay', 't2', 'a', 100, occurred_at => '2020-01-01');
SELECT pg_temp.waiting();
SELECT pg_temp.new_order('a');
SELECT pg_temp.story();
SELECT pg_temp.verdicts();
SELECT pg_temp.pots();
SELECT pg_temp.waiting();
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo without times the arrival decides; those with a time come first
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.hear('pay', txn, 'a', 100, occurred_at => at)
    FROM (VALUES (1, 't3', NULL::timestamptz), (2, 't2', NULL), (3, 't1', '2020-01-01')) AS v (n, txn, at) ORDER BY n;
SELECT pg_temp.new_order('a');
SELECT pg_temp.verdicts();
ROLLBACK;

\echo a paused gateway: taken and acknowledged; then orders by oldest arrival, within an order the order of draining (22, 23)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.second_gateway();
SELECT pg_temp.new_order(number) FROM (VALUES ('a'), ('b'), ('c')) AS v (number);
SELECT pg_temp.pause();
SELECT pg_temp.hear('pay_failed', 'x', 'b');
SELECT pg_temp.hear('refund', 'ra', NULL, 30, payment_txn => 'ta');
SELECT pg_temp.hear('pay', 'ta', 'a', 100);
SELECT pg_temp.hear('pay', 'tb2', 'b', 100, occurred_at => '2020-01-02');
SELECT pg_temp.hear('pay', 'tb1', 'b', 100, occurred_at => '2020-01-01');
SELECT pg_temp.hear('pay', 'tc', 'c', 100, gateway => 'desk');
SELECT pg_temp.hear('pay', 'ta', 'a', 100);
SELECT pg_temp.swept(now() + interval '1 second');
SELECT pg_temp.waiting();
SELECT paused, draining FROM payorder.gateways WHERE gateway = 'till';
SELECT pg_temp.resume();
SELECT paused, draining FROM payorder.gateways WHERE gateway = 'till';
SELECT pg_temp.swept(now() + interval '2 seconds');
SELECT paused, draining FROM payorder.gateways WHERE gateway = 'till';
SELECT pg_temp.story();
SELECT pg_temp.pots();
SELECT pg_temp.waiting();
SELECT pg_temp.swept(now() + interval '3 seconds');
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo paused for longer than the order may wait: not expired; drained first (77)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT pg_temp.pause();
SELECT pg_temp.hear('pay', 't', 'a', 100);
SELECT pg_temp.swept(now() + interval '16 minutes');
SELECT pg_temp.state('a');
SELECT pg_temp.swept(now() + interval '10 hours');
SELECT pg_temp.state('a');
SELECT pg_temp.resume();
-- the timer is due as well, and the callback goes first
SELECT pg_temp.swept(now() + interval '11 hours');
SELECT pg_temp.state('a'), pg_temp.history('a');
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo and while it is being closed
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SELECT payment_no IS NOT NULL FROM payorder.begin_payment('a', 'till');
SELECT (payorder.fire('a', 'close', 'tester')).state;
SELECT pg_temp.pause();
SELECT pg_temp.hear('pay', 't', 'a', 100);
SELECT pg_temp.swept(now() + interval '31 minutes') IS NOT NULL;
SELECT pg_temp.state('a');
SELECT pg_temp.resume();
SELECT pg_temp.swept(now() + interval '32 minutes') IS NOT NULL;
SELECT pg_temp.state('a');
ROLLBACK;

\echo more than a hundred for one order: none is lost, the sweep does the rest
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.hear('pay_failed', 'x' || n, 'a') FROM generate_series(1, 250) AS n \g /dev/null
SELECT pg_temp.hear('pay', 't', 'a', 100);
SELECT pg_temp.new_order('a');
SELECT verdict, count(*) FROM payorder.callbacks GROUP BY 1 ORDER BY 1;
SELECT count(pg_temp.swept(now() + n * interval '1 second')) FROM generate_series(1, 3) AS n;
SELECT verdict, count(*) FROM payorder.callbacks GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM payorder.callbacks_waiting;
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo what waits for an attempt is applied by the sweep once it is there
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.alter_gateway('till', '{"require_attempt": true}');
SELECT pg_temp.hear('pay', 't', 'a', 100);
SELECT pg_temp.new_order('a');
SELECT pg_temp.swept(now() + interval '1 second');
SELECT pg_temp.state('a');
SELECT count(*) FROM payorder.begin_payment('a', 'till');
SELECT pg_temp.swept(now() + interval '2 seconds');
SELECT pg_temp.state('a');
SELECT * FROM payorder.check_invariants();
ROLLBACK;

/* ---- alarms of what is parked ---- */

\echo parked money: an alarm after 10 minutes, a review after 3 days, each once; pay_failed and pay_closed: none
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.hear('pay', 't', 'a', 100);
SELECT pg_temp.hear('pay_failed', 'f', 'a');
SELECT pg_temp.hear('pay_closed', 'c', 'a');
SELECT pg_temp.swept(now() + interval '9 minutes');
SELECT pg_temp.reviews();
SELECT pg_temp.swept(now() + interval '11 minutes');
SELECT pg_temp.reviews();
SELECT pg_temp.swept(now() + interval '12 minutes');
SELECT pg_temp.swept(now() + interval '2 days 23 hours');
SELECT pg_temp.reviews();
SELECT pg_temp.swept(now() + interval '3 days 1 hour');
SELECT pg_temp.reviews();
SELECT pg_temp.swept(now() + interval '4 days');
SELECT pg_temp.reviews();
-- money that is found in a list can still meet its order
SELECT pg_temp.new_order('a');
SELECT pg_temp.verdicts();
SELECT pg_temp.reviews();
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo a parked refund alarms too
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.hear('refund', 'r', NULL, 10, payment_txn => 't');
SELECT pg_temp.hear('refund_failed', 'rf', NULL, refund_no => 'unknown_refund');
SELECT count(pg_temp.swept(now() + n * interval '1 minute')) FROM generate_series(1, 9) AS n;
SELECT pg_temp.reviews();
SELECT count(pg_temp.swept(now() + n * interval '1 minute')) FROM generate_series(10, 30) AS n;
SELECT pg_temp.reviews();
SELECT count(pg_temp.swept(now() + n * interval '1 day')) FROM generate_series(1, 5) AS n;
SELECT pg_temp.reviews();
ROLLBACK;

\echo a message that comes again does not put its alarm off
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.hear('pay', 't', 'a', 100);
UPDATE payorder.callbacks_waiting SET arrived_at = now() - interval '9 minutes 50 seconds', next_at = now() + interval '10 seconds';
SELECT pg_temp.hear('pay', 't', 'a', 100);
SELECT pg_temp.swept(now() + interval '11 seconds');
SELECT pg_temp.reviews();
ROLLBACK;

/* ---- errors ---- */

-- A shop's trigger that does not like some orders.
CREATE FUNCTION pg_temp.dislike() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the shop does not like order %', NEW.order_no;
END $$;

\echo an error of one order: acknowledged, tried three times by the sweep, set aside; the others go on (33, 86)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
CREATE TRIGGER dislike AFTER UPDATE ON payorder.orders FOR EACH ROW
    WHEN (NEW.order_no = 'bad' AND NEW.state IS DISTINCT FROM OLD.state) EXECUTE FUNCTION pg_temp.dislike();
SELECT pg_temp.new_order('bad'), pg_temp.new_order('good');
SELECT pg_temp.hear('pay', 't-bad', 'bad', 100);
SELECT verdict, detail, error FROM payorder.callbacks;
SELECT pg_temp.pots();
SELECT pg_temp.history('bad');
SELECT pg_temp.pause();
SELECT pg_temp.hear('pay', 't-good', 'good', 100);
SELECT pg_temp.resume();
SELECT pg_temp.swept(now() + interval '1 second');
SELECT pg_temp.state('good'), pg_temp.waiting();
-- not at once again
SELECT pg_temp.swept(now() + interval '2 seconds');
SELECT pg_temp.swept(now() + interval '1 minute');
SELECT pg_temp.waiting();
SELECT pg_temp.reviews();
SELECT pg_temp.swept(now() + interval '2 minutes');
SELECT pg_temp.waiting();
SELECT pg_temp.reviews();
SELECT pg_temp.swept(now() + interval '3 minutes');
SELECT pg_temp.waiting();
-- it goes on blocking the closing timers
SELECT pg_temp.swept(now() + interval '1 hour') IS NOT NULL;
SELECT pg_temp.state('bad');
SELECT pg_temp.waiting();
SELECT * FROM payorder.check_invariants();
-- the trigger is mended, a person says go on
DROP TRIGGER dislike ON payorder.orders;
SELECT pg_temp.state_of($$SELECT payorder.retry_order('nobody', 'tester', 'mended')$$);
SELECT payorder.retry_order('bad', 'tester', 'mended');
SELECT pg_temp.waiting();
SELECT pg_temp.swept(now() + interval '2 hours') IS NOT NULL;
SELECT pg_temp.state('bad');
SELECT pg_temp.waiting();
SELECT pg_temp.reviews();
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo one sweep is one try, however many messages of the order are due
BEGIN;
SELECT pg_temp.empty() \g /dev/null
CREATE TRIGGER dislike BEFORE UPDATE ON payorder.payments FOR EACH ROW
    WHEN (NEW.txn_id = 't-bad' AND NEW.review = 0) EXECUTE FUNCTION pg_temp.dislike();
SELECT pg_temp.new_order('a');
SELECT pg_temp.pause();
SELECT pg_temp.hear('pay', 't-bad', 'a', 100);
SELECT pg_temp.hear('pay', 't2', 'a', 100);
SELECT pg_temp.hear('pay', 't3', 'a', 100);
SELECT pg_temp.hear('pay_failed', 't4', 'a');
SELECT pg_temp.resume();
SELECT pg_temp.swept(now() + interval '1 second') IS NOT NULL;
SELECT pg_temp.waiting();
SELECT pg_temp.reviews();
ROLLBACK;

\echo nor does it count what others try on their way (line 12)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
CREATE TRIGGER dislike BEFORE UPDATE ON payorder.payments FOR EACH ROW
    WHEN (NEW.txn_id = 't-bad' AND NEW.review = 0) EXECUTE FUNCTION pg_temp.dislike();
SELECT pg_temp.new_order('a');
SELECT pg_temp.pause();
SELECT pg_temp.hear('pay', 't-bad', 'a', 100);
SELECT pg_temp.resume();
SELECT pg_temp.hear('pay', 't' || n, 'a', 100) FROM generate_series(1, 5) AS n;
SELECT pg_temp.reviews();
ROLLBACK;

\echo what is set aside may be overtaken, and is excess then
BEGIN;
SELECT pg_temp.empty() \g /dev/null
CREATE TRIGGER dislike BEFORE UPDATE ON payorder.payments FOR EACH ROW
    WHEN (NEW.txn_id = 't-bad' AND NEW.review = 0) EXECUTE FUNCTION pg_temp.dislike();
SELECT pg_temp.new_order('a');
SELECT pg_temp.pause();
SELECT pg_temp.hear('pay', 't-bad', 'a', 100);
SELECT pg_temp.hear('pay', 't', 'a', 100);
SELECT pg_temp.resume();
SELECT pg_temp.swept(now() + interval '1 second') IS NOT NULL;
SELECT pg_temp.waiting();
SELECT pg_temp.swept(now() + interval '1 minute') IS NOT NULL;
SELECT pg_temp.waiting();
SELECT pg_temp.swept(now() + interval '2 minutes') IS NOT NULL;
SELECT pg_temp.swept(now() + interval '3 minutes') IS NOT NULL;
SELECT pg_temp.waiting();
SELECT pg_temp.state('a');
DROP TRIGGER dislike ON payorder.payments;
SELECT payorder.retry_order('a', 'tester', 'mended');
SELECT pg_temp.swept(now() + interval '4 minutes') IS NOT NULL;
SELECT pg_temp.verdicts();
SELECT pg_temp.pots();
SELECT * FROM payorder.check_invariants();
ROLLBACK;

\echo an error in what is drained does not stop the creation of the order
BEGIN;
SELECT pg_temp.empty() \g /dev/null
CREATE TRIGGER dislike AFTER UPDATE ON payorder.orders FOR EACH ROW
    WHEN (NEW.state = 'paid' AND NEW.state IS DISTINCT FROM OLD.state) EXECUTE FUNCTION pg_temp.dislike();
SELECT pg_temp.hear('pay', 't', 'a', 100);
SELECT pg_temp.new_order('a');
SELECT pg_temp.waiting();
SELECT pg_temp.pots();
-- comes again once all is well: it heals itself (line 7)
DROP TRIGGER dislike ON payorder.orders;
SELECT pg_temp.hear('pay', 't', 'a', 100);
SELECT * FROM payorder.check_invariants();
ROLLBACK;

/* ---- transactions ---- */

\echo rolled back with its savepoint: as if it never came (24)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.new_order('a');
SAVEPOINT s;
SELECT pg_temp.hear('pay', 't', 'a', 100);
ROLLBACK TO s;
SELECT pg_temp.state('a'), (SELECT count(*) FROM payorder.payments), (SELECT count(*) FROM payorder.callbacks);
SELECT pg_temp.hear('pay', 't', 'a', 100);
SELECT pg_temp.hear('pay', 't', 'a', 100);
SELECT * FROM payorder.check_invariants();
ROLLBACK;
