/* ---- room amount: decimal amounts and minor units ---- */

CREATE FUNCTION payorder.parse_amount(amount text, currency text, gateway text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_parse_amount';
COMMENT ON FUNCTION payorder.parse_amount(text, text, text) IS
'the decimal amount ("19.90", "-5") in minor units of the currency, by the gateway''s own exponents where it has some; exact, never rounded. Errors: PO005 wrong form, more decimals than the currency has, too large or unknown currency; PO010 no such gateway; 22004 NULL.';

CREATE FUNCTION payorder.format_amount(amount bigint, currency text, gateway text DEFAULT NULL)
    RETURNS text
    LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_format_amount';
COMMENT ON FUNCTION payorder.format_amount(bigint, text, text) IS
'the amount in minor units as a decimal text with all decimals of the currency, by the gateway''s own exponents where it has some. Errors: PO005 unknown currency, PO010 no such gateway, 22004 NULL.';
