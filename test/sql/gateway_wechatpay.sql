--
-- Room gateway: notices of WeChat Pay.  What is signed is in
-- include/wechatpay.psql, written by test/sim/notice_cases.py.
-- Scenarios 14, 15 to 19.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set notices :inputdir '/sql/include/wechatpay.psql'
\i :notices
\set decode :inputdir '/sql/include/decode.psql'
\i :decode
\set signing :inputdir '/sql/include/signing.psql'
\i :signing
SET client_encoding = 'UTF8';
\set ECHO all

BEGIN;
SELECT pg_temp.empty();

-- ---- settings: the appid must be given ----

SELECT pg_temp.error_of($$SELECT payorder.add_gateway('wx', 'wechatpay', '1900000109')$$);
SELECT payorder.add_gateway('wx', 'wechatpay', '1900000109', 'wxd678efh567hg6787');
SELECT pay_id_pattern, time_window, failed_is_final FROM payorder.gateways WHERE gateway = 'wx';
SET test.gateway = 'wx';

-- ---- without a key, then each under its serial; two APIv3 keys at once ----

SELECT pg_temp.say('pay');
SELECT payorder.add_gateway_key('wx', '5157F09EFDC096DE15EBE81A47057A7232F1B8E1', public_key => :'platform_key',
                                valid_from => '2020-01-01');
SELECT pg_temp.say('pay'), pg_temp.say('pay, public key');
SELECT payorder.add_gateway_key('wx', 'now', 'decrypt', secret => pg_temp.secret('a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb'),
                                valid_from => '2020-01-01');
SELECT pg_temp.say('pay'), pg_temp.say('pay, public key'), pg_temp.say('pay, older APIv3 key');
SELECT payorder.add_gateway_key('wx', 'PUB_KEY_ID_0119000001092024071500003', public_key => :'public_key',
                                valid_from => '2020-01-01');
SELECT payorder.add_gateway_key('wx', 'before', 'decrypt', secret => pg_temp.secret('Test-key-of-32-bytes-before-that'),
                                valid_from => '2020-01-01');

-- ---- what each says ----

SELECT name, pg_temp.say(name) FROM notices ORDER BY name COLLATE "C";

-- What is stored of one: the envelope's facts, and the resource as it was.
SELECT d.payload FROM notices AS n, payorder.decode_http('wx', n.headers, n.body, NULL, to_timestamp(1700000000)) AS d
WHERE n.name IN ('pay', 'refund closed', 'complaint', 'pay, odd attach') ORDER BY n.name COLLATE "C";

-- ---- headers ----

-- Names in any case; none may be missing but the type, none empty, none twice.
SELECT name, pg_temp.said('wx', (SELECT jsonb_object_agg(upper(key), value) FROM jsonb_each(headers)), body,
                          to_timestamp(1700000000))
FROM notices WHERE name = 'pay';
SELECT header, pg_temp.say('pay', without => ARRAY[header]),
       pg_temp.say('pay', jsonb_build_object(header, '')),
       pg_temp.say('pay', jsonb_build_object(lower(header), 'x')),
       pg_temp.say('pay', jsonb_build_object(header, jsonb_build_array(n.headers -> header, n.headers -> header)))
FROM unnest(ARRAY['Wechatpay-Timestamp', 'Wechatpay-Nonce', 'Wechatpay-Serial', 'Wechatpay-Signature',
                  'Wechatpay-Signature-Type']) AS header, notices AS n WHERE n.name = 'pay';
-- The algorithm is pinned.
SELECT type, pg_temp.say('pay', jsonb_build_object('Wechatpay-Signature-Type', type))
FROM unnest(ARRAY['WECHATPAY2-SM2-WITH-SM3', 'WECHATPAY2-SHA1-RSA2048', 'wechatpay2-sha256-rsa2048']) AS type;
-- Times are digits.
SELECT written, pg_temp.say('pay', jsonb_build_object('Wechatpay-Timestamp', written))
FROM unnest(ARRAY['+1700000000', '01700000000', '1700000000 ', '1.7e9', '-1700000000', '170000000000',
                  '99999999999999999999']) AS written;
-- Signatures are base64 as it is written, and the right one.
SELECT what, pg_temp.say('pay', jsonb_build_object('Wechatpay-Signature', written))
FROM notices AS n, LATERAL (SELECT n.headers ->> 'Wechatpay-Signature') AS s (signature), LATERAL (VALUES
    ('blank', overlay(signature PLACING ' ' FROM 40 FOR 0)), ('line break', overlay(signature PLACING E'\n' FROM 64 FOR 0)),
    ('no padding', rtrim(signature, '=')), ('more', signature || 'AAAA'), ('cut', left(signature, 340)),
    ('four bytes', 'AAAAAA=='), ('spare bits', regexp_replace(signature, '.==$', 'x==')),
    ('one bit', translate(left(signature, 1), 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
                          'BADCFEHGJILKNMPORQTSVUXWZYbadcfehgjilknmporqtsvuxwzy1032547698/+') || right(signature, -1)),
    ('another notice''s', (SELECT headers ->> 'Wechatpay-Signature' FROM notices WHERE name = 'refund')),
    ('1 MB', repeat('AAAA', 262144))) AS v (what, written)
WHERE n.name = 'pay';
-- So is the nonce.
SELECT pg_temp.say('pay', '{"Wechatpay-Nonce": "dHIkL7oRz1"}'),
       pg_temp.say('pay', jsonb_build_object('Wechatpay-Nonce', repeat('n', 1048576))),
       pg_temp.say('pay', '{"Wechatpay-Nonce": "döner"}'), pg_temp.say('pay', '{"Wechatpay-Nonce": " dHIkL7oRz0"}');

-- ---- probe traffic is known by its signature, whatever else there is (16) ----

SELECT pg_temp.say('pay', '{"Wechatpay-Signature": "WECHATPAY/SIGNTEST/AAAA"}'),
       pg_temp.said('wx', '{"wechatpay-signature": "WECHATPAY/SIGNTEST/"}', '', '2030-01-01');

-- ---- the time window, both ways (17); an unknown serial is one only within it (18) ----

SELECT seconds, pg_temp.say('pay', seconds => seconds), pg_temp.say('unknown serial', seconds => seconds)
FROM unnest(ARRAY[-100000, -301, -300, 0, 300, 301, 100000]) AS seconds;
SELECT payorder.alter_gateway('wx', '{"time_window": "1 hour"}');
SELECT pg_temp.say('an hour later');
SELECT payorder.alter_gateway('wx', '{"time_window": "5 minutes"}');

-- ---- the raw bytes are what is verified (19) ----

SELECT what, pg_temp.say('pay', body => changed)
FROM notices AS n, LATERAL (VALUES
    ('line break', n.body || '\x0a'::bytea), ('blank before', '\x20'::bytea || n.body),
    ('BOM', '\xefbbbf'::bytea || n.body),
    ('written anew', convert_to(convert_from(n.body, 'UTF8')::jsonb::text, 'UTF8')),
    ('escaped', convert_to(replace(convert_from(n.body, 'UTF8'), '支付成功', '\u652f\u4ed8\u6210\u529f'), 'UTF8')),
    ('in GBK', convert_to(convert_from(n.body, 'UTF8'), 'GBK')),
    ('one byte', set_byte(n.body, 20, get_byte(n.body, 20) # 1)), ('cut', substr(n.body, 1, 100)), ('empty', ''::bytea),
    ('another''s', (SELECT body FROM notices WHERE name = 'refund'))) AS v (what, changed)
WHERE n.name = 'pay';

-- ---- keys that ended, or are of another purpose or gateway ----

SELECT payorder.retire_gateway_key('wx', '5157F09EFDC096DE15EBE81A47057A7232F1B8E1', at => '2022-01-01');
SELECT payorder.retire_gateway_key('wx', 'now', 'decrypt', '2022-01-01');
SELECT pg_temp.say('pay'), pg_temp.say('pay, public key'), pg_temp.say('pay, older APIv3 key');

ROLLBACK;
