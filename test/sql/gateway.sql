--
-- Room gateway: merchant accounts and their settings, pause and resume, the
-- built-in gateway, currencies.  Scenarios 23, 83, 85.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- the built-in gateway, and what every new one begins with
SELECT gateway, adapter, merchant_id, enabled, paused, builtin FROM payorder.gateways WHERE builtin;
BEGIN;
SELECT payorder.add_gateway('shop_1', 'generic', 'mch-1');
SELECT gateway, adapter, merchant_id, app_scope, enabled, paused, draining, pay_id_pattern, capture_mode, return_delay, auto_return_per_hour,
       auto_return_amount_per_hour, idempotency_window, time_window, failed_is_final, parallel_attempts, require_attempt, exponents, builtin
    FROM payorder.gateways WHERE gateway = 'shop_1';
ROLLBACK;

-- refused: names, adapters, accounts, settings
BEGIN;
SELECT pg_temp.empty();
SELECT a, pg_temp.state_of(format('SELECT payorder.add_gateway(%s)', a))
    FROM unnest(ARRAY[$$NULL, 'generic', 'm'$$, $$'', 'generic', 'm'$$, $$'none', 'generic', 'm'$$, $$'Shop', 'generic', 'm'$$, $$'1shop', 'generic', 'm'$$,
                      $$'shop 1', 'generic', 'm'$$, $$repeat('g', 63), 'generic', 'm'$$, $$repeat('g', 64), 'generic', 'm'$$,
                      $$'shop', NULL, 'm'$$, $$'shop', 'none', 'm'$$, $$'shop', 'wechat', 'm'$$, $$'shop', '', 'm'$$,
                      $$'shop', 'generic', NULL$$, $$'shop', 'generic', ''$$, $$'shop', 'generic', repeat('m', 128)$$, $$'shop', 'generic', repeat('m', 129)$$,
                      $$'shop', 'generic', 'm', NULL$$, $$'shop', 'generic', 'm', repeat('a', 129)$$,
                      $$'shop', 'generic', 'm', settings => '{"bogus": 1}'$$, $$'shop', 'generic', 'm', settings => NULL$$]) WITH ORDINALITY AS t (a, n) ORDER BY n;
SELECT pg_temp.error_of($$SELECT payorder.add_gateway('Shop', 'generic', 'm')$$);
SELECT pg_temp.error_of($$SELECT payorder.add_gateway('shop', 'wechat', 'm')$$);
SELECT pg_temp.error_of($$SELECT payorder.add_gateway('shop', 'generic', '')$$);
-- a refused one is not half added
SELECT count(*) FROM payorder.gateways WHERE NOT builtin;
-- one merchant account under two names, and one name for two accounts (85)
SELECT pg_temp.error_of($$SELECT payorder.add_gateway('till2', 'generic', 'shop-1')$$);
SELECT pg_temp.error_of($$SELECT payorder.add_gateway('till', 'generic', 'shop-9')$$);
SELECT pg_temp.state_of($$SELECT payorder.add_gateway('till2', 'generic', 'shop-1', 'app-2')$$), pg_temp.state_of($$SELECT payorder.add_gateway('till2', 'generic', 'SHOP-1')$$);
-- nor by hand: name, adapter, merchant and scope never change, whoever tries
SELECT c, pg_temp.state_of(format($$UPDATE payorder.gateways SET %I = 'x' WHERE gateway = 'till'$$, c)) <> 'taken' AS refused
    FROM unnest('{gateway,adapter,merchant_id,app_scope}'::text[]) AS c;
ROLLBACK;

-- settings
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.alter_gateway('till', '{"enabled": false, "pay_id_pattern": "^42[0-9]{26}$", "capture_mode": "manual", "return_delay": "1 hour",
    "auto_return_per_hour": 5, "auto_return_amount_per_hour": 100000, "idempotency_window": "24 hours", "time_window": "10 minutes",
    "failed_is_final": false, "parallel_attempts": true, "require_attempt": true, "exponents": {"ISK": 2}}');
SELECT enabled, pay_id_pattern, capture_mode, return_delay, auto_return_per_hour, auto_return_amount_per_hour, idempotency_window, time_window,
       failed_is_final, parallel_attempts, require_attempt, exponents, paused
    FROM payorder.gateways WHERE gateway = 'till';
-- what is not named stays; NULL takes back what may be without a value
SELECT payorder.alter_gateway('till', '{"enabled": true, "pay_id_pattern": null, "capture_mode": null, "auto_return_amount_per_hour": null, "idempotency_window": null}');
SELECT enabled, pay_id_pattern, capture_mode, return_delay, auto_return_per_hour, auto_return_amount_per_hour, idempotency_window FROM payorder.gateways WHERE gateway = 'till';
SELECT payorder.alter_gateway('till', '{}');
-- bad ones: 22023 with a hint, each, and nothing of the same call is kept
SELECT s, pg_temp.state_of(format('SELECT payorder.alter_gateway(''till'', %L)', s))
    FROM unnest(ARRAY['null', '[]', '"x"', '5', '{"bogus": 1}', '{"paused": true}', '{"draining": true}', '{"merchant_id": "x"}', '{"builtin": true}', '{"gateway": "x"}',
                      '{"enabled": null}', '{"enabled": "maybe"}', '{"failed_is_final": 2}',
                      '{"auto_return_per_hour": -1}', '{"auto_return_per_hour": "x"}', '{"auto_return_per_hour": 1.5}', '{"auto_return_per_hour": 99999999999}',
                      '{"auto_return_per_hour": null}', '{"auto_return_amount_per_hour": -1}',
                      '{"pay_id_pattern": "["}', '{"pay_id_pattern": 5}', '{"capture_mode": "both"}',
                      '{"return_delay": "-1 s"}', '{"return_delay": "soon"}', '{"return_delay": "1 month"}', '{"return_delay": "367 days"}', '{"return_delay": null}',
                      '{"time_window": "0"}', '{"time_window": "1 mon"}', '{"idempotency_window": "0"}', '{"idempotency_window": "367 days"}',
                      '{"exponents": "x"}', '{"exponents": {"JPY": "a"}}', '{"exponents": [1]}', '{"exponents": null}']) WITH ORDINALITY AS t (s, n) ORDER BY n;
SELECT count(*) FROM unnest(ARRAY['{"auto_return_per_hour": -1}', '{"pay_id_pattern": "["}', '{"return_delay": "1 month"}', '{"enabled": null}', '{"bogus": 1}', '[]']) AS s
    WHERE pg_temp.error_of(format('SELECT payorder.alter_gateway(''till'', %L)', s)) LIKE E'22023 %\n    %';
SELECT pg_temp.state_of($$SELECT payorder.alter_gateway('till', '{"return_delay": "1 minute", "auto_return_per_hour": -1}')$$);
SELECT return_delay FROM payorder.gateways WHERE gateway = 'till';
SELECT pg_temp.error_of($$SELECT payorder.alter_gateway('nowhere', '{}')$$);
SELECT pg_temp.error_of($$SELECT payorder.alter_gateway(NULL, '{}')$$) LIKE 'PO010%';
-- none is nobody's to change
SELECT f, pg_temp.state_of('SELECT payorder.' || f) FROM unnest(ARRAY[$$alter_gateway('none', '{"enabled": false}')$$, $$pause_gateway('none', 'ops', 'x')$$,
                                                                      $$resume_gateway('none', 'ops', 'x')$$, $$add_gateway('none', 'generic', 'x')$$]) AS f;
SELECT enabled, paused FROM payorder.gateways WHERE gateway = 'none';
ROLLBACK;

-- what settings do: pay_id_pattern keeps two names of one payment apart
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.alter_gateway('till', '{"pay_id_pattern": "^pi_[a-z0-9]+$"}');
SELECT pg_temp.new_order('o1');
SELECT pg_temp.pay('ch_1', 'o1');
SELECT pg_temp.pay('pi_1', 'o1');
-- only the id of pay has that form
SELECT verdict, detail FROM payorder.ingest('till', 're_1', 'refund', NULL, 100, 'CNY', payment_txn => 'pi_1');
ROLLBACK;
-- failed_is_final: whether pay_failed ends an attempt
BEGIN;
SELECT pg_temp.empty();
SELECT pg_temp.new_order('o1');
SELECT payment_no FROM payorder.begin_payment('o1', 'till') \gset
SELECT payorder.alter_gateway('till', '{"failed_is_final": false}');
SELECT verdict, detail FROM payorder.ingest('till', 'f1', 'pay_failed', :'payment_no');
SELECT state FROM payorder.attempts;
SELECT payorder.alter_gateway('till', '{"failed_is_final": true}');
SELECT verdict, detail FROM payorder.ingest('till', 'f2', 'pay_failed', :'payment_no');
SELECT state FROM payorder.attempts;
ROLLBACK;
-- require_attempt: a payment without one waits for it, and is applied by the
-- sweep once it is there
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.alter_gateway('till', '{"require_attempt": true}');
SELECT pg_temp.new_order('o1');
SELECT pg_temp.pay('t1', 'o1');
SELECT pg_temp.swept(clock_timestamp()), pg_temp.state('o1');
SELECT state FROM payorder.begin_payment('o1', 'till');
SELECT pg_temp.swept(clock_timestamp());
SELECT pg_temp.state('o1');
SELECT pg_temp.wrong();
ROLLBACK;

-- pause: messages are taken, acknowledged and kept, tasks are held back; who and
-- why is noted; resume: what waited is applied, oldest order first (23)
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.add_gateway('other', 'generic', 'shop-2');
SELECT pg_temp.new_order('o' || n) FROM generate_series(1, 3) AS n;
SELECT payment_no FROM payorder.begin_payment('o3', 'till') \gset
SELECT payorder.pause_gateway('till', 'ops', 'maintenance');
SELECT paused, pause_changed_by, pause_reason, pause_changed_at IS NOT NULL, draining FROM payorder.gateways WHERE gateway = 'till';
SELECT verdict, detail, state, paid, ack_status FROM payorder.ingest('till', 't2', 'pay', 'o2', 100, 'CNY');
SELECT verdict, detail, ack_status FROM payorder.ingest('till', 't1', 'pay', 'o1', 100, 'CNY');
SELECT verdict, detail, ack_status FROM payorder.ingest('till', 'b1', 'refund', NULL, 100, 'CNY', payment_txn => 't1');
SELECT verdict, detail, ack_status FROM payorder.ingest('till', 'f3', 'pay_failed', :'payment_no');
SELECT verdict, detail, ack_status FROM payorder.ingest('till', 't2', 'pay', 'o2', 100, 'CNY');
-- the other gateway goes on, for the same orders too
SELECT verdict, state FROM payorder.ingest('other', 't9', 'pay', 'o2', 100, 'CNY');
SELECT order_no, disposition, review FROM payorder.payments ORDER BY gateway, txn_id;
SELECT pg_temp.swept(clock_timestamp());
SELECT order_no, state FROM payorder.orders ORDER BY 1;
SELECT pg_temp.wrong();
SELECT payorder.resume_gateway('till', 'ops', 'over');
SELECT paused, pause_changed_by, pause_reason, pause_changed_at IS NOT NULL, draining FROM payorder.gateways WHERE gateway = 'till';
SELECT pg_temp.swept(clock_timestamp()) IS NOT NULL;
SELECT pg_temp.swept(clock_timestamp()) IS NOT NULL;
SELECT order_no, state, paid_amount, refunded_amount FROM payorder.orders ORDER BY 1;
SELECT gateway, txn_id, event, verdict, detail FROM payorder.callbacks ORDER BY 1, 2;
SELECT draining FROM payorder.gateways WHERE gateway = 'till';
SELECT pg_temp.wrong();
SELECT pg_temp.error_of($$SELECT payorder.pause_gateway('nowhere', 'ops', 'x')$$);
SELECT pg_temp.error_of($$SELECT payorder.resume_gateway('nowhere', 'ops', 'x')$$);
-- twice is once
SELECT payorder.pause_gateway('till', 'ops', 'a'), payorder.pause_gateway('till', NULL, 'b');
SELECT paused, pause_changed_by = session_user, pause_reason FROM payorder.gateways WHERE gateway = 'till';
SELECT payorder.resume_gateway('till', 'ops', 'over'), payorder.resume_gateway('till', 'ops', 'over');
ROLLBACK;

-- currencies: their decimals, as ISO 4217 has them; amounts are in minor units
SELECT currency, exponent FROM payorder.currencies WHERE currency IN ('CNY', 'EUR', 'ISK', 'JPY', 'KRW', 'KWD', 'TND', 'UGX', 'USD', 'VND') ORDER BY 1;
SELECT exponent, count(*) > 0 FROM payorder.currencies GROUP BY 1 ORDER BY 1;
SELECT currency FROM payorder.currencies WHERE currency IN ('XXX', 'XTS', 'XAU', 'BTC');
BEGIN;
SELECT pg_temp.empty();
INSERT INTO payorder.currencies (currency, exponent) VALUES ('XTS', 2);
SELECT state FROM payorder.create_order('o1', 100, 'XTS');
SELECT verdict FROM payorder.ingest('till', 't1', 'pay', 'o1', 100, 'XTS');
ROLLBACK;
