/*-------------------------------------------------------------------------
 *
 * create.c
 *		create_order: an order comes into the world.
 *
 * The row is written first, which makes a second creator wait or see it, and
 * the number of an order that was purged stays that order's; then
 * its first event and timers; then it meets the callbacks that came before
 * it.  An order of amount 0 is paid at once, by the same way as any other,
 * through the built-in gateway "none".
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "callback.h"
#include "errors.h"
#include "gateway_settings.h"
#include "json.h"
#include "order.h"
#include "relation.h"
#include "timer.h"

static Statement insert_order = {
	.sql = "INSERT INTO payorder.orders (order_no, machine_id, state, amount,"
	" currency, pay_by, cooling_off, created_at, updated_at, closed_at,"
	" attributes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, NULL,"
	" coalesce($9, '{}')) ON CONFLICT (order_no) DO NOTHING",
	.arguments = "titltzvzJ"
};
static Statement find_purged = {
	.sql = "SELECT 1 FROM payorder.purged_orders WHERE order_no = $1",
	.arguments = "t"
};

PG_FUNCTION_INFO_V1(payorder_create_order);

typedef struct CreateCall
{
	const char *order_no;
	int64		amount;
	const char *currency;
	const char *machine;
	Interval   *pay_within;
	Interval   *cooling_off;
	Jsonb	   *attributes;
} CreateCall;

static void
check_order_no(const char *order_no)
{
	if (!payorder_is_id(order_no))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid order_no"),
				 errhint("An order_no is 1 to %d printable characters.",
						 LONGEST_ID)));
}

static void
check_money(const CreateCall *call)
{
	if (call->amount < 0)
		ereport(ERROR,
				(errcode(ERRCODE_PO_AMOUNT_INVALID),
				 errmsg("amount must not be negative"),
				 errhint("Give it in minor units of the currency.")));
	if (!payorder_currency_known(call->currency))
		ereport(ERROR,
				(errcode(ERRCODE_PO_AMOUNT_INVALID),
				 errmsg("unknown currency"),
				 errhint("Give an ISO 4217 code in capitals; see payorder.currencies.")));
}

static Interval *
length_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	int64		length;

	if (PG_ARGISNULL(number))
		return NULL;
	if (!payorder_duration(PG_GETARG_INTERVAL_P(number), &length))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is out of range", name),
				 errhint("An interval here is positive, at most 366 days, and without months.")));
	return PG_GETARG_INTERVAL_P(number);
}

static void
check_items(FunctionCallInfo fcinfo)
{
	Jsonb	   *items;

	if (PG_ARGISNULL(4))
		return;
	items = PG_GETARG_JSONB_P(4);
	if (!JB_ROOT_IS_ARRAY(items) || JB_ROOT_IS_SCALAR(items))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("items must be an array"),
				 errhint("Leave them out for an order without stock.")));
	if (JB_ROOT_COUNT(items) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("items are not supported yet"),
				 errhint("Leave them out; stock comes in a later version.")));
}

static CreateCall
read_call(FunctionCallInfo fcinfo)
{
	CreateCall	call = {0};

	call.order_no = payorder_required_text(fcinfo, 0, "order_no");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("amount must not be null"),
				 errhint("Give it in minor units; 0 is paid at once.")));
	call.amount = PG_GETARG_INT64(1);
	call.currency = payorder_required_text(fcinfo, 2, "currency");
	call.machine = PG_ARGISNULL(3) ? "order" : payorder_text_argument(fcinfo, 3);
	check_items(fcinfo);
	call.attributes = PG_ARGISNULL(5) ? NULL : PG_GETARG_JSONB_P(5);
	call.pay_within = length_argument(fcinfo, 6, "pay_within");
	call.cooling_off = length_argument(fcinfo, 7, "cooling_off");
	check_order_no(call.order_no);
	check_money(&call);
	return call;
}

/* Until when the order is to be paid, NO_TIME: its machine doesn't say. */
static TimestampTz
pay_by(const CreateCall *call, const Machine *machine, TimestampTz now)
{
	int64		length;

	if (call->pay_within != NULL &&
		payorder_duration(call->pay_within, &length))
		return now + length;
	for (int i = 0; i < machine->state_count; i++)
	{
		for (int j = 0; j < machine->states[i].timer_count; j++)
		{
			const StateTimer *timer = &machine->states[i].timers[j];

			if (timer->parameter != NULL &&
				strcmp(timer->parameter, "pay_within") == 0)
				return now + timer->after;
		}
	}
	return NO_TIME;
}

static bool
insert(const CreateCall *call, const Machine *machine, TimestampTz now)
{
	return payorder_query(&find_purged, call->order_no)->count == 0 &&
		payorder_execute(&insert_order, call->order_no, machine->id,
						 machine->initial, call->amount, call->currency,
						 pay_by(call, machine, now), call->cooling_off,
						 now, call->attributes) == 1;
}

static void
begin(const CreateCall *call, Order *order)
{
	Event		event = {0};

	event.event = "create_order";
	event.to_state = order->state->name;
	event.cause.actor = GetUserNameFromId(GetSessionUserId(), false);
	event.cause.source = "create_order";
	event.cause.payload = payorder_json_object("lttl",
											   "amount", call->amount,
											   "currency", call->currency,
											   "machine", order->machine->name,
											   "version",
											   (int64) order->machine->version);
	event.at = order->created_at;
	payorder_order_enter(order, payorder_event_append(order->order_no,
													  order->created_at,
													  &event));
}

static void
pay_nothing(const CreateCall *call)
{
	Message		message = {0};

	message.gateway = "none";
	message.txn_id = call->order_no;
	message.event = EVENT_PAY;
	message.reference = call->order_no;
	message.has_amount = true;
	message.currency = call->currency;
	message.occurred_at = payorder_now();
	message.source = "kernel";
	payorder_callback_ingest(&message);
}

/* The amount with which an order was created, whatever it was repriced to. */
static int64
first_amount(const Order *order)
{
	char	   *payload = payorder_event_first_payload(order->order_no,
													   order->created_at);
	int64		amount = order->amount;

	if (payload == NULL)
		payorder_event_first_amount(order->order_no, &amount);
	else
		payorder_json_bigint(payorder_json_member(payorder_json_parse(payload,
																	  ERRCODE_DATA_CORRUPTED,
																	  "event"),
												  "amount"), &amount);
	return amount;
}

/*
 * The number is new, or was purged after this statement's snapshot: who
 * purges an order writes its number down before the order goes.
 */
static void
meet_purged(const char *order_no)
{
	if (payorder_meet("purged_orders_pkey", order_no,
					  GetCurrentTimestamp()).there)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("order \"%s\" was purged meanwhile", order_no),
				 errhint("Retry the transaction.")));
}

/* The same order again, or PO003. */
static void
check_same(const CreateCall *call, const Order *order)
{
	if ((order->amount == call->amount || first_amount(order) == call->amount) &&
		strcmp(order->currency, call->currency) == 0 &&
		strcmp(order->machine->name, call->machine) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PO_ORDER_EXISTS),
			 errmsg("order \"%s\" exists with other content", call->order_no),
			 errhint("Give each order a number of its own.")));
}

static const Machine *
find_machine(const char *name)
{
	int			id = payorder_machine_newest(name);
	const Machine *machine;

	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_PO_MACHINE_INVALID),
				 errmsg("no machine \"%s\"", payorder_shown(name)),
				 errhint("Define it with define_machine().")));
	machine = payorder_machine(id);
	if (payorder_machine_is_plain(machine))
		ereport(ERROR,
				(errcode(ERRCODE_PO_MACHINE_INVALID),
				 errmsg("machine \"%s\" has no \"pay\" edge", name),
				 errhint("A machine of states and events only is for tables, by guard(); an order's has \"pay\" edges and timers.")));
	return machine;
}

Datum
payorder_create_order(PG_FUNCTION_ARGS)
{
	CreateCall	call;
	Order	   *order;

	payorder_prevent_read_only("create_order()");
	call = read_call(fcinfo);
	if (insert(&call, find_machine(call.machine), payorder_now()))
	{
		meet_purged(call.order_no);
		order = payorder_order_lock(call.order_no);
		begin(&call, order);
		if (call.amount == 0)
			pay_nothing(&call);
		payorder_callback_meet(call.order_no);
		order = payorder_order_find(call.order_no);
	}
	else
	{
		order = payorder_order_required(payorder_order_find(call.order_no),
										call.order_no);
		check_same(&call, order);
	}
	PG_RETURN_DATUM(payorder_order_info(fcinfo, order));
}
