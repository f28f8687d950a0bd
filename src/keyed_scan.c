/*-------------------------------------------------------------------------
 *
 * keyed_scan.c
 *		The rows of a statement's keys, by an index.
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

/* Whether the index is unique on one number, which the statement names. */
static bool
is_by_number(const Keyed *keyed, Relation index)
{
	return keyed->key_count == 1 &&
		keyed->keys[0].sk_func.fn_oid == F_INT8EQ &&
		index->rd_index->indisunique && index->rd_index->indnkeyatts == 1 &&
		index->rd_index->indkey.values[0] > 0 &&
		index->rd_indoption[0] == 0;
}

/* Opens a scan for rows of arguments. */
KeyedScan *
payorder_keyed_open(KeyedRun *run, int count)
{
	Keyed	   *keyed = run->keyed;
	KeyedScan  *scan = palloc0(sizeof(KeyedScan));

	scan->run = run;
	scan->index = index_open(keyed->index, keyed->relation_lock);
	scan->scan = payorder_index_beginscan(run->relation, scan->index,
										  run->estate->es_snapshot,
										  keyed->key_count);
	scan->slot = payorder_keyed_slot(run);
	if (count > 1 && is_by_number(keyed, scan->index))
	{
		scan->number = scan->index->rd_index->indkey.values[0];
		ScanKeyEntryInitialize(&scan->from, 0, 1, BTGreaterEqualStrategyNumber,
							   INT8OID, InvalidOid, F_INT8GE, (Datum) 0);
	}
	return scan;
}

void
payorder_keyed_close(KeyedScan *scan)
{
	ExecDropSingleTupleTableSlot(scan->slot);
	index_endscan(scan->scan);
	index_close(scan->index, NoLock);
	pfree(scan);
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
	index_rescan(scan->scan, &scan->from, 1, NULL, 0);
	scan->begun = true;
	scan->ahead = false;
	scan->ended = false;
}

/* Goes to the rows of the arguments; false if a key is NULL: there are none. */
bool
payorder_keyed_find(KeyedScan *scan)
{
	KeyedRun   *run = scan->run;
	ScanKeyData keys[INDEX_MAX_KEYS];

	for (int i = 0; i < run->keyed->key_count; i++)
	{
		bool		isnull;

		keys[i] = run->keyed->keys[i];
		keys[i].sk_argument = ExecEvalExpr(run->keyed->key_values[i],
										   run->context, &isnull);
		if (isnull)
			return false;
	}
	if (scan->number != 0)
		find_number(scan, DatumGetInt64(keys[0].sk_argument));
	else
		index_rescan(scan->scan, keys, run->keyed->key_count, NULL, 0);
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

static bool
next_row(KeyedScan *scan)
{
	if (scan->number != 0)
		return next_of_number(scan);
	CHECK_FOR_INTERRUPTS();
	return index_getnext_slot(scan->scan, scan->run->keyed->direction,
							  scan->slot);
}

/* The next row of the arguments that WHERE holds for; false: there is none. */
bool
payorder_keyed_next(KeyedScan *scan)
{
	KeyedRun   *run = scan->run;

	while (next_row(scan))
	{
		run->context->ecxt_scantuple = scan->slot;
		if (run->keyed->filter == NULL ||
			ExecQual(run->keyed->filter, run->context))
			return true;
	}
	return false;
}
