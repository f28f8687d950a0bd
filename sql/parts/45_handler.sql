/* ---- room handler: tasks that a function does ---- */

CREATE FUNCTION payorder.claim_for_handler(worker text DEFAULT NULL, OUT task bigint, OUT token bigint)
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_claim_for_handler';
COMMENT ON FUNCTION payorder.claim_for_handler(text) IS
'leases the oldest ready task of a kind with a handler, for the kind''s lease and 5 seconds, as claim() does it; NULLs if there is none, or none may run now. Commit before run_handler(). What the worker and run_sweeps() call.';

CREATE FUNCTION payorder.run_handler(task bigint, token bigint)
    RETURNS text
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_run_handler';
COMMENT ON FUNCTION payorder.run_handler(bigint, bigint) IS
'calls the handler of a task that claim_for_handler() has leased, as the function''s owner in a restricted operation, no longer than the kind''s lease, and ends the task in the same transaction: done, with what the handler returned; or, when it raised, with none of its work, ready after the kind''s pause or dead. Returns which. Errors: PO008 the lease is lost; 53xxx, 57xxx, 58xxx, and in REPEATABLE READ or SERIALIZABLE 40xxx, as the handler raised them: fail() the task in a new transaction.';
