/*-------------------------------------------------------------------------
 *
 * callback_facts.c
 *		Whether two messages under one key say the same.
 *
 * Compared are facts, never bodies, headers or times: a gateway's second
 * sending is encrypted anew, and a query's answer has another body.  A fact
 * that one of the two does not tell equals anything.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "callback_decision.h"
#include "relation.h"

static bool
same(const char *left, const char *right)
{
	return left == NULL || right == NULL || strcmp(left, right) == 0;
}

/* The order that a reference stands for, NULL if it stands for none yet. */
static const char *
order_of_reference(const char *reference)
{
	Attempt    *attempt = payorder_attempt_find(reference);

	if (attempt != NULL)
		return attempt->order_no;
	return payorder_order_find(reference) != NULL ? reference : NULL;
}

/*
 * The order of a message; what is about a payment that is there is about that
 * payment's order, whatever it names beside it.
 */
static const char *
order_of(const Message *m)
{
	Decision	d = {0};

	if ((m->event & LATER_EVENTS) == 0)
		return order_of_reference(m->reference);
	d.message = *m;
	payorder_resolve(&d);
	return d.order_no;
}

/*
 * As it was resolved when it was decided (a person may have attached it); what
 * is about a payment, as its payment stands now.
 */
static const char *
order_of_stored(const Callback *stored)
{
	const Message *old = &stored->message;
	const char *found = NULL;

	if (stored->order_no == NULL || (old->event & LATER_EVENTS) != 0)
		found = order_of(old);
	return found != NULL ? found : stored->order_no;
}

static bool
same_order(const Message *m, const Callback *stored)
{
	const char *old = stored->message.reference;
	const char *ours;
	const char *theirs;

	if (m->reference == NULL || (old != NULL && strcmp(m->reference, old) == 0))
		return true;
	if (old == NULL &&
		(stored->order_no == NULL || (m->event & LATER_EVENTS) != 0))
		return true;
	ours = order_of(m);
	theirs = order_of_stored(stored);
	return ours != NULL && theirs != NULL && strcmp(ours, theirs) == 0;
}

/*
 * A running total and a single amount are compared as single amounts, where
 * the one of the total is known.
 */
static bool
same_amount(const Message *m, const Callback *stored)
{
	const Message *old = &stored->message;
	Refund	   *ours;

	if (!m->has_amount || !old->has_amount)
		return true;
	if (m->amount_is_total == old->amount_is_total)
		return m->amount == old->amount;
	if (old->amount_is_total)
		return stored->single_amount == NULL ||
			m->amount == *stored->single_amount;
	ours = m->refund_no == NULL ? NULL : payorder_refund_find(m->refund_no);
	return ours == NULL || ours->amount == old->amount;
}

/* Whether a message says the same as the one that is stored under its key. */
bool
payorder_same_facts(const Message *m, const Callback *stored)
{
	const Message *old = &stored->message;

	return same_order(m, stored) && same(m->payment_txn, old->payment_txn) &&
		same(m->refund_no, old->refund_no) &&
		same(m->currency, old->currency) && same_amount(m, stored);
}

/* Whether a message has a fact that the stored one has not. */
bool
payorder_says_more(const Message *m, const Message *old)
{
	return (m->reference != NULL && old->reference == NULL) ||
		(m->payment_txn != NULL && old->payment_txn == NULL) ||
		(m->refund_no != NULL && old->refund_no == NULL) ||
		(m->currency != NULL && old->currency == NULL) ||
		(m->has_amount && !old->has_amount);
}

/* Whether a stored callback was not well-formed (line 5). */
bool
payorder_callback_is_invalid(const Callback *callback)
{
	return payorder_same_text(callback->verdict, "mismatch") &&
		payorder_same_text(callback->detail, "invalid");
}
