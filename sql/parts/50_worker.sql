/* ---- room worker: who calls sweep() ---- */

CREATE FUNCTION payorder.start_worker()
    RETURNS integer
    LANGUAGE c VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_start_worker';
COMMENT ON FUNCTION payorder.start_worker() IS
'starts a background worker for this database where the library is not preloaded; returns its process id. It ends by itself at once if the database has a worker. Errors: 53000 max_worker_processes is used up.';

CREATE FUNCTION payorder.stop_worker()
    RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(bool_or(pg_terminate_backend(l.pid)), false)
    FROM pg_locks AS l
    WHERE l.locktype = 'advisory' AND l.classid = 1885438319 AND l.objid = 1919182194
      AND l.objsubid = 2 AND l.granted
      AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
$$;
COMMENT ON FUNCTION payorder.stop_worker() IS
'tells this database''s background worker to end; returns whether there was one. One that payorder.databases asks for is started again.';

CREATE PROCEDURE payorder.run_sweeps(batch integer DEFAULT 100, longest interval DEFAULT '50 seconds')
    LANGUAGE plpgsql
AS $$
DECLARE
    counts payorder.sweep_counts;
    leased record;
    stop_at pg_catalog.timestamptz := pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) longest;
BEGIN
    LOOP
        SELECT s.* INTO counts FROM payorder.sweep(batch) AS s;
        COMMIT;
        -- timers go first: one handler, then what is due by now
        SELECT h.* INTO leased FROM payorder.claim_for_handler() AS h;
        COMMIT;
        IF leased.task IS NOT NULL THEN
            PERFORM payorder.run_handler(leased.task, leased.token);
            COMMIT;
        END IF;
        EXIT WHEN NOT counts.more AND leased.task IS NULL
            OR pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>) stop_at;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE payorder.run_sweeps(integer, interval) IS
'calls sweep() and then one task''s handler, each in a transaction of its own, until nothing more is due; begins nothing after longest. What pg_cron runs';

CREATE FUNCTION payorder.schedule(schedule text DEFAULT '* * * * *')
    RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job bigint;
BEGIN
    -- a schema cron of somebody else's must not be called as this function's owner
    IF NOT EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'pg_cron') THEN
        RAISE EXCEPTION 'pg_cron is not in this database'
            USING ERRCODE = '55000',
                  HINT = 'CREATE EXTENSION pg_cron here, or have cron.schedule_in_database() call payorder.run_sweeps().';
    END IF;
    EXECUTE 'SELECT cron.schedule($1, $2, $3)' INTO job
        USING 'payorder sweeps'::text, schedule, 'CALL payorder.run_sweeps()'::text;
    RETURN job;
END
$$;
COMMENT ON FUNCTION payorder.schedule(text) IS
'has pg_cron run run_sweeps() by a cron schedule (default: every minute); again: changes the schedule. Returns the job''s id. Errors: 55000 without pg_cron in this database.';

CREATE FUNCTION payorder.unschedule()
    RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    jobs integer;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'pg_cron') THEN
        RETURN false;
    END IF;
    EXECUTE 'SELECT count(cron.unschedule(j.jobid)) FROM cron.job AS j WHERE j.jobname = $1 AND j.database = current_database()'
        INTO jobs USING 'payorder sweeps'::text;
    RETURN jobs > 0;
END
$$;
COMMENT ON FUNCTION payorder.unschedule() IS
'takes run_sweeps() out of pg_cron; returns whether it was there';
