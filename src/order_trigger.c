/*-------------------------------------------------------------------------
 *
 * order_trigger.c
 *		The triggers of payorder.orders.
 *
 * They fire AFTER ROW, for every writer: function, UPDATE, MERGE, ON CONFLICT.
 * A BEFORE trigger of a user's can't undo what was checked, and what it did
 * to the kernel's own write is seen here.
 *
 * The kernel's write is the one whose order number is the same and which
 * takes version from one less to the announced one; since each of the
 * kernel's writes adds 1, and nobody else may change version, a statement
 * that a user's trigger runs inside of it can't pass for it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "errors.h"
#include "order.h"
#include "order_trigger.h"
#include "relation.h"

static KernelWrite current = {NULL};

PG_FUNCTION_INFO_V1(payorder_order_state_changed);
PG_FUNCTION_INFO_V1(payorder_order_columns_changed);

/* Announces a write; the caller ends it, also after an error. */
KernelWrite
payorder_begin_kernel_write(const struct Order *order)
{
	KernelWrite before = current;

	current.order = order;
	return before;
}

void
payorder_end_kernel_write(KernelWrite before)
{
	current = before;
}

/* Whether this runs in a trigger of the kernel's write of that order. */
bool
payorder_in_kernel_write(const char *order_no)
{
	return current.order != NULL &&
		strcmp(current.order->order_no, order_no) == 0;
}

static TriggerData *
trigger_data(FunctionCallInfo fcinfo)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		!TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function must be called by a trigger AFTER UPDATE FOR EACH ROW"),
				 errhint("It is the extension's own trigger function.")));
	return trigger;
}

static Datum
column(TriggerData *trigger, HeapTuple tuple, const char *name)
{
	TupleDesc	description = RelationGetDescr(trigger->tg_relation);
	int			number = SPI_fnumber(description, name);
	bool		isnull;
	Datum		value;

	if (number <= 0)
		elog(ERROR, "column \"%s\" does not exist", name);
	value = SPI_getbinval(tuple, description, number, &isnull);
	if (isnull)
		elog(ERROR, "column \"%s\" is null", name);
	return value;
}

static char *
text_column(TriggerData *trigger, HeapTuple tuple, const char *name)
{
	return TextDatumGetCString(column(trigger, tuple, name));
}

static int64
bigint_column(TriggerData *trigger, HeapTuple tuple, const char *name)
{
	return DatumGetInt64(column(trigger, tuple, name));
}

static bool
is_kernel_write(TriggerData *trigger)
{
	HeapTuple	old = trigger->tg_trigtuple;
	HeapTuple	new = trigger->tg_newtuple;

	return current.order != NULL &&
		bigint_column(trigger, new, "version") == current.order->version &&
		bigint_column(trigger, old, "version") == current.order->version - 1 &&
		strcmp(text_column(trigger, old, "order_no"),
			   current.order->order_no) == 0;
}

static bool
time_is(TriggerData *trigger, const char *name, TimestampTz expected)
{
	TupleDesc	description = RelationGetDescr(trigger->tg_relation);
	bool		isnull;
	Datum		value = SPI_getbinval(trigger->tg_newtuple, description,
									  SPI_fnumber(description, name), &isnull);

	return isnull ? expected == NO_TIME :
		DatumGetTimestampTz(value) == expected;
}

static bool
same_interval(TriggerData *trigger, const char *name)
{
	TupleDesc	description = RelationGetDescr(trigger->tg_relation);
	int			number = SPI_fnumber(description, name);
	bool		old_isnull;
	bool		new_isnull;
	Datum		old = SPI_getbinval(trigger->tg_trigtuple, description, number,
									&old_isnull);
	Datum		new = SPI_getbinval(trigger->tg_newtuple, description, number,
									&new_isnull);

	return old_isnull ? new_isnull : !new_isnull &&
		memcmp(DatumGetIntervalP(old), DatumGetIntervalP(new),
			   sizeof(Interval)) == 0;
}

/* Whether what is stored is what the kernel wrote. */
static bool
is_as_written(TriggerData *trigger)
{
	HeapTuple	new = trigger->tg_newtuple;
	const Order *order = current.order;

	return bigint_column(trigger, new, "amount") == order->amount &&
		bigint_column(trigger, new, "paid_amount") == order->paid &&
		bigint_column(trigger, new, "refunding_amount") == order->refunding &&
		bigint_column(trigger, new, "refunded_amount") == order->refunded &&
		bigint_column(trigger, new, "disputed_amount") == order->disputed &&
		bigint_column(trigger, new, "overdrawn_amount") == order->overdrawn &&
		DatumGetBool(column(trigger, new, "frozen")) == order->frozen &&
		time_is(trigger, "created_at", order->created_at) &&
		time_is(trigger, "updated_at", order->updated_at) &&
		time_is(trigger, "closed_at", order->closed_at) &&
		time_is(trigger, "pay_by", order->pay_by) &&
		same_interval(trigger, "cooling_off") &&
		DatumGetInt32(column(trigger, new, "machine_id")) ==
		order->machine->id &&
		strcmp(text_column(trigger, new, "order_no"), order->order_no) == 0 &&
		strcmp(text_column(trigger, new, "currency"), order->currency) == 0 &&
		strcmp(text_column(trigger, new, "state"), order->state->name) == 0;
}

Datum
payorder_order_state_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);

	if (!is_kernel_write(trigger))
		payorder_order_moved_by_hand(text_column(trigger,
												 trigger->tg_newtuple,
												 "order_no"),
									 text_column(trigger,
												 trigger->tg_trigtuple,
												 "state"),
									 text_column(trigger,
												 trigger->tg_newtuple,
												 "state"));
	return PointerGetDatum(NULL);
}

Datum
payorder_order_columns_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);

	if (!is_kernel_write(trigger))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only state and attributes of order \"%s\" can be updated",
						text_column(trigger, trigger->tg_trigtuple,
									"order_no")),
				 errhint("The other columns follow from callbacks, refunds and timers.")));
	if (!is_as_written(trigger))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("a trigger changed columns of order \"%s\" that are payorder's",
						current.order->order_no),
				 errhint("A BEFORE trigger on payorder.orders may change attributes only.")));
	return PointerGetDatum(NULL);
}
