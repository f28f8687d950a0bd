/*-------------------------------------------------------------------------
 *
 * work_decision.c
 *		cancel_task and retry_dead: a person's decision about a task.
 *
 * A task that money hangs on, and a review of money that still waits, can't
 * be cancelled: nobody would look at it any more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "refund.h"
#include "relation.h"
#include "work_answer.h"

PG_FUNCTION_INFO_V1(payorder_cancel_task);
PG_FUNCTION_INFO_V1(payorder_retry_dead);

/* The callback would wait for ever, and nobody look. */
static void
refuse_deferred(const Work *work)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("review " INT64_FORMAT " is about a callback that still waits",
					work->task->id),
			 errhint("Bring it back with retry_callback(); the review ends when it is decided.")));
}

/* A review that says where money is stays as long as the money is there. */
static void
check_review(const Work *work)
{
	const char *txn_id = payorder_work_text(work, "txn_id");
	const char *cause = payorder_work_text(work, "cause");
	Payment    *payment;
	int64		waiting;

	if (txn_id != NULL && cause != NULL &&
		strcmp(cause, "deferred_error") == 0 && payorder_work_text(work, "event") != NULL)
		refuse_deferred(work);
	if (txn_id == NULL || cause == NULL ||
		(strcmp(cause, "conflict") == 0 && payorder_work_text(work, "event") != NULL))
		return;
	payment = payorder_payment_lock(work->task->gateway, txn_id);
	if (payment == NULL)
		return;
	if (strcmp(cause, "owed") == 0)
		waiting = payorder_refund_free_owed(payment);
	else if (strcmp(cause, "overdrawn") == 0)
		waiting = payment->pots.overdrawn;
	else if (strcmp(cause, "mismatch") == 0 ||
			 strcmp(cause, "conflict") == 0 ||
			 strcmp(cause, "parked") == 0 ||
			 strcmp(cause, "parked_limit") == 0)
		waiting = payment->pots.review;
	else
		return;
	if (waiting > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("review " INT64_FORMAT " is about money that still waits",
						work->task->id),
				 errdetail("It is " INT64_FORMAT " of payment \"%s\".",
						   waiting, payorder_payment_subject(payment)),
				 errhint("It ends by itself when the money has moved.")));
}

/* A task that money hangs on can't be cancelled by hand. */
static void
check_cancellable(const Work *work)
{
	const char *refund_no = payorder_work_text(work, "refund_no");
	Refund	   *refund;

	check_review(work);
	if (refund_no == NULL || strcmp(work->task->kind, "query_refund") == 0)
		return;
	refund = payorder_refund_lock(refund_no);
	if (refund != NULL && (payorder_refund_is_open(refund) ||
						   refund->state == REFUND_HELD))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("task " INT64_FORMAT " belongs to refund \"%s\", which is not ended",
						work->task->id, refund_no),
				 errhint("Its money would be forgotten; use retry_dead().")));
}

/* A person's decision about a task that is ready or dead. */
static Work
begin_decision(FunctionCallInfo fcinfo, Cause *cause)
{
	Work		work = {0};
	int64		id = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0);

	cause->source = "operator";
	cause->actor = payorder_required_text(fcinfo, 1, "actor");
	cause->reason = payorder_text_argument(fcinfo, 2);
	work.task = payorder_task_waiting(id);
	if (work.task == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("task " INT64_FORMAT " is neither ready nor dead", id),
				 errhint("A leased task ends by its worker or its lease's end.")));
	if (work.task->order_no != NULL)
		work.order = payorder_order_lock(work.task->order_no);
	work.payload = payorder_json_parse(work.task->payload,
									   ERRCODE_INVALID_PARAMETER_VALUE,
									   "payload of the task");
	cause->payload = payorder_json_object("tltt", "kind", work.task->kind,
										  "task", work.task->id,
										  "actor", cause->actor,
										  "reason", cause->reason);
	return work;
}

Datum
payorder_cancel_task(PG_FUNCTION_ARGS)
{
	Cause		cause = {0};
	Work		work;

	payorder_prevent_read_only("cancel_task()");
	work = begin_decision(fcinfo, &cause);
	check_cancellable(&work);
	if (!payorder_task_cancel(work.task, cause.payload))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("task " INT64_FORMAT " has just been taken by somebody else",
						work.task->id),
				 errhint("A leased task ends by its worker or its lease's end.")));
	if (work.order != NULL)
		payorder_order_event(work.order, "cancel_task", NULL, &cause);
	PG_RETURN_VOID();
}

Datum
payorder_retry_dead(PG_FUNCTION_ARGS)
{
	Cause		cause = {0};
	Work		work;

	payorder_prevent_read_only("retry_dead()");
	work = begin_decision(fcinfo, &cause);
	if (!payorder_task_revive(work.task->id))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("task " INT64_FORMAT " is not dead", work.task->id),
				 errhint("See payorder.task_dead.")));
	if (payorder_work_text(&work, "refund_no") != NULL)
		payorder_task_close_review(payorder_work_text(&work, "refund_no"),
								   "in_doubt");
	if (work.order != NULL)
		payorder_order_event(work.order, "retry_dead", NULL, &cause);
	PG_RETURN_VOID();
}
