/* ---- room requery: ask again after commits were lost ---- */

CREATE FUNCTION payorder.requery(since timestamptz, gateway text DEFAULT NULL)
    RETURNS integer
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_requery';
COMMENT ON FUNCTION payorder.requery(timestamptz, text) IS
'makes tasks query_payment and query_refund for all that may have changed since an instant, at one gateway or all (NULL): attempts that are open, or began or ended since, refunds that are open, or were asked for or ended since. For after a failover that lost commits. Returns how many tasks were made. Errors: 22004 since is NULL, PO010 no such gateway.';
