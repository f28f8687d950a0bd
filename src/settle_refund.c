/*-------------------------------------------------------------------------
 *
 * settle_refund.c
 *		settle_refund: a person says how a refund stands, or what to do.
 *
 * A gateway's console shows what its messages did not say; a held refund
 * waits for a person; money of a refund that came back can be kept after all.
 * Above a limit two persons must say the same.  Messages that waited for the
 * refund's end are applied in the same transaction.
 *
 * Locks: order, payment, refund, as everywhere.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "callback.h"
#include "errors.h"
#include "guc.h"
#include "json.h"
#include "refund_limits.h"
#include "relation.h"
#include "task.h"

PG_FUNCTION_INFO_V1(payorder_settle_refund);

/* A refund with all that a decision about it needs, locked. */
typedef struct Settlement
{
	Order	   *order;			/* NULL: it has none */
	Payment    *payment;
	Refund	   *refund;
	const char *decision;
	Cause		cause;
	const char *moved;
} Settlement;

static void
refuse(const Settlement *s, const char *why, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_PO_REFUND_EXCEEDS),
			 errmsg("refund \"%s\" in state \"%s\" cannot be settled by \"%s\"",
					s->refund->refund_no,
					payorder_refund_state_name(s->refund->state),
					s->decision),
			 errdetail("%s", why),
			 errhint("%s", hint)));
}

static RefundWord
word_of(const Settlement *s)
{
	RefundWord	word = {0};

	word.refund_no = s->refund->refund_no;
	word.amount = s->refund->amount;
	word.occurred_at = NO_TIME;
	word.actor = s->cause.actor;
	word.source = s->cause.source;
	return word;
}

/*
 * What a gateway's console shows about a refund counts once the gateway can
 * know of it.
 */
static void
check_sent(Settlement *s)
{
	if (s->refund->state == REFUND_ASKED && s->refund->task_id != 0 &&
		payorder_task_is_unclaimed(s->refund->task_id) &&
		!payorder_task_has_review(s->refund->refund_no, "refund_differs"))
		refuse(s, "No worker has asked the gateway for it yet.",
			   "Wait for the answer to its task.");
}

static void
succeeded(Settlement *s)
{
	RefundWord	word = word_of(s);

	s->moved = payorder_refund_succeed(s->order, s->payment, s->refund, &word);
}

static void
failed(Settlement *s)
{
	s->moved = payorder_refund_fail(s->order, s->payment, s->refund);
}

/* The move is in the event of the request itself. */
static void
release(Settlement *s)
{
	payorder_refund_release(s->order, s->payment, s->refund);
}

static void
cancel(Settlement *s)
{
	payorder_refund_cancel(s->order, s->payment, s->refund);
	payorder_payment_watch(s->order, s->payment);
}

/* What of a refund can still be kept. */
static int64
left_to_keep(const Settlement *s)
{
	return Min(s->refund->amount - s->refund->kept_again,
			   payorder_refund_free_owed(s->payment));
}

static void
check_keep(Settlement *s)
{
	Payment    *payment = s->payment;

	if (payment->disposition != DISPOSITION_ORDER || s->order == NULL)
		refuse(s, "The payment is not the order's.",
			   "Ask for it back with request_refund().");
	if (payment->reversed_at != NO_TIME)
		refuse(s, "The payment was reversed.",
			   "There is nothing to keep.");
	if (payorder_order_refunds_on_entry(s->order) ||
		payorder_order_is_refunded(s->order))
		refuse(s, "All of the order's money goes back.",
			   "Take the order to another state first, where its machine can.");
	if (left_to_keep(s) == 0)
		refuse(s, "Nothing of it is owed any more.",
			   "See payorder.payments.");
}

/* What came back, or never went, stays with the shop. */
static void
keep(Settlement *s)
{
	Payment    *payment = s->payment;
	int64		amount = left_to_keep(s);

	s->refund->kept_again += amount;
	payorder_refund_save(s->refund);
	payment->pots.owed -= amount;
	payment->pots.kept += amount;
	s->moved = payorder_payment_save(payment, s->order);
	payorder_payment_watch(s->order, payment);
}

#define IN(state)	(1 << (state))
#define OPEN_STATES	(IN(REFUND_ASKED) | IN(REFUND_IN_DOUBT) | IN(REFUND_STUCK))
#define ENDED_STATES \
	(IN(REFUND_FAILED) | IN(REFUND_REVERSED) | IN(REFUND_CANCELLED))

static const struct RefundDecision
{
	const char *name;
	int			states;
	void		(*check) (Settlement *settlement);
	void		(*carry_out) (Settlement *settlement);
}			decisions[] = {
	{"succeeded", OPEN_STATES, check_sent, succeeded},
	{"failed", OPEN_STATES, check_sent, failed},
	{"release", IN(REFUND_HELD), NULL, release},
	{"cancel", IN(REFUND_HELD), NULL, cancel},
	{"keep", ENDED_STATES, check_keep, keep}
};

static const struct RefundDecision *
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
			 errhint("Decisions are succeeded, failed, release, cancel and keep.")));
}

static void
lock(Settlement *s, const char *refund_no)
{
	Refund	   *refund = payorder_refund_find(refund_no);

	if (refund == NULL || strcmp(refund->cause, "external") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no refund \"%s\" of ours",
						payorder_shown(refund_no)),
				 errhint("See payorder.refunds; what was refunded elsewhere is not settled here.")));
	if (refund->order_no != NULL)
		s->order = payorder_order_required(payorder_order_lock(refund->order_no),
										   refund->order_no);
	s->payment = payorder_payment_lock(refund->gateway, refund->txn_id);
	s->refund = payorder_refund_lock(refund_no);
	if (s->payment == NULL || s->refund == NULL)
		elog(ERROR, "payment of refund \"%s\" is missing", refund_no);
}

static void
note(Settlement *s, const char *event, const char *decision)
{
	s->cause.payload = payorder_json_object("ttlj",
											"refund_no", s->refund->refund_no,
											"decision", decision,
											"amount", s->refund->amount,
											"moved", s->moved);
	payorder_payment_event(s->payment, s->order, event, &s->cause);
}

static void
settle(Settlement *s, const struct RefundDecision *decision)
{
	RefundLimits limits;

	s->decision = decision->name;
	if ((decision->states & IN(s->refund->state)) == 0)
		refuse(s, "Open refunds are succeeded or failed, held ones released or cancelled, ended ones kept.",
			   "See payorder.attention for the decisions that are allowed.");
	if (decision->check != NULL)
		decision->check(s);
	limits = payorder_refund_limits(s->payment->gateway, s->order);
	if (!payorder_second_person_agrees(&limits, s->refund->refund_no,
									   decision->name, &s->cause,
									   s->refund->amount))
	{
		note(s, "settle_proposed", decision->name);
		return;
	}
	decision->carry_out(s);
	payorder_first_decision_over(s->refund->refund_no);
	note(s, "settle_refund", decision->name);
	payorder_refund_settle(s->order);
	payorder_callback_drain_for(s->payment, s->refund);
	s->refund = payorder_refund_find(s->refund->refund_no);
}

Datum
payorder_settle_refund(PG_FUNCTION_ARGS)
{
	Settlement	s = {0};
	const struct RefundDecision *decision;
	char	   *refund_no = payorder_required_text(fcinfo, 0, "refund_no");

	payorder_prevent_read_only("settle_refund()");
	payorder_require_sync();
	decision = decision_named(payorder_required_text(fcinfo, 1, "decision"));
	s.cause.source = "operator";
	s.cause.actor = payorder_required_text(fcinfo, 2, "actor");
	s.cause.reason = payorder_required_text(fcinfo, 3, "reason");
	lock(&s, refund_no);
	settle(&s, decision);
	PG_RETURN_DATUM(payorder_refund_info(fcinfo, s.refund));
}
