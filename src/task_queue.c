/*-------------------------------------------------------------------------
 *
 * task_queue.c
 *		The queue's SQL functions: define_task_kind, enqueue, claim and
 *		heartbeat.
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
#include "gateway_settings.h"
#include "guc.h"
#include "json.h"
#include "relation.h"
#include "task.h"
#include "task_handler.h"
#include "timer.h"

#define MOST_CLAIMED	1000

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
/*
 * Which ready tasks a claim may have; AND more, then their order.  It reads them
 * in the order of their index until it has enough, however many there are:
 * nothing here can be turned into a join that would read them all, and claim()
 * has the planner's other ways switched off.
 */
#define CLAIMABLE(of) \
	" FROM payorder.task_ready AS r" \
	" WHERE r.run_at <= $1 AND " of " AND ($2 IS NULL OR r.kind = ANY ($2))" \
	" AND ($3 IS NULL OR r.gateway = ANY ($3))" \
	" AND r.kind <> ALL (ARRAY (SELECT k.kind FROM payorder.task_kinds AS k" \
	" WHERE k.worked_by IN ('kernel', 'person')))" \
	" AND (r.gateway IS NULL OR r.gateway <> ALL (ARRAY (SELECT g.gateway" \
	" FROM payorder.gateways AS g WHERE g.paused)))" \
	" AND NOT (r.kind = 'refund' AND r.first_tried_at IS NOT NULL" \
	" AND EXISTS (SELECT FROM payorder.gateways AS g" \
	" WHERE g.gateway = r.gateway" \
	" AND r.first_tried_at + g.idempotency_window <= $1))" \
	" AND NOT (r.gateway IS NOT NULL AND " PAYORDER_IS_COPY("$7", "$8") ")"
#define IN_ORDER \
	" ORDER BY r.run_at, r.task_id LIMIT $4 FOR UPDATE OF r SKIP LOCKED"
#define LEASED_UNTIL \
	" $1 + pg_catalog.make_interval(secs => extract(epoch FROM" \
	" coalesce($6, (SELECT k.lease FROM payorder.task_kinds AS k" \
	" WHERE k.kind = t.kind ORDER BY k.id DESC LIMIT 1)))::float8)"
#define CLAIMED \
	" SELECT l.task_id, l.token, b.kind, b.order_no, b.gateway, g.adapter," \
	" g.merchant_id, b.idempotency_key, l.attempts, l.first_tried_at," \
	" b.not_after, l.leased_until, b.trace, b.payload" \
	" FROM leased AS l JOIN payorder.tasks AS b ON b.id = l.task_id" \
	" LEFT JOIN payorder.gateways AS g ON g.gateway = b.gateway" \
	" ORDER BY l.task_id"

static Statement claim_tasks = {
	.sql = "WITH picked AS (SELECT r.task_id" CLAIMABLE("NOT r.handled")
	IN_ORDER "),"
	" taken AS (DELETE FROM payorder.task_ready AS r USING picked AS p"
	" WHERE r.task_id = p.task_id RETURNING r.*),"
	" leased AS (INSERT INTO payorder.task_leases (task_id, token, kind,"
	" gateway, worker, attempts, first_tried_at, leased_at, leased_until)"
	" SELECT t.task_id, pg_catalog.nextval('payorder.lease_tokens'), t.kind,"
	" t.gateway, $5, t.attempts + 1, coalesce(t.first_tried_at, $1), $1,"
	LEASED_UNTIL " FROM taken AS t RETURNING *)" CLAIMED,
	.arguments = "zAAitvll"
};
static Statement any_limits = {
	.sql = "SELECT 1 FROM payorder.task_slots LIMIT 1",
	.arguments = ""
};

/*
 * The same where gateways or kinds are limited.  A claim locks a free slot for
 * each task, passing over those that others are about to take; one that was
 * taken since this statement's snapshot is told by the unique index.  Tasks
 * without a slot stay ready, and those of a full gateway or kind bar nobody's
 * way.  Under a lowered limit nothing is given out until those beyond it ended.
 */
#define FREE_SLOTS(scope, column) \
	"(SELECT w.name, f.slot, pg_catalog.row_number()" \
	" OVER (PARTITION BY w.name ORDER BY f.slot) AS n" \
	" FROM (SELECT p." scope " AS name, pg_catalog.count(*) AS wanted" \
	" FROM picked AS p GROUP BY 1) AS w," \
	" LATERAL (SELECT s.slot FROM payorder.task_slots AS s" \
	" WHERE s.scope = '" scope "' AND s.name = w.name" \
	" AND NOT EXISTS (SELECT FROM payorder.task_leases AS l" \
	" WHERE l." scope " = s.name AND l." column " = s.slot)" \
	" ORDER BY s.slot LIMIT w.wanted FOR UPDATE OF s SKIP LOCKED) AS f)"
#define IS_LIMITED(scope, name) \
	"EXISTS (SELECT FROM payorder.task_slots AS s" \
	" WHERE s.scope = '" scope "' AND s.name = " name ")"
#define IS_FULL(scope, column) \
	"(" IS_LIMITED(scope, "r." scope) " AND (NOT EXISTS" \
	" (SELECT FROM payorder.task_slots AS s WHERE s.scope = '" scope "'" \
	" AND s.name = r." scope " AND NOT EXISTS" \
	" (SELECT FROM payorder.task_leases AS l WHERE l." scope " = s.name" \
	" AND l." column " = s.slot))" \
	" OR EXISTS (SELECT FROM payorder.task_leases AS l" \
	" WHERE l." scope " = r." scope " AND l." column " IS NOT NULL" \
	" AND NOT EXISTS (SELECT FROM payorder.task_slots AS s" \
	" WHERE s.scope = '" scope "' AND s.name = l." scope \
	" AND s.slot = l." column "))))"

#define CLAIM_LIMITED(of, grace) \
	"WITH picked AS (SELECT r.*" CLAIMABLE(of) \
	" AND NOT " IS_FULL("gateway", "gateway_slot") \
	" AND NOT " IS_FULL("kind", "kind_slot") IN_ORDER ")," \
	" numbered AS (SELECT p.*, pg_catalog.row_number()" \
	" OVER (PARTITION BY p.gateway ORDER BY p.run_at, p.task_id) AS of_gateway," \
	" pg_catalog.row_number()" \
	" OVER (PARTITION BY p.kind ORDER BY p.run_at, p.task_id) AS of_kind" \
	" FROM picked AS p)," \
	" gateway_slots AS " FREE_SLOTS("gateway", "gateway_slot") "," \
	" kind_slots AS " FREE_SLOTS("kind", "kind_slot") "," \
	" leased AS (INSERT INTO payorder.task_leases (task_id, token, kind," \
	" gateway, worker, attempts, first_tried_at, leased_at, leased_until," \
	" gateway_slot, kind_slot)" \
	" SELECT t.task_id, pg_catalog.nextval('payorder.lease_tokens'), t.kind," \
	" t.gateway, $5, t.attempts + 1, coalesce(t.first_tried_at, $1), $1," \
	LEASED_UNTIL grace ", g.slot, k.slot" \
	" FROM numbered AS t LEFT JOIN gateway_slots AS g" \
	" ON g.name = t.gateway AND g.n = t.of_gateway" \
	" LEFT JOIN kind_slots AS k ON k.name = t.kind AND k.n = t.of_kind" \
	" WHERE (g.slot IS NOT NULL OR NOT " IS_LIMITED("gateway", "t.gateway") ")" \
	" AND (k.slot IS NOT NULL OR NOT " IS_LIMITED("kind", "t.kind") ")" \
	" ON CONFLICT DO NOTHING RETURNING *)," \
	" taken AS (DELETE FROM payorder.task_ready AS r USING leased AS l" \
	" WHERE r.task_id = l.task_id)" CLAIMED

static Statement claim_limited = {
	.sql = CLAIM_LIMITED("NOT r.handled", ""),
	.arguments = "zAAitvll"
};

/* For a handler; longer than it may run, so that its end is in time. */
static Statement claim_handled = {
	.sql = CLAIM_LIMITED("r.handled", " + '5 seconds'::interval"),
	.arguments = "zAAitvll"
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
PG_FUNCTION_INFO_V1(payorder_claim);
PG_FUNCTION_INFO_V1(payorder_heartbeat);

static Interval *
interval_argument(FunctionCallInfo fcinfo, int number, const char *name)
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
	call.lease = interval_argument(fcinfo, 1, "lease");
	call.max_attempts = PG_GETARG_INT32(2);
	call.backoff_base = interval_argument(fcinfo, 3, "backoff_base");
	call.backoff_max = interval_argument(fcinfo, 4, "backoff_max");
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

static ArrayType *
array_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : PG_GETARG_ARRAYTYPE_P(number);
}

/* One row of task_info from the columns of claim_tasks, which are the same. */
static void
put_claimed(ReturnSetInfo *result, Reader *reader)
{
	static const char types[] = "lltttttti" "zzz" "tj";
	Datum		values[lengthof(types) - 1];
	bool		nulls[lengthof(types) - 1];

	for (size_t i = 0; i < lengthof(values); i++)
	{
		Cell	   *cell = reader->next++;

		nulls[i] = cell->isnull;
		if (cell->isnull)
			values[i] = (Datum) 0;
		else if (types[i] == 't' || types[i] == 'j')
			values[i] = CStringGetTextDatum(cell->text);
		else if (types[i] == 'i')
			values[i] = Int32GetDatum((int32) cell->number);
		else
			values[i] = Int64GetDatum(cell->number);
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
payorder_claim(PG_FUNCTION_ARGS)
{
	char	   *worker = payorder_text_argument(fcinfo, 3);
	Interval   *lease = interval_argument(fcinfo, 2, "lease");
	int			most = PG_ARGISNULL(1) ? 1 : PG_GETARG_INT32(1);
	Rows	   *rows;

	payorder_prevent_read_only("claim()");
	if (most < 1 || most > MOST_CLAIMED)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_tasks is out of range"),
				 errhint("Give 1 to %d.", MOST_CLAIMED)));
	if (worker == NULL)
		worker = psprintf("%d", MyProcPid);
	InitMaterializedSRF(fcinfo, 0);
	rows = payorder_query(payorder_query(&any_limits)->count > 0 ?
						  &claim_limited : &claim_tasks, payorder_now(),
						  array_argument(fcinfo, 0),
						  array_argument(fcinfo, 4), most, worker, lease,
						  payorder_cluster(), payorder_database());
	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);

		/* A refund that is sent must not look unclaimed after a crash. */
		if (strcmp(reader.next[2].text, "refund") == 0)
			payorder_require_sync();
		put_claimed((ReturnSetInfo *) fcinfo->resultinfo, &reader);
	}
	return (Datum) 0;
}

/* Leases a ready task of a kind with a handler; at most one row. */
Rows *
payorder_claim_handled(const char *worker)
{
	return payorder_query(&claim_handled, payorder_now(), NULL, NULL, 1,
						  worker, NULL, payorder_cluster(),
						  payorder_database());
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
						  interval_argument(fcinfo, 2, "lease"));
	if (rows->count == 0)
		payorder_lease_lost(PG_GETARG_INT64(0));
	PG_RETURN_TIMESTAMPTZ(rows->cells[0].time);
}
