/*-------------------------------------------------------------------------
 *
 * callback_settle.c
 *		settle_callback: a person decides about money that no line could.
 *
 * Money of a payment that lies in review is kept for its order, returned, or
 * given to an order; what waits and has no money in it is dismissed.  Only
 * the callback that made the payments row can be settled, and not while it is
 * deferred, since then it decides itself.  Above a limit two persons must say
 * the same before money is kept.
 *
 * Locks: order, key row, payment, refunds, tasks, as in ingest.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "callback_decision.h"
#include "errors.h"
#include "guc.h"
#include "json.h"
#include "refund_limits.h"
#include "relation.h"
#include "task.h"
#include "timer.h"

PG_FUNCTION_INFO_V1(payorder_settle_callback);

/* A callback with all that a decision about it needs, locked. */
typedef struct Settlement
{
	Decision	d;
	Callback   *callback;
	const char *decision;
	Cause		cause;
	bool		parked;
	bool		proposed;		/* waits for a second person */
} Settlement;

static void
refuse(const Settlement *s, const char *why, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("callback \"%s\" of transaction \"%s\" cannot be settled by \"%s\"",
					payorder_event_name(s->d.message.event),
					s->d.message.txn_id, s->decision),
			 errdetail("%s", why),
			 errhint("%s", hint)));
}

/* How the callback is named in reviews and decisions. */
static char *
subject_of(const Decision *d)
{
	return psprintf("%s:%s:%s", d->message.gateway, d->message.txn_id,
					payorder_event_name(d->message.event));
}

static void
note(Settlement *s, const char *event)
{
	Decision   *d = &s->d;
	Event		record = {0};

	s->cause.payload = payorder_json_object("ttttj",
											"decision", s->decision,
											"event",
											payorder_event_name(d->message.event),
											"txn_id", d->message.txn_id,
											"order_no", d->order_no,
											"moved", d->moved);
	if (d->payment != NULL)
	{
		payorder_payment_event(d->payment, d->order, event, &s->cause);
		return;
	}
	record.event = event;
	record.gateway = d->message.gateway;
	record.txn_id = d->message.txn_id;
	record.cause = s->cause;
	record.at = payorder_now();
	payorder_event_append_payment(record.at, &record);
}

/* Writes the verdict, and ends what was there for a callback without one. */
static void
record(Settlement *s, const char *verdict, const char *detail)
{
	payorder_decide(&s->d, verdict, detail);
	if (s->parked)
		payorder_waiting_delete(&s->d.message);
	payorder_callback_record(&s->d);
}

static void
need_review(const Settlement *s)
{
	if (s->d.payment == NULL ||
		(s->d.message.event & PAY_EVENTS) == 0)
		refuse(s, "It brought no payment.",
			   "What has no money in it is dismissed.");
	if (s->d.payment->pots.review == 0)
		refuse(s, "None of the payment's money is in review.",
			   "See payorder.payments.");
}

/* ---- keep ---- */

/* Why the payment can't be the order's; NULL if it can. */
static const char *
why_not_keep(const Decision *d)
{
	const Payment *payment = d->payment;
	Order	   *order = d->order;

	if (order == NULL)
		return "No order is known for it: give its order_no.";
	if (payment->reversed_at != NO_TIME)
		return "The payment was reversed.";
	if (strcmp(payment->currency, order->currency) != 0)
		return "It is in another currency than the order.";
	if (payorder_order_is_paid(order))
		return "The order is paid.";
	if (payment->amount < order->amount - order->paid)
		return "It is less than what is left to pay.";
	if (payment->amount > PG_INT64_MAX - order->paid)
		return "It is more than can be counted.";
	if (order->frozen && payorder_order_is_refunded(order))
		return "The order is refunded.";
	return NULL;
}

static const Edge *
edge_to_keep(Settlement *s)
{
	Order	   *order = s->d.order;
	const Edge *edge;

	if (order->frozen)
		return NULL;
	edge = payorder_order_edge(order, payorder_state_edge(order->state, "pay") != NULL ?
							   "pay" : "reopen");
	if (edge == NULL)
		refuse(s, "The order takes no payment in its state, or not any more.",
			   "Return it.");
	return edge;
}

static void
keep(Settlement *s)
{
	Decision   *d = &s->d;
	Payment    *payment = d->payment;
	RefundLimits limits;
	const char *why;
	const Edge *edge;
	Attempt    *attempt;

	need_review(s);
	if (s->parked)
		refuse(s, "It is parked.", "Attach it to its order.");
	why = why_not_keep(d);
	if (why != NULL)
		refuse(s, why, "Return it, if it can't be kept.");
	edge = edge_to_keep(s);
	limits = payorder_refund_limits(payment->gateway, d->order);
	if (!payorder_second_person_agrees(&limits, subject_of(d),
									   psprintf("keep %s", d->order_no), &s->cause,
									   payment->pots.review))
	{
		s->proposed = true;
		note(s, "settle_proposed");
		return;
	}
	attempt = payment->payment_no == NULL ? NULL :
		payorder_attempt_find(payment->payment_no);
	payment->order_no = d->order_no;
	payment->disposition = DISPOSITION_ORDER;
	payment->pots.kept += payment->pots.review;
	payment->pots.review = 0;
	d->order->frozen = false;
	d->moved = payorder_payment_save(payment, d->order);
	record(s, "applied", "settled");
	if (edge != NULL)
	{
		About		about = {payment->gateway, payment->txn_id};
		Cause		cause = s->cause;

		payorder_order_take(d->order, edge, &about, &cause);
	}
	note(s, "settle_callback");
	payorder_attempts_close_others(d->order, attempt,
								   d->order->amount - d->order->paid);
}

/* ---- return ---- */

static void
give_back(Settlement *s)
{
	Decision   *d = &s->d;
	Payment    *payment = d->payment;

	need_review(s);
	payment->disposition = DISPOSITION_SURPLUS;
	payment->pots.owed += payment->pots.review;
	payment->pots.review = 0;
	d->moved = payorder_payment_save(payment, d->order);
	if (s->parked)
		record(s, "late", "returned");
	note(s, "settle_callback");
	payorder_refund_return(d->order, payment, d->gateway, "review");
}

/* ---- attach ---- */

static void
attach(Settlement *s)
{
	Decision   *d = &s->d;

	need_review(s);
	if (!s->parked || strcmp(s->callback->detail, "order") != 0)
		refuse(s, "It is not parked for want of an order.",
			   "Keep or return it.");
	if (d->order == NULL)
		refuse(s, "No order is named.", "Give the order_no that it is for.");
	note(s, "settle_callback");
	/* The payment comes to the order in its turn, behind what is older. */
	d->stored = true;
	d->before = NULL;
	d->attached = d->order_no;
	payorder_decide_and_finish(d);
}

/* ---- dismiss ---- */

static const char *const dismissed_causes[] = {
	"parked", "parked_limit", "deferred_error", "invalid", "conflict"
};

static void
dismiss(Settlement *s)
{
	Decision   *d = &s->d;
	const char *subject = subject_of(d);
	bool		any = s->parked;

	if ((d->message.event & PAY_EVENTS) != 0 && d->payment != NULL &&
		d->payment->pots.review > 0)
		refuse(s, "Its payment has money in review.",
			   "Keep, return or attach it.");
	for (size_t i = 0; i < lengthof(dismissed_causes); i++)
		any |= payorder_task_has_review(subject, dismissed_causes[i]);
	if (!any)
		refuse(s, "Nobody waits for a decision about it.",
			   "See payorder.attention.");
	if (s->parked)
		record(s, "stale", "dismissed");
	note(s, "settle_callback");
	payorder_task_close_reviews(subject, dismissed_causes,
								lengthof(dismissed_causes));
}

/* ---- the frame ---- */

static const struct CallbackDecision
{
	const char *name;
	void		(*carry_out) (Settlement *settlement);
}			decisions[] = {
	{"keep", keep},
	{"return", give_back},
	{"attach", attach},
	{"dismiss", dismiss}
};

static const struct CallbackDecision *
decision_named(const char *name)
{
	for (size_t i = 0; i < lengthof(decisions); i++)
	{
		if (strcmp(decisions[i].name, name) == 0)
			return &decisions[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown decision \"%s\"", payorder_shown(name)),
			 errhint("Decisions are keep, return, attach and dismiss.")));
}

static void
no_such_callback(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("no such callback"),
			 errhint("Give gateway, txn_id and event as payorder.callbacks has them.")));
}

static void
check_same_order(const Settlement *s, const char *given)
{
	if (given != NULL && s->d.order_no != NULL &&
		strcmp(given, s->d.order_no) != 0)
		refuse(s, "The payment belongs to another order.",
			   "A payment is never moved to another order; return it.");
}

/* Locks order, key and payment; the payment's own order goes before. */
static void
lock(Settlement *s, const char *order_no)
{
	Decision   *d = &s->d;
	Waiting		key = {0};
	Payment    *found = NULL;

	s->callback = payorder_callback_find(&d->message);
	if (s->callback == NULL)
		no_such_callback();
	d->message = s->callback->message;
	payorder_resolve(d);
	found = d->payment;
	if ((d->message.event & PAY_EVENTS) != 0 ||
		(found != NULL && found->order_no != NULL))
		d->order_no = found == NULL ? NULL : found->order_no;
	check_same_order(s, order_no);
	if (d->order_no == NULL)
		d->order_no = order_no;
	if (d->order_no != NULL)
		d->order = payorder_order_required(payorder_order_lock(d->order_no),
										   d->order_no);
	key.gateway = d->message.gateway;
	key.txn_id = d->message.txn_id;
	key.event = payorder_event_name(d->message.event);
	s->callback = payorder_callback_lock(&key);
	if (s->callback == NULL || s->callback->verdict == NULL)
		no_such_callback();
	d->message = s->callback->message;
	d->payment = found == NULL ? NULL :
		payorder_payment_lock(found->gateway, found->txn_id);
	if (d->payment != NULL && d->payment->order_no != NULL &&
		!payorder_same_text(d->payment->order_no, found->order_no))
		payorder_order_changed_meanwhile();
}

static void
settle(Settlement *s, const struct CallbackDecision *decision)
{
	Decision   *d = &s->d;

	if (strcmp(s->callback->verdict, "deferred") == 0)
		refuse(s, "It is deferred and will be decided by itself.",
			   "Resume its gateway, or see retry_callback().");
	s->parked = strcmp(s->callback->verdict, "parked") == 0;
	d->verdict = s->callback->verdict;
	d->detail = s->callback->detail;
	d->gateway = payorder_gateway(d->message.gateway, d->message.txn_id,
								  d->message.currency);
	decision->carry_out(s);
	if (s->proposed)
		return;
	payorder_first_decision_over(subject_of(d));
	payorder_end_reviews(d);
	payorder_refund_settle(d->order);
	payorder_drain_related(d);
}

Datum
payorder_settle_callback(PG_FUNCTION_ARGS)
{
	Settlement	s = {0};
	const struct CallbackDecision *decision;
	Datum		values[ANSWER_COLUMNS];
	bool		nulls[ANSWER_COLUMNS];
	Answer	   *answer;

	payorder_prevent_read_only("settle_callback()");
	payorder_require_sync();
	s.d.message.gateway = payorder_required_text(fcinfo, 0, "gateway");
	s.d.message.txn_id = payorder_required_text(fcinfo, 1, "txn_id");
	if (!payorder_message_event(payorder_required_text(fcinfo, 2, "event"),
								&s.d.message.event))
		no_such_callback();
	s.decision = payorder_required_text(fcinfo, 3, "decision");
	decision = decision_named(s.decision);
	s.cause.source = "operator";
	s.cause.actor = payorder_required_text(fcinfo, 4, "actor");
	s.cause.reason = payorder_required_text(fcinfo, 5, "reason");
	lock(&s, payorder_text_argument(fcinfo, 6));
	settle(&s, decision);
	s.d.order = NULL;
	answer = payorder_answer(&s.d);
	answer->first_verdict = s.callback->first_verdict;
	answer->acknowledged = false;
	if (s.proposed)
		answer->detail = "second_person";
	payorder_answer_values(answer, values, nulls);
	PG_RETURN_DATUM(payorder_composite(fcinfo, values, nulls));
}
