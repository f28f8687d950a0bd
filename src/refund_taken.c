/*-------------------------------------------------------------------------
 *
 * refund_taken.c
 *		Money that a gateway takes back by itself: reversals and chargebacks.
 *
 * Both first cancel the payment's refunds that no worker has claimed, so that
 * the same money doesn't leave twice; a claimed one may be on its way, which
 * a person must look at.
 *
 * Locks: as in refund.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "refund.h"
#include "timer.h"

/*
 * A payment was undone by the gateway (line 26): what is still here is
 * nobody's, and so is all that comes back to it later.
 */
char *
payorder_payment_reverse(Order *order, Payment *payment)
{
	Pots	   *pots = &payment->pots;
	char	   *moved;

	payment->reversed_at = payorder_now();
	if (order != NULL && payment->disposition == DISPOSITION_ORDER)
		payorder_order_freeze(order);
	payorder_refunds_cancel(order, payment, true);
	pots->undone += pots->kept + pots->owed + pots->review;
	pots->kept = pots->owed = pots->review = 0;
	moved = payorder_payment_save(payment, order);
	payorder_payment_watch(order, payment);
	payorder_payment_alarm(order, payment, "reversed", payment->amount);
	return moved;
}

static void
move(int64 *from, int64 *to, int64 *wanted)
{
	int64		moved = Min(*from, *wanted);

	*from -= moved;
	*to += moved;
	*wanted -= moved;
}

/* The buyer's bank takes money back (line 42). */
char *
payorder_payment_dispute(Order *order, Payment *payment, int64 amount)
{
	Pots	   *pots = &payment->pots;
	int64		wanted = amount;
	char	   *moved;

	payorder_refunds_cancel(order, payment, false);
	move(&pots->kept, &pots->disputed, &wanted);
	move(&pots->owed, &pots->disputed, &wanted);
	move(&pots->review, &pots->disputed, &wanted);
	pots->disputed += wanted;
	pots->overdrawn += wanted;
	moved = payorder_payment_save(payment, order);
	payorder_payment_watch(order, payment);
	return moved;
}

/* The shop has got money of a dispute back (line 43). */
char *
payorder_payment_dispute_won(Order *order, Payment *payment, int64 amount)
{
	bool		keeps = payment->disposition == DISPOSITION_ORDER &&
		(order == NULL || !payorder_order_is_refunded(order));
	bool		reviews = payment->disposition == DISPOSITION_REVIEW;
	char	   *moved;

	payment->pots.disputed -= amount;
	payorder_payment_give_back(payment, keeps ? amount : 0,
							   keeps || reviews ? 0 : amount,
							   reviews ? amount : 0);
	moved = payorder_payment_save(payment, order);
	payorder_payment_watch(order, payment);
	return moved;
}
