--
-- Room gateway: raw messages in, acknowledgements out, with Stripe's adapter.
-- What each adapter takes is in gateway_stripe and the others.
-- Scenarios 1, 3, 15 to 18, 21, 67, 85.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set signing :inputdir '/sql/include/signing.psql'
\i :signing
\set ECHO none
-- headers that sign a body now, or some seconds from now
CREATE FUNCTION pg_temp.signed(body text, secret text DEFAULT 'whsec_1', seconds integer DEFAULT 0) RETURNS jsonb
    LANGUAGE sql AS $$
SELECT jsonb_build_object('Content-Type', 'application/json', 'Stripe-Signature',
                          format('t=%1$s,v1=%2$s', t, encode(pg_temp.hmac(secret::bytea, convert_to(t || '.' || body, 'UTF8')), 'hex')))
FROM (SELECT extract(epoch FROM clock_timestamp())::bigint + seconds AS t) AS n
$$;
CREATE FUNCTION pg_temp.event(type text, object text, id text DEFAULT 'evt_1') RETURNS text
    LANGUAGE sql AS $$ SELECT format('{"id": "%s", "type": "%s", "livemode": true, "data": {"object": %s}}', id, type, object) $$;
CREATE FUNCTION pg_temp.paid(txn text, reference text, amount bigint DEFAULT 1990, more text DEFAULT '') RETURNS text
    LANGUAGE sql AS $$ SELECT pg_temp.event('payment_intent.succeeded', format('{"id": "%s", "amount_received": %s, "currency": "eur", "metadata": {"payment_no": "%s"}%s}', txn, amount, reference, more)) $$;
-- what a message comes to, on a line
CREATE FUNCTION pg_temp.line_of(gateway text, headers jsonb, body text) RETURNS text
    LANGUAGE sql AS $$
SELECT concat_ws(' ', h.ack_status, h.ack_type, '"' || h.ack_body || '"', ':', (
    SELECT string_agg(concat_ws(' ', r.verdict, r.first_verdict, r.detail, r.order_no, r.state, CASE WHEN r.paid THEN 'paid' END, r.ack_status), '; ')
    FROM unnest(h.results) AS r))
FROM payorder.ingest_http(gateway, headers, convert_to(body, 'UTF8')) AS h
$$;
CREATE FUNCTION pg_temp.post(body text, gateway text DEFAULT 'stripe') RETURNS text
    LANGUAGE sql AS $$ SELECT pg_temp.line_of(gateway, pg_temp.signed(body), body) $$;
-- the number of the attempt to pay A-1
CREATE FUNCTION pg_temp.number() RETURNS text LANGUAGE sql AS $$ SELECT payment_no FROM payorder.attempts WHERE order_no = 'A-1' $$;
\set ECHO queries

BEGIN;
SELECT pg_temp.empty();
SELECT payorder.add_gateway('stripe', 'stripe', 'acct_1'), payorder.add_gateway('plain', 'generic', 'm'), payorder.add_gateway('late', 'stripe', 'acct_2');
SELECT payorder.add_gateway_key('stripe', secret => pg_temp.secret('whsec_1'));
-- one account is one gateway
SELECT pg_temp.error_of($$SELECT payorder.add_gateway('again', 'stripe', 'acct_1')$$);
SELECT pg_temp.error_of($$SELECT payorder.add_gateway('x', 'paypal', 'm')$$);
SELECT a, payorder.adapter_defaults(a) FROM unnest('{stripe,wechatpay,alipay,adyen,hmac,generic,paypal,NULL}'::text[]) AS a;

/* ---- a wrong call ---- */

SELECT c, pg_temp.error_of('SELECT payorder.' || c) FROM unnest(ARRAY[
    $$ingest_http(NULL, '{}', '')$$, $$ingest_http('stripe', NULL, '')$$, $$ingest_http('stripe', '{}', NULL)$$, $$ingest_http('nowhere', '{}', '')$$, $$ingest_http('plain', '{}', '')$$,
    $$ingest_http('none', '{}', '')$$, $$ingest_http('stripe', '[]', '')$$, $$ingest_http('stripe', '"x"', '')$$, $$ingest_http('stripe', '{"a": 1}', '')$$, $$ingest_http('stripe', '{"a": {}}', '')$$,
    $$ingest_http('stripe', '{"a": [1]}', '')$$, $$ingest_http('stripe', '{"a": true}', '')$$, $$ingest_http('stripe', (SELECT jsonb_object_agg('h' || n, '') FROM generate_series(1, 201) AS n), '')$$,
    $$decode_http('nowhere', '{}', '')$$, $$ingest_waiting('nowhere')$$, $$ingest_waiting(NULL)$$, $$ingest_waiting('plain')$$, $$check_gateway('nowhere')$$]) AS c;
-- decode_http() writes nothing, ingest_http() does
SAVEPOINT s;
SET LOCAL transaction_read_only = on;
SELECT verdict, detail FROM payorder.decode_http('stripe', '{}', '');
SELECT pg_temp.error_of($$SELECT payorder.ingest_http('stripe', '{}', '')$$);
ROLLBACK TO s;

/* ---- taken once, acknowledged as often as it comes ---- */

SELECT payorder.create_order('A-1', 1990, 'EUR'), payorder.create_order('A-2', 1990, 'EUR') \g /dev/null
SELECT payorder.begin_payment('A-1', 'stripe') \g /dev/null
SELECT pg_temp.post(pg_temp.paid('pi_1', pg_temp.number()));
SELECT pg_temp.post(pg_temp.paid('pi_1', pg_temp.number()));
SELECT pg_temp.post(pg_temp.paid('pi_1', pg_temp.number(), 1980));
SELECT pg_temp.post(pg_temp.paid('pi_2', 'A-3'));
SELECT pg_temp.post(pg_temp.paid('ch_2', 'A-2'));
SELECT pg_temp.post(pg_temp.event('payment_intent.processing', '{}'));
-- what is stored of it: facts, the header that signs, the digest of what came
SELECT txn_id, event, amount, currency, source, verdict, body::jsonb -> 'data' -> 'object' ->> 'currency' AS body, body_sha256 = sha256(convert_to(pg_temp.paid(txn_id, pg_temp.number()), 'UTF8')) AS same,
       (SELECT string_agg(k, ' ') FROM json_object_keys(headers) AS k) AS headers FROM payorder.callbacks WHERE txn_id = 'pi_1';
-- cards are masked, the payment's own numbers are not
SELECT pg_temp.post(pg_temp.paid('pi_4111111111111111', 'A-2', 1990, ', "note": "4111 1111-1111 1111 and 4111111111111112", "card": {"number": 5555555555554444, "cvc": "123"}'));
SELECT txn_id, body -> 'data' -> 'object' FROM payorder.callbacks WHERE txn_id = 'pi_4111111111111111';
SET payorder.store_body = off;
SELECT pg_temp.post(pg_temp.paid('pi_5', 'A-9'));
SELECT txn_id, body, octet_length(body_sha256), headers IS NOT NULL AS headers FROM payorder.callbacks WHERE txn_id = 'pi_5';
RESET payorder.store_body;
SELECT invariant, subject, detail FROM payorder.check_invariants();

/* ---- not taken: counted, and of each what says why ---- */

SELECT pg_temp.line_of('stripe', pg_temp.signed(b, s, d), b) FROM (VALUES ('whsec_2', 0), ('whsec_1', -301), ('whsec_1', 302)) AS v (s, d), (SELECT pg_temp.paid('pi_6', 'A-2') AS b OFFSET 0) AS x;
SELECT pg_temp.line_of('stripe', '{}', 'x'), pg_temp.post('no JSON'), pg_temp.post(replace(pg_temp.paid('pi_6', 'A-2'), 'true', 'false'));
SELECT pg_temp.post(repeat('x', 262145));
SET payorder.max_body = 1024;
SELECT pg_temp.post(rpad('{}', 1024)), pg_temp.post(rpad('{}', 1025));
RESET payorder.max_body;
SELECT gateway, reason, body_size, octet_length(body_sha256), (SELECT string_agg(k, ' ') FROM json_object_keys(headers) AS k) AS headers, received_at <= clock_timestamp() AS at FROM payorder.quarantine ORDER BY number;
SELECT kind, reason FROM payorder.messages_aside WHERE kind <> 'ignored' AND (body IS NOT NULL OR raw_headers IS NOT NULL OR raw_body IS NOT NULL OR raw_query IS NOT NULL);
SELECT gateway, verdict, reason, day = (now() AT TIME ZONE 'UTC')::date AS today, messages FROM payorder.gateway_messages ORDER BY verdict, reason;
SELECT subject, cause, gateway, decisions FROM payorder.attention WHERE cause = 'wrong_merchant';
-- it is the caller's transaction
SAVEPOINT s;
SELECT pg_temp.line_of('stripe', '{}', 'x');
ROLLBACK TO s;
SELECT messages FROM payorder.gateway_messages WHERE reason = 'header';
-- bounded
SELECT count(*) FROM generate_series(1, 1100) AS n, LATERAL (SELECT payorder.ingest_http('stripe', '{}', convert_to(n::text, 'UTF8')) OFFSET 0) AS h;
SELECT count(*) BETWEEN 1000 AND 1016 AS kept FROM payorder.quarantine WHERE gateway = 'stripe';
SELECT messages FROM payorder.gateway_messages WHERE reason = 'header';

/* ---- genuine, but says nothing to us ---- */

SELECT pg_temp.post(pg_temp.event(type, '{"id": "dp_1"}')) FROM unnest('{charge.dispute.created,charge.succeeded}'::text[]) AS type;
SELECT payorder.alter_gateway('stripe', '{"keep_ignored": true}');
SELECT pg_temp.post(pg_temp.event(repeat('x', 100), '{"card": "4111111111111111"}'));
SELECT gateway, type, body -> 'data' -> 'object' AS object, octet_length(body_sha256) FROM payorder.ignored_messages ORDER BY number;
SELECT reason, messages FROM payorder.gateway_messages WHERE verdict = 'ignored' ORDER BY reason;

/* ---- a key that comes late ---- */

SELECT payorder.create_order('L-1', 1990, 'EUR') \g /dev/null
SELECT pg_temp.line_of('late', pg_temp.signed(b, 'whsec_late'), b) FROM pg_temp.paid('pi_late', 'L-1') AS b;
SELECT pg_temp.line_of('late', pg_temp.signed(b, 'whsec_other'), b) FROM pg_temp.paid('pi_forged', 'L-1') AS b;
SELECT kind, gateway, reason, convert_from(raw_body, 'UTF8') = pg_temp.paid('pi_late', 'L-1') AS as_it_came, raw_headers ? 'Stripe-Signature' AS headers FROM payorder.messages_aside WHERE kind = 'key_unknown' ORDER BY number;
SELECT subject, cause, decisions FROM payorder.attention WHERE cause = 'key_unknown';
SELECT payorder.ingest_waiting('late');
-- judged by when it came, not by now
UPDATE payorder.messages_aside SET received_at = received_at - interval '1 hour',
       raw_headers = jsonb_set(raw_headers, '{Stripe-Signature}', pg_temp.signed(convert_from(raw_body, 'UTF8'), 'whsec_late', -3600) -> 'Stripe-Signature')
    WHERE kind = 'key_unknown' AND convert_from(raw_body, 'UTF8') ~ 'pi_late';
SELECT payorder.add_gateway_key('late', secret => pg_temp.secret('whsec_late'));
SELECT state FROM payorder.orders WHERE order_no = 'L-1';
SELECT txn_id, verdict FROM payorder.callbacks WHERE gateway = 'late';
SELECT gateway, reason FROM payorder.quarantine WHERE gateway = 'late';
SELECT count(*) FROM payorder.attention WHERE cause = 'key_unknown';
-- for a day, and so many of them
SELECT payorder.add_gateway('later', 'stripe', 'acct_3');
SELECT count(*) FROM generate_series(1, 130) AS n, LATERAL (SELECT payorder.ingest_http('later', '{}', convert_to(n::text, 'UTF8')) OFFSET 0) AS h;
SELECT count(*) BETWEEN 100 AND 116 AS kept FROM payorder.messages_aside WHERE gateway = 'later';
SELECT failed FROM payorder.sweep(at => now() + interval '23 hours');
SELECT count(*) > 0 AS kept FROM payorder.messages_aside WHERE gateway = 'later';
SELECT failed FROM payorder.sweep(at => now() + interval '24 hours 1 minute');
SELECT count(*) FROM payorder.messages_aside WHERE gateway = 'later';

/* ---- a key that can't be read any more is ours to mend: nothing is rejected ---- */

SELECT payorder.add_gateway('lost', 'stripe', 'acct_4'), payorder.add_gateway_key('lost', secret => pg_temp.secret('whsec_lost')) \g /dev/null
DO $$ BEGIN EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', format('rm %s/test_%s', current_setting('payorder.secret_directory'), md5('whsec_lost'))); END $$;
SELECT regexp_replace(pg_temp.error_of($$SELECT payorder.ingest_http('lost', '{}', 'x')$$), 'test_[0-9a-f]+', 'NAME', 'g');
SELECT count(*) FROM payorder.gateway_messages WHERE gateway = 'lost';

ROLLBACK;
