--
-- Room gateway_key: keys of gateways with their validity, rotated and retired;
-- what is refused of them, and of references to secrets.  Public keys only:
-- what needs files is in test/t/082_secret.pl.  Scenarios 67, 70.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set ECHO none
-- an RSA key of 2048 bits, as PEM, as base64, and its certificate; one of 1024
-- bits, one on a curve, and the first one's private key
\set rsa '-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA5/EuX9ouiOj5ApxR78rD\nh3tox1lLFgNth/PCkZJ2FfcOTs/TZdnOF4atN6myV76/bzU7GIac88OrFuN7PZsZ\npQH+CPRjvhoZFnxg4/8ovtikskoEr+KA4psIFCBomyTYtDHeNYiz1Z3H9YicAlcp\n4U2DBdeWOhK3aNMiLVms3w4TUhdfJu2O9Jn+ciwiJO358CiM3C3sDyiwES8xaOLB\nkERc/RY7rcHSNVAgJIvFLHgIqoJbXR+8dhxlEzysXWyntj477woXpGZ1WcbxUwjc\nZ/YbXbtXwR+K+YoIogeMoukredioB1Qj8d7A41WP1COuJbNq9/CwBWYBntfp8dI5\nzQIDAQAB\n-----END PUBLIC KEY-----'
\set base64 'MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA5/EuX9ouiOj5ApxR78rDh3tox1lLFgNth/PCkZJ2FfcOTs/TZdnOF4atN6myV76/bzU7GIac88OrFuN7PZsZpQH+CPRjvhoZFnxg4/8ovtikskoEr+KA4psIFCBomyTYtDHeNYiz1Z3H9YicAlcp4U2DBdeWOhK3aNMiLVms3w4TUhdfJu2O9Jn+ciwiJO358CiM3C3sDyiwES8xaOLBkERc/RY7rcHSNVAgJIvFLHgIqoJbXR+8dhxlEzysXWyntj477woXpGZ1WcbxUwjcZ/YbXbtXwR+K+YoIogeMoukredioB1Qj8d7A41WP1COuJbNq9/CwBWYBntfp8dI5zQIDAQAB'
\set certificate '-----BEGIN CERTIFICATE-----\nMIIDEzCCAfugAwIBAgIUChssPU5fYHGCk6S1xtfo+QARIjMwDQYJKoZIhvcNAQEL\nBQAwGDEWMBQGA1UEAwwNcGF5b3JkZXIgdGVzdDAgFw0yNjExMzAyMzQ3MTRaGA8y\nMTI2MTEwNjIzNDcxNFowGDEWMBQGA1UEAwwNcGF5b3JkZXIgdGVzdDCCASIwDQYJ\nKoZIhvcNAQEBBQADggEPADCCAQoCggEBAOfxLl/aLojo+QKcUe/Kw4d7aMdZSxYD\nbYfzwpGSdhX3Dk7P02XZzheGrTepsle+v281OxiGnPPDqxbjez2bGaUB/gj0Y74a\nGRZ8YOP/KL7YpLJKBK/igOKbCBQgaJsk2LQx3jWIs9Wdx/WInAJXKeFNgwXXljoS\nt2jTIi1ZrN8OE1IXXybtjvSZ/nIsIiTt+fAojNwt7A8osBEvMWjiwZBEXP0WO63B\n0jVQICSLxSx4CKqCW10fvHYcZRM8rF1sp7Y+O+8KF6RmdVnG8VMI3Gf2G127V8Ef\nivmKCKIHjKLpK3nYqAdUI/HewONVj9QjriWzavfwsAVmAZ7X6fHSOc0CAwEAAaNT\nMFEwHQYDVR0OBBYEFN4dbWN4BniSgIGHZY3H1dEVJR0cMB8GA1UdIwQYMBaAFN4d\nbWN4BniSgIGHZY3H1dEVJR0cMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQEL\nBQADggEBAOPBQpMH0ifEbznPi3P/7wj4esa+bCdG+Mq40RMARS7wQoaPwSKkIHnG\n2hJV02FVfAD83Op/eMyFJ5ewnnIot1MkH/2ue/HUO2SgVWfDeTsTdJ+5gVghtb9m\nZyMsUMUGKuvMV45uCwxBeatiKh6ZHCW7FV6a1Edc1mHMvz26dTKBdhCATAGb+FT3\nby1uUwQBGr8k8HdDH+DQ4Zr+6PymemKm9RGOYdPNOEqO1lJloh8ESq/LcnUXojYi\ngm+VkAy2grEnOp4JofFrJswB9tGeQ6IF4OarILda4+IXCYyMM3pkIeaf+QZOKfh9\nM5DnQi6LiVaH0w/C+vw4CGOMEiRaCAk=\n-----END CERTIFICATE-----'
\set short '-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDN/yYt1KZT9lWbULZnQiDm2RT7\nTmPwzIhDR/vM8jpQekW+wTxsZEWTsF8MGVIGL0r8wdUtn1sq7Y+o5ZtL8sFgxRci\nFTrNlbj8NKuaW5h9GBwxQS3utaNPXjay5THT9WZnxVT55+GhcSv3sgM/MoFTUCHd\nra3yeJowgTKh4FrsuQIDAQAB\n-----END PUBLIC KEY-----'
\set curve '-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAERXm6ALJKI4XkK7JuJnOnqEhTnk8L\nQI/RaBFcxa1NPiKka5huzyIvbQvQQE5MkK142DKPLZJNPOSbOBh8DoVMkg==\n-----END PUBLIC KEY-----'
\set private '-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDn8S5f2i6I6PkC\nnFHvysOHe2jHWUsWA22H88KRknYV9w5Oz9Nl2c4Xhq03qbJXvr9vNTsYhpzzw6sW\n43s9mxmlAf4I9GO+GhkWfGDj/yi+2KSySgSv4oDimwgUIGibJNi0Md41iLPVncf1\niJwCVynhTYMF15Y6Erdo0yItWazfDhNSF18m7Y70mf5yLCIk7fnwKIzcLewPKLAR\nLzFo4sGQRFz9FjutwdI1UCAki8UseAiqgltdH7x2HGUTPKxdbKe2PjvvChekZnVZ\nxvFTCNxn9htdu1fBH4r5igiiB4yi6St52KgHVCPx3sDjVY/UI64ls2r38LAFZgGe\n1+nx0jnNAgMBAAECggEAALSsat4VAarPJSmjcIVvV7XHAWzytvVZi44bk7SnIip6\nCJXbzhBzWYF5/J8fe+Jd8+vsyzE6VYiNIvjxZU7X7WIGlfGObc6SWyM+P+YFHPg3\nn2jtFORCzE24oNJiFxoYhGCEIqlmPgUTTcU1ulEYahyBr05zC9Kw7FimHuQKDAoI\nsTGlehvlJmcWAladwtrNb+3HrY25usmn8H/6mMxCsRHq19DxwCsnAmyXifTp14tu\nYTDLMzq1z4WJKJ0c5z+gWWLMRPTPmrhn4jMbI3p7lIs/HXQsq0ksag9wbOYnVCR7\nEk0UjIIINpMQI3kiBfMYjK5iy2+iOv1cLDJliesmOQKBgQD2fUnYQE9F3bz+/nVD\nZjrA31SAbPjWzknE1gGbXQMZdhGqEfy0TXdfbI1U96GP/zUFaZsofIHGOGE0i5TO\nu0SAVX1pE7YOj1vKAPd8k8mIE7wT4fNo+UifDwg0mXlS3P+P2FGK10LzU6twSYm7\n0uuJSFtUVwcxyvlI1BZ3ctpqxQKBgQDw5DN44Tg3YGAo8y3PRTKUqdmU1PYHpm7x\nBZRgGECXvPyShmKCasrO5sx4GPiWXgOr6NncForeTR6OKIYlReczBdixy3/RoIdh\nSg+HrkvFQ6dDq1XzHFdAxVwVSL+SSs+NJeErMhpR9yxNPOlAe3Myhesbq88RzrAf\nvUtce02jaQKBgQCBaiygTruQWiiF1UHqHj2Q0HEEcLKBzZNrtlTnpoEfGB+UJJeC\nbv3S6yKVTuLTwNGswtLFAgH8+dMHjJWXqTkBDGGpDsFSibBOsg0+qjVwrbPc2JA9\nOE0JvhG31DCf8gp4EsJVXEn5iZ+EeAfJxqcF0CircnoDiacytrAJDRNiZQKBgH1p\n0YJ1fxcVjfrD4G2w0QylASqDVTPWapwBE6aT+c0GD1kZrd/ISZ4+euVr2sAuYir2\nJ7Z15gamj+njHzP4mM3vlUm7cOhqcxErxboV/EzPVB3e7fiMIMEP/0j1fwdi+3u4\n5OngQ+O4k9ACjk2L+AWtwyG86SmUOg3MN5gGef1BAoGAFS4BV5Ryi+mNDlokvVFj\nl800gLNOWjoPUS9HdKIgqriFGbiJyheuEJYMCnBms6iBR/YnRQmLhd9U38UGJlkP\nVWQL4j4ar8DTuKaRVAM32wMAp+Exhb2RxtArn9HqufJQWmqsohIg4l1/OT8E+bUg\nA/8BCRIAHDwzVMfhQBXQnRs=\n-----END PRIVATE KEY-----'
CREATE TEMP TABLE pems (name text, pem text);
INSERT INTO pems VALUES ('rsa', :'rsa'), ('base64', :'base64'), ('certificate', :'certificate'), ('short', :'short'), ('curve', :'curve'), ('private', :'private');
CREATE FUNCTION pg_temp.pem(text) RETURNS text LANGUAGE sql AS 'SELECT pem FROM pems WHERE name = $1';
\set ECHO queries
BEGIN;
SELECT pg_temp.empty();
INSERT INTO payorder.gateways (gateway, adapter, merchant_id)
    VALUES ('stripe', 'stripe', 'm'), ('wechat', 'wechatpay', 'm'), ('alipay', 'alipay', 'm'), ('adyen', 'adyen', 'm');

-- the same key in all its forms is the same row but for its id; a certificate has one of its own
SELECT payorder.add_gateway_key('wechat', 'PUB_KEY_ID_1', public_key => pg_temp.pem('rsa'));
SELECT payorder.add_gateway_key('wechat', 'PUB_KEY_ID_2', public_key => pg_temp.pem('base64'));
SELECT payorder.add_gateway_key('wechat', 'PUB_KEY_ID_3', public_key => replace(pg_temp.pem('rsa'), E'\n', E'\r\n') || E'\r\n');
SELECT payorder.add_gateway_key('wechat', public_key => pg_temp.pem('certificate'));
SELECT payorder.add_gateway_key('wechat', 'SERIAL', public_key => pg_temp.pem('certificate'));
SELECT payorder.add_gateway_key('alipay', public_key => pg_temp.pem('base64'), purpose => 'verify', valid_from => '2030-01-01Z', valid_until => '2031-01-01Z');
SELECT gateway, purpose, key_id, kind, secret, valid_from = now() AS now, valid_until, added_at = now() AS now, added_by = session_user AS me, retired_at, retired_by,
       length(public_key), count(*) OVER (PARTITION BY public_key) AS same FROM payorder.gateway_keys ORDER BY gateway, key_id;
SELECT gateway, payorder.check_gateway_keys(gateway) FROM unnest('{wechat,alipay,stripe,till}'::text[]) AS gateway;

-- what a message finds at an instant: from valid_from on, and not at valid_until any more
SELECT payorder.check_gateway_keys('alipay', at)
    FROM unnest('{-infinity,2029-12-31 23:59:59.999999Z,2030-01-01Z,2030-12-31 23:59:59.999999Z,2031-01-01Z,infinity}'::timestamptz[]) WITH ORDINALITY AS t (at, n) ORDER BY n;
ROLLBACK;

-- rotation: the others end when the new one has been valid for a while, if they don't before
BEGIN;
SELECT pg_temp.empty();
INSERT INTO payorder.gateways (gateway, adapter, merchant_id) VALUES ('wechat', 'wechatpay', 'm'), ('alipay', 'alipay', 'm');
SELECT payorder.add_gateway_key('wechat', 'one', public_key => pg_temp.pem('rsa')), payorder.add_gateway_key('wechat', 'ends', public_key => pg_temp.pem('rsa'), valid_until => now() + interval '1 hour'),
       payorder.add_gateway_key('wechat', 'later', public_key => pg_temp.pem('rsa'), valid_from => now() + interval '30 days'),
       payorder.add_gateway_key('alipay', 'one', public_key => pg_temp.pem('rsa'));
SELECT payorder.rotate_gateway_key('wechat', 'two', public_key => pg_temp.pem('rsa'));
CREATE FUNCTION pg_temp.ends() RETURNS SETOF text LANGUAGE sql AS $$
SELECT format('%s %s: %s to %s', gateway, key_id, valid_from - now(), CASE valid_until WHEN 'infinity' THEN 'infinity' ELSE (valid_until - now())::text END) FROM payorder.gateway_keys ORDER BY gateway, key_id $$;
SELECT pg_temp.ends();
-- again at once: of both the later one stays
SELECT payorder.rotate_gateway_key('wechat', 'three', public_key => pg_temp.pem('rsa'), overlap => '0');
SELECT pg_temp.ends();
-- one that begins later: no gap between
SELECT payorder.rotate_gateway_key('wechat', 'four', public_key => pg_temp.pem('rsa'), valid_from => now() + interval '10 days', overlap => '1 hour');
SELECT pg_temp.ends();
-- overlaps that are none
SELECT o, pg_temp.state_of(format($$SELECT payorder.rotate_gateway_key('alipay', 'two', public_key => %L, overlap => %L)$$, pg_temp.pem('rsa'), o))
    FROM unnest('{NULL,0,1 us,366 days,366 days 1 us,-1 us,1 mon,-1 mon 31 days}'::text[]) WITH ORDINALITY AS t (o, n) ORDER BY n;
ROLLBACK;

-- retired: never again than it ended before, never before it began
BEGIN;
SELECT pg_temp.empty();
INSERT INTO payorder.gateways (gateway, adapter, merchant_id) VALUES ('wechat', 'wechatpay', 'm');
SELECT payorder.add_gateway_key('wechat', k, public_key => pg_temp.pem('rsa'), valid_until => now() + interval '2 hours') FROM unnest('{a,b,c,d}'::text[]) AS k;
SELECT payorder.retire_gateway_key('wechat', 'a');
SELECT payorder.retire_gateway_key('wechat', 'b', at => now() + interval '1 hour');
SELECT payorder.retire_gateway_key('wechat', 'c', 'verify', now() + interval '3 hours');
SELECT payorder.retire_gateway_key('wechat', 'd', at => '2001-01-01');
SELECT key_id, valid_until - valid_from, retired_at = now() AS now, retired_by = session_user AS me FROM payorder.gateway_keys ORDER BY key_id;
SELECT payorder.check_gateway_keys('wechat');
SELECT payorder.retire_gateway_key('wechat', 'b');
SELECT payorder.check_gateway_keys('wechat');
SELECT pg_temp.error_of($$SELECT payorder.retire_gateway_key('wechat', 'none')$$);
SELECT pg_temp.error_of($$SELECT payorder.retire_gateway_key('wechat', 'a', 'decrypt')$$);
SELECT pg_temp.error_of($$SELECT payorder.retire_gateway_key('none', 'a')$$);
SELECT pg_temp.error_of($$SELECT payorder.retire_gateway_key('wechat', 'a', at => 'infinity')$$);
SELECT a, pg_temp.state_of(format('SELECT payorder.retire_gateway_key(%s)', a)) FROM unnest(ARRAY[$$NULL, 'a'$$, $$'wechat', NULL$$, $$'wechat', 'a', NULL$$, $$'wechat', 'a', 'sign'$$, $$'wechat', 'a', at => '-infinity'$$]) WITH ORDINALITY AS t (a, n) ORDER BY n;

-- a retired key's id is not given again; no row changes but for its end, whoever tries
SELECT pg_temp.error_of(format($$SELECT payorder.add_gateway_key('wechat', 'a', public_key => %L)$$, pg_temp.pem('rsa')));
SELECT c, pg_temp.state_of(format($$UPDATE payorder.gateway_keys SET %s WHERE key_id = 'a'$$, c))
    FROM unnest(ARRAY[$$gateway = 'x'$$, $$purpose = 'decrypt'$$, $$key_id = 'x'$$, $$public_key = 'x'$$, $$valid_from = valid_from - interval '1 s'$$, $$kind = 'secret', public_key = NULL, secret = 'file:x'$$,
                      $$valid_until = valid_from - interval '1 s'$$, $$secret = 'file:x'$$, $$valid_until = 'infinity'$$]) WITH ORDINALITY AS t (c, n) ORDER BY n;
ROLLBACK;

/* ---- refused ---- */

BEGIN;
SELECT pg_temp.empty();
INSERT INTO payorder.gateways (gateway, adapter, merchant_id)
    VALUES ('stripe', 'stripe', 'm'), ('wechat', 'wechatpay', 'm'), ('alipay', 'alipay', 'm'), ('adyen', 'adyen', 'm');
-- gateways
SELECT pg_temp.error_of(format($$SELECT payorder.add_gateway_key('nowhere', public_key => %L)$$, pg_temp.pem('rsa')));
SELECT pg_temp.error_of(format($$SELECT payorder.add_gateway_key('none', public_key => %L)$$, pg_temp.pem('rsa')));
SELECT pg_temp.error_of(format($$SELECT payorder.add_gateway_key('till', public_key => %L)$$, pg_temp.pem('rsa')));
SELECT pg_temp.error_of(format($$SELECT payorder.add_gateway_key('alipay', purpose => 'decrypt', public_key => %L)$$, pg_temp.pem('rsa')));
SELECT pg_temp.error_of($$SELECT payorder.check_gateway_keys('nowhere')$$), pg_temp.state_of($$SELECT payorder.check_gateway_keys(NULL)$$);
-- the right one of both
SELECT pg_temp.error_of($$SELECT payorder.add_gateway_key('wechat')$$);
SELECT pg_temp.error_of($$SELECT payorder.add_gateway_key('wechat', secret => 'file:x')$$);
SELECT pg_temp.error_of(format($$SELECT payorder.add_gateway_key('wechat', public_key => %L, secret => 'file:x')$$, pg_temp.pem('rsa')));
SELECT pg_temp.error_of($$SELECT payorder.add_gateway_key('stripe')$$);
SELECT pg_temp.error_of(format($$SELECT payorder.add_gateway_key('stripe', public_key => %L)$$, pg_temp.pem('rsa')));
SELECT pg_temp.error_of(format($$SELECT payorder.add_gateway_key('stripe', public_key => %L, secret => 'file:x')$$, pg_temp.pem('rsa')));
-- public keys: too short, on a curve, a private one, cut, foreign
SELECT pg_temp.error_of(format($$SELECT payorder.add_gateway_key('wechat', 'k', public_key => %L)$$, pg_temp.pem('short')));
SELECT name, pg_temp.state_of(format($$SELECT payorder.add_gateway_key('wechat', 'k', public_key => %L)$$, k))
    FROM (VALUES ('curve', pg_temp.pem('curve')), ('private', pg_temp.pem('private')), ('empty', ''), ('word', 'key'), ('cut', left(pg_temp.pem('base64'), -4)), ('begun', left(pg_temp.pem('rsa'), 200)), ('cut certificate', left(pg_temp.pem('certificate'), 300)),
                 ('large', repeat(pg_temp.pem('base64'), 200)), ('hex', '0a0b'), ('right', pg_temp.pem('rsa')), ('words before', E'The key:\n' || pg_temp.pem('rsa'))) AS t (name, k);
-- ids
SELECT length(id), pg_temp.state_of(format($$SELECT payorder.add_gateway_key('wechat', %L, public_key => %L)$$, id, pg_temp.pem('rsa')))
    FROM unnest(ARRAY[repeat('k', 128), repeat('k', 129), E'a\nb', E'\t', '']) WITH ORDINALITY AS t (id, n) ORDER BY n;
-- times and purposes
SELECT a, pg_temp.state_of(format($$SELECT payorder.add_gateway_key(%s, public_key => %L)$$, a, pg_temp.pem('rsa')))
    FROM unnest(ARRAY[$$NULL, 'k'$$, $$'wechat', 'k', NULL$$, $$'wechat', 'k', 'sign'$$, $$'wechat', 'k', 'VERIFY'$$, $$'wechat', 'k', valid_from => 'infinity'$$, $$'wechat', 'k', valid_from => '-infinity'$$,
                      $$'wechat', 'k', valid_until => now()$$, $$'wechat', 'k', valid_until => '-infinity'$$, $$'wechat', 'k', valid_until => 'infinity'$$,
                      $$'wechat', 'k', valid_from => '2020-01-01', valid_until => '2021-01-01'$$]) WITH ORDINALITY AS t (a, n) ORDER BY n;
-- references: what is none is never said again, since it may be the secret
SELECT pg_temp.error_of($$SELECT payorder.add_gateway_key('stripe', secret => 'whsec_hush')$$);
SELECT r, pg_temp.error_of(format($$SELECT payorder.add_gateway_key('stripe', secret => %L)$$, r)) LIKE 'PO011 secret is not a reference to a secret' || E'\n%' AS refused
    FROM unnest(ARRAY['', 'file', 'file:', 'file:.', 'file:..', 'file:.x', 'file:-x', 'file:/etc/passwd', 'file:../x', 'file:a/b', 'file:a b', E'file:a\nb', 'file:ä', ' file:x', 'File:x', 'file:' || repeat('x', 129),
                      'env:', 'env:PATH', 'env:PGPASSWORD', 'env:payorder_x', 'env:PAYORDER_X=Y', 'env:PAYORDER_x.y', 'env:PAYORDER_x-y', 'env:XPAYORDER_Y', 'sealed:', 'sealed:../x', 'sealed:a b', 'http://x']) WITH ORDINALITY AS t (r, n) ORDER BY n;
-- and those that lead nowhere
SELECT pg_temp.error_of(format($$SELECT payorder.add_gateway_key('stripe', secret => %L)$$, r)) FROM unnest('{env:PAYORDER_TEST_NOT_THERE,sealed:not_there}'::text[]) WITH ORDINALITY AS t (r, n) ORDER BY n;
SELECT count(*) FROM payorder.gateway_keys;

-- sealing
SELECT a, pg_temp.state_of(format($$SELECT payorder.seal_secret(%s)$$, a))
    FROM unnest(ARRAY[$$NULL, 'file:x'$$, $$'x', NULL$$, $$'', 'file:x'$$, $$'a/b', 'file:x'$$, $$'.x', 'file:x'$$, $$repeat('x', 129), 'file:x'$$, $$'x', 'sealed:x'$$, $$'x', 'hush'$$]) WITH ORDINALITY AS t (a, n) ORDER BY n;
SELECT pg_temp.error_of($$SELECT payorder.seal_secret('x', 'hush')$$);
SELECT pg_temp.error_of($$SELECT payorder.seal_secret('a/b', 'file:x')$$);
SELECT pg_temp.error_of($$SELECT payorder.reseal_secrets('sealed:x')$$);
SELECT pg_temp.state_of($$SELECT payorder.reseal_secrets(NULL)$$);
SELECT pg_temp.error_of($$SELECT payorder.drop_secret('not_there')$$);
SELECT pg_temp.state_of($$SELECT payorder.drop_secret(NULL)$$), pg_temp.state_of($$SELECT payorder.drop_secret('a b')$$);
ROLLBACK;

-- what looks for what others committed does so at READ COMMITTED only; nothing is written where nothing may be
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_temp.error_of($$SELECT payorder.rotate_gateway_key('wechat', 'k')$$);
SELECT pg_temp.error_of($$SELECT payorder.drop_secret('x')$$);
ROLLBACK;
BEGIN READ ONLY;
SELECT c, pg_temp.state_of('SELECT payorder.' || c) FROM unnest(ARRAY[$$add_gateway_key('g')$$, $$rotate_gateway_key('g')$$, $$retire_gateway_key('g', 'k')$$, $$seal_secret('x', 'file:x')$$, $$reseal_secrets('file:x')$$, $$drop_secret('x')$$]) WITH ORDINALITY AS t (c, n) ORDER BY n;
ROLLBACK;
-- where secrets are is said by the server's configuration alone
SELECT s, pg_temp.state_of(format('SET payorder.%s', s)) FROM unnest(ARRAY[$$secret_directory = '/tmp'$$, $$seal_key = 'file:x'$$]) AS s;
SELECT name, context FROM pg_settings WHERE name IN ('payorder.secret_directory', 'payorder.seal_key') ORDER BY 1;
