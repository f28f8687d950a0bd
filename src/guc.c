/*-------------------------------------------------------------------------
 *
 * guc.c
 *		Settings, each described where it is defined and in doc/settings.md.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/guc.h"

#include "guc.h"

int			payorder_lock_wait = 2000;
int			payorder_park_alert = 600;
int			payorder_park_limit = 259200;
int			payorder_poll_interval = 1000;
bool		payorder_store_body = true;
char	   *payorder_databases = NULL;
char	   *payorder_trace = NULL;

#define LONGEST_TRACE	256

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
	MarkGUCPrefixReserved("payorder");
}
