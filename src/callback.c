/*-------------------------------------------------------------------------
 *
 * callback.c
 *		ingest: the frame around the list of lines.
 *
 * A message's key (gateway, txn_id, event) is looked up first, without a lock
 * and without a write; that is all that happens to a duplicate.  A new key is
 * inserted, which makes everybody else with the same key wait or see it, and
 * then the message is decided under its order's lock; key, money, order,
 * events and tasks are in one subtransaction.  What makes it raise is undone
 * with it, and the key is written again as deferred, so that the gateway has
 * its acknowledgement and the worker tries again.  Failures of the server
 * itself are raised, never acknowledged.
 *
 * Locks: a new key; then the order, a stored key's row, the payment, its
 * refunds, tasks.  Waits for all of them are bounded by payorder.lock_wait.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "callback_decision.h"
#include "crypto.h"
#include "json.h"
#include "relation.h"
#include "task.h"
#include "timer.h"

/*
 * Runs a step of a decision so that an error undoes all of it; in a batch that
 * is the batch's business.
 */
static ErrorData *
guarded(void (*step) (Decision *), Decision *d)
{
	if (!d->in_batch)
		return payorder_guarded((GuardedWork) step, d);
	step(d);
	return NULL;
}

/* Whether a verdict, NULL while there is none, is not the last one. */
static bool
is_waiting(const char *verdict)
{
	return payorder_same_text(verdict, "parked") ||
		payorder_same_text(verdict, "deferred");
}

static Callback *
lock_key_row(Decision *d)
{
	Waiting		key = {0};
	Callback   *callback;

	key.gateway = d->message.gateway;
	key.txn_id = d->message.txn_id;
	key.event = payorder_event_name(d->message.event);
	d->at_key = true;
	callback = payorder_callback_lock(&key);
	d->at_key = false;
	return callback;
}

/* Locks a stored key's row; false if it doesn't wait any more. */
bool
payorder_lock_key(Decision *d)
{
	Callback   *callback = lock_key_row(d);

	d->gone = callback == NULL || !is_waiting(callback->verdict);
	return !d->gone;
}

static void
lock_payment(Decision *d)
{
	if (d->payment == NULL)
		return;
	d->payment = payorder_payment_lock(d->payment->gateway,
									   d->payment->txn_id);
	if (d->refund != NULL)
		d->refund = payorder_refund_lock(d->refund->refund_no);
	if (d->order == NULL && d->payment->order_no != NULL)
		payorder_order_changed_meanwhile();
}

static void
reset(Decision *d)
{
	d->order = NULL;
	d->verdict = d->detail = d->reason = d->moved = NULL;
	d->return_cause = d->alarm_cause = d->error = NULL;
	d->edge = NULL;
	d->gone = d->other_name = false;
	d->first_verdict = NULL;
	d->keep_payment = false;
	d->amount = d->message.amount;
	d->is_single = false;
	d->rest.rows = NIL;
}

/* Lines 9 to 44. */
static void
decide(Decision *d)
{
	reset(d);
	if (!d->resolved)
		payorder_resolve(d);
	d->resolved = false;
	if (payorder_decide_address(d))
	{
		if (d->stored && !d->own_key)
			payorder_lock_key(d);
		return;
	}
	if (d->order_no != NULL)
		d->order = payorder_order_required(payorder_order_lock(d->order_no),
										   d->order_no);
	if (d->stored && !d->own_key && !payorder_lock_key(d))
		return;
	if (d->order != NULL && !d->draining)
	{
		bool		in_turn = payorder_drain_older(d);
		bool		drained = d->order == NULL;

		if (drained)
			d->order = payorder_order_lock(d->order_no);
		if (!in_turn || (drained && d->stored && !d->own_key &&
						 !payorder_lock_key(d)))
			return;
	}
	payorder_resolve(d);
	if (payorder_decide_address(d))
		return;
	lock_payment(d);
	payorder_decide_locked(d);
}

static bool
waits(const Decision *d)
{
	return is_waiting(d->verdict);
}

static Cause
cause_of(const Decision *d)
{
	const Message *m = &d->message;
	Cause		cause = {0};

	cause.actor = psprintf("gateway:%s", m->gateway);
	cause.source = m->source;
	cause.reason = d->detail == NULL ? d->verdict :
		psprintf("%s(%s)", d->verdict, d->detail);
	cause.payload = payorder_json_object("ttttLLttj",
										 "event",
										 payorder_event_name(m->event),
										 "txn_id", m->txn_id,
										 "verdict", d->verdict,
										 "detail", d->detail,
										 "amount",
										 m->has_amount ? &d->amount : NULL,
										 "total",
										 m->amount_is_total ? &m->amount : NULL,
										 "currency", m->currency,
										 "refund_no", m->refund_no,
										 "moved", d->moved);
	return cause;
}

static void
note(Decision *d)
{
	Cause		cause = cause_of(d);
	About		about = {d->message.gateway, d->message.txn_id};
	Event		event = {0};

	if (d->payment != NULL)
		about.txn_id = d->payment->txn_id;
	if (d->edge != NULL)
		payorder_order_take(d->order, d->edge, &about, &cause);
	else if (d->order != NULL)
		payorder_order_event(d->order, "callback", &about, &cause);
	else
	{
		event.event = "callback";
		event.gateway = about.gateway;
		event.txn_id = about.txn_id;
		event.cause = cause;
		event.at = payorder_now();
		payorder_event_append_payment(d->payment != NULL ?
									  d->payment->received_at : event.at,
									  &event);
	}
}

/*
 * The money of a pay message that waits, or that no order can be told for,
 * lies in review; with the order, once it is known.
 */
void
payorder_keep_payment(Decision *d)
{
	const Message *m = &d->message;
	Payment    *payment;

	if ((m->event & PAY_EVENTS) == 0)
		return;
	payment = payorder_payment_lock(m->gateway, m->txn_id);
	if (payment == NULL)
	{
		payment = payorder_payment_new(m->gateway, m->txn_id,
									   payorder_event_name(m->event),
									   m->amount, m->currency);
		payment->occurred_at = m->occurred_at;
	}
	else if (payorder_under_other_name(m, payment))
		return;
	payorder_restate(d, payment);
	if (payment->order_no == NULL)
		payment->order_no = d->order_no;
	if (d->attempt != NULL && !d->names_differ)
		payment->payment_no = d->attempt->payment_no;
	d->payment = payment;
	d->moved = payorder_payment_save(payment, NULL);
}

/* Line 8. */
static void
keep_conflict(Decision *d)
{
	if (!payorder_callback_conflict(&d->message, "fact"))
		return;
	payorder_callback_review(&d->message, d->order_no, "conflict");
	/* Evidence doesn't wait for the order; the event then stands beside it. */
	d->order = d->order_no == NULL ? NULL :
		payorder_order_skip_locked(d->order_no);
	d->payment = NULL;
	d->edge = NULL;
	note(d);
}

/*
 * Line 8 where the payment came as pay_part and now as pay, or the reverse:
 * the first result stands, and the second name gets no row of its own.
 */
static void
finish_other_name(Decision *d)
{
	if (d->stored)
		payorder_waiting_delete(&d->message);
	d->first_verdict = payorder_callback_other(&d->message,
											   d->message.event == EVENT_PAY ?
											   EVENT_PAY_PART : EVENT_PAY)->verdict;
	if (d->restate || (d->stored && !d->own_key))
		payorder_callback_record(d);
	else
		payorder_callback_forget(&d->message);
	keep_conflict(d);
}

/* Whether a callback that waits goes on waiting for the same. */
static bool
is_as_before(const Decision *d)
{
	return d->before != NULL && waits(d) &&
		strcmp(d->verdict, d->before->verdict) == 0 &&
		payorder_same_text(d->detail, d->before->detail) &&
		payorder_same_text(d->order_no, d->before->order_no);
}

/* The money that an alarm about a payment speaks of. */
static int64
alarm_amount(const Decision *d)
{
	if ((d->message.event & LATER_EVENTS) == 0)
		return d->payment->amount;
	return d->message.event != EVENT_REFUND && d->refund != NULL ?
		d->refund->amount : d->amount;
}

/*
 * Writes down what was decided: verdict, event and transition, and what else
 * follows from it.
 */
static void
finish(Decision *d)
{
	if (d->gone || is_as_before(d))
		return;
	if (d->other_name)
	{
		finish_other_name(d);
		return;
	}
	if (d->keep_payment)
		payorder_keep_payment(d);
	if (waits(d))
		payorder_waiting_write(d);
	else if (d->stored)
		payorder_waiting_delete(&d->message);
	payorder_callback_record(d);
	note(d);
	if (d->return_cause != NULL)
		payorder_refund_return(d->order, d->payment, d->gateway,
							   d->return_cause);
	if (d->alarm_cause != NULL)
		payorder_payment_alarm(d->order, d->payment, d->alarm_cause,
							   alarm_amount(d));
	if (d->names_differ && d->payment != NULL &&
		(d->message.event & LATER_EVENTS) != 0)
		payorder_payment_alarm(d->order, d->payment, "order_differs",
							   d->payment->amount);
	payorder_refund_settle(d->order);
	if (d->stored && !waits(d))
		payorder_end_reviews(d);
	/* The payment is known from now on, even if its order is not. */
	if (!waits(d) || ((d->message.event & PAY_EVENTS) != 0 &&
					  strcmp(d->verdict, "parked") == 0))
		payorder_drain_related(d);
}

static bool
is_parked_for_order(const Decision *d)
{
	return !d->gone && strcmp(d->verdict, "parked") == 0 &&
		d->order_no == NULL && d->message.reference != NULL &&
		(d->message.event & LATER_EVENTS) == 0;
}

/*
 * Decides a message whose key row is there, and writes it down.  One that is
 * about to be parked writes its row of the waiting list first and then looks
 * for an order that came at the same time.
 */
void
payorder_decide_and_finish(Decision *d)
{
	decide(d);
	if (is_parked_for_order(d))
	{
		if (!d->stored)
			payorder_waiting_write(d);
		payorder_meet_order(d);
		if (d->order_no != NULL)
		{
			d->own_key = !d->stored;
			d->stored = true;
			d->before = NULL;
			decide(d);
		}
	}
	finish(d);
}

/* ---- first sight of a key ---- */

static void
decide_invalid(Decision *d)
{
	const Message *m = &d->message;

	reset(d);
	payorder_decide(d, "mismatch", "invalid");
	if ((m->event & PAY_EVENTS) != 0 && m->has_amount && m->amount > 0 &&
		m->currency != NULL && d->gateway->currency_known &&
		payorder_payment_find(m->gateway, m->txn_id) == NULL)
	{
		d->payment = payorder_payment_new(m->gateway, m->txn_id,
										  payorder_event_name(m->event),
										  m->amount, m->currency);
		d->moved = payorder_payment_save(d->payment, NULL);
		d->alarm_cause = "mismatch";
	}
	else
		payorder_callback_review(m, NULL, "invalid");
	finish(d);
}

static void
take_key_and_decide(Decision *d)
{
	bool		valid = payorder_message_is_valid(&d->message, d->gateway);

	if (valid && !d->resolved)
		payorder_resolve(d);
	d->resolved = valid;
	d->at_key = true;
	d->gone = !payorder_callback_insert(&d->message,
										valid ? d->order_no : NULL);
	d->at_key = false;
	if (d->gone)
		return;
	if (valid)
		payorder_decide_and_finish(d);
	else
		decide_invalid(d);
}

/* Line 20, and 12 where the lock was not had: kept for the worker. */
static void
take_key_and_defer(Decision *d)
{
	const char *error = d->error;

	/* Here too a row of payments may be another transaction's. */
	d->at_key = true;
	d->gone = !payorder_callback_insert(&d->message, NULL);
	if (d->gone)
		return;
	reset(d);
	d->error = error;
	payorder_resolve(d);
	payorder_decide(d, "deferred", d->defer);
	d->next_at = payorder_now();
	if (d->names_differ)
		d->order_no = NULL;
	payorder_keep_payment(d);
	payorder_waiting_write(d);
	payorder_callback_record(d);
	note(d);
	d->at_key = false;
}

/* Whether the money came meanwhile under its other name: decides line 8. */
static bool
came_meanwhile(const Decision *d)
{
	const Message *m = &d->message;

	return (m->event & PAY_EVENTS) != 0 &&
		payorder_under_other_name(m, payorder_payment_find(m->gateway,
														   m->txn_id));
}

/* The key is somebody else's: no acknowledgement, the gateway sends again. */
Answer *
payorder_undecided(void)
{
	Answer	   *answer = palloc0(sizeof(Answer));

	answer->verdict = "deferred";
	answer->detail = "undecided";
	return answer;
}

/* What the caller is told of a decision. */
Answer *
payorder_answer(const Decision *d)
{
	Answer	   *answer = palloc0(sizeof(Answer));
	Order	   *order = d->order;

	answer->verdict = d->verdict;
	answer->detail = d->detail;
	answer->acknowledged = true;
	answer->first_verdict = d->first_verdict;
	answer->order_no = d->order_no;
	if (order == NULL && d->order_no != NULL)
		order = payorder_order_find(d->order_no);
	if (order != NULL)
	{
		answer->state = order->state->name;
		answer->paid = payorder_order_is_paid(order);
	}
	return answer;
}

/* A key that was not seen; NULL if somebody else was faster. */
static Answer *
first_sight(Decision *d)
{
	ErrorData  *error = guarded(take_key_and_decide, d);

	if (error != NULL && !d->at_key && came_meanwhile(d))
		return NULL;
	if (error != NULL && !d->at_key)
	{
		d->defer = error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ?
			"locked" : "error";
		d->error = error->message;
		error = guarded(take_key_and_defer, d);
	}
	if (error != NULL && d->at_key &&
		error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		return payorder_undecided();
	if (error != NULL)
		ReThrowError(error);
	return d->gone ? NULL : payorder_answer(d);
}

/* ---- a key that was seen ---- */

static void
fill_in(Decision *d)
{
	payorder_callback_refill(&d->message);
	d->order = d->order_no == NULL ? NULL : payorder_order_lock(d->order_no);
	payorder_decide(d, "duplicate", "filled_in");
	note(d);
	d->order = NULL;
}

/* Whether what an invalid message left of its money can become this one's. */
static bool
can_restate(const Message *m)
{
	Payment    *payment = payorder_payment_lock(m->gateway, m->txn_id);

	if ((m->event & PAY_EVENTS) == 0 || payment == NULL)
		return true;
	if (payment->disposition != DISPOSITION_REVIEW)
		return false;			/* a person has decided about it */
	return (payment->amount == m->amount &&
			strcmp(payment->currency, m->currency) == 0) ||
		(payment->pots.review == payment->amount && payment->order_no == NULL);
}

/* Line 5b: the key was taken by a message that was not well-formed. */
static void
replace_invalid(Decision *d)
{
	Callback   *earlier;

	payorder_resolve(d);
	if (d->order_no != NULL)
		payorder_order_lock(d->order_no);
	earlier = lock_key_row(d);
	d->gone = earlier == NULL || !payorder_callback_is_invalid(earlier);
	if (d->gone)				/* somebody else's was faster */
		return;
	if (!can_restate(&d->message))
	{
		d->order_no = earlier->order_no;
		payorder_decide(d, "conflict", "fact");
		keep_conflict(d);
		return;
	}
	payorder_callback_conflict(&earlier->message, "invalid");
	payorder_callback_restate(&d->message);
	d->restate = true;
	payorder_decide_and_finish(d);
	payorder_end_reviews(d);
}

static Answer *
in_doubt_or_raise(ErrorData *error)
{
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	return payorder_undecided();
}

static Answer *
seen_again(Decision *d, const Callback *stored)
{
	bool		valid = payorder_message_is_valid(&d->message, d->gateway);
	bool		waiting;
	bool		was_invalid;
	ErrorData  *error = NULL;
	Answer	   *answer;

	/* A trigger that this very decision fires has called ingest again. */
	if (stored->verdict == NULL)
		return payorder_undecided();
	waiting = is_waiting(stored->verdict);
	was_invalid = payorder_callback_is_invalid(stored);
	d->order_no = stored->order_no;
	if (was_invalid && valid)
	{
		error = guarded(replace_invalid, d);
		if (error != NULL)
			return in_doubt_or_raise(error);
		if (d->gone)
			return NULL;
		answer = payorder_answer(d);
		if (strcmp(d->verdict, "conflict") == 0 && answer->first_verdict == NULL)
			answer->first_verdict = stored->verdict;
		return answer;
	}
	if (!payorder_same_facts(&d->message, stored) || (!valid && waiting))
	{
		payorder_decide(d, "conflict", "fact");
		error = guarded(keep_conflict, d);
	}
	else
	{
		if (valid && payorder_says_more(&d->message, &stored->message))
			error = guarded(fill_in, d);
		if (waiting && error == NULL)
			return payorder_redecide(payorder_callback_find(&d->message));
		payorder_decide(d, "duplicate", NULL);
	}
	if (error != NULL)
		return in_doubt_or_raise(error);
	d->order = NULL;
	answer = payorder_answer(d);
	answer->first_verdict = stored->verdict;
	if (strcmp(d->verdict, "duplicate") == 0)
		answer->detail = stored->detail;
	return answer;
}

/* An id that is too long to be a key is kept by its digest, never cut. */
static void
fit_key(Message *m)
{
	uint8		digest[SHA256_BYTES];

	if (pg_mbstrlen(m->txn_id) <= LONGEST_ID)
		return;
	payorder_sha256(m->txn_id, strlen(m->txn_id), digest);
	m->txn_id = psprintf("\x1bsha256:%s", payorder_hex(digest, SHA256_BYTES));
}

static Answer *
ingest(Decision *d)
{
	Answer	   *answer = NULL;

	while (answer == NULL)
	{
		Callback   *stored = d->unseen ? NULL :
			payorder_callback_find(&d->message);

		CHECK_FOR_INTERRUPTS();
		d->unseen = false;
		answer = stored == NULL ? first_sight(d) : seen_again(d, stored);
		d->resolved = false;
	}
	return answer;
}

/* Takes one fact of a gateway and says what became of it. */
Answer *
payorder_callback_ingest(const Message *message)
{
	Decision	d = {0};

	d.message = *message;
	fit_key(&d.message);
	d.gateway = payorder_gateway(message->gateway, d.message.txn_id,
								 message->currency);
	if (d.gateway == NULL)
		payorder_no_gateway(message->gateway);
	return ingest(&d);
}

/* Whether what a message names can be told before what comes before it. */
static bool
is_addressed(const Decision *d)
{
	return (d->message.event & (PAY_EVENTS | ATTEMPT_EVENTS)) != 0 &&
		d->order_no != NULL && d->payment == NULL && !d->names_differ;
}

/*
 * Begins with a message of a batch, after one of the gateway "before" (NULL:
 * it is the first): the order that is to be locked for it, NULL: none is known,
 * or its key has a final verdict, so that only a conflict would need it.
 *
 * What is found is what ingest() would find before it has a lock, and serves
 * as that, unless a message of the batch that goes before may change it.
 */
const char *
payorder_callback_prepare(Decision *d, Gateway *before)
{
	Callback   *stored;

	fit_key(&d->message);
	d->gateway = payorder_gateway_again(before, d->message.gateway,
										d->message.txn_id,
										d->message.currency);
	if (d->gateway == NULL)
		payorder_no_gateway(d->message.gateway);
	stored = payorder_callback_find(&d->message);
	d->unseen = stored == NULL;
	if (stored != NULL && stored->verdict != NULL &&
		!is_waiting(stored->verdict) && !payorder_callback_is_invalid(stored))
		return NULL;
	payorder_resolve(d);
	d->resolved = d->unseen && is_addressed(d);
	return d->order_no;
}

/*
 * Takes a message that was prepared, inside of a subtransaction of the
 * caller's: whatever is raised must undo it, and the message is then to be
 * taken by itself.
 */
Answer *
payorder_callback_ingest_prepared(const Decision *prepared)
{
	Decision	d = *prepared;

	d.in_batch = true;
	return ingest(&d);
}
