--
-- Room redact: card numbers and verification codes are not in what is stored or
-- shown of a gateway's message; ids and what only looks alike stay.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set signing :inputdir '/sql/include/signing.psql'
\i :signing
\set ECHO none
-- A message with something else in it, signed.
CREATE FUNCTION pg_temp.body(note text, id text DEFAULT '"T-1"', reference text DEFAULT '"A1"') RETURNS text
    LANGUAGE sql AS $$
SELECT format('{"type": "paid", "id": %s, "order": %s, "amount": 100, "currency": "CNY", "note": %s}', id, reference, note)
$$;
CREATE FUNCTION pg_temp.signed(body text) RETURNS jsonb
    LANGUAGE sql AS $$
SELECT jsonb_build_object('X-Signature', encode(pg_temp.hmac('secret', convert_to(body, 'UTF8')), 'hex'))
$$;
-- What is shown of the note.
CREATE FUNCTION pg_temp.kept(note text) RETURNS text
    LANGUAGE sql AS $$
SELECT m.payload -> 'note' FROM pg_temp.body(note) AS body, payorder.decode_http('other', pg_temp.signed(body), convert_to(body, 'UTF8')) AS m
$$;
CREATE FUNCTION pg_temp.luhn(digits text) RETURNS boolean
    LANGUAGE sql AS $$
SELECT sum(CASE WHEN (length(digits) - i) % 2 = 0 THEN d ELSE d * 2 - (CASE WHEN d > 4 THEN 9 ELSE 0 END) END) % 10 = 0
FROM generate_series(1, length(digits)) AS i, CAST(substr(digits, i, 1) AS integer) AS d
$$;
\set ECHO queries
BEGIN;
SELECT pg_temp.empty();
SELECT payorder.add_gateway('other', 'hmac', 'Shop', settings => '{"adapter_settings": {"signature_header": "X-Signature", "encoding": "hex", "event": "type", "events": {"paid": "pay"},
    "txn_id": "id", "order_no": "order", "amount": "amount", "currency": "currency"}}');
SELECT payorder.add_gateway_key('other', secret => pg_temp.secret('secret'));

-- texts: numbers of known test cards, alone and among others, in groups
SELECT note, pg_temp.kept(to_json(note)::text)
FROM unnest(ARRAY['4111111111111111', '4111 1111 1111 1111', '4111-1111-1111-1111', '4111 1111-1111 1111', '378282246310005', '3782 822463 10005', '4222222222222', '6304000000000000', '6011000990139424', '4000000000000000006', '4917610000000000003',
    'card 4111111111111111, thank you', 'x4111111111111111y', '4111111111111111 5500000000000004', '2026-05-01 4111111111111111', '12 4111 1111 1111 1111 34', '1234567890 4111 1111 1111 1111', '(4111111111111111)', '-4111111111111111', '4111111111111111.00',
    'no=4111111111111111&x=1', '订单4111111111111111号', '5105105105105100,5105105105105100']) WITH ORDINALITY AS t (note, n) ORDER BY n;
-- what stays: another last digit, too short, too long, other marks between, part of a longer row
SELECT note, pg_temp.kept(to_json(note)::text) = to_json(note)::text
FROM unnest(ARRAY['4111111111111112', '4111 1111 1111 1112', '422222222222', '2019081522001468450512505578', '4111111111111111000000000000', '00004111111111111111', '41111111111111110000', '4111  1111  1111  1111', '4111_1111_1111_1111', '4111.1111.1111.1111', E'4111\t1111\t1111\t1111',
    '4111--1111-1111-1111', '4111111111', '', '-', '1', '2026-05-01T10:00:00+08:00', '19.90', 'cvv', 'cvv=', 'cvv=12', 'cvv=12345', 'cvv=123a', 'recvv=123', 'cvc_result: 123', 'pcid=123']) WITH ORDINALITY AS t (note, n) ORDER BY n;
-- each length from 12 to 20, with the check digit that is right and with the next
SELECT n, pg_temp.kept(to_json(base || d)::text), pg_temp.kept(to_json(base || (d + 1) % 10)::text) = to_json(base || (d + 1) % 10)::text
FROM generate_series(12, 20) AS n, left('4539578763621486453', n - 1) AS base, generate_series(0, 9) AS d WHERE pg_temp.luhn(base || d) ORDER BY n;

-- numbers and names of members; a number that is masked is a string
SELECT note, pg_temp.kept(note)
FROM unnest(ARRAY['4111111111111111', '-4111111111111111', '4111111111111111.0', '4111111111111112', '4.111111111111111e15', '[4111111111111111, ["4111111111111111"], {"a": {"b": "4111111111111111"}}]', '{"4111111111111111": 1}', '{"cvv": {"4111111111111111": 1}}', 'true', 'null']) WITH ORDINALITY AS t (note, n) ORDER BY n;

-- verification codes by the name of their member, however it is written, whatever the value is
SELECT pg_temp.kept(format('{"%s": "123"}', name))
FROM unnest('{cvv,CVV,Cvc,cvv2,CVC2,cid,CSC,cvn,securityCode,security_code,SECURITY-CODE,"security code",cardSecurityCode,card_security_code,card.cvc,payment.card.securityCode,cardVerificationValue,card_verification_value,verification_code,encryptedSecurityCode}'::text[]) WITH ORDINALITY AS t (name, n) ORDER BY n;
SELECT pg_temp.kept(format('{"cvv": %s}', value)) FROM unnest('{123,"\"\"","null",true,"[1, 2]","{\"a\": 123}","\"1234567\""}'::text[]) WITH ORDINALITY AS t (value, n) ORDER BY n;
-- not by a name that only has one in it
SELECT pg_temp.kept(format('{"%s": "123"}', name)) FROM unnest('{cvcResult,cvvx,acid,code,card,cv,"",.,cvv.,incident,securityCodes}'::text[]) WITH ORDINALITY AS t (name, n) ORDER BY n;
-- inside of a text: a form, JSON, words
SELECT note, pg_temp.kept(to_json(note)::text)
FROM unnest(ARRAY['cvv=123', 'a=1&cvv=123&b=2', 'CVC2:1234', 'cvv: 123', 'the cvc = 123.', '{"card":{"cvc":"123","number":"4111111111111111"}}', '{\"cvv\":\"123\"}', 'card.cvc=737', 'security_code=123;', 'cvv=123cvv=456', 'cvv=4111111111111111']) WITH ORDINALITY AS t (note, n) ORDER BY n;

-- the message's own ids stay, whole, wherever they are; so do they as the columns
SELECT m.txn_id, m.order_no, m.payload -> 'id', m.payload -> 'order', m.payload -> 'note'
FROM pg_temp.body('["4111111111111111", "5105105105105100", "4111111111111111 ", "no 5105105105105100", 4111111111111111, 378282246310005]', '4111111111111111', '"5105105105105100"') AS body,
     payorder.decode_http('other', pg_temp.signed(body), convert_to(body, 'UTF8')) AS m;

-- long ones: every digit a group of its own, nothing but marks, deep
SELECT length(pg_temp.kept(to_json(repeat('1 ', 60000))::text)), length(pg_temp.kept(to_json(repeat('cvv=', 60000))::text)), length(pg_temp.kept(to_json(repeat('4', 250000))::text)), length(pg_temp.kept(to_json('cvv=' || repeat(' ', 250000))::text)), length(pg_temp.kept(to_json(repeat(' ', 120000) || repeat('=', 120000))::text));
SELECT pg_temp.kept(repeat('[', 1000) || '4111111111111111' || repeat(']', 1000)) = repeat('[', 1000) || '"************1111"' || repeat(']', 1000);

-- what is stored, of what is taken and of what is ignored and kept; the digest is that of the message as it came
SELECT pg_temp.took('other', convert_to(body, 'UTF8'), pg_temp.signed(body)) FROM pg_temp.body('{"pan": "4111 1111 1111 1111", "cvv": 123}') AS body;
SELECT c.body ->> 'note', c.body_sha256 = sha256(convert_to(pg_temp.body('{"pan": "4111 1111 1111 1111", "cvv": 123}'), 'UTF8')) FROM payorder.callbacks AS c;
SELECT payorder.alter_gateway('other', '{"keep_ignored": true}');
SELECT pg_temp.took('other', convert_to(body, 'UTF8'), pg_temp.signed(body)) FROM replace(pg_temp.body('{"pan": "4111 1111 1111 1111", "cvv": 123}'), 'paid', 'card 4111111111111111') AS body;
SELECT i.type, i.body FROM payorder.ignored_messages AS i;
SELECT verdict, reason FROM payorder.gateway_messages WHERE verdict = 'ignored';
SELECT count(*), count(*) FILTER (WHERE concat(c, a) ~ '4111 ?1111') FROM payorder.callbacks AS c, payorder.messages_aside AS a;
ROLLBACK;
