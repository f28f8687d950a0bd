/*-------------------------------------------------------------------------
 *
 * purge.c
 *		purge_some: one bounded step of retention.
 *
 * Months are gone through from the oldest on, by the partitions of the log:
 * each names its orders, and no index of orders is needed, nor one read that
 * is not due.  Months in which orders may still be younger than older_than are
 * passed over.  A step looks at up to max_orders orders of a month, or frees
 * the month's partition (purge_events.c) when all of them were looked at; the
 * last ones remove finished tasks that have no order.
 *
 * Closed is an order that has been in a final state, and untouched, for
 * older_than, and whose money is quiet: nothing in review, owed, returning or
 * overdrawn, no refund, attempt, task or dispute without an end, no callback
 * that waits.  It goes; what stays is what guards money: its number with the
 * amount, and what it came to (purged_orders), its payments, attempts and
 * refunds, and the keys and facts of its callbacks, without their bodies.  So
 * whatever comes again is answered as before, by the same look-ups; what is
 * new brings the order back (order_purged.c).
 *
 * Locks: the orders, sorted, those that are free only; FOR UPDATE.  What is
 * asked of them is asked under the lock, by statements that are younger, so
 * only at READ COMMITTED.  A step's orders are one subtransaction; if it
 * raises, each goes in one of its own, and one that can't go (a foreign key of
 * the user's holds it) is told of and stays.  A crash leaves whole orders.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "purge.h"
#include "removal.h"

#define MOST_ORDERS			10000
#define LONGEST_RETENTION	(INT64CONST(1800) * USECS_PER_DAY)

static Statement next_orders[RING_SLOTS];
static Statement note_purged[RING_SLOTS];
static Statement archive[RING_SLOTS];
static Statement any_event[RING_SLOTS];

/* The next numbers after $1, up to $2, by the index. */
static const char next_orders_sql[] =
	"WITH RECURSIVE n AS ((SELECT e.order_no, 1 AS i"
	" FROM payorder.events_%1$02d AS e"
	" WHERE e.slot = %1$d AND e.order_no > $1 ORDER BY e.order_no LIMIT 1)"
	" UNION ALL SELECT (SELECT e.order_no FROM payorder.events_%1$02d AS e"
	" WHERE e.slot = %1$d AND e.order_no > n.order_no"
	" ORDER BY e.order_no LIMIT 1), n.i + 1"
	" FROM n WHERE n.order_no IS NOT NULL AND n.i < $2)"
	" SELECT order_no FROM n WHERE order_no IS NOT NULL ORDER BY order_no";
static const char any_event_sql[] =
	"SELECT 1 FROM payorder.events_%02d LIMIT 1";
static Statement lock_closed = {
	.sql = "SELECT o.order_no FROM payorder.orders AS o"
	" WHERE o.order_no = ANY ($1) AND o.closed_at < $2 AND o.updated_at < $2"
	" ORDER BY o.order_no FOR UPDATE SKIP LOCKED",
	.arguments = "Az"
};
static Statement find_quiet = {
	.sql = "SELECT o.order_no FROM pg_catalog.unnest($1) AS o (order_no)"
	" WHERE NOT EXISTS (SELECT FROM payorder.payments AS p"
	" WHERE p.order_no = o.order_no AND (p.review > 0 OR p.owed > 0"
	" OR p.\"returning\" > 0 OR p.overdrawn > 0))"
	" AND NOT EXISTS (SELECT FROM payorder.refunds AS f"
	" WHERE f.order_no = o.order_no"
	" AND f.state IN ('held', 'asked', 'in_doubt', 'stuck'))"
	" AND NOT EXISTS (SELECT FROM payorder.attempts AS a"
	" WHERE a.order_no = o.order_no AND a.state = 'open')"
	" AND NOT EXISTS (SELECT FROM payorder.tasks AS t"
	" WHERE t.order_no = o.order_no AND NOT EXISTS"
	" (SELECT FROM payorder.task_finished AS f WHERE f.task_id = t.id))"
	" AND NOT EXISTS (SELECT FROM payorder.callbacks AS c"
	" WHERE c.order_no = o.order_no AND c.event = 'chargeback'"
	" AND c.verdict = 'applied' AND NOT EXISTS"
	" (SELECT FROM payorder.callbacks AS e"
	" WHERE e.gateway = c.gateway AND e.txn_id = c.txn_id"
	" AND e.event IN ('chargeback_reversed', 'chargeback_lost')"
	" AND e.verdict = 'applied'))"
	" AND NOT EXISTS (SELECT FROM payorder.callbacks_waiting AS w"
	" WHERE w.order_no = o.order_no)"
	" AND NOT EXISTS (SELECT FROM payorder.callbacks_waiting AS w"
	" WHERE w.reference = o.order_no)"
	" AND NOT EXISTS (SELECT FROM payorder.attempts AS a"
	" JOIN payorder.callbacks_waiting AS w ON w.reference = a.payment_no"
	" WHERE a.order_no = o.order_no)"
	" AND NOT EXISTS (SELECT FROM payorder.payments AS p"
	" JOIN payorder.callbacks_waiting AS w"
	" ON w.gateway = p.gateway AND w.payment_txn = p.txn_id"
	" WHERE p.order_no = o.order_no)"
	" AND NOT EXISTS (SELECT FROM payorder.refunds AS f"
	" JOIN payorder.callbacks_waiting AS w ON w.refund_no = f.refund_no"
	" WHERE f.order_no = o.order_no)"
	" ORDER BY o.order_no",
	.arguments = "A"
};
static const char archive_sql[] =
	"INSERT INTO payorder.purge_archive (order_no, version, purged_at, content)"
	" SELECT o.order_no, o.version, pg_catalog.now(), pg_catalog.json_build_object("
	"'order', pg_catalog.row_to_json(o), 'events',"
	" (SELECT pg_catalog.json_agg(e ORDER BY e.seq)"
	" FROM payorder.events_%1$02d AS e"
	" WHERE e.slot = %1$d AND e.order_no = o.order_no), 'callbacks',"
	" (SELECT pg_catalog.json_agg(c ORDER BY c.received_at, c.gateway, c.txn_id)"
	" FROM payorder.callbacks AS c WHERE c.order_no = o.order_no), 'conflicts',"
	" (SELECT pg_catalog.json_agg(f ORDER BY f.received_at)"
	" FROM payorder.callbacks AS c JOIN payorder.callback_conflicts AS f"
	" ON f.gateway = c.gateway AND f.txn_id = c.txn_id AND f.event = c.event"
	" WHERE c.order_no = o.order_no), 'tasks',"
	" (SELECT pg_catalog.json_agg(pg_catalog.json_build_object("
	"'task', t, 'finished', f) ORDER BY t.id)"
	" FROM payorder.tasks AS t JOIN payorder.task_finished AS f"
	" ON f.task_id = t.id WHERE t.order_no = o.order_no))"
	" FROM payorder.orders AS o WHERE o.order_no = ANY ($1)";

/*
 * The last event's number and hash are what the chain goes on from; of one
 * that was brought back, the one before its first event is kept, too.
 */
static const char note_purged_sql[] =
	"INSERT INTO payorder.purged_orders AS p (order_no, away, machine_id,"
	" state, amount, first_amount, currency, paid_amount, refunded_amount,"
	" disputed_amount, frozen, version, created_at, closed_at, purged_at,"
	" last_seq, last_hash, base_seq)"
	" SELECT o.order_no, true, o.machine_id, o.state, o.amount,"
	" CASE WHEN f.seq = 1 THEN (f.payload ->> 'amount')::bigint"
	" ELSE o.amount END, o.currency, o.paid_amount, o.refunded_amount,"
	" o.disputed_amount, o.frozen, o.version, o.created_at, o.closed_at,"
	" pg_catalog.now(), l.seq, l.hash, nullif(f.seq - 1, 0)"
	" FROM payorder.orders AS o"
	" CROSS JOIN LATERAL (SELECT e.seq, e.hash FROM payorder.events_%1$02d AS e"
	" WHERE e.slot = %1$d AND e.order_no = o.order_no"
	" ORDER BY e.seq DESC LIMIT 1) AS l"
	" CROSS JOIN LATERAL (SELECT e.seq, e.payload"
	" FROM payorder.events_%1$02d AS e"
	" WHERE e.slot = %1$d AND e.order_no = o.order_no"
	" ORDER BY e.seq LIMIT 1) AS f"
	" WHERE o.order_no = ANY ($1)"
	" ON CONFLICT (order_no) DO UPDATE SET away = true,"
	" machine_id = excluded.machine_id, state = excluded.state,"
	" amount = excluded.amount, paid_amount = excluded.paid_amount,"
	" refunded_amount = excluded.refunded_amount,"
	" disputed_amount = excluded.disputed_amount, frozen = excluded.frozen,"
	" version = excluded.version, closed_at = excluded.closed_at,"
	" purged_at = excluded.purged_at, last_seq = excluded.last_seq,"
	" last_hash = excluded.last_hash, base_seq = excluded.base_seq,"
	" base_hash = CASE WHEN excluded.base_seq = p.last_seq THEN p.last_hash"
	" WHEN excluded.base_seq = p.base_seq THEN p.base_hash END";
static Statement empty_callbacks = {
	.sql = "UPDATE payorder.callbacks SET body = NULL, headers = NULL,"
	" error = NULL WHERE order_no = ANY ($1)"
	" AND (body IS NOT NULL OR headers IS NOT NULL OR error IS NOT NULL)",
	.arguments = "A"
};
static Statement empty_conflicts = {
	.sql = "UPDATE payorder.callback_conflicts AS f SET body = NULL"
	" FROM payorder.callbacks AS c WHERE c.order_no = ANY ($1)"
	" AND f.gateway = c.gateway AND f.txn_id = c.txn_id"
	" AND f.event = c.event AND f.body IS NOT NULL",
	.arguments = "A"
};
/* Somebody may have enqueued another one meanwhile. */
static Statement delete_tasks = {
	.sql = "WITH f AS (DELETE FROM payorder.task_finished AS f"
	" USING payorder.tasks AS t WHERE t.order_no = ANY ($1)"
	" AND f.task_id = t.id RETURNING f.task_id)"
	" DELETE FROM payorder.tasks WHERE id IN (SELECT f.task_id FROM f)",
	.arguments = "A"
};
static Statement delete_orders = {
	.sql = "DELETE FROM payorder.orders WHERE order_no = ANY ($1)",
	.arguments = "A"
};

/* Finished tasks that are no order's: the next $3 after $1. */
static Statement next_tasks = {
	.sql = "SELECT f.task_id, f.finished_at < $2 AND NOT EXISTS"
	" (SELECT FROM payorder.orders AS o WHERE o.order_no = t.order_no)"
	" FROM payorder.task_finished AS f"
	" JOIN payorder.tasks AS t ON t.id = f.task_id"
	" WHERE f.task_id > $1 AND t.created_at < $2"
	" ORDER BY f.task_id LIMIT $3",
	.arguments = "lzi"
};
static Statement delete_task = {
	.sql = "WITH f AS (DELETE FROM payorder.task_finished WHERE task_id = $1)"
	" DELETE FROM payorder.tasks WHERE id = $1",
	.arguments = "l"
};
static Statement is_empty = {
	.sql = "SELECT pg_catalog.pg_relation_size(pg_catalog.to_regclass($1)) = 0",
	.arguments = "t"
};

PG_FUNCTION_INFO_V1(payorder_purge_some);

/* One step: what is asked for, where it is, and what it came to. */
typedef struct Step
{
	TimestampTz cutoff;
	int			most;
	bool		to_archive;
	int			month;			/* that it is at */
	int			last_month;		/* that may be purged; then come the tasks */
	const char *after;			/* the last order that was looked at */
	int64		after_task;

	ArrayType  *orders;			/* that are purged now */
	int			looked_at;
	int64		purged;
	int64		callbacks;
	int64		tasks;
	int			failed;
	bool		done;
	Freed		freed;
} Step;

static int
slot_of(const Step *step)
{
	return step->month & (RING_SLOTS - 1);
}

/* The first column of a result, as an array; NULL where it has no row. */
ArrayType *
payorder_texts(const Rows *rows)
{
	Datum	   *values = palloc(sizeof(Datum) * Max(rows->count, 1));

	if (rows->count == 0)
		return NULL;
	for (int i = 0; i < rows->count; i++)
		values[i] = CStringGetTextDatum(rows->cells[i * rows->columns].text);
	return construct_array(values, rows->count, TEXTOID, -1, false,
						   TYPALIGN_INT);
}

/* ---- orders ---- */

static void
remove_orders(void *argument)
{
	Step	   *step = argument;
	int64		count = ArrayGetNItems(ARR_NDIM(step->orders),
									   ARR_DIMS(step->orders));
	int			slot = slot_of(step);

	if (step->to_archive)
		payorder_execute(payorder_for_slot(archive, archive_sql, "A", slot),
						 step->orders);
	if (payorder_execute(payorder_for_slot(note_purged, note_purged_sql, "A",
										   slot), step->orders) != count)
		elog(ERROR, "could not find the events of an order");
	step->callbacks += payorder_execute(&empty_callbacks, step->orders);
	payorder_execute(&empty_conflicts, step->orders);
	step->tasks += payorder_execute(&delete_tasks, step->orders);
	if (payorder_execute(&delete_orders, step->orders) != count)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("a trigger kept an order from being purged"),
				 errhint("A BEFORE trigger on payorder.orders must not return NULL.")));
	step->purged += count;
}

static void
remove_guarded(void *argument)
{
	payorder_remove(remove_orders, argument);
}

/* Tells of an order that can't go. */
static void
stays(const char *order_no, const ErrorData *error)
{
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("order \"%s\" could not be purged", order_no),
			 errdetail_internal("%s", error->message)));
}

/* Purges the orders of a result; those that raise stay. */
static void
purge_orders(Step *step, Rows *quiet)
{
	Step		before = *step;

	step->orders = payorder_texts(quiet);
	if (step->orders == NULL ||
		payorder_isolated(remove_guarded, step) == NULL)
		return;
	*step = before;
	for (int i = 0; i < quiet->count; i++)
	{
		Rows		single = {1, 1, &quiet->cells[i]};
		Step		saved = *step;
		ErrorData  *error;

		step->orders = payorder_texts(&single);
		error = payorder_isolated(remove_guarded, step);
		if (error == NULL)
			continue;
		*step = saved;
		step->failed++;
		stays(quiet->cells[i].text, error);
	}
}

static void
next_month(Step *step)
{
	step->month++;
	step->after = "";
}

/* Looks at the next orders of the month; frees it after its last one. */
static void
purge_month(Step *step)
{
	Rows	   *numbers = payorder_query(payorder_for_slot(next_orders,
														   next_orders_sql,
														   "ti",
														   slot_of(step)),
										 step->after, step->most);
	Rows	   *closed;

	step->looked_at = numbers->count;
	if (numbers->count == 0)
	{
		step->freed.slot = slot_of(step);
		step->freed.month = step->month;
		step->freed.cutoff = step->cutoff;
		payorder_purge_events(&step->freed);
		next_month(step);
		return;
	}
	step->after = numbers->cells[numbers->count - 1].text;
	closed = payorder_query(&lock_closed, payorder_texts(numbers),
							step->cutoff);
	if (closed->count > 0)
		purge_orders(step, payorder_query(&find_quiet,
										  payorder_texts(closed)));
}

static bool
has_events(int slot)
{
	char	   *name = psprintf("payorder.events_%02d", slot);

	return !payorder_query(&is_empty, name)->cells[0].truth &&
		payorder_query(payorder_for_slot(any_event, any_event_sql, "",
										 slot))->count > 0;
}

/* Passes over months without events. */
static void
skip_empty(Step *step)
{
	while (step->month <= step->last_month && step->after[0] == '\0' &&
		   !has_events(slot_of(step)))
		next_month(step);
}

/* ---- tasks without an order ---- */

static void
remove_tasks(Step *step)
{
	Rows	   *rows = payorder_query(&next_tasks, step->after_task,
									  step->cutoff, step->most);

	step->looked_at = rows->count;
	step->done = rows->count < step->most;
	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);

		step->after_task = payorder_read_number(&reader);
		if (!payorder_read_truth(&reader))
			continue;
		payorder_execute(&delete_task, step->after_task);
		step->tasks++;
	}
}

/* ---- the call ---- */

static void
bad_position(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid position"),
			 errhint("Give the position that the step before returned, NULL to begin.")));
}

static char *
position_of(const Step *step)
{
	if (step->done)
		return NULL;
	if (step->month > step->last_month)
		return psprintf("tasks/" INT64_FORMAT, step->after_task);
	return psprintf("%d/%s", step->month, step->after);
}

/*
 * Takes up where the step before ended: a month may have come to be one that
 * may be purged since, or none any more, so both bounds are kept to.
 */
static void
go_on(Step *step, const char *position)
{
	int			length = 0;
	int			month = 0;

	if (position == NULL)
		return;
	if (sscanf(position, "tasks/" INT64_FORMAT "%n", &step->after_task,
			   &length) == 1 && position[length] == '\0')
	{
		step->month = step->last_month + 1;
		return;
	}
	if (sscanf(position, "%d/%n", &month, &length) != 1 || length == 0)
		bad_position();
	if (month < step->month)
		return;
	step->month = month;
	step->after = position + length;
}

static Step
read_step(FunctionCallInfo fcinfo)
{
	Step		step = {.after = ""};
	int64		length = 0;
	Interval   *interval = PG_ARGISNULL(0) ? NULL : PG_GETARG_INTERVAL_P(0);

	if (interval != NULL && interval->month == 0 &&
		interval->day <= 1800 && interval->day >= -1800)
		length = interval->day * USECS_PER_DAY + interval->time;
	if (length < USECS_PER_DAY || length > LONGEST_RETENTION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("older_than is out of range"),
				 errhint("Give 1 to 1800 days, without months: the log has room for 64 months.")));
	step.most = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2);
	if (step.most < 1 || step.most > MOST_ORDERS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_orders is out of range"),
				 errhint("Give 1 to %d.", MOST_ORDERS)));
	step.to_archive = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);
	if (PG_ARGISNULL(4) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(4)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at must be a finite instant"),
				 errhint("Leave it out for now.")));
	step.cutoff = PG_GETARG_TIMESTAMPTZ(4) - length;
	step.last_month = payorder_month_of(step.cutoff) - 1;
	step.month = payorder_month_of(PG_GETARG_TIMESTAMPTZ(4)) - RING_SLOTS + 1;
	go_on(&step, payorder_text_argument(fcinfo, 1));
	return step;
}

static void
check_call(void)
{
	payorder_prevent_read_only("purge()");
	payorder_require_read_committed("purge()");
	if (!payorder_owns_relation(get_relname_relid("orders",
												  get_namespace_oid("payorder",
																	false)),
								GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of table orders"),
				 errhint("Call payorder.purge_some(), which runs as its owner.")));
	if (payorder_in_removal())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("purge() is running already"),
				 errhint("A trigger must not call it.")));
}

static Datum
text_or_null(const char *text, bool *null)
{
	*null = text == NULL;
	return text == NULL ? (Datum) 0 : CStringGetTextDatum(text);
}

Datum
payorder_purge_some(PG_FUNCTION_ARGS)
{
	Step		step;
	Datum		values[9];
	bool		nulls[9] = {0};

	check_call();
	step = read_step(fcinfo);
	skip_empty(&step);
	if (step.month <= step.last_month)
		purge_month(&step);
	else
		remove_tasks(&step);
	values[0] = text_or_null(position_of(&step), &nulls[0]);
	values[1] = Int32GetDatum(step.looked_at);
	values[2] = Int64GetDatum(step.purged);
	values[3] = Int64GetDatum(step.callbacks);
	values[4] = Int64GetDatum(step.tasks);
	values[5] = Int32GetDatum(step.failed);
	values[6] = Int32GetDatum(step.freed.slot);
	nulls[6] = !step.freed.done;
	values[7] = Int32GetDatum(step.freed.carried);
	values[8] = text_or_null(step.freed.held_by, &nulls[8]);
	PG_RETURN_DATUM(payorder_composite(fcinfo, values, nulls));
}
