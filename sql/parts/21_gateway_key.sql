/* ---- room gateway_key: keys of gateways, and secrets ---- */

CREATE TABLE payorder.gateway_keys (
    gateway text COLLATE "C" NOT NULL,
    purpose text COLLATE "C" NOT NULL CHECK (purpose IN ('verify', 'decrypt')),
    key_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('secret', 'hex', 'secret_32', 'rsa')),
    public_key bytea,
    secret text COLLATE "C",
    valid_from timestamptz NOT NULL,
    valid_until timestamptz NOT NULL,
    added_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    added_by text COLLATE "C" NOT NULL DEFAULT SESSION_USER,
    retired_at timestamptz,
    retired_by text COLLATE "C",
    PRIMARY KEY (gateway, purpose, key_id),
    CHECK (valid_from <= valid_until),
    CHECK ((kind = 'rsa') = (public_key IS NOT NULL)),
    CHECK ((kind = 'rsa') = (secret IS NULL))
);
COMMENT ON TABLE payorder.gateway_keys IS
'keys that verify and decrypt gateways'' messages; several of a gateway may be valid at once, and none changes but for its end';
COMMENT ON COLUMN payorder.gateway_keys.key_id IS
'serial or id of the key at the gateway; where it has none, any name';
COMMENT ON COLUMN payorder.gateway_keys.kind IS
'what the gateway''s adapter wants: secret (any bytes), hex (bytes, written as hexadecimal digits), secret_32 (32 bytes), rsa (a public key)';
COMMENT ON COLUMN payorder.gateway_keys.public_key IS
'DER of the SubjectPublicKeyInfo, of kind rsa';
COMMENT ON COLUMN payorder.gateway_keys.secret IS
'reference to the secret (file:, env: or sealed:), of the other kinds; never the secret';
SELECT pg_catalog.pg_extension_config_dump('payorder.gateway_keys', '');

CREATE TRIGGER gateway_keys_identity AFTER UPDATE ON payorder.gateway_keys FOR EACH ROW
    WHEN (OLD.gateway IS DISTINCT FROM NEW.gateway
          OR OLD.purpose IS DISTINCT FROM NEW.purpose
          OR OLD.key_id IS DISTINCT FROM NEW.key_id
          OR OLD.kind IS DISTINCT FROM NEW.kind
          OR OLD.public_key IS DISTINCT FROM NEW.public_key
          OR OLD.secret IS DISTINCT FROM NEW.secret
          OR OLD.valid_from IS DISTINCT FROM NEW.valid_from)
    EXECUTE FUNCTION payorder.refuse_row_change();

CREATE TABLE payorder.sealed_secrets (
    name text COLLATE "C" PRIMARY KEY,
    nonce bytea NOT NULL,
    ciphertext bytea NOT NULL,
    key_check bytea NOT NULL,
    sealed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    sealed_by text COLLATE "C" NOT NULL DEFAULT SESSION_USER
);
COMMENT ON TABLE payorder.sealed_secrets IS
'secrets, encrypted by AES-256-GCM with the key that payorder.seal_key refers to, and bound to their names';
COMMENT ON COLUMN payorder.sealed_secrets.key_check IS
'tells the keys that seal apart, without saying anything of them';
SELECT pg_catalog.pg_extension_config_dump('payorder.sealed_secrets', '');

CREATE FUNCTION payorder.add_gateway_key(
    gateway text,
    key_id text DEFAULT NULL,
    purpose text DEFAULT 'verify',
    public_key text DEFAULT NULL,
    secret text DEFAULT NULL,
    valid_from timestamptz DEFAULT NULL,
    valid_until timestamptz DEFAULT NULL)
    RETURNS text
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_add_gateway_key';
COMMENT ON FUNCTION payorder.add_gateway_key(text, text, text, text, text, timestamptz, timestamptz) IS
'adds a key beside those that are valid: for purpose verify or decrypt either public_key (PEM of a public key or certificate, or base64) or secret (a reference: file:NAME, env:PAYORDER_NAME or sealed:NAME), as the gateway''s adapter wants it; it is read and checked now. key_id is the key''s serial or id at the gateway; NULL: a certificate''s serial, else ''''. Valid from now on (valid_from NULL) and until it is rotated or retired (valid_until NULL). Returns the key_id. Errors: PO010 no such gateway, PO011 not the right one of both, unreadable, of a wrong form, or there already, 22004 gateway or purpose is NULL, 22023 unknown purpose or impossible times.';

CREATE FUNCTION payorder.rotate_gateway_key(
    gateway text,
    key_id text DEFAULT NULL,
    purpose text DEFAULT 'verify',
    public_key text DEFAULT NULL,
    secret text DEFAULT NULL,
    valid_from timestamptz DEFAULT NULL,
    valid_until timestamptz DEFAULT NULL,
    overlap interval DEFAULT '7 days')
    RETURNS text
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_rotate_gateway_key';
COMMENT ON FUNCTION payorder.rotate_gateway_key(text, text, text, text, text, timestamptz, timestamptz, interval) IS
'adds a key as add_gateway_key() does, and lets the gateway''s other keys of this purpose end when the new one has been valid for overlap (0 to 366 days), if they don''t end before. Returns the key_id. Errors: as add_gateway_key(), 22023 overlap out of range, 25000 not at READ COMMITTED.';

CREATE FUNCTION payorder.retire_gateway_key(
    gateway text,
    key_id text,
    purpose text DEFAULT 'verify',
    at timestamptz DEFAULT NULL)
    RETURNS void
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_retire_gateway_key';
COMMENT ON FUNCTION payorder.retire_gateway_key(text, text, text, timestamptz) IS
'ends a key''s validity at an instant (NULL: now), if it does not end before. Errors: PO010 no such gateway, PO011 no such key, 22004 gateway, key_id or purpose is NULL, 22023 unknown purpose, or at is infinite.';

CREATE FUNCTION payorder.check_gateway_keys(gateway text, at timestamptz DEFAULT NULL)
    RETURNS integer
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_check_gateway_keys';
COMMENT ON FUNCTION payorder.check_gateway_keys(text, timestamptz) IS
'reads a gateway''s keys that are valid at an instant (NULL: now) as a message would, and returns how many there are. Errors: PO010 no such gateway, PO011 one of them can''t be used, 22004 gateway is NULL.';

CREATE FUNCTION payorder.seal_secret(name text, source text)
    RETURNS void
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_seal_secret';
COMMENT ON FUNCTION payorder.seal_secret(text, text) IS
'encrypts the secret that source (file:NAME or env:PAYORDER_NAME) refers to and keeps it in payorder.sealed_secrets, as sealed:name. Errors: PO011 no secret there, no key that seals, or the name is bad or taken, 22004 an argument is NULL.';

CREATE FUNCTION payorder.reseal_secrets(old_key text)
    RETURNS integer
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_reseal_secrets';
COMMENT ON FUNCTION payorder.reseal_secrets(text) IS
'after a change of payorder.seal_key: encrypts with the new key what was encrypted with the old one, to which old_key (file:NAME or env:PAYORDER_NAME) refers; returns how many. Errors: PO011 one of the keys can''t be read, or a secret was sealed with neither or has been changed, 22004 old_key is NULL.';

CREATE FUNCTION payorder.drop_secret(name text)
    RETURNS void
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_drop_secret';
COMMENT ON FUNCTION payorder.drop_secret(text) IS
'drops a sealed secret that no key uses which is valid or will be. Errors: PO011 no such secret, or it is in use, 22004 name is NULL, 25000 not at READ COMMITTED.';
