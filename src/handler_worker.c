/*-------------------------------------------------------------------------
 *
 * handler_worker.c
 *		The background worker that runs handlers.
 *
 * A handler may take as long as its kind's lease, timers must not wait for it:
 * so handlers have a process of their own.  The database's worker starts it
 * when a task with a handler is due and none runs, and ends it with itself; it
 * ends by itself when there was nothing to do for a while, so that who has no
 * handlers has no process for them.
 *
 * It claims, runs and ends one task after the other, each step in a
 * transaction of its own, and is woken by commits as the worker is (wake.c).
 * Whatever goes wrong with a task fails that task only; what can't even be
 * noted ends with the task's lease.  A command that needs the database for
 * itself, or the end of the server, cancels the handler that is running.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "handler.h"
#include "relation.h"
#include "wake.h"

#define CLAIM_SQL \
	"SELECT task, token, (SELECT pg_catalog.min(r.run_at)" \
	" FROM payorder.task_ready AS r WHERE r.handled)" \
	" FROM payorder.claim_for_handler('handler worker')"
#define RUN_SQL		"SELECT payorder.run_handler($1, $2)"
#define FAIL_SQL \
	"SELECT payorder.fail($1, $2, $3 || ': could not run the handler')"

#define LINGER			(10 * USECS_PER_SEC)
#define PAUSE_IF_FULL	1000	/* ms, when what is due may not run now */
#define START_AGAIN		(1 * USECS_PER_SEC)
#define SLOT_AGAIN		(10 * USECS_PER_SEC)

PGDLLEXPORT void payorder_handler_worker_main(Datum argument);

/* A task that this process has a lease of; task 0: none. */
typedef struct Leased
{
	int64		task;
	int64		token;
	TimestampTz next;			/* DT_NOEND: no other task */
} Leased;

/* In the database's worker: the process that runs handlers. */
static BackgroundWorkerHandle *handle = NULL;
static TimestampTz not_before = 0;

/* ---- in the database's worker ---- */

static void
end_with_me(int code, Datum argument)
{
	if (handle != NULL)
		TerminateBackgroundWorker(handle);
}

static void
start(TimestampTz now)
{
	BackgroundWorker worker = {0};
	static bool registered = false;

	if (!registered)
		before_shmem_exit(end_with_me, (Datum) 0);
	registered = true;
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "payorder", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "payorder_handler_worker_main",
			BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "payorder handlers of database %u",
			 MyDatabaseId);
	strlcpy(worker.bgw_type, "payorder handlers", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
	worker.bgw_notify_pid = MyProcPid;
	not_before = now + START_AGAIN;
	if (RegisterDynamicBackgroundWorker(&worker, &handle))
		return;
	handle = NULL;
	not_before = now + SLOT_AGAIN;
	ereport(LOG,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("could not start a process for handlers in database %u",
					MyDatabaseId),
			 errhint("Increase max_worker_processes.")));
}

static bool
is_there(void)
{
	pid_t		pid;

	if (handle == NULL)
		return false;
	if (GetBackgroundWorkerPid(handle, &pid) != BGWH_STOPPED)
		return true;
	pfree(handle);
	handle = NULL;
	return false;
}

/*
 * After each look of the database's worker at what is due: sees to it that a
 * process runs the handlers.  When to look next, if that was to be then; while
 * the process runs, the postmaster says when it has ended.
 */
TimestampTz
payorder_handler_worker_keep(TimestampTz then)
{
	TimestampTz due = payorder_handlers_found();
	TimestampTz now = GetCurrentTimestamp();
	MemoryContext caller;

	payorder_handlers_leave();
	if (is_there() || due == NO_TIME)
		return then;
	due = Max(due, not_before);
	if (due > now)
		return Min(then, due);
	caller = MemoryContextSwitchTo(TopMemoryContext);
	start(now);
	MemoryContextSwitchTo(caller);
	return handle != NULL ? then : Min(then, not_before);
}

/* ---- the process itself ---- */

static void
begin(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
}

static void
commit(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* A column of the row that a statement gave. */
static int64
column(int number, int64 missing)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0],
									  SPI_tuptable->tupdesc, number, &isnull);

	return isnull ? missing : DatumGetInt64(value);
}

static void
claim(void *argument)
{
	Leased	   *leased = argument;

	leased->task = 0;
	leased->next = DT_NOEND;
	begin(CLAIM_SQL);
	if (OidIsValid(get_extension_oid("payorder", true)))
	{
		if (SPI_execute(CLAIM_SQL, false, 1) != SPI_OK_SELECT ||
			SPI_processed != 1)
			elog(ERROR, "could not claim a task for its handler");
		leased->task = column(1, 0);
		leased->token = column(2, 0);
		leased->next = column(3, DT_NOEND);
	}
	commit();
}

static void
run(void *argument)
{
	Leased	   *leased = argument;
	Oid			types[] = {INT8OID, INT8OID};
	Datum		values[] = {
		Int64GetDatum(leased->task), Int64GetDatum(leased->token)
	};

	begin(RUN_SQL);
	if (SPI_execute_with_args(RUN_SQL, 2, types, values, NULL, false, 1) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not run a handler");
	commit();
}

typedef struct Failure
{
	const Leased *leased;
	char		state[6];		/* SQLSTATE */
} Failure;

static void
fail(void *argument)
{
	Failure    *failure = argument;
	Oid			types[] = {INT8OID, INT8OID, TEXTOID};
	Datum		values[3];

	begin(FAIL_SQL);
	values[0] = Int64GetDatum(failure->leased->task);
	values[1] = Int64GetDatum(failure->leased->token);
	values[2] = CStringGetTextDatum(failure->state);
	if (SPI_execute_with_args(FAIL_SQL, 3, types, values, NULL, false, 1) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not fail a task");
	commit();
}

/*
 * Does some work in transactions of its own, whose error must not end the
 * process; the error's SQLSTATE, 0: it went well.  A message may say what is
 * in a task, so it is not logged.
 */
static int
attempt(GuardedWork work, void *argument)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile int sqlstate = 0;

	PG_TRY();
	{
		work(argument);
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		sqlstate = geterrcode();
		AbortCurrentTransaction();
		FlushErrorState();
		pgstat_report_activity(STATE_IDLE, NULL);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	if (sqlstate != 0)
		ereport(LOG,
				(errmsg("payorder handlers: a transaction failed: SQLSTATE %s",
						unpack_sql_state(sqlstate))));
	return sqlstate;
}

/* Runs one handler; false if there is none to run now. */
static bool
run_one(TimestampTz *next)
{
	Leased		leased;
	Failure		failure = {&leased, ""};
	int			sqlstate;

	*next = GetCurrentTimestamp() + USECS_PER_SEC;
	if (attempt(claim, &leased) != 0)
		return false;
	*next = leased.next;
	if (leased.task == 0)
		return false;
	sqlstate = attempt(run, &leased);
	if (sqlstate != 0)
	{
		strlcpy(failure.state, unpack_sql_state(sqlstate),
				sizeof(failure.state));
		(void) attempt(fail, &failure);
	}
	return true;
}

/* What is due and may not run, its kind being full, is tried now and then. */
static long
time_to_sleep(TimestampTz next, TimestampTz end)
{
	TimestampTz now = GetCurrentTimestamp();
	long		wait = payorder_poll_interval;

	if (next <= now)
		return Min(wait, PAUSE_IF_FULL);
	wait = Min(wait, TimestampDifferenceMilliseconds(now, Min(next, end)));
	return Max(wait, 1);
}

static void
rest(TimestampTz next, TimestampTz end)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 time_to_sleep(next, end), PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

void
payorder_handler_worker_main(Datum argument)
{
	TimestampTz end = GetCurrentTimestamp() + LINGER;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(argument),
											  InvalidOid, 0);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET,
					PGC_S_OVERRIDE);
	SetConfigOption("application_name", "payorder handlers", PGC_USERSET,
					PGC_S_OVERRIDE);
	payorder_wake_attach();
	while (!payorder_wake_told_to_go() && GetCurrentTimestamp() < end)
	{
		TimestampTz next;

		payorder_wake_sleeping_until(DT_NOEND);
		if (run_one(&next))
			end = GetCurrentTimestamp() + LINGER;
		else
		{
			payorder_wake_sleeping_until(next);
			rest(next, end);
		}
		CHECK_FOR_INTERRUPTS();
	}
	proc_exit(0);
}
