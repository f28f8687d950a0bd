/*-------------------------------------------------------------------------
 *
 * callback_lines.c
 *		The list of what ingest decides, line by line.
 *
 * Read each table from the top: the first line that is there for the event
 * and holds decides.  The numbers are those of doc/verdicts.md.  Here are the
 * address (9 to 11) and pay (13 to 18); the end of attempts (21 to 25a) is in
 * callback_attempt_lines.c, refunds (27 to 40) in callback_refund_lines.c,
 * reversals and chargebacks (26, 41 to 44) in callback_taken_lines.c; what
 * comes before the address (5 to 8) and around the lock (12, 20) is the frame
 * in callback.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "callback_decision.h"
#include "guc.h"
#include "relation.h"
#include "timer.h"

void
payorder_decide(Decision *d, const char *verdict, const char *detail)
{
	d->verdict = verdict;
	d->detail = detail;
}

/* ---- 5: the form of a message ---- */

static bool
is_id(const char *id)
{
	return id == NULL || payorder_is_id(id);
}

/* Whether amount, currency and ids have the form that they must have. */
bool
payorder_message_is_valid(const Message *m, const Gateway *gateway)
{
	bool		is_none = strcmp(m->gateway, "none") == 0;

	if ((m->event & MONEY_EVENTS) != 0)
	{
		if (!m->has_amount || m->amount < 0 || (m->amount == 0) != is_none)
			return false;
	}
	if (m->currency == NULL ? (m->event & PAY_EVENTS) != 0 :
		!gateway->currency_known)
		return false;
	if ((m->event & PAY_EVENTS) != 0 && !gateway->pay_id_fits)
		return false;
	return is_id(m->txn_id) && is_id(m->reference) &&
		is_id(m->payment_txn) && is_id(m->refund_no);
}

/* ---- 9: the address ---- */

static void
names_order(Decision *d, const char *order_no)
{
	if (order_no == NULL)
		return;
	if (d->order_no != NULL && strcmp(d->order_no, order_no) != 0)
		d->names_differ = true;
	else
		d->order_no = order_no;
}

static void
resolve_refund(Decision *d)
{
	const Message *m = &d->message;

	if (m->refund_no != NULL)
	{
		d->refund = payorder_refund_find(m->refund_no);
		if (d->refund != NULL && strcmp(d->refund->gateway, m->gateway) != 0)
			d->refund = NULL;
	}
	if (d->refund == NULL && m->event != EVENT_REFUND)
		d->refund = payorder_refund_by_gateway_id(m->gateway, m->txn_id);
	if (d->refund != NULL &&
		(m->payment_txn == NULL || m->event != EVENT_REFUND))
		d->payment = payorder_payment_find(d->refund->gateway,
										   d->refund->txn_id);
	else if (m->payment_txn != NULL)
		d->payment = payorder_payment_find(m->gateway, m->payment_txn);
}

/* The payment of a pay message, or the one that an attempt's end is about. */
static void
resolve_payment(Decision *d)
{
	const Message *m = &d->message;
	Payment    *named = m->payment_txn == NULL ? NULL :
		payorder_payment_find(m->gateway, m->payment_txn);
	Refund	   *refund = m->refund_no == NULL ? NULL :
		payorder_refund_find(m->refund_no);

	d->payment = payorder_payment_find(m->gateway, m->txn_id);
	if (named != NULL)
		names_order(d, named->order_no);
	if (refund != NULL && strcmp(refund->gateway, m->gateway) == 0)
		names_order(d, refund->order_no);
	if (d->payment == NULL && (m->event & PAY_EVENTS) == 0)
		d->payment = named;
	if (d->payment != NULL && d->payment->payment_no != NULL &&
		m->reference == NULL)
		d->attempt = payorder_attempt_find(d->payment->payment_no);
}

/* The payment that a gateway took back, or that a dispute is about. */
static void
resolve_taken(Decision *d)
{
	const Message *m = &d->message;
	const char *txn_id = m->payment_txn;
	Refund	   *refund = m->refund_no == NULL ? NULL :
		payorder_refund_find(m->refund_no);

	if (m->event == EVENT_CHARGEBACK_REVERSED ||
		m->event == EVENT_CHARGEBACK_LOST)
		d->chargeback = payorder_callback_other(m, EVENT_CHARGEBACK);
	/* One that was not well-formed may still come better (5b). */
	if (d->chargeback != NULL && payorder_callback_is_invalid(d->chargeback))
		d->chargeback = NULL;
	if (txn_id == NULL && d->chargeback != NULL)
		txn_id = d->chargeback->message.payment_txn;
	d->payment = payorder_payment_find(m->gateway,
									   txn_id != NULL ? txn_id : m->txn_id);
	if (d->payment != NULL)
		names_order(d, d->payment->order_no);
	if (refund != NULL && strcmp(refund->gateway, m->gateway) == 0)
		names_order(d, refund->order_no);
}

static void
resolve_reference(Decision *d)
{
	const Message *m = &d->message;

	if (m->reference == NULL)
		return;
	d->attempt = payorder_attempt_find(m->reference);
	if (d->attempt != NULL)
	{
		names_order(d, d->attempt->order_no);
		if (strcmp(d->attempt->gateway, m->gateway) != 0)
			d->names_differ = true;
	}
	else if (payorder_order_find(m->reference) != NULL)
		names_order(d, m->reference);
}

/* Finds what a message names: payment, refund, attempt and order. */
void
payorder_resolve(Decision *d)
{
	d->names_differ = false;
	d->order_no = NULL;
	d->attempt = NULL;
	d->payment = NULL;
	d->refund = NULL;
	d->chargeback = NULL;
	if (d->message.event & REFUND_EVENTS)
		resolve_refund(d);
	else if (d->message.event & LATER_EVENTS)
		resolve_taken(d);
	else
		resolve_payment(d);
	if (d->payment != NULL)
		names_order(d, d->payment->order_no);
	if (d->refund != NULL)
		names_order(d, d->refund->order_no);
	if (d->attached != NULL)
		names_order(d, d->attached);
	else
		resolve_reference(d);
}

/* Takes amount and currency of a payment in review from a better message. */
void
payorder_restate(Decision *d, Payment *payment)
{
	if (!d->restate || payment->is_new ||
		(payment->amount == d->message.amount &&
		 strcmp(payment->currency, d->message.currency) == 0))
		return;
	payment->amount = d->message.amount;
	payment->currency = d->message.currency;
	payment->pots.review = d->message.amount;
}

/* The payment of a pay message: the row that is there, or one to be. */
static Payment *
own_payment(Decision *d)
{
	const Message *m = &d->message;

	if (d->payment == NULL)
	{
		d->payment = payorder_payment_new(m->gateway, m->txn_id,
										  payorder_event_name(m->event),
										  m->amount, m->currency);
		d->payment->occurred_at = m->occurred_at;
	}
	if (d->attempt != NULL && !d->names_differ)
		d->payment->payment_no = d->attempt->payment_no;
	payorder_restate(d, d->payment);
	return d->payment;
}

static void
save_payment(Decision *d)
{
	d->moved = payorder_payment_save(d->payment, d->order);
}

/*
 * What is decided before the order is locked writes nothing yet: the frame
 * locks the key and writes the payment then.
 */
void
payorder_wait_for(Decision *d, const char *verdict, const char *reason,
				  TimestampTz next_at)
{
	payorder_decide(d, verdict, reason);
	d->next_at = next_at;
	d->keep_payment = true;
}

static TimestampTz
alert_time(void)
{
	return payorder_now() + payorder_park_alert * USECS_PER_SEC;
}

/* Whether a person must see that such a message is parked too long. */
bool
payorder_parked_alarms(MessageEvent event)
{
	return event != EVENT_PAY_FAILED && event != EVENT_PAY_CLOSED;
}

/*
 * Whether the payment was taken under the other of pay and pay_part: a row of
 * payments comes of one of them only.
 */
bool
payorder_under_other_name(const Message *m, const Payment *payment)
{
	return payment != NULL &&
		strcmp(payment->event, payorder_event_name(m->event)) != 0;
}

static bool
under_other_name(Decision *d)
{
	return payorder_under_other_name(&d->message, d->payment);
}

static void
conflict_fact(Decision *d)
{
	payorder_decide(d, "conflict", "fact");
	d->other_name = true;
}

static bool
names_differ(Decision *d)
{
	return d->names_differ;
}

static void
conflict_order(Decision *d)
{
	payorder_decide(d, "conflict", "order");
	d->order_no = NULL;
	d->keep_payment = true;
	if (d->message.event & PAY_EVENTS)
		d->alarm_cause = "conflict";
}

static bool
gateway_paused(Decision *d)
{
	return payorder_gateway_is_paused(d->gateway) &&
		payorder_gateway_paused_locked(d->message.gateway);
}

static void
defer_paused(Decision *d)
{
	payorder_wait_for(d, "deferred", "paused", DT_NOEND);
}

static bool
no_order(Decision *d)
{
	return d->order_no == NULL;
}

static void
park_order(Decision *d)
{
	payorder_wait_for(d, "parked", "order",
					  payorder_parked_alarms(d->message.event) ?
					  alert_time() : DT_NOEND);
}

static bool
nothing_known(Decision *d)
{
	return d->payment == NULL && d->order_no == NULL;
}

void
payorder_park_payment(Decision *d)
{
	payorder_wait_for(d, "parked", "payment", payorder_now() + USECS_PER_SEC);
}

bool
payorder_no_refund(Decision *d)
{
	return d->refund == NULL;
}

void
payorder_park_refund(Decision *d)
{
	payorder_wait_for(d, "parked", "refund", payorder_now() + USECS_PER_SEC);
}

/* What may not be there yet comes with what is deferred: line 12 goes first. */
static bool
order_is_ready(const Decision *d)
{
	return d->order_no == NULL || d->order != NULL;
}

static bool
no_payment(Decision *d)
{
	return d->payment == NULL && order_is_ready(d);
}

static bool
no_refund(Decision *d)
{
	return d->refund == NULL && order_is_ready(d);
}

static const Line address_lines[] = {
	{"8", PAY_EVENTS, under_other_name, conflict_fact},
	{"9", PAY_EVENTS | ATTEMPT_EVENTS, names_differ, conflict_order},
	{"10", ALL_EVENTS, gateway_paused, defer_paused},
	{"11", PAY_EVENTS | ATTEMPT_EVENTS, no_order, park_order},
	{"26", EVENT_PAY_REVERSED, no_payment, payorder_park_payment},
	{"27", EVENT_REFUND, nothing_known, payorder_park_payment},
	{"36", EVENT_REFUND_FAILED | EVENT_REFUND_STUCK, no_refund, payorder_park_refund},
	{"41", DISPUTE_EVENTS, no_payment, payorder_park_payment},
	{0}
};

/* ---- 13 to 19: pay, under the order's lock ---- */

static bool
attempt_missing(Decision *d)
{
	return d->gateway->require_attempt && d->attempt == NULL &&
		d->attached == NULL &&
		strcmp(d->message.gateway, "none") != 0 &&
		!payorder_attempts_any_at(d->order, d->message.gateway);
}

static void
park_attempt(Decision *d)
{
	payorder_wait_for(d, "parked", "order", alert_time());
	d->reason = "attempt";
}

/* Begins a decision about a payment of the order that is locked. */
static Payment *
decide_payment(Decision *d, const char *verdict, const char *detail)
{
	payorder_decide(d, verdict, detail);
	own_payment(d);
	d->payment->order_no = d->order->order_no;
	if (d->attempt != NULL && strcmp(d->attempt->state, "paid") != 0)
		payorder_attempt_end(d->attempt, "paid",
							 strcmp(d->message.source, "query") == 0);
	return d->payment;
}

static bool
payment_reversed(Decision *d)
{
	return d->payment != NULL && d->payment->reversed_at != NO_TIME;
}

static void
stale_reversed(Decision *d)
{
	decide_payment(d, "stale", "reversed");
	save_payment(d);
}

static bool
order_paid(Decision *d)
{
	return payorder_order_is_paid(d->order);
}

static void
move_to_owed(Decision *d, const char *cause)
{
	Payment    *payment = d->payment;

	payment->disposition = DISPOSITION_SURPLUS;
	payment->pots.owed += payment->pots.review;
	payment->pots.review = 0;
	save_payment(d);
	d->return_cause = cause;
}

static void
excess(Decision *d)
{
	decide_payment(d, "excess", NULL);
	move_to_owed(d, "excess");
}

static int64
left_to_pay(Decision *d)
{
	return d->order->amount - d->order->paid;
}

static int64
paid_now(Decision *d)
{
	return d->payment != NULL && !d->restate ? d->payment->amount :
		d->message.amount;
}

static bool
currency_differs(Decision *d)
{
	const char *currency = d->payment != NULL && !d->restate ?
		d->payment->currency : d->message.currency;

	return strcmp(currency, d->order->currency) != 0;
}

/* A part of what is to be paid, where the machine takes parts. */
static bool
is_part(Decision *d)
{
	return d->message.event == EVENT_PAY_PART &&
		payorder_state_edge(d->order->state, "pay_part") != NULL;
}

static bool
amount_differs(Decision *d)
{
	if (is_part(d))
		return paid_now(d) > left_to_pay(d) ||
			(d->attempt != NULL && paid_now(d) > d->attempt->amount);
	return paid_now(d) != (d->attempt != NULL ? d->attempt->amount :
						   left_to_pay(d));
}

static bool
left_differs(Decision *d)
{
	return !is_part(d) && d->attempt != NULL &&
		d->attempt->amount != left_to_pay(d);
}

static bool
all_equal(Decision *d)
{
	return !currency_differs(d) && !amount_differs(d) && !left_differs(d);
}

/* Line 13b: the order's payment was reversed, and this is one for it. */
static bool
restores(Decision *d)
{
	return d->order->frozen && !payorder_order_is_refunded(d->order) &&
		all_equal(d);
}

static bool
frozen_and_refunded(Decision *d)
{
	return d->order->frozen && payorder_order_is_refunded(d->order) &&
		all_equal(d);
}

static bool
order_shut(Decision *d)
{
	return !d->order->frozen && payorder_state_edge(d->order->state, "pay") == NULL;
}

static bool
can_reopen(Decision *d)
{
	/* Parts that were paid before and went back are not paid any more. */
	return order_shut(d) && all_equal(d) &&
		d->order->refunding == 0 && d->order->refunded == 0 &&
		payorder_order_edge(d->order, "reopen") != NULL;
}

static void
move_to_kept(Decision *d)
{
	Payment    *payment = d->payment;

	payment->disposition = DISPOSITION_ORDER;
	payment->pots.kept += payment->pots.review;
	payment->pots.review = 0;
	save_payment(d);
}

static void
keep(Decision *d, const char *event)
{
	move_to_kept(d);
	d->edge = payorder_order_edge(d->order, event);
	if (d->edge == NULL)
		elog(ERROR, "could not take edge \"%s\"", event);
}

static void
restore(Decision *d)
{
	decide_payment(d, "applied", "restored");
	d->order->frozen = false;
	move_to_kept(d);
	payorder_attempts_close_others(d->order, d->attempt, 0);
}

static void
reopen(Decision *d)
{
	decide_payment(d, "late", "reopened");
	keep(d, "reopen");
	payorder_attempts_close_others(d->order, d->attempt, 0);
}

static void
late(Decision *d)
{
	decide_payment(d, "late", "returned");
	move_to_owed(d, "late");
}

static void
keep_in_review(Decision *d, const char *detail)
{
	decide_payment(d, "mismatch", detail);
	save_payment(d);
	d->alarm_cause = "mismatch";
}

static void
mismatch_currency(Decision *d)
{
	keep_in_review(d, "currency");
}

static void
mismatch_amount(Decision *d)
{
	keep_in_review(d, "amount");
}

static void
mismatch_repriced(Decision *d)
{
	keep_in_review(d, "repriced");
}

bool
payorder_always(Decision *d)
{
	return true;
}

static void
pay(Decision *d)
{
	bool		is_rest = !is_part(d) || paid_now(d) == left_to_pay(d);

	decide_payment(d, "applied", NULL);
	keep(d, is_rest ? "pay" : "pay_part");
	payorder_attempts_close_others(d->order, d->attempt, left_to_pay(d));
}

void
payorder_stale(Decision *d)
{
	payorder_decide(d, "stale", NULL);
}

/* ---- the tables under the lock ---- */

static const Line pay_lines[] = {
	{"11", PAY_EVENTS | ATTEMPT_EVENTS, attempt_missing, park_attempt},
	{"D", PAY_EVENTS, payment_reversed, stale_reversed},
	{"13", PAY_EVENTS, order_paid, excess},
	{"13b", PAY_EVENTS, restores, restore},
	{"13b", PAY_EVENTS, frozen_and_refunded, late},
	{"14a", PAY_EVENTS, can_reopen, reopen},
	{"14b", PAY_EVENTS, order_shut, late},
	{"15", PAY_EVENTS, currency_differs, mismatch_currency},
	{"16", PAY_EVENTS, amount_differs, mismatch_amount},
	{"17", PAY_EVENTS, left_differs, mismatch_repriced},
	{"18", PAY_EVENTS, payorder_always, pay},
	{0}
};

/* Takes the first line of a list that holds; false if none does. */
static bool
walk(const Line *lines, Decision *d)
{
	for (const Line *line = lines; line->number != NULL; line++)
	{
		if ((line->events & d->message.event) != 0 && line->holds(d))
		{
			line->decide(d);
			return true;
		}
	}
	return false;
}

/* Lines 9 to 11; false if the order, or its payment, is to be locked. */
bool
payorder_decide_address(Decision *d)
{
	return walk(address_lines, d);
}

/* The lines under the lock; one of them always holds. */
void
payorder_decide_locked(Decision *d)
{
	if (!walk(pay_lines, d) && !walk(payorder_attempt_lines, d) &&
		!walk(payorder_refund_lines, d) && !walk(payorder_taken_lines, d))
		elog(ERROR, "no line holds");
}
