/*-------------------------------------------------------------------------
 *
 * guc.c
 *		Settings, each described where it is defined and in doc/settings.md.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "utils/guc.h"

#include "guc.h"

int			payorder_lock_wait = 2000;
int			payorder_park_alert = 600;
int			payorder_park_limit = 259200;
int			payorder_poll_interval = 1000;
int			payorder_full_sweep_interval = 10000;
int			payorder_max_body = 256 * 1024;
int			payorder_min_sync = SYNCHRONOUS_COMMIT_LOCAL_FLUSH;
bool		payorder_store_body = true;
char	   *payorder_databases = NULL;
char	   *payorder_trace = NULL;
char	   *payorder_secret_directory = NULL;
char	   *payorder_seal_key = NULL;

int			payorder_row_access = ROW_ACCESS_KEYED;

#define LONGEST_TRACE	256

/* The values of synchronous_commit, weakest first. */
static const struct config_enum_entry sync_levels[] = {
	{"off", SYNCHRONOUS_COMMIT_OFF, false},
	{"local", SYNCHRONOUS_COMMIT_LOCAL_FLUSH, false},
	{"remote_write", SYNCHRONOUS_COMMIT_REMOTE_WRITE, false},
	{"on", SYNCHRONOUS_COMMIT_REMOTE_FLUSH, false},
	{"remote_apply", SYNCHRONOUS_COMMIT_REMOTE_APPLY, false},
	{NULL, 0, false}
};

static const struct config_enum_entry row_accesses[] = {
	{"keyed", ROW_ACCESS_KEYED, false},
	{"sql", ROW_ACCESS_SQL, false},
	{NULL, 0, false}
};

static bool
check_secret_directory(char **value, void **extra, GucSource source)
{
	if (**value == '\0' || is_absolute_path(*value))
		return true;
	GUC_check_errdetail("It must be an absolute path.");
	return false;
}

/*
 * What this transaction does must not be lost once it has committed: raises
 * synchronous_commit to payorder.min_sync for the rest of it.
 */
void
payorder_require_sync(void)
{
	if (synchronous_commit >= payorder_min_sync)
		return;
	for (const struct config_enum_entry *level = sync_levels; level->name != NULL; level++)
	{
		if (level->val == payorder_min_sync)
			(void) set_config_option("synchronous_commit", level->name,
									 PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_LOCAL, true, 0, false);
	}
}

/* The trace context to note, NULL: none. */
const char *
payorder_current_trace(void)
{
	const char *trace = payorder_trace;

	if (trace == NULL || trace[0] == '\0')
		return NULL;
	return pnstrdup(trace, pg_mbcliplen(trace, strlen(trace), LONGEST_TRACE));
}

void
payorder_define_settings(void)
{
	DefineCustomIntVariable("payorder.lock_wait",
							"Longest wait for another transaction.",
							"A callback that waits longer is deferred, other calls raise 55P03.",
							&payorder_lock_wait, 2000, 1, 60000,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("payorder.park_alert",
							"Age at which a parked payment raises an alarm.",
							NULL,
							&payorder_park_alert, 600, 1, 31622400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("payorder.park_limit",
							"Age at which a parked payment waits for a person.",
							NULL,
							&payorder_park_limit, 259200, 1, 31622400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("payorder.poll_interval",
							"Longest sleep of a worker between two sweeps.",
							NULL,
							&payorder_poll_interval, 1000, 10, 60000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("payorder.full_sweep_interval",
							"Longest time between two looks of a worker at all timers.",
							"Between them it looks only beyond those that it knows to have fired.",
							&payorder_full_sweep_interval, 10000, 0, 10000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("payorder.max_body",
							"Largest body of a gateway's message that ingest_http() looks at.",
							NULL,
							&payorder_max_body, 256 * 1024, 1024, 16 * 1024 * 1024,
							PGC_SUSET, GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomEnumVariable("payorder.min_sync",
							 "Weakest synchronous_commit of transactions that take callbacks or send money.",
							 "A lower synchronous_commit is raised to it for the transaction.",
							 &payorder_min_sync,
							 SYNCHRONOUS_COMMIT_LOCAL_FLUSH, sync_levels,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("payorder.store_body",
							 "Stores the payload of callbacks beside its SHA-256.",
							 NULL,
							 &payorder_store_body, true,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("payorder.databases",
							   "Databases in which the preloaded worker runs, separated by commas.",
							   NULL,
							   &payorder_databases, "",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("payorder.trace",
							   "Trace context that is noted with events and tasks.",
							   "Up to 256 characters, for example a W3C traceparent.",
							   &payorder_trace, "",
							   PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("payorder.row_access",
							 "How the kernel's statements about rows by their keys are done.",
							 "With \"sql\" all of them pass the executor, where extensions that look at statements see them.",
							 &payorder_row_access, ROW_ACCESS_KEYED,
							 row_accesses, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("payorder.secret_directory",
							   "Folder whose files gateways' keys may refer to as file:NAME.",
							   "It and its files belong to the server's user; nobody else may write to it, or read them.",
							   &payorder_secret_directory, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   check_secret_directory, NULL, NULL);
	DefineCustomStringVariable("payorder.seal_key",
							   "Key that seals secrets: file:NAME or env:PAYORDER_NAME.",
							   "32 bytes, or 64 hexadecimal digits.",
							   &payorder_seal_key, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	MarkGUCPrefixReserved("payorder");
}
