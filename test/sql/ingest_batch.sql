--
-- ingest_batch(): many messages in one call, each with its own verdict; a wrong
-- one, or one that raises, undoes no other.  Scenarios 21, 23 and the batch of 25.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- A message: event and what it names, with other members as given.
CREATE FUNCTION pg_temp.m(event text, txn_id text, reference text DEFAULT NULL, more json DEFAULT '{}') RETURNS json
    LANGUAGE sql AS $$
SELECT json_object_agg(key, value) FROM (
    SELECT key, value FROM json_each(json_build_object('gateway', 'g', 'event', event, 'txn_id', txn_id, 'order_no', reference,
        'amount', CASE WHEN event LIKE 'pay%' AND event NOT IN ('pay_failed', 'pay_closed') THEN 100 END,
        'currency', CASE WHEN event = 'pay' THEN 'CNY' END))
    WHERE value::text <> 'null' AND NOT EXISTS (SELECT FROM json_each(more) AS o WHERE o.key = json_each.key)
    UNION ALL SELECT key, value FROM json_each(more)) AS members
$$;
CREATE FUNCTION pg_temp.batch(VARIADIC messages json[]) RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT concat_ws(' ', number || ':', verdict || coalesce('(' || detail || ')', ''), 'first ' || first_verdict, order_no, state,
                 CASE WHEN paid THEN 'paid' END, CASE WHEN verdict IS NOT NULL AND ack_status IS NULL THEN 'NOT ACKNOWLEDGED' END, sqlstate, message)
FROM payorder.ingest_batch(array_to_json(messages))
$$;
SELECT payorder.add_gateway('g', 'generic', 'g'), payorder.add_gateway('h', 'generic', 'h') \g /dev/null
SELECT payorder.create_order(n, 100, 'CNY') FROM unnest('{a,b,c,d,e,f}'::text[]) AS n \g /dev/null
\set ECHO queries

/* ---- each its own verdict, in the order of the messages ---- */

SELECT pg_temp.batch(pg_temp.m('pay', 'C', 'c'), pg_temp.m('pay', 'A', 'a'), pg_temp.m('pay', 'A2', 'a'), pg_temp.m('pay', 'N', 'nobody'),
                     pg_temp.m('pay_failed', 'F', 'b'), pg_temp.m('pay', 'A', 'a'), pg_temp.m('pay', 'A', 'a', '{"amount": 7}'));
-- what is told by another message of the batch, wherever it stands
SELECT pg_temp.batch(pg_temp.m('refund', 'R', NULL, '{"payment_txn": "B", "amount": 30, "occurred_at": "2026-01-01T00:00:00Z"}'),
                     pg_temp.m('chargeback', 'D', NULL, '{"payment_txn": "B", "amount": 20}'), pg_temp.m('pay', 'B', 'b'));
SELECT kept, returned, disputed FROM payorder.payments WHERE txn_id = 'B';
-- messages of one order stay in their order
SELECT pg_temp.batch(pg_temp.m('pay_closed', 'X', 'd'), pg_temp.m('pay', 'D1', 'd', '{"amount": 50}'), pg_temp.m('pay', 'D2', 'd'), pg_temp.m('pay', 'D3', 'd'));
SELECT string_agg(payload ->> 'txn_id', ' ' ORDER BY seq) FROM payorder.events WHERE order_no = 'd' AND payload ->> 'verdict' IS NOT NULL;
SELECT count(*) FROM payorder.ingest_batch('[]');

/* ---- wrong ones ---- */

SELECT pg_temp.batch('7', '{}', '{"gateway": "g"}', '{"gateway": "g", "txn_id": "w"}', pg_temp.m('paid', 'w'), pg_temp.m('pay', 'w', 'e', '{"gateway": "x"}'),
                     pg_temp.m('pay', 'w', 'e', '{"gateway": "none"}'), pg_temp.m('pay', 'w', 'e', '{"source": "bill"}'), pg_temp.m('pay', 'w', 'e', '{"source": "me"}'),
                     pg_temp.m('pay', 'w', 'e', '{"amount": 1.5}'), pg_temp.m('pay', 'w', 'e', '{"amount": "100"}'), pg_temp.m('pay', 'w', 'e', '{"amount": 1e2}'),
                     pg_temp.m('pay', 'w', 'e', '{"currency": 1}'), pg_temp.m('pay', 'w', 'e', '{"occurred_at": "yesterday"}'),
                     pg_temp.m('pay', 'w', 'e', '{"occurred_at": "2026-02-30T00:00:00Z"}'), pg_temp.m('pay', 'w', 'e', '{"ammount": 1}'), pg_temp.m('pay', 'E', 'e'));
SELECT count(*) FROM payorder.callbacks WHERE txn_id = 'w';
SELECT pg_temp.error_of($$SELECT * FROM payorder.ingest_batch('{}')$$);
SELECT pg_temp.error_of($$SELECT * FROM payorder.ingest_batch('[{"amount": 1, "amount": 2}]')$$);
SELECT pg_temp.error_of($$SELECT * FROM payorder.ingest_batch(NULL)$$);
SELECT pg_temp.error_of($$SELECT * FROM payorder.ingest_batch((SELECT json_agg('{}'::json) FROM generate_series(1, 10001)))$$);
BEGIN READ ONLY;
SELECT pg_temp.error_of($$SELECT * FROM payorder.ingest_batch('[]')$$);
ROLLBACK;

/* ---- one that raises ---- */

CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.order_no LIKE 'r%2' OR NEW.order_no LIKE 'r%5' THEN
        RAISE 'not this one';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER refuse AFTER UPDATE ON payorder.orders FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION pg_temp.refuse();
SELECT payorder.create_order('r' || i, 100, 'CNY') FROM generate_series(1, 20) AS i \g /dev/null
SELECT verdict, detail, count(*), string_agg(order_no, ' ' ORDER BY number)
FROM payorder.ingest_batch((SELECT json_agg(pg_temp.m('pay', 'R' || i, 'r' || i) ORDER BY i DESC) FROM generate_series(1, 20) AS i)) GROUP BY 1, 2 ORDER BY 1;
SELECT count(*) FILTER (WHERE state = 'paid') AS paid, count(*) FILTER (WHERE state = 'pending') AS pending FROM payorder.orders WHERE order_no LIKE 'r%';
DROP TRIGGER refuse ON payorder.orders;
SELECT pg_temp.batch(pg_temp.m('pay', 'R5b', 'r5'), pg_temp.m('pay', 'R12', 'r12'));
SELECT callbacks, failed FROM payorder.sweep(at => now() + interval '1 minute');

/* ---- duplicates write nothing ---- */

BEGIN;
SELECT verdict, count(*) FROM payorder.ingest_batch((SELECT json_agg(pg_temp.m('pay', 'R' || i, 'r' || i)) FROM generate_series(1, 20) AS i)) GROUP BY 1;
SELECT pg_current_xact_id_if_assigned();
ROLLBACK;

/* ---- rolled back, it was never there ---- */

BEGIN;
SAVEPOINT before;
SELECT pg_temp.batch(pg_temp.m('pay', 'F1', 'f'));
ROLLBACK TO before;
SELECT pg_temp.batch(pg_temp.m('pay', 'F2', 'f'));
COMMIT;
SELECT string_agg(txn_id, ' ') FROM payorder.payments WHERE order_no = 'f';

/* ---- a batch says what the calls one by one say ---- */

SELECT payorder.create_order(n || i, 100, 'CNY') FROM generate_series(1, 30) AS i, unnest('{x,y}'::text[]) AS n \g /dev/null
CREATE TEMP TABLE facts AS
SELECT row_number() OVER () AS n, *
FROM (SELECT (ARRAY['pay', 'pay', 'pay', 'pay_failed', 'refund', 'chargeback', 'chargeback_reversed', 'refund_failed', 'pay_reversed'])[1 + hashint4(i * 7) % 9 & 15] AS event,
             1 + abs(hashint4(i)) % 30 AS k, 1 + abs(hashint4(i * 3)) % 2 AS p, 50 + 50 * (abs(hashint4(i * 5)) % 2) AS amount
      FROM generate_series(1, 400) AS i) AS f WHERE event IS NOT NULL;
CREATE FUNCTION pg_temp.fact(prefix text, f facts) RETURNS json LANGUAGE sql AS $$
SELECT json_build_object('gateway', CASE WHEN prefix = 'x' THEN 'g' ELSE 'h' END, 'event', f.event,
    'txn_id', CASE WHEN f.event = 'pay' THEN format('P%s.%s', f.k, f.p) ELSE format('%s%s.%s', left(f.event, 6), f.k, f.p) END,
    'order_no', prefix || f.k, 'payment_txn', CASE WHEN f.event NOT LIKE 'pay%' OR f.event = 'pay_reversed' THEN format('P%s.1', f.k) END,
    'amount', CASE WHEN f.event = 'pay' OR f.event !~ '^pay' THEN f.amount END, 'currency', CASE WHEN f.event = 'pay' THEN 'CNY' END,
    'occurred_at', to_char(timestamp '2026-01-01' + f.n * interval '1 second', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
$$;
SELECT count(*) FROM (SELECT * FROM facts ORDER BY n) AS f, json_to_record(pg_temp.fact('x', f::facts)) AS m(gateway text, txn_id text, event text, order_no text, amount bigint, currency text, occurred_at timestamptz, payment_txn text),
    LATERAL payorder.ingest(m.gateway, m.txn_id, m.event, m.order_no, m.amount, m.currency, m.occurred_at, payment_txn => m.payment_txn);
SELECT count(*) FROM (SELECT json_agg(pg_temp.fact('y', f) ORDER BY n) AS list FROM facts AS f) AS l, payorder.ingest_batch(list);
CREATE FUNCTION pg_temp.money(prefix text) RETURNS SETOF text LANGUAGE sql AS $$
SELECT format('%s %s: %s %s %s %s %s %s %s', substr(p.order_no, 2), p.txn_id, p.disposition, p.kept, p.owed, p.returned, p.disputed, p.undone, p.overdrawn)
FROM payorder.payments AS p WHERE p.order_no LIKE prefix || '%'
$$;
SELECT count(*) FROM pg_temp.money('x');
SELECT * FROM (SELECT * FROM pg_temp.money('x') EXCEPT SELECT * FROM pg_temp.money('y')) AS d ORDER BY 1;
SELECT * FROM (SELECT * FROM pg_temp.money('y') EXCEPT SELECT * FROM pg_temp.money('x')) AS d ORDER BY 1;
SELECT * FROM payorder.check_invariants();
