/*-------------------------------------------------------------------------
 *
 * keyed_write.c
 *		INSERT, UPDATE and DELETE of a row by its key, for each row of the
 *		statement's arguments.
 *
 * They return for how many they did it.  For the next one, where the plain
 * case is not the case, nothing has been written: see keyed.c.  Rows that
 * nothing stands against are written together, many to a WAL record.
 *
 * An INSERT with ON CONFLICT DO NOTHING is speculative, as the executor's: it
 * looks for the key, waits for who is just writing it, writes the row with a
 * token that makes others wait for this decision, and takes it back if an
 * index shows that somebody was faster.  Where the caller has just looked for
 * the key, it is not looked for again before the first try; unless the table
 * has other unique indexes, which would raise for a key that is there after
 * all.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

#include "checks.h"
#include "compat.h"
#include "keyed.h"

static ResultRelInfo *
result_relation(KeyedRun *run)
{
	ResultRelInfo *info = makeNode(ResultRelInfo);

	info->ri_RelationDesc = run->relation;
	payorder_checks_hand_over(info);
	return info;
}

/* Opens all indexes of the table, with what is kept of them. */
static void
open_indexes(KeyedRun *run, ResultRelInfo *info)
{
	Keyed	   *keyed = run->keyed;

	info->ri_NumIndices = keyed->index_count;
	info->ri_IndexRelationDescs = palloc(sizeof(Relation) * keyed->index_count);
	info->ri_IndexRelationInfo = palloc(sizeof(IndexInfo *) * keyed->index_count);
	for (int i = 0; i < keyed->index_count; i++)
	{
		IndexInfo  *index = palloc(sizeof(IndexInfo));

		/* a copy, since an access method may leave its things in it */
		memcpy(index, keyed->indexes[i].info, sizeof(IndexInfo));
		index->ii_Context = CurrentMemoryContext;
		info->ri_IndexRelationDescs[i] =
			payorder_keyed_open_index(keyed->indexes[i].index,
									  RowExclusiveLock);
		info->ri_IndexRelationInfo[i] = index;
	}
}

static void
close_indexes(ResultRelInfo *info)
{
	for (int i = 0; i < info->ri_NumIndices; i++)
	{
		payorder_index_insert_cleanup(info->ri_IndexRelationDescs[i],
									  info->ri_IndexRelationInfo[i]);
		payorder_keyed_close(info->ri_IndexRelationDescs[i]);
	}
}

/* Sets the columns that a statement assigns; the others are there. */
static void
assign(KeyedRun *run, TupleTableSlot *slot)
{
	Keyed	   *keyed = run->keyed;

	for (int i = 0; i < keyed->assigned_count; i++)
	{
		int			at = keyed->assigned[i] - 1;

		slot->tts_values[at] = ExecEvalExpr(keyed->assigned_values[i],
											run->context,
											&slot->tts_isnull[at]);
	}
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(run->relation);
}

static void
check_row(KeyedRun *run, ResultRelInfo *info, TupleTableSlot *slot)
{
	if (RelationGetDescr(run->relation)->constr != NULL)
		ExecConstraints(info, slot, run->estate);
	if (run->relation->rd_rel->relispartition)
		ExecPartitionCheck(info, slot, run->estate, true);
}

/* ---- INSERT ---- */

/* One try to write the row and its keys; false if another was faster. */
static bool
insert_speculatively(KeyedRun *run, ResultRelInfo *info, TupleTableSlot *slot)
{
	TransactionId self = GetCurrentTransactionId();
	bool		conflict = false;
	uint32		token = SpeculativeInsertionLockAcquire(self);

	table_tuple_insert_speculative(run->relation, slot,
								   run->estate->es_output_cid, 0, NULL, token);
	payorder_insert_index_tuples(info, slot, run->estate, false, true,
								 &conflict, run->keyed->arbiters,
								 NO_INDEX_UPDATED);
	table_tuple_complete_speculative(run->relation, slot, token, !conflict);
	SpeculativeInsertionLockRelease(self);
	return !conflict;
}

/*
 * Inserts the row if its key is not there; false if it is, but perhaps not for
 * this transaction's snapshot.
 */
static bool
insert_or_nothing(KeyedRun *run, ResultRelInfo *info, TupleTableSlot *slot)
{
	ItemPointerData there;
	bool		done = run->conflict_is_rare &&
		insert_speculatively(run, info, slot);

	while (!done)
	{
		CHECK_FOR_INTERRUPTS();
		if (!payorder_check_index_constraints(info, slot, run->estate, &there,
											  run->keyed->arbiters))
			return !IsolationUsesXactSnapshot();
		done = insert_speculatively(run, info, slot);
	}
	payorder_keyed_remember_new(run, slot);
	run->processed++;
	return true;
}

/* Writes rows that nothing stands against, and then their index entries. */
static void
insert_rows(KeyedRun *run, ResultRelInfo *info, TupleTableSlot **slots,
			int count)
{
	if (count == 1)
		table_tuple_insert(run->relation, slots[0], run->estate->es_output_cid,
						   0, NULL);
	else
		table_multi_insert(run->relation, slots, count,
						   run->estate->es_output_cid, 0, NULL);
	for (int i = 0; i < count; i++)
	{
		ResetExprContext(run->context);
		payorder_insert_index_tuples(info, slots[i], run->estate, false, false,
									 NULL, NIL, NO_INDEX_UPDATED);
	}
	run->processed += count;
}

/* The row of one row of arguments, checked and by itself. */
static TupleTableSlot *
new_row(KeyedRun *run, ResultRelInfo *info)
{
	TupleTableSlot *slot = payorder_keyed_slot(run);

	memset(slot->tts_isnull, true, run->keyed->description->natts);
	assign(run, slot);
	ExecMaterializeSlot(slot);
	check_row(run, info, slot);
	return slot;
}

/* Inserts a row for each row of arguments; how many were plain. */
int
payorder_keyed_insert(KeyedRun *run, const Datum *values, const char *nulls,
					  int count)
{
	ResultRelInfo *info = result_relation(run);
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * count);
	int			done = 0;

	open_indexes(run, info);
	for (int i = 0; i < count; i++)
	{
		payorder_keyed_arguments(run, values, nulls, i);
		slots[i] = new_row(run, info);
		if (!run->keyed->or_nothing)
			done++;
		else if (done == i && insert_or_nothing(run, info, slots[i]))
			done++;
	}
	if (!run->keyed->or_nothing)
		insert_rows(run, info, slots, count);
	close_indexes(info);
	for (int i = 0; i < count; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	return done;
}

/* ---- UPDATE and DELETE ---- */

/* Writes the new version of a row; false if others have changed it. */
static bool
update_row(KeyedRun *run, TupleTableSlot *old)
{
	ResultRelInfo *info = result_relation(run);
	TupleTableSlot *new = payorder_keyed_slot(run);
	UpdatedIndexes updated = NO_INDEX_UPDATED;
	TM_FailureData failure;
	LockTupleMode mode;
	TM_Result	result;

	slot_getallattrs(old);
	memcpy(new->tts_values, old->tts_values,
		   sizeof(Datum) * run->keyed->description->natts);
	memcpy(new->tts_isnull, old->tts_isnull,
		   sizeof(bool) * run->keyed->description->natts);
	assign(run, new);
	ExecMaterializeSlot(new);
	check_row(run, info, new);
	result = table_tuple_update(run->relation, &old->tts_tid, new,
								run->estate->es_output_cid,
								run->estate->es_snapshot, InvalidSnapshot,
								true, &failure, &mode, &updated);
	if (result == TM_Ok && payorder_updates_indexes(updated))
	{
		open_indexes(run, info);
		payorder_insert_index_tuples(info, new, run->estate, true, false,
									 NULL, NIL, updated);
		close_indexes(info);
	}
	if (result == TM_Ok)
		payorder_keyed_remember(run, &new->tts_tid);
	ExecDropSingleTupleTableSlot(new);
	return result == TM_Ok;
}

static bool
delete_row(KeyedRun *run, TupleTableSlot *old)
{
	TM_FailureData failure;

	return table_tuple_delete(run->relation, &old->tts_tid,
							  run->estate->es_output_cid,
							  run->estate->es_snapshot, InvalidSnapshot, true,
							  &failure, false) == TM_Ok;
}

/* Changes the row that a scan finds, if there is one; false: it is not plain. */
static bool
change_row(KeyedRun *run, KeyedScan *scan)
{
	if (!payorder_keyed_next(scan))
		return true;
	if (run->keyed->command == CMD_UPDATE)
	{
		if (!update_row(run, scan->slot))
			return false;
	}
	else if (!delete_row(run, scan->slot))
		return false;
	if (run->keyed->result != NULL)
		payorder_keyed_read_row(run, scan->slot);
	else
		run->processed++;
	return true;
}

/* Changes the row of each row of arguments; how many were plain. */
int
payorder_keyed_change(KeyedRun *run, const Datum *values, const char *nulls,
					  int count)
{
	KeyedScan	scan;
	int			done;

	CheckCmdReplicaIdentity(run->relation, run->keyed->command);
	payorder_keyed_begin_scan(&scan, run, count);
	for (done = 0; done < count; done++)
	{
		payorder_keyed_arguments(run, values, nulls, done);
		if (payorder_keyed_find(&scan) && !change_row(run, &scan))
			break;
	}
	payorder_keyed_end_scan(&scan);
	return done;
}
