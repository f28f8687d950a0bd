/*-------------------------------------------------------------------------
 *
 * order_migrate.c
 *		An order goes on under another version of its machine.
 *
 * State and money stay as they are.  The timers of the new version's state
 * take the place of the old one's, counted from the entry into the state: the
 * event `migrate` makes the old ones void.  What the entry causes is not
 * caused again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "errors.h"
#include "json.h"
#include "order.h"
#include "relation.h"
#include "timer.h"

PG_FUNCTION_INFO_V1(payorder_migrate_order);

static void
note(Order *order, const Machine *from, const char *reason,
	 TimestampTz entered_at)
{
	Cause		cause = {.source = "operator"};
	int64		from_version = from->version;
	int64		to_version = order->machine->version;

	cause.actor = GetUserNameFromId(GetSessionUserId(), false);
	cause.reason = reason;
	cause.payload = payorder_json_object("tll", "machine",
										 order->machine->name, "from_version",
										 from_version, "to_version",
										 to_version);
	payorder_order_arm(order, entered_at,
					   payorder_order_event(order, "migrate", NULL, &cause));
}

/* Whether a state's name is among those of an array. */
static bool
is_among(const char *state, ArrayType *states)
{
	Datum	   *names;
	int			count;

	deconstruct_array(states, TEXTOID, -1, false, TYPALIGN_INT, &names, NULL,
					  &count);
	for (int i = 0; i < count; i++)
	{
		if (strcmp(TextDatumGetCString(names[i]), state) == 0)
			return true;
	}
	return false;
}

/*
 * migrate_order(order_no, from_id, to_id, refused, reason): false if the order
 * is not under that version any more.  The caller has compared the versions'
 * states; which of them the order is in, only its lock tells.
 */
Datum
payorder_migrate_order(PG_FUNCTION_ARGS)
{
	char	   *order_no = payorder_required_text(fcinfo, 0, "order_no");
	int			from_id;
	const Machine *to;
	ArrayType  *refused;
	Order	   *order;
	const Machine *from;
	const State *state;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("from_id, to_id and refused must not be null"),
				 errhint("Call migrate_orders().")));
	from_id = PG_GETARG_INT32(1);
	to = payorder_machine(PG_GETARG_INT32(2));
	refused = PG_GETARG_ARRAYTYPE_P(3);
	payorder_prevent_read_only("migrate_orders()");
	order = payorder_order_required(payorder_order_lock(order_no), order_no);
	from = order->machine;
	if (from->id != from_id)
		PG_RETURN_BOOL(false);
	state = payorder_machine_state(to, order->state->name);
	if (state == NULL || is_among(order->state->name, refused))
		ereport(ERROR,
				(errcode(ERRCODE_PO_MACHINE_INVALID),
				 errmsg("order \"%s\" is in state \"%s\", which version %d of machine \"%s\" does not have, or has on the other side of payment",
						order_no, order->state->name, to->version, to->name),
				 errhint("Take the order to another state, then call migrate_orders() again.")));
	order->machine = to;
	order->state = state;
	if (!state->final)
		order->closed_at = NO_TIME;
	else if (order->closed_at == NO_TIME)
		order->closed_at = payorder_now();
	order->changed = true;
	payorder_order_save(order);
	note(order, from, payorder_text_argument(fcinfo, 4),
		 payorder_last_entry(order_no, order->created_at));
	PG_RETURN_BOOL(true);
}
