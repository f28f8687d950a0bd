/*-------------------------------------------------------------------------
 *
 * sweep.h
 *		What is due.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_SWEEP_H
#define PAYORDER_SWEEP_H

#include "utils/timestamp.h"

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

extern SweepCounts payorder_sweep_once(int batch, TimestampTz at);
extern TimestampTz payorder_sweep_next(void);

#endif							/* PAYORDER_SWEEP_H */
