/*-------------------------------------------------------------------------
 *
 * refund_request.c
 *		Money going back: what the shop and the kernel ask for.
 *
 * A refund reserves its amount of one payment under the locks of order and
 * payment, and writes its row and its task in the same step.  Its number is
 * its idempotency key towards the gateway for ever.
 *
 * Late and excess money is returned by itself, but not at machine speed: the
 * refund is held, its task asks the gateway to confirm the payment after a
 * delay, and beyond an hourly limit it waits for a person.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "crypto.h"
#include "errors.h"
#include "json.h"
#include "refund.h"
#include "relation.h"
#include "task.h"
#include "timer.h"

#define KERNEL_NUMBER_DIGITS	31

static Statement drain_parked = {
	.sql = "INSERT INTO payorder.timers (due_at, order_no, kind)"
	" SELECT $3, $2, 'drain' FROM payorder.callbacks_waiting"
	" WHERE refund_no = $1 LIMIT 1",
	.arguments = "ttz"
};
static Statement insert_salt = {
	.sql = "INSERT INTO payorder.installation"
	" (salt, system_identifier, database_oid)"
	" VALUES ($1, $2, (SELECT d.oid FROM pg_catalog.pg_database AS d"
	" WHERE d.datname = pg_catalog.current_database()))"
	" ON CONFLICT (only_row) DO NOTHING",
	.arguments = "yl"
};
static Statement get_salt = {
	.sql = "SELECT salt FROM payorder.installation",
	.arguments = ""
};
static Statement begin_hour = {
	.sql = "INSERT INTO payorder.automatic_returns"
	" (gateway, hour_began_at, returns, amounts) VALUES ($1, $2, 0, '{}')"
	" ON CONFLICT (gateway) DO NOTHING",
	.arguments = "tz"
};
static Statement count_return = {
	.sql = "UPDATE payorder.automatic_returns AS r SET"
	" hour_began_at = n.began,"
	" returns = n.returns + 1,"
	" amounts = pg_catalog.jsonb_set(n.amounts, ARRAY[$3],"
	" pg_catalog.to_jsonb(coalesce((n.amounts ->> $3)::numeric, 0) + $4))"
	" FROM (SELECT CASE WHEN fresh THEN $2 ELSE hour_began_at END AS began,"
	" CASE WHEN fresh THEN 0 ELSE returns END AS returns,"
	" CASE WHEN fresh THEN '{}'::jsonb ELSE amounts END AS amounts"
	" FROM (SELECT *, hour_began_at <= $2 - '1 hour'::interval AS fresh"
	" FROM payorder.automatic_returns WHERE gateway = $1 FOR UPDATE) AS l) AS n"
	" WHERE r.gateway = $1 AND n.returns < $5"
	" AND ($6 IS NULL OR"
	" coalesce((n.amounts ->> $3)::numeric, 0) + $4 <= $6)",
	.arguments = "tztliL"
};

PG_FUNCTION_INFO_V1(payorder_request_refund);

static bytea *
salt(void)
{
	Rows	   *rows = payorder_query(&get_salt);
	bytea	   *fresh;

	if (rows->count > 0)
		return rows->cells[0].bytes;
	fresh = palloc(VARHDRSZ + SHA256_BYTES);
	SET_VARSIZE(fresh, VARHDRSZ + SHA256_BYTES);
	if (!pg_strong_random(VARDATA(fresh), SHA256_BYTES))
		elog(ERROR, "could not generate random values");
	payorder_execute(&insert_salt, fresh, (int64) GetSystemIdentifier());
	rows = payorder_query(&get_salt);
	if (rows->count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access to payorder.installation"),
				 errhint("Retry the transaction.")));
	return rows->cells[0].bytes;
}

/*
 * The number of a refund that the kernel makes: the same again if the same
 * refund is made again after a rollback or a crash.
 */
static char *
kernel_number(const Payment *payment, const char *cause)
{
	StringInfoData text;
	uint8		digest[SHA256_BYTES];
	bytea	   *secret = salt();
	int			count;
	int			before = 0;
	Refund	   *refunds = payorder_refunds_lock(payment, &count);

	for (int i = 0; i < count; i++)
	{
		if (strcmp(refunds[i].cause, cause) == 0)
			before++;
	}
	initStringInfo(&text);
	appendBinaryStringInfo(&text, VARDATA(secret), SHA256_BYTES);
	appendStringInfo(&text, "%zu:%s,%zu:%s,%s,%d",
					 strlen(payment->gateway), payment->gateway,
					 strlen(payment->txn_id), payment->txn_id, cause, before);
	payorder_sha256(text.data, text.len, digest);
	return psprintf("R%.*s", KERNEL_NUMBER_DIGITS,
					payorder_hex(digest, SHA256_BYTES));
}

static Refund *
new_refund(const Payment *payment, const char *refund_no, int64 amount,
		   const char *cause, RefundState state)
{
	Refund	   *refund = palloc0(sizeof(Refund));

	refund->refund_no = refund_no;
	refund->gateway = payment->gateway;
	refund->txn_id = payment->txn_id;
	refund->order_no = payment->order_no;
	refund->amount = amount;
	refund->currency = payment->currency;
	refund->cause = cause;
	refund->state = state;
	refund->actor = "payorder";
	refund->requested_at = payorder_now();
	refund->asked_at = refund->first_tried_at = NO_TIME;
	refund->succeeded_at = refund->ended_at = NO_TIME;
	return refund;
}

static int64
enqueue_refund(const Payment *payment, const Refund *refund)
{
	TaskRequest task = {.not_after = NO_TIME};

	task.kind = "refund";
	task.order_no = refund->order_no;
	task.gateway = refund->gateway;
	task.idempotency_key = refund->refund_no;
	task.run_at = payorder_now();
	task.payload = payorder_json_object("tttltlt",
										"refund_no", refund->refund_no,
										"txn_id", refund->txn_id,
										"payment_no", payment->payment_no,
										"amount", refund->amount,
										"currency", refund->currency,
										"payment_amount", payment->amount,
										"reason", refund->reason);
	return payorder_task_enqueue(&task);
}

static void
note_request(Order *order, Payment *payment, const Refund *refund,
			 const char *event, const char *moved)
{
	Cause		cause = {.source = "kernel"};

	cause.actor = refund->actor;
	cause.reason = refund->reason;
	cause.payload = payorder_json_object("tltj",
										 "refund_no", refund->refund_no,
										 "amount", refund->amount,
										 "cause", refund->cause,
										 "moved", moved);
	payorder_payment_event(payment, order, event, &cause);
}

/*
 * Reserves a refund's amount and has a worker ask the gateway for it; the row
 * is new here, or was held.
 */
static void
ask(Order *order, Payment *payment, Refund *refund, int64 from_owed,
	int64 from_kept)
{
	bool		was_held = refund->state == REFUND_HELD;
	char	   *moved;

	payment->pots.owed -= from_owed;
	payment->pots.kept -= from_kept;
	payment->pots.returning += refund->amount;
	refund->from_owed = from_owed;
	refund->from_kept = from_kept;
	refund->state = REFUND_ASKED;
	refund->asked_at = payorder_now();
	refund->task_id = enqueue_refund(payment, refund);
	moved = payorder_payment_save(payment, order);
	if (was_held)
		payorder_refund_save(refund);
	else if (!payorder_refund_insert(refund))
		ereport(ERROR,
				(errcode(ERRCODE_PO_KEY_REUSED),
				 errmsg("refund_no \"%s\" was used for another refund",
						refund->refund_no),
				 errhint("Give each refund a number of its own.")));
	note_request(order, payment, refund, "refund_asked", moved);
	if (refund->order_no != NULL)
		payorder_execute(&drain_parked, refund->refund_no, refund->order_no,
						 payorder_now());
	payorder_payment_watch(order, payment);
}

/* Whether the hour's limits allow one more automatic return; counts it. */
static bool
within_limits(const Payment *payment, const Gateway *gateway, int64 amount)
{
	payorder_execute(&begin_hour, payment->gateway, payorder_now());
	return payorder_execute(&count_return, payment->gateway, payorder_now(),
							payment->currency, amount,
							gateway->auto_return_per_hour,
							gateway->auto_return_amount) == 1;
}

/* The payments that the gateway must confirm before one goes back. */
static char *
to_confirm(const Order *order, const Payment *payment, const char *cause)
{
	StringInfoData list;
	Payment    *payments;
	int			count = 0;

	initStringInfo(&list);
	appendStringInfo(&list, "[%s",
					 payorder_json_object("ttt", "gateway", payment->gateway,
										  "txn_id", payment->txn_id,
										  "payment_no", payment->payment_no));
	if (order != NULL && strcmp(cause, "excess") == 0)
	{
		payments = payorder_payments_lock(order->order_no, &count);
		for (int i = 0; i < count; i++)
		{
			if (payments[i].disposition == DISPOSITION_ORDER &&
				strcmp(payments[i].gateway, "none") != 0)
				appendStringInfo(&list, ", %s",
								 payorder_json_object("ttt",
													  "gateway", payments[i].gateway,
													  "txn_id", payments[i].txn_id,
													  "payment_no", payments[i].payment_no));
		}
	}
	appendStringInfoChar(&list, ']');
	return list.data;
}

static int64
enqueue_return(const Order *order, const Payment *payment,
			   const Refund *refund, const Gateway *gateway)
{
	TaskRequest task = {.not_after = NO_TIME};

	task.kind = "return";
	task.order_no = refund->order_no;
	task.gateway = refund->gateway;
	task.dedup_key = psprintf("return:%s", refund->refund_no);
	task.run_at = payorder_now() + gateway->return_delay;
	task.payload = payorder_json_object("tttltj",
										"refund_no", refund->refund_no,
										"txn_id", payment->txn_id,
										"payment_no", payment->payment_no,
										"amount", refund->amount,
										"currency", refund->currency,
										"confirm", to_confirm(order, payment,
															  refund->cause));
	return payorder_task_enqueue(&task);
}

/*
 * Has what a payment owes returned by itself: holds the refund and asks the
 * gateway for confirmation, or beyond the hour's limits a person.  The
 * payment is saved already.  False if nothing is owed or it is under way.
 */
bool
payorder_refund_return(Order *order, Payment *payment,
					   const Gateway *gateway, const char *cause)
{
	int64		amount = payorder_refund_free_owed(payment);
	Refund	   *refund;

	if (amount == 0)
		return false;
	refund = new_refund(payment, kernel_number(payment, cause), amount, cause,
						REFUND_HELD);
	refund->from_owed = amount;
	if (within_limits(payment, gateway, amount))
		refund->task_id = enqueue_return(order, payment, refund, gateway);
	if (!payorder_refund_insert(refund))
		elog(ERROR, "refund \"%s\" exists already", refund->refund_no);
	note_request(order, payment, refund, "refund_held", NULL);
	if (refund->task_id == 0)
		payorder_refund_doubt(order, refund, "auto_return_limit");
	return true;
}

/* The gateway has confirmed a payment whose return is held. */
void
payorder_refund_confirm(Order *order, Payment *payment, Refund *refund)
{
	ask(order, payment, refund, refund->amount, 0);
}

static bool
has_stuck(const Payment *payment)
{
	int			count;
	Refund	   *refunds = payorder_refunds_lock(payment, &count);

	for (int i = 0; i < count; i++)
	{
		if (refunds[i].state == REFUND_STUCK)
			return true;
	}
	return false;
}

static void
refund_rest(Order *order, Payment *payment)
{
	int64		owed = payorder_refund_free_owed(payment);
	int64		amount = owed + payment->pots.kept;
	Refund	   *refund;

	if (payment->pots.kept == 0 || has_stuck(payment))
		return;
	refund = new_refund(payment, kernel_number(payment, "order"), amount,
						"order", REFUND_ASKED);
	refund->reason = "refund_all";
	ask(order, payment, refund, owed, payment->pots.kept);
}

/*
 * Refunds all that is kept of an order, one refund for each payment.  Safe to
 * repeat: what was asked for is not kept any more.  With nothing of the
 * order's money left anywhere it takes the `refunded` edge.
 */
void
payorder_refund_everything(Order *order)
{
	Cause		cause = {.actor = "payorder",.source = "kernel"};
	const Edge *edge;
	OrderPots	pots;
	Payment    *payments;
	int			count;

	if (!payorder_order_refunds_on_entry(order))
		return;
	payments = payorder_payments_lock(order->order_no, &count);
	for (int i = 0; i < count; i++)
	{
		if (payments[i].disposition == DISPOSITION_ORDER)
			refund_rest(order, &payments[i]);
	}
	pots = payorder_payments_sum(order->order_no);
	edge = payorder_state_edge(order->state, "refunded");
	if (edge != NULL && pots.sum.kept == 0 && pots.sum.review == 0 &&
		pots.sum.owed == 0 && pots.sum.returning == 0 &&
		pots.sum.disputed == 0)
		payorder_order_take(order, edge, NULL, &cause);
	else
		payorder_order_save(order);
}

static void
check_refund_no(const char *refund_no)
{
	size_t		length = strlen(refund_no);

	if (length < 8 || length > 32 ||
		strspn(refund_no, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != length)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid refund_no"),
				 errhint("A refund_no is 8 to 32 letters, digits or \"_\", which all gateways take.")));
}

static void
several_payments(const Payment *payments, int count)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < count; i++)
		appendStringInfo(&names, "%s%s", i == 0 ? "" : ", ",
						 payorder_payment_subject(&payments[i]));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("order \"%s\" has several payments", payments[0].order_no),
			 errdetail("They are %s.", names.data),
			 errhint("Name the one to refund with payment, and gateway.")));
}

/* The payment to refund: the one that is named, or the order's only one. */
static Payment *
choose_payment(const Order *order, const char *txn_id, const char *gateway)
{
	int			count;
	int			found = 0;
	Payment    *payments = payorder_payments_lock(order->order_no, &count);
	Payment    *fitting = palloc0(sizeof(Payment) * Max(count, 1));

	for (int i = 0; i < count; i++)
	{
		if ((txn_id == NULL ?
			 payments[i].disposition == DISPOSITION_ORDER :
			 strcmp(payments[i].txn_id, txn_id) == 0) &&
			(gateway == NULL || strcmp(payments[i].gateway, gateway) == 0))
			fitting[found++] = payments[i];
	}
	if (found > 1)
		several_payments(fitting, found);
	if (found == 0)
		ereport(ERROR,
				(errcode(ERRCODE_PO_REFUND_EXCEEDS),
				 errmsg("order \"%s\" has no such payment to refund",
						order->order_no),
				 errhint("See payorder.payments for what was paid.")));
	return fitting;
}

typedef struct RefundCall
{
	const char *refund_no;
	const char *order_no;
	bool		has_amount;
	int64		amount;
	const char *reason;
	const char *txn_id;
	const char *currency;
	const char *gateway;
	const char *actor;
} RefundCall;

static RefundCall
read_call(FunctionCallInfo fcinfo)
{
	RefundCall	call = {0};

	call.refund_no = payorder_required_text(fcinfo, 0, "refund_no");
	call.order_no = payorder_required_text(fcinfo, 1, "order_no");
	call.has_amount = !PG_ARGISNULL(2);
	call.amount = call.has_amount ? PG_GETARG_INT64(2) : 0;
	call.reason = payorder_text_argument(fcinfo, 3);
	call.txn_id = payorder_text_argument(fcinfo, 4);
	call.currency = payorder_text_argument(fcinfo, 5);
	call.gateway = payorder_text_argument(fcinfo, 6);
	call.actor = payorder_text_argument(fcinfo, 7);
	if (call.actor == NULL)
		call.actor = GetUserNameFromId(GetSessionUserId(), false);
	check_refund_no(call.refund_no);
	if (call.has_amount && call.amount <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_PO_AMOUNT_INVALID),
				 errmsg("amount to refund must be positive"),
				 errhint("Give it in minor units, or leave it out to refund all.")));
	return call;
}

/* Whether a refund of this number is the same request; PO014 if not. */
static void
check_repeated(const RefundCall *call, const Refund *refund)
{
	if (refund->order_no != NULL &&
		strcmp(refund->order_no, call->order_no) == 0 &&
		(!call->has_amount || refund->amount == call->amount) &&
		(call->txn_id == NULL || strcmp(refund->txn_id, call->txn_id) == 0) &&
		(call->gateway == NULL || strcmp(refund->gateway, call->gateway) == 0) &&
		(call->currency == NULL ||
		 strcmp(refund->currency, call->currency) == 0))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PO_KEY_REUSED),
			 errmsg("refund_no \"%s\" was used for another refund",
					call->refund_no),
			 errhint("Give each refund a number of its own.")));
}

static void
check_refundable(const RefundCall *call, const Payment *payment,
				 int64 available)
{
	if (call->currency != NULL &&
		strcmp(call->currency, payment->currency) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_PO_AMOUNT_INVALID),
				 errmsg("payment was made in %s", payment->currency),
				 errhint("A refund has its payment's currency.")));
	if (has_stuck(payment))
		ereport(ERROR,
				(errcode(ERRCODE_PO_REFUND_EXCEEDS),
				 errmsg("a refund of this payment is stuck at the gateway"),
				 errhint("A second one could pay twice; first settle the stuck one.")));
	if (available == 0 || (call->has_amount && call->amount > available))
		ereport(ERROR,
				(errcode(ERRCODE_PO_REFUND_EXCEEDS),
				 errmsg("refund exceeds what can be refunded"),
				 errdetail("Of this payment of order \"%s\" " INT64_FORMAT " can be refunded.",
						   call->order_no, available),
				 errhint("See payorder.payments and payorder.refunds for what went back already.")));
}

static Refund *
request(const RefundCall *call, Order *order)
{
	Payment    *payment = choose_payment(order, call->txn_id, call->gateway);
	int64		owed = payorder_refund_free_owed(payment);
	int64		kept = payment->disposition == DISPOSITION_ORDER ?
		payment->pots.kept : 0;
	int64		from_owed;
	Refund	   *refund;

	check_refundable(call, payment, owed + kept);
	refund = new_refund(payment, call->refund_no,
						call->has_amount ? call->amount : owed + kept,
						"order", REFUND_ASKED);
	refund->reason = call->reason;
	refund->actor = call->actor;
	from_owed = Min(owed, refund->amount);
	ask(order, payment, refund, from_owed, refund->amount - from_owed);
	payorder_order_save(order);
	return refund;
}

static Datum
refund_info(FunctionCallInfo fcinfo, const Refund *refund)
{
	Datum		values[10];
	bool		nulls[10] = {0};

	values[0] = CStringGetTextDatum(refund->refund_no);
	nulls[1] = refund->order_no == NULL;
	values[1] = nulls[1] ? (Datum) 0 : CStringGetTextDatum(refund->order_no);
	values[2] = CStringGetTextDatum(refund->gateway);
	values[3] = CStringGetTextDatum(refund->txn_id);
	values[4] = Int64GetDatum(refund->amount);
	values[5] = CStringGetTextDatum(refund->currency);
	values[6] = CStringGetTextDatum(refund->cause);
	values[7] = CStringGetTextDatum(payorder_refund_state_name(refund->state));
	values[8] = TimestampTzGetDatum(refund->requested_at);
	nulls[9] = refund->succeeded_at == NO_TIME;
	values[9] = TimestampTzGetDatum(refund->succeeded_at);
	return payorder_composite(fcinfo, values, nulls);
}

Datum
payorder_request_refund(PG_FUNCTION_ARGS)
{
	RefundCall	call = read_call(fcinfo);
	Order	   *order;
	Refund	   *refund;

	payorder_prevent_read_only("request_refund()");
	order = payorder_order_required(payorder_order_lock(call.order_no),
									call.order_no);
	refund = payorder_refund_find(call.refund_no);
	if (refund != NULL)
		check_repeated(&call, refund);
	else
		refund = request(&call, order);
	PG_RETURN_DATUM(refund_info(fcinfo, refund));
}
