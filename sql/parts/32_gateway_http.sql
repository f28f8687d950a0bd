/* ---- room gateway: raw messages in, acknowledgements out ---- */

CREATE TABLE payorder.message_counts (
    gateway text COLLATE "C" NOT NULL,
    verdict text COLLATE "C" NOT NULL CHECK (verdict IN ('rejected', 'ignored')),
    reason text COLLATE "C" NOT NULL,
    day date NOT NULL,
    shard smallint NOT NULL,
    messages bigint NOT NULL,
    PRIMARY KEY (gateway, verdict, reason, day, shard)
) WITH (fillfactor = 50);
COMMENT ON TABLE payorder.message_counts IS
'messages that did not become callbacks, counted; each count is spread over several rows, so that sessions seldom wait for each other';
COMMENT ON COLUMN payorder.message_counts.reason IS 'why it was rejected, or the gateway''s type of an ignored one';
COMMENT ON COLUMN payorder.message_counts.day IS 'in UTC';
SELECT pg_catalog.pg_extension_config_dump('payorder.message_counts', '');

CREATE SEQUENCE payorder.aside_numbers;
SELECT pg_catalog.pg_extension_config_dump('payorder.aside_numbers', '');
CREATE TABLE payorder.messages_aside (
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('rejected', 'ignored', 'key_unknown')),
    gateway text COLLATE "C" NOT NULL,
    number bigint NOT NULL DEFAULT pg_catalog.nextval('payorder.aside_numbers'),
    reason text COLLATE "C" NOT NULL,
    body json,
    body_sha256 bytea,
    body_size bigint NOT NULL,
    headers json,
    raw_headers jsonb,
    raw_body bytea,
    raw_query text,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (kind, gateway, number)
);
COMMENT ON TABLE payorder.messages_aside IS
'the newest messages that did not become callbacks: of each gateway some 1,000 rejected ones, without their content; 10,000 ignored ones that are kept; 100 whose key is not known yet, as they came, for a day. The owner''s: others see the views quarantine and ignored_messages';
SELECT pg_catalog.pg_extension_config_dump('payorder.messages_aside', '');
CREATE INDEX messages_aside_waiting ON payorder.messages_aside (received_at) WHERE kind = 'key_unknown';

CREATE VIEW payorder.quarantine WITH (security_barrier) AS
SELECT a.gateway, a.number, a.reason, a.body_size, a.body_sha256, a.headers, a.received_at
FROM payorder.messages_aside AS a
WHERE a.kind IN ('rejected', 'key_unknown');
COMMENT ON VIEW payorder.quarantine IS
'the newest rejected messages, with reason, size in bytes and SHA-256 of the body (NULL: too large to be looked at), and the headers that the adapter keeps';

CREATE VIEW payorder.ignored_messages WITH (security_barrier) AS
SELECT a.gateway, a.number, a.reason AS type, a.body, a.body_sha256, a.headers, a.received_at
FROM payorder.messages_aside AS a
WHERE a.kind = 'ignored';
COMMENT ON VIEW payorder.ignored_messages IS
'genuine messages that move nothing and are kept: those worth a look, such as disputes that begin, and all of gateways with keep_ignored';

CREATE VIEW payorder.gateway_messages AS
SELECT c.gateway, c.verdict, c.reason, c.day, pg_catalog.sum(c.messages)::bigint AS messages
FROM payorder.message_counts AS c
GROUP BY c.gateway, c.verdict, c.reason, c.day;
COMMENT ON VIEW payorder.gateway_messages IS
'how many messages of each gateway were rejected or ignored, by reason or type and day (UTC)';

CREATE TYPE payorder.http_result AS (
    ack_status integer,
    ack_type text,
    ack_body text,
    results payorder.ingest_result[]
);

CREATE FUNCTION payorder.ingest_http(gateway text, headers jsonb, body bytea, query text DEFAULT NULL)
    RETURNS payorder.http_result
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_ingest_http';
COMMENT ON FUNCTION payorder.ingest_http(text, jsonb, bytea, text) IS
'takes a gateway''s HTTP message as it came: its headers (an object of names and values, names in any case; an array where one came several times), the raw bytes of its body and the query of its URL. Verifies it with the gateway''s keys and applies what it says, as ingest() does. Returns the status, content type and body to answer with, after the commit, and the verdict of each fact: rejected ones are not acknowledged. Errors, only for a wrong call: 22004 NULL gateway, headers or body; 22023 headers of a wrong form; PO010 unknown gateway; PO011 it has no adapter, or a key of it can''t be read.';

CREATE TYPE payorder.http_message AS (
    number integer,
    verdict text,
    detail text,
    event text,
    txn_id text,
    order_no text,
    amount bigint,
    currency text,
    payment_txn text,
    refund_no text,
    amount_is_total boolean,
    occurred_at timestamptz,
    payload json,
    noteworthy boolean
);

CREATE FUNCTION payorder.decode_http(
    gateway text,
    headers jsonb,
    body bytea,
    query text DEFAULT NULL,
    at timestamptz DEFAULT NULL)
    RETURNS SETOF payorder.http_message
    LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_decode_http';
COMMENT ON FUNCTION payorder.decode_http(text, jsonb, bytea, text, timestamptz) IS
'what ingest_http() would take from this message at an instant (NULL: now), without doing it: a row for each fact, with the arguments of ingest(), amounts in minor units; or a verdict, rejected or ignored, with the reason or type. For trying keys and settings, also with a message of the past. Errors: as ingest_http().';

CREATE FUNCTION payorder.ingest_waiting(gateway text)
    RETURNS integer
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_ingest_waiting';
COMMENT ON FUNCTION payorder.ingest_waiting(text) IS
'takes again what came in the last 24 hours and was rejected because its key was not known, judged by when it came; add_gateway_key() calls it. Returns how many could be decided. Errors: PO010 no such gateway, 22004 NULL.';
