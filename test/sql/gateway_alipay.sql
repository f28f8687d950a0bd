--
-- Room gateway: notices of Alipay.  What is signed is in include/alipay.psql,
-- written by test/sim/notice_cases.py.
-- Scenarios 14, 15 to 20.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set notices :inputdir '/sql/include/alipay.psql'
\i :notices
\set decode :inputdir '/sql/include/decode.psql'
\i :decode
SET client_encoding = 'UTF8';
\set ECHO all

BEGIN;
SELECT pg_temp.empty();

-- ---- settings: the app_id must be given; a notice comes for 25 hours ----

SELECT pg_temp.error_of($$SELECT payorder.add_gateway('ali', 'alipay', '2088000000000002')$$);
SELECT payorder.add_gateway('ali', 'alipay', '2088000000000002', '2021000000000002');
SELECT pay_id_pattern, time_window, failed_is_final FROM payorder.gateways WHERE gateway = 'ali';
SET test.gateway = 'ali';

-- ---- keys: all are tried, but for a certificate's; rotation (18) ----

SELECT pg_temp.say('pay'), pg_temp.say('pay, certificate');
SELECT payorder.add_gateway_key('ali', '', public_key => :'other_key', valid_from => '2018-01-01');
SELECT pg_temp.say('pay'), pg_temp.say('pay, certificate'), pg_temp.say('signed by another key');
SELECT payorder.add_gateway_key('ali', 'c0ffee', public_key => :'alipay_key', valid_from => '2018-01-01');
SELECT pg_temp.say('pay'), pg_temp.say('pay, certificate'), pg_temp.say('signed by another key');
SELECT payorder.retire_gateway_key('ali', '', at => '2019-01-01');

-- ---- what each says ----

SELECT name, pg_temp.say(name) FROM notices ORDER BY name COLLATE "C";

-- What is stored of one: its fields in the database's encoding, without the signature.
SELECT d.payload FROM notices AS n, payorder.decode_http('ali', n.headers, n.body, NULL, to_timestamp(1700000000)) AS d
WHERE n.name IN ('pay', 'pay, GBK', 'pay, GB18030', 'pay, empty field, signed', 'deposit back')
ORDER BY n.name COLLATE "C";

-- ---- A1: signed by Alipay itself ----

SELECT payorder.add_gateway('a1', 'alipay', '2088531891668739', '2019073166072302');
SELECT payorder.add_gateway_key('a1', '', valid_from => '2018-01-01', public_key =>
    'MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAqObrdC7hrgAVM98tK0nv3hSQRGGKT4lBsQjHiGjeYZjOPIPHR5knm2jn
nz/YGIXIofVHkA/tAlBAd5DrY7YpvI4tP5EONLtZKC2ghBMx7McI2wRD0xiqzxOQr1FuhZGJ8/AUokBzJrzY+aGX2xcOrxFYRlFi
lvVLTXg4LWjR1tdPkO6+i7wQZAIVMClPkwVRZEbaERRHlKqTzv2gGv5rDU8gRoe1LeaN+6BlbTqHWkQcNCUNrA8C6l17XAXGKDsm
/9TFWwO8EPHHHCaQdjtV5/FdcWIt+L8SR1ss7EXTjYDFtxcKVv9rEoY1lX8T4mX+GbXfZHraG5NCF1+XioL5JwIDAQAB');
CREATE TEMP TABLE a1 (name text, value text);
INSERT INTO a1
SELECT split_part(part, '=', 1), substr(part, strpos(part, '=') + 1)
FROM unnest(string_to_array('app_id=2019073166072302&auth_app_id=2019073166072302&buyer_id=2088102534368455&buyer_logon_id=xud***@126.com&buyer_pay_amount=0.10&charset=utf-8&fund_bill_list=[{"amount":"0.10","fundChannel":"ALIPAYACCOUNT"}]&gmt_create=2019-08-15 15:56:22&gmt_payment=2019-08-15 15:56:24&invoice_amount=0.10&notify_id=2019081500222155624068450559358070&notify_time=2019-08-15 15:56:25&notify_type=trade_status_sync&out_trade_no=20190815155618536-564-57&point_amount=0.00&receipt_amount=0.10&seller_email=z97-yuquerevenue@service.aliyun.com&seller_id=2088531891668739&subject=语雀空间 500人规模&total_amount=0.10&trade_no=2019081522001468450512505578&trade_status=TRADE_SUCCESS&version=1.0', '&')) AS part;
INSERT INTO a1 VALUES ('sign', 'QfTb8tqE1BMhS5qAnXtvsF3/jBkEvu9q9en0pdbBUDDjvKycZhQb7h8GDs4FKfi049PynaNuatxSgLb/nLWZpXyyh0LEWdK2S6Ri'
    || '7nPwrVgOs08zugLO20vOQz44y3ti2Ncm8/wZts1Fr2gZ7pShnVX3d1B50hbsXnObT1r/U8ONNQjWXd0HIul4TG+Q3fm3svmSvFEy'
    || '0WnzuhcyHPX5Gm4ELNctL6Qd5YniGJFNcc7kopHYtI/XD9YCKCH6Ct02rzUs9i11C9CsadtZn+WhxF26Dqt9sGEFajkJ8cxUTLi8'
    || '+VCpLHsgPE8P0y095uQcDdK0YjCh4x7wVSov+lrmOQ==');
-- As a form, with each byte escaped.
CREATE FUNCTION pg_temp.form(more text DEFAULT '', without text DEFAULT NULL, swap jsonb DEFAULT '{}') RETURNS bytea
    LANGUAGE sql AS $$
SELECT convert_to(string_agg(name || '=' || regexp_replace(encode(convert_to(coalesce(swap ->> name, value), 'UTF8'), 'hex'),
                                                           '(..)', '%\1', 'g'), '&' ORDER BY name DESC) || more, 'UTF8')
FROM a1 WHERE name IS DISTINCT FROM without
$$;
SELECT what, pg_temp.said('a1', '{}', form, '2019-08-15 15:56:30+08')
FROM (VALUES ('with sign_type', pg_temp.form('&sign_type=RSA2')), ('without', pg_temp.form()),
    ('with RSA', pg_temp.form('&sign_type=RSA')), ('with rsa2', pg_temp.form('&sign_type=rsa2')),
    ('empty sign_type', pg_temp.form('&sign_type=')), ('a field more', pg_temp.form('&debug=1')),
    ('an empty field more', pg_temp.form('&debug=')), ('an empty refund_fee', pg_temp.form('&refund_fee=')),
    ('a certificate more', pg_temp.form('&alipay_cert_sn=x')),
    ('a field less', pg_temp.form(without => 'version')), ('no sign', pg_temp.form(without => 'sign')),
    ('another amount', pg_temp.form(swap => '{"total_amount": "9.10"}')),
    ('fund_bill_list escaped', pg_temp.form(swap => '{"fund_bill_list": "[{&quot;amount&quot;:&quot;0.10&quot;}]"}')),
    ('sign with a blank', pg_temp.form(swap => jsonb_build_object('sign', (SELECT value || ' ' FROM a1 WHERE name = 'sign')))),
    ('sign as it is', pg_temp.form(without => 'sign', more => '&sign=' || (SELECT value FROM a1 WHERE name = 'sign'))),
    ('sign empty', pg_temp.form(swap => '{"sign": ""}')),
    ('sign no base64', pg_temp.form(swap => '{"sign": "%%%"}')),
    ('sign of 1 MB', pg_temp.form(without => 'sign', more => '&sign=' || repeat('AAAA', 60000)))) AS v (what, form);

-- ---- the form (19) ----

SELECT what, pg_temp.said('a1', '{}', form, '2019-08-15 15:56:30+08')
FROM (VALUES ('empty', ''::bytea), ('one sign', '='), ('twice the amount', pg_temp.form('&total_amount=%30%2e%31%30')),
    ('twice the sign', pg_temp.form('&sign=x')), ('no value', pg_temp.form('&debug')),
    ('no name', pg_temp.form('&=1')), ('odd name', pg_temp.form('&a%26b=1')), ('name escaped', pg_temp.form('&%64ebug=')),
    ('ends with &', pg_temp.form('&')), ('two &', pg_temp.form('&&debug=')),
    ('bad escape', pg_temp.form('&debug=%zz')), ('cut escape', pg_temp.form('&debug=%4')),
    ('lone %', pg_temp.form('&debug=%')), ('%00', pg_temp.form('&debug=%00')), ('NUL', pg_temp.form('&debug=') || '\x00'),
    ('line break', pg_temp.form(E'\n')), ('blank', pg_temp.form('&debug= ')), ('not ASCII', pg_temp.form('&debug=茶')),
    ('%u', pg_temp.form('&debug=%u8336')), ('cut', substr(pg_temp.form(), 1, 500)),
    ('257 fields', pg_temp.form((SELECT string_agg(format('&f%s=', i), '') FROM generate_series(1, 233) AS i))),
    ('256 fields', pg_temp.form((SELECT string_agg(format('&f%s=', i), '') FROM generate_series(1, 232) AS i))),
    ('30,000 fields', convert_to((SELECT string_agg(format('f%s=', i), '&') FROM generate_series(1, 30000) AS i), 'UTF8')),
    ('JSON', '{"app_id": "2019073166072302"}'), ('+ for %20', convert_to(replace(convert_from(pg_temp.form(), 'UTF8'),
        '%20', '+'), 'UTF8'))) AS v (what, form);

-- ---- the time window: notify_time is China's, whatever the session's (17) ----

SET TimeZone = 'America/New_York';
SELECT hours, pg_temp.say('pay', seconds => hours * 3600), pg_temp.say('pay', seconds => hours * 3600 + sign(hours)::integer)
FROM unnest(ARRAY[-26, 0, 26]) AS hours;
SET DateStyle = 'SQL, DMY';
SELECT pg_temp.say('pay');
RESET DateStyle;
SET TimeZone = 'UTC';
-- What has no effect needs none.
SELECT pg_temp.say('deposit back', seconds => 1000000);

-- ---- a log line says how it matched, and nothing else ----

SET client_min_messages = debug1;
\set VERBOSITY terse
SELECT pg_temp.say(name) IS NOT NULL FROM notices
WHERE name IN ('pay', 'pay, empty field, signed', 'pay, certificate not signed', 'service message, both') ORDER BY name;
SET client_min_messages = warning;

-- ---- no wrong message is told apart by where it is from (15) ----

SELECT pg_temp.said('a1', headers, body, to_timestamp(1700000000)) FROM notices WHERE name = 'pay';

ROLLBACK;
