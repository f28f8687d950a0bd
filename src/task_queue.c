/*-------------------------------------------------------------------------
 *
 * task_queue.c
 *		The queue's SQL functions: define_task_kind, enqueue and heartbeat.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "errors.h"
#include "guc.h"
#include "json.h"
#include "relation.h"
#include "task.h"
#include "task_handler.h"
#include "timer.h"

static Statement upsert_kind = {
	.sql = "INSERT INTO payorder.task_kinds AS k (id, kind, worked_by, money_out,"
	" lease, max_attempts, backoff_base, backoff_max, backoff_list,"
	" handler, handler_owner)"
	" VALUES (pg_catalog.nextval('payorder.task_kind_ids'), $1,"
	" coalesce((SELECT b.worked_by FROM payorder.task_kinds AS b"
	" WHERE b.kind = $1 AND b.id < 100),"
	" CASE WHEN $7 IS NULL THEN 'client' ELSE 'handler' END),"
	" coalesce((SELECT b.money_out FROM payorder.task_kinds AS b"
	" WHERE b.kind = $1 AND b.id < 100), false), $2, $3, $4, $5, $6,"
	" $7, $8::name)"
	" ON CONFLICT (kind, (id >= 100)) DO UPDATE SET lease = excluded.lease,"
	" max_attempts = excluded.max_attempts,"
	" backoff_base = excluded.backoff_base,"
	" backoff_max = excluded.backoff_max,"
	" backoff_list = excluded.backoff_list,"
	" handler = coalesce(excluded.handler, k.handler),"
	" handler_owner = coalesce(excluded.handler_owner, k.handler_owner)"
	" WHERE k.worked_by = 'handler' OR excluded.handler IS NULL",
	.arguments = "tvivvVtt"
};
static Statement prolong = {
	.sql = "UPDATE payorder.task_leases AS l SET leased_until = $3"
	" + pg_catalog.make_interval(secs => extract(epoch FROM coalesce($4,"
	" (SELECT k.lease FROM payorder.task_kinds AS k WHERE k.kind = l.kind"
	" ORDER BY k.id DESC LIMIT 1)))::float8)"
	" WHERE task_id = $1 AND token = $2 RETURNING leased_until",
	.arguments = "llzv"
};

/* What define_task_kind() was called with. */
typedef struct KindCall
{
	const char *kind;
	Interval   *lease;
	int			max_attempts;
	Interval   *backoff_base;
	Interval   *backoff_max;
	ArrayType  *backoff_list;
	Handler		handler;
} KindCall;

PG_FUNCTION_INFO_V1(payorder_define_task_kind);
PG_FUNCTION_INFO_V1(payorder_enqueue);
PG_FUNCTION_INFO_V1(payorder_heartbeat);

/* An interval that a caller gives, NULL for NULL. */
Interval *
payorder_interval_argument(FunctionCallInfo fcinfo, int number,
						   const char *name)
{
	Interval   *interval;
	int64		length;

	if (PG_ARGISNULL(number))
		return NULL;
	interval = PG_GETARG_INTERVAL_P(number);
	if (!payorder_duration(interval, &length))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is out of range", name),
				 errhint("An interval here is positive, at most 366 days, and without months.")));
	return interval;
}

static ArrayType *
intervals_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	ArrayType  *array;
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int64		length;

	if (PG_ARGISNULL(number))
		return NULL;
	array = PG_GETARG_ARRAYTYPE_P(number);
	deconstruct_array(array, INTERVALOID, sizeof(Interval), false,
					  TYPALIGN_DOUBLE, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i] ||
			!payorder_duration(DatumGetIntervalP(elements[i]), &length))
			count = 0;
	}
	if (count == 0 || ARR_NDIM(array) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is out of range", name),
				 errhint("Give one or more intervals, each positive, at most 366 days, and without months.")));
	return array;
}

static void
check_kind(FunctionCallInfo fcinfo, const char *kind)
{
	size_t		length = strlen(kind);

	for (int i = 1; i <= 4; i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("lease, max_attempts and backoff must not be null"),
					 errhint("Leave them out to have their defaults.")));
	}
	if (length == 0 || length > 63 ||
		strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789_") != length)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid task kind"),
				 errhint("A kind is 1 to 63 lower-case letters, digits or \"_\".")));
	if (PG_GETARG_INT32(2) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_attempts must be positive"),
				 errhint("Give 1 or more.")));
}

/*
 * Stores a kind, as the owner of the function.  Whether it has a handler was
 * decided when it was first defined: tasks that are ready say it, too.
 */
static void
store_kind(void *argument)
{
	KindCall   *call = argument;
	TaskKind	known;

	if (call->handler.name != NULL &&
		payorder_task_kind(call->kind, 1, &known) && known.is_kernels)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a kind of the kernel cannot have a handler"),
				 errhint("Define a kind of your own.")));
	if (payorder_execute(&upsert_kind, call->kind, call->lease,
						 call->max_attempts, call->backoff_base,
						 call->backoff_max, call->backoff_list,
						 call->handler.name, call->handler.owner) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("kind \"%s\" is worked with claim() and cannot get a handler",
						call->kind),
				 errhint("Define another kind.")));
}

Datum
payorder_define_task_kind(PG_FUNCTION_ARGS)
{
	KindCall	call = {.kind = payorder_required_text(fcinfo, 0, "kind")};
	const char *handler = payorder_text_argument(fcinfo, 6);

	payorder_prevent_read_only("define_task_kind()");
	check_kind(fcinfo, call.kind);
	call.lease = payorder_interval_argument(fcinfo, 1, "lease");
	call.max_attempts = PG_GETARG_INT32(2);
	call.backoff_base = payorder_interval_argument(fcinfo, 3, "backoff_base");
	call.backoff_max = payorder_interval_argument(fcinfo, 4, "backoff_max");
	call.backoff_list = intervals_argument(fcinfo, 5, "backoff_list");
	if (handler != NULL)
		call.handler = payorder_handler_define(handler);
	payorder_as_owner(fcinfo->flinfo->fn_oid, store_kind, &call);
	PG_RETURN_VOID();
}

/* Whether a user may ask for a task of a kind, at an instant. */
void
payorder_task_check_request(const char *name, TimestampTz run_at)
{
	TaskKind	kind;

	if (!payorder_task_kind(name, 1, &kind))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown task kind \"%s\"", payorder_shown(name)),
				 errhint("Define it with define_task_kind().")));
	if (kind.is_kernels)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("tasks of kind \"%s\" are made by the kernel only",
						name),
				 errhint("Use request_refund() for a refund.")));
	if (TIMESTAMP_NOT_FINITE(run_at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("run_at must be finite"),
				 errhint("Give an instant, or NULL for now.")));
}

/* The order that a task names; NULL: none. */
void
payorder_task_check_order(const char *order_no)
{
	if (order_no != NULL && !payorder_is_id(order_no))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid order_no"),
				 errhint("An order_no is 1 to %d printable characters.",
						 LONGEST_ID)));
}

Datum
payorder_enqueue(PG_FUNCTION_ARGS)
{
	TaskRequest request = {.not_after = NO_TIME};

	payorder_prevent_read_only("enqueue()");
	request.kind = payorder_required_text(fcinfo, 0, "kind");
	request.order_no = payorder_text_argument(fcinfo, 1);
	request.payload = payorder_text_argument(fcinfo, 2);
	request.run_at = PG_ARGISNULL(3) ? payorder_now() :
		PG_GETARG_TIMESTAMPTZ(3);
	request.dedup_key = payorder_text_argument(fcinfo, 4);
	payorder_check_key(request.dedup_key, "dedup_key");
	payorder_task_check_order(request.order_no);
	payorder_task_check_request(request.kind, request.run_at);
	if (request.payload != NULL)
		payorder_json_parse(request.payload, ERRCODE_INVALID_PARAMETER_VALUE,
							"payload of the task");
	if (request.dedup_key != NULL)
		request.dedup_key = psprintf("user:%s", request.dedup_key);
	PG_RETURN_INT64(payorder_task_enqueue(&request));
}

Datum
payorder_heartbeat(PG_FUNCTION_ARGS)
{
	Rows	   *rows;

	payorder_prevent_read_only("heartbeat()");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("task and token must not be null"),
				 errhint("Give what claim() returned.")));
	rows = payorder_query(&prolong, PG_GETARG_INT64(0), PG_GETARG_INT64(1),
						  payorder_now(),
						  payorder_interval_argument(fcinfo, 2, "lease"));
	if (rows->count == 0)
		payorder_lease_lost(PG_GETARG_INT64(0));
	PG_RETURN_TIMESTAMPTZ(rows->cells[0].time);
}
