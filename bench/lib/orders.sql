/*
 * Orders :first to :last of :total with what belongs to them, put right into the
 * tables by their owner, as payorder's functions would leave them after a year:
 * paid, shipped, its query finished, and one timer to come, which completes the
 * order.  Order n was created at :year + n / :total of a year, and its timer is due
 * 400 days after that; sweep(at) can so make any number of them due.
 *
 * The log is short: one event, of the state that the order is in.
 */
\set ON_ERROR_STOP on
CREATE FUNCTION pg_temp.created(n bigint, total bigint, year timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE AS $$ SELECT year + n * (interval '365 days' / total) $$;

INSERT INTO payorder.orders (order_no, machine_id, state, amount, currency, paid_amount, version, pay_by,
                             created_at, updated_at)
SELECT 'H-' || lpad(n::text, 10, '0'), 1, 'shipped', 1990, 'CNY', 1990, 4, c + '15 min', c, c
FROM generate_series(:first::bigint, :last) AS n, pg_temp.created(n, :total, :'year') AS c;

INSERT INTO payorder.events (slot, order_no, seq, event, from_state, to_state, actor, source, payload, at, hash)
SELECT (12 * extract(year FROM c AT TIME ZONE 'UTC') + extract(month FROM c AT TIME ZONE 'UTC'))::integer % 64,
       'H-' || lpad(n::text, 10, '0'), 1, 'ship', 'to_ship', 'shipped', 'shop', 'fire',
       '{"carrier": "post", "parcel": "RR123456785CN"}', c,
       sha256(n::text::bytea)
FROM generate_series(:first::bigint, :last) AS n, pg_temp.created(n, :total, :'year') AS c;

INSERT INTO payorder.timers (due_at, order_no, kind, state, number, entered_seq)
SELECT c + '400 days', 'H-' || lpad(n::text, 10, '0'), 'state', 'shipped', 0, 1
FROM generate_series(:first::bigint, :last) AS n, pg_temp.created(n, :total, :'year') AS c;

INSERT INTO payorder.attempts (payment_no, order_no, gateway, amount, currency, state, expires_at, created_at,
                               notified_at, applied_at)
SELECT 'P' || left(md5(n::text), 25), 'H-' || lpad(n::text, 10, '0'), 'till', 1990, 'CNY', 'paid',
       c + '15 min', c, c, c
FROM generate_series(:first::bigint, :last) AS n, pg_temp.created(n, :total, :'year') AS c;

INSERT INTO payorder.payments (gateway, txn_id, order_no, payment_no, disposition, amount, currency, kept,
                               occurred_at, received_at)
SELECT 'till', '42' || lpad(n::text, 26, '0'), 'H-' || lpad(n::text, 10, '0'), 'P' || left(md5(n::text), 25),
       'order', 1990, 'CNY', 1990, c, c
FROM generate_series(:first::bigint, :last) AS n, pg_temp.created(n, :total, :'year') AS c;

INSERT INTO payorder.callbacks (gateway, txn_id, event, reference, order_no, amount, currency, occurred_at,
                                source, first_verdict, verdict, body, body_sha256, received_at, decided_at)
SELECT 'till', '42' || lpad(n::text, 26, '0'), 'pay', 'P' || left(md5(n::text), 25),
       'H-' || lpad(n::text, 10, '0'), 1990, 'CNY', c, 'callback', 'applied', 'applied',
       '{"id": "EV-1"}', sha256('{"id": "EV-1"}'), c, c
FROM generate_series(:first::bigint, :last) AS n, pg_temp.created(n, :total, :'year') AS c;

INSERT INTO payorder.tasks (id, kind, order_no, gateway, idempotency_key, payload, created_at)
SELECT n, 'query_payment', 'H-' || lpad(n::text, 10, '0'), 'till', 'P' || left(md5(n::text), 25),
       '{"order_no": "H", "amount": 1990, "currency": "CNY"}', c
FROM generate_series(:first::bigint, :last) AS n, pg_temp.created(n, :total, :'year') AS c;

INSERT INTO payorder.task_finished (task_id, outcome, attempts, result, finished_at)
SELECT n, 'done', 1, '{}', c
FROM generate_series(:first::bigint, :last) AS n, pg_temp.created(n, :total, :'year') AS c;
