/*-------------------------------------------------------------------------
 *
 * work_message.c
 *		What a worker's answer says: its messages, which may only be about
 *		what the task itself is about.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "utils/builtins.h"
#include "utils/timestamp.h"

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

static const char *
text_member(const JsonNode *object, const char *name)
{
	JsonNode   *node = payorder_json_member(object, name);

	if (node == NULL || node->kind == JSON_NULL)
		return NULL;
	if (node->kind != JSON_STRING)
		payorder_bad_result(psprintf("Member \"%s\" of a message must be a string.",
							name));
	return node->text;
}

/* "2026-05-01T10:00:00+08:00": the form is checked, so no setting matters. */
static bool
is_iso_time(const char *text)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd";
	size_t		length = strlen(form);

	if (strlen(text) < length)
		return false;
	for (size_t i = 0; i < length; i++)
	{
		if (form[i] == 'd' ? !isdigit((unsigned char) text[i]) :
			form[i] != text[i] && !(form[i] == 'T' && text[i] == ' '))
			return false;
	}
	text += length;
	if (*text == '.')
		text += 1 + strspn(text + 1, "0123456789");
	return strcmp(text, "Z") == 0 ||
		((*text == '+' || *text == '-') && isdigit((unsigned char) text[1]) &&
		 strspn(text + 1, "0123456789:") == strlen(text + 1));
}

static TimestampTz
time_member(const JsonNode *object, const char *name)
{
	const char *text = text_member(object, name);

	if (text == NULL)
		return NO_TIME;
	if (!is_iso_time(text))
		payorder_bad_result(psprintf("Member \"%s\" of a message must be an ISO 8601 time with its zone.",
							name));
	return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
												   CStringGetDatum(text),
												   ObjectIdGetDatum(InvalidOid),
												   Int32GetDatum(-1)));
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
	Message		m = {0};
	JsonNode   *amount = payorder_json_member(node, "amount");
	JsonNode   *payload = payorder_json_member(node, "payload");
	const char *event = text_member(node, "event");

	m.txn_id = text_member(node, "txn_id");
	if (m.txn_id == NULL || event == NULL)
		payorder_bad_result("Each message must have txn_id and event.");
	if (!payorder_message_event(event, &m.event))
		payorder_bad_result("A message has an unknown event.");
	m.gateway = work->task->gateway;
	must_be(work->task, text_member(node, "gateway"), m.gateway);
	if (m.gateway == NULL || (allowed & m.event) == 0)
		not_its_own(work->task);
	m.reference = text_member(node, "order_no");
	m.has_amount = payorder_json_bigint(amount, &m.amount);
	m.amount_is_total = m.event == EVENT_REFUND &&
		payorder_json_is_true(node, "amount_is_total");
	m.currency = text_member(node, "currency");
	m.occurred_at = time_member(node, "occurred_at");
	m.payment_txn = text_member(node, "payment_txn");
	m.refund_no = text_member(node, "refund_no");
	m.payload = payload == NULL ? NULL : payorder_json_text(payload);
	m.source = "query";
	check_reference(work, &m);
	check_later(work, &m);
	return m;
}
