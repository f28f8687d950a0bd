/*-------------------------------------------------------------------------
 *
 * keyed_place.c
 *		Where the row of a key was when it was read or written last.
 *
 * A decision reads, locks and updates the same few rows: an attempt is looked
 * for before and under the order's lock, a key's row is written and then gets
 * its verdict, a gateway's settings are asked for by each message.  For each
 * table the place of its last row is remembered, and looked at before the index
 * is.
 *
 * The place is only a hint.  The row there counts if the statement's snapshot
 * sees it and it has the key: then it is the row, since a unique index has at
 * most one that a snapshot sees.  Else the index is asked.  A place that was
 * remembered while the table was not kept open may be behind its end by now.
 * At SERIALIZABLE the index is always asked, since conflicts are found by what
 * was read of it.
 *
 * Locks: none but the table's, which its statement has.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

#include "keyed.h"

static uint32
hash_of(const KeyType *type, Datum value)
{
	if (type->by_value)
		return hash_bytes((unsigned char *) &value, sizeof(Datum));
	if (type->length == -1)
	{
		struct varlena *text = PG_DETOAST_DATUM_PACKED(value);

		return hash_bytes((unsigned char *) VARDATA_ANY(text),
						  VARSIZE_ANY_EXHDR(text));
	}
	return hash_bytes((unsigned char *) DatumGetPointer(value), type->length);
}

/* Tells keys of a table apart; never 0. */
static uint32
mark_of(const Keyed *keyed, const Datum *values)
{
	uint32		mark = keyed->index->relation;

	for (int i = 0; i < keyed->key_count; i++)
		mark = hash_combine(mark, hash_of(&keyed->key_types[i], values[i]));
	return mark == 0 ? 1 : mark;
}

/* Notes what a statement looks for. */
void
payorder_keyed_seek(KeyedRun *run, const ScanKeyData *keys)
{
	Datum		values[INDEX_MAX_KEYS];

	run->mark = 0;
	if (!run->keyed->one_row || IsolationIsSerializable())
		return;
	for (int i = 0; i < run->keyed->key_count; i++)
		values[i] = keys[i].sk_argument;
	run->mark = mark_of(run->keyed, values);
}

/* Finds the row where it was; false if it is not there, or not any more. */
bool
payorder_keyed_find_again(KeyedRun *run, TupleTableSlot *slot)
{
	KeyedRelation *table = run->keyed->table;

	if (run->mark == 0 || run->mark != table->mark)
		return false;
	table->mark = 0;
	if (!table->in_reach &&
		ItemPointerGetBlockNumber(&table->place) >=
		RelationGetNumberOfBlocks(run->relation))
		return false;
	if (!table_tuple_fetch_row_version(run->relation, &table->place,
									   run->estate->es_snapshot, slot))
		return false;
	run->context->ecxt_scantuple = slot;
	if (ExecQual(run->keyed->same_key, run->context))
	{
		table->mark = run->mark;
		return true;
	}
	ExecClearTuple(slot);
	return false;
}

/* Remembers where the row is that a statement looked for. */
void
payorder_keyed_remember(const KeyedRun *run, const ItemPointerData *place)
{
	KeyedRelation *table = run->keyed->table;

	if (run->mark == 0)
		return;
	table->mark = run->mark;
	table->place = *place;
	table->in_reach = table->open != NULL;
}

/* Remembers where a row is that was inserted by its key. */
void
payorder_keyed_remember_new(KeyedRun *run, TupleTableSlot *slot)
{
	Keyed	   *keyed = run->keyed;
	Datum		values[INDEX_MAX_KEYS];

	if (keyed->key_count == 0 || IsolationIsSerializable())
		return;
	for (int i = 0; i < keyed->key_count; i++)
	{
		bool		isnull;

		values[i] = slot_getattr(slot, keyed->key_columns[i], &isnull);
		if (isnull)
			return;
	}
	run->mark = mark_of(keyed, values);
	payorder_keyed_remember(run, &slot->tts_tid);
}
