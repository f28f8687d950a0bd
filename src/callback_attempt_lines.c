/*-------------------------------------------------------------------------
 *
 * callback_attempt_lines.c
 *		The list of what ingest decides, its section about attempts.
 *
 * As in callback_lines.c: the first line that holds decides.  The order is
 * locked.  None of these messages brings money.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "callback_decision.h"

static bool
has_payment(Decision *d)
{
	return d->payment != NULL ||
		(d->attempt != NULL && strcmp(d->attempt->state, "paid") == 0);
}

static void
stale_after_pay(Decision *d)
{
	payorder_decide(d, "stale", NULL);
	if (d->message.event == EVENT_PAY_CLOSED && d->attempt != NULL)
		payorder_attempt_query(d->attempt);
}

static bool
attempt_ended(Decision *d)
{
	return d->attempt != NULL && !payorder_attempt_is_open(d->attempt);
}

static bool
ends_attempt(Decision *d)
{
	return d->attempt != NULL &&
		(d->message.event == EVENT_PAY_CLOSED || d->gateway->failed_is_final);
}

static bool
can_confirm_close(Decision *d)
{
	return payorder_order_is_closing(d->order) &&
		payorder_guard_holds("no_open_attempt", d->order);
}

static void
end_attempt(Decision *d)
{
	payorder_decide(d, "applied", "attempt");
	payorder_attempt_end(d->attempt, d->message.event == EVENT_PAY_CLOSED ?
						 "closed" : "failed",
						 strcmp(d->message.source, "query") == 0);
	if (can_confirm_close(d))	/* 24 */
		d->edge = payorder_order_edge(d->order, "close_confirmed");
}

static bool
attempt_open(Decision *d)
{
	return d->attempt != NULL;
}

static void
note(Decision *d)
{
	payorder_decide(d, "applied", "noted");
	payorder_attempt_heard(d->attempt,
						   strcmp(d->message.source, "query") == 0);
}

static bool
confirms_close(Decision *d)
{
	return d->message.event == EVENT_PAY_CLOSED && can_confirm_close(d);
}

static void
confirm_close(Decision *d)
{
	payorder_decide(d, "applied", NULL);
	d->edge = payorder_order_edge(d->order, "close_confirmed");
}

/* Line 25a: the buyer's bank has said yes, and no money moved yet. */
static bool
authorises_open(Decision *d)
{
	return d->attempt != NULL && payorder_attempt_is_open(d->attempt);
}

/* ---- the table ---- */

#define ATTEMPT_ENDS (EVENT_PAY_FAILED | EVENT_PAY_CLOSED)

const Line	payorder_attempt_lines[] = {
	{"21", ATTEMPT_ENDS, has_payment, stale_after_pay},
	{"22", ATTEMPT_ENDS, attempt_ended, payorder_stale},
	{"23", ATTEMPT_ENDS, ends_attempt, end_attempt},
	{"23", ATTEMPT_ENDS, attempt_open, note},
	{"25", ATTEMPT_ENDS, confirms_close, confirm_close},
	{"25", ATTEMPT_ENDS, payorder_always, payorder_stale},
	{"25a", EVENT_AUTHORISED, authorises_open, note},
	{"25a", EVENT_AUTHORISED, payorder_always, payorder_stale},
	{0}
};
