/* ---- room create: an order comes into the world ---- */

CREATE FUNCTION payorder.create_order(
    order_no text,
    amount bigint,
    currency text,
    machine text DEFAULT 'order',
    items jsonb DEFAULT NULL,
    attributes jsonb DEFAULT NULL,
    pay_within interval DEFAULT NULL,
    cooling_off interval DEFAULT NULL)
    RETURNS payorder.order_info
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_create_order';
COMMENT ON FUNCTION payorder.create_order(text, bigint, text, text, jsonb, jsonb, interval, interval) IS
'creates an order with its first event and timers and applies the callbacks that were waiting for it; again with the same amount, currency and machine: the same order. amount in minor units, 0 is paid at once; pay_within and cooling_off NULL: the machine''s. Errors: PO003 exists with other content, PO004 no such machine, PO005 bad amount or currency, 22023 bad order_no or interval, 0A000 items (stock comes later), 40001 the order of this number is just being purged, 55P03 the order is locked longer than payorder.lock_wait.';
