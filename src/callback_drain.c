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

#include "access/xact.h"
#include "utils/builtins.h"

#include "callback_decision.h"
#include "guc.h"
#include "relation.h"
#include "task.h"
#include "timer.h"

#define MOST_DRAINED	100
#define MOST_TRIES		3

static Statement any_draining = {
	.sql = "SELECT 1 FROM payorder.gateways WHERE draining AND NOT paused"
	" AND NOT " PAYORDER_IS_COPY("$1", "$2") " LIMIT 1",
	.arguments = "ll"
};
static Statement end_pause = {
	.sql = "UPDATE payorder.callbacks_waiting AS w SET next_at = $1"
	" FROM (SELECT p.gateway, p.txn_id, p.event"
	" FROM payorder.callbacks_waiting AS p"
	" WHERE p.next_at = 'infinity' AND p.reason = 'paused'"
	" AND p.gateway IN (SELECT g.gateway FROM payorder.gateways AS g"
	" WHERE g.draining AND NOT g.paused)"
	" ORDER BY p.arrival LIMIT $2 FOR UPDATE OF p SKIP LOCKED) AS k"
	" WHERE w.gateway = k.gateway AND w.txn_id = k.txn_id"
	" AND w.event = k.event",
	.arguments = "zi"
};
static Statement lock_draining = {
	.sql = "SELECT gateway FROM payorder.gateways WHERE draining AND NOT paused"
	" ORDER BY gateway FOR UPDATE SKIP LOCKED",
	.arguments = ""
};
static Statement end_draining = {
	.sql = "UPDATE payorder.gateways AS g SET draining = false"
	" WHERE g.gateway = $1"
	" AND NOT EXISTS (SELECT FROM payorder.callbacks_waiting AS w"
	" WHERE w.gateway = g.gateway AND w.reason = 'paused')",
	.arguments = "t"
};

/* Has a person look at a message. */
void
payorder_callback_review(const Message *m, const char *order_no,
						 const char *cause)
{
	ReviewRequest review = {0};

	review.subject = psprintf("%s:%s:%s", m->gateway, m->txn_id,
							  payorder_event_name(m->event));
	review.cause = cause;
	review.order_no = order_no;
	review.gateway = m->gateway;
	review.txn_id = m->txn_id;
	review.event = payorder_event_name(m->event);
	review.detail = m->reference;
	review.amount = m->has_amount ? &m->amount : NULL;
	review.currency = m->currency;
	payorder_task_review(&review);
}

static void
write_deferred(void *decision)
{
	Decision   *d = decision;

	/* Whoever had the lock may have decided it. */
	if (!payorder_lock_key(d))
		return;
	if (!d->names_differ)
		payorder_keep_payment(d);
	payorder_waiting_write(d);
	payorder_callback_record(d);
	if (d->tries >= MOST_TRIES)
		payorder_callback_review(&d->message, d->order_no, "deferred_error");
}

/*
 * It raised: keeps the error, and the time of the next try.  Where its key is
 * somebody else's just now, that one decides it, and nothing is written.
 */
static void
defer_again(Decision *d, const ErrorData *error)
{
	bool		locked = error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;

	d->gone = locked && d->at_key;
	d->verdict = "deferred";
	d->detail = locked ? "locked" : "error";
	d->error = error->message;
	if (!locked && d->in_sweep && !payorder_may_pass(error))
		d->tries++;
	d->next_at = d->tries >= MOST_TRIES ? DT_NOEND :
		payorder_now() + USECS_PER_SEC * (1 + 5 * d->tries);
	if (payorder_may_pass(error))
		d->next_at = payorder_now() + USECS_PER_MINUTE;
	d->order = NULL;
	if (!d->gone)
		d->gone = payorder_isolated(write_deferred, d) != NULL;
}

static Decision *
decision_of(const Callback *callback, int tries, bool in_sweep)
{
	Decision   *d = palloc0(sizeof(Decision));

	d->message = callback->message;
	d->stored = true;
	d->before = callback;
	d->draining = true;
	d->in_sweep = in_sweep;
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

	payorder_task_close_reviews(subject, causes, lengthof(causes));
	if (d->payment == NULL)
		return;
	/* What was drained may have changed it. */
	d->payment = payorder_payment_lock(d->payment->gateway,
									   d->payment->txn_id);
	payorder_payment_watch(d->order, d->payment);
}

static void
decide_again(void *decision)
{
	payorder_decide_and_finish(decision);
}

/* What is kept of a message in the list of those that wait. */
static Message
message_of(const Waiting *waiting)
{
	Message		m = {0};

	m.gateway = waiting->gateway;
	m.txn_id = waiting->txn_id;
	payorder_message_event(waiting->event, &m.event);
	m.reference = waiting->reference;
	m.payment_txn = waiting->payment_txn;
	m.refund_no = waiting->refund_no;
	return m;
}

static Callback *
callback_of(const Waiting *waiting)
{
	Message		key = message_of(waiting);

	return payorder_callback_find(&key);
}

/*
 * Decides one that waits; what came of it, with gone set if it waited no more.
 * What was parked for it joins the queue.
 */
static Decision *
drain_one(const Waiting *waiting, Queue *queue, bool in_sweep)
{
	Decision   *d = decision_of(callback_of(waiting),
								strcmp(waiting->reason, "error") == 0 ?
								waiting->tries : 0, in_sweep);
	ErrorData  *error;

	d->queue = queue;
	error = payorder_isolated(decide_again, d);
	if (error != NULL)
		defer_again(d, error);
	return d;
}

/* Deferred, and nothing else may be applied before it: not paused, not set aside. */
static bool
blocks(const Decision *d)
{
	return !d->gone && strcmp(d->verdict, "deferred") == 0 &&
		strcmp(d->detail, "paused") != 0 && d->next_at != DT_NOEND;
}

/* Decides all that is in a queue. */
static void
drain_all(Queue *queue, bool in_sweep)
{
	Waiting    *waiting;

	while ((waiting = payorder_queue_next(queue, NULL)) != NULL)
		drain_one(waiting, queue, in_sweep);
}

/* Line 7: a message again that waits; decides it now. */
Answer *
payorder_redecide(const Callback *callback)
{
	Decision   *d = decision_of(callback,
									payorder_waiting_tries(&callback->message),
									false);
	ErrorData  *error;
	Callback   *now;

	d->draining = false;
	error = payorder_guarded(decide_again, d);
	if (error != NULL)
		defer_again(d, error);
	if (error != NULL && d->gone)
		return payorder_undecided();
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
 * The order that a waiting callback is about, as it is known now: a payment
 * that came since may have told another than the reference did.
 */
static const char *
order_of(const Waiting *waiting)
{
	Decision	d = {0};

	d.message = message_of(waiting);
	payorder_resolve(&d);
	return d.order_no != NULL ? d.order_no : waiting->order_no;
}

/* Whether it goes with another order's, whose lock is not held here. */
static bool
is_of_another(const Waiting *waiting, const char *order_no)
{
	const char *own = order_of(waiting);

	return own != NULL && strcmp(own, order_no) != 0;
}

/* In a sweep nobody is waited for: it comes again. */
static TimestampTz
patience(bool in_sweep)
{
	return in_sweep ? GetCurrentTimestamp() :
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), payorder_lock_wait);
}

static bool
is_about(const Waiting *waiting, const Message *m)
{
	return strcmp(waiting->txn_id, m->txn_id) == 0 &&
		strcmp(waiting->gateway, m->gateway) == 0 &&
		strcmp(waiting->event, payorder_event_name(m->event)) == 0;
}

/*
 * Line 12, with the order's lock had: applies what is older and deferred,
 * after which the order is not known any more.  False if this one has to queue
 * behind.
 */
bool
payorder_drain_older(Decision *d)
{
	int			count;
	Waiting    *older = payorder_waiting_of_order(d->order_no, true,
												  MOST_DRAINED + 1, &count);
	Waiting    *waiting;
	Waiting    *own = NULL;
	bool		behind;

	/* One that this transaction's snapshot can't see must not be overtaken. */
	if (IsolationUsesXactSnapshot())
		payorder_meet("callbacks_waiting_order", d->order_no,
					  patience(true));
	/* One that waits itself goes at its place: the younger ones come after. */
	for (int i = 0; i < count && own == NULL; i++)
	{
		if (is_about(&older[i], &d->message))
		{
			own = &older[i];
			count = i;
		}
	}
	behind = count > MOST_DRAINED;
	payorder_queue_add(&d->rest, older, count);
	while (!behind && (waiting = payorder_queue_next(&d->rest, own)) != NULL)
	{
		d->order = NULL;
		if (!is_of_another(waiting, d->order_no))
			behind = blocks(drain_one(waiting, &d->rest, false));
	}
	if (!behind)
		return true;
	payorder_decide(d, "deferred", "behind");
	d->next_at = payorder_now();
	d->keep_payment = true;
	return false;
}

/*
 * Applies what was parked until this payment or refund is known; what comes
 * from a queue leaves that to it.
 */
void
payorder_drain_related(Decision *d)
{
	Queue	   *queue = d->queue != NULL ? d->queue : &d->rest;
	int			count = 0;
	Waiting    *waiting = NULL;

	if (d->payment != NULL || d->refund != NULL)
		waiting = payorder_waiting_for(&d->message, d->payment, d->refund,
									   &count);
	payorder_queue_add(queue, waiting, count);
	if (d->queue != NULL || d->rest.rows == NIL)
		return;
	drain_all(&d->rest, false);
	d->order = NULL;
}

/* Applies what was parked until this refund, which is locked, has ended. */
void
payorder_callback_drain_for(const Payment *payment, const Refund *refund)
{
	int			count;
	Waiting    *waiting = payorder_waiting_for(NULL, payment, refund, &count);
	Queue		queue = {NIL};

	payorder_queue_add(&queue, waiting, count);
	drain_all(&queue, false);
}

/*
 * The message is parked, and its row in the waiting list is written; if its
 * order came at the same time, it is found here and set as the address.  A row
 * that was committed before waits for nobody: who creates the order sees it.
 */
void
payorder_meet_order(Decision *d)
{
	const char *reference = d->message.reference;
	TimestampTz until = patience(d->draining || d->stored);
	Meeting		order = payorder_meet("orders_pkey", reference, until);
	Meeting		attempt = payorder_meet("attempts_pkey", reference, until);
	Waiting		row = {0};

	if (order.there || attempt.there)
		payorder_resolve(d);
	d->gave_up = order.gave_up || attempt.gave_up;
	if (d->gave_up)
		d->next_at = payorder_now();
	if (d->gave_up && d->stored)
	{
		row.gateway = d->message.gateway;
		row.txn_id = d->message.txn_id;
		row.event = payorder_event_name(d->message.event);
		payorder_waiting_later(&row, payorder_now(), 0);
	}
}

/* Those behind one that can't be applied yet wait as long as it does. */
static void
queue_behind(Queue *queue, TimestampTz next_at)
{
	Waiting    *waiting;

	while ((waiting = payorder_queue_next(queue, NULL)) != NULL)
	{
		if (strcmp(waiting->verdict, "deferred") == 0 &&
			strcmp(waiting->reason, "error") != 0)
			payorder_waiting_behind(waiting, next_at);
	}
}

/*
 * Applies what waits for an order that is locked, in the order of draining.
 * One that raises, or whose next try is not due yet, lets nobody overtake.
 */
static void
drain_locked(const char *order_no, bool in_sweep)
{
	int			count;
	Waiting    *waiting = payorder_waiting_of_order(order_no, false,
													MOST_DRAINED, &count);
	Queue		queue = {NIL};

	if (count == MOST_DRAINED)
		payorder_timer_arm_drain(payorder_now(), order_no);
	payorder_queue_add(&queue, waiting, count);
	while ((waiting = payorder_queue_next(&queue, NULL)) != NULL)
	{
		bool		is_error = strcmp(waiting->reason, "error") == 0;
		Decision   *d = NULL;

		if ((is_error && waiting->next_at == DT_NOEND) ||
			is_of_another(waiting, order_no))
			continue;
		if (!is_error || waiting->next_at <= payorder_now())
			d = drain_one(waiting, &queue, in_sweep);
		/* Somebody has it in hand, and may roll back. */
		if (d != NULL && d->gone && d->at_key)
			payorder_timer_arm_drain(payorder_now() + USECS_PER_SEC, order_no);
		if (d == NULL || blocks(d))
		{
			queue_behind(&queue, d == NULL ? waiting->next_at : d->next_at);
			return;
		}
	}
}

/* A new order, which is locked, meets the callbacks that came before it. */
void
payorder_callback_meet(const char *order_no)
{
	Meeting		meeting = payorder_meet("callbacks_waiting_reference",
										order_no, patience(false));

	if (meeting.there)
		drain_locked(order_no, false);
	if (meeting.gave_up)
		payorder_timer_arm_drain(payorder_now(), order_no);
}

/* ---- for sweep() ---- */

/*
 * A drain timer of a locked order is due.  False if a callback for the order
 * is just being inserted, so that the timer must stay.
 */
bool
payorder_callback_drain_timer(const char *order_no)
{
	Meeting		meeting = payorder_meet("callbacks_waiting_reference",
										order_no, patience(true));

	drain_locked(order_no, true);
	return !meeting.gave_up;
}

/*
 * When to look again at one that is still parked, for what d says; alarms are
 * raised on time.
 */
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
	bool		alarms = payorder_parked_alarms(d->message.event);

	if (alarms && now >= limit)
		payorder_callback_review(&d->message, d->order_no, "parked_limit");
	else if (alarms && now >= alert)
	{
		payorder_callback_review(&d->message, d->order_no, "parked");
		next = limit;
	}
	else if (alarms)
		next = alert;
	if (strcmp(d->detail, "order") != 0)
		next = Min(next, now + (int64) pow(10, tries) * USECS_PER_SEC);
	if (d->gave_up)
		next = now + USECS_PER_SEC;
	payorder_waiting_later(waiting, next, tries);
}

/* One row of the waiting list that is due. */
typedef struct Due
{
	const Waiting *waiting;
	bool		left;			/* somebody else holds its order or key */
} Due;

/*
 * Drains the order of a waiting row, or decides that row if it has none.  A
 * sweep waits for nobody: order, then key, are taken if they are free.
 */
static void
drain_due(void *argument)
{
	Due		   *due = argument;
	const Waiting *waiting = due->waiting;
	const char *order_no = order_of(waiting);
	Queue		queue = {NIL};
	Decision   *d;

	due->left = true;
	if (order_no != NULL && payorder_order_skip_locked(order_no) == NULL)
		return;
	if (!payorder_callback_skip_locked(waiting))
		return;
	due->left = false;
	if (order_no != NULL && strcmp(waiting->verdict, "deferred") == 0)
	{
		drain_locked(order_no, true);
		if (payorder_same_text(waiting->order_no, order_no))
			return;
		/* Its order was not known when it was deferred: it goes by itself. */
	}
	d = decision_of(callback_of(waiting), 0, true);
	if (payorder_gateway_is_paused(d->gateway) &&
		strcmp(waiting->verdict, "parked") == 0)
	{
		/* Nothing of its gateway is applied now: it stays as it is. */
		d->detail = d->before->detail;
		d->order_no = d->before->order_no;
		reschedule(waiting, d);
		return;
	}
	d = drain_one(waiting, &queue, true);
	drain_all(&queue, true);
	if (!d->gone && strcmp(d->verdict, "parked") == 0)
		reschedule(waiting, d);
}

static void
put_off(void *argument)
{
	const Waiting *waiting = ((Due *) argument)->waiting;

	payorder_waiting_later(waiting, payorder_now() + USECS_PER_MINUTE,
						   waiting->tries);
}

/* Nothing of the row could be done, not even noting its error. */
static void
fail_due(Due *due, const ErrorData *error)
{
	const Waiting *waiting = due->waiting;

	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		return;
	payorder_warn_put_off(psprintf("callback %s:%s:%s", waiting->gateway,
								   waiting->txn_id, waiting->event), error);
	payorder_contained(put_off, due);
}

/* A copy has nothing to drain until it is adopted. */
static bool
any_is_draining(void)
{
	return payorder_query(&any_draining, payorder_cluster(),
						  payorder_database())->count > 0;
}

/*
 * Gateways that nothing waits for any more are not draining any more.  Who
 * leaves a callback waiting holds the gateway's row shared: such a gateway is
 * passed over, and only with the others' rows in hand, and a snapshot that is
 * newer, it is asked what waits.
 */
static void
end_drained(void)
{
	Rows	   *rows;

	if (IsolationUsesXactSnapshot())
		return;
	rows = payorder_query(&lock_draining);
	for (int i = 0; i < rows->count; i++)
		payorder_execute(&end_draining, rows->cells[i].text);
}

/*
 * Looks at what waits and is due, oldest arrival first; how many were looked
 * at, and whether there may be more.
 */
int
payorder_callback_drain_due(TimestampTz at, int most, bool *more)
{
	int			count;
	int			handled = 0;
	Waiting    *waiting;

	if (any_is_draining())
		payorder_execute(&end_pause, at, most);
	waiting = payorder_waiting_due(at, most, &count);
	for (int i = 0; i < count; i++)
	{
		Due			due = {&waiting[i], false};
		ErrorData  *error = payorder_contained(drain_due, &due);

		if (error != NULL)
			fail_due(&due, error);
		else
			handled += !due.left;
	}
	*more = count == most && handled > 0;
	if (any_is_draining())
		end_drained();
	return handled;
}

static bool
no_open_attempt(Order *order)
{
	return !payorder_attempts_any_open(order) &&
		!payorder_callback_pay_waits(order->order_no, false);
}

void
payorder_callback_register(void)
{
	payorder_register_guard("no_open_attempt", no_open_attempt);
}
