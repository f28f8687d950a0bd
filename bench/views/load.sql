/*
 * The data of bench/views/run: :payments payments of as many orders, in the
 * order in which they came, spread evenly over :days days that end with the
 * day before yesterday; 3 of 4 at one gateway; 3 % with a refund that
 * succeeded, some with money in the other pots; a task for
 * every order, of which 1,000 are ready, 2,000 reviews are open and 200 tasks
 * dead, spread over the same days, and the others finished.  By direct INSERT of the owner: the views
 * read nothing else, and a million calls of ingest() would measure ingest().
 */
\set ON_ERROR_STOP on
\o /dev/null
SELECT payorder.add_gateway('wechat', 'generic', '1900000001');
SELECT payorder.add_gateway('alipay', 'generic', '2088000001');
SELECT payorder.add_gateway('stripe', 'generic', 'acct_0001');
\o

BEGIN;
CREATE TEMPORARY TABLE paid ON COMMIT DROP AS
SELECT n,
       'A-' || lpad(n::text, 9, '0') AS order_no,
       'p' || left(md5('attempt' || n), 25) AS payment_no,
       CASE WHEN n % 4 < 3 THEN 'wechat' WHEN n % 8 = 3 THEN 'alipay' ELSE 'stripe' END AS gateway,
       '42000' || lpad(n::text, 23, '0') AS txn_id,
       CASE WHEN n % 16 = 7 THEN 'USD' ELSE 'CNY' END AS currency,
       100 + (n * 7919) % 100000 AS amount,
       -- evenly over whole UTC days
       date_trunc('day', now(), 'UTC') - interval '24 hours' * (:days + 1)
           + n * (interval '24 hours' * :days / :payments) AS received_at,
       -- how each came out
       CASE WHEN n % 100 IN (17, 53, 71) THEN 'returned' WHEN n % 1000 = 5 THEN 'returning'
            WHEN n % 5000 = 11 THEN 'owed' WHEN n % 5000 = 13 THEN 'review'
            WHEN n % 2000 = 19 THEN 'disputed' WHEN n % 10000 = 23 THEN 'undone'
            ELSE 'kept' END AS pot
FROM generate_series(0::bigint, :payments - 1) AS n;

INSERT INTO payorder.orders (order_no, machine_id, state, amount, currency, paid_amount, refunding_amount,
                             refunded_amount, disputed_amount, version, created_at, updated_at, closed_at)
SELECT order_no, (SELECT max(id) FROM payorder.machines), 'completed', amount, currency,
       CASE WHEN pot IN ('undone', 'review', 'owed') THEN 0 ELSE amount END,
       CASE WHEN pot = 'returning' THEN amount ELSE 0 END, CASE WHEN pot = 'returned' THEN amount ELSE 0 END,
       CASE WHEN pot = 'disputed' THEN amount ELSE 0 END, 4,
       received_at - interval '1 minute', received_at, received_at
FROM paid ORDER BY n;

INSERT INTO payorder.payments (gateway, txn_id, order_no, payment_no, disposition, amount, currency, kept, review,
                               owed, "returning", returned, disputed, undone, occurred_at, received_at)
SELECT gateway, txn_id, order_no, payment_no,
       CASE pot WHEN 'owed' THEN 'surplus' WHEN 'review' THEN 'review' ELSE 'order' END, amount, currency,
       CASE pot WHEN 'kept' THEN amount ELSE 0 END, CASE pot WHEN 'review' THEN amount ELSE 0 END,
       CASE pot WHEN 'owed' THEN amount ELSE 0 END, CASE pot WHEN 'returning' THEN amount ELSE 0 END,
       CASE pot WHEN 'returned' THEN amount ELSE 0 END, CASE pot WHEN 'disputed' THEN amount ELSE 0 END,
       CASE pot WHEN 'undone' THEN amount ELSE 0 END, received_at - interval '2 seconds', received_at
FROM paid ORDER BY n;

INSERT INTO payorder.refunds (refund_no, gateway, txn_id, order_no, amount, currency, cause, state, from_kept,
                              reason, actor, requested_at, asked_at, succeeded_at, ended_at)
SELECT 'RF' || lpad(n::text, 12, '0'), gateway, txn_id, order_no, amount, currency, 'order',
       CASE pot WHEN 'returned' THEN 'succeeded' ELSE 'asked' END, amount, 'returned goods', 'shop',
       received_at + interval '1 hour', received_at + interval '1 hour',
       CASE pot WHEN 'returned' THEN received_at + interval '2 hours' END,
       CASE pot WHEN 'returned' THEN received_at + interval '2 hours' END
FROM paid WHERE pot IN ('returned', 'returning') ORDER BY n;

-- The tasks, one for every order, reviews and dead ones among them.
CREATE TEMPORARY TABLE work ON COMMIT DROP AS
SELECT p.*, pg_catalog.nextval('payorder.task_ids') AS id,
       CASE WHEN n % (:payments / 2000) = 3 THEN 'review'
            WHEN n % (:payments / 200) = 7 THEN 'dead'
            WHEN n % (:payments / 1000) = 9 THEN 'ready' ELSE 'finished' END AS place,
       (ARRAY['owed', 'mismatch', 'stuck', 'claimed', 'refund_differs', 'auto_return_limit', 'not_confirmed',
              'conflict', 'overdrawn', 'in_doubt', 'not_shipped', 'timer_error'])[1 + n % 12] AS cause
FROM (SELECT * FROM paid ORDER BY n) AS p;

INSERT INTO payorder.tasks (id, kind, order_no, gateway, idempotency_key, dedup_key, payload, created_at)
SELECT id, CASE WHEN place = 'review' THEN 'review' ELSE 'refund' END, order_no, gateway,
       CASE WHEN place <> 'review' THEN 'RF' || lpad(n::text, 12, '0') END,
       CASE WHEN place = 'review' THEN 'review:' || cause || ':' || gateway || ':' || txn_id END,
       CASE WHEN place = 'review'
           THEN format('{"subject": "%s:%s", "cause": "%s", "txn_id": "%s", "amount": %s, "currency": "%s"}',
                       gateway, txn_id, cause, txn_id, amount, currency)
           ELSE format('{"refund_no": "RF%s", "txn_id": "%s", "payment_no": "%s", "amount": %s, "currency": "%s", "payment_amount": %s, "reason": "returned goods"}',
                       lpad(n::text, 12, '0'), txn_id, payment_no, amount, currency, amount) END::json,
       received_at
FROM work ORDER BY id;
INSERT INTO payorder.task_ready (task_id, run_at, kind, gateway)
SELECT id, CASE WHEN place = 'review' THEN 'infinity' ELSE received_at END,
       CASE WHEN place = 'review' THEN 'review' ELSE 'refund' END, gateway
FROM work WHERE place IN ('review', 'ready') ORDER BY id;
INSERT INTO payorder.task_keys (dedup_key, task_id)
SELECT 'review:' || cause || ':' || gateway || ':' || txn_id, id FROM work WHERE place = 'review' ORDER BY id;
INSERT INTO payorder.task_dead (task_id, kind, gateway, attempts, first_tried_at, error, died_at)
SELECT id, 'refund', gateway, 20, received_at, 'HTTP 500 from the gateway', received_at + interval '6 hours'
FROM work WHERE place = 'dead' ORDER BY id;
INSERT INTO payorder.task_finished (task_id, outcome, attempts, finished_at)
SELECT id, 'done', 1, received_at + interval '1 minute' FROM work WHERE place = 'finished' ORDER BY id;
COMMIT;

VACUUM (ANALYZE) payorder.payments, payorder.orders, payorder.refunds, payorder.tasks, payorder.task_ready,
    payorder.task_dead, payorder.task_keys, payorder.task_finished, payorder.task_kinds;
