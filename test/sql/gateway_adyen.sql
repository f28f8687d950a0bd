--
-- Room gateway, Adyen: what is taken of its webhooks and for what, what is
-- refused, and that one bad item of three undoes nothing of the others.
-- Scenarios 15, 16, 18, 19, 69.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set signing :inputdir '/sql/include/signing.psql'
\i :signing
\set ECHO none
-- An item, signed; "also" is what it has besides, or instead.
CREATE FUNCTION pg_temp.item(code text, success text DEFAULT 'true', psp text DEFAULT '8815000000000001',
                             original text DEFAULT NULL, reference text DEFAULT 'A1', value text DEFAULT '100',
                             currency text DEFAULT 'CNY', also jsonb DEFAULT '{}', account text DEFAULT 'Shop',
                             key text DEFAULT '44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056')
    RETURNS jsonb
    LANGUAGE sql AS $$
SELECT jsonb_build_object('NotificationRequestItem', jsonb_strip_nulls(jsonb_build_object(
    'pspReference', psp, 'originalReference', original, 'merchantAccountCode', account,
    'merchantReference', reference, 'amount', jsonb_build_object('value', value::jsonb, 'currency', currency),
    'eventCode', code, 'success', success, 'eventDate', '2026-05-01T10:00:00+02:00',
    'additionalData', jsonb_build_object('hmacSignature', encode(pg_temp.hmac(decode(key, 'hex'),
        convert_to(concat_ws(':', psp, coalesce(original, ''), account, reference, trim(value, '"'), currency, code, success), 'UTF8')), 'base64'))
        || coalesce(also -> 'additionalData', '{}'))) || (also - 'additionalData'))
$$;
CREATE FUNCTION pg_temp.post(VARIADIC items jsonb[]) RETURNS bytea
    LANGUAGE sql AS $$
SELECT convert_to(jsonb_build_object('live', 'false', 'notificationItems', items)::text, 'UTF8')
$$;
-- An item with another value at a path; NULL takes it out.
CREATE FUNCTION pg_temp.but(item jsonb, path text, value text) RETURNS jsonb
    LANGUAGE sql AS $$
SELECT CASE WHEN value IS NULL THEN item #- p ELSE jsonb_set(item, p, value::jsonb) END
FROM CAST('{NotificationRequestItem,' || path || '}' AS text[]) AS p
$$;
\set key 44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056
\set other 00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF
\set ECHO queries
BEGIN;
SELECT pg_temp.empty();

-- how the account captures must be said, and no setting is mistyped in silence
SELECT settings, pg_temp.error_of(format('SELECT payorder.add_gateway(''ady'', ''adyen'', ''Shop'', settings => %L)', settings))
FROM unnest(ARRAY['{}', '{"capture_mode": null}', '{"capture_mode": "later"}',
    '{"capture_mode": "manual", "adapter_settings": {"captures": "two"}}',
    '{"capture_mode": "manual", "adapter_settings": {"captures": 2}}',
    '{"capture_mode": "manual", "adapter_settings": {"Captures": "single"}}',
    '{"capture_mode": "auto", "adapter_settings": {"captures": "multiple"}}']) WITH ORDINALITY AS t (settings, n) ORDER BY n;
SELECT payorder.add_gateway('auto', 'adyen', 'Shop', settings => '{"mode": "test", "capture_mode": "auto"}');
SELECT payorder.add_gateway('manual', 'adyen', 'Shop', 'manual', '{"mode": "test", "capture_mode": "manual", "adapter_settings": {"captures": "single"}}');
SELECT payorder.add_gateway('parts', 'adyen', 'Shop', 'parts', '{"mode": "test", "capture_mode": "manual", "adapter_settings": {"captures": "multiple"}}');
SELECT pg_temp.error_of($$SELECT payorder.alter_gateway('auto', '{"capture_mode": null}')$$);

-- no key yet: kept for when it is added
SELECT pg_temp.took('auto', pg_temp.post(pg_temp.item('AUTHORISATION', psp => 'EARLY', reference => 'Z9')));
SELECT payorder.add_gateway_key(g, 'one', secret => pg_temp.secret(:'key')) FROM unnest('{auto,manual,parts}'::text[]) AS g;

-- the vector of Adyen's own library
SELECT payorder.add_gateway('vector', 'adyen', 'TestMerchant', settings => '{"mode": "test", "capture_mode": "auto"}');
SELECT payorder.add_gateway_key('vector', 'one', secret => pg_temp.secret(:'key'));
SELECT pg_temp.heard('vector', '{"live": "false", "notificationItems": [{"NotificationRequestItem": {
    "additionalData": {"hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="}, "amount": {"value": 1130, "currency": "EUR"},
    "pspReference": "7914073381342284", "eventCode": "AUTHORISATION", "eventDate": "2014-08-06T17:15:34.121+02:00",
    "merchantAccountCode": "TestMerchant", "merchantReference": "TestPayment-1407325143704", "success": "true"}}]}');

-- what each message is taken for, by how the account captures
SELECT concat_ws(' ', code, success, action), g.gateway, m
FROM (VALUES (1, 'AUTHORISATION', 'true', NULL), (2, 'AUTHORISATION', 'false', NULL), (3, 'CAPTURE', 'true', NULL), (4, 'CAPTURE', 'false', NULL),
             (5, 'CAPTURE_FAILED', 'true', NULL), (6, 'CAPTURE_FAILED', 'false', NULL), (7, 'CANCELLATION', 'true', NULL), (8, 'CANCELLATION', 'false', NULL),
             (9, 'OFFER_CLOSED', 'true', NULL), (10, 'TECHNICAL_CANCEL', 'true', NULL), (11, 'CANCEL_OR_REFUND', 'true', 'cancel'),
             (12, 'CANCEL_OR_REFUND', 'true', 'refund'), (13, 'CANCEL_OR_REFUND', 'false', 'refund'), (14, 'CANCEL_OR_REFUND', 'false', 'cancel'),
             (15, 'CANCEL_OR_REFUND', 'true', NULL), (16, 'REFUND', 'true', NULL), (17, 'REFUND', 'false', NULL), (18, 'REFUND_FAILED', 'true', NULL),
             (19, 'REFUNDED_REVERSED', 'true', NULL), (20, 'CHARGEBACK', 'true', NULL), (21, 'SECOND_CHARGEBACK', 'true', NULL),
             (22, 'CHARGEBACK_REVERSED', 'true', NULL), (23, 'CHARGEBACK', 'false', NULL)) AS t (n, code, success, action),
     unnest('{auto,manual,parts}'::text[]) AS g (gateway),
     pg_temp.heard(g.gateway, pg_temp.post(pg_temp.item(code, success, 'PSP', 'ORIG', also =>
         CASE WHEN action IS NULL THEN '{}' ELSE jsonb_build_object('additionalData', jsonb_build_object('modification.action', action)) END))) WITH ORDINALITY AS m (m, nth)
ORDER BY n, g.gateway, nth;
-- without the payment's reference
SELECT code, g.gateway, m
FROM unnest('{AUTHORISATION,CAPTURE,CAPTURE_FAILED,CANCELLATION,OFFER_CLOSED,REFUND,CHARGEBACK}'::text[]) WITH ORDINALITY AS t (code, n),
     unnest('{auto,manual,parts}'::text[]) AS g (gateway), pg_temp.heard(g.gateway, pg_temp.post(pg_temp.item(code, psp => 'PSP'))) WITH ORDINALITY AS m (m, nth)
ORDER BY n, g.gateway, nth;
-- what is not listed moves nothing; some of it a person should see
SELECT pg_temp.heard('auto', pg_temp.post(pg_temp.item(code)))
FROM unnest('{REPORT_AVAILABLE,NOTIFICATION_OF_CHARGEBACK,NOTIFICATION_OF_FRAUD,REQUEST_FOR_INFORMATION,PREARBITRATION_WON,PREARBITRATION_LOST,ORDER_CLOSED,authorisation,REFUNDED,pay}'::text[]) WITH ORDINALITY AS t (code, n) ORDER BY n;

-- every signed field, changed, is another message (16, 19); what is not signed is none
SELECT path, pg_temp.heard('auto', pg_temp.post(pg_temp.but(pg_temp.item('REFUND', original => 'ORIG'), path, value)))
FROM (VALUES (1, 'pspReference', '"8815000000000002"'), (2, 'originalReference', '"ORIg"'), (3, 'originalReference', NULL), (4, 'merchantAccountCode', '"Shop2"'),
             (5, 'merchantReference', '"A2"'), (6, 'merchantReference', '"A1 "'), (7, 'amount,value', '99'), (8, 'amount,value', '100.0'), (9, 'amount,currency', '"EUR"'), (10, 'amount', NULL),
             (11, 'eventCode', '"CHARGEBACK"'), (12, 'success', '"false"'), (13, 'success', NULL), (14, 'eventDate', '"2026-05-01T11:00:00+02:00"'), (15, 'operations', '["REFUND"]')) AS t (n, path, value)
ORDER BY n;
-- the signature: 32 bytes in base64 as an encoder writes it, in its place
SELECT what, pg_temp.heard('auto', pg_temp.post(pg_temp.but(i, 'additionalData' || coalesce(place, ''), to_jsonb(value)::text)))
FROM (SELECT pg_temp.item('AUTHORISATION')) AS t (i), LATERAL (SELECT i #>> '{NotificationRequestItem,additionalData,hmacSignature}') AS s (sig),
     LATERAL (VALUES (1, 'right', ',hmacSignature', sig), (2, 'blank before', ',hmacSignature', ' ' || sig), (3, 'blank after', ',hmacSignature', sig || ' '), (4, 'line break', ',hmacSignature', sig || E'\n'),
              (5, 'no padding', ',hmacSignature', rtrim(sig, '=')), (6, 'other alphabet', ',hmacSignature', translate(sig, '+/', '-_') || '_'), (7, 'twice', ',hmacSignature', sig || sig),
              (8, 'short', ',hmacSignature', left(sig, 40)), (9, 'empty', ',hmacSignature', ''), (10, 'none', ',hmacSignature', NULL), (11, 'no additionalData', NULL, NULL), (12, 'additionalData is text', NULL, sig),
              (13, 'hex', ',hmacSignature', encode(decode(sig, 'base64'), 'hex')), (14, 'one bit', ',hmacSignature', encode(set_bit(decode(sig, 'base64'), 0, 1 - get_bit(decode(sig, 'base64'), 0)), 'base64'))) AS v (n, what, place, value)
ORDER BY n;
-- two keys are valid, then one (18)
SELECT pg_temp.heard('auto', pg_temp.post(pg_temp.item('AUTHORISATION', key => :'other')));
SELECT payorder.add_gateway_key('auto', 'two', secret => pg_temp.secret(:'other'));
SELECT pg_temp.heard('auto', pg_temp.post(pg_temp.item('AUTHORISATION', key => :'other'), pg_temp.item('AUTHORISATION')));
SELECT payorder.retire_gateway_key('auto', 'two');
SELECT pg_temp.heard('auto', pg_temp.post(pg_temp.item('AUTHORISATION', key => :'other'), pg_temp.item('AUTHORISATION')));

-- a colon in a signed field could stand for the next field: refused, though signed; a backslash can't
SELECT what, pg_temp.heard('auto', pg_temp.post(item))
FROM (VALUES (1, 'psp', pg_temp.item('REFUND', psp => 'A:B', original => 'C')), (2, 'the same bytes', pg_temp.item('REFUND', psp => 'A', original => 'B:C')),
             (3, 'reference', pg_temp.item('REFUND', reference => 'A:1')), (4, 'code', pg_temp.item('REFUND:true')), (5, 'currency', pg_temp.item('REFUND', currency => 'CNY:x')),
             (6, 'backslash', pg_temp.item('REFUND', reference => 'A\1')), (7, 'account', pg_temp.item('REFUND', account => 'Shop:A1', reference => '')), (8, 'beyond ASCII', pg_temp.item('AUTHORISATION', reference => '订单-1'))) AS t (n, what, item)
ORDER BY n;

-- another account, another mode (15); "live" is not signed, and still is looked at
SELECT pg_temp.heard('auto', pg_temp.post(pg_temp.item('AUTHORISATION', account => 'shop'), pg_temp.item('AUTHORISATION', account => '')));
SELECT live, pg_temp.heard('auto', convert_to(jsonb_build_object('live', live, 'notificationItems', jsonb_build_array(pg_temp.item('AUTHORISATION')))::text, 'UTF8'))
FROM unnest('{"\"false\"",false,"\"true\"",true,"\"False\"","\"\"",0,null,"{}"}'::jsonb[]) WITH ORDINALITY AS t (live, n) ORDER BY n;
SELECT payorder.alter_gateway('auto', '{"mode": "live"}');
SELECT pg_temp.heard('auto', pg_temp.post(pg_temp.item('AUTHORISATION')));
SELECT payorder.alter_gateway('auto', '{"mode": "test"}');

-- what is no message at all
SELECT body, pg_temp.heard('auto', convert_to(body, 'UTF8'))
FROM unnest(ARRAY['', ' ', 'null', '[]', '{}', '"x"', '{"live": "false"}', '{"live": "false", "notificationItems": []}', '{"live": "false", "notificationItems": {}}',
    '{"live": "false", "notificationItems": "x"}', '{"live": "false", "live": "false", "notificationItems": [{}]}', '{"live": "false", "notificationItems": [{}], "notificationItems": [{}]}',
    '{"live": "false", "notificationItems": [{"NotificationRequestItem": {"success": "true", "success": "false"}}]}', '{"live": "false", "notificationItems": [{}]} x', 'live=false&eventCode=AUTHORISATION',
    '{"live": "false", "notificationItems": [{}', '{"live": "false", "notificationItems": [{"a": "\u0000"}]}']) WITH ORDINALITY AS t (body, n) ORDER BY n;
SELECT pg_temp.heard('auto', '\x7b226c697665223a2266616c7365ff227d'), pg_temp.heard('auto', '\x7b226c697665223a2266616c736500227d');
-- items that are none: each is rejected alone
SELECT pg_temp.heard('auto', pg_temp.post('{}', 'null', '1', '"x"', '[]', '{"NotificationRequestItem": null}', '{"NotificationRequestItem": []}', '{"NotificationRequestItem": "x"}', '{"NotificationRequestItem": {}}',
    '{"NotificationRequestItem": {"pspReference": {"a": "b"}}}', pg_temp.item('AUTHORISATION')));
-- so deep, so many
SELECT pg_temp.heard('auto', convert_to(repeat('[', 100000) || repeat(']', 100000), 'UTF8'));
SELECT count(*), count(*) FILTER (WHERE h = 'rejected body') FROM pg_temp.heard('auto', convert_to('{"live": "false", "notificationItems": [{}' || repeat(',{}', 999) || ']}', 'UTF8')) AS h;
SELECT pg_temp.heard('auto', convert_to('{"live": "false", "notificationItems": [{}' || repeat(',{}', 1000) || ']}', 'UTF8'));
SELECT pg_temp.heard('auto', convert_to('{"live":"false","notificationItems":[1' || repeat(',1', 99999) || ']}', 'UTF8'));
SELECT pg_temp.heard('auto', convert_to('{"live": "false", "notificationItems": [' || repeat(' ', 262144) || '{}]}', 'UTF8'));

-- booleans for the words true and false; other words; an id that is none; times that are none
SELECT what, pg_temp.heard('auto', pg_temp.post(item))
FROM (VALUES (1, 'true', pg_temp.but(pg_temp.item('AUTHORISATION'), 'success', 'true')), (2, 'false', pg_temp.but(pg_temp.item('AUTHORISATION', 'false'), 'success', 'false')),
             (3, 'TRUE', pg_temp.item('AUTHORISATION', 'TRUE')), (4, 'empty', pg_temp.item('AUTHORISATION', '')), (5, '1', pg_temp.but(pg_temp.item('AUTHORISATION', '1'), 'success', '1')),
             (6, 'number', pg_temp.but(pg_temp.item('AUTHORISATION', psp => '12'), 'pspReference', '12')), (7, '128', pg_temp.item('CHARGEBACK', psp => repeat('P', 128))),
             (8, '129', pg_temp.item('CHARGEBACK', psp => repeat('P', 129))), (9, ':2 is too long', pg_temp.item('SECOND_CHARGEBACK', psp => repeat('P', 127))), (10, 'control', pg_temp.item('CHARGEBACK', psp => E'P\t')),
             (11, 'no id', pg_temp.item('CHARGEBACK', psp => '')), (12, 'no code', pg_temp.item('')), (13, 'no date', pg_temp.but(pg_temp.item('AUTHORISATION'), 'eventDate', NULL)),
             (14, 'date', pg_temp.but(pg_temp.item('AUTHORISATION'), 'eventDate', '"2026-02-30T00:00:00Z"')), (15, 'date', pg_temp.but(pg_temp.item('AUTHORISATION'), 'eventDate', '"yesterday"'))) AS t (n, what, item)
ORDER BY n;

-- amounts as they are signed, by Adyen's own decimals; none but a whole number is one
SELECT value, currency, pg_temp.heard('auto', pg_temp.post(pg_temp.item('AUTHORISATION', value => value, currency => currency)))
FROM (VALUES (1, '100', 'EUR'), (2, '100', 'JPY'), (3, '1000', 'KWD'), (4, '1000', 'ISK'), (5, '1005', 'ISK'), (6, '7', 'IDR'), (7, '100', 'CLP'), (8, '7', 'CVE'), (9, '9223372036854775807', 'IDR'),
             (10, '9223372036854775807', 'EUR'), (11, '9223372036854775808', 'EUR'), (12, '99999999999999999999999999999999999999999', 'EUR'), (13, '0', 'EUR'), (14, '-5', 'EUR'), (15, '100.5', 'EUR'), (16, '"100"', 'EUR'),
             (17, '100', 'eur'), (18, '100', 'XXX'), (19, '100', '')) AS t (n, value, currency)
ORDER BY n;
SELECT pg_temp.heard('auto', convert_to(replace(convert_from(pg_temp.post(pg_temp.item('AUTHORISATION')), 'UTF8'), '"value": 100', '"value": ' || value), 'UTF8'))
FROM unnest('{100,1e2,1E2,100.0,0100}'::text[]) WITH ORDINALITY AS t (value, n) ORDER BY n;

-- three items, one of them bad: two verdicts stand, the whole is not acknowledged; then all three are right
SELECT pg_temp.new_order('A' || n) FROM generate_series(1, 3) AS n;
SELECT pg_temp.took('auto', pg_temp.post(pg_temp.item('AUTHORISATION', psp => 'P1'), pg_temp.item('AUTHORISATION', psp => 'P2', reference => 'A2', key => :'other'), pg_temp.item('AUTHORISATION', psp => 'P3', reference => 'A3')));
SELECT order_no, state FROM payorder.orders ORDER BY order_no;
SELECT pg_temp.took('auto', pg_temp.post(pg_temp.item('AUTHORISATION', psp => 'P1'), pg_temp.item('AUTHORISATION', psp => 'P2', reference => 'A2'), pg_temp.item('AUTHORISATION', psp => 'P3', reference => 'A3')));
SELECT pg_temp.took('auto', pg_temp.post(pg_temp.item('AUTHORISATION', psp => 'P1'), pg_temp.item('REPORT_AVAILABLE', psp => 'P9')));
SELECT order_no, state FROM payorder.orders ORDER BY order_no;
SELECT verdict, reason, messages FROM payorder.gateway_messages WHERE gateway = 'auto' ORDER BY 1, 2;

-- a refund of ours is known by its number, one of another's is external; it fails later; a dispute is lost and won
SELECT state FROM payorder.request_refund('RF000001', 'A1', 30);
SELECT pg_temp.took('auto', pg_temp.post(pg_temp.item('REFUND', psp => 'R1', original => 'P1', reference => 'RF000001', value => '30'), pg_temp.item('REFUND', psp => 'R2', original => 'P1', value => '20'),
    pg_temp.item('REFUND', psp => 'R3', original => 'P1', value => '10')));
SELECT pg_temp.took('auto', pg_temp.post(pg_temp.item('REFUND_FAILED', psp => 'R1', original => 'P1', reference => 'RF000001', value => '30'), pg_temp.item('CHARGEBACK', psp => 'D1', original => 'P1', value => '40'),
    pg_temp.item('CHARGEBACK_REVERSED', psp => 'D1', original => 'P1', value => '40'), pg_temp.item('SECOND_CHARGEBACK', psp => 'D1', original => 'P1', value => '40')));
SELECT kept, owed, returned, disputed FROM payorder.payments WHERE txn_id = 'P1';

-- a capture that fails after it was accepted, before and after its payment is known: either way the order is not left paid
SELECT pg_temp.new_order('B' || n) FROM generate_series(1, 4) AS n;
SELECT count(payment_no) FROM generate_series(1, 4) AS n, payorder.begin_payment('B' || n, 'manual');
CREATE FUNCTION pg_temp.no(order_no text) RETURNS text LANGUAGE sql AS 'SELECT payment_no FROM payorder.attempts WHERE order_no = $1';
SELECT pg_temp.took('manual', pg_temp.post(pg_temp.item('AUTHORISATION', psp => 'Q1', reference => pg_temp.no('B1'))));
SELECT pg_temp.took('manual', pg_temp.post(pg_temp.item('CAPTURE', psp => 'C1', original => 'Q1', reference => pg_temp.no('B1'))));
SELECT pg_temp.took('manual', pg_temp.post(pg_temp.item('CAPTURE_FAILED', psp => 'C1', original => 'Q1', reference => pg_temp.no('B1'))));
SELECT pg_temp.took('manual', pg_temp.post(pg_temp.item('CAPTURE_FAILED', psp => 'C2', original => 'Q2', reference => pg_temp.no('B2'))));
SELECT pg_temp.took('manual', pg_temp.post(pg_temp.item('CAPTURE', psp => 'C2', original => 'Q2', reference => pg_temp.no('B2'))));
SELECT o.order_no, o.state, o.frozen, o.paid_amount, a.state FROM payorder.orders AS o JOIN payorder.attempts AS a USING (order_no) WHERE o.order_no LIKE 'B%' ORDER BY 1;
-- one that was refused undoes nothing of another that was accepted, whichever is heard first
SELECT pg_temp.took('manual', pg_temp.post(pg_temp.item('CAPTURE', 'false', psp => 'C3', original => 'Q3', reference => pg_temp.no('B3'))));
SELECT pg_temp.took('manual', pg_temp.post(pg_temp.item('CAPTURE', psp => 'C4', original => 'Q3', reference => pg_temp.no('B3'))));
SELECT pg_temp.took('manual', pg_temp.post(pg_temp.item('CAPTURE', psp => 'C6', original => 'Q4', reference => pg_temp.no('B4')), pg_temp.item('CAPTURE', 'false', psp => 'C5', original => 'Q4', reference => pg_temp.no('B4'))));
SELECT o.order_no, o.state, o.frozen, o.paid_amount, a.state FROM payorder.orders AS o JOIN payorder.attempts AS a USING (order_no) WHERE o.order_no LIKE 'B%' ORDER BY 1;

-- captures in parts: payments of their own; refunds find theirs by their number
SELECT pg_temp.define_parts();
SELECT pg_temp.new_order('C1', 100, 'parts');
SELECT pg_temp.took('parts', pg_temp.post(pg_temp.item('CAPTURE', psp => 'K1', original => 'Q9', reference => 'C1', value => '40'), pg_temp.item('CAPTURE', psp => 'K2', original => 'Q9', reference => 'C1', value => '60')));
SELECT state FROM payorder.request_refund('RF000002', 'C1', 10, payment => 'K2');
SELECT pg_temp.took('parts', pg_temp.post(pg_temp.item('REFUND', psp => 'R9', original => 'Q9', reference => 'RF000002', value => '10'), pg_temp.item('REFUND', psp => 'R8', original => 'Q9', reference => 'C1', value => '10')));
SELECT pg_temp.took('parts', pg_temp.post(pg_temp.item('CAPTURE_FAILED', psp => 'K1', original => 'Q9', reference => 'C1', value => '40')));
SELECT txn_id, event, amount, kept, returned, undone FROM payorder.payments WHERE gateway = 'parts' ORDER BY txn_id;
SELECT invariant, subject, detail FROM payorder.check_invariants();

-- card numbers are not kept, Adyen's references of 16 digits are
SELECT pg_temp.took('auto', pg_temp.post(pg_temp.item('AUTHORISATION', psp => '8816178914079737', reference => 'D1', also => '{"additionalData": {"cardNumber": "4111 1111 1111 1111", "cvcResult": "1 Matches", "card.cvc": "737", "cardSummary": "1111"}}')));
SELECT body -> 'pspReference', body -> 'additionalData' ->> 'cardNumber', body -> 'additionalData' ->> 'cvcResult', body -> 'additionalData' ->> 'card.cvc', body -> 'additionalData' ->> 'cardSummary', octet_length(body_sha256)
FROM payorder.callbacks WHERE txn_id = '8816178914079737';
ROLLBACK;
