/* ---- room gateway: merchant accounts and their settings ---- */

CREATE TABLE payorder.currencies (
    currency char(3) COLLATE "C" PRIMARY KEY CHECK (currency ~ '^[A-Z]{3}$'),
    exponent smallint NOT NULL CHECK (exponent BETWEEN 0 AND 4),
    builtin boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE payorder.currencies IS
'ISO 4217 codes with the number of decimals of their minor unit';
SELECT pg_catalog.pg_extension_config_dump('payorder.currencies', 'WHERE NOT builtin');

INSERT INTO payorder.currencies (currency, exponent, builtin)
SELECT code, 2, true FROM pg_catalog.unnest(pg_catalog.string_to_array(
    'AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD YER ZAR ZMW', ' ')) AS code
UNION ALL
SELECT code, 0, true FROM pg_catalog.unnest(pg_catalog.string_to_array(
    'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF', ' ')) AS code
UNION ALL
SELECT code, 3, true FROM pg_catalog.unnest(pg_catalog.string_to_array(
    'BHD IQD JOD KWD LYD OMR TND', ' ')) AS code;

CREATE TABLE payorder.gateways (
    gateway text COLLATE "C" PRIMARY KEY CHECK (gateway ~ '^[a-z][a-z0-9_-]{0,62}$'),
    adapter text COLLATE "C" NOT NULL,
    merchant_id text COLLATE "C" NOT NULL,
    app_scope text COLLATE "C" NOT NULL DEFAULT '',
    enabled boolean NOT NULL DEFAULT true,
    paused boolean NOT NULL DEFAULT false,
    draining boolean NOT NULL DEFAULT false,
    pause_changed_at timestamptz,
    pause_changed_by text,
    pause_reason text,
    pay_id_pattern text,
    mode text COLLATE "C" NOT NULL DEFAULT 'live' CHECK (mode IN ('live', 'test')),
    capture_mode text COLLATE "C" CHECK (capture_mode IN ('auto', 'manual')),
    return_delay interval NOT NULL DEFAULT '10 minutes' CHECK (return_delay >= '0'),
    auto_return_per_hour integer NOT NULL DEFAULT 20 CHECK (auto_return_per_hour >= 0),
    auto_return_amount_per_hour bigint CHECK (auto_return_amount_per_hour >= 0),
    idempotency_window interval CHECK (idempotency_window > '0'),
    time_window interval NOT NULL DEFAULT '5 minutes' CHECK (time_window > '0'),
    failed_is_final boolean NOT NULL DEFAULT true,
    parallel_attempts boolean NOT NULL DEFAULT false,
    require_attempt boolean NOT NULL DEFAULT false,
    exponents jsonb NOT NULL DEFAULT '{}',
    keep_ignored boolean NOT NULL DEFAULT false,
    adapter_settings jsonb NOT NULL DEFAULT '{}',
    builtin boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    UNIQUE (adapter, merchant_id, app_scope)
);
COMMENT ON TABLE payorder.gateways IS
'one merchant account at one payment channel each; name, adapter, merchant and scope never change';
COMMENT ON COLUMN payorder.gateways.auto_return_amount_per_hour IS
'limit of automatic returns per hour and currency, in minor units; NULL: no limit by amount';
SELECT pg_catalog.pg_extension_config_dump('payorder.gateways', 'WHERE NOT builtin');

INSERT INTO payorder.gateways (gateway, adapter, merchant_id, builtin)
VALUES ('none', 'none', '', true);

CREATE FUNCTION payorder.refuse_row_change() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'payorder_refuse_row_change';
COMMENT ON FUNCTION payorder.refuse_row_change() IS
'trigger: refuses a change of columns that never change (SQLSTATE 42501)';
CREATE TRIGGER gateways_identity AFTER UPDATE ON payorder.gateways FOR EACH ROW
    WHEN (OLD.gateway IS DISTINCT FROM NEW.gateway
          OR OLD.adapter IS DISTINCT FROM NEW.adapter
          OR OLD.merchant_id IS DISTINCT FROM NEW.merchant_id
          OR OLD.app_scope IS DISTINCT FROM NEW.app_scope
          OR OLD.builtin)
    EXECUTE FUNCTION payorder.refuse_row_change();

/* ---- a copy doesn't pay ---- */

CREATE FUNCTION payorder.is_copy()
    RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM payorder.installation AS i
                   WHERE i.system_identifier <> (SELECT c.system_identifier FROM pg_control_system() AS c)
                      OR i.database_oid <> (SELECT d.oid FROM pg_database AS d
                                            WHERE d.datname = current_database()))
$$;
COMMENT ON FUNCTION payorder.is_copy() IS
'whether this database is not the one that was noted when its first gateway was added or by adopt_cluster(): a copy sends no money, closes nothing at a gateway, and all its gateways count as paused';

CREATE FUNCTION payorder.note_installation()
    RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO payorder.installation (salt, system_identifier, database_oid)
    SELECT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), c.system_identifier, d.oid
    FROM pg_control_system() AS c, pg_database AS d
    WHERE d.datname = current_database()
    ON CONFLICT (only_row) DO NOTHING
$$;
COMMENT ON FUNCTION payorder.note_installation() IS
'notes the cluster and database as those that may send money, and a salt for the kernel''s numbers, unless that was done before; add_gateway() calls it';

CREATE FUNCTION payorder.adopt_cluster(actor text, reason text)
    RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = 0
AS $$
BEGIN
    PERFORM set_config('lock_timeout', coalesce(current_setting('payorder.lock_wait', true), '2s'), true);
    IF actor IS NULL OR reason IS NULL THEN
        RAISE EXCEPTION 'actor and reason must not be null'
            USING ERRCODE = '22004', HINT = 'Say who decides that this database may send money, and why.';
    END IF;
    PERFORM payorder.note_installation();
    UPDATE payorder.installation AS i
    SET system_identifier = c.system_identifier, database_oid = d.oid, noted_at = now(),
        noted_by = actor, reason = adopt_cluster.reason
    FROM pg_control_system() AS c, pg_database AS d
    WHERE d.datname = current_database();
    UPDATE payorder.gateways AS g SET draining = true WHERE NOT g.builtin;
END
$$;
COMMENT ON FUNCTION payorder.adopt_cluster(text, text) IS
'makes this database the one that may send money, after a restore or a move: tasks are given out again, and sweep() applies the callbacks that waited. The database that it was copied from must not run any more. Errors: 22004 actor or reason is NULL.';

CREATE FUNCTION payorder.adapter_defaults(adapter text)
    RETURNS jsonb
    LANGUAGE c IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_adapter_defaults';
COMMENT ON FUNCTION payorder.adapter_defaults(text) IS
'the settings that add_gateway() gives a gateway of this adapter unless others are given; NULL: there is no such adapter. "generic" takes messages that the caller has verified.';

CREATE FUNCTION payorder.check_gateway(gateway text)
    RETURNS void
    LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_check_gateway';
COMMENT ON FUNCTION payorder.check_gateway(text) IS
'asks a gateway''s adapter whether its settings are such that messages can be judged; add_gateway() and alter_gateway() call it. Errors: PO010 no such gateway, PO011 a setting is missing or wrong, 22004 NULL.';

CREATE FUNCTION payorder.add_gateway(
    gateway text,
    adapter text,
    merchant_id text,
    app_scope text DEFAULT '',
    settings jsonb DEFAULT '{}')
    RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = 0
AS $$
BEGIN
    PERFORM set_config('lock_timeout', coalesce(current_setting('payorder.lock_wait', true), '2s'), true);
    IF gateway IS NULL OR gateway !~ '^[a-z][a-z0-9_-]{0,62}$' OR gateway = 'none' THEN
        RAISE EXCEPTION 'invalid gateway name'
            USING ERRCODE = 'PO010',
                  HINT = 'A name is 1 to 63 lower-case letters, digits, "_" or "-", and not "none".';
    END IF;
    IF payorder.adapter_defaults(adapter) IS NULL THEN
        RAISE EXCEPTION 'unknown adapter'
            USING ERRCODE = 'PO010',
                  HINT = 'Adapters are stripe, wechatpay, alipay, adyen, hmac, and generic, which takes messages that the caller has verified.';
    END IF;
    IF merchant_id IS NULL OR app_scope IS NULL OR length(merchant_id) NOT BETWEEN 1 AND 128
        OR length(app_scope) > 128 THEN
        RAISE EXCEPTION 'merchant_id and app_scope must be given, up to 128 characters'
            USING ERRCODE = 'PO010', HINT = 'Give the account''s id at the gateway.';
    END IF;
    BEGIN
        INSERT INTO payorder.gateways (gateway, adapter, merchant_id, app_scope)
        VALUES (add_gateway.gateway, add_gateway.adapter, add_gateway.merchant_id, add_gateway.app_scope);
    EXCEPTION WHEN unique_violation THEN
        RAISE EXCEPTION 'a gateway of this name or merchant account exists already'
            USING ERRCODE = 'PO010',
                  HINT = 'One merchant account is one gateway; see payorder.gateways.';
    END;
    INSERT INTO payorder.automatic_returns (gateway, hour_began_at, returns, amounts)
    VALUES (add_gateway.gateway, '-infinity', 0, '{}');
    PERFORM payorder.alter_gateway(gateway, CASE WHEN jsonb_typeof(settings) = 'object'
                                                 THEN payorder.adapter_defaults(adapter) || settings
                                                 ELSE settings END);
    PERFORM payorder.note_installation();
END
$$;
COMMENT ON FUNCTION payorder.add_gateway(text, text, text, text, jsonb) IS
'adds a merchant account: its name here, its adapter, its merchant id and app scope at the gateway, and settings as in alter_gateway(), which go before the adapter''s own. Errors: PO010 a name or account that exists, or a wrong one; PO011 the adapter needs other settings; 22023 unknown or bad setting.';

CREATE FUNCTION payorder.alter_gateway(gateway text, settings jsonb)
    RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = 0
AS $$
DECLARE
    unknown text;
    merged payorder.gateways;
    old payorder.gateways;
    changeable CONSTANT text[] := '{enabled,pay_id_pattern,mode,capture_mode,return_delay,auto_return_per_hour,auto_return_amount_per_hour,idempotency_window,time_window,failed_is_final,parallel_attempts,require_attempt,exponents,keep_ignored,adapter_settings}';
BEGIN
    PERFORM set_config('lock_timeout', coalesce(current_setting('payorder.lock_wait', true), '2s'), true);
    IF settings IS NULL OR jsonb_typeof(settings) <> 'object' THEN
        RAISE EXCEPTION 'settings must be a JSON object'
            USING ERRCODE = '22023', HINT = 'Give {"setting": value, ...}.';
    END IF;
    SELECT g.* INTO old FROM payorder.gateways g WHERE g.gateway = alter_gateway.gateway AND NOT g.builtin FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no gateway "%"', left(gateway, 63)
            USING ERRCODE = 'PO010', HINT = 'See payorder.gateways; the gateway "none" can''t be changed.';
    END IF;
    SELECT k INTO unknown FROM jsonb_object_keys(settings) AS k WHERE k <> ALL (changeable) ORDER BY k LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'unknown gateway setting "%"', left(unknown, 63)
            USING ERRCODE = '22023', HINT = 'Settings are: ' || array_to_string(changeable, ', ') || '.';
    END IF;
    BEGIN
        merged := jsonb_populate_record(old, settings);
        PERFORM '' ~ coalesce(merged.pay_id_pattern, '');
    EXCEPTION WHEN data_exception OR syntax_error_or_access_rule_violation THEN
        RAISE EXCEPTION 'a gateway setting has a wrong type or form'
            USING ERRCODE = '22023', DETAIL = left(SQLERRM, 200),
                  HINT = 'Intervals are texts like "10 minutes", patterns are regular expressions.';
    END;
    FOR unknown IN SELECT k FROM jsonb_object_keys(settings) AS k ORDER BY k LOOP
        IF jsonb_typeof(settings -> unknown) IS DISTINCT FROM
           (CASE WHEN unknown IN ('enabled', 'failed_is_final', 'parallel_attempts', 'require_attempt', 'keep_ignored') THEN 'boolean'
                WHEN unknown LIKE 'auto_return%' THEN 'number'
                WHEN unknown IN ('exponents', 'adapter_settings') THEN 'object'
                ELSE 'string' END)
           AND NOT (settings -> unknown = 'null'
                    AND unknown IN ('pay_id_pattern', 'capture_mode', 'auto_return_amount_per_hour', 'idempotency_window')) THEN
            RAISE EXCEPTION 'gateway setting "%" has a wrong type', unknown
                USING ERRCODE = '22023', HINT = 'See payorder.gateways for the types of the settings.';
        END IF;
    END LOOP;
    IF extract(month FROM merged.return_delay) <> 0 OR extract(year FROM merged.return_delay) <> 0
        OR merged.return_delay < '0' OR merged.return_delay > '366 days'
        OR extract(month FROM merged.time_window) <> 0 OR extract(year FROM merged.time_window) <> 0
        OR merged.time_window <= '0' OR merged.time_window > '366 days'
        OR extract(month FROM merged.idempotency_window) <> 0 OR extract(year FROM merged.idempotency_window) <> 0
        OR merged.idempotency_window <= '0' OR merged.idempotency_window > '366 days' THEN
        RAISE EXCEPTION 'an interval is out of range'
            USING ERRCODE = '22023',
                  HINT = 'An interval here is positive (return_delay: or 0), at most 366 days, and without months.';
    END IF;
    IF merged.auto_return_per_hour < 0 OR merged.auto_return_amount_per_hour < 0
        OR merged.mode NOT IN ('live', 'test')
        OR merged.capture_mode NOT IN ('auto', 'manual')
        OR EXISTS (SELECT FROM jsonb_each(merged.exponents) AS e
                   WHERE e.key !~ '^[A-Z]{3}$' OR e.value NOT IN ('0', '1', '2', '3', '4')) THEN
        RAISE EXCEPTION 'a gateway setting is out of range'
            USING ERRCODE = '22023',
                  HINT = 'Limits are 0 or more, mode is live or test, capture_mode is auto or manual, exponents are {"CUR": 0 to 4}.';
    END IF;
    UPDATE payorder.gateways g SET
        enabled = merged.enabled,
        pay_id_pattern = merged.pay_id_pattern,
        mode = merged.mode,
        capture_mode = merged.capture_mode,
        return_delay = merged.return_delay,
        auto_return_per_hour = merged.auto_return_per_hour,
        auto_return_amount_per_hour = merged.auto_return_amount_per_hour,
        idempotency_window = merged.idempotency_window,
        time_window = merged.time_window,
        failed_is_final = merged.failed_is_final,
        parallel_attempts = merged.parallel_attempts,
        require_attempt = merged.require_attempt,
        exponents = merged.exponents,
        keep_ignored = merged.keep_ignored,
        adapter_settings = merged.adapter_settings
    WHERE g.gateway = alter_gateway.gateway;
    PERFORM payorder.check_gateway(gateway);
END
$$;
COMMENT ON FUNCTION payorder.alter_gateway(text, jsonb) IS
'changes settings of a gateway, given as {"setting": value}; a disabled one refuses begin_payment(), never a callback. Errors: PO010 no such gateway, PO011 its adapter needs other settings, 22023 unknown or bad setting.';
