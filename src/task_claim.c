/*-------------------------------------------------------------------------
 *
 * task_claim.c
 *		claim(): ready tasks become leases.
 *
 * Which tasks a claim may have is decided by one snapshot, in which it sees
 * the limits, the paused gateways and the ready rows.  It reads these in the
 * order of their index until it has enough, however many there are.
 *
 * Where nothing is limited, ready rows are taken, and leases written, bodies
 * read and what is said about gateways and kinds looked up by key, which needs
 * no executor (relation_bulk.c).  Where there are limits, one statement does it
 * all.
 *
 * Locks: who removes the ready row has the task; rows that others hold are
 * passed over.  Of slots, see below.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "gateway_settings.h"
#include "guc.h"
#include "relation.h"
#include "task.h"
#include "timer.h"

#define MOST_CLAIMED	1000

/*
 * What is asked for, and what stands against it: kinds that are not for
 * workers, paused gateways, gateways that forget a refund's number and after
 * which time, and whether this database is a copy.
 */
static Statement get_scope = {
	.sql = "SELECT EXISTS (SELECT FROM payorder.task_slots),"
	" ARRAY (SELECT k.kind FROM payorder.task_kinds AS k"
	" WHERE k.worked_by IN ('kernel', 'person')),"
	" coalesce(g.paused, '{}'), g.forgetful, g.windows, "
	PAYORDER_IS_COPY("$1", "$2")
	" FROM (SELECT pg_catalog.array_agg(gateway) FILTER (WHERE paused) AS paused,"
	" pg_catalog.array_agg(gateway)"
	" FILTER (WHERE idempotency_window IS NOT NULL) AS forgetful,"
	" pg_catalog.array_agg(idempotency_window)"
	" FILTER (WHERE idempotency_window IS NOT NULL) AS windows"
	" FROM payorder.gateways"
	" WHERE paused OR idempotency_window IS NOT NULL) AS g",
	.arguments = "ll"
};
#define SCOPE	"izAAAAAVb"
#define CLAIMABLE(of) \
	" FROM payorder.task_ready AS r WHERE r.run_at <= $2 AND " of \
	" AND ($3 IS NULL OR r.kind = ANY ($3))" \
	" AND ($4 IS NULL OR r.gateway = ANY ($4))" \
	" AND r.kind <> ALL ($5)" \
	" AND (r.gateway IS NULL OR (r.gateway <> ALL ($6) AND NOT $9))" \
	" AND (r.kind <> 'refund' OR r.first_tried_at IS NULL" \
	" OR coalesce(r.first_tried_at" \
	" + ($8)[pg_catalog.array_position($7, r.gateway)] > $2, true))"
#define IN_ORDER \
	" ORDER BY r.run_at, r.task_id LIMIT $1 FOR UPDATE OF r SKIP LOCKED"

static Statement find_ready = {
	.sql = "SELECT r.task_id, r.kind, r.gateway, r.attempts, r.first_tried_at"
	CLAIMABLE("NOT r.handled") IN_ORDER,
	.arguments = SCOPE
};
static Statement remove_ready = {
	.sql = "DELETE FROM payorder.task_ready WHERE task_id = $1",
	.arguments = "l"
};
static Statement insert_lease = {
	.sql = "INSERT INTO payorder.task_leases (task_id, token, kind, gateway,"
	" worker, attempts, first_tried_at, leased_at, leased_until)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
	.arguments = "lltttizzz"
};
static Statement get_body = {
	.sql = "SELECT id, order_no, idempotency_key, not_after, trace, payload"
	" FROM payorder.tasks WHERE id = $1",
	.arguments = "l"
};
static Statement get_leases = {
	.sql = "SELECT id, lease FROM payorder.task_kinds WHERE kind = $1",
	.arguments = "t"
};
static Statement get_merchant = {
	.sql = "SELECT adapter, merchant_id FROM payorder.gateways"
	" WHERE gateway = $1",
	.arguments = "t"
};

/*
 * One statement where gateways or kinds are limited.  It locks a free slot for
 * each task, passing over those that others are about to take; one that was
 * taken since this statement's snapshot is told by the unique index.  Tasks
 * without a slot stay ready, and those of a full gateway or kind bar nobody's
 * way.  Under a lowered limit nothing is given out until those beyond it ended.
 */
#define LEASED_UNTIL \
	" $2 + pg_catalog.make_interval(secs => extract(epoch FROM" \
	" coalesce($11, (SELECT k.lease FROM payorder.task_kinds AS k" \
	" WHERE k.kind = t.kind ORDER BY k.id DESC LIMIT 1)))::float8)"
#define CLAIMED \
	" SELECT l.task_id, l.token, b.kind, b.order_no, b.gateway, g.adapter," \
	" g.merchant_id, b.idempotency_key, l.attempts, l.first_tried_at," \
	" b.not_after, l.leased_until, b.trace, b.payload" \
	" FROM leased AS l JOIN payorder.tasks AS b ON b.id = l.task_id" \
	" LEFT JOIN payorder.gateways AS g ON g.gateway = b.gateway" \
	" ORDER BY l.task_id"
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
	" t.gateway, $10, t.attempts + 1, coalesce(t.first_tried_at, $2), $2," \
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
	.arguments = SCOPE "tv"
};

/* For a handler; longer than it may run, so that its end is in time. */
static Statement claim_handled = {
	.sql = CLAIM_LIMITED("r.handled", " + '5 seconds'::interval"),
	.arguments = SCOPE "tv"
};

/* What claim() was called with, and what is done with each task. */
typedef struct Claim
{
	ArrayType  *kinds;			/* these may be NULL */
	ArrayType  *gateways;
	Interval   *lease;
	const char *worker;
	int			most;
	TimestampTz now;
	ReturnSetInfo *result;
	Rows	   *handled;		/* what was claimed for a handler */
	List	   *leases;			/* KindLease */
	List	   *merchants;		/* Merchant */
} Claim;

/* What stands against it; see get_scope. */
typedef struct Scope
{
	bool		limited;
	ArrayType  *not_for_workers;
	ArrayType  *paused;
	ArrayType  *forgetful;
	ArrayType  *windows;
	bool		is_copy;
} Scope;

/* How long a lease of a kind is. */
typedef struct KindLease
{
	const char *kind;
	int64		length;			/* microseconds */
} KindLease;

/* What a worker is told of a gateway; NULLs: there is none. */
typedef struct Merchant
{
	const char *gateway;
	const char *adapter;
	const char *merchant_id;
} Merchant;

/* A ready row that was taken, as find_ready reads it. */
typedef struct Ready
{
	int64		id;
	const char *kind;
	const char *gateway;
	int			attempts;
	TimestampTz first_tried_at;
	int64		token;
	TimestampTz leased_until;
} Ready;

PG_FUNCTION_INFO_V1(payorder_claim);

static int64
length_of(const Interval *interval)
{
	return (interval->month * (int64) DAYS_PER_MONTH + interval->day) *
		USECS_PER_DAY + interval->time;
}

/* Of two rows of a kind the one with the higher id counts. */
static int64
lease_of(Claim *claim, const char *kind)
{
	KindLease  *found;
	ListCell   *cell;
	Rows	   *rows;
	int64		id = 0;

	if (claim->lease != NULL)
		return length_of(claim->lease);
	foreach(cell, claim->leases)
	{
		found = lfirst(cell);
		if (strcmp(found->kind, kind) == 0)
			return found->length;
	}
	rows = payorder_query(&get_leases, kind);
	found = palloc0(sizeof(KindLease));
	found->kind = kind;
	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);

		if (reader.next->number > id)
		{
			id = payorder_read_number(&reader);
			found->length = length_of(payorder_read_interval(&reader));
		}
	}
	claim->leases = lappend(claim->leases, found);
	return found->length;
}

static const Merchant *
merchant_of(Claim *claim, const char *gateway)
{
	static const Merchant none = {0};
	Merchant   *found;
	ListCell   *cell;
	Rows	   *rows;

	if (gateway == NULL)
		return &none;
	foreach(cell, claim->merchants)
	{
		found = lfirst(cell);
		if (strcmp(found->gateway, gateway) == 0)
			return found;
	}
	rows = payorder_query(&get_merchant, gateway);
	found = palloc0(sizeof(Merchant));
	found->gateway = gateway;
	if (rows->count > 0)
	{
		Reader		reader = payorder_row(rows, 0);

		found->adapter = payorder_read_text(&reader);
		found->merchant_id = payorder_read_text(&reader);
	}
	claim->merchants = lappend(claim->merchants, found);
	return found;
}

static int
compare_ready(const void *left, const void *right)
{
	int64		a = ((const Ready *) left)->id;
	int64		b = ((const Ready *) right)->id;

	return (a > b) - (a < b);
}

/* The rows that were taken, by their tasks' numbers. */
static Ready *
read_ready(Rows *rows)
{
	Ready	   *taken = palloc0(sizeof(Ready) * Max(rows->count, 1));

	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);

		taken[i].id = payorder_read_number(&reader);
		taken[i].kind = payorder_read_text(&reader);
		taken[i].gateway = payorder_read_text(&reader);
		taken[i].attempts = payorder_read_number(&reader) + 1;
		taken[i].first_tried_at = payorder_read_time(&reader);
	}
	qsort(taken, rows->count, sizeof(Ready), compare_ready);
	return taken;
}

static void
write_leases(Claim *claim, Ready *taken, int count)
{
	Bulk	   *leases = payorder_bulk(&insert_lease, count);
	int64	   *tokens = payorder_next_numbers("lease_tokens", count);

	for (int i = 0; i < count; i++)
	{
		Ready	   *task = &taken[i];

		if (task->first_tried_at == NO_TIME)
			task->first_tried_at = claim->now;
		task->token = tokens[i];
		task->leased_until = claim->now + lease_of(claim, task->kind);
		payorder_bulk_add(leases, task->id, task->token, task->kind,
						  task->gateway, claim->worker, task->attempts,
						  task->first_tried_at, claim->now,
						  task->leased_until);
	}
	(void) payorder_bulk_execute(leases);
}

static Rows *
read_bodies(const Ready *taken, int count)
{
	Bulk	   *bodies = payorder_bulk(&get_body, count);

	for (int i = 0; i < count; i++)
		payorder_bulk_add(bodies, taken[i].id);
	return payorder_bulk_query(bodies);
}

/* ---- task_info ---- */

#define INFO_COLUMNS	14

/* One row of task_info while it is put together, from left to right. */
typedef struct Info
{
	int			count;
	Datum		values[INFO_COLUMNS];
	bool		nulls[INFO_COLUMNS];
} Info;

static void
put(Info *info, Datum value, bool isnull)
{
	info->values[info->count] = isnull ? (Datum) 0 : value;
	info->nulls[info->count++] = isnull;
}

static void
put_text(Info *info, const char *text)
{
	put(info, text == NULL ? (Datum) 0 : CStringGetTextDatum(text),
		text == NULL);
}

static void
put_time(Info *info, TimestampTz time)
{
	put(info, TimestampTzGetDatum(time), time == NO_TIME);
}

static void
put_row(const Claim *claim, const Info *info)
{
	tuplestore_putvalues(claim->result->setResult, claim->result->setDesc,
						 (Datum *) info->values, (bool *) info->nulls);
}

/* A task that was claimed, with its body. */
static void
put_leased(Claim *claim, const Ready *task, Reader *body)
{
	const Merchant *merchant = merchant_of(claim, task->gateway);
	Info		info = {0};

	put(&info, Int64GetDatum(task->id), false);
	put(&info, Int64GetDatum(task->token), false);
	put_text(&info, task->kind);
	put_text(&info, payorder_read_text(body));
	put_text(&info, task->gateway);
	put_text(&info, merchant->adapter);
	put_text(&info, merchant->merchant_id);
	put_text(&info, payorder_read_text(body));
	put(&info, Int32GetDatum(task->attempts), false);
	put_time(&info, task->first_tried_at);
	put_time(&info, payorder_read_time(body));
	put_time(&info, task->leased_until);
	put_text(&info, payorder_read_text(body));
	put_text(&info, payorder_read_text(body));
	put_row(claim, &info);
}

/* One row of task_info from the columns of claim_limited, which are the same. */
static void
put_claimed(const Claim *claim, Reader *reader)
{
	static const char types[] = "lltttttti" "zzz" "tj";
	Info		info = {0};

	for (int i = 0; i < INFO_COLUMNS; i++)
	{
		Cell	   *cell = reader->next++;

		if (cell->isnull)
			put(&info, (Datum) 0, true);
		else if (types[i] == 't' || types[i] == 'j')
			put_text(&info, cell->text);
		else if (types[i] == 'i')
			put(&info, Int32GetDatum((int32) cell->number), false);
		else
			put(&info, Int64GetDatum(cell->number), false);
	}
	put_row(claim, &info);
}

/* ---- claim ---- */

static ArrayType *
read_array(Reader *reader)
{
	Cell	   *cell = reader->next++;

	return cell->isnull ? NULL : DatumGetArrayTypeP(cell->datum);
}

static Scope
read_scope(void)
{
	Reader		reader = payorder_row(payorder_query(&get_scope,
													 payorder_cluster(),
													 payorder_database()), 0);
	Scope		scope;

	scope.limited = payorder_read_truth(&reader);
	scope.not_for_workers = read_array(&reader);
	scope.paused = read_array(&reader);
	scope.forgetful = read_array(&reader);
	scope.windows = read_array(&reader);
	scope.is_copy = payorder_read_truth(&reader);
	return scope;
}

/* A refund that is sent must not look unclaimed after a crash. */
static void
require_sync_of(const char *kind)
{
	if (strcmp(kind, "refund") == 0)
		payorder_require_sync();
}

static void
claim_unlimited(Claim *claim, const Scope *scope)
{
	Rows	   *rows = payorder_take(&find_ready, &remove_ready, claim->most,
									 claim->now, claim->kinds, claim->gateways,
									 scope->not_for_workers, scope->paused,
									 scope->forgetful, scope->windows,
									 (int) scope->is_copy);
	Ready	   *taken = read_ready(rows);
	Rows	   *bodies;
	int			at = 0;

	write_leases(claim, taken, rows->count);
	bodies = read_bodies(taken, rows->count);
	for (int i = 0; i < bodies->count; i++)
	{
		Reader		body = payorder_row(bodies, i);
		int64		id = payorder_read_number(&body);

		while (taken[at].id != id)
			at++;
		require_sync_of(taken[at].kind);
		put_leased(claim, &taken[at], &body);
	}
}

static Rows *
query_limited(Statement *statement, const Claim *claim, const Scope *scope)
{
	return payorder_query(statement, claim->most, claim->now, claim->kinds,
						  claim->gateways, scope->not_for_workers,
						  scope->paused, scope->forgetful, scope->windows,
						  (int) scope->is_copy, claim->worker, claim->lease);
}

/* Claims for a caller. */
static void
claim_tasks(void *argument)
{
	Claim	   *claim = argument;
	Scope		scope = read_scope();
	Rows	   *rows;

	if (!scope.limited)
	{
		claim_unlimited(claim, &scope);
		return;
	}
	rows = query_limited(&claim_limited, claim, &scope);
	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);

		require_sync_of(reader.next[2].text);
		put_claimed(claim, &reader);
	}
}

/* Claims for a handler. */
static void
claim_handled_task(void *argument)
{
	Claim	   *claim = argument;
	Scope		scope = read_scope();

	claim->handled = query_limited(&claim_handled, claim, &scope);
}

static ArrayType *
array_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : PG_GETARG_ARRAYTYPE_P(number);
}

Datum
payorder_claim(PG_FUNCTION_ARGS)
{
	Claim		claim = {.now = payorder_now()};

	claim.worker = payorder_text_argument(fcinfo, 3);
	claim.lease = payorder_interval_argument(fcinfo, 2, "lease");
	claim.most = PG_ARGISNULL(1) ? 1 : PG_GETARG_INT32(1);
	payorder_prevent_read_only("claim()");
	if (claim.most < 1 || claim.most > MOST_CLAIMED)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_tasks is out of range"),
				 errhint("Give 1 to %d.", MOST_CLAIMED)));
	if (claim.worker == NULL)
		claim.worker = psprintf("%d", MyProcPid);
	claim.kinds = array_argument(fcinfo, 0);
	claim.gateways = array_argument(fcinfo, 4);
	InitMaterializedSRF(fcinfo, 0);
	claim.result = (ReturnSetInfo *) fcinfo->resultinfo;
	payorder_at_one_snapshot(claim_tasks, &claim);
	return (Datum) 0;
}

/* Leases a ready task of a kind with a handler; at most one row. */
Rows *
payorder_claim_handled(const char *worker)
{
	Claim		claim = {.now = payorder_now(),.most = 1,.worker = worker};

	payorder_at_one_snapshot(claim_handled_task, &claim);
	return claim.handled;
}
