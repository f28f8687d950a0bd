/*-------------------------------------------------------------------------
 *
 * handler.c
 *		Tasks that a function does: claim one, call the function, end it.
 *
 * Who runs handlers claims one task, commits, and calls run_handler() in a
 * transaction of its own.  The lease is what a worker's program has: a crash
 * leaves it, and sweep() gives the task back after its time, so that a task
 * that brings the server down is counted and in the end dead.  What a handler
 * did and the end of its task commit together; if the lease was lost
 * meanwhile, neither does.
 *
 * The handler runs in a subtransaction, as the function's owner, in a
 * security-restricted operation and under a pinned search_path; its settings
 * end with it.  Longer than the kind's lease it is cancelled, again each
 * second if it goes on, and a background worker that still runs it then ends.
 *
 * Locks: those that the handler takes, then the lease; the order of the task
 * is not locked, since nothing here touches it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "guc.h"
#include "handler.h"
#include "relation.h"
#include "task.h"
#include "task_handler.h"
#include "timer.h"

#define CANCEL_AGAIN	1000	/* ms between two cancellations */
#define MOST_CANCELS	5		/* then a background worker ends */
#define LONGEST_ERROR	1000	/* bytes that are kept of a message */

/* A handler's lease must hold, or its task is not to be ended. */
static Statement get_call = {
	.sql = "SELECT k.handler, k.handler_owner::text,"
	" (extract(epoch FROM k.lease) * 1000)::bigint, b.trace, l.attempts,"
	" l.first_tried_at, ROW(l.task_id, NULL, b.kind, b.order_no, b.gateway,"
	" g.adapter, g.merchant_id, b.idempotency_key, l.attempts,"
	" l.first_tried_at, b.not_after, l.leased_until, b.trace, b.payload)"
	"::payorder.task_info, b.kind, b.gateway"
	" FROM payorder.task_leases AS l"
	" JOIN payorder.tasks AS b ON b.id = l.task_id"
	" JOIN payorder.task_kinds AS k ON k.kind = l.kind"
	" LEFT JOIN payorder.gateways AS g ON g.gateway = b.gateway"
	" WHERE l.task_id = $1 AND l.token = $2 AND k.worked_by = 'handler'",
	.arguments = "ll"
};

PG_FUNCTION_INFO_V1(payorder_claim_for_handler);
PG_FUNCTION_INFO_V1(payorder_run_handler);

/* One call of a handler. */
typedef struct HandlerCall
{
	Handler		handler;
	int64		most;			/* ms that it may take */
	const char *trace;
	Task		task;
	Datum		info;			/* task_info */
	char	   *result;			/* json; NULL: none */
	MemoryContext memory;		/* of the result */
} HandlerCall;

static volatile sig_atomic_t cancels = 0;
static bool left_to_others = false;
static TimestampTz next_found = NO_TIME;

/* In a signal handler: what statement_timeout does, in any process. */
static void
time_is_over(void)
{
	InterruptPending = true;
	QueryCancelPending = true;
	if (++cancels > MOST_CANCELS && MyBgworkerEntry != NULL)
		ProcDiePending = true;
	SetLatch(MyLatch);
}

static TimeoutId
time_limit(void)
{
	static TimeoutId id = MAX_TIMEOUTS;

	if (id == MAX_TIMEOUTS)
		id = RegisterTimeout(USER_TIMEOUT, time_is_over);
	return id;
}

static void
set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* Calls the function as its owner; its result, NULL: none. */
static Datum
call_function(const HandlerFunction *function, Datum info, bool *isnull)
{
	LOCAL_FCINFO(call, 1);
	FmgrInfo	manager;
	Datum		result;

	fmgr_info(function->function, &manager);
	InitFunctionCallInfoData(*call, &manager, 1, InvalidOid, NULL, NULL);
	call->args[0].value = info;
	call->args[0].isnull = false;
	result = FunctionCallInvoke(call);
	*isnull = call->isnull || !function->returns_json;
	return result;
}

/*
 * Runs the handler within its limit.  What cancels it just when it ends is its
 * error still, not one of what comes after.
 */
static void
run_limited(HandlerCall *call, const HandlerFunction *function)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												  call->most);
	MemoryContext inner = CurrentMemoryContext;
	bool		isnull = true;
	Datum		result = (Datum) 0;

	cancels = 0;
	enable_timeout_every(time_limit(), end, CANCEL_AGAIN);
	PG_TRY();
	{
		result = call_function(function, call->info, &isnull);
	}
	PG_CATCH();
	{
		disable_timeout(time_limit(), false);
		if (cancels > 0)
			QueryCancelPending = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	disable_timeout(time_limit(), false);
	CHECK_FOR_INTERRUPTS();
	MemoryContextSwitchTo(call->memory);
	call->result = isnull ? NULL : TextDatumGetCString(result);
	MemoryContextSwitchTo(inner);
}

/* An error undoes user, context and settings with the subtransaction. */
static void
run_restricted(void *argument)
{
	HandlerCall *call = argument;
	HandlerFunction function = payorder_handler_find(&call->handler);
	int			nest_level = NewGUCNestLevel();
	Oid			user;
	int			context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(function.owner,
						   context | SECURITY_RESTRICTED_OPERATION);
	set_local("search_path", "pg_catalog, pg_temp");
	set_local("payorder.trace", call->trace ? call->trace : "");
	run_limited(call, &function);
	AtEOXact_GUC(false, nest_level);
	SetUserIdAndSecContext(user, context);
}

static HandlerCall *
find_call(int64 id, int64 token)
{
	Rows	   *rows = payorder_query(&get_call, id, token);
	HandlerCall *call = palloc0(sizeof(HandlerCall));
	Reader		reader;

	if (rows->count == 0)
		payorder_lease_lost(id);
	reader = payorder_row(rows, 0);
	call->handler.name = payorder_read_text(&reader);
	call->handler.owner = payorder_read_text(&reader);
	call->most = payorder_read_number(&reader);
	call->trace = payorder_read_text(&reader);
	call->task.attempts = payorder_read_number(&reader);
	call->task.first_tried_at = payorder_read_time(&reader);
	call->info = (reader.next++)->datum;
	call->task.kind = payorder_read_text(&reader);
	call->task.gateway = payorder_read_text(&reader);
	call->task.id = id;
	call->task.token = token;
	call->memory = CurrentMemoryContext;
	return call;
}

/* What is kept of an error: SQLSTATE and message. */
static char *
error_text(const ErrorData *error)
{
	const char *message = error->message ? error->message : "";
	int			length = pg_mbcliplen(message, strlen(message),
									  LONGEST_ERROR);

	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && cancels > 0)
		return psprintf("%s: the handler took longer than its lease",
						unpack_sql_state(error->sqlerrcode));
	return psprintf("%s: %s", unpack_sql_state(error->sqlerrcode),
					pnstrdup(message, length));
}

/*
 * Whether this transaction can't say what became of the task: the server
 * failed, somebody cancelled the caller, or its snapshot is too old.
 */
static bool
ends_transaction(const ErrorData *error)
{
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && cancels > 0)
		return false;
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK)
		return IsolationUsesXactSnapshot();
	return payorder_is_server_failure(error->sqlerrcode);
}

static const char *
give_back(const HandlerCall *call, const ErrorData *error)
{
	bool		for_good = error->sqlerrcode == ERRCODE_PO_GIVEN_UP;

	ereport(LOG,
			(errmsg("handler of task " INT64_FORMAT " of kind \"%s\" failed: SQLSTATE %s",
					call->task.id, call->task.kind,
					unpack_sql_state(error->sqlerrcode))));
	return payorder_task_give_back(&call->task, error_text(error),
								   !for_good) ? "dead" : "ready";
}

Datum
payorder_run_handler(PG_FUNCTION_ARGS)
{
	HandlerCall *call;
	ErrorData  *error;
	const char *outcome = "done";

	payorder_prevent_read_only("run_handler()");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("task and token must not be null"),
				 errhint("Give what claim_for_handler() returned.")));
	call = find_call(PG_GETARG_INT64(0), PG_GETARG_INT64(1));
	error = payorder_caught(run_restricted, call);
	if (error != NULL && ends_transaction(error))
		ReThrowError(error);
	payorder_require_sync();
	if (!payorder_task_take(&call->task))
		payorder_lease_lost(call->task.id);
	if (error != NULL)
		outcome = give_back(call, error);
	else
		payorder_task_done(&call->task, call->result);
	PG_RETURN_TEXT_P(cstring_to_text(outcome));
}

Datum
payorder_claim_for_handler(PG_FUNCTION_ARGS)
{
	char	   *worker = payorder_text_argument(fcinfo, 0);
	Datum		values[2] = {0};
	bool		nulls[2] = {true, true};
	Rows	   *rows;

	payorder_prevent_read_only("claim_for_handler()");
	if (worker == NULL)
		worker = psprintf("handlers %d", MyProcPid);
	rows = payorder_claim_handled(worker);
	for (int i = 0; i < 2 && rows->count > 0; i++)
	{
		values[i] = Int64GetDatum(rows->cells[i].number);
		nulls[i] = false;
	}
	PG_RETURN_DATUM(payorder_composite(fcinfo, values, nulls));
}

/*
 * When a handler is to be called next, NO_TIME: never, or another process is
 * there for that.
 */
TimestampTz
payorder_handlers_next(void)
{
	next_found = payorder_tasks_next_handled();
	return left_to_others ? NO_TIME : next_found;
}

/* What payorder_handlers_next() found since this was asked. */
TimestampTz
payorder_handlers_found(void)
{
	TimestampTz found = next_found;

	next_found = NO_TIME;
	return found;
}

/* From now on this process does not count handlers among what it has to do. */
void
payorder_handlers_leave(void)
{
	left_to_others = true;
}
