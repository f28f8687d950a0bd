/*-------------------------------------------------------------------------
 *
 * callback_refund_lines.c
 *		The list of what ingest decides, its sections about refunds.
 *
 * As in callback_lines.c: the first line that holds decides.  The order, if
 * the payment has one, and the payment are locked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "callback_decision.h"
#include "relation.h"
#include "timer.h"

#define FAILED_OR_STUCK (EVENT_REFUND_FAILED | EVENT_REFUND_STUCK)

/* ---- 27 to 35: money went back ---- */

static bool
payment_unknown(Decision *d)
{
	int			count;
	int			found = 0;
	Payment    *payments;

	if (d->payment != NULL)
		return false;
	if (d->message.payment_txn != NULL || d->refund != NULL ||
		d->order == NULL)
		return true;
	payments = payorder_payments_lock(d->order->order_no, &count);
	for (int i = 0; i < count; i++)
	{
		if (strcmp(payments[i].gateway, d->message.gateway) == 0 &&
			found++ == 0)
			d->payment = &payments[i];
	}
	if (found > 1)
		d->payment = NULL;
	return found == 0;
}

static bool
payment_unnamed(Decision *d)
{
	return d->payment == NULL;
}

static void
mismatch_unnamed(Decision *d)
{
	payorder_decide(d, "mismatch", "unnamed");
	payorder_order_alarm(d->order, "refund_unnamed", NULL);
}

static bool
other_currency(Decision *d)
{
	return d->message.currency != NULL &&
		strcmp(d->message.currency, d->payment->currency) != 0;
}

static void
mismatch_refund_currency(Decision *d)
{
	payorder_decide(d, "mismatch", "currency");
	payorder_payment_alarm(d->order, d->payment, "refund_currency",
						   d->amount);
}

static bool
is_ours(Decision *d)
{
	return d->refund != NULL && strcmp(d->refund->cause, "external") != 0;
}

/* ---- 29: all that ever went back, from which the single amount follows ---- */

static bool
is_total(Decision *d)
{
	return d->message.amount_is_total && !d->is_single;
}

static bool
any_open(Decision *d)
{
	int			count;
	Refund	   *refunds = payorder_refunds_lock(d->payment, &count);

	for (int i = 0; i < count; i++)
	{
		if (payorder_refund_is_open(&refunds[i]))
			return true;
	}
	return false;
}

static bool
total_of_others(Decision *d)
{
	return is_total(d) && !is_ours(d) && any_open(d);
}

static void
park_total(Decision *d)
{
	payorder_wait_for(d, "parked", "total", payorder_now() + USECS_PER_SEC);
}

static bool
total_is_known(Decision *d)
{
	return is_total(d) && !is_ours(d) &&
		d->amount <= d->payment->pots.returned;
}

/* Less than went back, as far as is known here: one of ours may not have. */
static void
stale_total(Decision *d)
{
	int			count;
	Refund	   *refunds = payorder_refunds_lock(d->payment, &count);
	bool		less = d->amount < d->payment->pots.returned;

	payorder_decide(d, "stale", NULL);
	for (int i = 0; i < count && less; i++)
	{
		if (refunds[i].state == REFUND_SUCCEEDED &&
			strcmp(refunds[i].cause, "external") != 0)
			payorder_refund_query(&refunds[i], payorder_now());
	}
}

/* Never holds by itself: turns a total into a single amount for what follows. */
static bool
works_out_single(Decision *d)
{
	if (!is_total(d))
		return false;
	if (is_ours(d))
		d->amount = d->refund->amount;
	else
		d->amount -= d->payment->pots.returned;
	d->is_single = true;
	return false;
}

static bool
of_other_payment(Decision *d)
{
	return is_ours(d) && strcmp(d->refund->txn_id, d->payment->txn_id) != 0;
}

static void
conflict_payment(Decision *d)
{
	int			count;
	Refund	   *refunds = payorder_refunds_lock(d->payment, &count);

	payorder_decide(d, "conflict", "payment");
	payorder_refund_query(d->refund, payorder_now());
	for (int i = 0; i < count; i++)
	{
		if (payorder_refund_is_open(&refunds[i]))
			payorder_refund_query(&refunds[i], payorder_now());
	}
	payorder_payment_alarm(d->order, d->payment, "refund_conflict",
						   d->amount);
}

static bool
ours_pending(Decision *d)
{
	return is_ours(d) && (d->refund->state == REFUND_HELD ||
						  payorder_refund_is_open(d->refund));
}

static bool
ours_pending_equal(Decision *d)
{
	return ours_pending(d) && d->refund->amount == d->amount;
}

static RefundWord
word_of(Decision *d)
{
	RefundWord	word = {0};

	word.refund_no = d->message.refund_no;
	word.gateway_refund_id = d->message.txn_id;
	word.amount = d->amount;
	word.occurred_at = d->message.occurred_at;
	word.actor = psprintf("gateway:%s", d->message.gateway);
	word.source = d->message.source;
	return word;
}

static void
refund_succeeded(Decision *d)
{
	RefundWord	word = word_of(d);

	payorder_decide(d, "applied", NULL);
	d->moved = payorder_refund_succeed(d->order, d->payment, d->refund, &word);
	/* The total says that others went back, too, of which nobody told. */
	if (d->message.amount_is_total &&
		d->message.amount > d->payment->pots.returned)
		payorder_payment_alarm(d->order, d->payment, "total_differs",
							   d->message.amount - d->payment->pots.returned);
}

static void
refund_differs(Decision *d)
{
	payorder_decide(d, "mismatch", "amount");
	payorder_refund_doubt(d->order, d->refund, "refund_differs");
	payorder_refund_query(d->refund, payorder_now());
}

static bool
ours_succeeded(Decision *d)
{
	return is_ours(d) && d->refund->state == REFUND_SUCCEEDED;
}

static bool
ours_succeeded_unnamed(Decision *d)
{
	return ours_succeeded(d) &&
		(d->refund->gateway_refund_id == NULL ||
		 strcmp(d->refund->gateway_refund_id, d->message.txn_id) == 0);
}

static void
name_refund(Decision *d)
{
	payorder_decide(d, "duplicate", NULL);
	d->refund->gateway_refund_id = d->message.txn_id;
	payorder_refund_save(d->refund);
}

static void
refunded_twice(Decision *d)
{
	RefundWord	word = word_of(d);

	payorder_decide(d, "conflict", "twice");
	d->moved = payorder_refund_external(d->order, d->payment, &word);
	d->alarm_cause = "refunded_twice";
}

static void
resurrect(Decision *d)
{
	RefundWord	word = word_of(d);

	payorder_decide(d, "applied", "resurrected");
	d->moved = payorder_refund_resurrect(d->order, d->payment, d->refund,
										 &word);
}

static void
external_refund(Decision *d)
{
	RefundWord	word = word_of(d);

	payorder_decide(d, "applied", "external");
	d->moved = payorder_refund_external(d->order, d->payment, &word);
}

/* ---- 36 to 40: a refund failed or is stuck ---- */

static bool
older_than_success(Decision *d)
{
	return d->refund->state == REFUND_SUCCEEDED &&
		d->message.occurred_at != NO_TIME &&
		d->message.occurred_at < d->refund->succeeded_at;
}

static bool
failure_is_stale(Decision *d)
{
	return older_than_success(d) || d->refund->state == REFUND_HELD ||
		d->refund->state == REFUND_FAILED ||
		d->refund->state == REFUND_REVERSED ||
		d->refund->state == REFUND_CANCELLED;
}

static bool
refund_has_succeeded(Decision *d)
{
	return d->refund->state == REFUND_SUCCEEDED;
}

static void
reverse_refund(Decision *d)
{
	payorder_decide(d, "applied", "reversal");
	d->moved = payorder_refund_reverse(d->order, d->payment, d->refund);
	d->alarm_cause = "refund_reversed";
}

static void
fail_refund(Decision *d)
{
	payorder_decide(d, "applied", NULL);
	d->moved = payorder_refund_fail(d->order, d->payment, d->refund);
}

static void
stale_and_query(Decision *d)
{
	payorder_decide(d, "stale", NULL);
	payorder_refund_query(d->refund, payorder_now());
}

static void
stick_refund(Decision *d)
{
	payorder_decide(d, "applied", "stuck");
	payorder_refund_stick(d->order, d->payment, d->refund);
}

/* ---- the table ---- */

const Line payorder_refund_lines[] = {
	{"27", EVENT_REFUND, payment_unknown, payorder_park_payment},
	{"27", EVENT_REFUND, payment_unnamed, mismatch_unnamed},
	{"28", EVENT_REFUND, other_currency, mismatch_refund_currency},
	{"29", EVENT_REFUND, total_of_others, park_total},
	{"29", EVENT_REFUND, total_is_known, stale_total},
	{"29", EVENT_REFUND, works_out_single, NULL},
	{"30", EVENT_REFUND, of_other_payment, conflict_payment},
	{"31", EVENT_REFUND, ours_pending_equal, refund_succeeded},
	{"32", EVENT_REFUND, ours_pending, refund_differs},
	{"33", EVENT_REFUND, ours_succeeded_unnamed, name_refund},
	{"33", EVENT_REFUND, ours_succeeded, refunded_twice},
	{"34", EVENT_REFUND, is_ours, resurrect},
	{"35", EVENT_REFUND, payorder_always, external_refund},

	{"36", FAILED_OR_STUCK, payorder_no_refund, payorder_park_refund},
	{"37", FAILED_OR_STUCK, failure_is_stale, payorder_stale},
	{"38", EVENT_REFUND_FAILED, refund_has_succeeded, reverse_refund},
	{"39", EVENT_REFUND_FAILED, payorder_always, fail_refund},
	{"40", EVENT_REFUND_STUCK, refund_has_succeeded, stale_and_query},
	{"40", EVENT_REFUND_STUCK, payorder_always, stick_refund},
	{0}
};
