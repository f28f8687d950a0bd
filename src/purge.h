/*-------------------------------------------------------------------------
 *
 * purge.h
 *		Retention; inside of the room.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_PURGE_H
#define PAYORDER_PURGE_H

#include "utils/array.h"
#include "utils/timestamp.h"

#include "event.h"
#include "relation.h"

/* What freeing a partition of the log came to. */
typedef struct Freed
{
	int			slot;
	int			month;			/* 12 * year + month of its orders */
	TimestampTz cutoff;
	bool		done;
	int			carried;		/* events of unfinished orders */
	const char *held_by;		/* why it was not freed, NULL: nothing to free */
} Freed;

extern void payorder_purge_events(Freed *freed);
extern ArrayType *payorder_texts(const Rows *rows);

#endif							/* PAYORDER_PURGE_H */
