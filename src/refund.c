/*-------------------------------------------------------------------------
 *
 * refund.c
 *		Money going back: what a gateway's word does to refunds.
 *
 * A refund that is open (asked, in doubt or stuck) has its amount in the
 * payment's pot "returning", which nothing but the gateway's final message or
 * a person empties; a held one leaves it in "owed" until the gateway has
 * confirmed the payment.  A refund whose task nobody has claimed can still be
 * cancelled, and its money goes back to the pots that it came from.
 *
 * Locks: order, then payment, then the payment's refunds, then tasks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "crypto.h"
#include "json.h"
#include "refund_limits.h"
#include "relation.h"
#include "task.h"
#include "timer.h"

#define LONGEST_REFUND_NO	128

static Statement any_waiting = {
	.sql = "SELECT 1 FROM payorder.callbacks_waiting WHERE order_no = $1 LIMIT 1",
	.arguments = "t"
};
static Statement payment_waits = {
	.sql = "SELECT 1 FROM payorder.callbacks_waiting"
	" WHERE gateway = $1 AND txn_id = $2 AND event IN ('pay', 'pay_part')"
	" LIMIT 1",
	.arguments = "tt"
};

/* How a payment is named in reviews. */
char *
payorder_payment_subject(const Payment *payment)
{
	return psprintf("%s:%s", payment->gateway, payment->txn_id);
}

/* Says that a person is needed for a payment: a review, and an event. */
void
payorder_payment_alarm(Order *order, const Payment *payment,
					   const char *cause, int64 amount)
{
	ReviewRequest review = {0};
	Cause		why = {.actor = "payorder",.source = "kernel"};

	review.subject = payorder_payment_subject(payment);
	review.cause = cause;
	review.order_no = payment->order_no;
	review.gateway = payment->gateway;
	review.txn_id = payment->txn_id;
	review.amount = &amount;
	review.currency = payment->currency;
	why.reason = cause;
	if (payorder_task_review(&review))
		payorder_payment_event(payment, order, "alarm", &why);
}

/* Money in review without a review, and not that of a callback that waits. */
static bool
needs_review(const Payment *payment)
{
	return !payorder_task_has_review(payorder_payment_subject(payment),
									 "conflict") &&
		payorder_query(&payment_waits, payment->gateway,
					   payment->txn_id)->count == 0;
}

/*
 * Has a person look at what a payment owes without a refund, at what is in
 * review and at what was overdrawn, and ends such reviews whose cause is gone.
 */
void
payorder_payment_watch(Order *order, const Payment *payment)
{
	const Pots *pots = &payment->pots;
	int64		owed = pots->owed == 0 ? 0 : payorder_refund_free_owed(payment);
	const char *over[5];
	int			count = 0;

	if (owed > 0)
		payorder_payment_alarm(order, payment, "owed", owed);
	else
	{
		over[count++] = "owed";
		over[count++] = "refund_reversed";
	}
	if (pots->overdrawn > 0)
		payorder_payment_alarm(order, payment, "overdrawn", pots->overdrawn);
	else
		over[count++] = "overdrawn";
	if (pots->review == 0)
	{
		over[count++] = "mismatch";
		over[count++] = "conflict";
	}
	else if (needs_review(payment))
		payorder_payment_alarm(order, payment, "mismatch", pots->review);
	payorder_task_close_reviews(payorder_payment_subject(payment), over,
								count);
}

/* A person must say how a refund stands. */
void
payorder_refund_doubt(Order *order, const Refund *refund, const char *why)
{
	ReviewRequest review = {0};
	Cause		cause = {.actor = "payorder",.source = "kernel"};
	About		about = {refund->gateway, refund->txn_id};

	review.subject = refund->refund_no;
	review.cause = why;
	review.order_no = refund->order_no;
	review.gateway = refund->gateway;
	review.refund_no = refund->refund_no;
	review.amount = &refund->amount;
	review.currency = refund->currency;
	cause.reason = why;
	cause.payload = payorder_json_object("t", "refund_no", refund->refund_no);
	if (payorder_task_review(&review) && order != NULL)
		payorder_order_event(order, "alarm", &about, &cause);
}

/*
 * A try to refund ended without a final answer: nothing is freed; without
 * another try a person must see to it.
 */
void
payorder_refund_unanswered(Order *order, const char *refund_no,
						   TimestampTz first_tried_at, bool dead)
{
	Refund	   *refund = payorder_refund_lock(refund_no);

	if (refund == NULL || !payorder_refund_is_open(refund))
		return;
	if (refund->state == REFUND_ASKED)
		refund->state = REFUND_IN_DOUBT;
	if (refund->first_tried_at == NO_TIME)
		refund->first_tried_at = first_tried_at;
	payorder_refund_save(refund);
	if (dead)
		payorder_refund_doubt(order, refund, "in_doubt");
}

/*
 * No more is asked about a refund, and a person must see to it; not while its
 * own task, which asks again, goes on.
 */
void
payorder_refund_query_dead(Order *order, const char *refund_no)
{
	Refund	   *refund = payorder_refund_lock(refund_no);

	if (refund != NULL && payorder_refund_is_open(refund) &&
		refund->state != REFUND_ASKED)
		payorder_refund_doubt(order, refund, "in_doubt");
}

static char *
query_key(const Refund *refund)
{
	return psprintf("query_refund:%s", refund->refund_no);
}

/* Has a worker ask the gateway how a refund stands. */
void
payorder_refund_query(const Refund *refund, TimestampTz run_at)
{
	TaskRequest task = {.not_after = NO_TIME};

	task.kind = "query_refund";
	task.order_no = refund->order_no;
	task.gateway = refund->gateway;
	task.dedup_key = query_key(refund);
	task.run_at = run_at;
	task.payload = payorder_json_object("tttlt",
										"refund_no", refund->refund_no,
										"gateway_refund_id",
										refund->gateway_refund_id,
										"txn_id", refund->txn_id,
										"amount", refund->amount,
										"currency", refund->currency);
	payorder_task_enqueue(&task);
}

/*
 * Puts money back into a payment: first against what was overdrawn; if the
 * payment was reversed, it is nobody's any more.
 */
void
payorder_payment_give_back(Payment *payment, int64 kept, int64 owed, int64 review)
{
	int64		covered = Min(payment->pots.overdrawn, owed);

	payment->pots.overdrawn -= covered;
	owed -= covered;
	covered = Min(payment->pots.overdrawn, review);
	payment->pots.overdrawn -= covered;
	review -= covered;
	covered = Min(payment->pots.overdrawn, kept);
	payment->pots.overdrawn -= covered;
	kept -= covered;
	if (payment->reversed_at != NO_TIME)
		payment->pots.undone += kept + owed + review;
	else
	{
		payment->pots.kept += kept;
		payment->pots.owed += owed;
		payment->pots.review += review;
	}
}

/* Nobody need look at a refund any more. */
void
payorder_refund_end_reviews(const Refund *refund)
{
	static const char *const causes[] = {
		"in_doubt", "stuck", "refund_differs", "claimed",
		"auto_return_limit", "refund_limit", "not_confirmed"
	};

	payorder_task_close_reviews(refund->refund_no, causes, lengthof(causes));
}

/* Ends a refund, its task and its reviews. */
static void
end_refund(Refund *refund, RefundState state)
{
	refund->state = state;
	refund->ended_at = payorder_now();
	payorder_refund_save(refund);
	if (refund->task_id != 0)
		payorder_task_cancel_needless(refund->task_id);
	payorder_task_cancel_dead(refund->order_no,
							  query_key(refund));
	payorder_refund_end_reviews(refund);
	payorder_first_decision_over(refund->refund_no);
}

static void
note_cancelled(Order *order, Payment *payment, const Refund *refund)
{
	Cause		cause = {.actor = "payorder",.source = "kernel"};
	char	   *moved = payorder_payment_save(payment, order);

	cause.payload = payorder_json_object("tj", "refund_no", refund->refund_no,
										 "moved", moved);
	payorder_payment_event(payment, order, "refund_cancelled", &cause);
}

/* The money of an open refund goes back to where it came from. */
static void
take_back(Payment *payment, const Refund *refund)
{
	payment->pots.returning -= refund->amount;
	payorder_payment_give_back(payment, refund->from_kept, refund->from_owed,
							   refund->from_review);
}

/*
 * Cancels a refund that is held or asked if no worker ever had its task; its
 * money goes back to where it came from.  False if a worker had.
 */
bool
payorder_refund_cancel(Order *order, Payment *payment, Refund *refund)
{
	if (refund->state == REFUND_HELD)
	{
		/* It lies in owed; what came from kept goes there again. */
		payment->pots.owed -= refund->from_kept;
		payorder_payment_give_back(payment, refund->from_kept, 0, 0);
	}
	else
	{
		if (!payorder_refund_is_open(refund) ||
			refund->state == REFUND_STUCK || refund->task_id == 0 ||
			!payorder_task_cancel_unclaimed(refund->task_id))
			return false;
		take_back(payment, refund);
	}
	end_refund(refund, REFUND_CANCELLED);
	note_cancelled(order, payment, refund);
	return true;
}

/* An open refund that the gateway never got is not sent any more. */
void
payorder_refund_never_sent(Order *order, Payment *payment, Refund *refund)
{
	take_back(payment, refund);
	end_refund(refund, REFUND_CANCELLED);
	note_cancelled(order, payment, refund);
	payorder_payment_watch(order, payment);
}

/*
 * Cancels all refunds of a payment whose tasks nobody has claimed; has a
 * person look at the others, and the gateway asked about them if query says
 * so.
 */
void
payorder_refunds_cancel(Order *order, Payment *payment, bool query)
{
	int			count;
	Refund	   *refunds = payorder_refunds_lock(payment, &count);

	for (int i = 0; i < count; i++)
	{
		bool		is_open = payorder_refund_is_open(&refunds[i]);

		if (!is_open && refunds[i].state != REFUND_HELD)
			continue;
		if (payorder_refund_cancel(order, payment, &refunds[i]))
			continue;
		if (query)
			payorder_refund_query(&refunds[i], payorder_now());
		payorder_refund_doubt(order, &refunds[i], "claimed");
	}
}

static int64
room(const Payment *payment)
{
	return payorder_refund_free_owed(payment) + payment->pots.review +
		payment->pots.kept;
}

/* Cancels unclaimed refunds, newest first, until an amount fits. */
static void
make_room(Order *order, Payment *payment, int64 amount)
{
	int			count;
	Refund	   *refunds = payorder_refunds_lock(payment, &count);

	for (int i = 0; i < count && room(payment) < amount; i++)
	{
		if (refunds[i].state == REFUND_HELD ||
			payorder_refund_is_open(&refunds[i]))
			payorder_refund_cancel(order, payment, &refunds[i]);
	}
	if (room(payment) >= amount)
		return;
	for (int i = 0; i < count; i++)
	{
		if (!payorder_refund_is_open(&refunds[i]))
			continue;
		payorder_refund_query(&refunds[i], payorder_now());
		payorder_refund_doubt(order, &refunds[i], "claimed");
	}
}

static int64
take(int64 *pot, int64 most, int64 *wanted)
{
	int64		taken = Min(Min(*pot, most), *wanted);

	*pot -= taken;
	*wanted -= taken;
	return taken;
}

/* Money that went back without us: owed, then review, then kept. */
static void
take_external(Order *order, Payment *payment, Refund *refund, int64 amount)
{
	int64		wanted = amount;

	make_room(order, payment, amount);
	refund->from_owed = take(&payment->pots.owed,
							 payorder_refund_free_owed(payment), &wanted);
	refund->from_review = take(&payment->pots.review, PG_INT64_MAX, &wanted);
	refund->from_kept = take(&payment->pots.kept, PG_INT64_MAX, &wanted);
	payment->pots.returned += amount;
	payment->pots.overdrawn += wanted;
}

static void
note_success(Refund *refund, const RefundWord *word)
{
	if (word->gateway_refund_id != NULL)
		refund->gateway_refund_id = word->gateway_refund_id;
	refund->succeeded_at = word->occurred_at != NO_TIME ?
		word->occurred_at : payorder_now();
}

/* Our open or held refund went through (line 31). */
char *
payorder_refund_succeed(Order *order, Payment *payment, Refund *refund,
						const RefundWord *word)
{
	char	   *moved;

	if (refund->state == REFUND_HELD)
		payment->pots.owed -= refund->amount;
	else
		payment->pots.returning -= refund->amount;
	payment->pots.returned += refund->amount;
	note_success(refund, word);
	moved = payorder_payment_save(payment, order);
	end_refund(refund, REFUND_SUCCEEDED);
	payorder_payment_watch(order, payment);
	return moved;
}

/* A refund that is not ours went through (lines 33 and 35). */
char *
payorder_refund_external(Order *order, Payment *payment,
						 const RefundWord *word)
{
	Refund		refund = {0};
	uint8		digest[SHA256_BYTES];
	char	   *moved;

	refund.refund_no = psprintf("%s:%s", payment->gateway,
								word->gateway_refund_id);
	if (strlen(refund.refund_no) > LONGEST_REFUND_NO)
	{
		payorder_sha256(refund.refund_no, strlen(refund.refund_no), digest);
		refund.refund_no = psprintf("external:%s",
									payorder_hex(digest, SHA256_BYTES));
	}
	refund.gateway = payment->gateway;
	refund.txn_id = payment->txn_id;
	refund.order_no = payment->order_no;
	refund.amount = word->amount;
	refund.currency = payment->currency;
	refund.cause = "external";
	refund.state = REFUND_SUCCEEDED;
	refund.reason = word->refund_no;
	refund.actor = word->actor;
	refund.requested_at = payorder_now();
	refund.asked_at = refund.first_tried_at = NO_TIME;
	refund.ended_at = payorder_now();
	note_success(&refund, word);
	take_external(order, payment, &refund, word->amount);
	if (!payorder_refund_insert(&refund))
		elog(ERROR, "external refund \"%s\" exists already",
			 refund.refund_no);
	moved = payorder_payment_save(payment, order);
	payorder_payment_watch(order, payment);
	return moved;
}

/* Our refund that had ended without success went through (line 34). */
char *
payorder_refund_resurrect(Order *order, Payment *payment, Refund *refund,
						  const RefundWord *word)
{
	char	   *moved;

	refund->amount = word->amount;
	refund->kept_again = 0;
	take_external(order, payment, refund, word->amount);
	note_success(refund, word);
	moved = payorder_payment_save(payment, order);
	end_refund(refund, REFUND_SUCCEEDED);
	payorder_payment_watch(order, payment);
	payorder_task_close_review(payorder_payment_subject(payment),
							   "refund_reversed");
	return moved;
}

/* Money of a refund that failed comes back from a pot: it is owed again. */
static char *
come_back(Order *order, Payment *payment, Refund *refund, int64 *pot,
		  RefundState state)
{
	char	   *moved;

	*pot -= refund->amount;
	payorder_payment_give_back(payment, 0, refund->amount, 0);
	moved = payorder_payment_save(payment, order);
	end_refund(refund, state);
	payorder_payment_watch(order, payment);
	return moved;
}

/* Our open refund failed for good (line 39). */
char *
payorder_refund_fail(Order *order, Payment *payment, Refund *refund)
{
	return come_back(order, payment, refund, &payment->pots.returning,
					 REFUND_FAILED);
}

/* Our refund failed after its success (line 38). */
char *
payorder_refund_reverse(Order *order, Payment *payment, Refund *refund)
{
	return come_back(order, payment, refund, &payment->pots.returned,
					 REFUND_REVERSED);
}

/* Our open refund can't go through, and has not ended (line 40). */
void
payorder_refund_stick(Order *order, Payment *payment, Refund *refund)
{
	refund->state = REFUND_STUCK;
	payorder_refund_save(refund);
	if (refund->task_id != 0)
		payorder_task_cancel_needless(refund->task_id);
	payorder_refund_doubt(order, refund, "stuck");
}

static void
enqueue_refund_all(Order *order)
{
	TaskRequest task = {.not_after = NO_TIME};

	task.kind = "refund_all";
	task.order_no = order->order_no;
	task.dedup_key = psprintf("refund_all:%s", order->order_no);
	task.run_at = payorder_now();
	task.payload = payorder_json_object("t", "order_no", order->order_no);
	payorder_task_enqueue(&task);
}

/*
 * Ends a change of an order's money: writes the amounts, and takes the
 * `refunded` edge if nothing of what was paid is left; what is kept in a state
 * whose entry refunds all is refunded too.  order may be NULL.
 */
void
payorder_refund_settle(Order *order)
{
	Cause		cause = {.actor = "payorder",.source = "kernel"};
	const Edge *edge;

	if (order == NULL)
		return;
	edge = payorder_state_edge(order->state, "refunded");
	if (edge != NULL && payorder_guard_holds("nothing_left", order))
	{
		payorder_order_take(order, edge, NULL, &cause);
		return;
	}
	payorder_order_save(order);
	if (payorder_order_refunds_on_entry(order) &&
		payorder_payments_sum(order->order_no).sum.kept > 0)
		enqueue_refund_all(order);
}

/*
 * Has workers ask about all refunds that are open, or were asked for or ended
 * since; how many more are asked about than were.
 */
int
payorder_refunds_requery(TimestampTz since, const char *gateway)
{
	int			asked = 0;
	int			count;
	Refund	   *refunds = payorder_refunds_touched(since, gateway, &count);

	for (int i = 0; i < count; i++)
	{
		if (payorder_task_is_asked(query_key(&refunds[i])))
			continue;
		payorder_refund_query(&refunds[i], payorder_now());
		asked++;
	}
	return asked;
}

static void
query_open_refunds(Order *order)
{
	int			count;
	Refund	   *refunds = payorder_refunds_open(order->order_no, &count);

	for (int i = 0; i < count; i++)
		payorder_refund_query(&refunds[i], payorder_now());
}

/* Nothing about the order's money is unsettled. */
static bool
money_quiet(Order *order)
{
	int			count;

	payorder_refunds_open(order->order_no, &count);
	return !order->frozen && order->disputed == 0 && count == 0 &&
		payorder_query(&any_waiting, order->order_no)->count == 0;
}

void
payorder_refund_register(void)
{
	payorder_register_guard("money_quiet", money_quiet);
	payorder_register_fan_out("query_refund", query_open_refunds);
	payorder_register_fan_out("refund_all", enqueue_refund_all);
}
