/*-------------------------------------------------------------------------
 *
 * task_batch.c
 *		Many tasks in one call: enqueue_batch and complete_batch.
 *
 * Each step is one statement for all the tasks of a call (relation_bulk.c),
 * which are of kinds of the user's own: what ends a task of the kernel's
 * touches an order, and is complete()'s.  A lease that is lost ends nothing
 * and undoes no other task; who deletes the lease's row owns the end, as
 * everywhere.
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

#define MOST_TASKS	1000

static Statement take_lease = {
	.sql = "DELETE FROM payorder.task_leases WHERE task_id = $1 AND token = $2"
	" RETURNING task_id, kind, attempts",
	.arguments = "ll"
};
static Statement find_kernels = {
	.sql = "SELECT 1 FROM payorder.task_kinds WHERE kind = $1 AND id < 100",
	.arguments = "t"
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

/* An element of type json as text, checked as complete() checks its own. */
static char *
json_element(const Elements *elements, int number, const char *what)
{
	char	   *json;

	if (number >= elements->count || elements->nulls[number])
		return NULL;
	json = TextDatumGetCString(elements->values[number]);
	payorder_json_parse(json, ERRCODE_INVALID_PARAMETER_VALUE, what);
	return json;
}

static char *
text_element(const Elements *elements, int number)
{
	return number >= elements->count || elements->nulls[number] ? NULL :
		TextDatumGetCString(elements->values[number]);
}

static Datum
numbers_array(Datum *numbers, int count)
{
	return PointerGetDatum(construct_array(numbers, count, INT8OID,
										   sizeof(int64), FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

/* Puts tasks that differ in payload and order only into the queue. */
static Datum
enqueue_tasks(TaskRequest *request, const Elements *payloads,
			  const Elements *orders)
{
	TaskRequest *requests = palloc(sizeof(TaskRequest) * payloads->count);
	Datum	   *ids = palloc(sizeof(Datum) * payloads->count);
	int64	   *numbers;

	for (int i = 0; i < payloads->count; i++)
	{
		requests[i] = *request;
		requests[i].payload = json_element(payloads, i, "payload of the task");
		requests[i].order_no = text_element(orders, i);
		payorder_task_check_order(requests[i].order_no);
	}
	numbers = payorder_tasks_enqueue(requests, payloads->count);
	for (int i = 0; i < payloads->count; i++)
		ids[i] = Int64GetDatum(numbers[i]);
	return numbers_array(ids, payloads->count);
}

Datum
payorder_enqueue_batch(PG_FUNCTION_ARGS)
{
	TaskRequest request = {.not_after = NO_TIME};
	Elements	payloads;
	Elements	orders;

	payorder_prevent_read_only("enqueue_batch()");
	request.kind = payorder_required_text(fcinfo, 0, "kind");
	payloads = elements_argument(fcinfo, 1, "payloads", JSONOID);
	orders = elements_argument(fcinfo, 2, "order_nos", TEXTOID);
	request.run_at = PG_ARGISNULL(3) ? payorder_now() :
		PG_GETARG_TIMESTAMPTZ(3);
	payorder_task_check_request(request.kind, request.run_at);
	if (!PG_ARGISNULL(2))
		check_as_many("order_nos", &orders, &payloads);
	PG_RETURN_DATUM(enqueue_tasks(&request, &payloads, &orders));
}

/* An answer, and the end of its task. */
typedef struct Ended
{
	Task		task;
	char	   *result;
	bool		taken;			/* its lease was there, and was ended */
} Ended;

static int
compare_tasks(const void *left, const void *right)
{
	int64		a = ((const Ended *) left)->task.id;
	int64		b = ((const Ended *) right)->task.id;

	return (a > b) - (a < b);
}

/* The answers by the numbers of their tasks; those that name none are not. */
static Ended *
read_answers(const Elements *tasks, const Elements *tokens,
			 const Elements *results, int *count)
{
	Ended	   *answers = palloc0(sizeof(Ended) * tasks->count);

	*count = 0;
	for (int i = 0; i < tasks->count; i++)
	{
		Ended	   *answer = &answers[*count];

		answer->result = json_element(results, i, "result of the task");
		if (tasks->nulls[i] || tokens->nulls[i])
			continue;
		answer->task.id = DatumGetInt64(tasks->values[i]);
		answer->task.token = DatumGetInt64(tokens->values[i]);
		(*count)++;
	}
	qsort(answers, *count, sizeof(Ended), compare_tasks);
	return answers;
}

static void
refuse_kernels(const Task *task)
{
	if (payorder_query(&find_kernels, task->kind)->count > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("task " INT64_FORMAT " is of a kind of the kernel's",
						task->id),
				 errhint("End it with complete().")));
}

/* Ends the leases of the answers; what they say is read into the tasks. */
static void
take_leases(Ended *answers, int count)
{
	Bulk	   *leases = payorder_bulk(&take_lease, count);
	const char *kind = NULL;
	Rows	   *rows;
	int			at = 0;

	for (int i = 0; i < count; i++)
		payorder_bulk_add(leases, answers[i].task.id, answers[i].task.token);
	rows = payorder_bulk_query(leases);
	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);
		int64		id = payorder_read_number(&reader);

		while (answers[at].task.id != id)
			at++;
		answers[at].taken = true;
		answers[at].task.kind = payorder_read_text(&reader);
		answers[at].task.attempts = payorder_read_number(&reader);
		if (!payorder_same_text(answers[at].task.kind, kind))
			refuse_kernels(&answers[at].task);
		kind = answers[at].task.kind;
	}
}

static void
finish_taken(const Ended *answers, int count)
{
	Task	   *tasks = palloc(sizeof(Task) * Max(count, 1));
	const char **results = palloc(sizeof(char *) * Max(count, 1));
	int			taken = 0;

	for (int i = 0; i < count; i++)
	{
		if (!answers[i].taken)
			continue;
		tasks[taken] = answers[i].task;
		results[taken++] = answers[i].result;
	}
	payorder_tasks_done(tasks, results, taken);
}

/* Whether a task has ended, by any of the answers. */
static bool
has_ended(const Ended *answers, int count, int64 task)
{
	Ended		wanted = {.task.id = task};
	const Ended *found = bsearch(&wanted, answers, count, sizeof(Ended),
								 compare_tasks);

	if (found == NULL)
		return false;
	while (found > answers && found[-1].task.id == task)
		found--;
	for (; found < answers + count && found->task.id == task; found++)
	{
		if (found->taken)
			return true;
	}
	return false;
}

Datum
payorder_complete_batch(PG_FUNCTION_ARGS)
{
	Elements	tasks;
	Elements	tokens;
	Elements	results;
	Ended	   *answers;
	Datum	   *lost;
	int			count;
	int			lost_count = 0;

	payorder_prevent_read_only("complete_batch()");
	tasks = elements_argument(fcinfo, 0, "tasks", INT8OID);
	tokens = elements_argument(fcinfo, 1, "tokens", INT8OID);
	results = elements_argument(fcinfo, 2, "results", JSONOID);
	check_as_many("tokens", &tokens, &tasks);
	if (!PG_ARGISNULL(2))
		check_as_many("results", &results, &tasks);
	answers = read_answers(&tasks, &tokens, &results, &count);
	take_leases(answers, count);
	finish_taken(answers, count);
	lost = palloc(sizeof(Datum) * tasks.count);
	for (int i = 0; i < tasks.count; i++)
	{
		if (!tasks.nulls[i] &&
			!has_ended(answers, count, DatumGetInt64(tasks.values[i])))
			lost[lost_count++] = tasks.values[i];
	}
	PG_RETURN_DATUM(numbers_array(lost, lost_count));
}
