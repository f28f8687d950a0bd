/*-------------------------------------------------------------------------
 *
 * callback_drain.c
 *		Callbacks that waited: applied in their order, when their time or
 *		what they wait for has come.
 *
 * Each is decided anew from line 9 in a subtransaction of its own.  One that
 * raises is deferred with its error, tried again, and after three tries set
 * aside for a person; it never stops another, nor whoever drains it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "callback_decision.h"
#include "guc.h"
#include "relation.h"
#include "task.h"
#include "timer.h"

#define MOST_DRAINED	100
#define MOST_TRIES		3

static Statement end_draining = {
	.sql = "UPDATE payorder.gateways AS g SET draining = false WHERE g.draining"
	" AND NOT EXISTS (SELECT FROM payorder.callbacks_waiting AS w"
	" WHERE w.gateway = g.gateway AND w.reason = 'paused')",
	.arguments = ""
};

static void
review_key(const Message *m, const char *order_no, const char *cause)
{
	ReviewRequest review = {0};

	review.subject = psprintf("%s:%s:%s", m->gateway, m->txn_id,
							  payorder_event_name(m->event));
	review.cause = cause;
	review.order_no = order_no;
	review.gateway = m->gateway;
	review.amount = m->has_amount ? &m->amount : NULL;
	review.currency = m->currency;
	payorder_task_review(&review);
}

/* It raised: keeps the error, and the time of the next try. */
static void
defer_again(Decision *d, const ErrorData *error)
{
	bool		locked = error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;

	d->verdict = "deferred";
	d->detail = locked ? "locked" : "error";
	d->error = error->message;
	if (!locked && d->draining)
		d->tries++;
	d->next_at = payorder_now() + USECS_PER_SEC * (1 + 5 * d->tries);
	if (d->tries >= MOST_TRIES)
	{
		d->next_at = DT_NOEND;
		review_key(&d->message, d->order_no, "deferred_error");
	}
	d->order = NULL;
	payorder_waiting_write(d);
	payorder_callback_record(d);
}

static Decision *
decision_of(const Callback *callback, int tries)
{
	Decision   *d = palloc0(sizeof(Decision));

	d->message = callback->message;
	d->stored = true;
	d->draining = true;
	d->tries = tries;
	d->gateway = payorder_gateway(d->message.gateway, d->message.txn_id,
								  d->message.currency);
	return d;
}

/* What waited has its verdict: nobody need look at it for having waited. */
void
payorder_end_reviews(Decision *d)
{
	static const char *const causes[] = {
		"parked", "parked_limit", "deferred_error", "invalid"
	};
	const char *subject = psprintf("%s:%s:%s", d->message.gateway,
								   d->message.txn_id,
								   payorder_event_name(d->message.event));

	for (size_t i = 0; i < lengthof(causes); i++)
		payorder_task_close_review(subject, causes[i]);
	if (d->payment != NULL)
		payorder_payment_watch(d->order, d->payment);
}

static void
decide_again(void *decision)
{
	payorder_decide_and_finish(decision);
}

/* Decides one that waits; what came of it, with gone set if it waited no more. */
static Decision *
drain_one(const Waiting *waiting)
{
	Message		key = {0};
	Callback   *callback;
	Decision   *d;
	ErrorData  *error;

	key.gateway = waiting->gateway;
	key.txn_id = waiting->txn_id;
	payorder_message_event(waiting->event, &key.event);
	callback = payorder_callback_find(&key);
	d = decision_of(callback, strcmp(waiting->reason, "error") == 0 ?
					waiting->tries : 0);
	error = payorder_isolated(decide_again, d);
	if (error != NULL)
		defer_again(d, error);
	return d;
}

static bool
still_deferred(const Decision *d)
{
	return !d->gone && strcmp(d->verdict, "deferred") == 0;
}

/* Line 7: a message again that waits; decides it now. */
Answer *
payorder_redecide(const Callback *callback)
{
	Decision   *d = decision_of(callback,
									payorder_waiting_tries(&callback->message));
	ErrorData  *error;
	Callback   *now;

	d->draining = false;
	error = payorder_guarded(decide_again, d);
	if (error != NULL)
		defer_again(d, error);
	if (d->gone)
	{
		now = payorder_callback_find(&callback->message);
		d->verdict = now->verdict;
		d->detail = now->detail;
		d->order_no = now->order_no;
		d->order = NULL;
	}
	return payorder_answer(d);
}

/*
 * Line 12, with the order's lock had: applies what is older and deferred.
 * False if this one has to queue behind.
 */
bool
payorder_drain_older(Decision *d)
{
	int			count;
	Waiting    *older = payorder_waiting_of_order(d->order_no, true,
												  MOST_DRAINED + 1, &count);
	const char *own = payorder_event_name(d->message.event);
	bool		behind = count > MOST_DRAINED;

	for (int i = 0; i < count && !behind; i++)
	{
		if (strcmp(older[i].txn_id, d->message.txn_id) == 0 &&
			strcmp(older[i].gateway, d->message.gateway) == 0 &&
			strcmp(older[i].event, own) == 0)
			continue;
		behind = still_deferred(drain_one(&older[i]));
	}
	if (!behind)
		return true;
	payorder_decide(d, "deferred", "behind");
	d->next_at = payorder_now();
	if (d->message.event == EVENT_PAY && d->payment == NULL)
	{
		d->payment = payorder_payment_new(d->message.gateway,
										  d->message.txn_id,
										  d->message.amount,
										  d->message.currency);
		d->payment->occurred_at = d->message.occurred_at;
		d->payment->order_no = d->order_no;
		d->moved = payorder_payment_save(d->payment, NULL);
	}
	return false;
}

/* Applies what was parked until this payment or refund is known. */
void
payorder_drain_related(Decision *d)
{
	int			count;
	Waiting    *waiting;

	if (d->payment == NULL && d->refund == NULL)
		return;
	waiting = payorder_waiting_for(d->payment, d->refund, &count);
	for (int i = 0; i < count; i++)
		drain_one(&waiting[i]);
}

/* In a sweep nobody is waited for: it comes again. */
static TimestampTz
patience(bool in_sweep)
{
	return in_sweep ? GetCurrentTimestamp() :
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), payorder_lock_wait);
}

/*
 * The message is parked, and its row in the waiting list is written; if its
 * order came at the same time, it is found here and set as the address.
 */
void
payorder_meet_order(Decision *d)
{
	const char *reference = d->message.reference;
	TimestampTz until = patience(d->draining);
	Meeting		order = payorder_meet("orders_pkey", reference, until);
	Meeting		attempt = payorder_meet("attempts_pkey", reference, until);
	Waiting		row = {0};

	if (order.there || attempt.there)
		payorder_resolve(d);
	d->gave_up = order.gave_up || attempt.gave_up;
	if (d->gave_up)
	{
		row.gateway = d->message.gateway;
		row.txn_id = d->message.txn_id;
		row.event = payorder_event_name(d->message.event);
		payorder_waiting_later(&row, payorder_now(), 0, false);
	}
}

static int
drain_list(Waiting *waiting, int count)
{
	int			applied = 0;

	for (int i = 0; i < count; i++)
	{
		Decision   *d = drain_one(&waiting[i]);

		if (!d->gone && strcmp(d->verdict, "parked") != 0 &&
			strcmp(d->verdict, "deferred") != 0)
			applied++;
	}
	return applied;
}

/*
 * Applies what waits for an order, in the order of draining; how many took
 * effect.  Raises 55P03 if the order's lock was not had in time.
 */
int
payorder_callback_drain_order(const char *order_no)
{
	int			count;
	Waiting    *waiting;

	if (payorder_order_lock(order_no) == NULL)
		return 0;
	waiting = payorder_waiting_of_order(order_no, false, MOST_DRAINED, &count);
	if (count == MOST_DRAINED)
		payorder_timer_arm_drain(payorder_now(), order_no);
	return drain_list(waiting, count);
}

/* Whether nobody is left who is just inserting something for the order. */
static bool
drain_and_meet(const char *order_no, bool in_sweep)
{
	Meeting		meeting = payorder_meet("callbacks_waiting_reference",
										order_no, patience(in_sweep));

	if (meeting.there || in_sweep)
		payorder_callback_drain_order(order_no);
	return !meeting.gave_up;
}

/* A new order meets the callbacks that came before it. */
void
payorder_callback_meet(const char *order_no)
{
	if (!drain_and_meet(order_no, false))
		payorder_timer_arm_drain(payorder_now(), order_no);
}

/* ---- for sweep() ---- */

/*
 * A drain timer is due.  False if a callback for the order is just being
 * inserted, so that the timer must stay.
 */
bool
payorder_callback_drain_timer(const char *order_no)
{
	return drain_and_meet(order_no, true);
}

/* When to look again at one that is still parked; alarms are raised on time. */
static void
reschedule(const Waiting *waiting, const Decision *d)
{
	TimestampTz now = payorder_now();
	TimestampTz alert = waiting->arrived_at +
		payorder_park_alert * USECS_PER_SEC;
	TimestampTz limit = waiting->arrived_at +
		payorder_park_limit * USECS_PER_SEC;
	int			tries = Min(waiting->tries + 1, 6);
	TimestampTz next = DT_NOEND;
	bool		is_attempt_event = (d->message.event & ATTEMPT_EVENTS) != 0;

	if (!is_attempt_event && now >= limit)
		review_key(&d->message, d->order_no, "parked_limit");
	else if (!is_attempt_event && now >= alert)
	{
		review_key(&d->message, d->order_no, "parked");
		next = limit;
	}
	else if (!is_attempt_event)
		next = alert;
	if (strcmp(d->detail, "payment") == 0 || strcmp(d->detail, "refund") == 0)
		next = Min(next, now + (int64) pow(10, tries) * USECS_PER_SEC);
	if (d->gave_up)
		next = now + USECS_PER_SEC;
	payorder_waiting_later(waiting, next, tries, now >= alert);
}

static void
drain_due_order(void *decision)
{
	payorder_callback_drain_order(((Decision *) decision)->order_no);
}

/* Drains the order of a waiting row, or that row if it has none. */
static void
drain_due(const Waiting *waiting)
{
	Decision	whole = {0};
	Decision   *d;

	if (waiting->order_no != NULL && strcmp(waiting->verdict, "deferred") == 0)
	{
		whole.order_no = waiting->order_no;
		if (payorder_isolated(drain_due_order, &whole) != NULL)
			payorder_waiting_later(waiting, payorder_now() + USECS_PER_SEC,
								   waiting->tries, waiting->alarmed);
		return;
	}
	d = drain_one(waiting);
	if (!d->gone && strcmp(d->verdict, "parked") == 0)
		reschedule(waiting, d);
}

/*
 * Looks at what waits and is due, oldest arrival first; how many were looked
 * at, and whether there may be more.
 */
int
payorder_callback_drain_due(TimestampTz at, int most, bool *more)
{
	int			count;
	Waiting    *waiting = payorder_waiting_due(at, most, &count);

	*more = count == most;
	for (int i = 0; i < count; i++)
		drain_due(&waiting[i]);
	if (count > 0)
		payorder_execute(&end_draining);
	return count;
}

static bool
no_open_attempt(Order *order)
{
	return !payorder_attempts_any_open(order) &&
		!payorder_callback_pay_waits(order->order_no);
}

void
payorder_callback_register(void)
{
	payorder_register_guard("no_open_attempt", no_open_attempt);
}
