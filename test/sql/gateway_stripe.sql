--
-- Room gateway: Stripe's webhooks.  The first is a vector of stripe-dotnet's
-- tests; the others are signed here.  Scenarios 14 to 19, 69.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools
\set signing :inputdir '/sql/include/signing.psql'
\i :signing
\set ECHO none
-- none here, decode.psql asks for it
CREATE TEMP TABLE notices (name text, headers jsonb, body bytea);
\set decode :inputdir '/sql/include/decode.psql'
\i :decode
\set ECHO none
CREATE FUNCTION pg_temp.mac(t text, body text, secret text DEFAULT 'webhook_secret') RETURNS text
    LANGUAGE sql AS $$ SELECT encode(pg_temp.hmac(convert_to(secret, 'UTF8'), convert_to(t || '.' || body, 'UTF8')), 'hex') $$;
-- what is said of a header, at a time; %s in it is the right signature
CREATE FUNCTION pg_temp.of_header(header text, body text DEFAULT '{"type": "x", "livemode": true}', seconds integer DEFAULT 0,
                                  gateway text DEFAULT 'stripe') RETURNS text
    LANGUAGE sql AS $$
SELECT pg_temp.said(gateway, jsonb_build_object('Stripe-Signature', replace(header, '%s', pg_temp.mac('1700000000', body))),
                    convert_to(body, 'UTF8'), to_timestamp(1700000000 + seconds))
$$;
-- what is said of an event, rightly signed
CREATE FUNCTION pg_temp.of_event(type text, object text, more text DEFAULT '', gateway text DEFAULT 'stripe') RETURNS text
    LANGUAGE sql AS $$
SELECT pg_temp.of_header('t=1700000000,v1=%s', format('{"id": "evt_1", "type": "%s", "created": 1700000000, "livemode": true, %s"data": {"object": %s}}',
                                                      type, more, object), 0, gateway)
$$;
\set vector '{\n  "id": "evt_123",\n  "object": "event",\n  "account": "acct_123",\n  "api_version": "2017-05-25",\n  "created": 1533204620,\n  "data": {\n    "object": {\n      "id": "cus_123",\n      "object": "customer",\n      "created": 123456789,\n      "email": "test@stripe.com",\n      "livemode": false,\n      "metadata": {}\n    }\n  },\n  "livemode": false,\n  "pending_webhooks": 1,\n  "request": {\n    "id": "req_123",\n    "idempotency_key": "idempotency-key-123"\n  },\n  "type": "customer.created"\n}\n'
CREATE FUNCTION pg_temp.vector() RETURNS bytea LANGUAGE sql AS $$ SELECT convert_to(current_setting('test.vector'), 'UTF8') $$;
SELECT set_config('test.vector', :'vector', false) \g /dev/null
\set vector_header 't=1533204620,v1=2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7,v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef'
\set pay '{"id": "pi_1", "amount": 2000, "amount_received": 1990, "currency": "eur", "metadata": {"payment_no": "PAYNO0001"}}'
\set ECHO queries

BEGIN;
SELECT pg_temp.empty();
SELECT payorder.add_gateway('stripe', 'stripe', 'acct_123');
SELECT payorder.add_gateway('test', 'stripe', 'acct_123', 'test', settings => '{"mode": "test"}');
SELECT pay_id_pattern, failed_is_final, idempotency_window, exponents, time_window, mode FROM payorder.gateways WHERE gateway = 'stripe';
SELECT pg_temp.of_header('t=1700000000,v1=%s');
SELECT payorder.add_gateway_key(g, secret => pg_temp.secret('webhook_secret')) FROM unnest('{stripe,test}'::text[]) AS g;

-- the vector: accepted in its time, 484 bytes, also as v1 among others
SELECT octet_length(pg_temp.vector()), encode(sha256(pg_temp.vector()), 'hex');
SELECT d AS seconds, pg_temp.said('test', jsonb_build_object('Stripe-Signature', :'vector_header'), pg_temp.vector(), to_timestamp(1533204620 + d))
    FROM unnest('{0,100,300,301,400,-300,-301}'::integer[]) AS d;
SELECT pg_temp.said('stripe', jsonb_build_object('Stripe-Signature', :'vector_header'), pg_temp.vector(), to_timestamp(1533204620));
SELECT change, pg_temp.said('test', jsonb_build_object('stripe-SIGNATURE', :'vector_header'), body, to_timestamp(1533204620))
    FROM (VALUES ('none', pg_temp.vector()), ('more', pg_temp.vector() || 'this_changes_the_json'), ('no last line feed', substr(pg_temp.vector(), 1, 483)),
                 ('carriage returns', convert_to(replace(convert_from(pg_temp.vector(), 'UTF8'), E'\n', E'\r\n'), 'UTF8')),
                 ('written again', convert_to(convert_from(pg_temp.vector(), 'UTF8')::jsonb::text, 'UTF8')), ('empty', '')) AS c (change, body);

-- the header
SELECT header, pg_temp.of_header(header) FROM unnest(ARRAY[
    't=1700000000,v1=%s', 'v1=%s,t=1700000000', 't=1700000000,v0=%s', 't=1700000000,v1=%s,v1=%s', 't=1700000000,v1=00,v1=%s', 't=1700000000,v1=zz,v1=%s',
    't=1700000000,v2=a,v1=%s', 't=1700000000,v1=' || repeat('0', 64) || ',v1=%s', 't=1700000000,v1=' || repeat('0', 64), 't=1700000000', 'v1=%s', '', 't=1700000000,v1=%s,',
    't=1700000000,v1=%s,x', 't=1700000000,v1=%s,x=y=z', 't=1700000000,t=1700000000,v1=%s', ' t=1700000000,v1=%s', 't=1700000000, v1=%s', 't=01700000000,v1=%s', 't=-1,v1=%s',
    't=1700000000.0,v1=%s', 't=1e9,v1=%s', 't=,v1=%s', 't=999999999999,v1=%s', 't=1700000000,v1=%s0']) AS header;
SELECT pg_temp.of_header('t=1700000000,v1=' || upper(pg_temp.mac('1700000000', '{"type": "x", "livemode": true}')));
SELECT pg_temp.of_header('t=1700000000,' || repeat('v1=' || repeat('0', 64) || ',', 15) || 'v1=%s'), pg_temp.of_header('t=1700000000,' || repeat('v1=' || repeat('0', 64) || ',', 16) || 'v1=%s');
SELECT pg_temp.said('stripe', h, '{}', now()) FROM unnest(ARRAY['{}', '{"Stripe-Signature": null}', '{"Stripe-Signature": ["t=1,v1=00", "t=1,v1=00"]}',
    '{"Stripe-Signature": "t=1,v1=00", "stripe-signature": "t=1,v1=00"}', '{"X-Stripe-Signature": "t=1,v1=00"}']::jsonb[]) AS h;
SELECT d AS seconds, pg_temp.of_header('t=1700000000,v1=%s', seconds => d) FROM unnest('{-100000000,-301,-300,0,300,301,100000000}'::integer[]) AS d;

-- the secret is the whole string; another's, or that without its whsec_, is none
SELECT payorder.add_gateway('whsec', 'stripe', 'acct_123', 'whsec'), payorder.add_gateway_key('whsec', secret => pg_temp.secret('whsec_abc'));
SELECT secret, pg_temp.said('whsec', jsonb_build_object('Stripe-Signature', 't=1700000000,v1=' || pg_temp.mac('1700000000', '{"type": "x", "livemode": true}', secret)),
                            '{"type": "x", "livemode": true}', to_timestamp(1700000000)) FROM unnest('{whsec_abc,abc,webhook_secret,""}'::text[]) AS secret;
-- two are valid while it is rotated
SELECT payorder.rotate_gateway_key('whsec', 'new', secret => pg_temp.secret('whsec_def'));
SELECT secret, pg_temp.said('whsec', jsonb_build_object('Stripe-Signature', 't=1700000000,v1=' || pg_temp.mac('1700000000', '{"type": "x", "livemode": true}', secret)),
                            '{"type": "x", "livemode": true}', to_timestamp(1700000000)) FROM unnest('{whsec_abc,whsec_def,whsec_ghi}'::text[]) AS secret;

-- the body, rightly signed
SELECT body, pg_temp.of_header('t=1700000000,v1=%s', body) FROM unnest(ARRAY['', '{}', '[]', 'null', '{"type": "x"', '{"type": 1, "livemode": true}', '{"type": "x"}',
    '{"type": "x", "livemode": "true"}', '{"type": "x", "livemode": false}', '{"type": "x", "type": "y", "livemode": true}', '{"type": "x", "livemode": true, "account": "acct_9"}',
    '{"type": "x", "livemode": true, "account": "acct_123"}', '{"type": "x", "livemode": true} {}', '{"type": "x\u0000", "livemode": true}',
    '{"type": "payment_intent.succeeded", "livemode": true}', '{"type": "payment_intent.succeeded", "livemode": true, "data": {"object": 7}}']) AS body;
SELECT pg_temp.of_header('t=1700000000,v1=%s', repeat('[', 100000)), pg_temp.of_header('t=1700000000,v1=%s', '{"type": "x", "livemode": true, "a": "' || repeat('x', 262144) || '"}');
SELECT name, pg_temp.said('stripe', jsonb_build_object('Stripe-Signature', 't=1700000000,v1=' || encode(pg_temp.hmac('webhook_secret', '1700000000.'::bytea || body), 'hex')), body, to_timestamp(1700000000))
    FROM (VALUES ('a NUL', '\x7b2274797065223a202278222c20226c6976656d6f6465223a20747275657d00'::bytea), ('not UTF-8', '\x7b2274797065223a2022ff222c20226c6976656d6f6465223a20747275657d')) AS b (name, body);

-- what each says
SELECT pg_temp.of_event('payment_intent.succeeded', :'pay');
SELECT type, pg_temp.of_event(type, :'pay') FROM unnest(ARRAY['charge.succeeded', 'charge.captured', 'charge.updated', 'checkout.session.completed', 'checkout.session.async_payment_succeeded',
    'invoice.paid', 'payment_intent.processing', 'payment_intent.created', 'charge.refunded', 'radar.early_fraud_warning.created', 'customer.created', 'payment_intent.succeeded.x']) AS type;
SELECT amount, pg_temp.of_event('payment_intent.succeeded', format('{"id": "pi_1", "amount_received": %s, "currency": "%s"}', amount, currency))
    FROM (VALUES ('1990', 'usd'), ('1990', 'jpy'), ('199000', 'isk'), ('199050', 'isk'), ('500', 'ugx'), ('1990', 'kwd'), ('100.5', 'eur'), ('1e2', 'eur'), ('"100"', 'eur'),
                 ('null', 'eur'), ('0', 'eur'), ('-5', 'eur'), ('9223372036854775807', 'eur'), ('9223372036854775808', 'eur'), ('5', 'zzz'), ('5', '')) AS a (amount, currency);
SELECT o, pg_temp.of_event('payment_intent.payment_failed', o) FROM unnest(ARRAY['{"id": "pi_1", "latest_charge": "ch_1", "metadata": {"payment_no": "PAYNO0001"}}',
    '{"id": "pi_1", "latest_charge": {"id": "ch_2"}}', '{"id": "pi_1", "latest_charge": null, "last_payment_error": {"charge": "ch_3"}}', '{"id": "pi_1"}']) AS o;
SELECT pg_temp.of_event('payment_intent.canceled', '{"id": "pi_1", "metadata": {"payment_no": "PAYNO0001"}}');
SELECT type, status, pg_temp.of_event(type, format('{"id": "re_1", "payment_intent": "pi_1", "amount": 500, "currency": "eur", "status": "%s", "metadata": {"refund_no": "REFUND0001"}}', status))
    FROM unnest('{refund.created,refund.updated,refund.failed,charge.refund.updated}'::text[]) AS type, unnest('{succeeded,failed,canceled,pending,requires_action}'::text[]) AS status;
SELECT pg_temp.of_event('refund.updated', '{"id": "pyr_1", "payment_intent": {"id": "pi_1"}, "amount": 500, "currency": "eur", "status": "succeeded"}');
SELECT type, status, pg_temp.of_event(type, format('{"id": "dp_1", "payment_intent": "pi_1", "charge": "ch_1", "amount": 500, "currency": "eur", "status": "%s"}', status))
    FROM (VALUES ('charge.dispute.funds_withdrawn', 'needs_response'), ('charge.dispute.funds_reinstated', 'won'), ('charge.dispute.closed', 'lost'), ('charge.dispute.closed', 'won'),
                 ('charge.dispute.closed', 'warning_closed'), ('charge.dispute.created', 'needs_response'), ('charge.dispute.updated', 'under_review')) AS d (type, status);
-- ids are taken whole or not at all
SELECT id, pg_temp.of_event('payment_intent.succeeded', format('{"id": %s, "amount_received": 1, "currency": "eur"}', id))
    FROM unnest(ARRAY['"' || repeat('x', 128) || '"', '"' || repeat('x', 129) || '"', '7', '""', 'null', '"a\nb"', '{}']) AS id;

ROLLBACK;
