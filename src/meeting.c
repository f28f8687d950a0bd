/*-------------------------------------------------------------------------
 *
 * meeting.c
 *		Two who come at the same time, each with a row that the other looks
 *		for: a probe for rows that another transaction is just inserting.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/subtrans.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "relation.h"

#define OLDERS_PATIENCE	50		/* milliseconds */

/* One look past all snapshots; transactions that are inserting are listed. */
static bool
probe(Relation heap, Relation index, const char *key, List **inserting,
	  bool *invisible)
{
	TupleTableSlot *slot = table_slot_create(heap, NULL);
	bool		there = false;
	SnapshotData dirty;
	ScanKeyData scan_key;
	IndexScanDesc scan;

	InitDirtySnapshot(dirty);
	ScanKeyEntryInitialize(&scan_key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ,
						   CStringGetTextDatum(key));
	scan = payorder_index_beginscan(heap, index, &dirty, 1);
	index_rescan(scan, &scan_key, 1, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		if (TransactionIdIsValid(dirty.xmin))
			*inserting = lappend_int(*inserting, (int) dirty.xmin);
		else
		{
			there = true;
			if (IsolationUsesXactSnapshot() &&
				!table_tuple_satisfies_snapshot(heap, slot,
												GetTransactionSnapshot()))
				*invisible = true;
		}
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return there;
}

/*
 * Waits for a transaction's end, but not beyond an instant.  Two who meet would
 * wait for each other: the older of them soon goes on, since the younger one
 * waits for its end and then sees what it has written.
 */
static bool
await_transaction(TransactionId xid, TimestampTz until)
{
	if (TransactionIdPrecedes(GetTopTransactionId(),
							  SubTransGetTopmostTransaction(xid)))
		until = Min(until,
					TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												OLDERS_PATIENCE));
	while (TransactionIdIsInProgress(xid))
	{
		if (GetCurrentTimestamp() >= until)
			return false;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000L);
	}
	return true;
}

/*
 * Looks past all snapshots for rows under the text key of an index's first
 * column, waiting until an instant for all who are just inserting one.  The
 * caller has written its own key before, and looks with an ordinary snapshot
 * afterwards, so that of two who come at the same time at least one sees the
 * other.  A row that is committed but that this transaction can't see, being
 * at REPEATABLE READ or above, is 40001.
 *
 * A dirty snapshot may miss a row while it is being updated; what is asked
 * here is who is inserting.
 */
Meeting
payorder_meet(const char *index, const char *key, TimestampTz until)
{
	Oid			schema = get_namespace_oid("payorder", false);
	Relation	index_relation = index_open(get_relname_relid(index, schema),
											AccessShareLock);
	Relation	heap = table_open(index_relation->rd_index->indrelid,
								  AccessShareLock);
	Meeting		meeting = {false, false};
	bool		invisible = false;
	List	   *inserting = NIL;
	ListCell   *cell;

	do
	{
		inserting = NIL;
		meeting.there = probe(heap, index_relation, key, &inserting,
							  &invisible);
		foreach(cell, inserting)
			meeting.gave_up |= !await_transaction((TransactionId) lfirst_int(cell),
												  until);
	} while (inserting != NIL && !meeting.gave_up);
	if (meeting.gave_up)
		meeting.there = probe(heap, index_relation, key, &inserting,
							  &invisible);
	table_close(heap, AccessShareLock);
	index_close(index_relation, AccessShareLock);
	if (invisible)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access to rows that were inserted meanwhile"),
				 errhint("Retry the transaction.")));
	return meeting;
}
