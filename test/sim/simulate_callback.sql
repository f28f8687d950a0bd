-- Makes payorder_sim.simulate_callback(), with which you can try a gateway's
-- set-up: it signs a message as the gateway does and hands it to
-- payorder.ingest_http().  Not part of the extension; for test databases.
--
--   psql -X -f test/sim/simulate_callback.sql          from the project's folder
--   psql -X -v folder=/path/to/test/sim -f ...         from elsewhere
--   DROP SCHEMA payorder_sim CASCADE                   takes it away
--
-- Needs a superuser, PL/Python (postgresql-plpython3-<version>) and Python's
-- cryptography (python3-cryptography) where the server runs.  Says what the
-- function does: doc/testing.md.
\set ON_ERROR_STOP on
\if :{?folder}
\else
\set folder test/sim
\endif
\set signing `cat :'folder'/signing.py`
\set templates `cat :'folder'/templates.py`
\set simulate `cat :'folder'/simulate.py`
SELECT '' IN (:'signing', :'templates', :'simulate') AS missing \gset
\if :missing
\warn 'no signing.py, templates.py and simulate.py in this folder: give theirs, -v folder=...'
DO $$ BEGIN RAISE 'incomplete' USING ERRCODE = 'undefined_file'; END $$;
\endif

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS plpython3u;
DROP SCHEMA IF EXISTS payorder_sim CASCADE;
CREATE SCHEMA payorder_sim;
COMMENT ON SCHEMA payorder_sim IS
'simulated callbacks of gateways, for trying a set-up; DROP SCHEMA payorder_sim CASCADE takes it away';

CREATE TABLE payorder_sim.modules (
    number integer PRIMARY KEY,
    name text NOT NULL,
    code text NOT NULL
);
COMMENT ON TABLE payorder_sim.modules IS
'the Python modules that sign, in the order in which they need each other';
INSERT INTO payorder_sim.modules (number, name, code)
VALUES (1, 'templates', :'templates'), (2, 'signing', :'signing'), (3, 'simulate', :'simulate');

CREATE FUNCTION payorder_sim.signed_message(
    gateway text,
    event text,
    order_no text,
    amount bigint,
    currency text,
    key_file text,
    key_id text,
    decrypt_file text,
    txn_id text,
    payment_txn text,
    refund_no text,
    fault text,
    at timestamptz,
    OUT headers jsonb,
    OUT body bytea,
    OUT query text)
    LANGUAGE plpython3u VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
import json
import sys
import types


def modules():
    """The modules, which may import each other, under no name of others."""
    rows = list(plpy.execute("SELECT name, code FROM payorder_sim.modules ORDER BY number"))
    code = [(row["name"], row["code"]) for row in rows]
    if SD.get("code") != code:
        SD["modules"] = load(code)
        SD["code"] = code
    return SD["modules"]


def load(code):
    made = {name: (types.ModuleType(name), text) for name, text in code}
    hidden = {name: sys.modules.get(name) for name in made}
    try:
        for name, (module, text) in made.items():
            sys.modules[name] = module
            exec(compile(text, name, "exec"), module.__dict__)
    finally:
        for name, module in hidden.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
    return made["signing"][0], made["simulate"][0]


signing, simulate = modules()
rows = plpy.execute(plpy.prepare("""
    SELECT adapter, merchant_id, app_scope, mode, capture_mode,
           adapter_settings::text AS settings
    FROM payorder.gateways WHERE gateway = $1""", ["text"]), [gateway])
if not rows:
    plpy.error("no such gateway", sqlstate="PO010",
               hint="Add it with add_gateway(); see payorder.gateways.")
found = rows[0]
seconds = plpy.execute(plpy.prepare(
    "SELECT extract(epoch FROM coalesce($1, clock_timestamp()))::float8 AS s",
    ["timestamptz"]), [at])[0]["s"]
try:
    account = signing.Account(
        found["adapter"], found["merchant_id"], found["app_scope"],
        found["mode"] == "live", simulate.read(key_file), key_id or "",
        simulate.read(decrypt_file) if decrypt_file else b"",
        json.loads(found["settings"]))
    sent = simulate.message(
        account, event, fault, order_no=order_no, amount=amount,
        currency=currency, txn_id=txn_id, payment_txn=payment_txn,
        refund_no=refund_no, capture=found["capture_mode"], at=seconds)
except simulate.NoSuchMessage as error:
    plpy.error(str(error), sqlstate="22023")
except OSError as error:
    plpy.error("could not read a key's file: " + error.strerror,
               sqlstate="58P01",
               hint="The file is on the server's machine, and the server's user must be able to read it.")
return {"headers": json.dumps(sent.headers), "body": sent.body, "query": sent.query}
$$;
COMMENT ON FUNCTION payorder_sim.signed_message(text, text, text, bigint, text, text, text, text, text, text, text, text, timestamptz) IS
'the message that simulate_callback() hands to ingest_http(): headers, raw body, query';

CREATE FUNCTION payorder_sim.simulate_callback(
    gateway text,
    event text,
    order_no text,
    amount bigint DEFAULT 100,
    currency text DEFAULT 'CNY',
    key_file text DEFAULT NULL,
    key_id text DEFAULT NULL,
    decrypt_file text DEFAULT NULL,
    txn_id text DEFAULT NULL,
    payment_txn text DEFAULT NULL,
    refund_no text DEFAULT NULL,
    fault text DEFAULT NULL,
    at timestamptz DEFAULT NULL)
    RETURNS payorder.http_result
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    sent record;
BEGIN
    IF gateway IS NULL OR event IS NULL OR order_no IS NULL OR key_file IS NULL THEN
        RAISE EXCEPTION 'gateway, event, order_no and key_file must not be null'
            USING ERRCODE = '22004',
                  HINT = 'key_file is the path of the file that holds the gateway''s secret or private key.';
    END IF;
    SELECT * INTO STRICT sent
    FROM payorder_sim.signed_message(
        gateway, event, order_no, coalesce(amount, 100), coalesce(currency, 'CNY'), key_file,
        key_id, decrypt_file, txn_id, payment_txn, refund_no, fault, at);
    RETURN payorder.ingest_http(gateway, sent.headers, sent.body, sent.query);
END
$$;
COMMENT ON FUNCTION payorder_sim.simulate_callback(text, text, text, bigint, text, text, text, text, text, text, text, text, timestamptz) IS
'signs a message of a gateway that tells an event, as the gateway would at an instant (NULL: now), and returns what ingest_http() says of it. event, order_no, amount, currency, txn_id, payment_txn and refund_no are those of ingest(); what is NULL is made up, always alike. key_file, decrypt_file: paths, on the server, of the secret or private key and of WeChat Pay''s APIv3 key. fault spoils the message: wrong_signature, altered, replayed, wrong_merchant, probe, unknown_key, header_twice. Errors: 22004 NULL, 22023 the gateway has no such message or fault, 58P01 no such file, PO010 no such gateway, and those of ingest_http().';

REVOKE ALL ON SCHEMA payorder_sim FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA payorder_sim FROM PUBLIC;
COMMIT;
