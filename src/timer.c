/*-------------------------------------------------------------------------
 *
 * timer.c
 *		What is due when, and what time it is.
 *
 * A timer is a row that is read in the order of due_at, locked while it is
 * handled (others skip it) and gone with the handling's commit.  A timer of a
 * state says by which event the state was entered; an order that has moved
 * since makes it void, so leaving a state need not touch its timers.
 *
 * The index entries of timers that have fired stay until no snapshot can see
 * them.  The worker therefore keeps a mark, in its memory only, below which it
 * knows that there is no timer, and begins there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "relation.h"
#include "timer.h"
#include "wake.h"

static Statement insert_timer = {
	.sql = "INSERT INTO payorder.timers"
	" (due_at, order_no, kind, state, number, entered_seq)"
	" VALUES ($1, $2, 'state', $3, $4, $5)",
	.arguments = "zttii"
};
static Statement insert_drain = {
	.sql = "INSERT INTO payorder.timers (due_at, order_no, kind)"
	" VALUES ($1, $2, 'drain')",
	.arguments = "zt"
};
static Statement get_due = {
	.sql = "SELECT due_at, id, order_no, kind = 'drain', state, number, entered_seq,"
	" tries FROM payorder.timers WHERE due_at <= $1 AND due_at >= $3"
	" ORDER BY due_at, id LIMIT $2 FOR UPDATE SKIP LOCKED",
	.arguments = "ziz"
};
static Statement delete_timer = {
	.sql = "DELETE FROM payorder.timers WHERE due_at = $1 AND id = $2",
	.arguments = "zl"
};
static Statement postpone_timer = {
	.sql = "UPDATE payorder.timers SET due_at = $3, tries = $4, error = $5"
	" WHERE due_at = $1 AND id = $2",
	.arguments = "zlzit"
};
static Statement retry_timers = {
	.sql = "UPDATE payorder.timers SET due_at = pg_catalog.now(), tries = 0"
	" WHERE order_no = $1 AND due_at = 'infinity'",
	.arguments = "t"
};
static Statement get_next = {
	.sql = "SELECT pg_catalog.min(due_at) FROM payorder.timers"
	" WHERE due_at >= $1",
	.arguments = "z"
};

static TimestampTz set_now = NO_TIME;
static TimestampTz mark = MIN_TIMESTAMP;
static TimestampTz found = DT_NOBEGIN;

/*
 * The instant at which things happen: the clock's, or the one that a caller
 * of sweep() gave.
 */
TimestampTz
payorder_now(void)
{
	return set_now == NO_TIME ? GetCurrentTimestamp() : set_now;
}

/*
 * Sets the instant (NO_TIME: the clock's again) and returns what was set; the
 * caller puts it back, also after an error.
 */
TimestampTz
payorder_set_now(TimestampTz now)
{
	TimestampTz before = set_now;

	set_now = now;
	return before;
}

/* Arms a timer of a state that the order entered by event entered_seq. */
void
payorder_timer_arm(TimestampTz due, const char *order_no, const char *state,
				   int number, int entered_seq)
{
	payorder_execute(&insert_timer, due, order_no, state, number, entered_seq);
	payorder_wake_at(due);
}

/* Has sweep() look at what waits for an order. */
void
payorder_timer_arm_drain(TimestampTz due, const char *order_no)
{
	payorder_execute(&insert_drain, due, order_no);
	payorder_wake_at(due);
}

/* Locks and returns timers that are due, passing over those of others. */
Timer *
payorder_timers_due(TimestampTz at, int most, int *count)
{
	Rows	   *rows = payorder_query(&get_due, at, most, mark);
	Timer	   *timers = palloc0(sizeof(Timer) * Max(rows->count, 1));

	*count = rows->count;
	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);

		timers[i].due_at = payorder_read_time(&reader);
		timers[i].id = payorder_read_number(&reader);
		timers[i].order_no = payorder_read_text(&reader);
		timers[i].drain = payorder_read_truth(&reader);
		timers[i].state = payorder_read_text(&reader);
		timers[i].number = payorder_read_number(&reader);
		timers[i].entered_seq = payorder_read_number(&reader);
		timers[i].tries = payorder_read_number(&reader);
	}
	return timers;
}

void
payorder_timer_done(const Timer *timer)
{
	payorder_execute(&delete_timer, timer->due_at, timer->id);
}

/* Makes a timer due later; at infinity it is set aside. */
void
payorder_timer_again(const Timer *timer, TimestampTz due, int tries,
					 const char *error)
{
	payorder_execute(&postpone_timer, timer->due_at, timer->id, due, tries,
					 error);
}

/* Makes an order's timers that were set aside due now; how many. */
int
payorder_timers_retry(const char *order_no)
{
	return payorder_execute(&retry_timers, order_no);
}

/* The instant at which the next timer is due, NO_TIME: there is none. */
TimestampTz
payorder_timers_next(void)
{
	Rows	   *rows = payorder_query(&get_next, mark);

	found = rows->cells[0].isnull ? DT_NOEND : rows->cells[0].time;
	return rows->cells[0].isnull ? NO_TIME : found;
}

/* From now on this process looks for no timer before an instant. */
void
payorder_timers_begin_at(TimestampTz instant)
{
	mark = Max(instant, MIN_TIMESTAMP);
}

/* The first timer that payorder_timers_next() found, DT_NOEND: none. */
TimestampTz
payorder_timers_first(void)
{
	return found;
}
