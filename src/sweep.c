/*-------------------------------------------------------------------------
 *
 * sweep.c
 *		What is due: waiting callbacks, leases, the kernel's own tasks, timers.
 *
 * One call does up to a batch of each in the caller's transaction; the worker
 * calls it in transactions of its own.  Timers are locked with SKIP LOCKED,
 * and an order that somebody holds is left for the next time, so any number
 * of sweeps run beside each other.
 *
 * A batch is one subtransaction.  If a unit of it raises, those before it are
 * done again, that one alone, and the rest as another batch, each in a
 * subtransaction: a second try costs twenty times as much as a subtransaction,
 * and more than 64 of these slow all other sessions down.  A unit that raises
 * alone is tried again later, and after three tries set aside, with an alarm;
 * what the server is to blame for (payorder_may_pass) is tried for ever.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "callback.h"
#include "errors.h"
#include "gateway_aside.h"
#include "handler.h"
#include "json.h"
#include "order.h"
#include "refund.h"
#include "relation.h"
#include "task.h"
#include "timer.h"
#include "wake.h"
#include "work.h"

#define MOST_BATCH		10000
#define MOST_TRIES		3

PG_FUNCTION_INFO_V1(payorder_sweep);
PG_FUNCTION_INFO_V1(payorder_retry_order);
PG_FUNCTION_INFO_V1(payorder_retry_callback);
PG_FUNCTION_INFO_V1(payorder_next_due);

/* What a sweep did. */
typedef struct SweepCounts
{
	int			timers;
	int			void_timers;
	int			leases;
	int			callbacks;
	int			tasks;
	int			failed;
	int			left;			/* due, but somebody else held the order */
	bool		more;
} SweepCounts;

/* What one unit of a sweep came to. */
typedef enum Fate
{
	FATE_LEFT,					/* somebody else holds it */
	FATE_DONE,
	FATE_VOID,
	FATE_FAILED
} Fate;

/* One thing that is due. */
typedef struct Unit
{
	const Timer *timer;			/* this, */
	const Task *task;			/* or this */
	Fate		fate;
	ErrorData  *error;			/* if it failed */
} Unit;

typedef Fate (*Handler) (const Unit *unit);

typedef struct Batch
{
	Unit	   *units;
	int			count;
	Handler		handler;
	int			at;				/* the unit that is done just now */
} Batch;

static void
do_batch(void *argument)
{
	Batch	   *batch = argument;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext memory;

	/* goes with the subtransaction, too */
	memory = AllocSetContextCreate(CurTransactionContext, "payorder unit",
								   ALLOCSET_DEFAULT_SIZES);

	MemoryContextSwitchTo(memory);
	for (int i = 0; i < batch->count; i++)
	{
		batch->at = i;
		batch->units[i].fate = batch->handler(&batch->units[i]);
		MemoryContextReset(memory);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(memory);
}

/* Does units; those that raise, and only those, are undone and have failed. */
static void
do_units(Unit *units, int count, Handler handler)
{
	while (count > 0)
	{
		Batch		batch = {units, count, handler, 0};
		ErrorData  *error = payorder_contained(do_batch, &batch);

		if (error == NULL)
			return;
		if (count == 1)
		{
			units->fate = FATE_FAILED;
			units->error = error;
			return;
		}
		FreeErrorData(error);
		do_units(units, batch.at, handler);
		do_units(units + batch.at, 1, handler);
		units += batch.at + 1;
		count -= batch.at + 1;
	}
}

static int
count_fate(const Unit *units, int count, Fate fate)
{
	int			n = 0;

	for (int i = 0; i < count; i++)
		n += units[i].fate == fate;
	return n;
}

static bool
is_locked(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
}

static const StateTimer *
definition_of(const Order *order, const Timer *timer)
{
	for (int i = 0; i < order->state->timer_count; i++)
	{
		if (order->state->timers[i].number == timer->number)
			return &order->state->timers[i];
	}
	return NULL;
}

static bool
has_moved_on(const Order *order, const Timer *timer)
{
	return strcmp(order->state->name, timer->state) != 0 ||
		payorder_last_state_change(order->order_no, order->created_at) !=
		timer->entered_seq;
}

static Fate
fire(Order *order, const Timer *timer, const StateTimer *definition)
{
	Cause		cause = {.actor = "payorder",.source = "timer"};
	const Edge *edge;

	if (payorder_callback_pay_waits(order->order_no, true) &&
		payorder_order_is_open(order))
	{
		payorder_timer_again(timer, payorder_now() + USECS_PER_MINUTE, 0, NULL);
		payorder_timer_arm_drain(payorder_now(), order->order_no);
		return FATE_LEFT;
	}
	edge = payorder_order_edge(order, definition->argument);
	if (edge == NULL && definition->retry > 0)
	{
		payorder_timer_again(timer, payorder_now() + definition->retry,
							 timer->tries, NULL);
		return FATE_DONE;
	}
	if (edge == NULL)
		payorder_order_alarm(order, "timer_refused", definition->argument);
	else
	{
		payorder_order_take(order, edge, NULL, &cause);
		payorder_refund_settle(order);
	}
	payorder_timer_done(timer);
	return FATE_DONE;
}

/* Does what a timer of the order's state is there for. */
static Fate
act(Order *order, const Timer *timer)
{
	const StateTimer *definition = definition_of(order, timer);

	if (definition == NULL)
		elog(ERROR, "machine has no timer %d in state \"%s\"",
			 timer->number, timer->state);
	if (!payorder_guard_holds(definition->guard, order))
	{
		if (definition->retry > 0)
			payorder_timer_again(timer, payorder_now() + definition->retry,
								 timer->tries, NULL);
		else
			payorder_timer_done(timer);
		return FATE_DONE;
	}
	if (definition->action == TIMER_FIRE)
		return fire(order, timer, definition);
	if (definition->action == TIMER_ENQUEUE)
		payorder_order_enqueue(order, definition->argument);
	else
		payorder_order_alarm(order, definition->argument, NULL);
	payorder_timer_done(timer);
	return FATE_DONE;
}

static Fate
handle_timer(const Unit *unit)
{
	const Timer *timer = unit->timer;
	Order	   *order;

	order = payorder_order_skip_locked(timer->order_no);
	if (order == NULL)
		return FATE_LEFT;
	if (timer->drain)
	{
		if (payorder_callback_drain_timer(timer->order_no))
			payorder_timer_done(timer);
		else
			payorder_timer_again(timer, payorder_now() + USECS_PER_SEC, 0,
								 NULL);
		return FATE_DONE;
	}
	if (has_moved_on(order, timer))
	{
		payorder_timer_done(timer);
		return FATE_VOID;
	}
	return act(order, timer);
}

/* A timer raised: later again, or set aside with an alarm. */
static void
set_back(const Timer *timer, const ErrorData *error)
{
	TimestampTz later = payorder_now() + USECS_PER_SEC;
	int			tries = timer->tries;
	ReviewRequest review = {0};

	if (payorder_may_pass(error))
	{
		later = payorder_now() + USECS_PER_MINUTE;
		payorder_warn_put_off(psprintf("order \"%s\"", timer->order_no),
							  error);
	}
	else
	{
		tries += !is_locked(error);
		later += tries * 5 * USECS_PER_SEC;
	}
	if (tries >= MOST_TRIES)
	{
		later = DT_NOEND;
		review.subject = timer->order_no;
		review.cause = "timer_error";
		review.order_no = timer->order_no;
		review.detail = timer->state;
		payorder_task_review(&review);
	}
	payorder_timer_again(timer, later, tries, error->message);
}

static void
sweep_timers(TimestampTz at, int most, SweepCounts *counts)
{
	int			count;
	int			left;
	Timer	   *timers = payorder_timers_due(at, most, &count);
	Unit	   *units = palloc0(sizeof(Unit) * Max(count, 1));

	for (int i = 0; i < count; i++)
		units[i].timer = &timers[i];
	do_units(units, count, handle_timer);
	for (int i = 0; i < count; i++)
	{
		if (units[i].fate == FATE_FAILED)
			set_back(units[i].timer, units[i].error);
	}
	left = count_fate(units, count, FATE_LEFT);
	counts->timers = count_fate(units, count, FATE_DONE);
	counts->void_timers = count_fate(units, count, FATE_VOID);
	counts->failed += count_fate(units, count, FATE_FAILED);
	counts->more |= count == most && left < count;
}

static Unit *
do_tasks(const Task *tasks, int count, Handler handler)
{
	Unit	   *units = palloc0(sizeof(Unit) * Max(count, 1));

	for (int i = 0; i < count; i++)
		units[i].task = &tasks[i];
	do_units(units, count, handler);
	return units;
}

static void
warn_of_task(const Task *task, const ErrorData *error)
{
	payorder_warn_put_off(psprintf("task " INT64_FORMAT, task->id), error);
}

static Fate
expire(const Unit *unit)
{
	return payorder_work_expire(unit->task) ? FATE_DONE : FATE_LEFT;
}

static Fate
leave(const Unit *unit)
{
	payorder_task_leave(unit->task);
	return FATE_FAILED;
}

static void
sweep_leases(TimestampTz at, int most, SweepCounts *counts)
{
	int			count;
	Task	   *tasks = payorder_tasks_expired(at, most, &count);
	Unit	   *units = do_tasks(tasks, count, expire);

	for (int i = 0; i < count; i++)
	{
		if (units[i].fate != FATE_FAILED || is_locked(units[i].error))
			continue;
		if (payorder_may_pass(units[i].error))
			warn_of_task(&tasks[i], units[i].error);
		do_units(&units[i], 1, leave);
		counts->failed++;
	}
	counts->leases = count_fate(units, count, FATE_DONE);
	counts->more |= count == most && counts->leases > 0;
}

static Fate
ask_first(const Unit *unit)
{
	return payorder_work_forgotten(unit->task) ? FATE_DONE : FATE_LEFT;
}

/* Refunds that must be asked about before they are sent again. */
static void
sweep_forgotten(TimestampTz at, int most, SweepCounts *counts)
{
	int			count;
	Task	   *tasks = payorder_tasks_forgotten(at, most, &count);
	Unit	   *units = do_tasks(tasks, count, ask_first);

	counts->tasks += count_fate(units, count, FATE_DONE);
	counts->failed += count_fate(units, count, FATE_FAILED);
}

static Fate
carry_out(const Unit *unit)
{
	Order	   *order = payorder_order_skip_locked(unit->task->order_no);

	if (order == NULL || !payorder_task_take_ready(unit->task->id))
		return FATE_LEFT;
	payorder_task_done(unit->task, NULL);
	payorder_refund_everything(order);
	return FATE_DONE;
}

/* The kernel's own task raised: backoff, in the end dead and listed. */
static void
fail_kernel_task(const Task *task, const ErrorData *error)
{
	Task		uncounted = *task;

	if (!payorder_task_take_ready(task->id))
		return;
	if (!payorder_may_pass(error))
	{
		payorder_task_give_back(task, error->message, true);
		return;
	}
	warn_of_task(task, error);
	uncounted.attempts--;
	payorder_task_again(&uncounted, payorder_now() + USECS_PER_MINUTE,
						error->message);
}

static void
sweep_kernel_tasks(TimestampTz at, int most, SweepCounts *counts)
{
	int			count;
	int			done;
	Task	   *tasks = payorder_tasks_of_kernel(at, most, &count);
	Unit	   *units = do_tasks(tasks, count, carry_out);

	for (int i = 0; i < count; i++)
	{
		if (units[i].fate != FATE_FAILED || is_locked(units[i].error))
			continue;
		fail_kernel_task(&tasks[i], units[i].error);
		counts->failed++;
	}
	done = count_fate(units, count, FATE_DONE);
	counts->tasks += done;
	counts->more |= count == most && done > 0;
}

/*
 * Does what is due at an instant, up to a batch of each kind, in the current
 * transaction.
 */
static SweepCounts
sweep_once(int batch, TimestampTz at)
{
	SweepCounts counts = {0};
	TimestampTz before = payorder_set_now(at);

	PG_TRY();
	{
		counts.callbacks = payorder_callback_drain_due(at, batch,
													   &counts.more);
		sweep_leases(at, batch, &counts);
		sweep_forgotten(at, batch, &counts);
		sweep_kernel_tasks(at, batch, &counts);
		sweep_timers(at, batch, &counts);
	}
	PG_FINALLY();
	{
		payorder_set_now(before);
	}
	PG_END_TRY();
	return counts;
}

static TimestampTz
earlier(TimestampTz left, TimestampTz right)
{
	if (left == NO_TIME || right == NO_TIME)
		return left == NO_TIME ? right : left;
	return Min(left, right);
}

/* When there is something to do next, NO_TIME: never. */
static TimestampTz
next_due(void)
{
	TimestampTz next = earlier(payorder_timers_next(),
							   earlier(payorder_tasks_next(),
									   payorder_callbacks_next()));

	next = earlier(next, payorder_handlers_next());
	return next == DT_NOEND ? NO_TIME : next;
}

Datum
payorder_sweep(PG_FUNCTION_ARGS)
{
	SweepCounts counts;
	Datum		values[7];
	bool		nulls[7] = {0};
	int			batch = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT32(0);

	payorder_prevent_read_only("sweep()");
	if (batch < 1 || batch > MOST_BATCH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch is out of range"),
				 errhint("Give 1 to %d.", MOST_BATCH)));
	if (PG_ARGISNULL(1) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(1)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at must be a finite instant"),
				 errhint("Leave it out for now.")));
	counts = sweep_once(batch, PG_GETARG_TIMESTAMPTZ(1));
	payorder_aside_expire(PG_GETARG_TIMESTAMPTZ(1));
	values[0] = Int32GetDatum(counts.timers);
	values[1] = Int32GetDatum(counts.void_timers);
	values[2] = Int32GetDatum(counts.leases);
	values[3] = Int32GetDatum(counts.callbacks);
	values[4] = Int32GetDatum(counts.tasks);
	values[5] = Int32GetDatum(counts.failed);
	values[6] = BoolGetDatum(counts.more);
	PG_RETURN_DATUM(payorder_composite(fcinfo, values, nulls));
}

Datum
payorder_retry_order(PG_FUNCTION_ARGS)
{
	char	   *order_no = payorder_required_text(fcinfo, 0, "order_no");
	Cause		cause = {.source = "operator"};
	Order	   *order;
	int			count;

	payorder_prevent_read_only("retry_order()");
	cause.actor = payorder_required_text(fcinfo, 1, "actor");
	cause.reason = payorder_text_argument(fcinfo, 2);
	order = payorder_order_required(payorder_order_lock(order_no), order_no);
	count = payorder_timers_retry(order_no) + payorder_callback_retry(order_no);
	payorder_order_event(order, "retry_order", NULL, &cause);
	payorder_task_close_review(order_no, "timer_error");
	PG_RETURN_INT32(count);
}

Datum
payorder_retry_callback(PG_FUNCTION_ARGS)
{
	char	   *gateway = payorder_required_text(fcinfo, 0, "gateway");
	char	   *txn_id = payorder_required_text(fcinfo, 1, "txn_id");
	char	   *name = payorder_required_text(fcinfo, 2, "event");
	Event		event = {.event = "retry_callback"};

	payorder_prevent_read_only("retry_callback()");
	event.cause.source = "operator";
	event.cause.actor = payorder_required_text(fcinfo, 3, "actor");
	event.cause.reason = payorder_text_argument(fcinfo, 4);
	if (!payorder_callback_retry_one(gateway, txn_id, name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no such callback was set aside after an error"),
				 errhint("See payorder.callbacks_waiting and payorder.attention.")));
	event.gateway = gateway;
	event.txn_id = txn_id;
	event.at = payorder_now();
	payorder_event_append_payment(event.at, &event);
	payorder_wake_at(event.at);
	PG_RETURN_VOID();
}

Datum
payorder_next_due(PG_FUNCTION_ARGS)
{
	TimestampTz next = next_due();

	if (next == NO_TIME)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(next);
}
