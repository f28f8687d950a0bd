/*-------------------------------------------------------------------------
 *
 * callback_taken_lines.c
 *		The list of what ingest decides, its sections about money that the
 *		gateway takes back by itself: reversals and chargebacks.
 *
 * As in callback_lines.c: the first line that holds decides.  The payment is
 * known, and locked with its order, if it has one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "callback_decision.h"
#include "timer.h"

/* ---- 26: a payment was undone ---- */

static void
reverse(Decision *d)
{
	payorder_decide(d, "applied", "reversed");
	d->moved = payorder_payment_reverse(d->order, d->payment);
}

/* ---- 41 to 44: a dispute ---- */

static bool
other_currency(Decision *d)
{
	return d->message.currency != NULL &&
		strcmp(d->message.currency, d->payment->currency) != 0;
}

static void
mismatch_currency(Decision *d)
{
	payorder_decide(d, "mismatch", "currency");
	payorder_payment_alarm(d->order, d->payment, "dispute_currency",
						   d->message.amount);
}

static void
dispute(Decision *d)
{
	payorder_decide(d, "applied", NULL);
	d->moved = payorder_payment_dispute(d->order, d->payment,
										d->message.amount);
	if (d->order != NULL)
		d->edge = payorder_order_edge(d->order, "dispute");
}

/*
 * A message about a dispute that has not begun yet, as far as is known.  One
 * that was told without a usable amount has not: a well-formed message may come.
 */
static bool
not_begun(Decision *d)
{
	const char *verdict = d->chargeback == NULL ? NULL :
		d->chargeback->verdict;

	return verdict == NULL || strcmp(verdict, "parked") == 0 ||
		strcmp(verdict, "deferred") == 0 ||
		payorder_callback_is_invalid(d->chargeback);
}

static void
park_dispute(Decision *d)
{
	payorder_wait_for(d, "parked", "dispute",
					  payorder_now() + USECS_PER_SEC);
}

/* A dispute that moved nothing, or of another payment, has nothing left. */
static bool
more_than_left(Decision *d)
{
	const Message *began = &d->chargeback->message;
	const char *txn_id = began->payment_txn != NULL ? began->payment_txn :
		began->txn_id;

	return strcmp(d->chargeback->verdict, "applied") != 0 ||
		strcmp(txn_id, d->payment->txn_id) != 0 ||
		d->message.amount > began->amount;
}

static void
mismatch_amount(Decision *d)
{
	payorder_decide(d, "mismatch", "amount");
	payorder_payment_alarm(d->order, d->payment, "dispute_amount",
						   d->message.amount);
}

static void
win_dispute(Decision *d)
{
	payorder_decide(d, "applied", NULL);
	d->moved = payorder_payment_dispute_won(d->order, d->payment,
											d->message.amount);
}

static void
lose_dispute(Decision *d)
{
	payorder_decide(d, "applied", NULL);
}

/* ---- the table ---- */

#define DISPUTE_ENDS (EVENT_CHARGEBACK_REVERSED | EVENT_CHARGEBACK_LOST)

const Line	payorder_taken_lines[] = {
	{"26", EVENT_PAY_REVERSED, payorder_always, reverse},

	{"41b", DISPUTE_EVENTS, other_currency, mismatch_currency},
	{"42", EVENT_CHARGEBACK, payorder_always, dispute},
	{"43", DISPUTE_ENDS, not_begun, park_dispute},
	{"43", EVENT_CHARGEBACK_REVERSED, more_than_left, mismatch_amount},
	{"43", EVENT_CHARGEBACK_REVERSED, payorder_always, win_dispute},
	{"44", EVENT_CHARGEBACK_LOST, payorder_always, lose_dispute},
	{0}
};
