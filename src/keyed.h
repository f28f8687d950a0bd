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

/*
 * A table or an index; whether it is open (keyed_open.c), and where the row of
 * some key was (keyed_place.c).
 */
typedef struct KeyedRelation
{
	Oid			relation;		/* hash key */
	Relation	open;			/* NULL: it is not */
	LOCKMASK	locks;			/* with which it is open */
	struct KeyedRelation *next; /* that is open */
	uint32		mark;			/* of the key, 0: no place is known */
	ItemPointerData place;
	bool		in_reach;		/* the table was kept open since */
} KeyedRelation;

/* How a value of a key is read. */
typedef struct KeyType
{
	bool		by_value;
	int16		length;
} KeyType;

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
	KeyType		key_types[INDEX_MAX_KEYS];
	AttrNumber	key_columns[INDEX_MAX_KEYS];	/* of the table, for INSERT */
	bool		one_row;		/* the keys name one at most */
	AttrNumber	number;			/* the key is this unique bigint, or 0 */
	ExprState  *same_key;		/* whether a row is that one */
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
	bool		other_keys;		/* unique indexes that are none of them */
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
	bool		removes;		/* the rows that it finds, instead of locking them */
	bool		conflict_is_rare;
	uint32		mark;			/* of the key that it looks for, or 0 */
	int64		processed;
	MemoryContext caller;		/* where what is read goes */
	Cell	   *cells;
	int			cells_allocated;
} KeyedRun;

/* The rows of a statement's keys. */
typedef struct KeyedScan
{
	KeyedRun   *run;
	Relation	index;			/* NULL: it was not asked for any key yet */
	IndexScanDesc scan;
	ScanKeyData keys[INDEX_MAX_KEYS];
	bool		asked;			/* for the present keys */
	bool		over;			/* there can't be another row of them */
	TupleTableSlot *slot;		/* the row that was found */

	/* where rows of ascending numbers are found one after the other */
	AttrNumber	number;			/* the table's column; 0: that is not so */
	ScanKeyData from;
	int64		wanted;
	int64		found;			/* the number of the slot's row */
	bool		begun;
	bool		ahead;			/* the slot's row was not asked for yet */
	bool		ended;
} KeyedScan;

/* keyed_open.c */
extern KeyedRelation *payorder_keyed_relation(Oid relation);
extern Relation payorder_keyed_open_table(KeyedRelation *table, LOCKMODE mode);
extern Relation payorder_keyed_open_index(KeyedRelation *index, LOCKMODE mode);
extern void payorder_keyed_close(Relation relation);

/* keyed_place.c */
extern void payorder_keyed_seek(KeyedRun *run, const ScanKeyData *keys);
extern bool payorder_keyed_find_again(KeyedRun *run, TupleTableSlot *slot);
extern void payorder_keyed_remember(const KeyedRun *run,
									const ItemPointerData *place);
extern void payorder_keyed_remember_new(KeyedRun *run, TupleTableSlot *slot);

/* keyed_shape.c */
extern Keyed *payorder_keyed_recognise(CachedPlanSource *source,
									   int parameter_count);

/* keyed_write.c */
extern int	payorder_keyed_insert(KeyedRun *run, const Datum *values,
								  const char *nulls, int count);
extern int	payorder_keyed_change(KeyedRun *run, const Datum *values,
								  const char *nulls, int count);

/* keyed.c */
extern bool payorder_keyed_begin(Statement *statement, KeyedRun *run);
extern bool payorder_keyed_begin_taking(Statement *find, Statement *remove,
										KeyedRun *run);
extern int	payorder_keyed_perform(KeyedRun *run, const Datum *values,
								   const char *nulls, int count,
								   MemoryContext caller);
extern void payorder_keyed_end(KeyedRun *run);
extern Rows *payorder_keyed_rows(const KeyedRun *run);
extern void payorder_keyed_arguments(KeyedRun *run, const Datum *values,
									 const char *nulls, int row);
extern void payorder_keyed_read_row(KeyedRun *run, TupleTableSlot *slot);

/* keyed_scan.c */
extern TupleTableSlot *payorder_keyed_slot(const KeyedRun *run);
extern void payorder_keyed_begin_scan(KeyedScan *scan, KeyedRun *run,
									  int count);
extern bool payorder_keyed_find(KeyedScan *scan);
extern bool payorder_keyed_next(KeyedScan *scan);
extern void payorder_keyed_end_scan(KeyedScan *scan);

#endif							/* PAYORDER_KEYED_H */
