/*-------------------------------------------------------------------------
 *
 * task.c
 *		The task queue: bodies, ready ones, leases and ends.
 *
 * A task's body is written once.  Where it is says a row in exactly one of
 * task_ready, task_leases, task_dead and task_finished; it moves by DELETE
 * and INSERT in one transaction, and who deletes the row owns the move, so
 * two workers, a worker and a lease's end, or a cancellation and a claim
 * never both win.  A ready or leased task with a dedup key has a row in
 * task_keys.
 *
 * Locks: a claim takes ready rows with SKIP LOCKED.  Who needs an order's
 * lock too takes it first.
 *
 * A crash leaves leases; sweep() takes them back after their time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "errors.h"
#include "guc.h"
#include "json.h"
#include "relation.h"
#include "task.h"
#include "timer.h"
#include "wake.h"

static Statement insert_key = {
	.sql = "INSERT INTO payorder.task_keys (dedup_key, task_id) VALUES ($1, $2)"
	" ON CONFLICT (dedup_key) DO NOTHING",
	.arguments = "tl"
};
static Statement insert_body = {
	.sql = "INSERT INTO payorder.tasks (id, kind, order_no, gateway,"
	" idempotency_key, dedup_key, payload, not_after, trace, created_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
	.arguments = "ltttttjztz"
};
static Statement find_handled = {
	.sql = "SELECT 1 FROM payorder.task_kinds"
	" WHERE kind = $1 AND worked_by = 'handler'",
	.arguments = "t"
};
static Statement find_key = {
	.sql = "SELECT task_id FROM payorder.task_keys WHERE dedup_key = $1",
	.arguments = "t"
};
static Statement find_keys = {
	.sql = "SELECT k.task_id FROM pg_catalog.unnest($1) AS u (dedup_key)"
	" CROSS JOIN LATERAL (SELECT t.task_id FROM payorder.task_keys AS t"
	" WHERE t.dedup_key = u.dedup_key OFFSET 0) AS k",
	.arguments = "A"
};
static Statement get_dedup_key = {
	.sql = "SELECT id, dedup_key FROM payorder.tasks"
	" WHERE id = $1 AND dedup_key IS NOT NULL",
	.arguments = "l"
};
static Statement delete_key = {
	.sql = "DELETE FROM payorder.task_keys"
	" WHERE dedup_key = $1 AND task_id = $2",
	.arguments = "tl"
};
static Statement get_lease = {
	.sql = "SELECT attempts, first_tried_at FROM payorder.task_leases"
	" WHERE task_id = $1 AND token = $2",
	.arguments = "ll"
};
static Statement get_body = {
	.sql = "SELECT kind, order_no, gateway, idempotency_key, payload"
	" FROM payorder.tasks WHERE id = $1",
	.arguments = "l"
};
static Statement get_waiting = {
	.sql = "SELECT t.id, 0::bigint, t.kind, t.order_no, t.gateway,"
	" t.idempotency_key, t.payload, coalesce(r.attempts, d.attempts),"
	" coalesce(r.first_tried_at, d.first_tried_at)"
	" FROM payorder.tasks AS t"
	" LEFT JOIN payorder.task_ready AS r ON r.task_id = t.id"
	" LEFT JOIN payorder.task_dead AS d ON d.task_id = t.id"
	" WHERE t.id = $1 AND (r.task_id IS NOT NULL OR d.task_id IS NOT NULL)",
	.arguments = "l"
};
static Statement delete_dead = {
	.sql = "DELETE FROM payorder.task_dead WHERE task_id = $1",
	.arguments = "l"
};
static Statement get_expired = {
	.sql = "SELECT l.task_id, l.token, t.kind, t.order_no, t.gateway,"
	" t.idempotency_key, t.payload, l.attempts, l.first_tried_at"
	" FROM payorder.task_leases AS l JOIN payorder.tasks AS t ON t.id = l.task_id"
	" WHERE l.leased_until <= $1 ORDER BY l.leased_until, l.task_id LIMIT $2",
	.arguments = "zi"
};
static Statement get_kernel_tasks = {
	.sql = "SELECT r.task_id, 0::bigint, t.kind, t.order_no, t.gateway,"
	" t.idempotency_key, t.payload, r.attempts + 1, r.first_tried_at"
	" FROM payorder.task_ready AS r JOIN payorder.tasks AS t ON t.id = r.task_id"
	" WHERE r.run_at <= $1 AND NOT r.handled AND r.kind IN (SELECT k.kind"
	" FROM payorder.task_kinds AS k WHERE k.worked_by = 'kernel')"
	" ORDER BY r.run_at, r.task_id LIMIT $2",
	.arguments = "zi"
};
static Statement get_forgotten = {
	.sql = "SELECT r.task_id, 0::bigint, t.kind, t.order_no, t.gateway,"
	" t.idempotency_key, t.payload, r.attempts, r.first_tried_at"
	" FROM payorder.task_ready AS r JOIN payorder.tasks AS t ON t.id = r.task_id"
	" JOIN payorder.gateways AS g ON g.gateway = r.gateway"
	" WHERE r.kind = 'refund' AND r.first_tried_at IS NOT NULL"
	" AND r.first_tried_at + g.idempotency_window <= $1"
	" ORDER BY r.first_tried_at, r.task_id LIMIT $2",
	.arguments = "zi"
};
static Statement find_open = {
	.sql = "SELECT 1 FROM payorder.task_ready WHERE task_id = $1"
	" UNION ALL SELECT 1 FROM payorder.task_leases WHERE task_id = $1",
	.arguments = "l"
};
static Statement delete_lease = {
	.sql = "DELETE FROM payorder.task_leases WHERE task_id = $1 AND token = $2",
	.arguments = "ll"
};
static Statement delete_expired = {
	.sql = "DELETE FROM payorder.task_leases"
	" WHERE task_id = $1 AND token = $2 AND leased_until <= $3",
	.arguments = "llz"
};
static Statement delete_ready = {
	.sql = "DELETE FROM payorder.task_ready WHERE task_id = $1",
	.arguments = "l"
};
static Statement delete_unclaimed = {
	.sql = "DELETE FROM payorder.task_ready"
	" WHERE task_id = $1 AND first_tried_at IS NULL",
	.arguments = "l"
};
static Statement find_dead = {
	.sql = "SELECT d.task_id FROM payorder.tasks AS t"
	" JOIN payorder.task_dead AS d ON d.task_id = t.id"
	" WHERE t.order_no = $1 AND t.dedup_key = $2",
	.arguments = "tt"
};
static Statement find_unclaimed = {
	.sql = "SELECT 1 FROM payorder.task_ready"
	" WHERE task_id = $1 AND first_tried_at IS NULL",
	.arguments = "l"
};
static Statement prolong_lease = {
	.sql = "UPDATE payorder.task_leases"
	" SET leased_until = $3 + '1 minute'::interval"
	" WHERE task_id = $1 AND token = $2 AND leased_until <= $3",
	.arguments = "llz"
};
static Statement insert_ready = {
	.sql = "INSERT INTO payorder.task_ready"
	" (task_id, run_at, kind, gateway, attempts, first_tried_at, error,"
	" handled)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
	.arguments = "lzttiztb"
};
static Statement insert_dead = {
	.sql = "INSERT INTO payorder.task_dead"
	" (task_id, kind, gateway, attempts, first_tried_at, error, died_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7)",
	.arguments = "lttiztz"
};
static Statement insert_finished = {
	.sql = "INSERT INTO payorder.task_finished"
	" (task_id, outcome, attempts, result, finished_at)"
	" VALUES ($1, $2, $3, $4, $5)",
	.arguments = "ltijz"
};
static Statement get_kind = {
	.sql = "SELECT EXISTS (SELECT FROM payorder.task_kinds AS b"
	" WHERE b.kind = $1 AND b.id < 100), lease, max_attempts, backoff_base,"
	" backoff_max,"
	" backoff_list[least($2, pg_catalog.cardinality(backoff_list))]"
	" FROM payorder.task_kinds WHERE kind = $1 ORDER BY id DESC LIMIT 1",
	.arguments = "ti"
};
static Statement take_dead = {
	.sql = "DELETE FROM payorder.task_dead AS d USING payorder.tasks AS t"
	" WHERE d.task_id = $1 AND t.id = d.task_id"
	" RETURNING d.kind, d.gateway, d.first_tried_at, d.error, t.dedup_key",
	.arguments = "l"
};
static Statement retake_key = {
	.sql = "INSERT INTO payorder.task_keys (dedup_key, task_id) VALUES ($1, $2)"
	" ON CONFLICT (dedup_key) DO NOTHING",
	.arguments = "tl"
};
static Statement get_next = {
	.sql = "SELECT least((SELECT pg_catalog.min(leased_until) FROM payorder.task_leases),"
	" (SELECT r.run_at FROM payorder.task_ready AS r WHERE r.run_at < 'infinity'"
	" AND NOT r.handled"
	" AND r.kind IN (SELECT k.kind FROM payorder.task_kinds AS k"
	" WHERE k.worked_by = 'kernel') ORDER BY r.run_at LIMIT 1))",
	.arguments = ""
};

static Statement get_next_handled = {
	.sql = "SELECT run_at FROM payorder.task_ready"
	" WHERE handled AND run_at < 'infinity' ORDER BY run_at LIMIT 1",
	.arguments = ""
};

static int64
length_of(const Interval *interval)
{
	return interval->day * USECS_PER_DAY + interval->time;
}

/* A kind, with the pause after its n-th failure; false if there is none. */
bool
payorder_task_kind(const char *name, int failures, TaskKind *kind)
{
	Rows	   *rows = payorder_query(&get_kind, name, Max(failures, 1));
	Reader		reader;
	Interval   *base;
	Interval   *most;
	Interval   *listed;

	if (rows->count == 0)
		return false;
	reader = payorder_row(rows, 0);
	kind->is_kernels = payorder_read_truth(&reader);
	(void) payorder_read_interval(&reader);
	kind->max_attempts = payorder_read_number(&reader);
	base = payorder_read_interval(&reader);
	most = payorder_read_interval(&reader);
	listed = payorder_read_interval(&reader);
	kind->fixed_pause = listed != NULL;
	kind->pause = listed != NULL ? length_of(listed) :
		(int64) Min((double) length_of(most),
					(double) length_of(base) * pow(2, Min(failures, 60) - 1));
	return true;
}

/* The next numbers of a sequence of the kernel's. */
int64 *
payorder_next_numbers(const char *sequence, int count)
{
	Oid			relation = get_relname_relid(sequence,
											 get_namespace_oid("payorder", false));
	int64	   *numbers = palloc(sizeof(int64) * Max(count, 1));

	for (int i = 0; i < count; i++)
		numbers[i] = nextval_internal(relation, false);
	return numbers;
}

static bool
is_handled(const char *kind)
{
	return payorder_query(&find_handled, kind)->count > 0;
}

static void
make_ready(int64 id, const char *kind, const char *gateway,
		   TimestampTz run_at, int attempts, TimestampTz first_tried_at,
		   const char *error)
{
	payorder_execute(&insert_ready, id, run_at, kind, gateway, attempts,
					 first_tried_at, error, (int) is_handled(kind));
}

/* Takes a dedup key for a task; the task that has it already, else 0. */
static int64
take_key(const char *dedup_key, int64 id)
{
	while (payorder_execute(&insert_key, dedup_key, id) == 0)
	{
		Rows	   *rows = payorder_query(&find_key, dedup_key);

		if (rows->count > 0)
			return rows->cells[0].number;
		CHECK_FOR_INTERRUPTS();
	}
	return 0;
}

/*
 * Puts a task into the queue and returns its id; with a dedup key that an
 * open task has, that task's id.
 */
int64
payorder_task_enqueue(const TaskRequest *request)
{
	int64		id = payorder_next_numbers("task_ids", 1)[0];
	int64		other = request->dedup_key == NULL ? 0 :
		take_key(request->dedup_key, id);

	payorder_wake_at(request->run_at);
	if (other != 0)
		return other;
	payorder_execute(&insert_body, id, request->kind, request->order_no,
					 request->gateway, request->idempotency_key,
					 request->dedup_key,
					 request->payload ? request->payload : "{}",
					 request->not_after, payorder_current_trace(),
					 payorder_now());
	make_ready(id, request->kind, request->gateway, request->run_at, 0, NO_TIME,
			   NULL);
	return id;
}

/*
 * Puts tasks of one kind without dedup keys into the queue and returns their
 * numbers, in their order.
 */
int64 *
payorder_tasks_enqueue(const TaskRequest *requests, int count)
{
	Bulk	   *bodies = payorder_bulk(&insert_body, count);
	Bulk	   *ready = payorder_bulk(&insert_ready, count);
	int64	   *ids = payorder_next_numbers("task_ids", count);
	bool		handled = count > 0 && is_handled(requests[0].kind);

	for (int i = 0; i < count; i++)
	{
		const TaskRequest *request = &requests[i];

		payorder_bulk_add(bodies, ids[i], request->kind, request->order_no,
						  request->gateway, request->idempotency_key, NULL,
						  request->payload ? request->payload : "{}",
						  request->not_after, payorder_current_trace(),
						  payorder_now());
		payorder_bulk_add(ready, ids[i], request->run_at, request->kind,
						  request->gateway, 0, NO_TIME, NULL, (int) handled);
		payorder_wake_at(request->run_at);
	}
	(void) payorder_bulk_execute(bodies);
	(void) payorder_bulk_execute(ready);
	return ids;
}

/* Whether an open task has this dedup key. */
bool
payorder_task_is_asked(const char *dedup_key)
{
	return payorder_query(&find_key, dedup_key)->count > 0;
}

static char *
review_key(const char *subject, const char *cause)
{
	return psprintf("review:%s:%s", cause, subject);
}

/* Asks for a person's decision; false if that was asked already. */
bool
payorder_task_review(const ReviewRequest *request)
{
	TaskRequest task = {.kind = "review",.not_after = NO_TIME};

	task.dedup_key = review_key(request->subject, request->cause);
	if (payorder_query(&find_key, task.dedup_key)->count > 0)
		return false;
	task.order_no = request->order_no;
	task.gateway = request->gateway;
	task.run_at = DT_NOEND;
	task.payload = payorder_json_object("tttttLtt",
										"subject", request->subject,
										"cause", request->cause,
										"txn_id", request->txn_id,
										"event", request->event,
										"refund_no", request->refund_no,
										"amount", request->amount,
										"currency", request->currency,
										"detail", request->detail);
	payorder_task_enqueue(&task);
	if (MyBgworkerEntry != NULL)
		ereport(WARNING,
				(errmsg("%s waits for a decision: %s", request->subject,
						request->cause)));
	return true;
}

/* Whether a person's decision is asked for. */
bool
payorder_task_has_review(const char *subject, const char *cause)
{
	return payorder_query(&find_key, review_key(subject, cause))->count > 0;
}

static void
close_reviews(Rows *rows)
{
	for (int i = 0; i < rows->count; i++)
	{
		Task		task = {.id = rows->cells[i].number};

		if (payorder_execute(&delete_ready, task.id) == 1)
			payorder_task_done(&task, NULL);
	}
}

/* Ends a review whose cause is gone, if there is one. */
void
payorder_task_close_review(const char *subject, const char *cause)
{
	close_reviews(payorder_query(&find_key, review_key(subject, cause)));
}

/* Ends the reviews of several causes, those that are there. */
void
payorder_task_close_reviews(const char *subject, const char *const *causes,
							int count)
{
	Datum	   *keys = palloc(sizeof(Datum) * count);

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
		keys[i] = CStringGetTextDatum(review_key(subject, causes[i]));
	close_reviews(payorder_query(&find_keys,
								 construct_array(keys, count, TEXTOID, -1,
												 false, TYPALIGN_INT)));
}

static void
read_task(Reader *reader, Task *task)
{
	task->id = payorder_read_number(reader);
	task->token = payorder_read_number(reader);
	task->kind = payorder_read_text(reader);
	task->order_no = payorder_read_text(reader);
	task->gateway = payorder_read_text(reader);
	task->idempotency_key = payorder_read_text(reader);
	task->payload = payorder_read_text(reader);
	task->attempts = payorder_read_number(reader);
	task->first_tried_at = payorder_read_time(reader);
}

static Task *
read_tasks(Rows *rows, int *count)
{
	Task	   *tasks = palloc0(sizeof(Task) * Max(rows->count, 1));

	*count = rows->count;
	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);

		read_task(&reader, &tasks[i]);
	}
	return tasks;
}

/* A leased task, NULL if the token holds no lease. */
Task *
payorder_task_leased(int64 id, int64 token)
{
	Rows	   *leases = payorder_query(&get_lease, id, token);
	Rows	   *bodies;
	Task	   *task;
	Reader		lease;
	Reader		body;

	if (leases->count == 0)
		return NULL;
	bodies = payorder_query(&get_body, id);
	if (bodies->count == 0)
		return NULL;
	task = palloc0(sizeof(Task));
	task->id = id;
	task->token = token;
	lease = payorder_row(leases, 0);
	task->attempts = payorder_read_number(&lease);
	task->first_tried_at = payorder_read_time(&lease);
	body = payorder_row(bodies, 0);
	task->kind = payorder_read_text(&body);
	task->order_no = payorder_read_text(&body);
	task->gateway = payorder_read_text(&body);
	task->idempotency_key = payorder_read_text(&body);
	task->payload = payorder_read_text(&body);
	return task;
}

/* Tasks whose lease has ended; nothing is locked yet. */
Task *
payorder_tasks_expired(TimestampTz at, int most, int *count)
{
	return read_tasks(payorder_query(&get_expired, at, most), count);
}

/* Ready tasks that sweep() carries out itself; nothing is locked yet. */
Task *
payorder_tasks_of_kernel(TimestampTz at, int most, int *count)
{
	return read_tasks(payorder_query(&get_kernel_tasks, at, most), count);
}

/* Ready refunds whose number the gateway may have forgotten; not locked yet. */
Task *
payorder_tasks_forgotten(TimestampTz at, int most, int *count)
{
	return read_tasks(payorder_query(&get_forgotten, at, most), count);
}

/* Ends the lease of a task; false if it was not there any more. */
bool
payorder_task_take(const Task *task)
{
	return payorder_execute(&delete_lease, task->id, task->token) == 1;
}

/* Ends a lease that is over; false if it was prolonged or ended meanwhile. */
bool
payorder_task_expire(const Task *task)
{
	return payorder_execute(&delete_expired, task->id, task->token,
							payorder_now()) == 1;
}

/* Leaves a lease that is over, and can't be ended, for another minute. */
void
payorder_task_leave(const Task *task)
{
	payorder_execute(&prolong_lease, task->id, task->token, payorder_now());
}

/* Takes a ready task out of the queue; false if it was not there any more. */
bool
payorder_task_take_ready(int64 id)
{
	return payorder_execute(&delete_ready, id) == 1;
}

/* Frees the dedup keys of tasks that are not open any more. */
static void
free_keys(const Task *tasks, int count)
{
	Bulk	   *wanted = payorder_bulk(&get_dedup_key, count);
	Rows	   *keys;

	for (int i = 0; i < count; i++)
		payorder_bulk_add(wanted, tasks[i].id);
	keys = payorder_bulk_query(wanted);
	for (int i = 0; i < keys->count; i++)
	{
		Reader		reader = payorder_row(keys, i);
		int64		id = payorder_read_number(&reader);

		payorder_execute(&delete_key, payorder_read_text(&reader), id);
	}
}

static void
finish(const Task *task, const char *outcome, const char *result)
{
	payorder_execute(&insert_finished, task->id, outcome, task->attempts,
					 result, payorder_now());
	free_keys(task, 1);
}

/* Ends tasks that were taken, with their results (NULL: none). */
void
payorder_tasks_done(const Task *tasks, const char *const *results, int count)
{
	Bulk	   *finished = payorder_bulk(&insert_finished, count);

	for (int i = 0; i < count; i++)
		payorder_bulk_add(finished, tasks[i].id, "done", tasks[i].attempts,
						  results[i], payorder_now());
	(void) payorder_bulk_execute(finished);
	free_keys(tasks, count);
}

/* Ends a task that was taken. */
void
payorder_task_done(const Task *task, const char *result)
{
	finish(task, "done", result);
}

/* Ends a task that was taken and is not needed any more. */
void
payorder_task_cancelled(const Task *task)
{
	finish(task, "cancelled", NULL);
}

/* Makes a task that was taken ready again at an instant. */
void
payorder_task_again(const Task *task, TimestampTz run_at, const char *error)
{
	make_ready(task->id, task->kind, task->gateway, run_at, task->attempts,
			   task->first_tried_at, error);
	payorder_wake_at(run_at);
}

/*
 * Makes a task that was taken ready again after its pause, or dead: when it
 * is not worth another try, or has had them all.  True if it is dead.
 */
bool
payorder_task_give_back(const Task *task, const char *error, bool retryable)
{
	TaskKind	kind;
	double		jitter = pg_prng_double(&pg_global_prng_state);

	if (!payorder_task_kind(task->kind, task->attempts, &kind))
		elog(ERROR, "could not find task kind \"%s\"", task->kind);
	if (!retryable || task->attempts >= kind.max_attempts)
	{
		payorder_execute(&insert_dead, task->id, task->kind, task->gateway,
						 task->attempts, task->first_tried_at, error,
						 payorder_now());
		free_keys(task, 1);
		return true;
	}
	if (!kind.fixed_pause)
		kind.pause = kind.pause * (0.5 + jitter / 2);
	payorder_task_again(task, payorder_now() + kind.pause, error);
	return false;
}

/* A task that is ready or dead, NULL if it is neither. */
Task *
payorder_task_waiting(int64 id)
{
	int			count;
	Task	   *tasks = read_tasks(payorder_query(&get_waiting, id), &count);

	return count == 0 ? NULL : tasks;
}

/* Cancels a task that is ready or dead; false if it is neither any more. */
bool
payorder_task_cancel(const Task *task, const char *result)
{
	if (payorder_execute(&delete_ready, task->id) == 0 &&
		payorder_execute(&delete_dead, task->id) == 0)
		return false;
	finish(task, "cancelled", result);
	return true;
}

/*
 * Makes a dead task ready again with all its attempts; its idempotency key
 * and the time of its first try stay.  False if it is not dead.
 */
bool
payorder_task_revive(int64 id)
{
	Task		task = {.id = id};
	Rows	   *rows = payorder_query(&take_dead, id);
	const char *error;
	const char *dedup_key;
	Reader		reader;

	if (rows->count == 0)
		return false;
	reader = payorder_row(rows, 0);
	task.kind = payorder_read_text(&reader);
	task.gateway = payorder_read_text(&reader);
	task.first_tried_at = payorder_read_time(&reader);
	error = payorder_read_text(&reader);
	dedup_key = payorder_read_text(&reader);
	if (dedup_key != NULL && payorder_execute(&retake_key, dedup_key, id) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a newer task does the work of task " INT64_FORMAT, id),
				 errhint("Cancel the dead one with cancel_task().")));
	payorder_task_again(&task, payorder_now(), error);
	return true;
}

/*
 * Cancels a task that is ready or dead because it is needed no more; one that
 * a worker has just now ends by its answer.
 */
void
payorder_task_cancel_needless(int64 id)
{
	Task	   *task = payorder_task_waiting(id);

	if (task != NULL)
		payorder_task_cancel(task, NULL);
}

/* Cancels the dead tasks of an order with a dedup key: not needed any more. */
void
payorder_task_cancel_dead(const char *order_no, const char *dedup_key)
{
	Rows	   *rows = payorder_query(&find_dead, order_no, dedup_key);

	for (int i = 0; i < rows->count; i++)
		payorder_task_cancel_needless(payorder_row(rows, i).next->number);
}

/* Cancels a task that nobody has ever claimed; false if somebody has. */
bool
payorder_task_cancel_unclaimed(int64 id)
{
	Task		task = {.id = id};

	if (payorder_execute(&delete_unclaimed, id) != 1)
		return false;
	finish(&task, "cancelled", NULL);
	return true;
}

/* Whether a task is ready or leased. */
bool
payorder_task_is_open(int64 id)
{
	return payorder_query(&find_open, id)->count > 0;
}

/* Whether a task waits for its first worker. */
bool
payorder_task_is_unclaimed(int64 id)
{
	return payorder_query(&find_unclaimed, id)->count > 0;
}

void
payorder_lease_lost(int64 id)
{
	ereport(ERROR,
			(errcode(ERRCODE_PO_LEASE_LOST),
			 errmsg("lease of task " INT64_FORMAT " is lost", id),
			 errhint("Another worker has the task or will get it; drop the answer and claim again.")));
}

/* When a lease ends or a kernel's task is ready next, NO_TIME: never. */
TimestampTz
payorder_tasks_next(void)
{
	Rows	   *rows = payorder_query(&get_next);

	return rows->cells[0].isnull ? NO_TIME : rows->cells[0].time;
}

/* When a task with a handler is ready next, NO_TIME: never. */
TimestampTz
payorder_tasks_next_handled(void)
{
	Rows	   *rows = payorder_query(&get_next_handled);

	return rows->count == 0 ? NO_TIME : rows->cells[0].time;
}
