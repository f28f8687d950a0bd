/*-------------------------------------------------------------------------
 *
 * reprice.c
 *		reprice_order: another amount for an order.
 *
 * Before payment the open attempts are closed first; who pays by one of them
 * all the same has paid another price, which a person decides (line 17).  In
 * the cooling-off after payment the amount can be lowered, and the difference
 * goes back; the cooling-off itself goes on, and ends by its timer only.
 *
 * Locks: order, then its payments.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "attempt.h"
#include "errors.h"
#include "guc.h"
#include "json.h"
#include "refund.h"
#include "relation.h"

PG_FUNCTION_INFO_V1(payorder_reprice_order);

/* Whether the order is paid and may still be cancelled by itself. */
static bool
is_cooling_off(const Order *order)
{
	for (int i = 0; i < order->state->timer_count; i++)
	{
		const StateTimer *timer = &order->state->timers[i];

		if (timer->action == TIMER_FIRE && timer->parameter != NULL &&
			strcmp(timer->parameter, "cooling_off") == 0)
			return payorder_order_is_paid(order);
	}
	return false;
}

static void
refuse_amount(const Order *order, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_PO_AMOUNT_INVALID),
			 errmsg("amount of order \"%s\" is out of range", order->order_no),
			 errdetail("It is " INT64_FORMAT " now, of which " INT64_FORMAT " is paid.",
					   order->amount, order->paid),
			 errhint("%s", hint)));
}

static void
reprice_open(Order *order, int64 amount)
{
	if (amount <= order->paid)
		refuse_amount(order, "Before payment the new amount is more than what is paid.");
	payorder_attempts_close_others(order, NULL, 0);
	order->amount = amount;
	order->changed = true;
}

static void
reprice_paid(Order *order, int64 amount, const char *actor)
{
	int64		difference = order->amount - amount;

	if (amount <= 0 || difference < 0)
		refuse_amount(order, "In the cooling-off the amount can be lowered only; for all of it cancel the order.");
	order->amount = amount;
	order->changed = true;
	payorder_refund_over(order, NULL, true, difference, actor, "reprice",
						 NULL, NULL);
}

static void
reprice(Order *order, int64 amount, Cause *cause)
{
	int64		before = order->amount;

	if (amount == before)
		return;
	if (payorder_order_is_open(order) && !order->frozen &&
		!payorder_order_is_closing(order) && !order->state->final)
		reprice_open(order, amount);
	else if (is_cooling_off(order) && !order->frozen)
		reprice_paid(order, amount, cause->actor);
	else
		ereport(ERROR,
				(errcode(ERRCODE_PO_TRANSITION_REFUSED),
				 errmsg("order \"%s\" has its price in state \"%s\"",
						order->order_no, order->state->name),
				 errhint("An order is repriced before it is paid or closed, or in its cooling-off.")));
	payorder_order_save(order);
	cause->payload = payorder_json_object("ll", "from", before,
										  "to", amount);
	payorder_order_event(order, "reprice_order", NULL, cause);
	payorder_refund_settle(order);
}

Datum
payorder_reprice_order(PG_FUNCTION_ARGS)
{
	Cause		cause = {.source = "operator"};
	char	   *order_no = payorder_required_text(fcinfo, 0, "order_no");
	Order	   *order;

	payorder_prevent_read_only("reprice_order()");
	payorder_require_sync();
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("amount must not be null"),
				 errhint("Give it in minor units.")));
	cause.actor = payorder_required_text(fcinfo, 2, "actor");
	cause.reason = payorder_text_argument(fcinfo, 3);
	order = payorder_order_required(payorder_order_lock(order_no), order_no);
	reprice(order, PG_GETARG_INT64(1), &cause);
	PG_RETURN_DATUM(payorder_order_info(fcinfo, order));
}
