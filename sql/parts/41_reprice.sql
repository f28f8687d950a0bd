/* ---- room reprice: another amount for an order ---- */

CREATE FUNCTION payorder.reprice_order(order_no text, amount bigint, actor text, reason text)
    RETURNS payorder.order_info
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_reprice_order';
COMMENT ON FUNCTION payorder.reprice_order(text, bigint, text, text) IS
'gives an order another amount, in minor units. Before payment: more than what is paid already; its open attempts are closed (task close_payment), and who pays by one of them all the same is a mismatch(repriced). In the cooling-off after payment: less than now; the difference is asked back, the cooling-off goes on. The same amount again changes nothing. Errors: PO001 it has its price in this state, PO002 no such order, PO005 bad amount, PO006 the difference can''t be refunded, 22004 NULL, 55P03 the order is locked longer than payorder.lock_wait.';
