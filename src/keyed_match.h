/*-------------------------------------------------------------------------
 *
 * keyed_match.h
 *		By which index the rows that a WHERE names can be had.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_KEYED_MATCH_H
#define PAYORDER_KEYED_MATCH_H

#include "access/sdir.h"
#include "nodes/parsenodes.h"
#include "utils/relcache.h"

/* One condition of WHERE. */
typedef struct Condition
{
	Expr	   *expression;
	AttrNumber	column;			/* 0: it is no comparison with a value */
	Oid			operator;		/* column operator value */
	Oid			collation;
	Expr	   *value;
	bool		used;			/* as a key of the scan */
} Condition;

/* What an index can do for a statement. */
typedef struct Match
{
	Oid			index;
	int			equal;			/* so many columns have a value */
	bool		unique;			/* and that is at most one row */
	ScanDirection direction;
	List	   *conditions;		/* of Condition, in the order of columns */
	List	   *columns;		/* of the index, for each */
} Match;

extern List *payorder_conditions(Node *where);
extern List *payorder_condition_expressions(List *conditions,
											bool only_unused);
extern Match *payorder_best_index(const Query *query, List *conditions,
								  Relation relation);

#endif							/* PAYORDER_KEYED_MATCH_H */
