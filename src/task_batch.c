/*-------------------------------------------------------------------------
 *
 * task_batch.c
 *		Many tasks in one call: enqueue_batch and complete_batch.
 *
 * Each call is one statement for all its tasks, which are of kinds of the
 * user's own: what ends a task of the kernel's touches an order, and is
 * complete()'s.  A lease that is lost ends nothing and undoes no other task;
 * who deletes the lease's row owns the end, as everywhere.
 *
 * Locks: leases in the order of the tasks' numbers, as sweep() takes those of
 * one claim.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "guc.h"
#include "json.h"
#include "relation.h"
#include "task.h"
#include "timer.h"
#include "wake.h"

#define MOST_TASKS	1000

static Statement insert_tasks = {
	.sql = "WITH body AS (INSERT INTO payorder.tasks (kind, order_no, payload,"
	" trace, created_at) SELECT $1, u.order_no, u.payload::json, $4, $5"
	" FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3))"
	" WITH ORDINALITY AS u (payload, order_no, n) ORDER BY u.n RETURNING id)"
	" INSERT INTO payorder.task_ready (task_id, run_at, kind, handled)"
	" SELECT id, $6, $1, EXISTS (SELECT FROM payorder.task_kinds AS h"
	" WHERE h.kind = $1 AND h.worked_by = 'handler') FROM body"
	" RETURNING task_id",
	.arguments = "tAAtzz"
};
static Statement finish_tasks = {
	.sql = "WITH given AS (SELECT u.task, u.token, u.result"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2),"
	" pg_catalog.unnest($3)) AS u (task, token, result) ORDER BY u.task),"
	" taken AS (DELETE FROM payorder.task_leases AS l USING given AS g"
	" WHERE l.task_id = g.task AND l.token = g.token"
	" RETURNING l.task_id, l.kind, l.attempts, g.result),"
	" freed AS (DELETE FROM payorder.task_keys AS k"
	" USING taken AS n JOIN payorder.tasks AS t ON t.id = n.task_id"
	" WHERE k.dedup_key = t.dedup_key AND k.task_id = t.id),"
	" finished AS (INSERT INTO payorder.task_finished"
	" (task_id, outcome, attempts, result, finished_at)"
	" SELECT n.task_id, 'done', n.attempts, n.result::json, $4"
	" FROM taken AS n)"
	" SELECT n.task_id, EXISTS (SELECT FROM payorder.task_kinds AS k"
	" WHERE k.kind = n.kind AND k.id < 100) FROM taken AS n",
	.arguments = "QQAz"
};

PG_FUNCTION_INFO_V1(payorder_enqueue_batch);
PG_FUNCTION_INFO_V1(payorder_complete_batch);

/* The elements of an array argument. */
typedef struct Elements
{
	Datum	   *values;
	bool	   *nulls;
	int			count;
} Elements;

static Elements
elements_argument(FunctionCallInfo fcinfo, int number, const char *name,
				  Oid type)
{
	Elements	elements = {0};
	ArrayType  *array;

	if (PG_ARGISNULL(number))
		return elements;
	array = PG_GETARG_ARRAYTYPE_P(number);
	if (ARR_NDIM(array) > 1 ||
		ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) > MOST_TASKS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has too many elements or dimensions", name),
				 errhint("Give an array of one dimension and up to %d elements.",
						 MOST_TASKS)));
	if (type == INT8OID)
		deconstruct_array(array, type, sizeof(int64), FLOAT8PASSBYVAL,
						  TYPALIGN_DOUBLE, &elements.values,
						  &elements.nulls, &elements.count);
	else
		deconstruct_array(array, type, -1, false, TYPALIGN_INT,
						  &elements.values, &elements.nulls, &elements.count);
	return elements;
}

static void
check_as_many(const char *name, const Elements *given, const Elements *of)
{
	if (given->count != of->count)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must have an element for each task", name),
				 errhint("Give NULL as an element, or leave the array out.")));
}

/* Elements of type json as text, each checked as complete() checks its own. */
static ArrayType *
checked_json(Elements *elements, const char *what, const char *instead)
{
	int			dimensions[1] = {elements->count};
	int			first[1] = {1};

	for (int i = 0; i < elements->count; i++)
	{
		if (!elements->nulls[i])
			payorder_json_parse(TextDatumGetCString(elements->values[i]),
								ERRCODE_INVALID_PARAMETER_VALUE, what);
		else if (instead != NULL)
		{
			elements->values[i] = CStringGetTextDatum(instead);
			elements->nulls[i] = false;
		}
	}
	return construct_md_array(elements->values, elements->nulls, 1, dimensions,
							  first, TEXTOID, -1, false, TYPALIGN_INT);
}

static Datum
numbers_array(Datum *numbers, int count)
{
	return PointerGetDatum(construct_array(numbers, count, INT8OID,
										   sizeof(int64), FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

Datum
payorder_enqueue_batch(PG_FUNCTION_ARGS)
{
	Elements	payloads;
	Elements	orders;
	char	   *kind;
	TimestampTz now = payorder_now();
	TimestampTz run_at;
	Rows	   *rows;
	Datum	   *ids;

	payorder_prevent_read_only("enqueue_batch()");
	kind = payorder_required_text(fcinfo, 0, "kind");
	payloads = elements_argument(fcinfo, 1, "payloads", JSONOID);
	orders = elements_argument(fcinfo, 2, "order_nos", TEXTOID);
	run_at = PG_ARGISNULL(3) ? now : PG_GETARG_TIMESTAMPTZ(3);
	payorder_task_check_request(kind, run_at);
	if (!PG_ARGISNULL(2))
		check_as_many("order_nos", &orders, &payloads);
	for (int i = 0; i < orders.count; i++)
		payorder_task_check_order(orders.nulls[i] ? NULL :
								  TextDatumGetCString(orders.values[i]));
	if (payloads.count == 0)
		PG_RETURN_DATUM(numbers_array(NULL, 0));
	rows = payorder_query(&insert_tasks, kind,
						  checked_json(&payloads, "payload of the task", "{}"),
						  PG_ARGISNULL(2) ? NULL : PG_GETARG_ARRAYTYPE_P(2),
						  payorder_current_trace(), now, run_at);
	payorder_wake_at(run_at);
	ids = palloc(sizeof(Datum) * rows->count);
	for (int i = 0; i < rows->count; i++)
		ids[i] = Int64GetDatum(rows->cells[i].number);
	PG_RETURN_DATUM(numbers_array(ids, rows->count));
}

static int
compare_numbers(const void *left, const void *right)
{
	int64		a = *(const int64 *) left;
	int64		b = *(const int64 *) right;

	return (a > b) - (a < b);
}

/* The numbers of the tasks that have ended, sorted. */
static int64 *
ended_tasks(Rows *rows)
{
	int64	   *ended = palloc(sizeof(int64) * Max(rows->count, 1));

	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);

		ended[i] = payorder_read_number(&reader);
		if (payorder_read_truth(&reader))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("task " INT64_FORMAT " is of a kind of the kernel's",
							ended[i]),
					 errhint("End it with complete().")));
	}
	qsort(ended, rows->count, sizeof(int64), compare_numbers);
	return ended;
}

Datum
payorder_complete_batch(PG_FUNCTION_ARGS)
{
	Elements	tasks;
	Elements	tokens;
	Elements	results;
	Rows	   *rows;
	int64	   *ended;
	Datum	   *lost;
	int			count = 0;

	payorder_prevent_read_only("complete_batch()");
	tasks = elements_argument(fcinfo, 0, "tasks", INT8OID);
	tokens = elements_argument(fcinfo, 1, "tokens", INT8OID);
	results = elements_argument(fcinfo, 2, "results", JSONOID);
	check_as_many("tokens", &tokens, &tasks);
	if (!PG_ARGISNULL(2))
		check_as_many("results", &results, &tasks);
	if (tasks.count == 0)
		PG_RETURN_DATUM(numbers_array(NULL, 0));
	rows = payorder_query(&finish_tasks, PG_GETARG_ARRAYTYPE_P(0),
						  PG_GETARG_ARRAYTYPE_P(1), PG_ARGISNULL(2) ? NULL :
						  checked_json(&results, "result of the task", NULL),
						  payorder_now());
	ended = ended_tasks(rows);
	lost = palloc(sizeof(Datum) * tasks.count);
	for (int i = 0; i < tasks.count; i++)
	{
		int64		task = DatumGetInt64(tasks.values[i]);

		if (!tasks.nulls[i] &&
			bsearch(&task, ended, rows->count, sizeof(int64),
					compare_numbers) == NULL)
			lost[count++] = tasks.values[i];
	}
	PG_RETURN_DATUM(numbers_array(lost, count));
}
