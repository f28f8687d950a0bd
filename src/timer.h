/*-------------------------------------------------------------------------
 *
 * timer.h
 *		What is due when.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_TIMER_H
#define PAYORDER_TIMER_H

#include "utils/timestamp.h"

typedef struct Timer
{
	TimestampTz due_at;
	int64		id;
	const char *order_no;
	bool		drain;			/* look at waiting callbacks, else a state's */
	const char *state;
	int			number;
	int			entered_seq;
	int			tries;
} Timer;

extern TimestampTz payorder_now(void);
extern TimestampTz payorder_set_now(TimestampTz now);

extern void payorder_timer_arm(TimestampTz due, const char *order_no,
							   const char *state, int number,
							   int entered_seq);
extern void payorder_timer_arm_drain(TimestampTz due, const char *order_no);
extern Timer *payorder_timers_due(TimestampTz at, int most, int *count);
extern void payorder_timer_done(const Timer *timer);
extern void payorder_timer_again(const Timer *timer, TimestampTz due,
								 int tries, const char *error);
extern int	payorder_timers_retry(const char *order_no);
extern TimestampTz payorder_timers_next(void);
extern void payorder_timers_begin_at(TimestampTz instant);
extern TimestampTz payorder_timers_first(void);

#endif							/* PAYORDER_TIMER_H */
