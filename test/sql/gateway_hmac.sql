--
-- Room gateway, any gateway that signs with HMAC-SHA256: its settings are
-- checked when they are set, then what is taken, and what is refused.
-- Scenarios 15, 16, 17, 18, 19, 69.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set signing :inputdir '/sql/include/signing.psql'
\i :signing
\set ECHO none
-- Settings that are enough, and more of them; null takes one out.
CREATE FUNCTION pg_temp.settings(more jsonb DEFAULT '{}') RETURNS jsonb
    LANGUAGE sql AS $$
SELECT jsonb_build_object('adapter_settings', (SELECT jsonb_object_agg(key, value) FROM jsonb_each(
    '{"signature_header": "X-Signature", "encoding": "hex", "event": "type", "txn_id": "data.id", "order_no": "data.order", "amount": "data.amount", "currency": "data.currency",
      "events": {"paid": "pay", "part": "pay_part", "failed": "pay_failed", "closed": "pay_closed", "authorised": "authorised", "reversed": "pay_reversed"}}' || more)
    WHERE value <> '"-"'))
$$;
CREATE FUNCTION pg_temp.refused(more text) RETURNS text
    LANGUAGE sql AS $$
SELECT pg_temp.error_of(format('SELECT payorder.alter_gateway(''other'', %L)', pg_temp.settings(more::jsonb)))
$$;
-- Headers that sign a body.
CREATE FUNCTION pg_temp.signed(body text, secret text DEFAULT 'first secret') RETURNS jsonb
    LANGUAGE sql AS $$
SELECT jsonb_build_object('X-Signature', encode(pg_temp.hmac(convert_to(secret, 'UTF8'), convert_to(body, 'UTF8')), 'hex'))
$$;
-- What a body is taken for that is signed right.
CREATE FUNCTION pg_temp.says(body text) RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT pg_temp.heard('other', convert_to(body, 'UTF8'), pg_temp.signed(body))
$$;
CREATE FUNCTION pg_temp.set(more jsonb DEFAULT '{}') RETURNS void
    LANGUAGE sql AS $$
SELECT payorder.alter_gateway('other', pg_temp.settings(more))
$$;
CREATE FUNCTION pg_temp.body() RETURNS text LANGUAGE sql AS $$
SELECT '{"type": "paid", "data": {"id": "T-1", "order": "A1", "amount": 100, "currency": "CNY"}}' $$;
\set ECHO queries
BEGIN;
SELECT pg_temp.empty();

-- what must be said
SELECT pg_temp.error_of($$SELECT payorder.add_gateway('other', 'hmac', 'Shop')$$);
SELECT payorder.add_gateway('other', 'hmac', 'Shop', settings => pg_temp.settings());
SELECT s, pg_temp.refused(format('{"%s": "-"}', s)) FROM unnest('{signature_header,encoding,event,events,txn_id,order_no,amount,currency}'::text[]) WITH ORDINALITY AS t (s, n) ORDER BY n;
-- how
SELECT s, pg_temp.refused(s) FROM unnest(ARRAY['{"signature_header": "X Signature"}', '{"signature_header": ""}', '{"signature_header": "X-Signature:"}', '{"signature_header": 1}', '{"encoding": "HEX"}', '{"encoding": null}', '{"prefix": ""}', '{"prefix": 1}',
    '{"txn_id": ""}', '{"txn_id": "."}', '{"txn_id": "a."}', '{"txn_id": ".a"}', '{"txn_id": "a..b"}', '{"txn_id": ["a"]}', '{"events": {}}', '{"events": []}', '{"events": {"paid": "paid"}}', '{"events": {"paid": null}}', '{"events": {"paid": ["pay"]}}',
    '{"amount_format": "cents"}', '{"Prefix": "sha256="}', '{"secret": "x"}', '{"live": true}']) WITH ORDINALITY AS t (s, n) ORDER BY n;
-- a time stamp is signed and read, or neither
SELECT s, pg_temp.refused(s) FROM unnest(ARRAY['{"signed": "body.timestamp"}', '{"signed": 1}', '{"signed": "timestamp.body"}', '{"timestamp_header": "X-Time"}', '{"timestamp_header": "X-Time", "signed": "body"}',
    '{"timestamp_header": "X-Time", "signed": "timestamp.body"}', '{"timestamp_header": "X-Time", "signed": "timestamp:body"}', '{"timestamp_header": "X-Time", "signed": "timestamp\nbody"}', '{"timestamp_header": "X-Time", "signed": "timestampbody"}']) WITH ORDINALITY AS t (s, n) ORDER BY n;
-- a refund and a dispute have ids of their own
SELECT s, pg_temp.refused(s) FROM unnest(ARRAY['{"events": {"back": "refund"}}', '{"events": {"stuck": "refund_stuck"}}', '{"events": {"taken": "chargeback"}}', '{"events": {"lost": "chargeback_lost"}}', '{"refund_id": "data.id"}', '{"refund_id": "data.order"}',
    '{"refund_id": "data.payment", "payment_txn": "data.payment"}', '{"dispute_id": "data.id"}', '{"refund_id": "data.refund", "dispute_id": "data.dispute", "events": {"back": "refund", "taken": "chargeback"}}']) WITH ORDINALITY AS t (s, n) ORDER BY n;

-- the signature, and what else it could be
SELECT pg_temp.set();
-- (what comes before the key is taken when it is added)
SELECT pg_temp.took('other', convert_to(body, 'UTF8'), pg_temp.signed(body)) FROM replace(replace(pg_temp.body(), 'T-1', 'T-0'), 'A1', 'A0') AS body;
SELECT payorder.add_gateway_key('other', '1', secret => pg_temp.secret('first secret'));
SELECT verdict, txn_id FROM payorder.callbacks;
SELECT pg_temp.says(pg_temp.body());
SELECT what, pg_temp.heard('other', convert_to(body, 'UTF8'), headers)
FROM (SELECT pg_temp.signed(pg_temp.body()) ->> 'X-Signature') AS s (sig),
     LATERAL (VALUES (1, 'other case of the name', pg_temp.body(), jsonb_build_object('x-SIGNATURE', sig)), (2, 'other case of the digits', pg_temp.body(), jsonb_build_object('X-Signature', upper(sig))),
              (3, 'no header', pg_temp.body(), '{}'), (4, 'empty', pg_temp.body(), '{"X-Signature": ""}'), (5, 'null', pg_temp.body(), '{"X-Signature": null}'), (6, 'twice', pg_temp.body(), jsonb_build_object('X-Signature', sig, 'x-signature', sig)),
              (7, 'a list of two', pg_temp.body(), jsonb_build_object('X-Signature', jsonb_build_array(sig, sig))), (8, 'a list of one', pg_temp.body(), jsonb_build_object('X-Signature', jsonb_build_array(sig))),
              (9, 'blank', pg_temp.body(), jsonb_build_object('X-Signature', ' ' || sig)), (10, 'short', pg_temp.body(), jsonb_build_object('X-Signature', left(sig, 62))), (11, 'long', pg_temp.body(), jsonb_build_object('X-Signature', sig || '00')),
              (12, 'no digit', pg_temp.body(), jsonb_build_object('X-Signature', 'g' || substr(sig, 2))), (13, 'base64', pg_temp.body(), jsonb_build_object('X-Signature', encode(decode(sig, 'hex'), 'base64'))),
              (14, 'prefix', pg_temp.body(), jsonb_build_object('X-Signature', 'sha256=' || sig)), (15, 'another key', pg_temp.body(), pg_temp.signed(pg_temp.body(), 'first Secret')), (16, 'no key', pg_temp.body(), pg_temp.signed(pg_temp.body(), '')),
              (17, 'line break after', pg_temp.body() || E'\n', jsonb_build_object('X-Signature', sig)), (18, 'written again', replace(pg_temp.body(), ': ', ':'), jsonb_build_object('X-Signature', sig)),
              (19, 'another amount', replace(pg_temp.body(), '100', '1'), jsonb_build_object('X-Signature', sig)), (20, 'no body', '', jsonb_build_object('X-Signature', sig))) AS v (n, what, body, headers)
ORDER BY n;
-- two keys are valid (18)
SELECT payorder.add_gateway_key('other', '2', secret => pg_temp.secret('second secret'));
SELECT pg_temp.heard('other', convert_to(pg_temp.body(), 'UTF8'), pg_temp.signed(pg_temp.body(), s)) FROM unnest('{first secret,second secret,third secret}'::text[]) AS s;
SELECT payorder.retire_gateway_key('other', '2');
SELECT pg_temp.heard('other', convert_to(pg_temp.body(), 'UTF8'), pg_temp.signed(pg_temp.body(), 'second secret'));
-- with a prefix, in base64
SELECT pg_temp.set('{"prefix": "sha256=", "encoding": "base64"}');
SELECT v, pg_temp.heard('other', convert_to(pg_temp.body(), 'UTF8'), jsonb_build_object('X-Signature', replace(replace(v, 'SIG', sig), 'CUT', rtrim(sig, '='))))
FROM (SELECT encode(decode(pg_temp.signed(pg_temp.body()) ->> 'X-Signature', 'hex'), 'base64')) AS s (sig), unnest('{sha256=SIG,SIG,SHA256=SIG,sha1=SIG,sha256=CUT,"sha256= SIG","sha256=SIG ",sha256=,sha256=SIGSIG}'::text[]) WITH ORDINALITY AS t (v, n) ORDER BY n;

-- a time stamp that is signed: each form, and the window both ways, at its ends too (17)
\set at '2026-05-01 10:00:00+00'
CREATE FUNCTION pg_temp.timed(body text, form text, stamp text) RETURNS jsonb LANGUAGE sql AS $$
SELECT pg_temp.signed(replace(replace(form, 'timestamp', stamp), 'body', body)) || jsonb_build_object('X-Time', stamp) $$;
SELECT form, pg_temp.set(jsonb_build_object('timestamp_header', 'x-time', 'signed', form)), pg_temp.heard('other', convert_to(pg_temp.body(), 'UTF8'), pg_temp.timed(pg_temp.body(), form, '1777629600'), :'at'),
       pg_temp.heard('other', convert_to(pg_temp.body(), 'UTF8'), pg_temp.timed(pg_temp.body(), 'body', '1777629600'), :'at')
FROM unnest(ARRAY['timestamp.body', 'timestamp:body', E'timestamp\nbody', 'timestampbody']) WITH ORDINALITY AS t (form, n) ORDER BY n;
SELECT pg_temp.set('{"timestamp_header": "X-Time", "signed": "timestamp.body"}');
SELECT stamp, pg_temp.heard('other', convert_to(pg_temp.body(), 'UTF8'), pg_temp.timed(pg_temp.body(), 'timestamp.body', stamp), :'at')
FROM unnest(ARRAY['1777629300', '1777629299', '1777629900', '1777629901', '0', '', ' 1777629600', '1777629600 ', '+1777629600', '-1', '1777629600.0', '1777629600000', '2026-05-01T10:00:00Z', '99999999999']) WITH ORDINALITY AS t (stamp, n) ORDER BY n;
SELECT pg_temp.heard('other', convert_to(pg_temp.body(), 'UTF8'), pg_temp.timed(pg_temp.body(), 'timestamp.body', '1777629600') || '{"X-Time": "1777629601"}', :'at'),
       pg_temp.heard('other', convert_to(pg_temp.body(), 'UTF8'), pg_temp.timed(pg_temp.body(), 'timestamp.body', '1777629600') - 'X-Time', :'at');

-- what each word is taken for
SELECT pg_temp.set('{"refund_id": "data.refund", "refund_no": "data.refund_no", "refund_amount": "data.back", "dispute_id": "data.dispute.id", "dispute_amount": "data.dispute.amount", "occurred_at": "at",
    "events": {"paid": "pay", "part": "pay_part", "failed": "pay_failed", "closed": "pay_closed", "authorised": "authorised", "reversed": "pay_reversed", "back": "refund", "back_failed": "refund_failed", "back_stuck": "refund_stuck",
               "taken": "chargeback", "won": "chargeback_reversed", "lost": "chargeback_lost", "1": "pay", "true": "pay", "": "pay"}}');
SELECT word, pg_temp.says(format('{"type": %s, "at": "2026-05-01T10:00:00Z", "data": {"id": "T-1", "order": "A1", "amount": 100, "currency": "CNY", "refund": "R-1", "refund_no": "RF000001", "back": 30, "dispute": {"id": "D-1", "amount": 40}}}', word))
FROM unnest(ARRAY['"paid"', '"part"', '"failed"', '"closed"', '"authorised"', '"reversed"', '"back"', '"back_failed"', '"back_stuck"', '"taken"', '"won"', '"lost"', '1', 'true', '""', '"Paid"', '"refund"', 'null', '{}', '[]', '1.0']) WITH ORDINALITY AS t (word, n) ORDER BY n;
-- what a fact needs: without an id of its own it is none; an attempt's end may have the order's
SELECT word, pg_temp.says(format('{"type": "%s", "data": {"order": "A1", "amount": 100, "currency": "CNY"}}', word))
FROM unnest('{paid,failed,closed,authorised,reversed,back,taken,lost}'::text[]) WITH ORDINALITY AS t (word, n) ORDER BY n;
-- ids as they are written: strings, and numbers without point or exponent
SELECT id, pg_temp.says(format('{"type": "paid", "data": {"id": %s, "order": 12345678901234567890123456789012345, "amount": 100, "currency": "cny"}}', id))
FROM unnest(ARRAY['"T"', '7', '00', '12345678901234567890', '-7', '7.0', '7e1', 'true', '{}', '[]', '""', 'null', '"a\u0001"', '"a\nb"', format('"%s"', repeat('x', 128)), format('"%s"', repeat('x', 129)), repeat('9', 129)]) WITH ORDINALITY AS t (id, n) ORDER BY n;
-- amounts, in minor units and as decimals, by the gateway's exponents
SELECT format, amount, currency, pg_temp.set(jsonb_build_object('amount_format', format)), pg_temp.says(format('{"type": "paid", "data": {"id": "T", "order": "A1", "amount": %s, "currency": %s}}', amount, currency))
FROM (VALUES (1, 'minor', '100', '"EUR"'), (2, 'minor', '"100"', '"EUR"'), (3, 'minor', '100.0', '"EUR"'), (4, 'minor', '1e2', '"EUR"'), (5, 'minor', '"1,00"', '"EUR"'), (6, 'minor', '" 100"', '"EUR"'), (7, 'minor', 'true', '"EUR"'),
             (8, 'minor', '[100]', '"EUR"'), (9, 'minor', 'null', '"EUR"'), (10, 'minor', '-5', '"EUR"'), (11, 'minor', '9223372036854775808', '"EUR"'), (12, 'minor', '100', 'null'), (13, 'minor', '100', '"EURO"'), (14, 'minor', '100', '978'),
             (15, 'decimal', '"19.90"', '"EUR"'), (16, 'decimal', '19.90', '"EUR"'), (17, 'decimal', '19.9', '"EUR"'), (18, 'decimal', '"19"', '"EUR"'), (19, 'decimal', '19.901', '"EUR"'), (20, 'decimal', '"100.5"', '"JPY"'), (21, 'decimal', '"1.234"', '"KWD"'),
             (22, 'decimal', '1.99e1', '"EUR"'), (23, 'decimal', '"1,234.00"', '"EUR"'), (24, 'decimal', '"NaN"', '"EUR"'), (25, 'decimal', '"19.90"', 'null'), (26, 'decimal', '"19.90"', '"XXX"'), (27, 'decimal', '"92233720368547758.08"', '"EUR"'), (28, 'decimal', '{}', '"EUR"')) AS t (n, format, amount, currency)
ORDER BY n;
-- one after the other, so that the settings are those of the row
SELECT pg_temp.set('{"amount_format": "decimal", "refund_id": "data.refund", "events": {"back": "refund"}}'), payorder.alter_gateway('other', '{"exponents": {"HUF": 0}}');
SELECT amount, pg_temp.says(format('{"type": "back", "data": {"id": "T", "refund": "R", "amount": "%s", "currency": "HUF"}}', amount)) FROM unnest('{7,7.5,7.00}'::text[]) WITH ORDINALITY AS t (amount, n) ORDER BY n;

-- merchant, app and mode, where their paths are named (15)
SELECT pg_temp.set('{"merchant": "shop.id", "app": "shop.app", "live": "live"}');
SELECT shop, pg_temp.says(format('{"type": "paid", %s, "data": {"id": "T", "order": "A1", "amount": 100, "currency": "CNY"}}', shop))
FROM unnest(ARRAY['"live": true, "shop": {"id": "Shop", "app": ""}', '"live": "true", "shop": {"id": "Shop", "app": ""}', '"live": false, "shop": {"id": "Shop", "app": ""}', '"live": null, "shop": {"id": "Shop", "app": ""}', '"live": true, "shop": {"id": "shop", "app": ""}',
    '"live": true, "shop": {"id": ["Shop"], "app": ""}', '"live": true, "shop": {"app": ""}', '"live": true, "shop": {"id": "Shop", "app": "x"}', '"live": true, "shop": {"id": "Shop"}', '"live": true, "shop": "Shop"']) WITH ORDINALITY AS t (shop, n) ORDER BY n;
SELECT pg_temp.set();

-- what is no message
SELECT body, pg_temp.says(body) FROM unnest(ARRAY['', 'null', '[]', '"paid"', '{}', '{"type": "paid"}', '{"type": "paid", "data": []}', '{"type": "paid", "type": "paid", "data": {"id": "T", "order": "A1", "amount": 100, "currency": "CNY"}}',
    '{"type": "paid", "data": {"id": "T", "order": "A1", "amount": 1, "amount": 100, "currency": "CNY"}}', '{"type": "paid"', 'type=paid', '{"type": "\u0000"}', '{"data.id": "T", "type": "paid"}']) WITH ORDINALITY AS t (body, n) ORDER BY n;
SELECT pg_temp.says(repeat('{"a":', 50000) || '1' || repeat('}', 50000));
SELECT pg_temp.says('{' || string_agg(format('"k%s": 1', n), ',') || '}') FROM generate_series(1, 5001) AS n;

-- and it pays
SELECT pg_temp.new_order('A1');
SELECT pg_temp.took('other', convert_to(pg_temp.body(), 'UTF8'), pg_temp.signed(pg_temp.body())) FROM generate_series(1, 2);
SELECT pg_temp.took('other', convert_to(pg_temp.body(), 'UTF8'), pg_temp.signed('x'));
SELECT order_no, state FROM payorder.orders;
ROLLBACK;
