/* ---- what people look at: attention, and the invariants ---- */

/*
 * Law 7 here, too: every look-up is by a key, only where it is used, and the
 * payload is parsed once; an EXISTS could be hashed, which reads a whole table.
 * The outermost SELECT is what makes it a barrier: the server flattens a bare
 * UNION ALL, and a function in the query then sees tasks that are not in it.
 */
CREATE VIEW payorder.attention WITH (security_barrier) AS
SELECT w.* FROM (
SELECT 'review'::text AS kind,
       j.subject AS subject,
       j.cause AS cause,
       CASE WHEN p.txn_id IS NULL OR j.event IS NOT NULL THEN j.amount::bigint
            WHEN j.cause = 'owed' THEN p.owed - (
                SELECT coalesce(pg_catalog.sum(h.amount), 0) FROM payorder.refunds AS h
                WHERE h.gateway = p.gateway AND h.txn_id = p.txn_id AND h.state = 'held')::bigint
            WHEN j.cause = 'overdrawn' THEN p.overdrawn
            WHEN j.cause IN ('mismatch', 'conflict') THEN p.review
            ELSE j.amount::bigint END AS amount,
       j.currency AS currency,
       t.order_no,
       t.gateway,
       coalesce(j.txn_id, c.txn_id) AS txn_id,
       coalesce(j.event, c.event) AS event,
       coalesce(j.refund_no, f.refund_no) AS refund_no,
       pg_catalog.now() - t.created_at AS age,
       r.task_id AS task,
       CASE WHEN c.event IN ('pay', 'pay_part') AND c.verdict = 'parked'
                THEN CASE WHEN c.detail = 'order' THEN '{settle_callback attach,settle_callback return}'
                          ELSE '{settle_callback return}' END
            WHEN j.cause IN ('mismatch', 'conflict', 'invalid') AND c.event IN ('pay', 'pay_part')
                 AND p.review > 0
                THEN CASE WHEN o.order_no IS NULL OR (
                              p.reversed_at IS NULL AND p.currency = o.currency
                              AND o.paid_amount < o.amount AND p.amount >= o.amount - o.paid_amount
                              AND EXISTS (SELECT FROM payorder.transitions AS x
                                          WHERE x.machine_id = o.machine_id
                                            AND (o.frozen AND x.event = 'refunded' AND x.from_state = o.state
                                                 OR x.from_state = o.state AND x.event = 'pay'
                                                 OR x.from_state = o.state AND x.event = 'reopen'
                                                    AND (x.within IS NULL OR pg_catalog.now() <= o.closed_at + x.within))))
                          THEN '{settle_callback keep,settle_callback return}'
                          ELSE '{settle_callback return}' END
            WHEN j.cause IN ('conflict', 'invalid', 'parked', 'parked_limit') AND c.event IS NOT NULL
                THEN '{settle_callback dismiss}'
            WHEN j.cause = 'deferred_error' AND c.event IS NOT NULL THEN '{retry_callback}'
            WHEN j.cause = 'timer_error' THEN '{retry_order,cancel_task}'
            WHEN n.state = 'held' THEN '{settle_refund release,settle_refund cancel}'
            WHEN n.state IN ('asked', 'in_doubt', 'stuck') THEN '{settle_refund succeeded,settle_refund failed}'
            WHEN j.cause = 'owed' AND p.txn_id IS NOT NULL THEN
                CASE WHEN (SELECT true FROM payorder.refunds AS x
                                  WHERE x.gateway = p.gateway AND x.txn_id = p.txn_id AND x.state = 'stuck' LIMIT 1)
                     THEN CASE WHEN f.refund_no IS NOT NULL THEN '{settle_refund keep}' ELSE '{}' END
                     WHEN f.refund_no IS NOT NULL THEN '{request_refund,settle_refund keep}'
                     ELSE '{request_refund}' END
            WHEN j.cause = 'overdrawn' AND p.txn_id IS NOT NULL THEN '{}'
            ELSE '{cancel_task}' END::text[] AS decisions,
       d.actor AS first_actor,
       d.decision AS first_decision
FROM payorder.task_ready AS r
JOIN payorder.tasks AS t ON t.id = r.task_id
CROSS JOIN LATERAL pg_catalog.json_to_record(t.payload)
    AS j (subject text, cause text, amount text, currency text, txn_id text, event text, refund_no text)
LEFT JOIN payorder.payments AS p ON p.gateway = t.gateway AND p.txn_id = j.txn_id
LEFT JOIN LATERAL (
    SELECT w.order_no, w.machine_id, w.state, w.frozen, w.amount, w.paid_amount, w.currency, w.closed_at
    FROM payorder.orders AS w
    WHERE w.order_no = p.order_no AND (p.review > 0 OR j.cause = 'owed') LIMIT 1) AS o ON true
LEFT JOIN payorder.refunds AS n ON n.refund_no = j.refund_no
LEFT JOIN LATERAL (
    SELECT k.txn_id, k.event, k.verdict, k.detail
    FROM payorder.callbacks AS k
    WHERE k.gateway = t.gateway AND k.txn_id = j.txn_id
      AND (k.event = j.event
           OR (j.event IS NULL AND p.txn_id IS NOT NULL AND k.event IN ('pay', 'pay_part')))
    LIMIT 1) AS c ON true
CROSS JOIN LATERAL (
    SELECT CASE WHEN j.cause = 'owed' AND p.disposition = 'order' AND p.reversed_at IS NULL THEN (
    SELECT x.refund_no FROM payorder.refunds AS x
    WHERE x.gateway = p.gateway AND x.txn_id = p.txn_id
      AND x.cause <> 'external' AND x.state IN ('failed', 'reversed', 'cancelled') AND x.kept_again < x.amount
      AND NOT EXISTS (SELECT FROM payorder.states AS s
                      WHERE s.machine_id = o.machine_id AND s.state = o.state
                        AND ('refund_all' = ANY (s.enqueue)
                             OR (s.final AND EXISTS (SELECT FROM payorder.transitions AS y
                                                     WHERE y.machine_id = o.machine_id
                                                       AND y.event = 'refunded' AND y.to_state = o.state))))
    ORDER BY x.ended_at DESC LIMIT 1) END AS refund_no OFFSET 0) AS f
LEFT JOIN payorder.first_decisions AS d
    ON d.subject = coalesce(j.refund_no, f.refund_no, t.gateway || ':' || c.txn_id || ':' || c.event)
WHERE r.run_at = 'infinity' AND NOT r.handled AND r.kind = 'review'
UNION ALL
SELECT 'dead task', t.kind || ' ' || t.id::text, d.error,
       CASE WHEN k.id IS NOT NULL THEN (t.payload ->> 'amount')::bigint END,
       CASE WHEN k.id IS NOT NULL THEN t.payload ->> 'currency' END,
       t.order_no, t.gateway,
       CASE WHEN k.id IS NOT NULL THEN t.payload ->> 'txn_id' END, NULL,
       CASE WHEN k.id IS NOT NULL THEN t.payload ->> 'refund_no' END,
       pg_catalog.now() - d.died_at, t.id,
       CASE WHEN k.money_out OR t.kind = 'return' THEN '{retry_dead}'
            ELSE '{retry_dead,cancel_task}' END::text[], NULL, NULL
FROM payorder.task_dead AS d
JOIN payorder.tasks AS t ON t.id = d.task_id
LEFT JOIN payorder.task_kinds AS k ON k.kind = t.kind AND k.id < 100
UNION ALL
SELECT 'installation', pg_catalog.current_database()::text, 'copy', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, '{adopt_cluster}'::text[], NULL, NULL
WHERE payorder.is_copy()) AS w;
COMMENT ON VIEW payorder.attention IS
'what waits for a person: subject, cause, amount in minor units, order, payment, refund, age, and the calls that decide it, each as a function with its decision; first_actor has made first_decision, which needs a second person';

CREATE FUNCTION payorder.order_money(order_no text)
    RETURNS TABLE (gateway text, txn_id text, currency text, step bigint, at timestamptz, event text,
                   reason text, actor text, moved json, kept bigint, review bigint, owed bigint,
                   "returning" bigint, returned bigint, disputed bigint, undone bigint, overdrawn bigint)
    LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT m.gateway, m.txn_id, m.currency,
           row_number() OVER w, m.at, m.event, m.reason, m.actor, m.moved,
           coalesce(sum((m.moved ->> 'kept')::bigint) OVER w, 0)::bigint,
           coalesce(sum((m.moved ->> 'review')::bigint) OVER w, 0)::bigint,
           coalesce(sum((m.moved ->> 'owed')::bigint) OVER w, 0)::bigint,
           coalesce(sum((m.moved ->> 'returning')::bigint) OVER w, 0)::bigint,
           coalesce(sum((m.moved ->> 'returned')::bigint) OVER w, 0)::bigint,
           coalesce(sum((m.moved ->> 'disputed')::bigint) OVER w, 0)::bigint,
           coalesce(sum((m.moved ->> 'undone')::bigint) OVER w, 0)::bigint,
           coalesce(sum((m.moved ->> 'overdrawn')::bigint) OVER w, 0)::bigint
    FROM (SELECT p.gateway, p.txn_id, p.currency::text AS currency, p.received_at, e.id, e.at, e.event,
                 e.reason, e.actor, e.payload -> 'moved' AS moved
          FROM payorder.payments AS p
          JOIN payorder.orders AS o ON o.order_no = p.order_no
          CROSS JOIN LATERAL (
              SELECT v.id, v.at, v.event, v.reason, v.actor, v.payload
              FROM payorder.events AS v
              WHERE v.slot = ((12 * extract(year FROM o.created_at AT TIME ZONE 'UTC')
                               + extract(month FROM o.created_at AT TIME ZONE 'UTC'))::integer & 63)
                AND v.order_no = o.order_no AND v.gateway = p.gateway AND v.txn_id = p.txn_id
              UNION ALL
              SELECT v.id, v.at, v.event, v.reason, v.actor, v.payload
              FROM payorder.events AS v
              WHERE v.order_no IS NULL AND v.gateway = p.gateway AND v.txn_id = p.txn_id) AS e
          WHERE p.order_no = order_money.order_no
            AND json_typeof(e.payload -> 'moved') = 'object') AS m
    WINDOW w AS (PARTITION BY m.gateway, m.txn_id ORDER BY m.id ROWS UNBOUNDED PRECEDING)
    ORDER BY m.received_at, m.gateway, m.txn_id, m.id
$$;
COMMENT ON FUNCTION payorder.order_money(text) IS
'how the money of an order''s payments moved: one row for each event that moved some, with what it moved and the pots after it, in minor units; the last row of a payment is how it is now. No row: no payment.';

/* On which side of the money each state of each machine can be reached. */
CREATE FUNCTION payorder.sides_of_machines()
    RETURNS TABLE (machine_id integer, state text, paid boolean, unpaid boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE unpaid AS (
        SELECT m.id AS machine_id, m.initial AS state FROM payorder.machines AS m
        UNION
        SELECT t.machine_id, t.to_state
        FROM unpaid AS u
        JOIN payorder.transitions AS t ON t.machine_id = u.machine_id AND t.from_state = u.state
        WHERE t.event NOT IN ('pay', 'reopen')),
    paid AS (
        SELECT t.machine_id, t.to_state AS state FROM payorder.transitions AS t
        WHERE t.event IN ('pay', 'reopen')
        UNION
        SELECT t.machine_id, t.to_state
        FROM paid AS p
        JOIN payorder.transitions AS t ON t.machine_id = p.machine_id AND t.from_state = p.state)
    SELECT s.machine_id, s.state,
           EXISTS (SELECT FROM paid AS p WHERE p.machine_id = s.machine_id AND p.state = s.state),
           EXISTS (SELECT FROM unpaid AS u WHERE u.machine_id = s.machine_id AND u.state = s.state)
    FROM payorder.states AS s
$$;
COMMENT ON FUNCTION payorder.sides_of_machines() IS
'for each state of each machine version whether it can be reached with and without a pay or reopen edge';

/*
 * Every sentence of the design's list of invariants that has its room here,
 * as a query that finds what breaks it.
 */
CREATE FUNCTION payorder.check_invariants()
    RETURNS TABLE (invariant text, subject text, detail text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    -- an order's state is its last event's to_state
    SELECT 'order_state_is_last_event', o.order_no,
           format('state %s, last event to %s', o.state, coalesce(e.to_state, 'nowhere'))
    FROM payorder.orders AS o
    LEFT JOIN LATERAL (
        SELECT v.to_state FROM payorder.events AS v
        WHERE v.slot = ((12 * extract(year FROM o.created_at AT TIME ZONE 'UTC')
                         + extract(month FROM o.created_at AT TIME ZONE 'UTC'))::integer & 63)
          AND v.order_no = o.order_no
        ORDER BY v.seq DESC LIMIT 1) AS e ON true
    WHERE e.to_state IS DISTINCT FROM o.state
UNION ALL
    -- its events chain without a gap and verify
    SELECT 'events_verify', o.order_no, format('event %s: %s', (c.v).broken_seq, (c.v).problem)
    FROM payorder.orders AS o
    CROSS JOIN LATERAL (SELECT payorder.verify_events(o.order_no) AS v OFFSET 0) AS c
    WHERE NOT (c.v).ok
UNION ALL
    -- the pots of each payment sum
    SELECT 'pots_sum', p.gateway || ':' || p.txn_id, 'amount + overdrawn is not the sum of the pots'
    FROM payorder.payments AS p
    WHERE p.amount + p.overdrawn <> p.kept + p.review + p.owed + p."returning" + p.returned + p.disputed + p.undone
       OR least(p.kept, p.review, p.owed, p."returning", p.returned, p.disputed, p.undone, p.overdrawn) < 0
UNION ALL
    -- each move between pots is an event
    SELECT 'moves_are_pots', coalesce(p.gateway, e.gateway) || ':' || coalesce(p.txn_id, e.txn_id),
           format('%s is %s, events say %s', coalesce(p.pot, e.pot), coalesce(p.amount, 0), coalesce(e.amount, 0))
    FROM (SELECT q.gateway, q.txn_id, v.pot, v.amount
          FROM payorder.payments AS q
          CROSS JOIN LATERAL (VALUES ('kept', q.kept), ('review', q.review), ('owed', q.owed),
                                     ('returning', q."returning"), ('returned', q.returned),
                                     ('disputed', q.disputed), ('undone', q.undone),
                                     ('overdrawn', q.overdrawn)) AS v (pot, amount)
          WHERE v.amount <> 0) AS p
    FULL JOIN (SELECT v.gateway, v.txn_id, k.key AS pot, sum(k.value::numeric) AS amount
               FROM payorder.events AS v
               CROSS JOIN LATERAL json_each_text(v.payload -> 'moved') AS k
               WHERE v.txn_id IS NOT NULL AND v.source <> 'fire' AND json_typeof(v.payload -> 'moved') = 'object'
               GROUP BY 1, 2, 3) AS e
      ON e.gateway = p.gateway AND e.txn_id = p.txn_id AND e.pot = p.pot
    WHERE coalesce(p.amount, 0) <> coalesce(e.amount, 0)
      -- what moved before an order was purged is told by no event any more
      AND NOT EXISTS (SELECT FROM payorder.payments AS q
                      JOIN payorder.purged_orders AS u ON u.order_no = q.order_no
                      WHERE q.gateway = coalesce(p.gateway, e.gateway) AND q.txn_id = coalesce(p.txn_id, e.txn_id))
UNION ALL
    -- payments match the pay callbacks one to one
    SELECT 'payment_has_callback', p.gateway || ':' || p.txn_id, 'no pay callback, or one with another amount'
    FROM payorder.payments AS p
    WHERE NOT EXISTS (SELECT FROM payorder.callbacks AS c
                      WHERE c.gateway = p.gateway AND c.txn_id = p.txn_id AND c.event = p.event
                        AND c.amount = p.amount AND c.currency = p.currency)
UNION ALL
    SELECT 'callback_has_payment', c.gateway || ':' || c.txn_id, c.verdict
    FROM payorder.callbacks AS c
    WHERE c.event IN ('pay', 'pay_part')
      AND NOT (c.verdict = 'mismatch' AND c.detail IS NOT DISTINCT FROM 'invalid')
      AND NOT EXISTS (SELECT FROM payorder.payments AS p
                      WHERE p.gateway = c.gateway AND p.txn_id = c.txn_id)
UNION ALL
    -- an order's money columns are the sums over its payments
    SELECT 'order_money_is_sum', o.order_no,
           format('paid %s/%s refunding %s/%s refunded %s/%s disputed %s/%s overdrawn %s/%s',
                  o.paid_amount, coalesce(s.paid, 0), o.refunding_amount, coalesce(s.refunding, 0),
                  o.refunded_amount, coalesce(s.refunded, 0), o.disputed_amount, coalesce(s.disputed, 0),
                  o.overdrawn_amount, coalesce(s.overdrawn, 0))
    FROM (SELECT w.order_no, w.paid_amount, w.refunding_amount, w.refunded_amount, w.disputed_amount, w.overdrawn_amount
          FROM payorder.orders AS w
          UNION ALL
          SELECT u.order_no, u.paid_amount, 0, u.refunded_amount, u.disputed_amount, 0
          FROM payorder.purged_orders AS u WHERE u.away) AS o
    LEFT JOIN (
        SELECT p.order_no, sum(p.amount - p.undone) AS paid, sum(p."returning") AS refunding,
               sum(p.returned) AS refunded, sum(p.disputed) AS disputed, sum(p.overdrawn) AS overdrawn
        FROM payorder.payments AS p WHERE p.disposition = 'order' GROUP BY p.order_no) AS s
      ON s.order_no = o.order_no
    WHERE (o.paid_amount, o.refunding_amount, o.refunded_amount, o.disputed_amount, o.overdrawn_amount)
          IS DISTINCT FROM
          (coalesce(s.paid, 0)::bigint, coalesce(s.refunding, 0)::bigint, coalesce(s.refunded, 0)::bigint,
           coalesce(s.disputed, 0)::bigint, coalesce(s.overdrawn, 0)::bigint)
UNION ALL
    -- returned = succeeded refunds, returning = open refunds
    SELECT 'refunds_are_pots', p.gateway || ':' || p.txn_id,
           format('returned %s/%s returning %s/%s', p.returned, coalesce(r.succeeded, 0),
                  p."returning", coalesce(r.open, 0))
    FROM payorder.payments AS p
    LEFT JOIN (
        SELECT f.gateway, f.txn_id,
               sum(f.amount) FILTER (WHERE f.state = 'succeeded') AS succeeded,
               sum(f.amount) FILTER (WHERE f.state IN ('asked', 'in_doubt', 'stuck')) AS open
        FROM payorder.refunds AS f GROUP BY 1, 2) AS r
      ON r.gateway = p.gateway AND r.txn_id = p.txn_id
    WHERE p.returned <> coalesce(r.succeeded, 0) OR p."returning" <> coalesce(r.open, 0)
UNION ALL
    SELECT 'refund_has_payment', f.refund_no, f.gateway || ':' || f.txn_id
    FROM payorder.refunds AS f
    WHERE NOT EXISTS (SELECT FROM payorder.payments AS p
                      WHERE p.gateway = f.gateway AND p.txn_id = f.txn_id)
UNION ALL
    -- owed > 0 has a refund open or held, or a review task
    SELECT 'owed_is_looked_after', p.gateway || ':' || p.txn_id, format('owed %s', p.owed)
    FROM payorder.payments AS p
    WHERE p.owed > 0
      AND NOT EXISTS (SELECT FROM payorder.refunds AS f
                      WHERE f.gateway = p.gateway AND f.txn_id = p.txn_id
                        AND f.state IN ('held', 'asked', 'in_doubt', 'stuck'))
      AND NOT EXISTS (SELECT FROM payorder.task_keys AS k
                      WHERE k.dedup_key = 'review:owed:' || p.gateway || ':' || p.txn_id)
UNION ALL
    -- review > 0 has a review task or a waiting callback
    SELECT 'review_is_looked_after', p.gateway || ':' || p.txn_id, format('review %s', p.review)
    FROM payorder.payments AS p
    WHERE p.review > 0
      AND NOT EXISTS (SELECT FROM payorder.callbacks_waiting AS w
                      WHERE w.gateway = p.gateway AND w.txn_id = p.txn_id AND w.event IN ('pay', 'pay_part'))
      AND NOT EXISTS (SELECT FROM payorder.task_keys AS k
                      WHERE k.dedup_key IN ('review:mismatch:' || p.gateway || ':' || p.txn_id,
                                            'review:conflict:' || p.gateway || ':' || p.txn_id))
UNION ALL
    -- overdrawn = 0 or is listed
    SELECT 'overdrawn_is_listed', p.gateway || ':' || p.txn_id, format('overdrawn %s', p.overdrawn)
    FROM payorder.payments AS p
    WHERE p.overdrawn > 0
      AND NOT EXISTS (SELECT FROM payorder.task_keys AS k
                      WHERE k.dedup_key = 'review:overdrawn:' || p.gateway || ':' || p.txn_id)
UNION ALL
    -- a paid-side state has paid_amount >= amount unless frozen; an unpaid-side state has 0
    SELECT 'paid_side_is_paid', o.order_no, format('state %s, paid %s of %s', o.state, o.paid_amount, o.amount)
    FROM payorder.orders AS o
    JOIN payorder.sides_of_machines() AS s ON s.machine_id = o.machine_id AND s.state = o.state
    WHERE (s.paid AND NOT s.unpaid AND o.paid_amount < o.amount AND NOT o.frozen)
       OR (s.unpaid AND NOT s.paid AND o.paid_amount > 0
           AND NOT EXISTS (SELECT FROM payorder.transitions AS t
                           WHERE t.machine_id = o.machine_id AND t.event = 'pay_part'))
UNION ALL
    -- each (gateway, txn_id, event) took effect at most once
    SELECT 'effect_once', e.gateway || ':' || (e.payload ->> 'txn_id'),
           format('%s applied %s times', e.payload ->> 'event', count(*))
    FROM payorder.events AS e
    WHERE e.source IN ('callback', 'query', 'kernel') AND e.payload ->> 'txn_id' IS NOT NULL
      AND e.payload ->> 'verdict' IN ('applied', 'late', 'excess')
    GROUP BY e.gateway, e.payload ->> 'txn_id', e.payload ->> 'event'
    HAVING count(*) > 1
UNION ALL
    -- no money-out task without its refund
    SELECT 'money_out_has_refund', t.id::text, format('refund %s', t.payload ->> 'refund_no')
    FROM payorder.tasks AS t
    WHERE t.kind IN ('refund', 'return')
      AND NOT EXISTS (SELECT FROM payorder.refunds AS f WHERE f.refund_no = t.payload ->> 'refund_no')
UNION ALL
    -- an open refund has its task, its question, or a person
    SELECT 'open_refund_is_worked', f.refund_no, f.state
    FROM payorder.refunds AS f
    WHERE f.state IN ('asked', 'in_doubt')
      AND NOT EXISTS (SELECT FROM payorder.task_ready AS r WHERE r.task_id = f.task_id)
      AND NOT EXISTS (SELECT FROM payorder.task_leases AS l WHERE l.task_id = f.task_id)
      AND NOT EXISTS (SELECT FROM payorder.task_dead AS d WHERE d.task_id = f.task_id)
      AND NOT EXISTS (SELECT FROM payorder.task_keys AS k
                      WHERE k.dedup_key IN ('query_refund:' || f.refund_no,
                                            'review:in_doubt:' || f.refund_no))
UNION ALL
    -- one open attempt per order and gateway unless allowed
    SELECT 'one_open_attempt', a.order_no, format('%s open at %s', count(*), a.gateway)
    FROM payorder.attempts AS a
    JOIN payorder.gateways AS g ON g.gateway = a.gateway
    WHERE a.state = 'open' AND NOT g.parallel_attempts
    GROUP BY a.order_no, a.gateway
    HAVING count(*) > 1
UNION ALL
    -- no order in a non-final state without a timer or a task (a review counts)
    SELECT 'order_goes_on', o.order_no, format('state %s', o.state)
    FROM payorder.orders AS o
    JOIN payorder.states AS s ON s.machine_id = o.machine_id AND s.state = o.state AND NOT s.final
    WHERE NOT EXISTS (SELECT FROM payorder.timers AS t WHERE t.order_no = o.order_no)
      AND NOT EXISTS (SELECT FROM payorder.tasks AS t
                      WHERE t.order_no = o.order_no
                        AND NOT EXISTS (SELECT FROM payorder.task_finished AS f WHERE f.task_id = t.id))
UNION ALL
    -- no lease past its time without being retaken
    SELECT 'lease_is_retaken', l.task_id::text, format('ended %s', l.leased_until)
    FROM payorder.task_leases AS l
    WHERE l.leased_until < now() - interval '5 minutes'
UNION ALL
    -- body = ready + leased + dead + finished
    SELECT 'task_is_somewhere', t.id::text,
           format('ready %s leased %s dead %s finished %s', r.task_id IS NOT NULL, l.task_id IS NOT NULL,
                  d.task_id IS NOT NULL, f.task_id IS NOT NULL)
    FROM payorder.tasks AS t
    LEFT JOIN payorder.task_ready AS r ON r.task_id = t.id
    LEFT JOIN payorder.task_leases AS l ON l.task_id = t.id
    LEFT JOIN payorder.task_dead AS d ON d.task_id = t.id
    LEFT JOIN payorder.task_finished AS f ON f.task_id = t.id
    WHERE (r.task_id IS NOT NULL)::integer + (l.task_id IS NOT NULL)::integer
        + (d.task_id IS NOT NULL)::integer + (f.task_id IS NOT NULL)::integer <> 1
UNION ALL
    SELECT 'task_has_body', x.task_id::text, 'no body'
    FROM (SELECT r.task_id FROM payorder.task_ready AS r UNION ALL
          SELECT l.task_id FROM payorder.task_leases AS l UNION ALL
          SELECT d.task_id FROM payorder.task_dead AS d UNION ALL
          SELECT f.task_id FROM payorder.task_finished AS f) AS x
    WHERE NOT EXISTS (SELECT FROM payorder.tasks AS t WHERE t.id = x.task_id)
UNION ALL
    SELECT 'task_is_handled', r.task_id::text, r.kind
    FROM payorder.task_ready AS r
    WHERE r.handled IS DISTINCT FROM EXISTS (SELECT FROM payorder.task_kinds AS k
                                             WHERE k.kind = r.kind AND k.worked_by = 'handler')
UNION ALL
    -- each callback has a verdict, and waits if and only if the verdict says so
    SELECT 'callback_has_verdict', c.gateway || ':' || c.txn_id || ':' || c.event, coalesce(c.verdict, 'none')
    FROM payorder.callbacks AS c
    WHERE c.verdict IS NULL
       OR (c.verdict IN ('parked', 'deferred')) IS DISTINCT FROM
          EXISTS (SELECT FROM payorder.callbacks_waiting AS w
                  WHERE w.gateway = c.gateway AND w.txn_id = c.txn_id AND w.event = c.event)
UNION ALL
    -- a purged order is away, or there again
    SELECT 'purged_or_there', u.order_no, CASE WHEN u.away THEN 'both' ELSE 'neither' END
    FROM payorder.purged_orders AS u
    WHERE u.away = EXISTS (SELECT FROM payorder.orders AS o WHERE o.order_no = u.order_no)
UNION ALL
    -- references that foreign keys would keep, were there any
    SELECT 'reference', r.what, r.value
    FROM (SELECT 'attempts.order_no' AS what, a.order_no AS value FROM payorder.attempts AS a
          WHERE NOT EXISTS (SELECT FROM payorder.purged_orders AS u WHERE u.order_no = a.order_no AND u.away)
            AND NOT EXISTS (SELECT FROM payorder.orders AS o WHERE o.order_no = a.order_no)
          UNION ALL
          SELECT 'payments.order_no', p.order_no FROM payorder.payments AS p
          WHERE p.order_no IS NOT NULL
            AND NOT EXISTS (SELECT FROM payorder.purged_orders AS u WHERE u.order_no = p.order_no AND u.away)
            AND NOT EXISTS (SELECT FROM payorder.orders AS o WHERE o.order_no = p.order_no)
          UNION ALL
          SELECT 'timers.order_no', t.order_no FROM payorder.timers AS t
          WHERE NOT EXISTS (SELECT FROM payorder.purged_orders AS u WHERE u.order_no = t.order_no AND u.away)
            AND NOT EXISTS (SELECT FROM payorder.orders AS o WHERE o.order_no = t.order_no)
          UNION ALL
          SELECT 'refunds.order_no', f.order_no FROM payorder.refunds AS f
          WHERE f.order_no IS NOT NULL
            AND NOT EXISTS (SELECT FROM payorder.purged_orders AS u WHERE u.order_no = f.order_no AND u.away)
            AND NOT EXISTS (SELECT FROM payorder.orders AS o WHERE o.order_no = f.order_no)
          UNION ALL
          SELECT 'callbacks.order_no', c.order_no FROM payorder.callbacks AS c
          WHERE c.order_no IS NOT NULL
            AND NOT EXISTS (SELECT FROM payorder.purged_orders AS u WHERE u.order_no = c.order_no AND u.away)
            AND NOT EXISTS (SELECT FROM payorder.orders AS o WHERE o.order_no = c.order_no)
          UNION ALL
          SELECT DISTINCT 'events.order_no', v.order_no FROM payorder.events AS v
          WHERE v.order_no IS NOT NULL
            AND NOT EXISTS (SELECT FROM payorder.purged_orders AS u WHERE u.order_no = v.order_no AND u.away)
            AND NOT EXISTS (SELECT FROM payorder.orders AS o WHERE o.order_no = v.order_no)
          UNION ALL
          SELECT 'callbacks_waiting.event', w.gateway || ':' || w.txn_id || ':' || w.event
          FROM payorder.callbacks_waiting AS w
          WHERE NOT EXISTS (SELECT FROM payorder.callbacks AS c
                            WHERE c.gateway = w.gateway AND c.txn_id = w.txn_id AND c.event = w.event)
          UNION ALL
          SELECT 'gateway_keys.gateway', y.gateway FROM payorder.gateway_keys AS y
          WHERE NOT EXISTS (SELECT FROM payorder.gateways AS g WHERE g.gateway = y.gateway)
          UNION ALL
          SELECT 'gateway_keys.secret', y.gateway || ' ' || y.secret FROM payorder.gateway_keys AS y
          WHERE y.secret LIKE 'sealed:%' AND y.valid_until > now()
            AND NOT EXISTS (SELECT FROM payorder.sealed_secrets AS s WHERE y.secret = 'sealed:' || s.name)
          UNION ALL
          SELECT 'task_keys.task_id', k.task_id::text FROM payorder.task_keys AS k
          WHERE NOT EXISTS (SELECT FROM payorder.task_ready AS r WHERE r.task_id = k.task_id)
            AND NOT EXISTS (SELECT FROM payorder.task_leases AS l WHERE l.task_id = k.task_id)
          UNION ALL
          SELECT 'orders.machine_id', o.machine_id::text FROM payorder.orders AS o
          WHERE NOT EXISTS (SELECT FROM payorder.states AS s
                            WHERE s.machine_id = o.machine_id AND s.state = o.state)) AS r
$$;
COMMENT ON FUNCTION payorder.check_invariants() IS
'what is wrong with the stored data: invariant broken, subject, detail; no row when all is well. Reads everything, changes nothing, safe in production.';
