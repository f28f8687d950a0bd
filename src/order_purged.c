/*-------------------------------------------------------------------------
 *
 * order_purged.c
 *		An order that was purged comes back.
 *
 * Of an order that is purged a narrow row is kept: what it was, and where its
 * chain of events ended.  Whoever locks it, be it for a late chargeback or for
 * a refund, has it back as it was, without attributes; then everything is
 * decided as for any other order, and when it has been quiet for long enough,
 * it is purged again.  Reading doesn't bring it back.
 *
 * The narrow row stays, with away = false: it guards the number, and it is
 * what the rest of the chain hangs on.  Two who come at once insert the same
 * order: the second one waits for the first, then finds it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "order.h"
#include "relation.h"
#include "timer.h"

static Statement is_away = {
	.sql = "SELECT away FROM payorder.purged_orders WHERE order_no = $1",
	.arguments = "t"
};
static Statement insert_again = {
	.sql = "INSERT INTO payorder.orders (order_no, machine_id, state, amount,"
	" currency, paid_amount, refunded_amount, disputed_amount, frozen,"
	" version, created_at, updated_at, closed_at)"
	" SELECT order_no, machine_id, state, amount, currency, paid_amount,"
	" refunded_amount, disputed_amount, frozen, version + 1, created_at, $2,"
	" closed_at FROM payorder.purged_orders WHERE order_no = $1 AND away"
	" ON CONFLICT (order_no) DO NOTHING",
	.arguments = "tz"
};
static Statement note_back = {
	.sql = "UPDATE payorder.purged_orders SET away = false WHERE order_no = $1",
	.arguments = "t"
};

/*
 * Brings an order back if it was purged.  False: it never was.  True: look
 * again, since somebody else may have brought it back.
 */
bool
payorder_order_bring_back(const char *order_no)
{
	Rows	   *rows = payorder_query(&is_away, order_no);
	Cause		cause = {.actor = "payorder",.source = "kernel"};

	if (rows->count == 0)
		return false;
	if (!rows->cells[0].truth)
		return true;
	if (payorder_execute(&insert_again, order_no, payorder_now()) == 0)
		return true;
	payorder_execute(&note_back, order_no);
	payorder_order_event(payorder_order_required(payorder_order_find(order_no),
												 order_no),
						 "bring_back", NULL, &cause);
	return true;
}
