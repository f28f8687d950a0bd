/* ---- room work: a task's answer ---- */

CREATE FUNCTION payorder.complete(task bigint, token bigint, result json DEFAULT NULL)
    RETURNS SETOF payorder.ingest_result
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_complete';
COMMENT ON FUNCTION payorder.complete(bigint, bigint, json) IS
'ends a leased task with its result; result.messages, an array of {txn_id, event, order_no, amount, currency, occurred_at, payment_txn, refund_no, amount_is_total, payload}, are ingested in the same transaction with the source query, and their verdicts returned. Other members: "unknown": true (the gateway does not know the number; of a query_refund: the refund is sent again with its number), "already_paid": true (close_payment), "confirmed": [txn_id, ...] (return). Errors: PO008 the lease is lost, 22023 a result of the wrong form, 42501 a message about something that is not the task''s, 55P03 the order is locked longer than payorder.lock_wait.';

CREATE FUNCTION payorder.fail(task bigint, token bigint, error text, retryable boolean DEFAULT true)
    RETURNS text
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_fail';
COMMENT ON FUNCTION payorder.fail(bigint, bigint, text, boolean) IS
'gives a leased task back after a failure: ready again after its backoff, or dead when retryable is false or its attempts are used up. Returns ready or dead, or cancelled when its refund has ended meanwhile. Frees no money: a refund stays in doubt. Errors: PO008 the lease is lost, 55P03 the order is locked longer than payorder.lock_wait.';

CREATE FUNCTION payorder.cancel_task(task bigint, actor text, reason text)
    RETURNS void
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_cancel_task';
COMMENT ON FUNCTION payorder.cancel_task(bigint, text, text) IS
'cancels a ready or dead task, a review too. Errors: 22023 it is leased or ended, 42501 a money task whose refund is still open, or a review of money that still waits, 55P03 the order is locked longer than payorder.lock_wait.';

CREATE FUNCTION payorder.retry_dead(task bigint, actor text, reason text)
    RETURNS void
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_retry_dead';
COMMENT ON FUNCTION payorder.retry_dead(bigint, text, text) IS
'makes a dead task ready again, with all its attempts, its idempotency key and first_tried_at kept. Errors: 22023 not a dead task, or its dedup key is taken by a newer one, 55P03 the order is locked longer than payorder.lock_wait.';
