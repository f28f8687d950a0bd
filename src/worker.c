/*-------------------------------------------------------------------------
 *
 * worker.c
 *		The launcher and the worker of a database.
 *
 * Preloaded, a launcher without a database connection keeps one worker for
 * each database of payorder.databases; it alone starts them again, with a
 * growing pause when they end soon.  Elsewhere start_worker() starts one, and
 * the postmaster starts it again after a crash.
 *
 * A worker calls payorder.sweep() in transactions of its own and sleeps until
 * something is due, a commit wakes it (wake.c), or the poll interval is over.
 * A session-level advisory lock makes it the only one of its database; a
 * second one ends at once.  Whatever goes wrong in a sweep is logged and
 * tried again; the worker itself goes on.  Without the extension in its
 * database it idles.
 *
 * A sweep holds the extension's lock, shared, from its first moment on: DROP
 * EXTENSION waits for the end of the sweep, and the next one for the end of
 * the DROP, so that they can't deadlock.
 *
 * SIGTERM cancels the sweep that runs, whatever it waits for, and the worker
 * then ends with status 0: the postmaster is not to start it again.
 *
 * A crash leaves nothing: what was not committed is due again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "compat.h"
#include "guc.h"
#include "handler.h"
#include "relation.h"
#include "timer.h"
#include "wake.h"
#include "worker.h"

/* "payo", "rder": the advisory lock of the one worker of a database. */
#define LOCK_SQL "SELECT pg_catalog.pg_try_advisory_lock(1885438319, 1919182194)"
#define SWEEP_SQL \
	"SELECT (s).more, payorder.next_due() FROM payorder.sweep() AS s"

#define RESTART_SECONDS		5
#define LONGEST_PAUSE		60000	/* ms */
#define MOST_DOUBLINGS		4		/* of a second, after failed sweeps */
#define PAUSE_IF_LEFT		50		/* ms */
#define MOST_DATABASES		64

PGDLLEXPORT void payorder_launcher_main(Datum argument);
PGDLLEXPORT void payorder_worker_main(Datum argument);
PG_FUNCTION_INFO_V1(payorder_start_worker);

/* A database that the launcher keeps a worker for. */
typedef struct Kept
{
	char		database[NAMEDATALEN];
	BackgroundWorkerHandle *handle;
	TimestampTz started_at;
	TimestampTz not_before;
	TimestampTz complained_at;	/* that no slot was free */
	int			pause;			/* ms */
} Kept;

static Kept kept[MOST_DATABASES];
static int	kept_count = 0;

/* The worker's mark: no timer lies before it; and when it saw all of them. */
static TimestampTz mark = DT_NOBEGIN;
static TimestampTz all_seen_at = 0;

/* The instant up to which the last sweep did what was due. */
static TimestampTz swept_at = 0;
static Oid	swept = InvalidOid; /* the extension in which it does */

static void
describe_worker(BackgroundWorker *worker, const char *database, Oid oid)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	strlcpy(worker->bgw_library_name, "payorder", BGW_MAXLEN);
	strlcpy(worker->bgw_function_name, "payorder_worker_main", BGW_MAXLEN);
	snprintf(worker->bgw_name, BGW_MAXLEN, "payorder worker %s", database);
	strlcpy(worker->bgw_type, "payorder worker", BGW_MAXLEN);
	strlcpy(worker->bgw_extra, database, BGW_EXTRALEN);
	worker->bgw_main_arg = ObjectIdGetDatum(oid);
	worker->bgw_notify_pid = MyProcPid;
}

/* Registers the launcher; called while the postmaster loads the library. */
void
payorder_worker_register(void)
{
	BackgroundWorker launcher = {0};

	launcher.bgw_flags = BGWORKER_SHMEM_ACCESS;
	launcher.bgw_start_time = BgWorkerStart_RecoveryFinished;
	launcher.bgw_restart_time = RESTART_SECONDS;
	strlcpy(launcher.bgw_library_name, "payorder", BGW_MAXLEN);
	strlcpy(launcher.bgw_function_name, "payorder_launcher_main", BGW_MAXLEN);
	strlcpy(launcher.bgw_name, "payorder launcher", BGW_MAXLEN);
	strlcpy(launcher.bgw_type, "payorder launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&launcher);
}

/* ---- launcher ---- */

static Kept *
find_kept(const char *database)
{
	for (int i = 0; i < kept_count; i++)
	{
		if (strcmp(kept[i].database, database) == 0)
			return &kept[i];
	}
	return NULL;
}

/* Takes up the databases of the setting; those that left it are stopped. */
static void
read_databases(void)
{
	char	   *setting = pstrdup(payorder_databases ? payorder_databases : "");
	List	   *names = NIL;
	ListCell   *cell;

	if (!SplitIdentifierString(setting, ',', &names))
	{
		ereport(LOG,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("setting \"payorder.databases\" is not a list of names")));
		pfree(setting);
		return;
	}
	for (int i = kept_count - 1; i >= 0; i--)
	{
		bool		wanted = false;

		foreach(cell, names)
			wanted |= strcmp(lfirst(cell), kept[i].database) == 0;
		if (wanted)
			continue;
		if (kept[i].handle != NULL)
			TerminateBackgroundWorker(kept[i].handle);
		kept[i] = kept[--kept_count];
	}
	foreach(cell, names)
	{
		if (find_kept(lfirst(cell)) != NULL)
			continue;
		if (kept_count == MOST_DATABASES)
		{
			ereport(LOG,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("database \"%s\" has no payorder worker",
							(char *) lfirst(cell)),
					 errdetail("At most %d databases have one.",
							   MOST_DATABASES)));
			continue;
		}
		memset(&kept[kept_count], 0, sizeof(Kept));
		strlcpy(kept[kept_count].database, lfirst(cell), NAMEDATALEN);
		kept[kept_count++].pause = 1000;
	}
	list_free(names);
	pfree(setting);
}

/* Notices that a worker has ended; one that ended soon waits longer. */
static void
note_end(Kept *database, TimestampTz now)
{
	bool		soon = now < database->started_at + 10 * USECS_PER_SEC;

	database->pause = soon ? Min(database->pause * 2, LONGEST_PAUSE) : 1000;
	database->not_before = TimestampTzPlusMilliseconds(now, database->pause);
	pfree(database->handle);
	database->handle = NULL;
}

/* Tries to start a worker; complains less and less often. */
static void
start_kept(Kept *database, TimestampTz now)
{
	BackgroundWorker worker;

	describe_worker(&worker, database->database, InvalidOid);
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	if (RegisterDynamicBackgroundWorker(&worker, &database->handle))
	{
		database->started_at = now;
		if (database->complained_at != 0)
			database->pause = 1000;
		database->complained_at = 0;
		return;
	}
	if (database->complained_at != 0 &&
		now < TimestampTzPlusMilliseconds(database->complained_at,
										  database->pause))
		return;
	if (database->complained_at != 0)
		database->pause = Min(database->pause * 2, LONGEST_PAUSE);
	database->complained_at = now;
	ereport(LOG,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("could not start payorder worker for database \"%s\"",
					database->database),
			 errdetail("All background worker slots are in use."),
			 errhint("Increase max_worker_processes.")));
}

static void
keep_workers(void)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < kept_count; i++)
	{
		pid_t		pid;

		if (kept[i].handle != NULL &&
			GetBackgroundWorkerPid(kept[i].handle, &pid) == BGWH_STOPPED)
			note_end(&kept[i], now);
		if (kept[i].handle == NULL && now >= kept[i].not_before &&
			!payorder_wake_is_let_go(kept[i].database))
			start_kept(&kept[i], now);
	}
}

void
payorder_launcher_main(Datum argument)
{
	uint32		wait_event = payorder_new_wait_event("PayorderLauncher");

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	read_databases();
	while (!ShutdownRequestPending)
	{
		keep_workers();
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 1000, wait_event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			read_databases();
		}
	}
	for (int i = 0; i < kept_count; i++)
	{
		if (kept[i].handle != NULL)
			TerminateBackgroundWorker(kept[i].handle);
	}
	proc_exit(1);
}

/* ---- worker ---- */

/*
 * What is set for the database or for the role is meant for clients: the
 * worker's own settings stand above it.
 */
static void
pin_settings(void)
{
	static const char *const pinned[][2] = {
		{"role", "none"},
		{"search_path", "pg_catalog, pg_temp"},
		{"application_name", "payorder worker"},
		{"session_replication_role", "origin"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"idle_session_timeout", "0"},
#ifdef PAYORDER_HAS_TRANSACTION_TIMEOUT
		{"transaction_timeout", "0"},
#endif
	};

	for (size_t i = 0; i < lengthof(pinned); i++)
		SetConfigOption(pinned[i][0], pinned[i][1], PGC_SUSET,
						PGC_S_OVERRIDE);
}

/* SIGTERM: cancels what runs; the worker ends when it is back in its loop. */
static void
stop(SIGNAL_ARGS)
{
	int			saved = errno;

	ShutdownRequestPending = true;
	QueryCancelPending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
	errno = saved;
}

static void
begin(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
	set_ps_display("sweeping");
}

static void
report_idle(void)
{
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	set_ps_display("idle");
}

static void
commit(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	report_idle();
}

/* Whether this is now the one worker of its database. */
static bool
take_lock(void)
{
	bool		isnull;
	bool		taken;

	begin(LOCK_SQL);
	if (SPI_execute(LOCK_SQL, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not ask for the worker's lock");
	taken = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0],
									   SPI_tuptable->tupdesc, 1, &isnull));
	commit();
	return taken;
}

/*
 * Where a sweep begins to look for timers.  What a transaction has armed behind
 * the mark it tells at its commit; one that was prepared does not, so that now
 * and then all is looked at.
 */
static void
begin_at_mark(TimestampTz now)
{
	TimestampTz armed = payorder_wake_armed();

	if (now >= all_seen_at + payorder_full_sweep_interval * INT64CONST(1000) ||
		now < all_seen_at)
	{
		mark = DT_NOBEGIN;
		all_seen_at = now;
	}
	payorder_timers_begin_at(Min(mark, armed));
	mark = DT_NOBEGIN;
}

/*
 * The extension, locked against being dropped until the end of the
 * transaction; InvalidOid: there is none.
 */
static Oid
lock_extension(void)
{
	Oid			extension = get_extension_oid("payorder", true);

	if (!OidIsValid(extension))
		return InvalidOid;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	return get_extension_oid("payorder", true) == extension ? extension :
		InvalidOid;
}

/* One sweep; whether more is due at once, else when it will be. */
static bool
sweep(TimestampTz *next)
{
	TimestampTz now = GetCurrentTimestamp();
	Oid			extension;
	TimestampTz first = DT_NOBEGIN;
	bool		more = false;
	bool		isnull;

	*next = DT_NOEND;
	begin_at_mark(now);
	begin(SWEEP_SQL);
	swept_at = GetCurrentTransactionStartTimestamp();
	extension = lock_extension();
	if (extension != swept)
		payorder_timers_begin_at(DT_NOBEGIN);
	swept = extension;
	if (OidIsValid(extension))
	{
		if (SPI_execute(SWEEP_SQL, false, 1) != SPI_OK_SELECT ||
			SPI_processed != 1)
			elog(ERROR, "could not sweep");
		more = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0],
										  SPI_tuptable->tupdesc, 1, &isnull));
		*next = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0],
												  SPI_tuptable->tupdesc, 2,
												  &isnull));
		if (isnull)
			*next = DT_NOEND;
		first = payorder_timers_first();
	}
	commit();
	mark = Min(first, now);
	return more;
}

/* A sweep that must not end the worker; false if it failed. */
static bool
try_sweep(bool *more, TimestampTz *next)
{
	volatile bool done = false;

	PG_TRY();
	{
		*more = sweep(next);
		done = true;
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		if (!ShutdownRequestPending ||
			geterrcode() != ERRCODE_QUERY_CANCELED)
			EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		report_idle();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	return done;
}

/*
 * Until the next thing is due, not at all if that came during the last sweep;
 * what was due before it and was left, because somebody holds its order, is
 * looked at again after a short while.
 */
static long
time_to_sleep(TimestampTz next)
{
	TimestampTz now = GetCurrentTimestamp();
	long		wait = payorder_poll_interval;

	if (next <= swept_at)
		return Min(wait, PAUSE_IF_LEFT);
	if (next <= now)
		return 0;
	if (next != DT_NOEND)
		wait = Min(wait, TimestampDifferenceMilliseconds(now, next));
	return Max(wait, 1);
}

static void
wait_for_latch(long timeout)
{
	static uint32 wait_event = 0;

	if (wait_event == 0)
		wait_event = payorder_new_wait_event("PayorderWorker");
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 timeout, wait_event);
	ResetLatch(MyLatch);
}

/*
 * Between two sweeps.  There is nothing to cancel: a request that came too
 * late must not end the worker.
 */
static void
see_to_signals(void)
{
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* After failed sweeps no commit wakes the worker: the next would fail, too. */
static void
pause_after(int failures)
{
	payorder_wake_sleeping_until(DT_NOBEGIN);
	wait_for_latch(1000L << Min(failures - 1, MOST_DOUBLINGS));
}

static void
work_until_stopped(void)
{
	int			failures = 0;

	while (!ShutdownRequestPending && !payorder_wake_told_to_go())
	{
		TimestampTz next = DT_NOEND;
		bool		more = false;

		payorder_wake_sleeping_until(DT_NOEND);
		failures = try_sweep(&more, &next) ? 0 : failures + 1;
		if (ShutdownRequestPending)
			break;
		next = payorder_handler_worker_keep(next);
		if (failures > 0)
			pause_after(failures);
		else if (!more)
		{
			payorder_wake_sleeping_until(next);
			wait_for_latch(time_to_sleep(next));
		}
		see_to_signals();
	}
}

void
payorder_worker_main(Datum argument)
{
	Oid			database = DatumGetObjectId(argument);

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, stop);
	BackgroundWorkerUnblockSignals();
	if (OidIsValid(database))
		BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	else
		BackgroundWorkerInitializeConnection(MyBgworkerEntry->bgw_extra, NULL,
											 0);
	pin_settings();
	if (!take_lock())
	{
		ereport(LOG,
				(errmsg("payorder worker ends: another session of database %u holds its lock",
						MyDatabaseId)));
		proc_exit(0);
	}
	payorder_wake_attach();
	if (payorder_wake_is_let_go(MyBgworkerEntry->bgw_extra))
		proc_exit(0);
	ereport(LOG, (errmsg("payorder worker started for database %u",
						 MyDatabaseId)));
	work_until_stopped();
	proc_exit(0);
}

/* Starts a worker for this database without the library being preloaded. */
Datum
payorder_start_worker(PG_FUNCTION_ARGS)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	BgwHandleStatus status;
	pid_t		pid;

	payorder_prevent_read_only("start_worker()");
	describe_worker(&worker, get_database_name(MyDatabaseId), MyDatabaseId);
	worker.bgw_restart_time = RESTART_SECONDS;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start a worker"),
				 errhint("Increase max_worker_processes.")));
	status = WaitForBackgroundWorkerStartup(handle, &pid);
	if (status == BGWH_POSTMASTER_DIED)
		ereport(ERROR,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("could not start a worker, the postmaster is gone"),
				 errhint("Look into the server's log.")));
	if (status != BGWH_STARTED)
		PG_RETURN_NULL();
	PG_RETURN_INT32(pid);
}
