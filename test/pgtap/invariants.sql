-- check_invariants() must see: for each of its sentences a row is corrupted
-- behind the triggers' back, and exactly what is broken is named.
BEGIN;
SELECT no_plan();

-- ---- data with everything in it that an invariant speaks of
SELECT payorder.add_gateway('g', 'generic', 'm', settings => '{"return_delay": "1 hour"}');
SELECT payorder.define_task_kind('mail');
SELECT payorder.create_order(o, 100, 'CNY')
FROM unnest('{open,paid,tried,refund,twice,wrong,drawn,gone,cancel,undone,argued}'::text[]) AS o;
SELECT payorder.begin_payment('tried', 'g');
SELECT payorder.ingest('g', 't-' || o, 'pay', o, 100, 'CNY') FROM unnest('{paid,refund,twice,drawn,undone,argued}'::text[]) AS o;
SELECT payorder.request_refund('REFUND0001', 'refund', 30);
SELECT payorder.request_refund('REFUND0002', 'refund', 20);
SELECT payorder.ingest('g', 'r2', 'refund', amount => 20, currency => 'CNY', payment_txn => 't-refund', refund_no => 'REFUND0002');
SELECT payorder.ingest('g', 'x-twice', 'pay', 'twice', 70, 'CNY');
SELECT payorder.ingest('g', 'w-wrong', 'pay', 'wrong', 1, 'CNY');
SELECT payorder.ingest('g', 't-paid', 'pay', 'paid', 99, 'CNY');
SELECT payorder.ingest('g', 'r-drawn', 'refund', amount => 100, currency => 'CNY', payment_txn => 't-drawn', refund_no => 'FOREIGN1');
SELECT payorder.ingest('g', 'r-drawn2', 'refund', amount => 5, currency => 'CNY', payment_txn => 't-drawn', refund_no => 'FOREIGN2');
SELECT payorder.ingest('g', 'early', 'pay', 'later', 100, 'CNY');
SELECT payorder.ingest('g', 'bad', 'pay', 'open', -1, 'CNY');
SELECT payorder.fire('cancel', 'cancel');
SELECT payorder.ingest('g', 't-undone', 'pay_reversed');
SELECT payorder.ingest('g', 'd-argued', 'chargeback', amount => 40, payment_txn => 't-argued');
SELECT payorder.set_refund_limits(NULL, NULL, '{"share_per_hour": 0}');
SELECT payorder.request_refund('REFUND0003', 'argued', 10);
SELECT payorder.set_refund_limits(NULL, NULL, '{"share_per_hour": null}');
SELECT payorder.enqueue('mail', 'open', dedup_key => 'k' || n) FROM generate_series(1, 4) AS n;
SELECT payorder.fail(c.task, c.token, 'no', false) FROM payorder.claim('{mail}', 1) AS c;
SELECT payorder.complete(c.task, c.token) FROM payorder.claim('{mail}', 1) AS c;
SELECT count(*) FROM payorder.claim('{mail}', 1);

SELECT is_empty('SELECT * FROM payorder.check_invariants()', 'all is well before');
SELECT isnt_empty('SELECT FROM payorder.payments WHERE overdrawn > 0', 'something is overdrawn, and listed');

-- What is named after a statement that no trigger saw; the statement is undone.
CREATE FUNCTION pg_temp.named(statement text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    found text;
    done bigint;
BEGIN
    BEGIN
        SET LOCAL session_replication_role = replica;
        EXECUTE statement;
        GET DIAGNOSTICS done = ROW_COUNT;
        SELECT string_agg(n, ', ' ORDER BY n COLLATE "C") INTO found
        FROM (SELECT DISTINCT i.invariant || ' ' || coalesce(i.subject, 'NULL') AS n
              FROM payorder.check_invariants() AS i) AS named;
        RAISE EXCEPTION 'undo' USING ERRCODE = 'ZZ000';
    EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
        RETURN CASE WHEN done = 0 THEN 'nothing was corrupted' ELSE found END;
    END;
END
$$;

CREATE FUNCTION pg_temp.task(kind text, place text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    id bigint;
BEGIN
    EXECUTE format('SELECT min(t.id) FROM payorder.tasks AS t JOIN payorder.%I AS p ON p.task_id = t.id WHERE t.kind = %L',
                   place, kind) INTO STRICT id;
    RETURN id;
END
$$;

-- ---- sentence, statement, what must be named
CREATE TEMP TABLE cases (sentence text, statement text, named text);
INSERT INTO cases VALUES
('an order''s state is its last event''s to_state',
 $$UPDATE payorder.orders SET state = 'cancelled' WHERE order_no = 'open'$$,
 'order_state_is_last_event open'),
('an order without an event',
 $$DELETE FROM payorder.events WHERE order_no = 'open'$$,
 'events_verify open, order_state_is_last_event open'),
('the last event goes to another state',
 $$UPDATE payorder.events SET to_state = 'shipped' WHERE order_no = 'gone'$$,
 'events_verify gone, order_state_is_last_event gone'),

('its events chain without a gap: the first is missing',
 $$DELETE FROM payorder.events WHERE order_no = 'paid' AND seq = 1$$, 'events_verify paid'),
('... one in the middle is missing',
 $$DELETE FROM payorder.events WHERE order_no = 'refund' AND seq = 3$$,
 'events_verify refund, moves_are_pots g:t-refund'),
('... two have changed their payloads',
 $$UPDATE payorder.events AS e SET payload = o.payload FROM payorder.events AS o
   WHERE e.order_no = 'refund' AND o.order_no = 'refund' AND e.seq IN (3, 4) AND o.seq = 7 - e.seq$$,
 'events_verify refund'),
('its events verify: another time',
 $$UPDATE payorder.events SET at = at + interval '1 microsecond' WHERE order_no = 'paid' AND seq = 1$$,
 'events_verify paid'),
('... another actor',
 $$UPDATE payorder.events SET actor = 'nobody' WHERE order_no = 'paid' AND seq = 2$$, 'events_verify paid'),
('... a reason that was not there',
 $$UPDATE payorder.events SET reason = '' WHERE order_no = 'paid' AND seq = 2$$, 'events_verify paid'),
('... another event',
 $$UPDATE payorder.events SET event = 'reopen' WHERE order_no = 'paid' AND seq = 2$$, 'events_verify paid'),
('... another source',
 $$UPDATE payorder.events SET source = 'bill' WHERE order_no = 'paid' AND seq = 2$$, 'events_verify paid'),
('... another state it came from',
 $$UPDATE payorder.events SET from_state = 'closing' WHERE order_no = 'paid' AND seq = 2$$, 'events_verify paid'),
('... a payload with one digit changed',
 $$UPDATE payorder.events SET payload = replace(payload::text, '100', '101')::json
   WHERE order_no = 'paid' AND seq = 2$$, 'events_verify paid, moves_are_pots g:t-paid'),
('... a payload with a space more',
 $$UPDATE payorder.events SET payload = (payload::text || ' ')::json WHERE order_no = 'paid' AND seq = 2$$,
 'events_verify paid'),
('... no payload',
 $$UPDATE payorder.events SET payload = NULL WHERE order_no = 'paid' AND seq = 1$$, 'events_verify paid'),
('... another request',
 $$UPDATE payorder.events SET request_id = 'r' WHERE order_no = 'paid' AND seq = 2$$, 'events_verify paid'),
('... another trace',
 $$UPDATE payorder.events SET trace = 't' WHERE order_no = 'paid' AND seq = 2$$, 'events_verify paid'),
('... another payment',
 $$UPDATE payorder.events SET txn_id = 't' WHERE order_no = 'paid' AND seq = 2$$,
 'events_verify paid, moves_are_pots g:t, moves_are_pots g:t-paid'),
('... another hash',
 $$UPDATE payorder.events SET hash = sha256('') WHERE order_no = 'paid' AND seq = 2$$, 'events_verify paid'),

('the pots of each payment sum',
 $$UPDATE payorder.payments SET disputed = 1 WHERE txn_id = 'x-twice'$$, 'moves_are_pots g:x-twice, pots_sum g:x-twice'),
('... and none is negative',
 $$UPDATE payorder.payments SET disputed = -1, owed = owed + 1 WHERE txn_id = 'x-twice'$$, 'moves_are_pots g:x-twice, pots_sum g:x-twice'),
('each move between pots is an event: the log''s end was cut off',
 $$DELETE FROM payorder.events WHERE order_no = 'refund'
   AND seq = (SELECT max(seq) FROM payorder.events WHERE order_no = 'refund')$$, 'moves_are_pots g:t-refund'),
('... money was moved without an event',
 $$UPDATE payorder.payments SET owed = owed - 1, disputed = disputed + 1 WHERE txn_id = 'x-twice'$$,
 'moves_are_pots g:x-twice'),
('payments match the pay callbacks: a callback is gone',
 $$DELETE FROM payorder.callbacks WHERE txn_id = 't-paid'$$, 'payment_has_callback g:t-paid'),
('... or says another amount',
 $$UPDATE payorder.callbacks SET amount = 101 WHERE txn_id = 't-paid'$$, 'payment_has_callback g:t-paid'),
('... or another currency',
 $$UPDATE payorder.callbacks SET currency = 'EUR' WHERE txn_id = 't-paid'$$, 'payment_has_callback g:t-paid'),
('... a payment is gone',
 $$DELETE FROM payorder.payments WHERE txn_id = 'w-wrong'$$, 'callback_has_payment g:w-wrong, moves_are_pots g:w-wrong'),

('an order''s money columns are the sums over its payments: paid',
 $$UPDATE payorder.orders SET paid_amount = paid_amount + 1 WHERE order_no = 'paid'$$, 'order_money_is_sum paid'),
('... refunding',
 $$UPDATE payorder.orders SET refunding_amount = refunding_amount - 1 WHERE order_no = 'refund'$$,
 'order_money_is_sum refund'),
('... refunded',
 $$UPDATE payorder.orders SET refunded_amount = refunded_amount + 1 WHERE order_no = 'refund'$$,
 'order_money_is_sum refund'),
('... disputed',
 $$UPDATE payorder.orders SET disputed_amount = 1 WHERE order_no = 'paid'$$, 'order_money_is_sum paid'),
('... disputed less than it is',
 $$UPDATE payorder.orders SET disputed_amount = 39 WHERE order_no = 'argued'$$, 'order_money_is_sum argued'),
('... overdrawn',
 $$UPDATE payorder.orders SET overdrawn_amount = overdrawn_amount + 1 WHERE order_no = 'drawn'$$,
 'order_money_is_sum drawn'),
('... a payment has changed sides',
 $$UPDATE payorder.payments SET disposition = 'order' WHERE txn_id = 'x-twice'$$, 'order_money_is_sum twice'),

('returned = succeeded refunds',
 $$UPDATE payorder.refunds SET amount = amount + 1 WHERE refund_no = 'REFUND0002'$$, 'refunds_are_pots g:t-refund'),
('returning = open refunds',
 $$UPDATE payorder.refunds SET amount = amount + 1 WHERE refund_no = 'REFUND0001'$$, 'refunds_are_pots g:t-refund'),
('... one has ended and its money is still on the way',
 $$UPDATE payorder.refunds SET state = 'failed' WHERE refund_no = 'REFUND0001'$$, 'refunds_are_pots g:t-refund'),
('a refund is of a payment',
 $$UPDATE payorder.refunds SET state = 'failed', txn_id = 'nowhere' WHERE refund_no = 'REFUND0001'$$,
 'refund_has_payment REFUND0001, refunds_are_pots g:t-refund'),

('owed > 0 has a refund open or held, or a review task',
 $$UPDATE payorder.refunds SET state = 'cancelled' WHERE txn_id = 'x-twice'$$, 'owed_is_looked_after g:x-twice'),
('... a held one',
 $$UPDATE payorder.refunds SET state = 'cancelled' WHERE refund_no = 'REFUND0003'$$, 'owed_is_looked_after g:t-argued'),
('review > 0 has a review task',
 $$DELETE FROM payorder.task_keys WHERE dedup_key = 'review:mismatch:g:w-wrong'$$,
 'review_is_looked_after g:w-wrong'),
('... or a waiting callback',
 $$DELETE FROM payorder.callbacks_waiting WHERE txn_id = 'early'$$,
 'callback_has_verdict g:early:pay, review_is_looked_after g:early'),
('overdrawn = 0 or is listed',
 $$DELETE FROM payorder.task_keys WHERE dedup_key = 'review:overdrawn:g:t-drawn'$$,
 'overdrawn_is_listed g:t-drawn'),

('a paid-side state has paid_amount >= amount',
 $$UPDATE payorder.orders SET amount = 101 WHERE order_no = 'paid'$$, 'paid_side_is_paid paid'),
('... unless frozen',
 $$UPDATE payorder.orders SET frozen = false WHERE order_no = 'undone'$$, 'paid_side_is_paid undone'),
('an unpaid-side state has 0',
 $$UPDATE payorder.orders SET state = 'pending' WHERE order_no = 'paid'$$,
 'order_state_is_last_event paid, paid_side_is_paid paid'),

('each (gateway, txn_id, event) took effect at most once',
 $$INSERT INTO payorder.events (slot, gateway, txn_id, event, actor, source, payload, at)
   SELECT slot, gateway, txn_id, 'callback', actor, source, payload, at
   FROM payorder.events WHERE order_no = 'paid' AND event = 'pay'$$,
 'effect_once g:t-paid, moves_are_pots g:t-paid'),

('no money-out task without its refund',
 $$UPDATE payorder.tasks SET payload = '{"refund_no": "REFUND9999"}' WHERE kind = 'refund'
   AND payload ->> 'refund_no' = 'REFUND0002'$$,
 (SELECT 'money_out_has_refund ' || id FROM payorder.tasks WHERE idempotency_key = 'REFUND0002')),
('... nor a return',
 $$UPDATE payorder.tasks SET payload = '{}' WHERE kind = 'return'$$,
 (SELECT string_agg('money_out_has_refund ' || id, ', ' ORDER BY id) FROM payorder.tasks WHERE kind = 'return')),
('an open refund is worked on',
 $$WITH gone AS (DELETE FROM payorder.task_ready USING payorder.refunds
                 WHERE refund_no = 'REFUND0001' AND refunds.task_id = task_ready.task_id RETURNING task_ready.task_id)
   INSERT INTO payorder.task_finished (task_id, outcome, attempts, finished_at)
   SELECT task_id, 'done', 1, now() FROM gone$$, 'open_refund_is_worked REFUND0001'),

('one open attempt per order and gateway',
 $$INSERT INTO payorder.attempts (payment_no, order_no, gateway, amount, currency, state, created_at)
   VALUES ('SECOND01', 'tried', 'g', 100, 'CNY', 'open', now())$$, 'one_open_attempt tried'),
('no order in a non-final state without a timer or a task',
 $$DELETE FROM payorder.timers WHERE order_no = 'gone'$$, 'order_goes_on gone'),
('no lease past its time without being retaken',
 $$UPDATE payorder.task_leases SET leased_until = now() - interval '1 hour'$$,
 'lease_is_retaken ' || pg_temp.task('mail', 'task_leases')),

('body = ready + ...: it is nowhere',
 $$DELETE FROM payorder.task_ready WHERE kind = 'mail'$$,
 'reference task_keys.task_id, task_is_somewhere ' || pg_temp.task('mail', 'task_ready')),
('... it is ready and dead',
 $$INSERT INTO payorder.task_dead (task_id, kind, attempts, died_at)
   SELECT task_id, kind, 1, now() FROM payorder.task_ready WHERE kind = 'mail'$$,
 'task_is_somewhere ' || pg_temp.task('mail', 'task_ready')),
('... + leased',
 $$DELETE FROM payorder.task_leases$$,
 'reference task_keys.task_id, task_is_somewhere ' || pg_temp.task('mail', 'task_leases')),
('... + dead',
 $$DELETE FROM payorder.task_dead$$, 'task_is_somewhere ' || pg_temp.task('mail', 'task_dead')),
('... + finished',
 $$DELETE FROM payorder.task_finished WHERE task_id = $$ || pg_temp.task('mail', 'task_finished'),
 'task_is_somewhere ' || pg_temp.task('mail', 'task_finished')),
('... and each has its body: ready',
 $$DELETE FROM payorder.tasks WHERE id = $$ || pg_temp.task('mail', 'task_ready'),
 'task_has_body ' || pg_temp.task('mail', 'task_ready')),
('... leased',
 $$DELETE FROM payorder.tasks WHERE id = $$ || pg_temp.task('mail', 'task_leases'),
 'task_has_body ' || pg_temp.task('mail', 'task_leases')),
('... dead',
 $$DELETE FROM payorder.tasks WHERE id = $$ || pg_temp.task('mail', 'task_dead'),
 'task_has_body ' || pg_temp.task('mail', 'task_dead')),
('... finished',
 $$DELETE FROM payorder.tasks WHERE id = $$ || pg_temp.task('mail', 'task_finished'),
 'task_has_body ' || pg_temp.task('mail', 'task_finished')),
('a ready task knows whether it is for a handler',
 $$UPDATE payorder.task_ready SET handled = true WHERE task_id = $$ || pg_temp.task('mail', 'task_ready'),
 'task_is_handled ' || pg_temp.task('mail', 'task_ready')),

('each callback has a verdict',
 $$UPDATE payorder.callbacks SET verdict = NULL WHERE txn_id = 't-paid'$$, 'callback_has_verdict g:t-paid:pay'),
('... and waits if it says so',
 $$UPDATE payorder.callbacks SET verdict = 'deferred' WHERE txn_id = 't-paid'$$, 'callback_has_verdict g:t-paid:pay'),
('... and only then',
 $$UPDATE payorder.callbacks SET verdict = 'stale' WHERE txn_id = 'early'$$, 'callback_has_verdict g:early:pay'),

('an attempt is of an order',
 $$UPDATE payorder.attempts SET order_no = 'nowhere' WHERE order_no = 'tried'$$, 'reference attempts.order_no'),
('a payment is of an order',
 $$UPDATE payorder.payments SET order_no = 'nowhere' WHERE txn_id = 'x-twice'$$, 'reference payments.order_no'),
('a timer is of an order',
 $$INSERT INTO payorder.timers (due_at, order_no, kind) VALUES (now(), 'nowhere', 'drain')$$,
 'reference timers.order_no'),
('an order is of a machine',
 $$UPDATE payorder.orders SET machine_id = 99 WHERE order_no = 'gone'$$, 'reference orders.machine_id'),
('a refund is of an order',
 $$UPDATE payorder.refunds SET order_no = 'nowhere' WHERE refund_no = 'REFUND0002'$$, 'reference refunds.order_no'),
('a callback is of an order',
 $$UPDATE payorder.callbacks SET order_no = 'nowhere' WHERE txn_id = 't-paid'$$, 'reference callbacks.order_no'),
('events are of an order',
 $$DELETE FROM payorder.orders WHERE order_no = 'cancel'$$, 'reference events.order_no, reference timers.order_no'),
('a purged order is away',
 $$INSERT INTO payorder.purged_orders (order_no, away, frozen, machine_id, state, currency, amount, first_amount,
       paid_amount, refunded_amount, disputed_amount, version, created_at, closed_at, purged_at, last_seq, last_hash)
   SELECT 'open', true, false, 1, 'completed', 'CNY', 1, 1, 0, 0, 0, 1, now(), now(), now(), 99, ''$$,
 'purged_or_there open'),
('... or there again',
 $$INSERT INTO payorder.purged_orders (order_no, away, frozen, machine_id, state, currency, amount, first_amount,
       paid_amount, refunded_amount, disputed_amount, version, created_at, closed_at, purged_at, last_seq, last_hash)
   SELECT 'nowhere', false, false, 1, 'completed', 'CNY', 1, 1, 0, 0, 0, 1, now(), now(), now(), 99, ''$$,
 'purged_or_there nowhere'),
('... with the sums over its payments',
 $$WITH gone AS (DELETE FROM payorder.orders WHERE order_no = 'paid' RETURNING *)
   INSERT INTO payorder.purged_orders (order_no, away, frozen, machine_id, state, currency, amount, first_amount,
       paid_amount, refunded_amount, disputed_amount, version, created_at, closed_at, purged_at, last_seq, last_hash)
   SELECT order_no, true, false, 1, 'completed', 'CNY', 1, 1, 99, 0, 0, 1, created_at, now(), now(), 99, '' FROM gone$$,
 'order_money_is_sum paid'),
('what waits is a callback',
 $$UPDATE payorder.callbacks_waiting SET event = 'authorised' WHERE txn_id = 'early'$$,
 'callback_has_verdict g:early:pay, reference callbacks_waiting.event, review_is_looked_after g:early'),
('a key is of a gateway',
 $$INSERT INTO payorder.gateway_keys (gateway, purpose, key_id, kind, secret, valid_from, valid_until)
   VALUES ('nowhere', 'verify', '', 'secret', 'file:x', '-infinity', 'infinity')$$, 'reference gateway_keys.gateway'),
('a sealed secret that a key uses is there',
 $$INSERT INTO payorder.gateway_keys (gateway, purpose, key_id, kind, secret, valid_from, valid_until)
   VALUES ('g', 'verify', '', 'secret', 'sealed:gone', '-infinity', 'infinity'),
          ('g', 'verify', 'old', 'secret', 'sealed:left', '-infinity', '-infinity')$$, 'reference gateway_keys.secret'),
('a dedup key is of an open task',
 $$UPDATE payorder.task_keys SET task_id = $$ || pg_temp.task('mail', 'task_finished') || $$ WHERE dedup_key = 'user:k4'$$,
 'reference task_keys.task_id');

-- CHECK constraints stand in the way of some
CREATE FUNCTION pg_temp.drop_checks() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    c record;
BEGIN
    FOR c IN SELECT conrelid::regclass AS relation, conname FROM pg_constraint
             WHERE contype = 'c' AND conrelid IN ('payorder.orders'::regclass, 'payorder.payments'::regclass)
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.relation, c.conname);
    END LOOP;
END
$$;
SELECT lives_ok('SELECT pg_temp.drop_checks()', 'the CHECKs are out of the way');

SELECT is(pg_temp.named(c.statement), c.named, c.sentence) FROM cases AS c;

-- ---- no sentence without a case
SELECT bag_eq($$
    SELECT DISTINCT m[1] COLLATE "C" FROM pg_proc AS p, regexp_matches(p.prosrc, '^ *SELECT ''([a-z_]+)'',', 'gn') AS m
    WHERE p.oid = 'payorder.check_invariants'::regproc$$, $$
    SELECT DISTINCT split_part(n, ' ', 1) COLLATE "C" FROM cases AS c, string_to_table(c.named, ', ') AS n$$,
    'each invariant has been seen to be named');
SELECT is_empty('SELECT * FROM payorder.check_invariants()', 'and all is well again');

SELECT * FROM finish();
ROLLBACK;
