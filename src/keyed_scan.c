/*-------------------------------------------------------------------------
 *
 * keyed_scan.c
 *		The rows of a statement's keys, by an index.
 *
 * The index is asked when a row is not where it was last (keyed_place.c), and
 * where the keys name one row at most, for no more than that.
 *
 * Rows of arguments often name neighbours: the tasks of one claim have numbers
 * in a row.  Where the key is one bigint of a unique index, and the next number
 * is not far above the one before, the scan goes on from where it is instead of
 * descending the index again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "compat.h"
#include "keyed.h"

/* So far above the number before, the index is descended again. */
#define FAR		64

TupleTableSlot *
payorder_keyed_slot(const KeyedRun *run)
{
	return MakeSingleTupleTableSlot(run->keyed->description,
									table_slot_callbacks(run->relation));
}

/* Begins with the rows of rows of arguments. */
void
payorder_keyed_begin_scan(KeyedScan *scan, KeyedRun *run, int count)
{
	scan->run = run;
	scan->index = NULL;
	scan->slot = payorder_keyed_slot(run);
	scan->number = 0;
	scan->begun = false;
	if (count > 1 && run->keyed->number != 0)
	{
		scan->number = run->keyed->number;
		ScanKeyEntryInitialize(&scan->from, 0, 1, BTGreaterEqualStrategyNumber,
							   INT8OID, InvalidOid, F_INT8GE, (Datum) 0);
	}
}

void
payorder_keyed_end_scan(KeyedScan *scan)
{
	ExecDropSingleTupleTableSlot(scan->slot);
	if (scan->index != NULL)
	{
		index_endscan(scan->scan);
		payorder_keyed_close(scan->index);
	}
}

/* Asks the index for what has these keys. */
static void
ask_index(KeyedScan *scan, ScanKey keys, int count)
{
	KeyedRun   *run = scan->run;

	if (scan->index == NULL)
	{
		scan->index = payorder_keyed_open_index(run->keyed->index,
												run->keyed->relation_lock);
		scan->scan = payorder_index_beginscan(run->relation, scan->index,
											  run->estate->es_snapshot, count);
	}
	index_rescan(scan->scan, keys, count, NULL, 0);
}

/* Goes to a number, from where the scan is if that is not far. */
static void
find_number(KeyedScan *scan, int64 number)
{
	bool		near = scan->begun && number > scan->wanted &&
		(uint64) number - (uint64) scan->wanted <= FAR;

	scan->wanted = number;
	if (near)
		return;
	scan->from.sk_argument = Int64GetDatum(number);
	ask_index(scan, &scan->from, 1);
	scan->begun = true;
	scan->ahead = false;
	scan->ended = false;
}

/* Goes to the rows of the arguments; false if a key is NULL: there are none. */
bool
payorder_keyed_find(KeyedScan *scan)
{
	KeyedRun   *run = scan->run;

	run->mark = 0;
	scan->asked = false;
	scan->over = false;
	for (int i = 0; i < run->keyed->key_count; i++)
	{
		bool		isnull;

		scan->keys[i] = run->keyed->keys[i];
		scan->keys[i].sk_argument = ExecEvalExpr(run->keyed->key_values[i],
												 run->context, &isnull);
		if (isnull)
			return false;
	}
	if (scan->number != 0)
		find_number(scan, DatumGetInt64(scan->keys[0].sk_argument));
	else
		payorder_keyed_seek(run, scan->keys);
	return true;
}

/* The row of the number, if it is there. */
static bool
next_of_number(KeyedScan *scan)
{
	while (!scan->ended)
	{
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		if (!scan->ahead)
		{
			if (!index_getnext_slot(scan->scan, ForwardScanDirection,
									scan->slot))
				break;
			scan->found = DatumGetInt64(slot_getattr(scan->slot, scan->number,
													 &isnull));
		}
		scan->ahead = scan->found > scan->wanted;
		if (scan->found >= scan->wanted)
			return !scan->ahead;
	}
	scan->ended = true;
	return false;
}

/* The next row of the keys: where it was, or by the index. */
static bool
next_of_key(KeyedScan *scan)
{
	KeyedRun   *run = scan->run;

	if (!scan->asked)
	{
		if (payorder_keyed_find_again(run, scan->slot))
			return true;
		ask_index(scan, scan->keys, run->keyed->key_count);
		scan->asked = true;
	}
	CHECK_FOR_INTERRUPTS();
	if (!index_getnext_slot(scan->scan, run->keyed->direction, scan->slot))
		return false;
	payorder_keyed_remember(run, &scan->slot->tts_tid);
	return true;
}

/* The next row of the arguments that WHERE holds for; false: there is none. */
bool
payorder_keyed_next(KeyedScan *scan)
{
	KeyedRun   *run = scan->run;

	while (!scan->over &&
		   (scan->number != 0 ? next_of_number(scan) : next_of_key(scan)))
	{
		scan->over = run->keyed->one_row;
		run->context->ecxt_scantuple = scan->slot;
		if (run->keyed->filter == NULL ||
			ExecQual(run->keyed->filter, run->context))
			return true;
	}
	return false;
}
