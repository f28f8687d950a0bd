/*-------------------------------------------------------------------------
 *
 * attempt.c
 *		Tries to pay an order, and their numbers.
 *
 * An attempt is opened, and ends paid, failed or closed, under its order's
 * lock; until it ends it is in doubt.  Its payment_no goes to the gateway and
 * comes back; it has 125 random bits, so that no other installation's
 * callback ever names it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "attempt.h"
#include "crypto.h"
#include "errors.h"
#include "gateway_settings.h"
#include "json.h"
#include "relation.h"
#include "task.h"
#include "timer.h"

#define PAYMENT_NO_LENGTH	26

#define ATTEMPT_COLUMNS \
	"payment_no, order_no, gateway, amount, currency, state, expires_at," \
	" created_at"

static Statement find_attempt = {
	.sql = "SELECT " ATTEMPT_COLUMNS " FROM payorder.attempts WHERE payment_no = $1",
	.arguments = "t"
};
static Statement open_attempts = {
	.sql = "SELECT " ATTEMPT_COLUMNS " FROM payorder.attempts"
	" WHERE order_no = $1 AND state = 'open'",
	.arguments = "t"
};
static Statement attempts_at = {
	.sql = "SELECT 1 FROM payorder.attempts WHERE order_no = $1 AND gateway = $2"
	" LIMIT 1",
	.arguments = "tt"
};
static Statement insert_attempt = {
	.sql = "INSERT INTO payorder.attempts (" ATTEMPT_COLUMNS ")"
	" VALUES ($1, $2, $3, $4, $5, 'open', $6, $7)",
	.arguments = "tttltzz"
};
static Statement end_attempt = {
	.sql = "UPDATE payorder.attempts SET state = $2,"
	" answered_at = CASE WHEN $3 THEN coalesce(answered_at, $4)"
	" ELSE answered_at END,"
	" notified_at = CASE WHEN $3 THEN notified_at"
	" ELSE coalesce(notified_at, $4) END,"
	" applied_at = $4 WHERE payment_no = $1",
	.arguments = "ttbz"
};
static Statement mark_heard = {
	.sql = "UPDATE payorder.attempts SET"
	" answered_at = CASE WHEN $2 THEN coalesce(answered_at, $3)"
	" ELSE answered_at END,"
	" notified_at = CASE WHEN $2 THEN notified_at"
	" ELSE coalesce(notified_at, $3) END WHERE payment_no = $1",
	.arguments = "tbz"
};
static Statement mark_asked = {
	.sql = "UPDATE payorder.attempts SET asked_at = coalesce(asked_at, $2)"
	" WHERE payment_no = $1",
	.arguments = "tz"
};
static Statement touched_attempts = {
	.sql = "SELECT " ATTEMPT_COLUMNS " FROM payorder.attempts"
	" WHERE ($2 IS NULL OR gateway = $2)"
	" AND (state = 'open' OR created_at >= $1 OR applied_at >= $1)"
	" ORDER BY created_at, payment_no",
	.arguments = "zt"
};
static Statement wake_waiting = {
	.sql = "UPDATE payorder.callbacks_waiting SET next_at = $2"
	" WHERE order_no = $1 AND reason = 'attempt'",
	.arguments = "tz"
};

PG_FUNCTION_INFO_V1(payorder_begin_payment);

static Attempt *
read_attempts(Rows *rows, int *count)
{
	Attempt    *attempts = palloc0(sizeof(Attempt) * Max(rows->count, 1));

	*count = rows->count;
	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);
		Attempt    *attempt = &attempts[i];

		attempt->payment_no = payorder_read_text(&reader);
		attempt->order_no = payorder_read_text(&reader);
		attempt->gateway = payorder_read_text(&reader);
		attempt->amount = payorder_read_number(&reader);
		attempt->currency = payorder_read_text(&reader);
		attempt->state = payorder_read_text(&reader);
		attempt->expires_at = payorder_read_time(&reader);
		attempt->created_at = payorder_read_time(&reader);
	}
	return attempts;
}

static int
compare_attempts(const void *left, const void *right)
{
	const Attempt *a = left;
	const Attempt *b = right;

	if (a->created_at != b->created_at)
		return a->created_at < b->created_at ? -1 : 1;
	return strcmp(a->payment_no, b->payment_no);
}

/* The open attempts of an order, in the order in which they began. */
static Attempt *
find_open(const Order *order, int *count)
{
	Attempt    *attempts = read_attempts(payorder_query(&open_attempts,
														order->order_no),
										 count);

	qsort(attempts, *count, sizeof(Attempt), compare_attempts);
	return attempts;
}

/* The attempt with this number, NULL if there is none. */
Attempt *
payorder_attempt_find(const char *payment_no)
{
	int			count;
	Attempt    *attempt = read_attempts(payorder_query(&find_attempt,
													   payment_no), &count);

	return count == 0 ? NULL : attempt;
}

bool
payorder_attempt_is_open(const Attempt *attempt)
{
	return strcmp(attempt->state, "open") == 0;
}

/*
 * Ends an attempt; asked_for says that the gateway answered a question rather
 * than called by itself.
 */
void
payorder_attempt_end(Attempt *attempt, const char *state, bool asked_for)
{
	payorder_execute(&end_attempt, attempt->payment_no, state,
					 (int) asked_for, payorder_now());
	attempt->state = state;
}

/* The gateway said something about an attempt that doesn't end it. */
void
payorder_attempt_heard(const Attempt *attempt, bool asked_for)
{
	payorder_execute(&mark_heard, attempt->payment_no, (int) asked_for,
					 payorder_now());
}

bool
payorder_attempts_any_open(const Order *order)
{
	return payorder_query(&open_attempts, order->order_no)->count > 0;
}

/* Whether there ever was an attempt to pay the order at a gateway. */
bool
payorder_attempts_any_at(const Order *order, const char *gateway)
{
	return payorder_query(&attempts_at, order->order_no, gateway)->count > 0;
}

static char *
task_key(const Attempt *attempt, const char *kind)
{
	return psprintf("%s:%s", kind, attempt->payment_no);
}

static void
enqueue(const Attempt *attempt, const char *kind)
{
	TaskRequest task = {.not_after = NO_TIME};

	task.kind = kind;
	task.order_no = attempt->order_no;
	task.gateway = attempt->gateway;
	task.idempotency_key = attempt->payment_no;
	task.dedup_key = task_key(attempt, kind);
	task.run_at = payorder_now();
	task.payload = payorder_json_object("ttlt",
										"order_no", attempt->order_no,
										"payment_no", attempt->payment_no,
										"amount", attempt->amount,
										"currency", attempt->currency);
	payorder_task_enqueue(&task);
}

/* Has a worker ask the gateway about an attempt. */
void
payorder_attempt_query(const Attempt *attempt)
{
	enqueue(attempt, "query_payment");
	payorder_execute(&mark_asked, attempt->payment_no, payorder_now());
}

/*
 * Has workers ask about all attempts that are open, or began or ended since;
 * how many more are asked about than were.
 */
int
payorder_attempts_requery(TimestampTz since, const char *gateway)
{
	int			asked = 0;
	int			count;
	Attempt    *attempts = read_attempts(payorder_query(&touched_attempts,
														since, gateway),
										 &count);

	for (int i = 0; i < count; i++)
	{
		if (payorder_task_is_asked(task_key(&attempts[i], "query_payment")))
			continue;
		payorder_attempt_query(&attempts[i]);
		asked++;
	}
	return asked;
}

static void
query_open(Order *order)
{
	int			count;
	Attempt    *attempts = find_open(order, &count);

	for (int i = 0; i < count; i++)
		payorder_attempt_query(&attempts[i]);
}

/*
 * Has workers close the open attempts that would pay more than what is left,
 * but for one (NULL: none).
 */
void
payorder_attempts_close_others(Order *order, const Attempt *winner,
							   int64 left)
{
	int			count;
	Attempt    *attempts = find_open(order, &count);

	for (int i = 0; i < count; i++)
	{
		if (attempts[i].amount > left &&
			(winner == NULL ||
			 strcmp(attempts[i].payment_no, winner->payment_no) != 0))
			enqueue(&attempts[i], "close_payment");
	}
}

static void
close_open(Order *order)
{
	payorder_attempts_close_others(order, NULL, 0);
}

static bool
open_attempt(Order *order)
{
	return payorder_attempts_any_open(order);
}

void
payorder_attempt_register(void)
{
	payorder_register_guard("open_attempt", open_attempt);
	payorder_register_fan_out("query_payment", query_open);
	payorder_register_fan_out("close_payment", close_open);
}

static void
check_takes_payment(const Order *order)
{
	if ((payorder_order_is_open(order) || order->frozen) &&
		!payorder_order_is_closing(order) && !order->state->final)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PO_TRANSITION_REFUSED),
			 errmsg("order \"%s\" takes no payment in state \"%s\"",
					order->order_no, order->state->name),
			 errhint("It is paid, being closed, or closed.")));
}

static void
check_no_other(const Order *order, const Gateway *gateway, bool parallel)
{
	int			count;
	Attempt    *attempts = find_open(order, &count);

	for (int i = 0; i < count; i++)
	{
		bool		same = strcmp(attempts[i].gateway, gateway->name) == 0;

		if (parallel && (!same || gateway->parallel_attempts))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_PO_TRANSITION_REFUSED),
				 errmsg("order \"%s\" has an open attempt", order->order_no),
				 errdetail("Attempt \"%s\" at gateway \"%s\".",
						   attempts[i].payment_no, attempts[i].gateway),
				 same && parallel ?
				 errhint("The gateway's setting parallel_attempts allows a second one.") :
				 errhint("Wait for it to end, or allow another with parallel => true.")));
	}
}

static Gateway *
usable_gateway(const char *name)
{
	Gateway    *gateway = payorder_gateway(name, NULL, NULL);

	if (gateway == NULL || strcmp(name, "none") == 0)
		payorder_no_gateway(name);
	if (!gateway->enabled)
		ereport(ERROR,
				(errcode(ERRCODE_PO_NO_GATEWAY),
				 errmsg("gateway \"%s\" is disabled", name),
				 errhint("Enable it with alter_gateway(), or use another.")));
	return gateway;
}

static int64
amount_to_pay(const Order *order, bool given, int64 amount)
{
	int64		left = order->amount - order->paid;

	if (!given)
		amount = left;
	if (amount <= 0 || amount > left)
		ereport(ERROR,
				(errcode(ERRCODE_PO_AMOUNT_INVALID),
				 errmsg("amount to pay is out of range"),
				 errdetail("What is left to pay of order \"%s\" is " INT64_FORMAT ".",
						   order->order_no, left),
				 errhint("Leave the amount out to pay what is left.")));
	if (amount < left && payorder_state_edge(order->state, "pay_part") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PO_AMOUNT_INVALID),
				 errmsg("order \"%s\" cannot be paid in parts", order->order_no),
				 errhint("Leave the amount out to pay what is left.")));
	return amount;
}

/* A frozen order was paid in its time: its pay_by is over. */
static TimestampTz
expiry(const Order *order, FunctionCallInfo fcinfo)
{
	TimestampTz pay_by = order->frozen ? NO_TIME : order->pay_by;
	TimestampTz expires_at = PG_ARGISNULL(3) ? pay_by :
		Max(PG_GETARG_TIMESTAMPTZ(3), NO_TIME + 1);

	if (expires_at != NO_TIME && pay_by != NO_TIME && expires_at > pay_by)
		expires_at = pay_by;
	if (expires_at != NO_TIME && expires_at <= payorder_now())
		ereport(ERROR,
				(errcode(ERRCODE_PO_TRANSITION_REFUSED),
				 errmsg("time to pay order \"%s\" is over", order->order_no),
				 errhint("expires_at and the order's pay_by must lie ahead.")));
	return expires_at;
}

static void
note_begin(Order *order, const Attempt *attempt, const char *actor)
{
	Cause		cause = {.source = "begin_payment"};

	cause.actor = actor != NULL ? actor :
		GetUserNameFromId(GetSessionUserId(), false);
	cause.payload = payorder_json_object("ttl",
										 "payment_no", attempt->payment_no,
										 "gateway", attempt->gateway,
										 "amount", attempt->amount);
	payorder_order_event(order, "begin_payment", NULL, &cause);
}

static Datum
attempt_info(FunctionCallInfo fcinfo, const Attempt *attempt)
{
	Datum		values[8];
	bool		nulls[8] = {0};

	values[0] = CStringGetTextDatum(attempt->payment_no);
	values[1] = CStringGetTextDatum(attempt->order_no);
	values[2] = CStringGetTextDatum(attempt->gateway);
	values[3] = Int64GetDatum(attempt->amount);
	values[4] = CStringGetTextDatum(attempt->currency);
	values[5] = CStringGetTextDatum(attempt->state);
	values[6] = TimestampTzGetDatum(attempt->expires_at);
	nulls[6] = attempt->expires_at == NO_TIME;
	values[7] = TimestampTzGetDatum(attempt->created_at);
	return payorder_composite(fcinfo, values, nulls);
}

Datum
payorder_begin_payment(PG_FUNCTION_ARGS)
{
	Attempt		attempt = {0};
	Gateway    *gateway;
	Order	   *order;

	payorder_prevent_read_only("begin_payment()");
	attempt.order_no = payorder_required_text(fcinfo, 0, "order_no");
	attempt.gateway = payorder_required_text(fcinfo, 1, "gateway");
	gateway = usable_gateway(attempt.gateway);
	order = payorder_order_required(payorder_order_lock(attempt.order_no),
									attempt.order_no);
	check_takes_payment(order);
	check_no_other(order, gateway, !PG_ARGISNULL(4) && PG_GETARG_BOOL(4));
	attempt.amount = amount_to_pay(order, !PG_ARGISNULL(2),
								   PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2));
	attempt.currency = order->currency;
	attempt.state = "open";
	attempt.expires_at = expiry(order, fcinfo);
	attempt.created_at = payorder_now();
	attempt.payment_no = payorder_random_name('P', PAYMENT_NO_LENGTH);
	payorder_execute(&insert_attempt, attempt.payment_no, attempt.order_no,
					 attempt.gateway, attempt.amount, attempt.currency,
					 attempt.expires_at, attempt.created_at);
	note_begin(order, &attempt, payorder_text_argument(fcinfo, 5));
	if (gateway->require_attempt)
		payorder_execute(&wake_waiting, order->order_no, payorder_now());
	PG_RETURN_DATUM(attempt_info(fcinfo, &attempt));
}
