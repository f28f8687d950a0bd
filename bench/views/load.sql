/*
 * The data of bench/views/run: :payments payments of as many orders, in the
 * order in which they came, spread evenly over :days days that end with the
 * day before yesterday; 3 of 4 at one gateway; 3 % with a refund that
 * succeeded, some with money in the other pots; the callback and one task of
 * each.  Of the tasks 2,000 are reviews that are open (500 mismatches, 250 late
 * or excess payments and 250 failed refunds that are owed, 250 overdrawn, 250
 * refunds in doubt and 250 stuck, 250 orders that were not shipped), 200 are
 * dead, 1,000 ready and the others finished, all spread over the same days.
 *
 * By direct INSERT of the owner: the views read nothing else, and a million
 * calls of ingest() would measure ingest().
 */
\set ON_ERROR_STOP on
\o /dev/null
SELECT payorder.add_gateway('wechat', 'generic', '1900000001');
SELECT payorder.add_gateway('alipay', 'generic', '2088000001');
SELECT payorder.add_gateway('stripe', 'generic', 'acct_0001');
\o

BEGIN;
CREATE TEMPORARY TABLE paid ON COMMIT DROP AS
SELECT w.*,
       -- where the money is
       CASE cause WHEN 'mismatch' THEN 'review' WHEN 'owed' THEN 'owed' WHEN 'overdrawn' THEN 'overdrawn'
           WHEN 'in_doubt' THEN 'returning' WHEN 'stuck' THEN 'returning' WHEN 'not_shipped' THEN 'kept'
           ELSE CASE WHEN n % 100 IN (17, 53, 71) THEN 'returned' WHEN n % 1000 = 5 THEN 'returning'
                    WHEN n % 2000 = 19 THEN 'disputed' WHEN n % 10000 = 23 THEN 'undone' ELSE 'kept' END
           END AS pot
FROM (SELECT n,
             'A-' || lpad(n::text, 9, '0') AS order_no,
             'p' || left(md5('attempt' || n), 25) AS payment_no,
             'RF' || lpad(n::text, 12, '0') AS refund_no,
             CASE WHEN n % 4 < 3 THEN 'wechat' WHEN n % 8 = 3 THEN 'alipay' ELSE 'stripe' END AS gateway,
             '42000' || lpad(n::text, 23, '0') AS txn_id,
             CASE WHEN n % 16 = 7 THEN 'USD' ELSE 'CNY' END AS currency,
             100 + (n * 7919) % 100000 AS amount,
             -- evenly over whole UTC days
             date_trunc('day', now(), 'UTC') - interval '24 hours' * (:days + 1)
                 + n * (interval '24 hours' * :days / :payments) AS received_at,
             -- why its review is open, if it has one
             CASE WHEN n % (:payments / 2000) = 3
                 THEN (ARRAY['mismatch', 'mismatch', 'owed', 'owed', 'overdrawn', 'in_doubt', 'stuck', 'not_shipped'])
                      [1 + (n / (:payments / 2000)) % 8] END AS cause,
             -- of what is owed, every other is the order's: its refund has failed
             (n / (:payments / 2000)) % 8 = 3 AS is_failed
      FROM generate_series(0::bigint, :payments - 1) AS n) AS w;

INSERT INTO payorder.orders (order_no, machine_id, state, amount, currency, paid_amount, refunding_amount,
                             refunded_amount, disputed_amount, overdrawn_amount, version, created_at, updated_at,
                             closed_at)
SELECT order_no, (SELECT max(id) FROM payorder.machines),
       CASE WHEN pot = 'review' THEN 'pending' WHEN cause = 'not_shipped' THEN 'to_ship' ELSE 'completed' END, amount,
       currency, CASE WHEN pot IN ('undone', 'review') OR (pot = 'owed' AND NOT is_failed) THEN 0 ELSE amount END,
       CASE WHEN pot = 'returning' THEN amount ELSE 0 END,
       CASE pot WHEN 'returned' THEN amount WHEN 'overdrawn' THEN amount + 50 ELSE 0 END,
       CASE WHEN pot = 'disputed' THEN amount ELSE 0 END, CASE WHEN pot = 'overdrawn' THEN 50 ELSE 0 END, 4,
       received_at - interval '1 minute', received_at,
       CASE WHEN pot <> 'review' AND cause IS DISTINCT FROM 'not_shipped' THEN received_at END
FROM paid ORDER BY n;

INSERT INTO payorder.payments (gateway, txn_id, order_no, payment_no, disposition, amount, currency, kept, review,
                               owed, "returning", returned, disputed, undone, overdrawn, occurred_at, received_at)
SELECT gateway, txn_id, order_no, payment_no,
       CASE WHEN pot = 'owed' AND NOT is_failed THEN 'surplus' WHEN pot = 'review' THEN 'review' ELSE 'order' END,
       amount, currency, CASE pot WHEN 'kept' THEN amount ELSE 0 END, CASE pot WHEN 'review' THEN amount ELSE 0 END,
       CASE pot WHEN 'owed' THEN amount ELSE 0 END, CASE pot WHEN 'returning' THEN amount ELSE 0 END,
       CASE pot WHEN 'returned' THEN amount WHEN 'overdrawn' THEN amount + 50 ELSE 0 END,
       CASE pot WHEN 'disputed' THEN amount ELSE 0 END, CASE pot WHEN 'undone' THEN amount ELSE 0 END,
       CASE pot WHEN 'overdrawn' THEN 50 ELSE 0 END, received_at - interval '2 seconds', received_at
FROM paid ORDER BY n;

INSERT INTO payorder.callbacks (gateway, txn_id, event, reference, order_no, amount, currency, occurred_at, source,
                                first_verdict, verdict, detail, body, body_sha256, received_at, decided_at)
SELECT gateway, txn_id, 'pay', payment_no, order_no, amount, currency, received_at - interval '2 seconds', 'callback',
       v.verdict, v.verdict, CASE v.verdict WHEN 'mismatch' THEN 'amount' WHEN 'excess' THEN 'returned' END,
       '{"id": "EV-1"}', sha256(txn_id::bytea), received_at, received_at
FROM (SELECT *, CASE WHEN pot = 'review' THEN 'mismatch' WHEN pot = 'owed' AND NOT is_failed THEN 'excess'
                    ELSE 'applied' END AS verdict FROM paid) AS v ORDER BY n;

INSERT INTO payorder.refunds (refund_no, gateway, txn_id, order_no, amount, currency, cause, state, from_kept,
                              reason, actor, requested_at, asked_at, succeeded_at, ended_at)
SELECT refund_no, gateway, txn_id, order_no, amount, currency, 'order', r.state, amount, 'returned goods', 'shop',
       received_at + interval '1 hour', received_at + interval '1 hour',
       CASE WHEN r.state = 'succeeded' THEN received_at + interval '2 hours' END,
       CASE WHEN r.state IN ('succeeded', 'failed') THEN received_at + interval '2 hours' END
FROM (SELECT *, CASE WHEN pot IN ('returned', 'overdrawn') THEN 'succeeded' WHEN pot = 'owed' THEN 'failed'
                    WHEN cause IS NOT NULL THEN cause ELSE 'asked' END AS state
      FROM paid WHERE pot IN ('returned', 'overdrawn', 'returning') OR (pot = 'owed' AND is_failed)) AS r
ORDER BY n;

-- The task of each: its review, or a refund, whatever became of that.
CREATE TEMPORARY TABLE work ON COMMIT DROP AS
SELECT p.*, pg_catalog.nextval('payorder.task_ids') AS id,
       CASE WHEN cause IS NOT NULL THEN 'review' WHEN n % (:payments / 200) = 7 THEN 'dead'
            WHEN n % (:payments / 1000) = 9 THEN 'ready' ELSE 'finished' END AS place,
       CASE WHEN cause IN ('in_doubt', 'stuck') THEN refund_no WHEN cause = 'not_shipped' THEN order_no
            ELSE gateway || ':' || txn_id END AS subject
FROM (SELECT * FROM paid ORDER BY n) AS p;

INSERT INTO payorder.tasks (id, kind, order_no, gateway, idempotency_key, dedup_key, payload, created_at)
SELECT id, CASE WHEN place = 'review' THEN 'review' ELSE 'refund' END, order_no,
       CASE WHEN cause IS DISTINCT FROM 'not_shipped' THEN gateway END,
       CASE WHEN place <> 'review' THEN refund_no END,
       CASE WHEN place = 'review' THEN 'review:' || cause || ':' || subject END,
       CASE WHEN place = 'review'
           THEN format('{"subject": "%s", "cause": "%s", %s"amount": %s, "currency": "%s"}', subject, cause,
                       CASE WHEN cause IN ('in_doubt', 'stuck') THEN format('"refund_no": "%s", ', refund_no)
                            WHEN cause = 'not_shipped' THEN '' ELSE format('"txn_id": "%s", ', txn_id) END,
                       amount, currency)
           ELSE format('{"refund_no": "%s", "txn_id": "%s", "payment_no": "%s", "amount": %s, "currency": "%s", "payment_amount": %s, "reason": "returned goods"}',
                       refund_no, txn_id, payment_no, amount, currency, amount) END::json,
       received_at
FROM work ORDER BY id;
INSERT INTO payorder.task_ready (task_id, run_at, kind, gateway)
SELECT id, CASE WHEN place = 'review' THEN 'infinity' ELSE received_at END,
       CASE WHEN place = 'review' THEN 'review' ELSE 'refund' END,
       CASE WHEN cause IS DISTINCT FROM 'not_shipped' THEN gateway END
FROM work WHERE place IN ('review', 'ready') ORDER BY id;
INSERT INTO payorder.task_keys (dedup_key, task_id)
SELECT 'review:' || cause || ':' || subject, id FROM work WHERE place = 'review' ORDER BY id;
INSERT INTO payorder.task_dead (task_id, kind, gateway, attempts, first_tried_at, error, died_at)
SELECT id, 'refund', gateway, 20, received_at, 'HTTP 500 from the gateway', received_at + interval '6 hours'
FROM work WHERE place = 'dead' ORDER BY id;
INSERT INTO payorder.task_finished (task_id, outcome, attempts, finished_at)
SELECT id, 'done', 1, received_at + interval '1 minute' FROM work WHERE place = 'finished' ORDER BY id;
COMMIT;

VACUUM (ANALYZE) payorder.payments, payorder.orders, payorder.callbacks, payorder.refunds, payorder.tasks,
    payorder.task_ready, payorder.task_dead, payorder.task_keys, payorder.task_finished, payorder.task_kinds,
    payorder.machines, payorder.states, payorder.transitions;
