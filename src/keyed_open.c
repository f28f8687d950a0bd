/*-------------------------------------------------------------------------
 *
 * keyed_open.c
 *		The tables and indexes that keyed statements open.
 *
 * A message of a gateway is some twenty statements about a dozen tables, and
 * a batch is a hundred messages.  Within payorder_keep_open() what a statement
 * has opened stays open for the next one, until the work is done.
 *
 * What is open belongs to the resource owner that was current when the work
 * began: a subtransaction within it may be rolled back, and if the work
 * raises, the rollback of whoever catches it closes all, and here it is only
 * forgotten.  The server keeps an open relation's description in place and up
 * to date.
 *
 * A table that is open so can't be altered within the work by its own session
 * ("is being used by active queries"); others can't alter it anyway, since it
 * is locked.
 *
 * Locks: the table's and the index's in each mode that a statement asks for,
 * taken before it is used, until the end of the transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "storage/lmgr.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"

#include "keyed.h"

static HTAB *known = NULL;		/* of KeyedRelation */
static ResourceOwner owner = NULL;	/* of what is open; NULL: nothing stays */
static KeyedRelation *open_ones = NULL;

/* What is known of a relation, for the life of the session. */
KeyedRelation *
payorder_keyed_relation(Oid relation)
{
	KeyedRelation *entry;
	bool		found;

	if (known == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = sizeof(Oid);
		control.entrysize = sizeof(KeyedRelation);
		control.hcxt = CacheMemoryContext;
		known = hash_create("payorder keyed relations", 64, &control,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(known, &relation, HASH_ENTER, &found);
	if (!found)
	{
		entry->open = NULL;
		entry->locks = 0;
		entry->next = NULL;
		entry->mark = 0;
		entry->in_reach = false;
	}
	return entry;
}

static Relation
open_relation(const KeyedRelation *entry, LOCKMODE mode, bool is_index)
{
	if (is_index)
		return index_open(entry->relation, mode);
	return try_table_open(entry->relation, mode);
}

/* Opens it, or finds it open, with a lock; NULL: there is no such table. */
static Relation
open_locked(KeyedRelation *entry, LOCKMODE mode, bool is_index)
{
	ResourceOwner current = CurrentResourceOwner;

	if (owner == NULL)
		return open_relation(entry, mode, is_index);
	if ((entry->locks & LOCKBIT_ON(mode)) != 0)
		return entry->open;
	CurrentResourceOwner = owner;
	if (entry->open != NULL)
		LockRelationOid(entry->relation, mode);
	else
	{
		entry->open = open_relation(entry, mode, is_index);
		if (entry->open != NULL)
		{
			entry->next = open_ones;
			open_ones = entry;
		}
	}
	CurrentResourceOwner = current;
	if (entry->open != NULL)
		entry->locks |= LOCKBIT_ON(mode);
	return entry->open;
}

Relation
payorder_keyed_open_table(KeyedRelation *table, LOCKMODE mode)
{
	return open_locked(table, mode, false);
}

Relation
payorder_keyed_open_index(KeyedRelation *index, LOCKMODE mode)
{
	return open_locked(index, mode, true);
}

/* Closes what a statement has opened, unless it stays open. */
void
payorder_keyed_close(Relation relation)
{
	if (owner == NULL)
		relation_close(relation, NoLock);
}

/* Forgets all that is open, and closes it, unless a rollback does. */
static void
let_go(bool close)
{
	while (open_ones != NULL)
	{
		KeyedRelation *entry = open_ones;

		open_ones = entry->next;
		if (close)
			relation_close(entry->open, NoLock);
		entry->open = NULL;
		entry->locks = 0;
		entry->in_reach = false;
	}
	owner = NULL;
}

/* Does some work in which tables and indexes stay open. */
void
payorder_keep_open(void (*work) (void *argument), void *argument)
{
	if (owner != NULL)
	{
		work(argument);
		return;
	}
	owner = CurrentResourceOwner;
	PG_TRY();
	{
		work(argument);
	}
	PG_CATCH();
	{
		let_go(false);
		PG_RE_THROW();
	}
	PG_END_TRY();
	let_go(true);
}
