/*-------------------------------------------------------------------------
 *
 * event_mark.h
 *		Places in the log, and what became visible between two of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_EVENT_MARK_H
#define PAYORDER_EVENT_MARK_H

#include "utils/array.h"

#include "event.h"
#include "relation.h"

/*
 * What of the log was committed at an instant: all of the epochs before, and
 * of the mark's own epoch what its snapshot sees.
 */
typedef struct Mark
{
	int			epoch;
	const char *snapshot;		/* as pg_snapshot's text */
	uint64		next;			/* transactions from here on ... */
	int64		floor;			/* ... have ids above this */
	int64		ceiling;		/* what the snapshot sees has no id above */
} Mark;

extern const Mark payorder_log_begin;

extern void payorder_epoch_note(void);
extern void payorder_mark_now(Mark *mark, const Mark *before);
extern void payorder_mark_everything(Mark *mark);
extern bool payorder_mark_parse(char *text, Mark *mark);
extern char *payorder_mark_text(const Mark *mark);
extern bool payorder_mark_fits(const Mark *mark);
extern ArrayType *payorder_mark_running(const Mark *mark);

extern ArrayType *payorder_late(const Mark *lower, const Mark *upper);

/* What became visible between two marks, from some id on. */
typedef struct Pair
{
	Mark		lower;
	Mark		upper;
	ArrayType  *late;			/* payorder_late() of them */
	int64		after;			/* greater ids only */
} Pair;

extern Rows *payorder_between(const Pair *pair, int most);
extern Rows *payorder_between_ids(const Pair *pair, int most);
extern bool payorder_between_any(const Pair *pair, int slot);
extern int64 payorder_read_logged(Reader *reader, char **order_no, int *seq,
								  Event *event, char **trace, bytea **hash);

#endif							/* PAYORDER_EVENT_MARK_H */
