/*-------------------------------------------------------------------------
 *
 * work.c
 *		A task's answer goes through ingest and refund: complete, fail, and
 *		the end of a lease.
 *
 * The order's lock is taken before the lease is, as everywhere.  An answer
 * and the end of its task commit together.  What each kind does with an
 * answer is a row of a table; an answer's messages may only be about what the
 * task itself is about.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "attempt.h"
#include "callback.h"
#include "guc.h"
#include "json.h"
#include "refund.h"
#include "relation.h"
#include "timer.h"
#include "work.h"
#include "work_answer.h"

#define MOST_MESSAGES	100

PG_FUNCTION_INFO_V1(payorder_complete);
PG_FUNCTION_INFO_V1(payorder_fail);

/* Ends the task if the answer is final, or gives it back. */
typedef void (*Ending) (Work *work);

/* The answer's members: a misspelt one must not pass for an empty answer. */
static void
check_result(const JsonNode *result)
{
	static const struct
	{
		const char *name;
		JsonKind	kind;
	}			members[] = {
		{"messages", JSON_ARRAY},
		{"confirmed", JSON_ARRAY},
		{"unknown", JSON_BOOLEAN},
		{"already_paid", JSON_BOOLEAN},
		{"note", JSON_STRING}
	};

	if (result->kind != JSON_OBJECT)
		payorder_bad_result("It must be an object.");
	for (JsonNode *node = result->first; node != NULL; node = node->next)
	{
		bool		known = false;

		for (size_t i = 0; i < lengthof(members); i++)
			known |= strcmp(members[i].name, node->name) == 0 &&
				(members[i].kind == node->kind || node->kind == JSON_NULL);
		if (!known)
			payorder_bad_result("Its members are messages, confirmed, unknown, already_paid and note.");
	}
}

static bool
is_kind(const Work *work, const char *kind)
{
	return strcmp(work->task->kind, kind) == 0;
}

static void
done(Work *work)
{
	payorder_task_done(work->task, work->result_text);
}

/* ---- what each kind does with its answer ---- */

static Message
closed_message(const Work *work, const Attempt *attempt)
{
	Message		message = {0};

	message.gateway = work->task->gateway;
	message.txn_id = attempt->payment_no;
	message.event = EVENT_PAY_CLOSED;
	message.reference = attempt->payment_no;
	message.occurred_at = payorder_now();
	message.source = "query";
	return message;
}

/*
 * The gateway doesn't know the number: nobody has begun to pay, and can still
 * do so until the attempt expires.
 */
static void
end_unknown(Work *work, Attempt *attempt)
{
	Message		closed;

	if (attempt->expires_at == NO_TIME)
		payorder_task_give_back(work->task, "unknown to the gateway", true);
	else if (attempt->expires_at > payorder_now())
		payorder_task_again(work->task, attempt->expires_at,
							"unknown to the gateway");
	else
	{
		closed = closed_message(work, attempt);
		payorder_callback_ingest(&closed);
		done(work);
	}
}

static void
end_close(Work *work)
{
	const char *payment_no = payorder_work_text(work, "payment_no");
	Attempt    *attempt = payment_no == NULL ? NULL :
		payorder_attempt_find(payment_no);

	if (attempt == NULL || !payorder_attempt_is_open(attempt) ||
		work->order == NULL)
		done(work);
	else if (payorder_json_is_true(work->result, "already_paid"))
	{
		payorder_attempt_query(attempt);
		done(work);
	}
	else if (payorder_json_is_true(work->result, "unknown"))
		end_unknown(work, attempt);
	else
		done(work);
}

/* The refund that the task is about, if it still waits for an answer. */
static Refund *
waiting_refund(const Work *work)
{
	const char *refund_no = payorder_work_text(work, "refund_no");
	Refund	   *refund = refund_no == NULL ? NULL :
		payorder_refund_lock(refund_no);

	return refund != NULL && payorder_refund_is_open(refund) &&
		refund->state != REFUND_STUCK ? refund : NULL;
}

/* A task that sends money, or asks whether it may, ends with its refund. */
static bool
is_over(const Work *work)
{
	const char *refund_no = payorder_work_text(work, "refund_no");
	Refund	   *refund;

	if (is_kind(work, "refund"))
		return waiting_refund(work) == NULL;
	if (!is_kind(work, "return") || refund_no == NULL)
		return false;
	refund = payorder_refund_lock(refund_no);
	return refund == NULL || refund->state != REFUND_HELD;
}

/*
 * The work was not done, or brought no final answer: gives the task back,
 * which makes it ready, dead, or cancelled if its refund has ended.
 */
static const char *
unanswered(Work *work, const char *error, bool retryable)
{
	bool		dead;

	if (is_over(work))
	{
		payorder_task_cancelled(work->task);
		return "cancelled";
	}
	dead = payorder_task_give_back(work->task, error, retryable);
	if (is_kind(work, "refund"))
		payorder_refund_unanswered(work->order,
								   payorder_work_text(work, "refund_no"),
								   work->task->first_tried_at, dead);
	else if (is_kind(work, "query_refund") && dead)
		payorder_refund_query_dead(work->order,
								   payorder_work_text(work, "refund_no"));
	return dead ? "dead" : "ready";
}

/* The gateway has the refund and says no more yet: it is asked from now on. */
static void
end_refund(Work *work)
{
	Refund	   *refund = waiting_refund(work);

	done(work);
	if (refund == NULL)
		return;
	payorder_refund_unanswered(work->order, refund->refund_no,
							   work->task->first_tried_at, false);
	payorder_refund_query(refund, payorder_now() + USECS_PER_MINUTE);
}

/*
 * The gateway does not know the number: it is sent again, with this number;
 * or, if the money has gone another way meanwhile, not at all.
 */
static void
send_again(Work *work, Refund *refund)
{
	Payment    *payment = payorder_payment_lock(refund->gateway,
												refund->txn_id);

	if (refund->task_id != 0 && payorder_task_is_open(refund->task_id))
		return;
	if (payment->reversed_at != NO_TIME || payment->pots.overdrawn > 0)
	{
		payorder_refund_never_sent(work->order, payment, refund);
		payorder_refund_settle(work->order);
		payorder_callback_drain_for(payment, refund);
		return;
	}
	refund->task_id = payorder_refund_send(payment, refund);
	payorder_refund_save(refund);
}

static void
end_query_refund(Work *work)
{
	Refund	   *refund = waiting_refund(work);

	if (refund == NULL)
		done(work);
	else if (payorder_json_is_true(work->result, "unknown"))
	{
		done(work);
		send_again(work, refund);
	}
	else
		unanswered(work, "no final answer", true);
}

static bool
all_confirmed(const Work *work)
{
	JsonNode   *wanted = payorder_json_member(work->payload, "confirm");
	JsonNode   *given = payorder_json_member(work->result, "confirmed");

	if (wanted == NULL || given == NULL || given->kind != JSON_ARRAY)
		return false;
	for (JsonNode *want = wanted->first; want != NULL; want = want->next)
	{
		const char *txn_id = payorder_json_member(want, "txn_id")->text;
		bool		found = false;

		for (JsonNode *node = given->first; node != NULL; node = node->next)
			found |= node->kind == JSON_STRING &&
				strcmp(node->text, txn_id) == 0;
		if (!found)
			return false;
	}
	return true;
}

static void
end_return(Work *work)
{
	const char *txn_id = payorder_work_text(work, "txn_id");
	const char *refund_no = payorder_work_text(work, "refund_no");
	Payment    *payment;
	Refund	   *refund;
	Gateway    *gateway;

	if (txn_id == NULL || refund_no == NULL)
		elog(ERROR, "payload of a return has a wrong form");
	payment = payorder_payment_lock(work->task->gateway, txn_id);
	refund = payorder_refund_lock(refund_no);
	done(work);
	if (payment == NULL || refund == NULL || refund->state != REFUND_HELD)
		return;
	gateway = payorder_gateway(payment->gateway, payment->txn_id,
							   payment->currency);
	if (!all_confirmed(work))
		payorder_refund_doubt(work->order, refund, "not_confirmed");
	else if (payorder_json_is_true(work->payload, "uncounted") &&
			 !payorder_refund_count_return(payment, gateway, refund))
		payorder_refund_doubt(work->order, refund, "auto_return_limit");
	else
		payorder_refund_release(work->order, payment, refund);
	payorder_refund_settle(work->order);
}

static const struct
{
	const char *kind;
	int			events;			/* that its messages may be */
	Ending		ending;
}			endings[] = {
	{"query_payment", ALL_EVENTS, done},
	{"close_payment", PAY_EVENTS | ATTEMPT_EVENTS, end_close},
	{"refund", REFUND_EVENTS, end_refund},
	{"query_refund", REFUND_EVENTS, end_query_refund},
	{"return", 0, end_return},
};

static bool
is_kernel_kind(const Task *task)
{
	for (size_t i = 0; i < lengthof(endings); i++)
	{
		if (strcmp(endings[i].kind, task->kind) == 0)
			return true;
	}
	return false;
}

static int
allowed_events(const Task *task)
{
	for (size_t i = 0; i < lengthof(endings); i++)
	{
		if (strcmp(endings[i].kind, task->kind) == 0)
			return endings[i].events;
	}
	return 0;
}

static Ending
ending_of(const Task *task)
{
	for (size_t i = 0; i < lengthof(endings); i++)
	{
		if (strcmp(endings[i].kind, task->kind) == 0)
			return endings[i].ending;
	}
	return done;
}

/* ---- an answer's messages ---- */

static void
put_answer(ReturnSetInfo *output, const Answer *answer)
{
	Datum		values[ANSWER_COLUMNS];
	bool		nulls[ANSWER_COLUMNS];

	payorder_answer_values(answer, values, nulls);
	tuplestore_putvalues(output->setResult, output->setDesc, values, nulls);
}

static void
ingest_messages(Work *work, ReturnSetInfo *output)
{
	JsonNode   *messages = payorder_json_member(work->result, "messages");
	int			count = 0;

	if (messages == NULL || messages->kind == JSON_NULL ||
		!is_kernel_kind(work->task))
		return;
	if (messages->kind != JSON_ARRAY)
		payorder_bad_result("Member \"messages\" must be an array.");
	for (JsonNode *node = messages->first; node != NULL; node = node->next)
	{
		Message		message;
		Answer	   *answer;

		if (++count > MOST_MESSAGES)
			payorder_bad_result("There are too many messages.");
		if (node->kind != JSON_OBJECT)
			payorder_bad_result("Each message must be an object.");
		message = payorder_work_message(work, node, allowed_events(work->task));
		answer = payorder_callback_ingest(&message);
		if (!answer->acknowledged)
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("another transaction is deciding the same message"),
					 errhint("Complete the task again.")));
		put_answer(output, answer);
	}
}

static Work
begin_work(FunctionCallInfo fcinfo, const char *result)
{
	Work		work = {0};
	int64		id = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0);

	work.task = PG_ARGISNULL(1) ? NULL :
		payorder_task_leased(id, PG_GETARG_INT64(1));
	if (work.task == NULL)
		payorder_lease_lost(id);
	work.payload = payorder_json_parse(work.task->payload,
									   ERRCODE_INVALID_PARAMETER_VALUE,
									   "payload of the task");
	if (result != NULL)
		work.result = payorder_json_parse(result,
										  ERRCODE_INVALID_PARAMETER_VALUE,
										  "result of the task");
	work.result_text = result;
	if (work.task->order_no != NULL)
		work.order = payorder_order_lock(work.task->order_no);
	if (!payorder_task_take(work.task))
		payorder_lease_lost(id);
	return work;
}

Datum
payorder_complete(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *output = (ReturnSetInfo *) fcinfo->resultinfo;
	Work		work;

	payorder_prevent_read_only("complete()");
	payorder_require_sync();
	InitMaterializedSRF(fcinfo, 0);
	work = begin_work(fcinfo, payorder_text_argument(fcinfo, 2));
	if (work.result != NULL && is_kernel_kind(work.task))
		check_result(work.result);
	ingest_messages(&work, output);
	if (work.order != NULL)
		work.order = payorder_order_lock(work.task->order_no);
	ending_of(work.task) (&work);
	return (Datum) 0;
}

Datum
payorder_fail(PG_FUNCTION_ARGS)
{
	Work		work;
	const char *error;

	payorder_prevent_read_only("fail()");
	error = payorder_text_argument(fcinfo, 2);
	work = begin_work(fcinfo, NULL);
	PG_RETURN_TEXT_P(cstring_to_text(unanswered(&work, error,
												PG_ARGISNULL(3) ||
												PG_GETARG_BOOL(3))));
}

/*
 * A lease is over: gives the task back.  False if the order is busy, or the
 * worker was faster.
 */
bool
payorder_work_expire(const Task *task)
{
	Work		work = {0};

	work.task = (Task *) task;
	work.payload = payorder_json_parse(task->payload,
									   ERRCODE_INVALID_PARAMETER_VALUE,
									   "payload of the task");
	if (task->order_no != NULL)
	{
		work.order = payorder_order_skip_locked(task->order_no);
		if (work.order == NULL && payorder_order_find(task->order_no) != NULL)
			return false;
	}
	if (!payorder_task_expire(task))
		return false;
	unanswered(&work, "lease expired", true);
	return true;
}

/*
 * A refund was last tried so long ago that the gateway may have forgotten its
 * number: it is asked about before it is sent again.  False if the order is
 * busy, or a worker was faster.
 */
bool
payorder_work_forgotten(const Task *task)
{
	Work		work = {0};
	Refund	   *refund;

	work.task = (Task *) task;
	work.payload = payorder_json_parse(task->payload,
									   ERRCODE_INVALID_PARAMETER_VALUE,
									   "payload of the task");
	if (task->order_no != NULL)
	{
		work.order = payorder_order_skip_locked(task->order_no);
		if (work.order == NULL)
			return false;
	}
	if (!payorder_task_take_ready(task->id))
		return false;
	done(&work);
	refund = waiting_refund(&work);
	if (refund == NULL)
		return true;
	payorder_refund_unanswered(work.order, refund->refund_no,
							   task->first_tried_at, false);
	payorder_refund_query(refund, payorder_now());
	return true;
}
