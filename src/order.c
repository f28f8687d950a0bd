/*-------------------------------------------------------------------------
 *
 * order.c
 *		Orders: their rows, transitions and what these cause.
 *
 * All that is decided about an order is decided while this transaction holds
 * its row lock (FOR NO KEY UPDATE, so that users' foreign keys don't wait).
 * A transition is: the row's update, one event, the effects of the edge and
 * of the entered state, and the timers of that state.  It is the same for
 * fire(), a callback, a timer and a direct UPDATE of the state, whose AFTER
 * trigger (order_trigger.c) comes here with the row already changed.
 *
 * The kernel's own writes of columns that nobody else may change are known to
 * the triggers by order number and version: each adds exactly 1 to version,
 * so that no other statement nested in it can be taken for it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "errors.h"
#include "json.h"
#include "order.h"
#include "order_trigger.h"
#include "relation.h"
#include "task.h"
#include "timer.h"

#define ORDER_COLUMNS \
	"order_no, machine_id, state, amount, currency, paid_amount," \
	" refunding_amount, refunded_amount, disputed_amount," \
	" overdrawn_amount, frozen, version, pay_by, cooling_off, created_at," \
	" updated_at, closed_at"

static Statement find_order = {
	.sql = "SELECT " ORDER_COLUMNS " FROM payorder.orders WHERE order_no = $1",
	.arguments = "t"
};
static Statement lock_order = {
	.sql = "SELECT " ORDER_COLUMNS " FROM payorder.orders WHERE order_no = $1"
	" FOR NO KEY UPDATE",
	.arguments = "t"
};
static Statement try_lock_order = {
	.sql = "SELECT " ORDER_COLUMNS " FROM payorder.orders WHERE order_no = $1"
	" FOR NO KEY UPDATE SKIP LOCKED",
	.arguments = "t"
};
static Statement update_order = {
	.sql = "UPDATE payorder.orders SET state = $2, paid_amount = $3,"
	" refunding_amount = $4, refunded_amount = $5, disputed_amount = $6,"
	" overdrawn_amount = $7, frozen = $8, version = $9, updated_at = $10,"
	" closed_at = $11, amount = $12, machine_id = $13 WHERE order_no = $1",
	.arguments = "ttlllllblzzli"
};
static Statement find_purged = {
	.sql = "SELECT order_no, machine_id, state, amount, currency, paid_amount,"
	" 0::bigint, refunded_amount, disputed_amount, 0::bigint, frozen, version,"
	" NULL::timestamptz, NULL::interval, created_at, purged_at, closed_at"
	" FROM payorder.purged_orders WHERE order_no = $1 AND away",
	.arguments = "t"
};
static Statement has_payment = {
	.sql = "SELECT 1 FROM payorder.payments"
	" WHERE order_no = $1 AND disposition = 'order' LIMIT 1",
	.arguments = "t"
};

/* Reads an order whose state may be one that its machine does not have. */
static Order *
read_row(Rows *rows, const char **state)
{
	Order	   *order;
	Reader		reader;

	if (rows->count == 0)
		return NULL;
	order = palloc0(sizeof(Order));
	reader = payorder_row(rows, 0);
	order->order_no = payorder_read_text(&reader);
	order->machine = payorder_machine(payorder_read_number(&reader));
	*state = payorder_read_text(&reader);
	order->state = payorder_machine_state(order->machine, *state);
	order->amount = payorder_read_number(&reader);
	order->currency = payorder_read_text(&reader);
	order->paid = payorder_read_number(&reader);
	order->refunding = payorder_read_number(&reader);
	order->refunded = payorder_read_number(&reader);
	order->disputed = payorder_read_number(&reader);
	order->overdrawn = payorder_read_number(&reader);
	order->frozen = payorder_read_truth(&reader);
	order->version = payorder_read_number(&reader);
	order->pay_by = payorder_read_time(&reader);
	order->cooling_off = payorder_read_interval(&reader);
	order->created_at = payorder_read_time(&reader);
	order->updated_at = payorder_read_time(&reader);
	order->closed_at = payorder_read_time(&reader);
	return order;
}

static Order *
read_order(Rows *rows)
{
	const char *state;
	Order	   *order = read_row(rows, &state);

	if (order != NULL && order->state == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PO_TRANSITION_REFUSED),
				 errmsg("order \"%s\" is in a state that its machine does not have",
						order->order_no),
				 errdetail("State \"%s\", machine \"%s\" version %d.", state,
						   order->machine->name, order->machine->version),
				 errhint("Somebody changed it with triggers disabled; see check_invariants().")));
	return order;
}

/* The order as it is, or was when it was purged; NULL if there is none. */
Order *
payorder_order_find(const char *order_no)
{
	Order	   *order = read_order(payorder_query(&find_order, order_no));

	return order != NULL ? order :
		read_order(payorder_query(&find_purged, order_no));
}

/* One that was purged comes back, and is locked like any other. */
static Order *
lock_by(Statement *statement, const char *order_no)
{
	Rows	   *rows = payorder_query(statement, order_no);

	if (rows->count == 0 && payorder_order_bring_back(order_no))
		rows = payorder_query(statement, order_no);
	return read_order(rows);
}

/*
 * Locks an order and reads it; NULL if there is none.  Waits no longer than
 * payorder.lock_wait, then 55P03.
 */
Order *
payorder_order_lock(const char *order_no)
{
	return lock_by(&lock_order, order_no);
}

/* Locks an order if nobody holds it; NULL if somebody does or it is gone. */
Order *
payorder_order_skip_locked(const char *order_no)
{
	return lock_by(&try_lock_order, order_no);
}

/* Raises PO002 if the order is not there. */
Order *
payorder_order_required(Order *order, const char *order_no)
{
	if (order == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PO_NO_SUCH_ORDER),
				 errmsg("no order \"%s\"", payorder_shown(order_no)),
				 errhint("Check the order number, or create it with create_order().")));
	return order;
}

/* Paid, as the verdicts mean it: stays true after any refund. */
bool
payorder_order_is_paid(const Order *order)
{
	if (order->amount > 0)
		return order->paid >= order->amount;
	return payorder_query(&has_payment, order->order_no)->count > 0;
}

/* Not paid, and can be. */
bool
payorder_order_is_open(const Order *order)
{
	return !payorder_order_is_paid(order) &&
		payorder_state_edge(order->state, "pay") != NULL;
}

/* In a state that waits for the gateway's word that it is closed. */
bool
payorder_order_is_closing(const Order *order)
{
	return payorder_state_edge(order->state, "close_confirmed") != NULL;
}

/* Whether the state's entry enqueues refund_all. */
bool
payorder_order_refunds_on_entry(const Order *order)
{
	for (const char **kind = order->state->enqueue; *kind != NULL; kind++)
	{
		if (strcmp(*kind, "refund_all") == 0)
			return true;
	}
	return false;
}

/* Whether the order ended because all that was paid went back. */
bool
payorder_order_is_refunded(const Order *order)
{
	if (!order->state->final)
		return false;
	for (int i = 0; i < order->machine->state_count; i++)
	{
		const Edge *edge = payorder_state_edge(&order->machine->states[i],
											   "refunded");

		if (edge != NULL && strcmp(edge->to, order->state->name) == 0)
			return true;
	}
	return false;
}

/* A payment of the order is undone: an order that was paid is frozen. */
void
payorder_order_freeze(Order *order)
{
	if (order->frozen || order->amount == 0 || !payorder_order_is_paid(order))
		return;
	order->frozen = true;
	order->changed = true;
}

/* Writes the row and tells the triggers that the kernel does it. */
static void
write_row(Order *order)
{
	KernelWrite before;

	order->version++;
	order->updated_at = payorder_now();
	before = payorder_begin_kernel_write(order);
	PG_TRY();
	{
		if (payorder_execute(&update_order, order->order_no,
							 order->state->name, order->paid,
							 order->refunding, order->refunded,
							 order->disputed, order->overdrawn,
							 (int) order->frozen, order->version,
							 order->updated_at, order->closed_at,
							 order->amount, order->machine->id) != 1)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("a trigger kept order \"%s\" from being changed",
							order->order_no),
					 errhint("A BEFORE trigger on payorder.orders must not return NULL.")));
	}
	PG_FINALLY();
	{
		payorder_end_kernel_write(before);
	}
	PG_END_TRY();
	order->changed = false;
}

/* Writes the amounts that were changed, if they were. */
void
payorder_order_save(Order *order)
{
	if (order->changed)
		write_row(order);
}

static int
append(Order *order, const char *event, const State *from,
	   const About *about, const Cause *cause)
{
	Event		record = {0};

	if (payorder_in_kernel_write(order->order_no))
		ereport(ERROR,
				(errcode(ERRCODE_PO_TRANSITION_REFUSED),
				 errmsg("order \"%s\" is just being changed",
						order->order_no),
				 errdetail("A trigger on payorder.orders calls back about the same order."),
				 errhint("Let the trigger enqueue() a task instead.")));
	record.event = event;
	record.from_state = from == NULL ? NULL : from->name;
	record.to_state = order->state->name;
	if (about != NULL)
	{
		record.gateway = about->gateway;
		record.txn_id = about->txn_id;
	}
	record.cause = *cause;
	record.at = payorder_now();
	return payorder_event_append(order->order_no, order->created_at, &record);
}

/* Appends an event that leaves the state as it is, and returns its number. */
int
payorder_order_event(Order *order, const char *event, const About *about,
					 const Cause *cause)
{
	return append(order, event, order->state, about, cause);
}

static bool
edge_holds(Order *order, const Edge *edge)
{
	if (edge->within > 0 &&
		(order->closed_at == NO_TIME ||
		 payorder_now() > order->closed_at + edge->within))
		return false;
	return payorder_guard_holds(edge->guard, order);
}

/* The candidate that an event would take now, NULL if none holds. */
const Edge *
payorder_order_edge(Order *order, const char *event)
{
	for (int i = 0; i < order->state->edge_count; i++)
	{
		const Edge *edge = &order->state->edges[i];

		if (strcmp(edge->event, event) == 0 && edge_holds(order, edge))
			return edge;
	}
	return NULL;
}

/* Whether fire() would take an event now. */
bool
payorder_order_by_hand(Order *order, const char *event)
{
	const Edge *edge = payorder_order_edge(order, event);

	return edge != NULL && !edge->by_timer && !payorder_is_money_event(event);
}

/* The events that fire() would take now, separated by commas. */
char *
payorder_order_allowed(Order *order)
{
	StringInfoData list;
	const char *last = "";

	initStringInfo(&list);
	for (int i = 0; i < order->state->edge_count; i++)
	{
		const char *event = order->state->edges[i].event;

		if (strcmp(event, last) == 0 || !payorder_order_by_hand(order, event))
			continue;
		last = event;
		appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", event);
	}
	return list.data;
}

/* Enqueues a kind of task for an order, one for each thing it is about. */
void
payorder_order_enqueue(Order *order, const char *task_kind)
{
	FanOut		fan_out = payorder_fan_out(task_kind);
	TaskRequest request = {.not_after = NO_TIME};

	if (fan_out != NULL)
	{
		fan_out(order);
		return;
	}
	request.kind = task_kind;
	request.order_no = order->order_no;
	request.run_at = payorder_now();
	request.payload = payorder_json_object("tt", "order_no", order->order_no,
										   "state", order->state->name);
	payorder_task_enqueue(&request);
}

/* Says that a person is needed: a review, and an event if that is new. */
void
payorder_order_alarm(Order *order, const char *alarm, const char *detail)
{
	ReviewRequest review = {0};
	Cause		cause = {.actor = "payorder",.source = "kernel"};

	review.subject = order->order_no;
	review.cause = alarm;
	review.order_no = order->order_no;
	review.amount = &order->amount;
	review.currency = order->currency;
	review.detail = detail;
	cause.reason = alarm;
	if (payorder_task_review(&review))
		payorder_order_event(order, "alarm", NULL, &cause);
}

/* How long after its state's entry a timer is due for this order. */
static int64
timer_length(const Order *order, const StateTimer *timer)
{
	int64		length;

	if (timer->parameter == NULL)
		return timer->after;
	if (strcmp(timer->parameter, "pay_within") == 0 &&
		order->pay_by != NO_TIME)
		return order->pay_by - order->created_at;
	if (strcmp(timer->parameter, "cooling_off") == 0 &&
		order->cooling_off != NULL &&
		payorder_duration(order->cooling_off, &length))
		return length;
	return timer->after;
}

static void
apply_names(Order *order, const char **kinds, const char **alarms)
{
	for (; *kinds != NULL; kinds++)
		payorder_order_enqueue(order, *kinds);
	for (; *alarms != NULL; alarms++)
		payorder_order_alarm(order, *alarms, NULL);
}

/* Arms the timers of the order's state, which it entered then. */
void
payorder_order_arm(Order *order, TimestampTz entered_at, int entered_seq)
{
	for (int i = 0; i < order->state->timer_count; i++)
	{
		const StateTimer *timer = &order->state->timers[i];

		payorder_timer_arm(entered_at + timer_length(order, timer),
						   order->order_no, order->state->name, timer->number,
						   entered_seq);
	}
}

/*
 * Does what the entry of the order's state causes.  Stock effects need
 * nothing here: an order without items holds none.
 */
void
payorder_order_enter(Order *order, int entered_seq)
{
	payorder_order_arm(order, payorder_now(), entered_seq);
	apply_names(order, order->state->enqueue, order->state->alarm);
}

/* The alarms of a state are over when it is left. */
static void
end_alarms(Order *order, const State *left)
{
	for (int i = 0; i < left->timer_count; i++)
	{
		if (left->timers[i].action == TIMER_ALARM)
			payorder_task_close_review(order->order_no,
									   left->timers[i].argument);
	}
}

static void
arrive(Order *order, const State *from, const Edge *edge,
	   const About *about, const Cause *cause)
{
	int			seq = append(order, edge->event, from, about, cause);

	apply_names(order, edge->enqueue, edge->alarm);
	if (from == order->state)
		return;
	end_alarms(order, from);
	payorder_order_enter(order, seq);
}

static void
set_state(Order *order, const State *state)
{
	if (state != order->state)
		order->closed_at = state->final ? payorder_now() : NO_TIME;
	order->state = state;
}

/* Takes an edge, with the amounts that were changed. */
void
payorder_order_take(Order *order, const Edge *edge, const About *about,
					const Cause *cause)
{
	const State *from = order->state;

	set_state(order, payorder_machine_state(order->machine, edge->to));
	write_row(order);
	arrive(order, from, edge, about, cause);
}

static bool
same_names(const char **left, const char **right)
{
	for (; *left != NULL && *right != NULL; left++, right++)
	{
		if (strcmp(*left, *right) != 0)
			return false;
	}
	return *left == *right;
}

static bool
same_effects(const Edge *left, const Edge *right)
{
	return payorder_same_text(left->stock, right->stock) &&
		same_names(left->enqueue, right->enqueue) &&
		same_names(left->alarm, right->alarm);
}

static void
refuse_by_hand(Order *order, const char *to_state)
{
	char	   *allowed = payorder_order_allowed(order);

	for (int i = 0; i < order->state->edge_count; i++)
	{
		const Edge *edge = &order->state->edges[i];

		if (strcmp(edge->to, to_state) == 0 &&
			(edge->by_timer || payorder_is_money_event(edge->event)))
			ereport(ERROR,
					(errcode(ERRCODE_PO_MONEY_EDGE),
					 errmsg("order \"%s\" can go from \"%s\" to \"%s\" by its event \"%s\" only",
							order->order_no, order->state->name, to_state,
							edge->event),
					 errhint("That edge is taken by ingest(), refunds or timers.")));
	}
	ereport(ERROR,
			(errcode(ERRCODE_PO_TRANSITION_REFUSED),
			 errmsg("order \"%s\" cannot go from \"%s\" to \"%s\"",
					order->order_no, order->state->name, to_state),
			 allowed[0] == '\0' ?
			 errdetail("No event is allowed now.") :
			 errdetail("Allowed now: %s.", allowed),
			 errhint("See allowed_events() for what is possible now.")));
}

/* The one edge by which a direct UPDATE may lead to a state. */
static const Edge *
edge_by_hand(Order *order, const char *to_state)
{
	const Edge *found = NULL;
	const char *looked_at = "";

	for (int i = 0; i < order->state->edge_count; i++)
	{
		const Edge *edge;

		if (strcmp(order->state->edges[i].event, looked_at) == 0)
			continue;
		looked_at = order->state->edges[i].event;
		edge = payorder_order_edge(order, looked_at);
		if (edge == NULL || strcmp(edge->to, to_state) != 0)
			continue;
		if (payorder_is_money_event(edge->event) || edge->by_timer)
			continue;
		if (found == NULL)
			found = edge;
		else if (!same_effects(found, edge))
			ereport(ERROR,
					(errcode(ERRCODE_PO_TRANSITION_REFUSED),
					 errmsg("several events lead order \"%s\" from \"%s\" to \"%s\"",
							order->order_no, order->state->name, to_state),
					 errhint("Use fire() with the event that is meant.")));
	}
	if (found == NULL)
		refuse_by_hand(order, to_state);
	return found;
}

/*
 * A direct UPDATE has changed an order's state: refuses it, or gives it the
 * event and effects of the transition that it is.
 */
void
payorder_order_moved_by_hand(const char *order_no, const char *from_state,
							 const char *to_state)
{
	const char *state;
	Order	   *order = read_row(payorder_query(&lock_order, order_no), &state);
	Cause		cause = {.source = "sql"};
	const State *from;
	const Edge *edge;

	payorder_order_required(order, order_no);
	from = payorder_machine_state(order->machine, from_state);
	if (from == NULL || strcmp(state, to_state) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_PO_TRANSITION_REFUSED),
				 errmsg("state of order \"%s\" was changed twice by one statement",
						order_no),
				 errhint("A trigger on payorder.orders changes it too; use fire() in one place.")));
	order->state = from;
	edge = edge_by_hand(order, to_state);
	set_state(order, payorder_machine_state(order->machine, to_state));
	write_row(order);
	cause.actor = GetUserNameFromId(GetSessionUserId(), false);
	arrive(order, from, edge, NULL, &cause);
}

/* An order without items, the only kind there is yet, needs no stock. */
static bool
stock_available(Order *order)
{
	return true;
}

void
payorder_order_register(void)
{
	payorder_register_guard("stock_available", stock_available);
}
