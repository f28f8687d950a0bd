/*-------------------------------------------------------------------------
 *
 * work_message.c
 *		What a worker's answer says: its messages, which may only be about
 *		what the task itself is about.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "attempt.h"
#include "refund.h"
#include "relation.h"
#include "work_answer.h"

/* A text member of the task's payload, NULL if it is not there. */
const char *
payorder_work_text(const Work *work, const char *name)
{
	JsonNode   *node = payorder_json_member(work->payload, name);

	return node != NULL && node->kind == JSON_STRING ? node->text : NULL;
}

/* Refuses a result that has a wrong form. */
void
payorder_bad_result(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("result of a task has a wrong form"),
			 errdetail("%s", what),
			 errhint("See complete() in the documentation.")));
}

static void
not_its_own(const Task *task)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("message is not about what task " INT64_FORMAT " is about",
					task->id),
			 errhint("An answer may only name the task's own gateway, order, payment or refund.")));
}

static void
must_be(const Task *task, const char *given, const char *own)
{
	if (given != NULL && (own == NULL || strcmp(given, own) != 0))
		not_its_own(task);
}

/* The message's order is the task's; what it leaves out is filled in. */
static void
check_reference(const Work *work, Message *m)
{
	const char *payment_no = payorder_work_text(work, "payment_no");
	bool		about_refund = payorder_work_text(work, "refund_no") != NULL;
	Attempt    *attempt;

	if (m->reference == NULL)
	{
		m->reference = about_refund ? NULL : payment_no;
		return;
	}
	if (payment_no != NULL && strcmp(m->reference, payment_no) == 0)
		return;
	attempt = payorder_attempt_find(m->reference);
	/* A refund's own numbers say what it is about; this may be no order. */
	if (about_refund && attempt == NULL &&
		payorder_order_find(m->reference) == NULL)
		return;
	if (attempt != NULL && strcmp(attempt->gateway, m->gateway) == 0)
		must_be(work->task, attempt->order_no, work->task->order_no);
	else
		must_be(work->task, m->reference, work->task->order_no);
}

/* A message about a refund, or about a payment that is there already. */
static void
check_later(const Work *work, Message *m)
{
	const char *refund_no = payorder_work_text(work, "refund_no");
	Payment    *payment;

	if ((m->event & LATER_EVENTS) == 0)
		return;
	if (m->event == EVENT_PAY_REVERSED && m->payment_txn == NULL)
		m->payment_txn = m->txn_id;
	if (refund_no != NULL)
	{
		must_be(work->task, m->payment_txn, payorder_work_text(work, "txn_id"));
		m->payment_txn = payorder_work_text(work, "txn_id");
		/* Of one made elsewhere the gateway doesn't know our name. */
		if (payorder_refund_is_ours(refund_no))
		{
			must_be(work->task, m->refund_no, refund_no);
			m->refund_no = refund_no;
		}
		else
			must_be(work->task, m->txn_id,
					payorder_work_text(work, "gateway_refund_id"));
		return;
	}
	if (m->payment_txn == NULL)
		not_its_own(work->task);
	payment = payorder_payment_find(m->gateway, m->payment_txn);
	/* Of the task's own attempt, whose payment was not told yet. */
	if (payment == NULL && m->event == EVENT_PAY_REVERSED &&
		payorder_same_text(m->reference, payorder_work_text(work, "payment_no")))
		return;
	if (payment == NULL || payment->order_no == NULL)
		not_its_own(work->task);
	must_be(work->task, payment->order_no, work->task->order_no);
}

/*
 * A message of an answer, of one of the events that are allowed; what it
 * leaves out is filled in from what the task is about.
 */
Message
payorder_work_message(const Work *work, const JsonNode *node, int allowed)
{
	Message		m = payorder_message_read(node, payorder_bad_result);

	m.gateway = work->task->gateway;
	must_be(work->task,
			payorder_message_text(node, "gateway", payorder_bad_result),
			m.gateway);
	if (m.gateway == NULL || (allowed & m.event) == 0)
		not_its_own(work->task);
	m.source = "query";
	check_reference(work, &m);
	check_later(work, &m);
	return m;
}
