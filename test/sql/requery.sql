--
-- Room requery: after a failover that lost commits the gateways are asked about
-- everything that may have changed since.  Scenario 82 (what is asked about;
-- that it is found is in TAP, min_sync).
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set money :inputdir '/sql/include/money.psql'
\i :money

-- An attempt at a gateway, begun and (if it has ended) ended days ago.
CREATE FUNCTION pg_temp.attempt(name text, gateway text, state text, began numeric, ended numeric DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    number text;
BEGIN
    PERFORM pg_temp.new_order(name);
    SELECT payment_no INTO number FROM payorder.begin_payment(name, gateway);
    CASE state
        WHEN 'paid' THEN PERFORM payorder.ingest(gateway, 't_' || name, 'pay', number, 100, 'CNY');
        WHEN 'open' THEN NULL;
        ELSE PERFORM payorder.ingest(gateway, 'e_' || name, 'pay_' || state, number);
    END CASE;
    PERFORM pg_temp.tamper(format('UPDATE payorder.attempts SET created_at = now() - interval ''1 day'' * %s, notified_at = now() - interval ''1 day'' * %L, applied_at = now() - interval ''1 day'' * %L WHERE order_no = %L',
                                  began, ended, ended, name));
END $$;
-- A refund of an order of its own, asked for and ended days ago.
CREATE FUNCTION pg_temp.refund(name text, gateway text, state text, asked numeric, ended numeric DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_temp.new_order(name);
    PERFORM payorder.ingest(gateway, 't_' || name, 'pay', name, 100, 'CNY');
    PERFORM payorder.request_refund('refund_' || name, name, 100);
    IF state <> 'asked' THEN
        PERFORM payorder.ingest(gateway, 'r_' || name, state, amount => CASE state WHEN 'refund' THEN 100 END, refund_no => 'refund_' || name);
    END IF;
    PERFORM pg_temp.tamper(format('UPDATE payorder.refunds SET requested_at = now() - interval ''1 day'' * %s, asked_at = now() - interval ''1 day'' * %s, ended_at = now() - interval ''1 day'' * %L WHERE refund_no = %L',
                                  asked, asked, ended, 'refund_' || name));
END $$;
CREATE FUNCTION pg_temp.asked_about() RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT format('%s %s %s', t.kind, t.gateway, coalesce(t.payload ->> 'refund_no', t.order_no)) COLLATE "C"
FROM payorder.tasks AS t JOIN payorder.task_ready AS r ON r.task_id = t.id
WHERE t.kind IN ('query_payment', 'query_refund') AND r.run_at <= clock_timestamp() ORDER BY 1
$$;
CREATE FUNCTION pg_temp.requeried(arguments text) RETURNS text
    LANGUAGE sql AS $$
SELECT pg_temp.outcome(format('SELECT set_config(''test.said'', payorder.requery(%s)::text, true)', arguments),
                       $q$SELECT current_setting('test.said') || ': ' || (SELECT coalesce(string_agg(a, ', '), 'nothing') FROM pg_temp.asked_about() AS a)$q$)
$$;

BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.add_gateway('desk', 'generic', 'shop-2') \g /dev/null
-- attempts: open ones whenever they began, others that began or ended since
SELECT pg_temp.attempt('open_old', 'till', 'open', 9), pg_temp.attempt('open_new', 'desk', 'open', 1), pg_temp.attempt('closed_old', 'till', 'closed', 9, 8),
       pg_temp.attempt('failed_lately', 'till', 'failed', 9, 1), pg_temp.attempt('paid_lately', 'desk', 'paid', 9, 1), pg_temp.attempt('paid_old', 'till', 'paid', 9, 8),
       pg_temp.attempt('begun_lately', 'till', 'closed', 1, 1) \g /dev/null
-- refunds: open ones whenever they were asked for, others that were asked for or ended since
SELECT pg_temp.refund('asked_old', 'till', 'asked', 9), pg_temp.refund('stuck_old', 'desk', 'refund_stuck', 9), pg_temp.refund('done_old', 'till', 'refund', 9, 8),
       pg_temp.refund('done_lately', 'till', 'refund', 9, 1), pg_temp.refund('failed_lately2', 'desk', 'refund_failed', 9, 1), pg_temp.refund('asked_lately', 'till', 'asked', 1) \g /dev/null
-- one that is held was never sent, one from the console has no number of ours
SELECT pg_temp.pay('t_held', 'paid_old') \g /dev/null
SELECT payorder.ingest('till', 'x', 'refund', amount => 10, payment_txn => 't_paid_old') \g /dev/null
SELECT pg_temp.asked_about();

SELECT a, pg_temp.requeried(a)
    FROM unnest(ARRAY[$$now() - interval '2 days'$$, $$now() - interval '20 days'$$, $$now() + interval '1 day'$$, $$'infinity'$$, $$'-infinity'$$,
                      $$now() - interval '2 days', 'till'$$, $$now() - interval '2 days', 'desk'$$, $$now() - interval '2 days', NULL$$]) WITH ORDINALITY AS t (a, n) ORDER BY n;
SELECT a, pg_temp.state_of(format('SELECT payorder.requery(%s)', a)) FROM unnest(ARRAY['NULL', $$NULL, 'till'$$, $$now(), 'nowhere'$$, $$now(), ''$$]) WITH ORDINALITY AS t (a, n) ORDER BY n;
SELECT pg_temp.error_of('SELECT payorder.requery(NULL)'), pg_temp.error_of($$SELECT payorder.requery(now(), 'nowhere')$$);

-- one task for each, however often: the answer is how many were made
SELECT payorder.requery(now() - interval '2 days');
SELECT payorder.requery(now() - interval '2 days');
SELECT count(*), count(DISTINCT (t.kind, coalesce(t.payload ->> 'refund_no', t.payload ->> 'payment_no'))) FROM payorder.tasks AS t WHERE t.kind LIKE 'query%';
-- nor while a worker has it
SELECT count(*) FROM payorder.claim('{query_payment,query_refund}', 100);
SELECT payorder.requery(now() - interval '2 days');
SELECT count(*) FROM payorder.tasks AS t WHERE t.kind LIKE 'query%';
SELECT DISTINCT t.kind, t.payload ->> 'payment_no' IS NOT NULL, t.payload ->> 'refund_no' IS NOT NULL FROM payorder.tasks AS t WHERE t.kind LIKE 'query%' ORDER BY 1;
SELECT asked_at IS NOT NULL AS asked, count(*) FROM payorder.attempts WHERE state = 'open' GROUP BY 1;
SELECT pg_temp.wrong();
ROLLBACK;

-- what the answers do: nothing new is nothing, what was lost is found (69)
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.attempt('paid', 'till', 'paid', 1, 1), pg_temp.attempt('lost', 'till', 'open', 1), pg_temp.attempt('closed', 'till', 'closed', 1, 1), pg_temp.refund('back', 'till', 'refund', 1, 1),
       pg_temp.refund('lost_back', 'till', 'asked', 1), pg_temp.refund('failed', 'till', 'refund_failed', 1, 1) \g /dev/null
SELECT payorder.requery(now() - interval '2 days');
CREATE TEMP TABLE mine ON COMMIT DROP AS SELECT * FROM payorder.claim('{query_payment,query_refund}', 100);
-- the gateway: it was all paid, and all refunded
SELECT coalesce(m.payload ->> 'refund_no', m.order_no) AS about, a.verdict, a.first_verdict, a.detail, a.state
    FROM mine AS m,
         LATERAL payorder.complete(m.task, m.token, json_build_object('messages', json_build_array(
             CASE m.kind WHEN 'query_refund' THEN json_build_object('event', 'refund', 'txn_id', regexp_replace(m.payload ->> 'refund_no', '^refund', 'r'), 'amount', 100)
                         ELSE json_build_object('event', 'pay', 'txn_id', 't_' || m.order_no, 'amount', 100, 'currency', 'CNY') END))) AS a
    ORDER BY 1;
SELECT order_no, state FROM payorder.orders ORDER BY 1;
SELECT pg_temp.asked_about();
SELECT pg_temp.wrong();
ROLLBACK;
-- the gateway says nothing, or knows nothing: as any question
BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT pg_temp.attempt('paid', 'till', 'paid', 1, 1), pg_temp.attempt('open', 'till', 'open', 1), pg_temp.refund('back', 'till', 'refund', 1, 1), pg_temp.refund('asked', 'till', 'asked', 1) \g /dev/null
SELECT payorder.requery(now() - interval '2 days');
SELECT r, pg_temp.outcome(format('SELECT payorder.complete(c.task, c.token, %L) FROM payorder.claim(''{query_payment,query_refund}'', 100) AS c', r),
                          $$SELECT concat_ws('; ', (SELECT string_agg(t, ', ') FROM pg_temp.tasks() AS t), (SELECT string_agg(order_no || ' ' || state, ', ' ORDER BY order_no) FROM payorder.orders),
                                             (SELECT string_agg(refund_no || ' ' || state, ', ' ORDER BY refund_no) FROM payorder.refunds), (SELECT string_agg(w, ', ') FROM pg_temp.wrong() AS w))$$)
    FROM unnest('{"{}","{\"unknown\": true}"}'::text[]) WITH ORDINALITY AS t (r, n) ORDER BY n;
ROLLBACK;

BEGIN READ ONLY;
SELECT pg_temp.state_of('SELECT payorder.requery(now())');
ROLLBACK;
