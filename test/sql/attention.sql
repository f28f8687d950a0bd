--
-- The view attention: every cause that can appear, and every decision that a
-- row offers, carried out by one call that is made of the row's own columns.
-- A decision that is refused is a fault of the view; what a person decided is
-- not shown any more, or with what is left to decide, and no invariant is
-- broken.
-- Scenarios 12, 30, 33, 46, 68, 71, 72, 74, 79, 80, 86, 88.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set money :inputdir '/sql/include/money.psql'
\i :money

-- A user's trigger that raises while it is told to.
CREATE FUNCTION pg_temp.raise_when_told() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('attention_test.raise', true) = TG_TABLE_NAME THEN
        RAISE 'the shop does not like it';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION pg_temp.trouble(with_what text) RETURNS text
    LANGUAGE sql AS $$ SELECT set_config('attention_test.raise', with_what, true) $$;

-- The one call that a row's decision stands for.  What no row can know is the
-- number of a new refund, and the order to attach a payment to: "spare".
CREATE FUNCTION pg_temp.call_of(a payorder.attention, decision text) RETURNS text
    LANGUAGE sql AS $$
SELECT CASE split_part(decision, ' ', 1)
       WHEN 'settle_callback' THEN format('payorder.settle_callback(%L, %L, %L, %L, ''anna'', ''looked at it'', %L)', a.gateway, a.txn_id, a.event, split_part(decision, ' ', 2),
                                          CASE WHEN decision LIKE '% attach' OR decision LIKE '% keep' THEN coalesce(a.order_no, 'spare') END)
       WHEN 'settle_refund' THEN format('payorder.settle_refund(%L, %L, ''anna'', ''looked at it'')', a.refund_no, split_part(decision, ' ', 2))
       WHEN 'request_refund' THEN format('payorder.request_refund(''new_refund'', %L, %L, payment => %L, gateway => %L)', a.order_no, a.amount, a.txn_id, a.gateway)
       WHEN 'retry_order' THEN format('payorder.retry_order(%L, ''anna'', ''looked at it'')', a.order_no)
       WHEN 'retry_callback' THEN format('payorder.retry_callback(%L, %L, %L, ''anna'', ''looked at it'')', a.gateway, a.txn_id, a.event)
       WHEN 'retry_dead' THEN format('payorder.retry_dead(%L, ''anna'', ''looked at it'')', a.task)
       WHEN 'cancel_task' THEN format('payorder.cancel_task(%L, ''anna'', ''looked at it'')', a.task)
       ELSE 'no_such_decision()' END
$$;

-- Carries a decision out; what it said, and what is left of the row; undone.
CREATE FUNCTION pg_temp.decide(a payorder.attention, decision text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    said text;
    wrong text;
    answer record;
BEGIN
    PERFORM pg_temp.trouble('none');
    EXECUTE 'SELECT * FROM ' || pg_temp.call_of(a, decision) INTO answer;
    said := CASE split_part(decision, ' ', 1)
            WHEN 'settle_callback' THEN concat_ws(' ', answer.verdict, answer.detail, answer.state)
            WHEN 'settle_refund' THEN answer.state
            WHEN 'request_refund' THEN answer.state
            ELSE 'done' END;
    IF decision IN ('retry_order', 'retry_callback') THEN
        PERFORM payorder.sweep(100, clock_timestamp() + interval '61 minutes');
    END IF;
    IF EXISTS (SELECT FROM payorder.attention AS t WHERE t.task = a.task AND t.kind = a.kind) THEN
        said := said || ', and it is still there';
    END IF;
    SELECT string_agg(w, ', ') INTO wrong FROM pg_temp.wrong() AS w;
    RAISE EXCEPTION SQLSTATE 'ZZZZZ';
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
    RETURN concat_ws(', BROKEN: ', said, wrong);
WHEN OTHERS THEN
    RETURN concat('REFUSED: ', SQLSTATE, ' ', SQLERRM, ' ', pg_temp.call_of(a, decision));
END $$;

CREATE FUNCTION pg_temp.described(a payorder.attention) RETURNS text
    LANGUAGE sql AS $$
SELECT pg_temp.masked(concat_ws(' ', a.kind || ':', CASE a.kind WHEN 'dead task' THEN regexp_replace(a.subject, '\d+$', 'N') ELSE a.subject END, a.cause, a.amount, a.currency,
                                'order ' || a.order_no, 'payment ' || a.gateway || ':' || a.txn_id, a.event, 'refund ' || a.refund_no))
$$;

-- A situation: calls, then each row with each of its decisions; then undone.
CREATE FUNCTION pg_temp.situation(VARIADIC calls text[]) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
DECLARE
    lines text[] := '{}';
    call text;
    a payorder.attention;
    d text;
BEGIN
    BEGIN
        FOREACH call IN ARRAY calls LOOP
            EXECUTE 'SELECT ' || call;
        END LOOP;
        FOR a IN SELECT * FROM payorder.attention ORDER BY kind, cause COLLATE "C", subject COLLATE "C" LOOP
            lines := lines || pg_temp.described(a);
            FOREACH d IN ARRAY a.decisions LOOP
                lines := lines || format('    %s: %s', d, pg_temp.masked(pg_temp.decide(a, d)));
            END LOOP;
            IF cardinality(a.decisions) = 0 THEN
                lines := lines || '    no decision'::text;
            END IF;
        END LOOP;
        lines := lines || ARRAY(SELECT 'BROKEN: ' || w FROM pg_temp.wrong() AS w);
        RAISE EXCEPTION SQLSTATE 'ZZZZZ';
    EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
        NULL;
    END;
    RETURN QUERY SELECT * FROM unnest(lines);
END $$;

-- Words for situations.
CREATE FUNCTION pg_temp.ask_and_take(number text, amount bigint, payment text DEFAULT NULL, of text DEFAULT 'a') RETURNS text
    LANGUAGE sql AS $$ SELECT pg_temp.ask(number, amount, payment, number => of); SELECT pg_temp.take('refund') $$;
CREATE FUNCTION pg_temp.fails_for_good(number text, amount bigint DEFAULT NULL, payment text DEFAULT NULL, of text DEFAULT 'a') RETURNS text
    LANGUAGE sql AS $$ SELECT pg_temp.ask_and_take(number, amount, payment, of); SELECT pg_temp.finish_with('refund_failed', 'f_' || number) $$;
CREATE FUNCTION pg_temp.go(event text, number text DEFAULT 'a') RETURNS text
    LANGUAGE sql AS $$ SELECT state FROM payorder.fire(number, event, 'tester') $$;
CREATE FUNCTION pg_temp.later(length interval) RETURNS text
    LANGUAGE sql AS $$ SELECT pg_temp.swept(clock_timestamp() + length) $$;
CREATE FUNCTION pg_temp.said(event text, txn text, amount bigint, payment text DEFAULT NULL, currency text DEFAULT NULL, refund_no text DEFAULT NULL, number text DEFAULT NULL) RETURNS text
    LANGUAGE sql AS $$
SELECT concat_ws(' ', verdict, detail) FROM payorder.ingest('till', txn, event, number, amount, currency, payment_txn => payment, refund_no => refund_no)
$$;
-- Cools off, ships.
CREATE FUNCTION pg_temp.ship() RETURNS text
    LANGUAGE sql AS $$ SELECT pg_temp.later('6 minutes'); SELECT pg_temp.go('ship') $$;
-- All of it goes back, and has come back.
CREATE FUNCTION pg_temp.refund_everything() RETURNS text
    LANGUAGE sql AS $$ SELECT pg_temp.go('cancel'); SELECT pg_temp.later('10 seconds'); SELECT pg_temp.take('refund') $$;

BEGIN;
SELECT pg_temp.empty() \g /dev/null
SELECT payorder.add_gateway('desk', 'generic', 'shop-2'), payorder.add_gateway('strict', 'generic', 'shop-3', settings => '{"require_attempt": true}') \g /dev/null
SELECT pg_temp.define_parts() \g /dev/null
SELECT payorder.define_task_kind('bake', max_attempts => 1) \g /dev/null
CREATE TRIGGER attention_test AFTER UPDATE ON payorder.orders FOR EACH ROW WHEN (NEW.order_no = 'a') EXECUTE FUNCTION pg_temp.raise_when_told();
CREATE TRIGGER attention_test AFTER UPDATE ON payorder.payments FOR EACH ROW WHEN (NEW.txn_id LIKE 't%') EXECUTE FUNCTION pg_temp.raise_when_told();
-- an order to attach payments to, an order with an attempt and one without
SELECT pg_temp.new_order('spare'), pg_temp.new_order('a'), pg_temp.new_order('b') \g /dev/null

/* ---- mismatch ---- */

\echo mismatch: more than the order asks for, less, another currency
SELECT pg_temp.situation($$pg_temp.pay('t', 'a', 120)$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a', 99)$$);
SELECT pg_temp.situation($$pg_temp.said('pay', 't', 100, currency => 'USD', number => 'a')$$);
\echo ... the order was repriced; it was paid by another payment
SELECT pg_temp.situation($$payorder.begin_payment('a', 'till')$$, $$payorder.reprice_order('a', 90, 'shop', 'a discount')$$,
                         $$pg_temp.pay('t', (SELECT payment_no FROM payorder.attempts), 100)$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a', 120)$$, $$pg_temp.pay('t2', 'a')$$);
\echo ... the order ended: it can be reopened, not any more, not at all
SELECT pg_temp.situation($$pg_temp.pay('t', 'a', 120)$$, $$pg_temp.go('close')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a', 120)$$, $$pg_temp.go('close')$$, $$pg_temp.tamper('UPDATE payorder.orders SET closed_at = closed_at - interval ''1 day''')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a', 120)$$, $$pg_temp.go('cancel')$$);
\echo ... a dispute or a refund took a part of it; all of it; it was undone
SELECT pg_temp.situation($$pg_temp.pay('t', 'a', 120)$$, $$pg_temp.said('chargeback', 'd', 50, 't')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a', 120)$$, $$pg_temp.said('refund', 'r', 50, 't')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a', 120)$$, $$pg_temp.said('refund', 'r', 120, 't')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a', 120)$$, $$pg_temp.said('pay_reversed', 't', NULL)$$);
\echo ... while the order is being closed, while it is paid in part
SELECT pg_temp.situation($$payorder.begin_payment('a', 'till')$$, $$pg_temp.go('close')$$, $$pg_temp.pay('t', 'a', 120)$$);
SELECT pg_temp.situation($$pg_temp.new_order('p', 100, 'parts')$$, $$pg_temp.pay('p1', 'p', 40, 'pay_part')$$, $$pg_temp.pay('p2', 'p', 61, 'pay_part')$$);
SELECT pg_temp.situation($$pg_temp.new_order('p', 100, 'parts')$$, $$pg_temp.pay('p1', 'p', 40, 'pay_part')$$, $$pg_temp.pay('p2', 'p', 59)$$);
SELECT pg_temp.situation($$pg_temp.new_order('p', 100, 'parts')$$, $$pg_temp.pay('p1', 'p', 40, 'pay_part')$$, $$pg_temp.pay('p2', 'p', 61, 'pay_part')$$, $$pg_temp.go('cancel', 'p')$$);
\echo ... the order is frozen; it was refunded
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.said('pay_reversed', 't', NULL)$$, $$pg_temp.pay('t2', 'a', 120)$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.said('pay_reversed', 't', NULL)$$, $$pg_temp.pay('t2', 'a', 120)$$, $$pg_temp.go('cancel')$$);

/* ---- conflicts, and messages that are none ---- */

\echo conflict: other facts under a known key, for a payment, a refund, an end of an attempt
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.pay('t', 'a', 101)$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a', 120)$$, $$pg_temp.pay('t', 'a', 101)$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'x')$$, $$pg_temp.pay('t', 'x', 101)$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.said('refund', 'r', 10, 't')$$, $$pg_temp.said('refund', 'r', 11, 't')$$);
SELECT pg_temp.situation($$pg_temp.said('pay_failed', 'f', NULL, number => 'a')$$, $$pg_temp.said('pay_failed', 'f', NULL, number => 'b')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.pay('t', 'a', 100, 'pay_part')$$);
\echo ... its numbers name two orders; nothing moved; the attempt of another gateway
SELECT pg_temp.situation($$payorder.begin_payment('b', 'till')$$, $$pg_temp.pay('t0', 'a')$$,
                         $$(payorder.ingest('till', 't', 'pay', (SELECT payment_no FROM payorder.attempts), 100, 'CNY', payment_txn => 't0')).verdict$$);
SELECT pg_temp.situation($$payorder.begin_payment('a', 'desk')$$, $$pg_temp.pay('t', (SELECT payment_no FROM payorder.attempts))$$);
SELECT pg_temp.situation($$payorder.begin_payment('a', 'desk')$$, $$pg_temp.said('pay_closed', 'c', NULL, number => (SELECT payment_no FROM payorder.attempts))$$);
\echo order_differs: the order that a refund names is not that of its payment
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.said('refund', 'r', 10, 't', number => 'b')$$);
\echo invalid: no amount, no currency, a wrong one; of a payment and of others
SELECT pg_temp.situation($$pg_temp.said('pay', 't', NULL, currency => 'CNY', number => 'a')$$);
SELECT pg_temp.situation($$pg_temp.said('pay', 't', 100, number => 'a')$$);
SELECT pg_temp.situation($$payorder.alter_gateway('till', '{"pay_id_pattern": "^42"}')$$, $$pg_temp.pay('t', 'a')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.said('refund', 'r', 0, 't')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.said('chargeback', 'd', -1, 't')$$);

/* ---- what waits ---- */

\echo parked, then for too long (80)
SELECT pg_temp.situation($$pg_temp.pay('t', 'x')$$, $$pg_temp.later('11 minutes')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'x')$$, $$pg_temp.later('73 hours')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'x', 77)$$, $$pg_temp.later('73 hours')$$);
SELECT pg_temp.situation($$(payorder.ingest('strict', 't', 'pay', 'a', 100, 'CNY')).verdict$$, $$pg_temp.later('73 hours')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'x')$$, $$pg_temp.said('refund', 'r', 30, 't')$$, $$pg_temp.later('73 hours')$$);
SELECT pg_temp.situation($$pg_temp.said('refund', 'r', 30, 'nobody')$$, $$pg_temp.later('11 minutes')$$);
SELECT pg_temp.situation($$pg_temp.said('refund', 'r', 30, 'nobody')$$, $$pg_temp.said('chargeback', 'd', 30, 'nobody')$$, $$pg_temp.said('chargeback_reversed', 'd2', 30, 'nobody')$$,
                         $$pg_temp.said('pay_reversed', 'nobody', NULL)$$, $$pg_temp.said('refund_failed', 'r', NULL, refund_no => 'nothing_1')$$, $$pg_temp.said('authorised', 'n', NULL, number => 'x')$$,
                         $$pg_temp.later('73 hours')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.said('chargeback_reversed', 'd', 30, 't')$$, $$pg_temp.ask_and_take('refund_1', 10)$$,
                         $$(payorder.ingest('till', 'r', 'refund', amount => 30, payment_txn => 't', amount_is_total => true)).verdict$$, $$pg_temp.finish()$$, $$pg_temp.later('73 hours')$$);
\echo nobody is troubled by an end of an attempt of an order that is not known
SELECT pg_temp.situation($$pg_temp.said('pay_failed', 'f', NULL, number => 'x')$$, $$pg_temp.said('pay_closed', 'c', NULL, number => 'x')$$, $$pg_temp.later('11 minutes')$$);
\echo deferred_error: a trigger of the shop raises (86); also where no order is known
SELECT pg_temp.situation($$pg_temp.trouble('orders')$$, $$pg_temp.pay('t', 'a')$$, $$pg_temp.later('10 minutes')$$, $$pg_temp.later('20 minutes')$$, $$pg_temp.later('30 minutes')$$, $$pg_temp.later('40 minutes')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'x')$$, $$pg_temp.trouble('payments')$$, $$pg_temp.said('refund', 'r', 30, 't')$$,
                         $$pg_temp.later('1 minute')$$, $$pg_temp.later('3 minutes')$$, $$pg_temp.later('5 minutes')$$, $$pg_temp.later('7 minutes')$$);
\echo timer_error: a trigger of the shop raises (33)
SELECT pg_temp.situation($$pg_temp.trouble('orders')$$, $$pg_temp.later('16 minutes')$$, $$pg_temp.later('20 minutes')$$, $$pg_temp.later('40 minutes')$$, $$pg_temp.later('60 minutes')$$);

/* ---- refunds ---- */

\echo owed: a refund failed for good; of a part; of a surplus; of no order; kept, asked for again
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.fails_for_good('refund_1')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.fails_for_good('refund_1', 30)$$, $$pg_temp.fails_for_good('refund_2', 40)$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.pay('t2', 'a', 30)$$, $$pg_temp.take('return')$$, $$pg_temp.finish('{"confirmed": ["t", "t2"]}')$$, $$pg_temp.take('refund')$$,
                         $$pg_temp.finish_with('refund_failed', 'f')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'x')$$, $$payorder.settle_callback('till', 't', 'pay', 'return', 'anna', 'nobody knows it')$$, $$pg_temp.take('return')$$,
                         $$pg_temp.finish('{"confirmed": ["t"]}')$$, $$pg_temp.take('refund')$$, $$pg_temp.finish_with('refund_failed', 'f')$$);
\echo ... while all goes back, and after it has (38)
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.refund_everything()$$, $$pg_temp.finish_with('refund_failed', 'f')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.refund_everything()$$, $$pg_temp.finish_with('refund', 'f')$$, $$pg_temp.said('refund_failed', 'f', NULL, 't')$$);
\echo ... the amount is what is owed now: less since a part was asked for, more since another one failed
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.pay('t2', 'a', 30)$$, $$pg_temp.take('return')$$, $$pg_temp.finish('{"confirmed": ["t", "t2"]}')$$, $$pg_temp.take('refund')$$,
                         $$pg_temp.finish_with('refund_failed', 'f')$$, $$pg_temp.ask('refund_1', 10, 't2')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.ask('refund_1', 30)$$, $$pg_temp.ask('refund_2', 40)$$, $$pg_temp.said('refund_failed', 'f', NULL, refund_no => 'refund_1')$$,
                         $$pg_temp.said('refund_failed', 'g', NULL, refund_no => 'refund_2')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.said('refund', 'r', 130, 't')$$, $$pg_temp.said('refund', 'r2', 20, 't')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a', 120)$$, $$pg_temp.said('refund', 'r', 50, 't')$$);
\echo ... while another refund is stuck, or under way
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.fails_for_good('refund_1', 30)$$, $$pg_temp.ask('refund_2', 50)$$, $$pg_temp.said('refund_stuck', 's', NULL, refund_no => 'refund_2')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.ask('refund_1', 30)$$, $$pg_temp.ask('refund_2', 50)$$, $$pg_temp.said('refund_stuck', 's', NULL, refund_no => 'refund_2')$$,
                         $$pg_temp.said('refund_failed', 'f', NULL, refund_no => 'refund_1')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.ask('refund_1', 30)$$, $$pg_temp.ask_and_take('refund_2', 50)$$, $$pg_temp.said('refund_failed', 'f', NULL, refund_no => 'refund_1')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.pay('t2', 'a', 30)$$, $$pg_temp.take('return')$$, $$pg_temp.finish('{"confirmed": ["t", "t2"]}')$$, $$pg_temp.take('refund')$$,
                         $$pg_temp.finish_with('refund_failed', 'f')$$, $$pg_temp.ask('refund_1', 10, 't2')$$, $$pg_temp.said('refund_stuck', 's', NULL, refund_no => 'refund_1')$$);
\echo ... a failed refund that was kept, then another one failed
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.fails_for_good('refund_1', 30)$$, $$pg_temp.settle('refund_1', 'keep')$$, $$pg_temp.fails_for_good('refund_2', 20)$$);
\echo ... the order was won back after a dispute, when it had been refunded (43)
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.said('chargeback', 'd', 100, 't')$$, $$pg_temp.said('refund', 'r', 100, 't')$$, $$pg_temp.said('chargeback_reversed', 'd', 100, 't')$$);
\echo refund_reversed: failed days after its success, owed (71); kept meanwhile, or asked for again
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.ask('refund_1', 30)$$, $$pg_temp.said('refund', 'r', 30, refund_no => 'refund_1')$$, $$pg_temp.said('refund_failed', 'r', NULL, refund_no => 'refund_1')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.said('refund', 'r', 30, 't')$$, $$pg_temp.said('refund_failed', 'r', NULL, 't')$$);
\echo in_doubt: the task died, the questions were used up
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.ask_and_take('refund_1', 30)$$, $$pg_temp.give_up(false)$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.ask_and_take('refund_1', 30)$$, $$pg_temp.finish()$$, $$pg_temp.take('query_refund')$$, $$pg_temp.give_up(false)$$);
\echo stuck (72), before and after a worker had it
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.ask_and_take('refund_1', 30)$$, $$pg_temp.finish_with('refund_stuck', 's')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.ask('refund_1', 30)$$, $$pg_temp.said('refund_stuck', 's', NULL, refund_no => 'refund_1')$$);
\echo claimed: our refund is under way while the money went elsewhere (12, 74, 88)
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.ask_and_take('refund_1', 30)$$, $$pg_temp.said('refund', 'r', 100, 't')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.ask_and_take('refund_1', 30)$$, $$pg_temp.said('chargeback', 'd', 100, 't')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.ask_and_take('refund_1', 30)$$, $$pg_temp.said('pay_reversed', 't', NULL)$$);
\echo refund_differs: the gateway says another amount; of one that is held too
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.ask_and_take('refund_1', 30)$$, $$pg_temp.said('refund', 'r', 31, refund_no => 'refund_1')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.ask('refund_1', 30)$$, $$pg_temp.said('refund', 'r', 31, refund_no => 'refund_1')$$);
SELECT pg_temp.situation($$payorder.set_refund_limits(NULL, NULL, '{"share_per_hour": 0}')$$, $$pg_temp.pay('t', 'a')$$, $$pg_temp.ask('refund_1', 30)$$,
                         $$pg_temp.said('refund', 'r', 31, refund_no => 'refund_1')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.pay('t2', 'a', 30)$$, $$pg_temp.said('refund', 'r', 31, refund_no => (SELECT refund_no FROM payorder.refunds))$$);
\echo refund_unnamed, refund_currency, refund_conflict, refunded_twice
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.pay('t2', 'a', 30)$$, $$pg_temp.said('refund', 'r', 10, number => 'a')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.said('refund', 'r', 10, 't', 'USD')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.pay('tb', 'b')$$, $$pg_temp.ask('refund_1', 30)$$, $$pg_temp.said('refund', 'r', 30, 'tb', refund_no => 'refund_1')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.ask('refund_1', 30)$$, $$pg_temp.said('refund', 'r', 30, refund_no => 'refund_1')$$, $$pg_temp.said('refund', 'r2', 30, refund_no => 'refund_1')$$);
\echo refund_limit, auto_return_limit (68), not_confirmed
SELECT pg_temp.situation($$payorder.set_refund_limits(NULL, NULL, '{"share_per_hour": 0}')$$, $$pg_temp.pay('t', 'a')$$, $$pg_temp.ask('refund_1', 30)$$);
SELECT pg_temp.situation($$payorder.set_refund_limits(NULL, NULL, '{"share_per_hour": 0}')$$, $$pg_temp.pay('t', 'a')$$, $$pg_temp.go('cancel')$$, $$pg_temp.later('10 seconds')$$);
SELECT pg_temp.situation($$payorder.alter_gateway('till', '{"auto_return_per_hour": 0}')$$, $$pg_temp.pay('t', 'a')$$, $$pg_temp.pay('t2', 'a')$$);
SELECT pg_temp.situation($$pg_temp.go('cancel')$$, $$pg_temp.pay('t', 'a')$$, $$pg_temp.take('return')$$, $$pg_temp.finish('{"confirmed": []}')$$);
SELECT pg_temp.situation($$payorder.alter_gateway('till', '{"auto_return_per_hour": 0}')$$, $$pg_temp.pay('t', 'x')$$, $$payorder.settle_callback('till', 't', 'pay', 'return', 'anna', 'nobody knows it')$$);
\echo overdrawn: ends by itself, nobody decides
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.said('refund', 'r', 130, 't')$$);

/* ---- disputes and reversals ---- */

\echo reversed, dispute_currency, dispute_amount (74)
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.said('pay_reversed', 't', NULL)$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.said('chargeback', 'd', 10, 't', 'USD')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.said('chargeback', 'd', 10, 't')$$, $$pg_temp.said('chargeback_reversed', 'd', 11, 't')$$);

/* ---- the machine's ---- */

\echo alarms of states and timers, a timer that is refused
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.later('6 minutes')$$, $$pg_temp.later('25 hours')$$);
SELECT pg_temp.situation($$payorder.begin_payment('a', 'till')$$, $$pg_temp.go('close')$$, $$pg_temp.later('11 minutes')$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.go('cancel')$$, $$pg_temp.later('10 seconds')$$, $$pg_temp.later('25 hours')$$, $$pg_temp.later('8 days')$$);
SELECT pg_temp.situation($$payorder.define_machine('hasty', jsonb_set((SELECT definition::jsonb FROM payorder.machines WHERE name = 'order' AND version = 1), '{states,to_ship,after}',
                             '{"1h": {"fire": "ship"}}')::json)$$,
                         $$pg_temp.new_order('h', 100, 'hasty')$$, $$pg_temp.pay('th', 'h')$$, $$pg_temp.later('6 minutes')$$, $$pg_temp.ask_and_take('refund_1', 30, of => 'h')$$, $$pg_temp.later('2 hours')$$);
\echo ... whatever its name: these are nothing but alarms
SELECT pg_temp.situation($$payorder.define_machine('alarming', jsonb_set((SELECT definition::jsonb FROM payorder.machines WHERE name = 'order' AND version = 1), '{states,pending,entry}',
                             '{"alarm": ["owed", "stuck", "in_doubt", "mismatch", "refund_limit", "conflict", "timer_error", "overdrawn", "parked"]}')::json)$$,
                         $$pg_temp.new_order('m', 100, 'alarming')$$);

/* ---- dead tasks ---- */

\echo dead: query_payment, close_payment, refund, query_refund, return, refund_all, and one of the shop
SELECT pg_temp.situation($$payorder.begin_payment('a', 'till')$$, $$pg_temp.later('31 seconds')$$, $$pg_temp.take('query_payment')$$, $$pg_temp.give_up(false)$$);
SELECT pg_temp.situation($$payorder.begin_payment('a', 'till')$$, $$pg_temp.go('close')$$, $$pg_temp.take('close_payment')$$, $$pg_temp.give_up(false)$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.pay('t2', 'a', 30)$$, $$pg_temp.take('return')$$, $$pg_temp.give_up(false)$$);
SELECT pg_temp.situation($$payorder.enqueue('bake', 'a', '{"amount": "a lot", "refund_no": 5, "txn_id": {}}')$$, $$pg_temp.take('bake')$$, $$pg_temp.give_up()$$);
SELECT pg_temp.situation($$pg_temp.pay('t', 'a')$$, $$pg_temp.go('cancel')$$, $$pg_temp.trouble('orders')$$,
                         $$(SELECT count(*) FROM generate_series(1, 60) AS n, LATERAL payorder.sweep(100, clock_timestamp() + n * interval '61 minutes') AS s)$$);

/* ---- two persons ---- */

\echo a first decision is shown, whose second may come
SELECT pg_temp.situation($$payorder.set_refund_limits(NULL, NULL, '{"second_person_above": 0}')$$, $$pg_temp.pay('t', 'a', 120)$$,
                         $$payorder.settle_callback('till', 't', 'pay', 'keep', 'bert', 'the buyer was generous')$$);
ROLLBACK;
