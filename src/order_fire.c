/*-------------------------------------------------------------------------
 *
 * order_fire.c
 *		The SQL functions fire, try_fire and allowed_events.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "errors.h"
#include "order.h"
#include "relation.h"

typedef struct FireCall
{
	const char *order_no;
	const char *event;
	Cause		cause;
	bool		has_version;
	int64		expected_version;
} FireCall;

PG_FUNCTION_INFO_V1(payorder_fire);
PG_FUNCTION_INFO_V1(payorder_try_fire);
PG_FUNCTION_INFO_V1(payorder_allowed_events);

/* The order as the composite order_info. */
Datum
payorder_order_info(FunctionCallInfo fcinfo, const Order *order)
{
	Datum		values[18];
	bool		nulls[18] = {0};
	int			i = 0;

	values[i++] = CStringGetTextDatum(order->order_no);
	values[i++] = CStringGetTextDatum(order->machine->name);
	values[i++] = Int32GetDatum(order->machine->version);
	values[i++] = CStringGetTextDatum(order->state->name);
	values[i++] = Int64GetDatum(order->amount);
	values[i++] = CStringGetTextDatum(order->currency);
	values[i++] = Int64GetDatum(order->paid);
	values[i++] = Int64GetDatum(order->refunding);
	values[i++] = Int64GetDatum(order->refunded);
	values[i++] = Int64GetDatum(order->disputed);
	values[i++] = Int64GetDatum(order->overdrawn);
	values[i++] = BoolGetDatum(order->frozen);
	values[i++] = Int64GetDatum(order->version);
	nulls[i] = order->pay_by == NO_TIME;
	values[i++] = TimestampTzGetDatum(order->pay_by);
	nulls[i] = order->cooling_off == NULL;
	values[i++] = IntervalPGetDatum(order->cooling_off);
	values[i++] = TimestampTzGetDatum(order->created_at);
	values[i++] = TimestampTzGetDatum(order->updated_at);
	nulls[i] = order->closed_at == NO_TIME;
	values[i++] = TimestampTzGetDatum(order->closed_at);
	Assert(i == lengthof(values));
	return payorder_composite(fcinfo, values, nulls);
}

static void
refuse(Order *order, const char *event)
{
	char	   *allowed = payorder_order_allowed(order);

	ereport(ERROR,
			(errcode(ERRCODE_PO_TRANSITION_REFUSED),
			 errmsg("event \"%s\" of order \"%s\" is refused in state \"%s\"",
					payorder_shown(event), order->order_no,
					order->state->name),
			 allowed[0] == '\0' ?
			 errdetail("No event is allowed now.") :
			 errdetail("Allowed now: %s.", allowed),
			 errhint("See allowed_events() and the machine \"%s\" version %d.",
					 order->machine->name, order->machine->version)));
}

/* Whether this request was carried out before; PO014 if it was another. */
static bool
is_repeated(const Order *order, const FireCall *call)
{
	Event	   *before = NULL;

	if (call->cause.request_id != NULL)
		before = payorder_event_by_request(order->order_no, order->created_at,
										   call->cause.request_id);
	if (before == NULL)
		return false;
	if (!payorder_same_text(before->event, call->event) ||
		!payorder_same_text(before->cause.reason, call->cause.reason) ||
		!payorder_same_text(before->cause.payload, call->cause.payload))
		ereport(ERROR,
				(errcode(ERRCODE_PO_KEY_REUSED),
				 errmsg("request_id was used for another event of order \"%s\"",
						order->order_no),
				 errdetail("That event is \"%s\".", before->event),
				 errhint("Give each request an id of its own.")));
	return true;
}

static const Edge *
choose_edge(Order *order, const char *event)
{
	const Edge *edge = payorder_order_edge(order, event);

	if (payorder_is_money_event(event) || (edge != NULL && edge->by_timer))
		ereport(ERROR,
				(errcode(ERRCODE_PO_MONEY_EDGE),
				 errmsg("event \"%s\" of order \"%s\" cannot be fired by hand",
						event, order->order_no),
				 errhint("It is taken by ingest(), refunds or timers only.")));
	if (edge == NULL)
		refuse(order, event);
	return edge;
}

static FireCall
read_call(FunctionCallInfo fcinfo)
{
	FireCall	call = {0};

	call.order_no = payorder_required_text(fcinfo, 0, "order_no");
	call.event = payorder_required_text(fcinfo, 1, "event");
	call.cause.actor = payorder_text_argument(fcinfo, 2);
	if (call.cause.actor == NULL)
		call.cause.actor = GetUserNameFromId(GetSessionUserId(), false);
	call.cause.source = "fire";
	call.cause.reason = payorder_text_argument(fcinfo, 3);
	call.cause.payload = payorder_text_argument(fcinfo, 4);
	call.has_version = !PG_ARGISNULL(5);
	call.expected_version = call.has_version ? PG_GETARG_INT64(5) : 0;
	call.cause.request_id = payorder_text_argument(fcinfo, 6);
	payorder_check_key(call.cause.request_id, "request_id");
	return call;
}

/* Carries out a call; true if it changed the order, false if repeated. */
static bool
fire(const FireCall *call, Order **fired)
{
	Order	   *order = payorder_order_required(payorder_order_lock(call->order_no),
												call->order_no);

	*fired = order;
	if (is_repeated(order, call))
		return false;
	if (call->has_version && call->expected_version != order->version)
		ereport(ERROR,
				(errcode(ERRCODE_PO_VERSION_STALE),
				 errmsg("order \"%s\" has version " INT64_FORMAT ", expected was " INT64_FORMAT,
						order->order_no, order->version,
						call->expected_version),
				 errhint("Read the order again and decide anew.")));
	payorder_order_take(order, choose_edge(order, call->event), NULL,
						&call->cause);
	return true;
}

Datum
payorder_fire(PG_FUNCTION_ARGS)
{
	FireCall	call = read_call(fcinfo);
	Order	   *order;

	payorder_prevent_read_only("fire()");
	fire(&call, &order);
	PG_RETURN_DATUM(payorder_order_info(fcinfo, order));
}

/* Whether an error says no to the caller, rather than that we failed. */
static bool
is_refusal(int sqlstate)
{
	return ERRCODE_TO_CATEGORY(sqlstate) == MAKE_SQLSTATE('P', 'O', '0', '0', '0') ||
		sqlstate == ERRCODE_LOCK_NOT_AVAILABLE;
}

static Datum
fire_result(FunctionCallInfo fcinfo, bool changed, const char *state,
			ErrorData *error)
{
	Datum		values[4] = {0};
	bool		nulls[4] = {false, state == NULL, error == NULL, error == NULL};

	values[0] = BoolGetDatum(changed);
	if (state != NULL)
		values[1] = CStringGetTextDatum(state);
	if (error != NULL)
	{
		values[2] = CStringGetTextDatum(unpack_sql_state(error->sqlerrcode));
		values[3] = CStringGetTextDatum(error->message);
	}
	return payorder_composite(fcinfo, values, nulls);
}

typedef struct TryFire
{
	FireCall	call;
	Order	   *order;
	bool		changed;
} TryFire;

static void
try_fire(void *argument)
{
	TryFire    *attempt = argument;

	attempt->changed = fire(&attempt->call, &attempt->order);
}

Datum
payorder_try_fire(PG_FUNCTION_ARGS)
{
	TryFire		attempt = {0};
	ErrorData  *error;

	payorder_prevent_read_only("try_fire()");
	attempt.call = read_call(fcinfo);
	error = payorder_guarded(try_fire, &attempt);
	if (error != NULL && !is_refusal(error->sqlerrcode))
		ReThrowError(error);
	if (error != NULL)
	{
		attempt.changed = false;
		attempt.order = payorder_order_find(attempt.call.order_no);
	}
	PG_RETURN_DATUM(fire_result(fcinfo, attempt.changed,
								attempt.order == NULL ? NULL :
								attempt.order->state->name,
								error));
}

Datum
payorder_allowed_events(PG_FUNCTION_ARGS)
{
	char	   *order_no = payorder_required_text(fcinfo, 0, "order_no");
	Order	   *order = payorder_order_required(payorder_order_find(order_no),
												order_no);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const char *last = "";

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	for (int i = 0; i < order->state->edge_count; i++)
	{
		const char *event = order->state->edges[i].event;
		Datum		value;
		bool		isnull = false;

		if (strcmp(event, last) == 0 || !payorder_order_by_hand(order, event))
			continue;
		last = event;
		value = CStringGetTextDatum(event);
		tuplestore_putvalues(result->setResult, result->setDesc, &value,
							 &isnull);
	}
	return (Datum) 0;
}
