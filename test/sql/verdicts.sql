--
-- What ingest() decides, line by line: one case at least for each line of the
-- list of verdicts that is built.  A case names its lines first, then the
-- scenarios (in brackets) that it covers.
--
-- Each case has its own order {o} (and {o2}) and its own transactions, which
-- begin with {t}.  Its set-up is a list of calls, each in a transaction of its
-- own; then the message comes, and all that it did is compared with what the
-- list says: answer, state, pots, the order's amounts, attempts, refunds, what
-- waits, events, tasks, reviews, evidence.  What is not said must be empty.
-- Then the same message comes again, with another body, time and source: a
-- duplicate (line 6) with the same answer, no xid, no row and no number of a
-- sequence in any table of payorder.  Then no invariant is broken.
--
-- Only "ok" and differences are printed.
--
\set ECHO none
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE SCHEMA verdict_test;
SET search_path = verdict_test, payorder, public;

/* ---- the names of the case that runs ---- */

CREATE TABLE names (name text PRIMARY KEY, value text NOT NULL);

CREATE FUNCTION call_it(name text, value text) RETURNS text
    LANGUAGE sql AS $$
INSERT INTO names VALUES (name, value)
    ON CONFLICT ON CONSTRAINT names_pkey DO UPDATE SET value = excluded.value
    RETURNING names.value
$$;

-- Puts values in the place of {name}.
CREATE FUNCTION fill(said text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    n names;
BEGIN
    FOR n IN SELECT * FROM names LOOP
        said := replace(said, '{' || n.name || '}', n.value);
    END LOOP;
    RETURN said;
END $$;

-- Puts names in the place of values, so that no number is in the output.
CREATE FUNCTION short(said text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    n names;
BEGIN
    FOR n IN SELECT * FROM names ORDER BY length(value) DESC LOOP
        said := replace(said, n.value, n.name);
    END LOOP;
    RETURN regexp_replace(said, '\mR[0-9a-f]{31}\M', 'auto');
END $$;

/* ---- calls for set-ups ---- */

CREATE FUNCTION new_order(name text DEFAULT 'o', amount bigint DEFAULT 1000,
                          machine text DEFAULT 'order', currency text DEFAULT 'CNY')
    RETURNS text
    LANGUAGE sql AS $$
SELECT order_no FROM create_order(fill('{' || name || '}'), amount, currency, machine)
$$;

CREATE FUNCTION attempt(name text, gateway text DEFAULT 'gwa', order_name text DEFAULT 'o',
                        amount bigint DEFAULT NULL)
    RETURNS text
    LANGUAGE sql AS $$
SELECT call_it(name, payment_no)
    FROM begin_payment(fill('{' || order_name || '}'), gateway, amount, parallel => true)
$$;

CREATE FUNCTION go(event text) RETURNS text
    LANGUAGE sql AS $$ SELECT state FROM fire(fill('{o}'), event, 'tester') $$;

CREATE FUNCTION ask_refund(name text, amount bigint DEFAULT NULL, txn text DEFAULT NULL)
    RETURNS text
    LANGUAGE sql AS $$
SELECT call_it(name, refund_no)
    FROM request_refund(replace(fill('{o}_refund_' || name), '-', '_'), fill('{o}'),
                        amount, payment => fill(txn))
$$;

-- Names the refund that the kernel made of a payment.
CREATE FUNCTION name_auto(name text, txn text DEFAULT '{t}') RETURNS text
    LANGUAGE sql AS $$
SELECT call_it(name, refund_no) FROM refunds
    WHERE txn_id = fill(txn) AND cause IN ('late', 'excess') ORDER BY requested_at DESC LIMIT 1
$$;

-- A worker has all refund tasks that are ready.
CREATE FUNCTION claim_refunds() RETURNS bigint
    LANGUAGE sql AS $$ SELECT count(*) FROM claim('{refund}', 1000, '1 day', 'tester') $$;

-- "event key=value ...": g gateway, t txn_id, o order_no, a amount, c currency,
-- p payment_txn, r refund_no, at occurred_at as an interval from now.
CREATE FUNCTION hear(message text, again boolean DEFAULT false)
    RETURNS ingest_result
    LANGUAGE plpgsql AS $$
DECLARE
    m jsonb := '{"g": "gwa", "t": "{t}"}';
    answer ingest_result;
    part text[];
BEGIN
    FOR part IN SELECT regexp_matches(message, ' (\w+)=(\S*)', 'g') LOOP
        m := m || jsonb_build_object(part[1], part[2]);
    END LOOP;
    m := fill(m::text)::jsonb;
    answer := ingest(m ->> 'g', m ->> 't', split_part(message, ' ', 1), m ->> 'o',
                     (m ->> 'a')::bigint, m ->> 'c',
                     occurred_at => CASE WHEN again THEN now() - interval '40 days'
                                    ELSE now() + (m ->> 'at')::interval END,
                     payload => json_build_object('message', message, 'again', again),
                     source => CASE WHEN again THEN 'query' ELSE 'callback' END,
                     payment_txn => m ->> 'p', refund_no => m ->> 'r');
    RETURN answer;
END $$;

CREATE FUNCTION outcome(verdict text, detail text) RETURNS text
    LANGUAGE sql AS $$ SELECT verdict || coalesce('(' || detail || ')', '') $$;

-- A message of the set-up, and what must come of it.
CREATE FUNCTION say(message text, expected text) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    a ingest_result := hear(message);
BEGIN
    IF outcome(a.verdict, a.detail) <> expected THEN
        RAISE 'set-up "%": % instead of %', message, outcome(a.verdict, a.detail), expected;
    END IF;
END $$;

-- Many messages that wait, none of which moves anything.
CREATE FUNCTION say_many(how_many integer) RETURNS void
    LANGUAGE sql AS $$
SELECT say(format('pay_failed g=gwp t={t}m%s o={o}', n), 'deferred(paused)') FROM generate_series(1, how_many) AS n
$$;

-- A worker's last try: the refund is in doubt, and a person's.
CREATE FUNCTION doubt_refund(name text) RETURNS text
    LANGUAGE sql AS $$
SELECT fail(c.task, c.token, 'no answer', false)
    FROM claim('{refund}', 1000, '1 day', 'tester') AS c WHERE c.idempotency_key = fill('{' || name || '}')
$$;

-- The gateway does not require an attempt any more.
CREATE FUNCTION relax(g text) RETURNS void
    LANGUAGE sql AS $$ SELECT alter_gateway(g, '{"require_attempt": false}') $$;

-- As a person's settle_refund() leaves it: succeeded, without the gateway's id.
CREATE FUNCTION forget_id(name text) RETURNS void
    LANGUAGE sql SET session_replication_role = replica AS $$
UPDATE payorder.refunds SET gateway_refund_id = NULL WHERE refund_no = fill('{' || name || '}')
$$;

-- Timers that are due within this time fire now.
CREATE FUNCTION later(length interval) RETURNS integer
    LANGUAGE sql AS $$ SELECT timers FROM sweep(10000, now() + length) $$;

-- The worker's next look at what waits.
CREATE FUNCTION drain() RETURNS integer
    LANGUAGE sql AS $$ SELECT callbacks FROM sweep(1000, now() + interval '1 minute') $$;

CREATE FUNCTION pause(name text) RETURNS void
    LANGUAGE sql AS $$ SELECT pause_gateway(name, 'tester', 'test') $$;
CREATE FUNCTION resume(name text) RETURNS void
    LANGUAGE sql AS $$ SELECT resume_gateway(name, 'tester', 'test') $$;

/* ---- a user's triggers that raise while they are told to ---- */

CREATE FUNCTION raise_when_told() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('verdict_test.raise', true) = TG_ARGV[0] THEN
        RAISE 'the shop''s trigger does not like it';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION trouble(with_what text) RETURNS text
    LANGUAGE sql AS $$ SELECT set_config('verdict_test.raise', with_what, false) $$;
CREATE TRIGGER verdict_test_order AFTER UPDATE ON payorder.orders FOR EACH ROW
    WHEN (NEW.order_no LIKE 'V%' AND NEW.state = 'paid' AND OLD.state = 'pending')
    EXECUTE FUNCTION raise_when_told('orders');
CREATE TRIGGER verdict_test_payment AFTER INSERT OR UPDATE ON payorder.payments FOR EACH ROW
    WHEN (NEW.txn_id LIKE 'T%bad' AND NEW.review = 0)
    EXECUTE FUNCTION raise_when_told('payments');

/* ---- gateways and machines ---- */

\o /dev/null

SELECT add_gateway(g, 'generic', 'verdicts_' || g, settings => '{"auto_return_per_hour": 1000000}'::jsonb || s)
    FROM (VALUES ('gwa', '{}'::jsonb), ('gwb', '{}'), ('gwp', '{}'),
                 ('gwf', '{"failed_is_final": false}'), ('gwr', '{"require_attempt": true}'),
                 ('gwi', '{"pay_id_pattern": "^42"}'), ('gwd', '{"enabled": false}')) AS g (g, s);

-- the default machine with one change each
SELECT define_machine(c.name, change::json)
    FROM payorder.machines AS m,
         LATERAL (VALUES
             ('v_brief', jsonb_set(m.definition::jsonb, '{states,expired,on,reopen,within}', '"1us"')),
             ('v_guard', jsonb_set(m.definition::jsonb, '{states,expired,on,reopen,guard}', '"open_attempt"')),
             ('v_parts', jsonb_set(jsonb_set(jsonb_set(m.definition::jsonb, '{states,pending,on,pay_part}', '{"target": "pending"}'),
                                     '{states,expired,entry}', '{"enqueue": "refund_all"}'),
                           '{states,cancelled,entry}', '{"enqueue": "refund_all"}')),
             ('v_asks', jsonb_set(m.definition::jsonb, '{states,pending,on,cancel}', '{"target": "cancelling"}'))
         ) AS c (name, change)
    WHERE m.name = 'order' AND m.version = 1 ORDER BY c.name;
\o

/* ---- what is there ---- */

CREATE TABLE marks (event bigint, task bigint, conflicts bigint, open_tasks bigint[]);

CREATE FUNCTION is_ours(order_no text, txn_id text) RETURNS boolean
    LANGUAGE sql STABLE AS $$
SELECT coalesce(starts_with(order_no, current_setting('verdict_test.o')), false)
       OR coalesce(position(current_setting('verdict_test.t') IN txn_id) > 0, false)
$$;

CREATE FUNCTION own_tasks() RETURNS SETOF tasks
    LANGUAGE sql AS $$
SELECT * FROM payorder.tasks AS t
    WHERE is_ours(t.order_no, t.payload::text)
$$;

CREATE FUNCTION mark() RETURNS void
    LANGUAGE sql AS $$
DELETE FROM marks;
INSERT INTO marks SELECT
    coalesce((SELECT max(id) FROM payorder.events), 0),
    coalesce((SELECT max(id) FROM payorder.tasks), 0),
    (SELECT count(*) FROM callback_conflicts WHERE is_ours(NULL, txn_id)),
    ARRAY(SELECT t.id FROM own_tasks() AS t
          WHERE NOT EXISTS (SELECT FROM task_finished AS f WHERE f.task_id = t.id))
$$;

CREATE FUNCTION amounts(variadic parts text[]) RETURNS text
    LANGUAGE sql AS $$
SELECT string_agg(parts[n] || ' ' || parts[n + 1], ' ' ORDER BY n)
    FROM generate_series(1, cardinality(parts), 2) AS n WHERE parts[n + 1] <> '0'
$$;

-- All that can be seen of a case, each thing under its name.
CREATE FUNCTION look() RETURNS TABLE (what text, value text)
    LANGUAGE sql AS $$
WITH own_orders AS (
    SELECT *, CASE WHEN order_no = fill('{o}') THEN '' ELSE short(order_no) || ' ' END AS prefix
    FROM payorder.orders WHERE is_ours(order_no, NULL)),
own_payments AS (
    SELECT *, CASE WHEN gateway <> 'gwa' THEN gateway || ':' ELSE '' END || short(txn_id) AS name
    FROM payorder.payments WHERE is_ours(order_no, txn_id)),
own_refunds AS (SELECT * FROM payorder.refunds WHERE is_ours(order_no, txn_id))
SELECT 'state', string_agg(prefix || state, ', ' ORDER BY order_no COLLATE "C") FROM own_orders
UNION ALL
SELECT 'money', string_agg(prefix || a, ', ' ORDER BY order_no COLLATE "C")
    FROM own_orders, amounts('paid', paid_amount::text, 'refunding', refunding_amount::text,
                             'refunded', refunded_amount::text, 'disputed', disputed_amount::text,
                             'overdrawn', overdrawn_amount::text, 'frozen', frozen::integer::text) AS a
    WHERE a IS NOT NULL
UNION ALL
SELECT 'pots', string_agg(format('%s %s%s %s%s: %s', name, amount,
                                 CASE WHEN currency <> 'CNY' THEN ' ' || currency ELSE '' END,
                                 disposition,
                                 CASE WHEN order_no IS NULL THEN ' of no order'
                                      WHEN order_no <> fill('{o}') THEN ' of ' || short(order_no)
                                      ELSE '' END,
                                 coalesce(amounts('kept', kept::text, 'review', review::text, 'owed', owed::text,
                                         'returning', "returning"::text, 'returned', returned::text,
                                         'disputed', disputed::text, 'undone', undone::text,
                                         'overdrawn', overdrawn::text), 'nothing')), ', ' ORDER BY name COLLATE "C")
    FROM own_payments
UNION ALL
SELECT 'attempts', string_agg(short(a.payment_no) || ' ' || a.state, ', ' ORDER BY short(a.payment_no) COLLATE "C")
    FROM payorder.attempts AS a WHERE is_ours(a.order_no, NULL)
UNION ALL
SELECT 'refunds', string_agg(said, ', ' ORDER BY said COLLATE "C")
    FROM own_refunds, LATERAL (SELECT format('%s %s %s %s', short(refund_no), cause, state, amount) AS said) AS s
UNION ALL
SELECT 'waiting', CASE WHEN count(*) > 5 THEN count(*) || ' of them' ELSE string_agg(said, ', ' ORDER BY said COLLATE "C") END
    FROM callbacks_waiting AS w,
         LATERAL (SELECT format('%s %s %s', short(w.txn_id), w.event, outcome(w.verdict, w.reason)) AS said) AS s
    WHERE is_ours(w.order_no, w.txn_id)
UNION ALL
SELECT 'events', CASE WHEN count(*) > 5 THEN count(*) || ' of them' ELSE string_agg(e.event, ', ' ORDER BY e.id) END
    FROM payorder.events AS e, marks AS m
    WHERE is_ours(e.order_no, e.txn_id) AND e.id > m.event
UNION ALL
SELECT 'tasks', string_agg(said, ', ' ORDER BY said COLLATE "C")
    FROM (SELECT t.kind AS said FROM own_tasks() AS t, marks AS m WHERE t.kind <> 'review' AND t.id > m.task
          UNION ALL
          SELECT 'ended ' || t.kind FROM own_tasks() AS t, marks AS m, task_finished AS f
          WHERE t.kind <> 'review' AND t.id = ANY (m.open_tasks) AND f.task_id = t.id) AS t
UNION ALL
SELECT 'reviews', string_agg(said, ', ' ORDER BY said COLLATE "C")
    FROM (SELECT t.payload ->> 'cause' AS said FROM own_tasks() AS t, marks AS m
          WHERE t.kind = 'review' AND t.id > m.task
          UNION ALL
          SELECT 'ended ' || (t.payload ->> 'cause') FROM own_tasks() AS t, marks AS m, task_finished AS f
          WHERE t.kind = 'review' AND t.id = ANY (m.open_tasks) AND f.task_id = t.id) AS t
UNION ALL
SELECT 'evidence', nullif(count(*) - min(m.conflicts), 0)::text
    FROM marks AS m LEFT JOIN callback_conflicts AS c ON is_ours(NULL, c.txn_id)
    HAVING count(c.txn_id) > 0
$$;

-- Rows of every table of payorder, and where its sequences stand.
CREATE FUNCTION stock_taking(with_events boolean) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    result text := '';
    found bigint;
    r regclass;
    kind "char";
BEGIN
    FOR r, kind IN
        SELECT c.oid, c.relkind FROM pg_class AS c
        WHERE c.relnamespace = 'payorder'::regnamespace AND NOT c.relispartition
          AND (c.relkind IN ('r', 'p') OR (c.relkind = 'S' AND with_events))
          AND (with_events OR c.relname <> 'events')
        ORDER BY c.relname
    LOOP
        EXECUTE 'SELECT ' || CASE kind WHEN 'S' THEN 'last_value' ELSE 'count(*)' END || ' FROM ' || r INTO found;
        result := format('%s %s=%s', result, r::text, found);
    END LOOP;
    RETURN result;
END $$;

/* ---- a case and its run ---- */

CREATE TABLE cases (
    number integer GENERATED ALWAYS AS IDENTITY,
    name text,
    setup text,     -- calls, separated by ;
    message text,
    expected text   -- verdict(detail) | what value | ...
);

CREATE TABLE output (number integer, line integer GENERATED ALWAYS AS IDENTITY, said text);
CREATE TABLE broken AS SELECT * FROM check_invariants();
CREATE TABLE broken_now (LIKE broken);

CREATE FUNCTION read_expected(expected text) RETURNS TABLE (what text, value text)
    LANGUAGE sql AS $$
SELECT CASE WHEN n = 1 THEN 'verdict' ELSE split_part(part, ' ', 1) END,
       CASE WHEN n = 1 THEN part WHEN part = 'paid' THEN 'true'
            ELSE substr(part, length(split_part(part, ' ', 1)) + 2) END
    FROM regexp_split_to_table(expected, '\s*\|\s*') WITH ORDINALITY AS p (part, n)
$$;

-- What the answer says, under the names that expectations have.
CREATE FUNCTION answered(a ingest_result) RETURNS TABLE (what text, value text)
    LANGUAGE sql AS $$
SELECT 'verdict', outcome(a.verdict, a.detail)
UNION ALL SELECT 'first', a.first_verdict
UNION ALL SELECT 'order', coalesce(short(a.order_no), '-')
UNION ALL SELECT 'paid', CASE WHEN a.paid THEN 'true' END
UNION ALL SELECT 'acknowledgement',
    CASE WHEN a.ack_status = 200 AND a.ack_type IS NOT NULL AND a.ack_body IS NOT NULL THEN '200'
         ELSE concat_ws(' ', a.ack_status, a.ack_type, a.ack_body) END
UNION ALL SELECT 'state of the answer',
    CASE WHEN a.state IS DISTINCT FROM (SELECT o.state FROM payorder.orders AS o WHERE o.order_no = a.order_no)
         THEN coalesce(a.state, 'none') END
$$;

CREATE FUNCTION differences(expected text, a ingest_result) RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT format('    %s: expected "%s", got "%s"', what, coalesce(e.value, ''), coalesce(g.value, ''))
    FROM (SELECT * FROM read_expected(expected)
          UNION ALL SELECT 'order', 'o' WHERE expected !~ '\| *order '
          UNION ALL SELECT 'acknowledgement', '200') AS e
    FULL JOIN (SELECT * FROM answered(a) UNION ALL SELECT * FROM look()) AS g USING (what)
    WHERE what <> 'again' AND coalesce(e.value, '') <> coalesce(g.value, '')
    ORDER BY what COLLATE "C"
$$;

-- Begins a case: its names, and no trouble left from the one before.
CREATE FUNCTION begin_case(number integer) RETURNS void
    LANGUAGE sql AS $$
DELETE FROM names;
SELECT set_config('verdict_test.o', 'V' || to_char(number, 'FM000'), false),
       set_config('verdict_test.t', 'T' || to_char(number, 'FM000'), false);
INSERT INTO names VALUES ('o', 'V' || to_char(number, 'FM000')), ('o2', 'V' || to_char(number, 'FM000') || '-2'),
                         ('t', 'T' || to_char(number, 'FM000'));
SELECT trouble('none'), (SELECT count(resume(g.gateway)) FROM payorder.gateways AS g
                        WHERE g.paused AND g.gateway LIKE 'gw_'),
       alter_gateway('gwr', '{"require_attempt": true}')
$$;

CREATE PROCEDURE run_cases()
    LANGUAGE plpgsql AS $$
DECLARE
    c cases;
    setup text;
    first ingest_result;
    second ingest_result;
    again text;
    before text;
    after text;
    xid xid8;
    is_duplicate boolean;
    wrong text[];
BEGIN
    FOR c IN SELECT * FROM cases ORDER BY number LOOP
        wrong := '{}';
        first := NULL;
        second := NULL;
        PERFORM begin_case(c.number);
        COMMIT;
        FOREACH setup IN ARRAY regexp_split_to_array(c.setup, '\s*;\s*') LOOP
            CONTINUE WHEN setup = '';
            BEGIN
                EXECUTE 'SELECT ' || fill(setup);
            EXCEPTION WHEN OTHERS THEN
                wrong := wrong || format('    set-up "%s" raised %s: %s', setup, SQLSTATE, SQLERRM);
            END;
            COMMIT;
        END LOOP;
        PERFORM mark();
        COMMIT;
        BEGIN
            first := hear(c.message);
        EXCEPTION WHEN OTHERS THEN
            wrong := wrong || format('    raised %s: %s', SQLSTATE, SQLERRM);
        END;
        COMMIT;
        wrong := wrong || ARRAY(SELECT differences(c.expected, first));

        -- the second delivery, in a transaction of its own
        again := (SELECT value FROM read_expected(c.expected) WHERE what = 'again');
        is_duplicate := again IS NULL;
        before := stock_taking(is_duplicate);
        COMMIT;
        BEGIN
            second := hear(c.message, again => true);
        EXCEPTION WHEN OTHERS THEN
            wrong := wrong || format('    again: raised %s: %s', SQLSTATE, SQLERRM);
        END;
        xid := pg_current_xact_id_if_assigned();
        COMMIT;
        after := stock_taking(is_duplicate);
        IF is_duplicate THEN
            IF xid IS NOT NULL THEN
                wrong := wrong || '    again: wrote something'::text;
            END IF;
            IF second.verdict IS DISTINCT FROM 'duplicate'
               OR second.first_verdict IS DISTINCT FROM coalesce(first.first_verdict, first.verdict) THEN
                wrong := wrong || format('    again: %s, first %s', outcome(second.verdict, second.detail), second.first_verdict);
            END IF;
        ELSIF outcome(second.verdict, second.detail) IS DISTINCT FROM again THEN
            wrong := wrong || format('    again: %s', outcome(second.verdict, second.detail));
        END IF;
        IF (first.order_no, first.state, first.paid, first.ack_status, first.ack_type, first.ack_body)
           IS DISTINCT FROM (second.order_no, second.state, second.paid, second.ack_status, second.ack_type, second.ack_body) THEN
            wrong := wrong || format('    again: answer %s', short(second::text));
        END IF;
        IF before <> after THEN
            wrong := wrong || format('    again: rows before%s', E'\n        ' || before || E'\n        ' || after);
        END IF;
        TRUNCATE broken_now;
        INSERT INTO broken_now SELECT * FROM check_invariants();
        wrong := wrong || ARRAY(SELECT format('    broken: %s %s %s', i.invariant, short(i.subject), short(i.detail))
                                FROM broken_now AS i
                                WHERE NOT EXISTS (SELECT FROM broken AS b
                                                  WHERE (b.invariant, b.subject) = (i.invariant, i.subject)));
        TRUNCATE broken;
        INSERT INTO broken SELECT * FROM broken_now;
        INSERT INTO output (number, said)
            SELECT c.number, CASE WHEN wrong = '{}' THEN 'ok ' ELSE 'NOT OK ' END || c.name
            UNION ALL
            SELECT c.number, w FROM unnest(wrong) AS w;
        COMMIT;
    END LOOP;
END $$;

/* ---- A. the message ---- */

INSERT INTO cases (name, setup, message, expected) VALUES
-- no usable amount: kept and reviewed, and no payments row
('5 pay, no amount (14)', 'new_order()', 'pay o={o} c=CNY',
 'mismatch(invalid) | order - | state pending | events callback | reviews invalid'),
('5 pay, amount 0 (14)', 'new_order()', 'pay o={o} a=0 c=CNY',
 'mismatch(invalid) | order - | state pending | events callback | reviews invalid'),
('5 pay, negative amount (14)', 'new_order()', 'pay o={o} a=-1000 c=CNY',
 'mismatch(invalid) | order - | state pending | events callback | reviews invalid'),
('5 pay, the least bigint (14)', 'new_order()', 'pay o={o} a=-9223372036854775808 c=CNY',
 'mismatch(invalid) | order - | state pending | events callback | reviews invalid'),
('5 pay, no currency', 'new_order()', 'pay o={o} a=1000',
 'mismatch(invalid) | order - | state pending | events callback | reviews invalid'),
('5 pay, unknown currency', 'new_order()', 'pay o={o} a=1000 c=XXQ',
 'mismatch(invalid) | order - | state pending | events callback | reviews invalid'),
('5 pay, currency in lower case', 'new_order()', 'pay o={o} a=1000 c=cny',
 'mismatch(invalid) | order - | state pending | events callback | reviews invalid'),
('5 pay, currency of four letters', 'new_order()', 'pay o={o} a=1000 c=CNYX',
 'mismatch(invalid) | order - | state pending | events callback | reviews invalid'),
('5 pay, empty currency', 'new_order()', 'pay o={o} a=1000 c=',
 'mismatch(invalid) | order - | state pending | events callback | reviews invalid'),
('5 pay, amount 0 for an order of amount 0', 'new_order(amount => 0)', 'pay o={o} a=0 c=CNY',
 'mismatch(invalid) | order - | state paid | pots none:o 0 order: nothing | events callback | reviews invalid'),
-- the id has not the gateway's form: the money is in review
('5 pay, id form of another gateway (68)', 'new_order()', 'pay g=gwi o={o} a=1000 c=CNY',
 'mismatch(invalid) | order - | state pending | pots gwi:t 1000 review of no order: review 1000 | events callback, alarm | reviews mismatch'),
('5 pay, id form right (68)', 'new_order()', 'pay g=gwi t=42{t} o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots gwi:42t 1000 order: kept 1000 | money paid 1000 | events pay'),
('5 pay, empty order number', 'new_order()', 'pay o= a=1000 c=CNY',
 'mismatch(invalid) | order - | state pending | pots t 1000 review of no order: review 1000 | events callback, alarm | reviews mismatch'),
('5 before 11: invalid for an unknown order', '', 'pay o={o} a=0 c=CNY',
 'mismatch(invalid) | order - | events callback | reviews invalid'),
('5 before 10: invalid while the gateway is paused', 'new_order(); pause(''gwp'')', 'pay g=gwp o={o} a=0 c=CNY',
 'mismatch(invalid) | order - | state pending | events callback | reviews invalid'),
('5 refund, no amount', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'refund t={t}r p={t} c=CNY',
 'mismatch(invalid) | order - | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events callback | reviews invalid'),
('5 refund, amount 0', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'refund t={t}r p={t} a=0 c=CNY',
 'mismatch(invalid) | order - | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events callback | reviews invalid'),
('5 before 28: refund, unknown currency', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'refund t={t}r p={t} a=1 c=XXQ',
 'mismatch(invalid) | order - | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events callback | reviews invalid'),
('5 refund, no currency is the payment''s', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'refund t={t}r p={t} a=300',
 'applied(external) | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds gwa:tr external succeeded 300 | events callback'),
-- pay_failed carries no money
('5 pay_failed, amount 0', 'new_order(); attempt(''P'')', 'pay_failed o={P} a=0',
 'applied(attempt) | state pending | attempts P failed | events callback'),
('5 pay_closed, negative amount', 'new_order(); attempt(''P'')', 'pay_closed o={P} a=-5',
 'applied(attempt) | state pending | attempts P closed | events callback'),
('5 a disabled gateway takes messages (83)', 'new_order()', 'pay g=gwd o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots gwd:t 1000 order: kept 1000 | money paid 1000 | events pay'),
('5 the greatest amount is an amount (14)', 'new_order()', 'pay o={o} a=9223372036854775807 c=CNY',
 'mismatch(amount) | state pending | pots t 9223372036854775807 review: review 9223372036854775807 | events callback, alarm | reviews mismatch'),
('5 the greatest amount is paid (14)', 'new_order(amount => 9223372036854775807)', 'pay o={o} a=9223372036854775807 c=CNY',
 'applied | paid | state paid | pots t 9223372036854775807 order: kept 9223372036854775807 | money paid 9223372036854775807 | events pay');

/* ---- B. the key ---- */

INSERT INTO cases (name, setup, message, expected) VALUES
('5b well-formed after amount 0 (14)', 'new_order(); say(''pay o={o} a=0 c=CNY'', ''mismatch(invalid)'')', 'pay o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events pay | reviews ended invalid | evidence 1'),
('5b well-formed after no amount (14)', 'new_order(); say(''pay o={o} c=CNY'', ''mismatch(invalid)'')', 'pay o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events pay | reviews ended invalid | evidence 1'),
('5b the payments row was there', 'new_order(); say(''pay o= a=1000 c=CNY'', ''mismatch(invalid)'')', 'pay o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events pay | reviews ended mismatch | evidence 1'),
('5b the payments row had another amount', 'new_order(); say(''pay o= a=700 c=CNY'', ''mismatch(invalid)'')', 'pay o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events pay | reviews ended mismatch | evidence 1'),
('5b the invalid one named another order', 'new_order(); new_order(''o2''); say(''pay o={o2} a=0 c=CNY'', ''mismatch(invalid)'')', 'pay o={o} a=1000 c=CNY',
 'applied | paid | state paid, o2 pending | pots t 1000 order: kept 1000 | money paid 1000 | events pay | reviews ended invalid | evidence 1'),
('5b the invalid one''s order fills nothing', 'new_order(); say(''pay o={o} a=0 c=CNY'', ''mismatch(invalid)'')', 'pay a=1000 c=CNY',
 'parked(order) | order - | again parked(order) | state pending | pots t 1000 review of no order: review 1000 | waiting t pay parked(order) | events callback | reviews ended invalid | evidence 1'),
('5b as first sight: a mismatch again', 'new_order(); say(''pay o={o} a=0 c=CNY'', ''mismatch(invalid)'')', 'pay o={o} a=900 c=CNY',
 'mismatch(amount) | state pending | pots t 900 review: review 900 | events callback, alarm | reviews ended invalid, mismatch | evidence 1'),
('5b refund', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''refund t={t}r p={t} a=0 c=USD'', ''mismatch(invalid)'')', 'refund t={t}r p={t} a=300',
 'applied(external) | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds gwa:tr external succeeded 300 | events callback | reviews ended invalid | evidence 1'),
('6 invalid again with the same facts', 'new_order(); say(''pay o={o} a=0 c=CNY'', ''mismatch(invalid)'')', 'pay o={o} a=0 c=CNY',
 'duplicate(invalid) | first mismatch | order - | state pending'),
('8 invalid again with other facts', 'new_order(); say(''pay o={o} a=0 c=CNY'', ''mismatch(invalid)'')', 'pay o={o} a=-1 c=CNY',
 'conflict(fact) | first mismatch | order - | again conflict(fact) | state pending | events callback | reviews conflict | evidence 1'),

('6 the payment number stands for its order (1)', 'new_order(); attempt(''P''); say(''pay o={P} a=1000 c=CNY'', ''applied'')', 'pay o={o} a=1000 c=CNY',
 'duplicate | first applied | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | attempts P paid'),
('6 the order number stands for its payment number (1)', 'new_order(); attempt(''P''); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'pay o={P} a=1000 c=CNY',
 'duplicate | first applied | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | attempts P open'),
('6 NULL equals anything (1, 21)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'pay',
 'duplicate | first applied | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000'),
('6 before 10: the gateway is paused now', 'new_order(); say(''pay g=gwp o={o} a=1000 c=CNY'', ''applied''); pause(''gwp'')', 'pay g=gwp o={o} a=1000 c=CNY',
 'duplicate | first applied | paid | state paid | pots gwp:t 1000 order: kept 1000 | money paid 1000'),
('6 the order as it is now: refunded', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''refund t={t}r p={t} a=1000'', ''applied(external)'')', 'pay o={o} a=1000 c=CNY',
 'duplicate | first applied | paid | state refunded | pots t 1000 order: returned 1000 | money paid 1000 refunded 1000 | refunds gwa:tr external succeeded 1000'),
('6 a late one''s repeat shows no success', 'new_order(); go(''cancel''); say(''pay o={o} a=1000 c=CNY'', ''late(returned)'')', 'pay o={o} a=1000 c=CNY',
 'duplicate(returned) | first late | state cancelled | pots t 1000 surplus: owed 1000 | refunds auto late held 1000'),
('6 first_verdict is what the row says now, not parked', 'say(''pay o={o} a=1000 c=CNY'', ''parked(order)''); new_order()', 'pay o={o} a=1000 c=CNY',
 'duplicate | first applied | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000'),
('6 an Alipay trade finished after its success (20)', 'new_order(); attempt(''P''); say(''pay o={P} a=1000 c=CNY at=-1month'', ''applied'')', 'pay o={P} a=1000 c=CNY',
 'duplicate | first applied | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | attempts P paid'),
('6 the worked answer: unknown order with a wrong amount, drained to 16', 'say(''pay o={o} a=999 c=CNY'', ''parked(order)''); new_order()', 'pay o={o} a=999 c=CNY',
 'duplicate(amount) | first mismatch | state pending | pots t 999 review: review 999'),
('6 facts are filled in once, with an event', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''refund t={t}r p={t} a=300'', ''applied(external)'')', 'refund t={t}r p={t} a=300 c=CNY r=shop_number',
 'duplicate(external) | first applied | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds gwa:tr external succeeded 300 | events callback'),
('6 the key has the gateway in it', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'pay g=gwb o={o} a=1000 c=CNY',
 'excess | paid | state paid | pots gwb:t 1000 surplus: owed 1000, t 1000 order: kept 1000 | money paid 1000 | refunds auto excess held 1000 | events callback, refund_held | tasks return'),

('7 still parked', 'say(''pay o={o} a=1000 c=CNY'', ''parked(order)'')', 'pay o={o} a=1000 c=CNY',
 'parked(order) | again parked(order) | order - | pots t 1000 review of no order: review 1000 | waiting t pay parked(order)'),
('7 parked without a number, which is given now', 'new_order(); say(''pay a=1000 c=CNY'', ''parked(order)'')', 'pay o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events callback, pay'),
('7 parked for an attempt, which is there now', 'new_order(); say(''pay g=gwr o={o} a=1000 c=CNY'', ''parked(order)''); attempt(''P'', ''gwr'')', 'pay g=gwr o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots gwr:t 1000 order: kept 1000 | money paid 1000 | attempts P open | events pay | tasks close_payment'),
('7 deferred, the gateway goes on', 'new_order(); pause(''gwp''); say(''pay g=gwp o={o} a=1000 c=CNY'', ''deferred(paused)''); resume(''gwp'')', 'pay g=gwp o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots gwp:t 1000 order: kept 1000 | money paid 1000 | events pay'),
('7 deferred by an error that is gone (86)', 'new_order(); trouble(''orders''); say(''pay o={o} a=1000 c=CNY'', ''deferred(error)''); trouble(''none'')', 'pay o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events pay'),
('7 a parked refund whose payment is named now', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''refund t={t}r a=300'', ''parked(payment)'')', 'refund t={t}r p={t} a=300',
 'applied(external) | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds gwa:tr external succeeded 300 | events callback, callback'),

('8 other amount (3)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'pay o={o} a=1001 c=CNY',
 'conflict(fact) | first applied | again conflict(fact) | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events callback | reviews conflict | evidence 1'),
('8 other currency (3)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'pay o={o} a=1000 c=USD',
 'conflict(fact) | first applied | again conflict(fact) | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events callback | reviews conflict | evidence 1'),
('8 other order: never re-pointed (4)', 'new_order(); new_order(''o2''); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'pay o={o2} a=1000 c=CNY',
 'conflict(fact) | first applied | again conflict(fact) | paid | state paid, o2 pending | pots t 1000 order: kept 1000 | money paid 1000 | events callback | reviews conflict | evidence 1'),
('8 another order''s payment number (4)', 'new_order(); new_order(''o2''); attempt(''P'', ''gwa'', ''o2''); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'pay o={P} a=1000 c=CNY',
 'conflict(fact) | first applied | again conflict(fact) | paid | state paid, o2 pending | pots t 1000 order: kept 1000 | money paid 1000 | attempts P open | events callback | reviews conflict | evidence 1'),
('8 an order that nobody knows (4)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'pay o=nobody_knows_it a=1000 c=CNY',
 'conflict(fact) | first applied | again conflict(fact) | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events callback | reviews conflict | evidence 1'),
('8 wins over 14: the worked answer, a closed order', 'new_order(); go(''cancel''); say(''pay o={o} a=1000 c=CNY'', ''late(returned)'')', 'pay o={o} a=10 c=CNY',
 'conflict(fact) | first late | again conflict(fact) | state cancelled | pots t 1000 surplus: owed 1000 | refunds auto late held 1000 | events callback | reviews conflict | evidence 1'),
('8 wins over 10: the gateway is paused', 'new_order(); say(''pay g=gwp o={o} a=1000 c=CNY'', ''applied''); pause(''gwp'')', 'pay g=gwp o={o} a=1 c=CNY',
 'conflict(fact) | first applied | again conflict(fact) | paid | state paid | pots gwp:t 1000 order: kept 1000 | money paid 1000 | events callback | reviews conflict | evidence 1'),
('8 a parked one with another amount', 'say(''pay o={o} a=1000 c=CNY'', ''parked(order)'')', 'pay o={o} a=1 c=CNY',
 'conflict(fact) | first parked | again conflict(fact) | order - | pots t 1000 review of no order: review 1000 | waiting t pay parked(order) | events callback | reviews conflict | evidence 1'),
('8 a parked one, and now not well-formed', 'say(''pay o={o} a=1000 c=CNY'', ''parked(order)'')', 'pay o={o} c=CNY',
 'conflict(fact) | first parked | again conflict(fact) | order - | pots t 1000 review of no order: review 1000 | waiting t pay parked(order) | events callback | reviews conflict | evidence 1'),
('8 both orders unknown: the numbers are compared', 'say(''pay o={o} a=1000 c=CNY'', ''parked(order)'')', 'pay o={o2} a=1000 c=CNY',
 'conflict(fact) | first parked | again conflict(fact) | order - | pots t 1000 review of no order: review 1000 | waiting t pay parked(order) | events callback | reviews conflict | evidence 1'),
('8 a mismatch with the right amount now', 'new_order(); say(''pay o={o} a=999 c=CNY'', ''mismatch(amount)'')', 'pay o={o} a=1000 c=CNY',
 'conflict(fact) | first mismatch | again conflict(fact) | state pending | pots t 999 review: review 999 | events callback | reviews conflict | evidence 1'),
('8 refund, other amount', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''refund t={t}r p={t} a=300'', ''applied(external)'')', 'refund t={t}r p={t} a=301',
 'conflict(fact) | first applied | again conflict(fact) | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds gwa:tr external succeeded 300 | events callback | reviews conflict | evidence 1'),
('8 refund, other payment', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''refund t={t}r p={t} a=300'', ''applied(external)'')', 'refund t={t}r p={t}x a=300',
 'conflict(fact) | first applied | again conflict(fact) | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds gwa:tr external succeeded 300 | events callback | reviews conflict | evidence 1'),
('8 refund, other refund number', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''refund t={t}r p={t} a=300 r=ours_one'', ''applied(external)'')', 'refund t={t}r p={t} a=300 r=ours_two',
 'conflict(fact) | first applied | again conflict(fact) | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds gwa:tr external succeeded 300 | events callback | reviews conflict | evidence 1'),
('8 stored without a number, resolved by its payment; now another order', 'new_order(); new_order(''o2''); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''pay_failed'', ''stale'')', 'pay_failed o={o2}',
 'conflict(fact) | first stale | again conflict(fact) | paid | state paid, o2 pending | pots t 1000 order: kept 1000 | money paid 1000 | events callback | reviews conflict | evidence 1');

/* ---- C. the address ---- */

INSERT INTO cases (name, setup, message, expected) VALUES
('9 pay: the attempt is another gateway''s', 'new_order(); attempt(''P'')', 'pay g=gwb o={P} a=1000 c=CNY',
 'conflict(order) | order - | state pending | pots gwb:t 1000 review of no order: review 1000 | attempts P open | events callback, alarm | reviews conflict'),
('9 before 10: and the gateway is paused', 'new_order(); attempt(''P''); pause(''gwp'')', 'pay g=gwp o={P} a=1000 c=CNY',
 'conflict(order) | order - | state pending | pots gwp:t 1000 review of no order: review 1000 | attempts P open | events callback, alarm | reviews conflict'),
('9 pay: payment_txn is another order''s', 'new_order(); new_order(''o2''); say(''pay t={t}b o={o2} a=1000 c=CNY'', ''applied'')', 'pay o={o} p={t}b a=1000 c=CNY',
 'conflict(order) | order - | state pending, o2 paid | pots t 1000 review of no order: review 1000, tb 1000 order of o2: kept 1000 | money o2 paid 1000 | events callback, alarm | reviews conflict'),
('9 pay_failed: the attempt is another gateway''s', 'new_order(); attempt(''P'')', 'pay_failed g=gwb o={P}',
 'conflict(order) | order - | state pending | attempts P open | events callback'),
('9 pay_closed: the attempt is another gateway''s', 'new_order(); attempt(''P''); go(''cancel'')', 'pay_closed g=gwb o={P}',
 'conflict(order) | order - | state cancelling | attempts P open | events callback'),
('9 pay_closed: own txn is another order''s', 'new_order(); new_order(''o2''); say(''pay o={o2} a=1000 c=CNY'', ''applied'')', 'pay_closed o={o}',
 'conflict(order) | order - | state pending, o2 paid | pots t 1000 order of o2: kept 1000 | money o2 paid 1000 | events callback'),
('9 refund: the payment decides, the other order''s number is an alarm', 'new_order(); new_order(''o2''); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'refund t={t}r p={t} o={o2} a=300',
 'applied(external) | paid | state paid, o2 pending | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds gwa:tr external succeeded 300 | events callback, alarm | reviews order_differs'),
('9 refund: payment_txn goes before order_no', 'new_order(); new_order(''o2''); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''pay t={t}b o={o2} a=1000 c=CNY'', ''applied'')', 'refund t={t}r p={t} a=1000',
 'applied(external) | paid | state refunded, o2 paid | pots t 1000 order: returned 1000, tb 1000 order of o2: kept 1000 | money paid 1000 refunded 1000, o2 paid 1000 | refunds gwa:tr external succeeded 1000 | events callback, refunded'),

('10 pay', 'new_order(); attempt(''P'', ''gwp''); pause(''gwp'')', 'pay g=gwp o={P} a=1000 c=CNY',
 'deferred(paused) | again deferred(paused) | state pending | pots gwp:t 1000 review: review 1000 | attempts P open | waiting t pay deferred(paused) | events callback'),
('10 before 11: the order is not known', 'pause(''gwp'')', 'pay g=gwp o={o} a=1000 c=CNY',
 'deferred(paused) | order - | again deferred(paused) | pots gwp:t 1000 review of no order: review 1000 | waiting t pay deferred(paused) | events callback'),
('10 before 13: the order is paid', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); pause(''gwp'')', 'pay g=gwp t={t}b o={o} a=1000 c=CNY',
 'deferred(paused) | paid | again deferred(paused) | state paid | pots gwp:tb 1000 review: review 1000, t 1000 order: kept 1000 | money paid 1000 | waiting tb pay deferred(paused) | events callback'),
('10 pay_closed', 'new_order(); attempt(''P'', ''gwp''); go(''cancel''); pause(''gwp'')', 'pay_closed g=gwp o={P}',
 'deferred(paused) | again deferred(paused) | state cancelling | attempts P open | waiting t pay_closed deferred(paused) | events callback'),
('10 refund', 'new_order(); say(''pay g=gwp o={o} a=1000 c=CNY'', ''applied''); pause(''gwp'')', 'refund g=gwp t={t}r p={t} a=1000',
 'deferred(paused) | paid | again deferred(paused) | state paid | pots gwp:t 1000 order: kept 1000 | money paid 1000 | waiting tr refund deferred(paused) | events callback'),

('11 pay: no such order (6)', '', 'pay o={o} a=1000 c=CNY',
 'parked(order) | order - | again parked(order) | pots t 1000 review of no order: review 1000 | waiting t pay parked(order) | events callback'),
('11 pay: no number at all', '', 'pay a=1000 c=CNY',
 'parked(order) | order - | again parked(order) | pots t 1000 review of no order: review 1000 | waiting t pay parked(order) | events callback'),
('11 pay_failed', '', 'pay_failed o={o}', 'parked(order) | order - | again parked(order) | waiting t pay_failed parked(order) | events callback'),
('11 pay_closed', '', 'pay_closed o={o}', 'parked(order) | order - | again parked(order) | waiting t pay_closed parked(order) | events callback'),
('11 pay: an attempt is required', 'new_order()', 'pay g=gwr o={o} a=1000 c=CNY',
 'parked(order) | again parked(order) | state pending | pots gwr:t 1000 review: review 1000 | waiting t pay parked(attempt) | events callback'),
('11 pay: the required attempt is there', 'new_order(); attempt(''P'', ''gwr'')', 'pay g=gwr o={P} a=1000 c=CNY',
 'applied | paid | state paid | pots gwr:t 1000 order: kept 1000 | money paid 1000 | attempts P paid | events pay'),
('11 pay_closed: an attempt is required', 'new_order()', 'pay_closed g=gwr o={o}',
 'parked(order) | again parked(order) | state pending | waiting t pay_closed parked(attempt) | events callback'),

('12 older ones are applied first', 'new_order(); pause(''gwp''); say(''pay g=gwp o={o} a=1000 c=CNY'', ''deferred(paused)''); resume(''gwp'')', 'pay t={t}b o={o} a=1000 c=CNY',
 'excess | paid | state paid | pots gwp:t 1000 order: kept 1000, tb 1000 surplus: owed 1000 | money paid 1000 | refunds auto excess held 1000 | events pay, callback, refund_held | tasks return'),
('12 those of a paused gateway don''t count', 'new_order(); pause(''gwp''); say(''pay g=gwp o={o} a=1000 c=CNY'', ''deferred(paused)'')', 'pay t={t}b o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots gwp:t 1000 review: review 1000, tb 1000 order: kept 1000 | money paid 1000 | waiting t pay deferred(paused) | events pay'),
('12 an older one is still deferred: behind', 'new_order(); trouble(''payments''); say(''pay t={t}bad o={o} a=1000 c=CNY'', ''deferred(error)'')', 'pay t={t} o={o} a=1000 c=CNY',
 'deferred(behind) | again deferred(behind) | state pending | pots t 1000 review: review 1000, tbad 1000 review: review 1000 | waiting t pay deferred(behind), tbad pay deferred(error) | events callback'),
('12 behind: pay_closed too', 'new_order(); attempt(''P''); trouble(''payments''); say(''pay t={t}bad o={o} a=1000 c=CNY'', ''deferred(error)'')', 'pay_closed o={P}',
 'deferred(behind) | again deferred(behind) | state pending | pots tbad 1000 review: review 1000 | attempts P open | waiting t pay_closed deferred(behind), tbad pay deferred(error) | events callback'),
('12 behind: a refund of a payment too', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); trouble(''payments''); say(''pay t={t}bad o={o} a=5 c=CNY'', ''deferred(error)'')', 'refund t={t}r p={t} a=300',
 'deferred(behind) | paid | again deferred(behind) | state paid | pots t 1000 order: kept 1000, tbad 5 review: review 5 | money paid 1000 | waiting tbad pay deferred(error), tr refund deferred(behind) | events callback'),
('12 what comes again queues behind the older one too', 'new_order(); trouble(''payments''); say(''pay t={t}bad o={o} a=1000 c=CNY'', ''deferred(error)''); say(''pay t={t} o={o} a=1000 c=CNY'', ''deferred(behind)'')', 'pay t={t} o={o} a=1000 c=CNY',
 'deferred(behind) | again deferred(behind) | state pending | pots t 1000 review: review 1000, tbad 1000 review: review 1000 | waiting t pay deferred(behind), tbad pay deferred(error)'),
('12 the sweep lets nobody overtake either', 'new_order(); trouble(''payments''); say(''pay t={t}bad o={o} a=1000 c=CNY'', ''deferred(error)''); say(''pay t={t} o={o} a=1000 c=CNY'', ''deferred(behind)''); drain()', 'pay t={t} o={o} a=1000 c=CNY',
 'deferred(behind) | again deferred(behind) | state pending | pots t 1000 review: review 1000, tbad 1000 review: review 1000 | waiting t pay deferred(behind), tbad pay deferred(error)'),
('12 more than 100 older ones: behind', 'new_order(); pause(''gwp''); say_many(101); resume(''gwp'')', 'pay_failed t={t}b o={o}',
 'deferred(behind) | again deferred(behind) | state pending | waiting 102 of them | events callback'),
('12 100 older ones are applied', 'new_order(); pause(''gwp''); say_many(100); resume(''gwp'')', 'pay t={t}b o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots tb 1000 order: kept 1000 | money paid 1000 | events 101 of them');

/* ---- D. pay, under the order's lock ---- */

INSERT INTO cases (name, setup, message, expected) VALUES
('13 the same amount again (5)', 'new_order(); say(''pay t={t}a o={o} a=1000 c=CNY'', ''applied'')', 'pay o={o} a=1000 c=CNY',
 'excess | paid | state paid | pots t 1000 surplus: owed 1000, ta 1000 order: kept 1000 | money paid 1000 | refunds auto excess held 1000 | events callback, refund_held | tasks return'),
('13 any amount (5, 13)', 'new_order(); say(''pay t={t}a o={o} a=1000 c=CNY'', ''applied'')', 'pay o={o} a=7 c=CNY',
 'excess | paid | state paid | pots t 7 surplus: owed 7, ta 1000 order: kept 1000 | money paid 1000 | refunds auto excess held 7 | events callback, refund_held | tasks return'),
('13 any currency: owed in its own (5, 13)', 'new_order(); say(''pay t={t}a o={o} a=1000 c=CNY'', ''applied'')', 'pay o={o} a=1000 c=JPY',
 'excess | paid | state paid | pots t 1000 JPY surplus: owed 1000, ta 1000 order: kept 1000 | money paid 1000 | refunds auto excess held 1000 | events callback, refund_held | tasks return'),
('13 through another gateway''s attempt, which becomes paid (5, 78)', 'new_order(); attempt(''P''); attempt(''Q'', ''gwb''); say(''pay t={t}a o={P} a=1000 c=CNY'', ''applied'')', 'pay g=gwb o={Q} a=1000 c=CNY',
 'excess | paid | state paid | pots gwb:t 1000 surplus: owed 1000, ta 1000 order: kept 1000 | money paid 1000 | attempts P paid, Q paid | refunds auto excess held 1000 | events callback, refund_held | tasks return'),
('13 twice through one attempt', 'new_order(); attempt(''P''); say(''pay t={t}a o={P} a=1000 c=CNY'', ''applied'')', 'pay o={P} a=1000 c=CNY',
 'excess | paid | state paid | pots t 1000 surplus: owed 1000, ta 1000 order: kept 1000 | money paid 1000 | attempts P paid | refunds auto excess held 1000 | events callback, refund_held | tasks return'),
('13 before 14: paid stays true after any refund', 'new_order(); say(''pay t={t}a o={o} a=1000 c=CNY'', ''applied''); say(''refund t={t}r p={t}a a=1000'', ''applied(external)'')', 'pay o={o} a=1000 c=CNY',
 'excess | paid | state refunded | pots t 1000 surplus: owed 1000, ta 1000 order: returned 1000 | money paid 1000 refunded 1000 | refunds auto excess held 1000, gwa:tr external succeeded 1000 | events callback, refund_held | tasks return'),
('13 while everything is refunded', 'new_order(); say(''pay t={t}a o={o} a=1000 c=CNY'', ''applied''); go(''cancel'')', 'pay o={o} a=1000 c=CNY',
 'excess | paid | state refunding | pots t 1000 surplus: owed 1000, ta 1000 order: kept 1000 | money paid 1000 | refunds auto excess held 1000 | events callback, refund_held | tasks return'),
('13 an order of amount 0 is paid (84)', 'new_order(amount => 0)', 'pay o={o} a=50 c=CNY',
 'excess | paid | state paid | pots none:o 0 order: nothing, t 50 surplus: owed 50 | refunds auto excess held 50 | events callback, refund_held | tasks return'),

('14a reopened by order number (8a)', 'new_order(); go(''close'')', 'pay o={o} a=1000 c=CNY',
 'late(reopened) | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events reopen'),
('14a reopened through a closed attempt (8a)', 'new_order(); attempt(''P''); say(''pay_closed o={P}'', ''applied(attempt)''); go(''close'')', 'pay o={P} a=1000 c=CNY',
 'late(reopened) | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | attempts P paid | events reopen'),
('14a the close was never answered; its attempt is still open (8a, 28)', 'new_order(); attempt(''P''); go(''close''); later(''31 minutes'')', 'pay g=gwb o={o} a=1000 c=CNY',
 'late(reopened) | paid | state paid | pots gwb:t 1000 order: kept 1000 | money paid 1000 | attempts P open | events reopen'),
('14b the close was never answered; another amount (8b, 28)', 'new_order(); attempt(''P''); go(''close''); later(''31 minutes'')', 'pay o={P} a=999 c=CNY',
 'late(returned) | state expired | pots t 999 surplus: owed 999 | attempts P paid | refunds auto late held 999 | events callback, refund_held | tasks return'),
('14b the state has no reopen edge (8b)', 'new_order(); go(''cancel'')', 'pay o={o} a=1000 c=CNY',
 'late(returned) | state cancelled | pots t 1000 surplus: owed 1000 | refunds auto late held 1000 | events callback, refund_held | tasks return'),
('14b not within (8b)', 'new_order(machine => ''v_brief''); go(''close'')', 'pay o={o} a=1000 c=CNY',
 'late(returned) | state expired | pots t 1000 surplus: owed 1000 | refunds auto late held 1000 | events callback, refund_held | tasks return'),
('14b the guard of reopen does not hold (8b)', 'new_order(machine => ''v_guard''); go(''close'')', 'pay o={o} a=1000 c=CNY',
 'late(returned) | state expired | pots t 1000 surplus: owed 1000 | refunds auto late held 1000 | events callback, refund_held | tasks return'),
('14b other amount', 'new_order(); go(''close'')', 'pay o={o} a=999 c=CNY',
 'late(returned) | state expired | pots t 999 surplus: owed 999 | refunds auto late held 999 | events callback, refund_held | tasks return'),
('14b other currency', 'new_order(); go(''close'')', 'pay o={o} a=1000 c=USD',
 'late(returned) | state expired | pots t 1000 USD surplus: owed 1000 | refunds auto late held 1000 | events callback, refund_held | tasks return'),
('14b equal to the order, not to the attempt', 'new_order(machine => ''v_parts''); attempt(''P'', amount => 400); say(''pay_closed o={P}'', ''applied(attempt)''); go(''close'')', 'pay o={P} a=1000 c=CNY',
 'late(returned) | state expired | pots t 1000 surplus: owed 1000 | attempts P paid | refunds auto late held 1000 | events callback, refund_held | tasks return'),
('14b late by arrival, whatever occurred_at says', 'new_order(); go(''cancel'')', 'pay o={o} a=1000 c=CNY at=-1day',
 'late(returned) | state cancelled | pots t 1000 surplus: owed 1000 | refunds auto late held 1000 | events callback, refund_held | tasks return'),
('14b a second late one', 'new_order(); go(''cancel''); say(''pay t={t}a o={o} a=1000 c=CNY'', ''late(returned)'')', 'pay o={o} a=1000 c=CNY',
 'late(returned) | state cancelled | pots t 1000 surplus: owed 1000, ta 1000 surplus: owed 1000 | refunds auto late held 1000, auto late held 1000 | events callback, refund_held | tasks return'),

('15 other currency, same amount (13)', 'new_order(); attempt(''P'')', 'pay o={P} a=1000 c=USD',
 'mismatch(currency) | state pending | pots t 1000 USD review: review 1000 | attempts P paid | events callback, alarm | reviews mismatch'),
('15 before 16: other currency and amount (13)', 'new_order()', 'pay o={o} a=1 c=USD',
 'mismatch(currency) | state pending | pots t 1 USD review: review 1 | events callback, alarm | reviews mismatch'),
('16 less than the attempt (13)', 'new_order(); attempt(''P'')', 'pay o={P} a=999 c=CNY',
 'mismatch(amount) | state pending | pots t 999 review: review 999 | attempts P paid | events callback, alarm | reviews mismatch'),
('16 more than the order, without attempt (13)', 'new_order()', 'pay o={o} a=1001 c=CNY',
 'mismatch(amount) | state pending | pots t 1001 review: review 1001 | events callback, alarm | reviews mismatch'),
('16 while closing: the state stays', 'new_order(); attempt(''P''); go(''close'')', 'pay o={P} a=999 c=CNY',
 'mismatch(amount) | state closing | pots t 999 review: review 999 | attempts P paid | events callback, alarm | reviews mismatch'),
('17 the attempt is not what is left to pay', 'new_order(machine => ''v_parts''); attempt(''P'', amount => 400)', 'pay o={P} a=400 c=CNY',
 'mismatch(repriced) | state pending | pots t 400 review: review 400 | attempts P paid | events callback, alarm | reviews mismatch'),
('16 before 17: nor what the attempt is', 'new_order(machine => ''v_parts''); attempt(''P'', amount => 400)', 'pay o={P} a=1000 c=CNY',
 'mismatch(amount) | state pending | pots t 1000 review: review 1000 | attempts P paid | events callback, alarm | reviews mismatch'),

('18 by order number', 'new_order()', 'pay o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events pay'),
('18 by payment number', 'new_order(); attempt(''P'')', 'pay o={P} a=1000 c=CNY',
 'applied | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | attempts P paid | events pay'),
('18 other open attempts are to be closed (78)', 'new_order(); attempt(''P''); attempt(''Q'', ''gwb''); attempt(''S'', ''gwp'')', 'pay g=gwb o={Q} a=1000 c=CNY',
 'applied | paid | state paid | pots gwb:t 1000 order: kept 1000 | money paid 1000 | attempts P open, Q paid, S open | events pay | tasks close_payment, close_payment'),
('18 while closing: payment wins (9, 27)', 'new_order(); attempt(''P''); go(''close'')', 'pay o={P} a=1000 c=CNY',
 'applied | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | attempts P paid | events pay'),
('18 while cancelling: to refunding, never to paid (76)', 'new_order(); attempt(''P''); go(''cancel'')', 'pay o={P} a=1000 c=CNY',
 'applied | paid | state refunding | pots t 1000 order: kept 1000 | money paid 1000 | attempts P paid | events pay | tasks refund_all'),
('18 the attempt had failed', 'new_order(); attempt(''P''); say(''pay_failed t={t}f o={P}'', ''applied(attempt)'')', 'pay o={P} a=1000 c=CNY',
 'applied | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | attempts P paid | events pay'),
('18 one intent fails, then succeeds', 'new_order(); attempt(''P'', ''gwf''); say(''pay_failed g=gwf t={t}f o={P}'', ''applied(noted)'')', 'pay g=gwf o={P} a=1000 c=CNY',
 'applied | paid | state paid | pots gwf:t 1000 order: kept 1000 | money paid 1000 | attempts P paid | events pay'),
('18 the worked answer: the first was a mismatch', 'new_order(); say(''pay t={t}a o={o} a=999 c=CNY'', ''mismatch(amount)'')', 'pay o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots t 1000 order: kept 1000, ta 999 review: review 999 | money paid 1000 | events pay'),
('18 part of it went back before it is applied', 'new_order(); say(''pay g=gwr o={o} a=1000 c=CNY'', ''parked(order)''); say(''refund g=gwr t={t}r p={t} a=300'', ''applied(external)''); attempt(''P'', ''gwr'')', 'pay g=gwr o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots gwr:t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | attempts P open | refunds gwr:tr external succeeded 300 | events pay | tasks close_payment'),
('18 nothing left: applies with nothing to move, then refunded', 'new_order(); say(''pay g=gwr o={o} a=1000 c=CNY'', ''parked(order)''); say(''refund g=gwr t={t}r p={t} a=1000'', ''applied(external)''); attempt(''P'', ''gwr'')', 'pay g=gwr o={o} a=1000 c=CNY',
 'applied | paid | state refunded | pots gwr:t 1000 order: returned 1000 | money paid 1000 refunded 1000 | attempts P open | refunds gwr:tr external succeeded 1000 | events pay, refunded | tasks close_payment'),
('16 compares the payment, not what is left of it', 'new_order(amount => 700); say(''pay g=gwr o={o} a=1000 c=CNY'', ''parked(order)''); say(''refund g=gwr t={t}r p={t} a=300'', ''applied(external)''); attempt(''P'', ''gwr'')', 'pay g=gwr o={o} a=1000 c=CNY',
 'mismatch(amount) | state pending | pots gwr:t 1000 review: review 700 returned 300 | attempts P open | refunds gwr:tr external succeeded 300 | events callback, alarm | reviews mismatch'),
('14b nothing left: nothing is returned twice', 'new_order(); go(''cancel''); say(''pay g=gwr o={o} a=1000 c=CNY'', ''parked(order)''); say(''refund g=gwr t={t}r p={t} a=1000'', ''applied(external)''); relax(''gwr'')', 'pay g=gwr o={o} a=1000 c=CNY',
 'late(returned) | state cancelled | pots gwr:t 1000 surplus: returned 1000 | refunds gwr:tr external succeeded 1000 | events callback'),
('14b a part is left: only that is returned', 'new_order(); go(''cancel''); say(''pay g=gwr o={o} a=1000 c=CNY'', ''parked(order)''); say(''refund g=gwr t={t}r p={t} a=400'', ''applied(external)''); relax(''gwr'')', 'pay g=gwr o={o} a=1000 c=CNY',
 'late(returned) | state cancelled | pots gwr:t 1000 surplus: owed 600 returned 400 | refunds auto late held 600, gwr:tr external succeeded 400 | events callback, refund_held | tasks return'),

('20 a trigger on the order raises (86)', 'new_order(); attempt(''P''); trouble(''orders'')', 'pay o={P} a=1000 c=CNY',
 'deferred(error) | again deferred(error) | state pending | pots t 1000 review: review 1000 | attempts P open | waiting t pay deferred(error) | events callback'),
('20 a trigger on the payment raises (86)', 'new_order(); attempt(''P''); trouble(''payments'')', 'pay t={t}bad o={P} a=1000 c=CNY',
 'deferred(error) | again deferred(error) | state pending | pots tbad 1000 review: review 1000 | attempts P open | waiting tbad pay deferred(error) | events callback'),
('20 a refund raises (86)', 'new_order(); say(''pay t={t}bad o={o} a=1000 c=CNY'', ''applied''); trouble(''payments'')', 'refund t={t}r p={t}bad a=300',
 'deferred(error) | paid | again deferred(error) | state paid | pots tbad 1000 order: kept 1000 | money paid 1000 | waiting tr refund deferred(error) | events callback');

/* ---- E. pay_failed and pay_closed ---- */

INSERT INTO cases (name, setup, message, expected) VALUES
('21 pay_failed after pay, by the txn (10)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'pay_failed o={o}',
 'stale | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events callback'),
('21 pay_failed after pay, by the attempt (10)', 'new_order(); attempt(''P''); say(''pay t={t}a o={P} a=1000 c=CNY'', ''applied'')', 'pay_failed o={P}',
 'stale | paid | state paid | pots ta 1000 order: kept 1000 | money paid 1000 | attempts P paid | events callback'),
('21 pay_failed after pay, by payment_txn alone, as Stripe says it (10)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'pay_failed t={t}ch p={t}',
 'stale | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events callback'),
('21 pay_closed after pay asks: two truths (10)', 'new_order(); attempt(''P''); say(''pay t={t}a o={P} a=1000 c=CNY'', ''applied'')', 'pay_closed o={P}',
 'stale | paid | state paid | pots ta 1000 order: kept 1000 | money paid 1000 | attempts P paid | events callback | tasks query_payment'),
('21 pay_closed after pay, by the txn of an attempt''s payment (10)', 'new_order(); attempt(''P''); say(''pay o={P} a=1000 c=CNY'', ''applied'')', 'pay_closed',
 'stale | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | attempts P paid | events callback | tasks query_payment'),
('21 the payment is in review', 'new_order(); attempt(''P''); say(''pay t={t}a o={P} a=999 c=CNY'', ''mismatch(amount)''); go(''close'')', 'pay_failed o={P}',
 'stale | state expired | pots ta 999 review: review 999 | attempts P paid | events callback'),
('22 failed already', 'new_order(); attempt(''P''); say(''pay_failed t={t}a o={P}'', ''applied(attempt)'')', 'pay_failed o={P}',
 'stale | state pending | attempts P failed | events callback'),
('22 failed, and now closed', 'new_order(); attempt(''P''); say(''pay_failed t={t}a o={P}'', ''applied(attempt)'')', 'pay_closed o={P}',
 'stale | state pending | attempts P failed | events callback'),
('22 closed, and now failed', 'new_order(); attempt(''P''); say(''pay_closed t={t}a o={P}'', ''applied(attempt)'')', 'pay_failed o={P}',
 'stale | state pending | attempts P closed | events callback'),
('23 pay_failed: only this attempt ends', 'new_order(); attempt(''P''); attempt(''Q'', ''gwb'')', 'pay_failed o={P}',
 'applied(attempt) | state pending | attempts P failed, Q open | events callback'),
('23 pay_closed: only this attempt ends', 'new_order(); attempt(''P''); attempt(''Q'', ''gwb'')', 'pay_closed g=gwb o={Q}',
 'applied(attempt) | state pending | attempts P open, Q closed | events callback'),
('23 pay_failed is not final at this gateway', 'new_order(); attempt(''P'', ''gwf'')', 'pay_failed g=gwf o={P}',
 'applied(noted) | state pending | attempts P open | events callback'),
('23 pay_failed is not final, while closing', 'new_order(); attempt(''P'', ''gwf''); go(''close'')', 'pay_failed g=gwf o={P}',
 'applied(noted) | state closing | attempts P open | events callback'),
('23 pay_closed is final everywhere', 'new_order(); attempt(''P'', ''gwf'')', 'pay_closed g=gwf o={P}',
 'applied(attempt) | state pending | attempts P closed | events callback'),
('23 the worked answer: another attempt won', 'new_order(); attempt(''P''); attempt(''Q'', ''gwb''); say(''pay t={t}a o={P} a=1000 c=CNY'', ''applied'')', 'pay_failed g=gwb o={Q}',
 'applied(attempt) | paid | state paid | pots ta 1000 order: kept 1000 | money paid 1000 | attempts P paid, Q failed | events callback'),
('24 the last open attempt of a closing order', 'new_order(); attempt(''P''); go(''close'')', 'pay_closed o={P}',
 'applied(attempt) | state expired | attempts P closed | events close_confirmed'),
('24 pay_failed confirms it as well', 'new_order(); attempt(''P''); go(''cancel'')', 'pay_failed o={P}',
 'applied(attempt) | state cancelled | attempts P failed | events close_confirmed'),
('24 another attempt is open', 'new_order(); attempt(''P''); attempt(''Q'', ''gwb''); go(''cancel'')', 'pay_closed o={P}',
 'applied(attempt) | state cancelling | attempts P closed, Q open | events callback'),
('24 a pay callback waits (77)', 'new_order(); attempt(''P''); go(''cancel''); pause(''gwp''); say(''pay g=gwp t={t}a o={o} a=1000 c=CNY'', ''deferred(paused)'')', 'pay_closed o={P}',
 'applied(attempt) | state cancelling | pots gwp:ta 1000 review: review 1000 | attempts P closed | waiting ta pay deferred(paused) | events callback'),
('25 no attempt, closing: confirmed', 'new_order(machine => ''v_asks''); go(''cancel'')', 'pay_closed o={o}',
 'applied | state cancelled | events close_confirmed'),
('25 pay_failed confirms nothing', 'new_order(machine => ''v_asks''); go(''cancel'')', 'pay_failed o={o}',
 'stale | state cancelling | events callback'),
('25 an attempt is open: stale', 'new_order(machine => ''v_asks''); attempt(''P''); go(''cancel'')', 'pay_closed g=gwb o={o}',
 'stale | state cancelling | attempts P open | events callback'),
('25 a pay callback waits: stale', 'new_order(machine => ''v_asks''); go(''cancel''); pause(''gwp''); say(''pay g=gwp t={t}a o={o} a=1000 c=CNY'', ''deferred(paused)'')', 'pay_closed o={o}',
 'stale | state cancelling | pots gwp:ta 1000 review: review 1000 | waiting ta pay deferred(paused) | events callback'),
('25 not closing: stale', 'new_order()', 'pay_closed o={o}',
 'stale | state pending | events callback');

/* ---- F. refund ---- */

INSERT INTO cases (name, setup, message, expected) VALUES
('27 names a payment that is not known (11)', 'new_order()', 'refund t={t}r p={t} o={o} a=300',
 'parked(payment) | again parked(payment) | state pending | waiting tr refund parked(payment) | events callback'),
('27 names nothing that is known (11)', '', 'refund t={t}r p={t} o={o} r=unknown_refund a=300',
 'parked(payment) | order - | again parked(payment) | waiting tr refund parked(payment) | events callback'),
('27 names neither, no payment yet', 'new_order()', 'refund t={t}r o={o} a=300',
 'parked(payment) | again parked(payment) | state pending | waiting tr refund parked(payment) | events callback'),
('27 names neither, no payment of that gateway', 'new_order(); say(''pay g=gwb o={o} a=1000 c=CNY'', ''applied'')', 'refund t={t}r o={o} a=300',
 'parked(payment) | paid | again parked(payment) | state paid | pots gwb:t 1000 order: kept 1000 | money paid 1000 | waiting tr refund parked(payment) | events callback'),
('27 names neither, one payment of that gateway', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''pay g=gwb t={t}b o={o} a=1000 c=CNY'', ''excess'')', 'refund t={t}r o={o} a=300',
 'applied(external) | paid | state paid | pots gwb:tb 1000 surplus: owed 1000, t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds auto excess held 1000, gwa:tr external succeeded 300 | events callback'),
('27 names neither, several', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''pay t={t}b o={o} a=1000 c=CNY'', ''excess'')', 'refund t={t}r o={o} a=300',
 'mismatch(unnamed) | paid | state paid | pots t 1000 order: kept 1000, tb 1000 surplus: owed 1000 | money paid 1000 | refunds auto excess held 1000 | events alarm, callback | reviews refund_unnamed'),
('27 names a payment that is not known, and a refund of ours', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300)', 'refund t={t}r p={t}x r={R} a=300',
 'parked(payment) | paid | again parked(payment) | state paid | pots t 1000 order: kept 700 returning 300 | money paid 1000 refunding 300 | refunds R order asked 300 | waiting tr refund parked(payment) | events callback'),
('27 an order of amount 0 has no payment of that gateway', 'new_order(amount => 0)', 'refund t={t}r o={o} a=300',
 'parked(payment) | paid | again parked(payment) | state paid | pots none:o 0 order: nothing | waiting tr refund parked(payment) | events callback'),
('27 drained by the payment''s arrival, same transaction (11)', 'new_order(); say(''refund t={t}r p={t} a=300'', ''parked(payment)'')', 'pay o={o} a=1000 c=CNY',
 'applied | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds gwa:tr external succeeded 300 | events pay, callback'),
('27 drained by the payment of the order that it named (11)', 'new_order(); say(''refund t={t}r o={o} a=1000'', ''parked(payment)'')', 'pay o={o} a=1000 c=CNY',
 'applied | paid | state refunded | pots t 1000 order: returned 1000 | money paid 1000 refunded 1000 | refunds gwa:tr external succeeded 1000 | events pay, callback, refunded'),
('27 a payment without an order: under the payment''s lock', 'say(''pay a=1000 c=CNY'', ''parked(order)'')', 'refund t={t}r p={t} a=300',
 'applied(external) | order - | pots t 1000 review of no order: review 700 returned 300 | refunds gwa:tr external succeeded 300 | waiting t pay parked(order) | events callback'),
('28 other currency', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'refund t={t}r p={t} a=300 c=USD',
 'mismatch(currency) | paid | state paid | pots t 1000 order: kept 1000 | money paid 1000 | events alarm, callback | reviews refund_currency'),
('28 before 31: ours, other currency', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300)', 'refund t={t}r p={t} r={R} a=300 c=USD',
 'mismatch(currency) | paid | state paid | pots t 1000 order: kept 700 returning 300 | money paid 1000 refunding 300 | refunds R order asked 300 | events alarm, callback | reviews refund_currency'),
('30 ours, but of another payment', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''pay t={t}b o={o} a=1000 c=CNY'', ''excess''); ask_refund(''R'', 300, ''{t}'')', 'refund t={t}r p={t}b r={R} a=300',
 'conflict(payment) | paid | state paid | pots t 1000 order: kept 700 returning 300, tb 1000 surplus: owed 1000 | money paid 1000 refunding 300 | refunds R order asked 300, auto excess held 1000 | events alarm, callback | tasks query_refund | reviews refund_conflict'),
('30 ours, but of another payment with a refund of its own: both are asked about', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''pay t={t}b o={o} a=1000 c=CNY'', ''excess''); say(''refund t={t}x p={t}b a=400'', ''applied(external)''); ask_refund(''R'', 300, ''{t}''); ask_refund(''S'', 200, ''{t}b'')', 'refund t={t}r p={t}b r={R} a=300',
 'conflict(payment) | paid | state paid | pots t 1000 order: kept 700 returning 300, tb 1000 surplus: owed 400 returning 200 returned 400 | money paid 1000 refunding 300 | refunds R order asked 300, S order asked 200, auto excess cancelled 1000, gwa:tx external succeeded 400 | events alarm, callback | tasks query_refund, query_refund | reviews refund_conflict'),
('31 asked', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300)', 'refund t={t}r p={t} r={R} a=300 c=CNY',
 'applied | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds R order succeeded 300 | events callback | tasks ended refund'),
('31 known by our number alone', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300)', 'refund t={t}r r={R} a=300',
 'applied | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds R order succeeded 300 | events callback | tasks ended refund'),
('31 in doubt (45)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); doubt_refund(''R'')', 'refund t={t}r p={t} r={R} a=300',
 'applied | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds R order succeeded 300 | events callback | tasks ended refund | reviews ended in_doubt'),
('31 stuck (72)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); say(''refund_stuck t={t}r r={R}'', ''applied(stuck)'')', 'refund t={t}r p={t} r={R} a=300',
 'applied | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds R order succeeded 300 | events callback | tasks ended refund | reviews ended stuck'),
('31 held: owed becomes returned', 'new_order(); go(''cancel''); say(''pay o={o} a=1000 c=CNY'', ''late(returned)''); name_auto(''R'')', 'refund t={t}r p={t} r={R} a=1000',
 'applied | state cancelled | pots t 1000 surplus: returned 1000 | refunds R late succeeded 1000 | events callback | tasks ended return'),
('31 the last of an order: the refunded edge', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); go(''cancel''); ask_refund(''R'')', 'refund t={t}r p={t} r={R} a=1000',
 'applied | paid | state refunded | pots t 1000 order: returned 1000 | money paid 1000 refunded 1000 | refunds R order succeeded 1000 | events callback, refunded | tasks ended refund'),
('31 the last but for an excess that is owed: no edge', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''pay t={t}b o={o} a=5 c=CNY'', ''excess''); ask_refund(''R'', 1000, ''{t}'')', 'refund t={t}r p={t} r={R} a=1000',
 'applied | paid | state paid | pots t 1000 order: returned 1000, tb 5 surplus: owed 5 | money paid 1000 refunded 1000 | refunds R order succeeded 1000, auto excess held 5 | events callback | tasks ended refund'),
('32 open, amount differs', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300)', 'refund t={t}r p={t} r={R} a=200',
 'mismatch(amount) | paid | state paid | pots t 1000 order: kept 700 returning 300 | money paid 1000 refunding 300 | refunds R order asked 300 | events alarm, callback | tasks query_refund | reviews refund_differs'),
('32 held, amount differs', 'new_order(); go(''cancel''); say(''pay o={o} a=1000 c=CNY'', ''late(returned)''); name_auto(''R'')', 'refund t={t}r p={t} r={R} a=999',
 'mismatch(amount) | state cancelled | pots t 1000 surplus: owed 1000 | refunds R late held 1000 | events alarm, callback | tasks query_refund | reviews refund_differs'),
('33 a second gateway id for one number: twice', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); say(''refund t={t}r p={t} r={R} a=300'', ''applied'')', 'refund t={t}s p={t} r={R} a=300',
 'conflict(twice) | paid | state paid | pots t 1000 order: kept 400 returned 600 | money paid 1000 refunded 600 | refunds R order succeeded 300, gwa:ts external succeeded 300 | events callback, alarm | reviews refunded_twice'),
('33 twice, and more than there was', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R''); say(''refund t={t}r p={t} r={R} a=1000'', ''applied'')', 'refund t={t}s p={t} r={R} a=1000',
 'conflict(twice) | paid | state refunded | pots t 1000 order: returned 2000 overdrawn 1000 | money paid 1000 refunded 2000 overdrawn 1000 | refunds R order succeeded 1000, gwa:ts external succeeded 1000 | events alarm, callback, alarm | reviews overdrawn, refunded_twice'),
('33 the first had no id: filled in', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); say(''refund t={t}r p={t} r={R} a=300'', ''applied''); forget_id(''R'')', 'refund t={t}s p={t} r={R} a=300',
 'duplicate | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds R order succeeded 300 | events callback'),
('34 failed, and now succeeded (87)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); say(''refund_failed t={t}r r={R}'', ''applied'')', 'refund t={t}r p={t} r={R} a=300',
 'applied(resurrected) | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds R order succeeded 300 | events callback | reviews ended owed'),
('34 cancelled, and now succeeded', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R''); say(''refund t={t}x p={t} a=400'', ''applied(external)'')', 'refund t={t}r p={t} r={R} a=1000',
 'applied(resurrected) | paid | state refunded | pots t 1000 order: returned 1400 overdrawn 400 | money paid 1000 refunded 1400 overdrawn 400 | refunds R order succeeded 1000, gwa:tx external succeeded 400 | events alarm, callback, refunded | reviews overdrawn'),
('34 reversed, and now succeeded, another amount', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); say(''refund t={t}r r={R} a=300'', ''applied''); say(''refund_failed t={t}r r={R}'', ''applied(reversal)'')', 'refund t={t}s p={t} r={R} a=200',
 'applied(resurrected) | paid | state paid | pots t 1000 order: kept 700 owed 100 returned 200 | money paid 1000 refunded 200 | refunds R order succeeded 200 | events callback | reviews ended refund_reversed'),
('35 from kept (12)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'refund t={t}r p={t} a=300',
 'applied(external) | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds gwa:tr external succeeded 300 | events callback'),
('35 with the payment''s own txn: another event is another key', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'refund t={t} p={t} a=300',
 'applied(external) | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds gwa:t external succeeded 300 | events callback'),
('35 all of it: the refunded edge (12)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'refund t={t}r p={t} a=1000',
 'applied(external) | paid | state refunded | pots t 1000 order: returned 1000 | money paid 1000 refunded 1000 | refunds gwa:tr external succeeded 1000 | events callback, refunded'),
('35 a number that is not ours (12)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'refund t={t}r p={t} r=not_ours_at_all a=300',
 'applied(external) | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds gwa:tr external succeeded 300 | events callback'),
('35 from review', 'new_order(); say(''pay o={o} a=1500 c=CNY'', ''mismatch(amount)'')', 'refund t={t}r p={t} a=300',
 'applied(external) | state pending | pots t 1500 review: review 1200 returned 300 | refunds gwa:tr external succeeded 300 | events callback'),
('35 all of what was in review: its review ends', 'new_order(); say(''pay o={o} a=1500 c=CNY'', ''mismatch(amount)'')', 'refund t={t}r p={t} a=1500',
 'applied(external) | state pending | pots t 1500 review: returned 1500 | refunds gwa:tr external succeeded 1500 | events callback | reviews ended mismatch'),
('35 owed before kept', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); say(''refund_failed t={t}f r={R}'', ''applied'')', 'refund t={t}r p={t} a=500',
 'applied(external) | paid | state paid | pots t 1000 order: kept 500 returned 500 | money paid 1000 refunded 500 | refunds R order failed 300, gwa:tr external succeeded 500 | events callback | reviews ended owed'),
('35 it fits: unclaimed refunds stay (12, 88)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 600)', 'refund t={t}r p={t} a=400',
 'applied(external) | paid | state paid | pots t 1000 order: returning 600 returned 400 | money paid 1000 refunding 600 refunded 400 | refunds R order asked 600, gwa:tr external succeeded 400 | events callback'),
('35 unclaimed ones are cancelled, newest first, until it fits (12, 88)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 600); ask_refund(''S'', 300)', 'refund t={t}r p={t} a=250',
 'applied(external) | paid | state paid | pots t 1000 order: kept 150 returning 600 returned 250 | money paid 1000 refunding 600 refunded 250 | refunds R order asked 600, S order cancelled 300, gwa:tr external succeeded 250 | events refund_cancelled, callback | tasks ended refund'),
('35 all unclaimed ones are cancelled (12, 88)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 600); ask_refund(''S'', 300)', 'refund t={t}r p={t} a=1000',
 'applied(external) | paid | state refunded | pots t 1000 order: returned 1000 | money paid 1000 refunded 1000 | refunds R order cancelled 600, S order cancelled 300, gwa:tr external succeeded 1000 | events refund_cancelled, refund_cancelled, callback, refunded | tasks ended refund, ended refund'),
('35 a claimed one is asked about, the rest is overdrawn (12, 88)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 600); claim_refunds()', 'refund t={t}r p={t} a=1000',
 'applied(external) | paid | state paid | pots t 1000 order: returning 600 returned 1000 overdrawn 600 | money paid 1000 refunding 600 refunded 1000 overdrawn 600 | refunds R order asked 600, gwa:tr external succeeded 1000 | events alarm, alarm, callback | tasks query_refund | reviews claimed, overdrawn'),
('35 a held one counts against owed: it is cancelled', 'new_order(); go(''cancel''); say(''pay o={o} a=1000 c=CNY'', ''late(returned)''); name_auto(''R'')', 'refund t={t}r p={t} a=1000',
 'applied(external) | state cancelled | pots t 1000 surplus: returned 1000 | refunds R late cancelled 1000, gwa:tr external succeeded 1000 | events refund_cancelled, callback | tasks ended return'),
('35 a held one is cancelled for a part: what stays owed is reviewed', 'new_order(); go(''cancel''); say(''pay o={o} a=1000 c=CNY'', ''late(returned)''); name_auto(''R'')', 'refund t={t}r p={t} a=400',
 'applied(external) | state cancelled | pots t 1000 surplus: owed 600 returned 400 | refunds R late cancelled 1000, gwa:tr external succeeded 400 | events refund_cancelled, alarm, callback | tasks ended return | reviews owed'),
('35 more than there ever was', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'refund t={t}r p={t} a=1300',
 'applied(external) | paid | state refunded | pots t 1000 order: returned 1300 overdrawn 300 | money paid 1000 refunded 1300 overdrawn 300 | refunds gwa:tr external succeeded 1300 | events alarm, callback, refunded | reviews overdrawn');

/* ---- G. refund_failed and refund_stuck ---- */

INSERT INTO cases (name, setup, message, expected) VALUES
('36 refund_failed, not known', 'new_order()', 'refund_failed t={t}r o={o} r=unknown_refund',
 'parked(refund) | again parked(refund) | state pending | waiting tr refund_failed parked(refund) | events callback'),
('36 refund_stuck, not known', '', 'refund_stuck t={t}r p={t}',
 'parked(refund) | order - | again parked(refund) | waiting tr refund_stuck parked(refund) | events callback'),
('36 the payment is known, the refund is not', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied'')', 'refund_failed t={t}r p={t}',
 'parked(refund) | paid | again parked(refund) | state paid | pots t 1000 order: kept 1000 | money paid 1000 | waiting tr refund_failed parked(refund) | events callback'),
('36 drained when the refund is known', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''refund_failed t={t}r p={t}'', ''parked(refund)'')', 'refund t={t}r p={t} a=300',
 'applied(external) | paid | state paid | pots t 1000 order: kept 700 owed 300 | money paid 1000 | refunds gwa:tr external reversed 300 | events callback, alarm, callback, alarm | reviews owed, refund_reversed'),
('37 older than the success', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); say(''refund t={t}r r={R} a=300 at=-1hour'', ''applied'')', 'refund_failed t={t}r r={R} at=-2hours',
 'stale | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds R order succeeded 300 | events callback'),
('37 refund_stuck, older than the success', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); say(''refund t={t}r r={R} a=300 at=-1hour'', ''applied'')', 'refund_stuck t={t}r r={R} at=-2hours',
 'stale | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds R order succeeded 300 | events callback'),
('37 held', 'new_order(); go(''cancel''); say(''pay o={o} a=1000 c=CNY'', ''late(returned)''); name_auto(''R'')', 'refund_failed t={t}r r={R}',
 'stale | state cancelled | pots t 1000 surplus: owed 1000 | refunds R late held 1000 | events callback'),
('37 held, refund_stuck', 'new_order(); go(''cancel''); say(''pay o={o} a=1000 c=CNY'', ''late(returned)''); name_auto(''R'')', 'refund_stuck t={t}r r={R}',
 'stale | state cancelled | pots t 1000 surplus: owed 1000 | refunds R late held 1000 | events callback'),
('37 failed already', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); say(''refund_failed t={t}r r={R}'', ''applied'')', 'refund_failed t={t}s r={R}',
 'stale | paid | state paid | pots t 1000 order: kept 700 owed 300 | money paid 1000 | refunds R order failed 300 | events callback'),
('37 reversed already', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); say(''refund t={t}r r={R} a=300'', ''applied''); say(''refund_failed t={t}r r={R}'', ''applied(reversal)'')', 'refund_stuck t={t}r r={R}',
 'stale | paid | state paid | pots t 1000 order: kept 700 owed 300 | money paid 1000 | refunds R order reversed 300 | events callback'),
('37 cancelled', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 900); say(''refund t={t}x p={t} a=400'', ''applied(external)'')', 'refund_failed t={t}r r={R}',
 'stale | paid | state paid | pots t 1000 order: kept 600 returned 400 | money paid 1000 refunded 400 | refunds R order cancelled 900, gwa:tx external succeeded 400 | events callback'),
('38 newer than the success (71)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); say(''refund t={t}r r={R} a=300 at=-2hours'', ''applied'')', 'refund_failed t={t}r r={R} at=-1hour',
 'applied(reversal) | paid | state paid | pots t 1000 order: kept 700 owed 300 | money paid 1000 | refunds R order reversed 300 | events alarm, callback, alarm | reviews owed, refund_reversed'),
('38 without a time: what arrives later is newer (71)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); say(''refund t={t}r r={R} a=300'', ''applied'')', 'refund_failed t={t}r r={R}',
 'applied(reversal) | paid | state paid | pots t 1000 order: kept 700 owed 300 | money paid 1000 | refunds R order reversed 300 | events alarm, callback, alarm | reviews owed, refund_reversed'),
('38 state refunded stays (71)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R''); say(''refund t={t}r r={R} a=1000'', ''applied'')', 'refund_failed t={t}r r={R}',
 'applied(reversal) | paid | state refunded | pots t 1000 order: owed 1000 | money paid 1000 | refunds R order reversed 1000 | events alarm, callback, alarm | reviews owed, refund_reversed'),
('38 an external one, by the gateway''s id (71)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); say(''refund t={t}r p={t} a=300'', ''applied(external)'')', 'refund_failed t={t}r p={t}',
 'applied(reversal) | paid | state paid | pots t 1000 order: kept 700 owed 300 | money paid 1000 | refunds gwa:tr external reversed 300 | events alarm, callback, alarm | reviews owed, refund_reversed'),
('38 of a late payment: no column of the order (71)', 'new_order(); go(''cancel''); say(''pay o={o} a=1000 c=CNY'', ''late(returned)''); name_auto(''R''); say(''refund t={t}r r={R} a=1000'', ''applied'')', 'refund_failed t={t}r r={R}',
 'applied(reversal) | state cancelled | pots t 1000 surplus: owed 1000 | refunds R late reversed 1000 | events alarm, callback, alarm | reviews owed, refund_reversed'),
('38 first it lowers what was overdrawn', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); say(''refund t={t}r r={R} a=300'', ''applied''); say(''refund t={t}x p={t} a=900'', ''applied(external)'')', 'refund_failed t={t}r r={R}',
 'applied(reversal) | paid | state refunded | pots t 1000 order: owed 100 returned 900 | money paid 1000 refunded 900 | refunds R order reversed 300, gwa:tx external succeeded 900 | events alarm, callback, alarm | reviews ended overdrawn, owed, refund_reversed'),
('39 asked', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300)', 'refund_failed t={t}r r={R}',
 'applied | paid | state paid | pots t 1000 order: kept 700 owed 300 | money paid 1000 | refunds R order failed 300 | events alarm, callback | tasks ended refund | reviews owed'),
('39 in doubt (46)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); doubt_refund(''R'')', 'refund_failed t={t}r r={R}',
 'applied | paid | state paid | pots t 1000 order: kept 700 owed 300 | money paid 1000 | refunds R order failed 300 | events alarm, callback | tasks ended refund | reviews ended in_doubt, owed'),
('39 stuck', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); claim_refunds(); say(''refund_stuck t={t}r r={R}'', ''applied(stuck)'')', 'refund_failed t={t}r r={R}',
 'applied | paid | state paid | pots t 1000 order: kept 700 owed 300 | money paid 1000 | refunds R order failed 300 | events alarm, callback | reviews ended stuck, owed'),
('39 the only one of a refunding order: it waits for a person', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); go(''cancel''); ask_refund(''R'')', 'refund_failed t={t}r r={R}',
 'applied | paid | state refunding | pots t 1000 order: owed 1000 | money paid 1000 | refunds R order failed 1000 | events alarm, callback | tasks ended refund | reviews owed'),
('40 open (72)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); claim_refunds()', 'refund_stuck t={t}r r={R}',
 'applied(stuck) | paid | state paid | pots t 1000 order: kept 700 returning 300 | money paid 1000 refunding 300 | refunds R order stuck 300 | events alarm, callback | reviews stuck'),
('40 in doubt (72)', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); doubt_refund(''R'')', 'refund_stuck t={t}r r={R}',
 'applied(stuck) | paid | state paid | pots t 1000 order: kept 700 returning 300 | money paid 1000 refunding 300 | refunds R order stuck 300 | events alarm, callback | reviews stuck'),
('40 on a succeeded one: asked', 'new_order(); say(''pay o={o} a=1000 c=CNY'', ''applied''); ask_refund(''R'', 300); say(''refund t={t}r r={R} a=300 at=-2hours'', ''applied'')', 'refund_stuck t={t}r r={R} at=-1hour',
 'stale | paid | state paid | pots t 1000 order: kept 700 returned 300 | money paid 1000 refunded 300 | refunds R order succeeded 300 | events callback | tasks query_refund');

CALL run_cases();
SELECT said FROM output ORDER BY number, line;

/* ---- a wrong call raises, and leaves nothing ---- */

CREATE FUNCTION error_of(call text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    before text := stock_taking(true);
    said text;
    advice text;
BEGIN
    EXECUTE 'SELECT payorder.ingest(' || call || ')';
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS said = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
    RETURN format('%s%s', SQLSTATE, CASE WHEN before <> stock_taking(true) THEN ' but wrote' END);
END $$;

-- (14: a typed call with no bigint is a type error; 100.5 is never 101)
SELECT CASE WHEN said = expected THEN 'ok ' ELSE 'NOT OK ' END || call
       || CASE WHEN said = expected THEN '' ELSE format(E'\n    expected %s, got %s', expected, said) END
    FROM (VALUES
        ($$NULL, 'x', 'pay'$$, '22004'),
        ($$'gwa', NULL, 'pay'$$, '22004'),
        ($$'gwa', 'x', NULL$$, '22004'),
        ($$'gwa', 'x', 'paid'$$, '22023'),
        ($$'gwa', 'x', 'PAY'$$, '22023'),
        ($$'gwa', 'x', ''$$, '22023'),
        ($$'gwa', 'x', 'pay', 'o', 1, 'CNY', source => 'bill'$$, '42501'),
        ($$'gwa', 'x', 'pay', 'o', 1, 'CNY', source => 'operator'$$, '42501'),
        ($$'gwa', 'x', 'pay', 'o', 1, 'CNY', source => 'kernel'$$, '22023'),
        ($$'gwa', 'x', 'pay', 'o', 1, 'CNY', source => 'hearsay'$$, '22023'),
        ($$'none', 'x', 'pay', 'o', 0, 'CNY'$$, '42501'),
        ($$'nobody', 'x', 'pay', 'o', 1, 'CNY'$$, 'PO010'),
        ($$'GWA', 'x', 'pay', 'o', 1, 'CNY'$$, 'PO010'),
        ($$'', 'x', 'pay', 'o', 1, 'CNY'$$, 'PO010'),
        ($$'gwa', 'x', 'pay', 'o', 9223372036854775808, 'CNY'$$, '42883'),
        ($$'gwa', 'x', 'pay', 'o', '9223372036854775808', 'CNY'$$, '22003'),
        ($$'gwa', 'x', 'pay', 'o', '1e2', 'CNY'$$, '22P02'),
        ($$'gwa', 'x', 'pay', 'o', '100.5', 'CNY'$$, '22P02'),
        ($$'gwa', 'x', 'pay', 'o', 100.5, 'CNY'$$, '42883'),
        ($$'gwa', 'x', 'pay', 'o', 'NaN', 'CNY'$$, '22P02'),
        ($$'gwa', 'x', 'pay', 'o', '', 'CNY'$$, '22P02')) AS c (call, expected),
    LATERAL error_of(call) AS said;

-- nothing may be written here (25)
BEGIN READ ONLY;
SELECT CASE error_of($$'gwa', 'x', 'pay', 'o', 1, 'CNY'$$) WHEN '25006' THEN 'ok ' ELSE 'NOT OK ' END || 'read only';
ROLLBACK;

SELECT * FROM check_invariants() AS i WHERE i.subject ~ '\m[TV]\d\d\d';

DROP TRIGGER verdict_test_order ON payorder.orders;
DROP TRIGGER verdict_test_payment ON payorder.payments;
SET client_min_messages = error;
DROP SCHEMA verdict_test CASCADE;

-- nothing is left for the files that come after
SET session_replication_role = replica;
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY '{orders,events,attempts,payments,callbacks,callback_conflicts,callbacks_waiting,refunds,automatic_returns,timers,tasks,task_ready,task_leases,task_dead,task_finished,task_keys}'::text[] LOOP
        EXECUTE 'DELETE FROM payorder.' || relation;
    END LOOP;
    DELETE FROM payorder.gateways WHERE NOT builtin;
    FOREACH relation IN ARRAY '{state_timers,transitions,states}'::text[] LOOP
        EXECUTE format('DELETE FROM payorder.%I WHERE machine_id >= 100', relation);
    END LOOP;
    DELETE FROM payorder.machines WHERE id >= 100;
END $$;
RESET session_replication_role;
