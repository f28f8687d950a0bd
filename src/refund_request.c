/*-------------------------------------------------------------------------
 *
 * refund_request.c
 *		Money going back: what the shop asks for, of one payment, of several,
 *		or all of it.
 *
 * What may go back at once, and how often, is limited (refund_limits.c): by
 * the payment's age and the number and size of its refunds, which the shop is
 * told; by the hour's share, beyond which a refund is held for a person.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "errors.h"
#include "guc.h"
#include "refund_limits.h"
#include "relation.h"

PG_FUNCTION_INFO_V1(payorder_request_refund);
PG_FUNCTION_INFO_V1(payorder_request_refunds);

/* What of a payment can be asked back, with its refunds. */
typedef struct Available
{
	Refund	   *refunds;
	int			count;
	int64		owed;			/* beyond what held returns will take */
	int64		kept;
	bool		stuck;
} Available;

static Available
available(const Payment *payment)
{
	Available	result = {0};
	int64		held = 0;

	result.refunds = payorder_refunds_lock(payment, &result.count);
	for (int i = 0; i < result.count; i++)
	{
		if (result.refunds[i].state == REFUND_HELD)
			held += result.refunds[i].amount;
		result.stuck |= result.refunds[i].state == REFUND_STUCK;
	}
	result.owed = Max(payment->pots.owed - held, 0);
	result.kept = payment->disposition == DISPOSITION_ORDER ?
		payment->pots.kept : 0;
	return result;
}

/* Asks for a refund, or holds it if a limit (NULL: none) says so. */
static void
ask_or_hold(Order *order, Payment *payment, Refund *refund,
			const Available *of, bool hold)
{
	int64		from_owed = Min(of->owed, refund->amount);
	int64		from_kept = refund->amount - from_owed;

	if (hold)
		payorder_refund_hold(order, payment, refund, from_owed, from_kept,
							 "refund_limit");
	else
		payorder_refund_ask(order, payment, refund, from_owed, from_kept);
}

static void
refund_kept(Order *order, Payment *payment)
{
	Available	of = available(payment);
	int64		amount = of.kept;
	RefundLimits limits;
	Refund	   *refund;
	bool		hold;

	if (amount == 0 || of.stuck)
		return;
	of.owed = 0;				/* came back once: that is a person's to retry */
	limits = payorder_refund_limits(payment->gateway, order);
	hold = payorder_refund_beyond(&limits, payment, of.refunds, of.count,
								  amount, amount) != NULL ||
		!payorder_refund_within_share(&limits, payment, amount);
	refund = payorder_refund_new(payment,
								 payorder_refund_kernel_number(payment, "order"),
								 amount, "order", REFUND_ASKED);
	refund->reason = "refund_all";
	ask_or_hold(order, payment, refund, &of, hold);
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
			refund_kept(order, &payments[i]);
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

/*
 * The payments that a refund can be of: the one that is named, or those of
 * the order.
 */
static Payment *
choose_payment(const Order *order, const char *txn_id, const char *gateway,
			   int *choices)
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
	*choices = found;
	return fitting;
}

static void
no_payment(const Order *order)
{
	ereport(ERROR,
			(errcode(ERRCODE_PO_REFUND_EXCEEDS),
			 errmsg("order \"%s\" has no such payment to refund",
					order->order_no),
			 errhint("See payorder.payments for what was paid.")));
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

static void
check_amount(const RefundCall *call)
{
	if (call->has_amount && call->amount <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_PO_AMOUNT_INVALID),
				 errmsg("amount to refund must be positive"),
				 errhint("Give it in minor units, or leave it out to refund all.")));
}

/* The order of a payment that is named by itself, NULL if it has none. */
static const char *
order_of_payment(FunctionCallInfo fcinfo, const char *gateway,
				 const char *txn_id)
{
	Payment    *payment;

	if (gateway == NULL || txn_id == NULL)
		payorder_required_text(fcinfo, 1, "order_no");
	payment = payorder_payment_find(gateway, txn_id);
	if (payment == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PO_REFUND_EXCEEDS),
				 errmsg("there is no such payment to refund"),
				 errhint("See payorder.payments for what was paid.")));
	return payment->order_no;
}

static RefundCall
read_call(FunctionCallInfo fcinfo)
{
	RefundCall	call = {0};

	call.refund_no = payorder_required_text(fcinfo, 0, "refund_no");
	call.has_amount = !PG_ARGISNULL(2);
	call.amount = call.has_amount ? PG_GETARG_INT64(2) : 0;
	call.reason = payorder_text_argument(fcinfo, 3);
	call.txn_id = payorder_text_argument(fcinfo, 4);
	call.currency = payorder_text_argument(fcinfo, 5);
	call.gateway = payorder_text_argument(fcinfo, 6);
	call.order_no = payorder_text_argument(fcinfo, 1);
	if (call.order_no == NULL)
		call.order_no = order_of_payment(fcinfo, call.gateway, call.txn_id);
	call.actor = payorder_text_argument(fcinfo, 7);
	if (call.actor == NULL)
		call.actor = GetUserNameFromId(GetSessionUserId(), false);
	check_refund_no(call.refund_no);
	check_amount(&call);
	return call;
}

/* Whether a refund of this number is the same request; PO014 if not. */
static void
check_repeated(const RefundCall *call, const Refund *refund)
{
	if (payorder_same_text(refund->order_no, call->order_no) &&
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
check_currency(const RefundCall *call, const Payment *payment)
{
	if (call->currency != NULL &&
		strcmp(call->currency, payment->currency) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_PO_AMOUNT_INVALID),
				 errmsg("payment was made in %s", payment->currency),
				 errhint("A refund has its payment's currency.")));
}

static void
refuse_stuck(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PO_REFUND_EXCEEDS),
			 errmsg("a refund of this payment is stuck at the gateway"),
			 errhint("A second one could pay twice; first settle the stuck one.")));
}

static void
check_available(bool has_amount, int64 amount, int64 most)
{
	if (most == 0 || (has_amount && amount > most))
		ereport(ERROR,
				(errcode(ERRCODE_PO_REFUND_EXCEEDS),
				 errmsg("refund exceeds what can be refunded"),
				 errdetail("It is " INT64_FORMAT ".", most),
				 errhint("See payorder.payments and payorder.refunds for what went back already.")));
}

static void
check_limits(const RefundLimits *limits, const Payment *payment,
			 const Available *of, int64 amount)
{
	const char *limit = payorder_refund_beyond(limits, payment, of->refunds,
											   of->count, amount,
											   of->owed + of->kept);

	if (limit != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PO_REFUND_EXCEEDS),
				 errmsg("refund is beyond the limit %s of payment \"%s\"",
						limit, payorder_payment_subject(payment)),
				 errhint("See set_refund_limits(); what a gateway refuses anyway is paid back another way.")));
}

/* Makes one refund of one payment, all checks done but the limits'. */
static Refund *
make(Order *order, Payment *payment, const Available *of,
	 const char *refund_no, int64 amount, const char *actor,
	 const char *reason)
{
	RefundLimits limits = payorder_refund_limits(payment->gateway, order);
	Refund	   *refund;

	check_limits(&limits, payment, of, amount);
	refund = payorder_refund_new(payment, refund_no, amount, "order",
								 REFUND_ASKED);
	refund->reason = reason;
	refund->actor = actor;
	ask_or_hold(order, payment, refund, of,
				!payorder_refund_within_share(&limits, payment, amount));
	return refund;
}

/* A number that another payment's refund has is the caller's first mistake. */
static void
refuse_used_number(const RefundCall *call)
{
	Refund	   *refund = payorder_refund_find(call->refund_no);

	if (refund != NULL)
		check_repeated(call, refund);
}

static Refund *
make_of(const RefundCall *call, Order *order, Payment *payment,
		const Available *of)
{
	int64		most = of->owed + of->kept;

	check_currency(call, payment);
	if (of->stuck || most == 0 || (call->has_amount && call->amount > most))
		refuse_used_number(call);
	if (of->stuck)
		refuse_stuck();
	check_available(call->has_amount, call->amount, most);
	return make(order, payment, of, call->refund_no,
				call->has_amount ? call->amount : most, call->actor,
				call->reason);
}

static Refund *
made_before(const Available *of, const char *refund_no)
{
	for (int i = 0; i < of->count; i++)
	{
		if (strcmp(of->refunds[i].refund_no, refund_no) == 0)
			return &of->refunds[i];
	}
	return NULL;
}

/* A call that fits no payment, or several, may be the repetition of another. */
static Refund *
find_repeated(const RefundCall *call, const Order *order,
			  const Payment *payments, int count)
{
	Refund	   *refund = payorder_refund_find(call->refund_no);

	if (refund == NULL && count == 0)
		no_payment(order);
	if (refund == NULL)
		several_payments(payments, count);
	check_repeated(call, refund);
	return refund;
}

/* The refund of a call: a new one, or the one that it made before. */
static Refund *
request(const RefundCall *call, Order *order)
{
	int			count = 1;
	Payment    *payment = order != NULL ?
		choose_payment(order, call->txn_id, call->gateway, &count) :
		payorder_payment_lock(call->gateway, call->txn_id);
	Available	of;
	Refund	   *refund;

	if (count != 1)
		return find_repeated(call, order, payment, count);
	if (order == NULL && payment->order_no != NULL)
		payorder_order_changed_meanwhile();
	of = available(payment);
	refund = made_before(&of, call->refund_no);
	if (refund != NULL)
	{
		check_repeated(call, refund);
		return refund;
	}
	refund = make_of(call, order, payment, &of);
	if (order != NULL)
		payorder_order_save(order);
	return refund;
}

/* The ten columns of refund_info. */
static void
info_values(const Refund *refund, Datum *values, bool *nulls)
{
	memset(nulls, 0, sizeof(bool) * 10);
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
}

/* A refund as the composite refund_info. */
Datum
payorder_refund_info(FunctionCallInfo fcinfo, const Refund *refund)
{
	Datum		values[10];
	bool		nulls[10];

	info_values(refund, values, nulls);
	return payorder_composite(fcinfo, values, nulls);
}

Datum
payorder_request_refund(PG_FUNCTION_ARGS)
{
	RefundCall	call;
	Order	   *order;
	Refund	   *refund;

	payorder_prevent_read_only("request_refund()");
	call = read_call(fcinfo);
	payorder_require_sync();
	order = call.order_no == NULL ? NULL :
		payorder_order_required(payorder_order_lock(call.order_no),
								call.order_no);
	refund = request(&call, order);
	PG_RETURN_DATUM(payorder_refund_info(fcinfo, refund));
}

/* ---- an amount over several payments ---- */

static void
put(FunctionCallInfo fcinfo, const Refund *refund)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[10];
	bool		nulls[10];

	info_values(refund, values, nulls);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static char *
part_number(const char *refund_no, int part)
{
	char	   *number = psprintf("%s_%d", refund_no, part);

	check_refund_no(number);
	return number;
}

/* The parts of a refund that was asked for before; false if it was not. */
static bool
put_repeated(FunctionCallInfo fcinfo, const RefundCall *call)
{
	int64		sum = 0;
	int			part = 0;
	Refund	   *refund;

	while ((refund = payorder_refund_find(part_number(call->refund_no,
													  part + 1))) != NULL)
	{
		if (!payorder_same_text(refund->order_no, call->order_no))
			break;
		put(fcinfo, refund);
		sum += refund->amount;
		part++;
	}
	if (part > 0 ? call->has_amount && sum != call->amount : refund != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PO_KEY_REUSED),
				 errmsg("refund_no \"%s\" was used for another refund",
						call->refund_no),
				 errhint("Give each refund a number of its own.")));
	return part > 0;
}

static int
newest_first(const void *left, const void *right)
{
	const Payment *a = left;
	const Payment *b = right;

	if (a->received_at != b->received_at)
		return a->received_at < b->received_at ? 1 : -1;
	return strcmp(a->txn_id, b->txn_id);
}

/* Asks for an amount of an order's payments, newest first. */
void
payorder_refund_over(Order *order, const char *refund_no, bool has_amount,
					 int64 amount, const char *actor, const char *reason,
					 RefundMade made, void *argument)
{
	int			count;
	int			part = 0;
	int64		most = 0;
	Payment    *payments = payorder_payments_lock(order->order_no, &count);
	Available  *of;

	qsort(payments, count, sizeof(Payment), newest_first);
	of = palloc0(sizeof(Available) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		if (payments[i].disposition != DISPOSITION_ORDER)
			continue;
		of[i] = available(&payments[i]);
		if (!of[i].stuck)
			most += of[i].owed + of[i].kept;
	}
	check_available(has_amount, amount, most);
	if (!has_amount)
		amount = most;
	for (int i = 0; i < count && amount > 0; i++)
	{
		int64		taken = of[i].stuck ? 0 :
			Min(of[i].owed + of[i].kept, amount);
		Refund	   *refund;

		if (taken == 0)
			continue;
		refund = make(order, &payments[i], &of[i], refund_no != NULL ?
					  part_number(refund_no, ++part) :
					  payorder_refund_kernel_number(&payments[i], "order"),
					  taken, actor, reason);
		amount -= taken;
		if (made != NULL)
			made(argument, refund);
	}
}

static void
put_made(void *argument, const Refund *refund)
{
	put(argument, refund);
}

Datum
payorder_request_refunds(PG_FUNCTION_ARGS)
{
	RefundCall	call = {0};
	Order	   *order;

	payorder_prevent_read_only("request_refunds()");
	payorder_require_sync();
	InitMaterializedSRF(fcinfo, 0);
	call.refund_no = payorder_required_text(fcinfo, 0, "refund_no");
	call.order_no = payorder_required_text(fcinfo, 1, "order_no");
	call.has_amount = !PG_ARGISNULL(2);
	call.amount = call.has_amount ? PG_GETARG_INT64(2) : 0;
	call.reason = payorder_text_argument(fcinfo, 3);
	call.actor = payorder_text_argument(fcinfo, 4);
	if (call.actor == NULL)
		call.actor = GetUserNameFromId(GetSessionUserId(), false);
	check_amount(&call);
	order = payorder_order_required(payorder_order_lock(call.order_no),
									call.order_no);
	if (put_repeated(fcinfo, &call))
		return (Datum) 0;
	payorder_refund_over(order, call.refund_no, call.has_amount, call.amount,
						 call.actor, call.reason, put_made, fcinfo);
	payorder_order_save(order);
	return (Datum) 0;
}
