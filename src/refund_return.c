/*-------------------------------------------------------------------------
 *
 * refund_return.c
 *		Late and excess money goes back by itself, but not at machine speed.
 *
 * The refund is held, its task asks the gateway to confirm the payment after
 * a delay, and beyond an hourly limit it waits for a person.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "json.h"
#include "refund.h"
#include "relation.h"
#include "task.h"
#include "timer.h"

static Statement begin_hour = {
	.sql = "INSERT INTO payorder.automatic_returns"
	" (gateway, hour_began_at, returns, amounts) VALUES ($1, $2, 0, '{}')"
	" ON CONFLICT (gateway) DO NOTHING",
	.arguments = "tz"
};
static Statement try_hour = {
	.sql = "SELECT 1 FROM payorder.automatic_returns WHERE gateway = $1"
	" FOR UPDATE SKIP LOCKED",
	.arguments = "t"
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

static bool
within_limits(const Payment *payment, const Gateway *gateway, int64 amount)
{
	return payorder_execute(&count_return, payment->gateway, payorder_now(),
							payment->currency, amount,
							gateway->auto_return_per_hour,
							gateway->auto_return_amount) == 1;
}

/*
 * Counts a return that could not be counted when it was held; false if that is
 * beyond the hour's limits.
 */
bool
payorder_refund_count_return(const Payment *payment, const Gateway *gateway,
							 const Refund *refund)
{
	payorder_execute(&begin_hour, payment->gateway, payorder_now());
	return within_limits(payment, gateway, refund->amount);
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
			   const Refund *refund, const Gateway *gateway, bool counted)
{
	TaskRequest task = {.not_after = NO_TIME};

	task.kind = "return";
	task.order_no = refund->order_no;
	task.gateway = refund->gateway;
	task.dedup_key = psprintf("return:%s", refund->refund_no);
	task.run_at = payorder_now() + gateway->return_delay;
	task.payload = payorder_json_object("tttltjj",
										"refund_no", refund->refund_no,
										"txn_id", payment->txn_id,
										"payment_no", payment->payment_no,
										"amount", refund->amount,
										"currency", refund->currency,
										"confirm", to_confirm(order, payment,
															  refund->cause),
										"uncounted",
										counted ? NULL : "true");
	return payorder_task_enqueue(&task);
}

/*
 * Has what a payment owes returned by itself: holds the refund and asks the
 * gateway for confirmation, or beyond the hour's limits a person.  The
 * payment is saved already.  False if nothing is owed or it is under way.
 *
 * The hour's count is one row for a whole gateway.  Nobody waits for it who
 * holds an order: of two who drain messages of two gateways each would have
 * the other's.  Where it is busy the return is counted before it is sent.
 */
bool
payorder_refund_return(Order *order, Payment *payment,
					   const Gateway *gateway, const char *cause)
{
	int64		amount = payorder_refund_free_owed(payment);
	bool		counted;
	Refund	   *refund;

	if (amount == 0)
		return false;
	refund = payorder_refund_new(payment,
								 payorder_refund_kernel_number(payment, cause),
								 amount, cause, REFUND_HELD);
	refund->from_owed = amount;
	counted = payorder_query(&try_hour, payment->gateway)->count > 0;
	if (!counted || within_limits(payment, gateway, amount))
		refund->task_id = enqueue_return(order, payment, refund, gateway,
										 counted);
	if (!payorder_refund_insert(refund))
		elog(ERROR, "refund \"%s\" exists already", refund->refund_no);
	payorder_refund_note(order, payment, refund, "refund_held", NULL);
	if (refund->task_id == 0)
		payorder_refund_doubt(order, refund, "auto_return_limit");
	return true;
}
