/*-------------------------------------------------------------------------
 *
 * keyed.h
 *		Statements that read or write rows of one table by a key, carried out
 *		without starting the executor.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_KEYED_H
#define PAYORDER_KEYED_H

#include "access/genam.h"
#include "access/sdir.h"
#include "access/skey.h"
#include "nodes/execnodes.h"
#include "nodes/lockoptions.h"
#include "storage/lock.h"
#include "utils/plancache.h"

#include "relation.h"

/* A table or an index, and whether it is open; see keyed_open.c. */
typedef struct KeyedRelation
{
	Oid			relation;		/* hash key */
	Relation	open;			/* NULL: it is not */
	LOCKMASK	locks;			/* with which it is open */
	struct KeyedRelation *next; /* that is open */
} KeyedRelation;

/* An index that a written row gets an entry in. */
typedef struct KeyedIndex
{
	KeyedRelation *index;
	IndexInfo  *info;			/* with its expressions compiled */
} KeyedIndex;

/* What is to be done for a statement. */
typedef struct Keyed
{
	MemoryContext memory;
	CachedPlanSource *source;	/* as long as this is valid, so is that */
	CmdType		command;
	KeyedRelation *table;
	LOCKMODE	relation_lock;
	AclMode		rights;			/* that are needed */
	Oid			user;			/* who is known to have them */
	TupleDesc	description;	/* of the table */
	int			parameter_count;

	/* which rows */
	KeyedRelation *index;
	int			key_count;
	ScanKeyData keys[INDEX_MAX_KEYS];	/* but for their values */
	ExprState  *key_values[INDEX_MAX_KEYS];
	ScanDirection direction;
	ExprState  *filter;			/* what the keys leave of WHERE, or NULL */
	ExprState  *limit;			/* or NULL */
	bool		locks;
	LockTupleMode lock_mode;
	LockWaitPolicy wait_policy;

	/* what is read of them */
	TupleDesc	result;
	AttrNumber *columns;		/* of the table; 0: an expression */
	ExprState **column_values;

	/* what is written */
	int			assigned_count;
	AttrNumber *assigned;
	ExprState **assigned_values;
	bool		or_nothing;		/* ON CONFLICT DO NOTHING */
	List	   *arbiters;
	int			index_count;
	KeyedIndex *indexes;
} Keyed;

/* A statement that is being carried out. */
typedef struct KeyedRun
{
	Keyed	   *keyed;
	Relation	relation;
	EState	   *estate;
	ExprContext *context;
	bool		conflict_is_rare;
	int64		processed;
	Cell	   *cells;			/* what was read, in the caller's memory */
	int			cells_allocated;
} KeyedRun;

/* keyed_open.c */
extern KeyedRelation *payorder_keyed_relation(Oid relation);
extern Relation payorder_keyed_open_table(KeyedRelation *table, LOCKMODE mode);
extern Relation payorder_keyed_open_index(KeyedRelation *index, LOCKMODE mode);
extern void payorder_keyed_close(Relation relation);

/* keyed_shape.c */
extern Keyed *payorder_keyed_recognise(CachedPlanSource *source,
									   int parameter_count);

/* keyed_write.c */
extern bool payorder_keyed_insert(KeyedRun *run);
extern bool payorder_keyed_change(KeyedRun *run);

/* keyed.c */
extern bool payorder_keyed_begin(Statement *statement, KeyedRun *run);
extern bool payorder_keyed_perform(KeyedRun *run, const Datum *values,
								   const char *nulls, MemoryContext caller);
extern void payorder_keyed_end(KeyedRun *run);
extern Rows *payorder_keyed_rows(const KeyedRun *run);
extern IndexScanDesc payorder_keyed_scan(KeyedRun *run, Relation *index);
extern bool payorder_keyed_next(KeyedRun *run, IndexScanDesc scan,
								TupleTableSlot *slot);

#endif							/* PAYORDER_KEYED_H */
