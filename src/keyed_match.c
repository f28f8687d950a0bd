/*-------------------------------------------------------------------------
 *
 * keyed_match.c
 *		By which index the rows that a WHERE names can be had, in the order that
 *		is asked for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "keyed_match.h"

static bool
is_value(Node *node)
{
	return !contain_var_clause(node) && !contain_volatile_functions(node);
}

/* Reads "column operator value", or the reverse of it. */
static void
read_comparison(Condition *condition, OpExpr *operation)
{
	Node	   *left;
	Node	   *right;
	Oid			operator = operation->opno;

	if (list_length(operation->args) != 2)
		return;
	left = linitial(operation->args);
	right = lsecond(operation->args);
	if (!IsA(left, Var))
	{
		Node	   *swap = left;

		left = right;
		right = swap;
		operator = get_commutator(operator);
	}
	if (!IsA(left, Var) || !OidIsValid(operator) || !is_value(right))
		return;
	condition->column = ((Var *) left)->varattno;
	condition->operator = operator;
	condition->collation = operation->inputcollid;
	condition->value = (Expr *) right;
}

/* The conditions of a WHERE that must all hold. */
List *
payorder_conditions(Node *where)
{
	List	   *conditions = NIL;
	ListCell   *cell;

	if (where == NULL)
		return NIL;
	foreach(cell, make_ands_implicit(canonicalize_qual(expression_planner((Expr *) where),
													   false)))
	{
		Condition  *condition = palloc0(sizeof(Condition));

		condition->expression = lfirst(cell);
		if (IsA(condition->expression, OpExpr))
			read_comparison(condition, (OpExpr *) condition->expression);
		conditions = lappend(conditions, condition);
	}
	return conditions;
}

List *
payorder_condition_expressions(List *conditions, bool only_unused)
{
	List	   *expressions = NIL;
	ListCell   *cell;

	foreach(cell, conditions)
	{
		Condition  *condition = lfirst(cell);

		if (!only_unused || !condition->used)
			expressions = lappend(expressions, condition->expression);
	}
	return expressions;
}

static int
strategy_of(const Condition *condition, Relation index, int column)
{
	if (condition->column == 0 ||
		condition->column != index->rd_index->indkey.values[column] ||
		condition->collation != index->rd_indcollation[column])
		return 0;
	return get_op_opfamily_strategy(condition->operator,
									index->rd_opfamily[column]);
}

/* Takes the conditions on one column of an index; whether one is equality. */
static bool
match_column(Match *match, List *conditions, Relation index, int column)
{
	ListCell   *cell;

	foreach(cell, conditions)
	{
		if (strategy_of(lfirst(cell), index, column) == BTEqualStrategyNumber)
		{
			match->conditions = lappend(match->conditions, lfirst(cell));
			match->columns = lappend_int(match->columns, column);
			return true;
		}
	}
	foreach(cell, conditions)
	{
		if (strategy_of(lfirst(cell), index, column) != 0)
		{
			match->conditions = lappend(match->conditions, lfirst(cell));
			match->columns = lappend_int(match->columns, column);
		}
	}
	return false;
}

/* The direction in which a column is sorted as the index has it, or none. */
static ScanDirection
direction_of(const SortGroupClause *sort, List *targets, Relation index,
			 int column)
{
	Node	   *expression = (Node *) get_sortgroupclause_expr((SortGroupClause *) sort,
															   targets);
	Oid			family;
	Oid			type;
	int16		strategy;

	if (!IsA(expression, Var) || column >= index->rd_index->indnkeyatts ||
		((Var *) expression)->varattno != index->rd_index->indkey.values[column] ||
		exprCollation(expression) != index->rd_indcollation[column] ||
		index->rd_indoption[column] != 0 ||
		!get_ordering_op_properties(sort->sortop, &family, &type, &strategy) ||
		family != index->rd_opfamily[column])
		return NoMovementScanDirection;
	if (strategy == BTLessStrategyNumber && !sort->nulls_first)
		return ForwardScanDirection;
	if (strategy == BTGreaterStrategyNumber && sort->nulls_first)
		return BackwardScanDirection;
	return NoMovementScanDirection;
}

/* Whether the index gives the rows in the order that is asked for. */
static bool
match_order(Match *match, const Query *query, Relation index)
{
	int			column = match->equal;
	ListCell   *cell;

	match->direction = ForwardScanDirection;
	if (match->unique)
		return true;
	foreach(cell, query->sortClause)
	{
		ScanDirection direction = direction_of(lfirst(cell), query->targetList,
											   index, column++);

		if (direction == NoMovementScanDirection ||
			(cell != list_head(query->sortClause) &&
			 direction != match->direction))
			return false;
		match->direction = direction;
	}
	return true;
}

static bool
is_usable_index(Relation index, List *conditions)
{
	Form_pg_index form = index->rd_index;

	if (index->rd_rel->relam != BTREE_AM_OID || !form->indisvalid ||
		!form->indisready || !form->indislive || form->indcheckxmin)
		return false;
	return predicate_implied_by(RelationGetIndexPredicate(index),
								payorder_condition_expressions(conditions, false), false);
}

static Match *
match_index(const Query *query, List *conditions, Relation index)
{
	Match	   *match = palloc0(sizeof(Match));

	if (!is_usable_index(index, conditions))
		return NULL;
	match->index = RelationGetRelid(index);
	while (match->equal < index->rd_index->indnkeyatts &&
		   match_column(match, conditions, index, match->equal))
		match->equal++;
	match->unique = index->rd_index->indisunique &&
		index->rd_index->indimmediate &&
		match->equal == index->rd_index->indnkeyatts;
	if (match->conditions == NIL || !match_order(match, query, index))
		return NULL;
	return match;
}

static bool
is_better(const Match *match, const Match *than)
{
	if (than == NULL || match->unique != than->unique)
		return than == NULL || match->unique;
	return list_length(match->conditions) > list_length(than->conditions);
}

/*
 * The index by which the rows are best had: one that names at most one row, else
 * the one with most conditions; NULL if none serves.
 */
Match *
payorder_best_index(const Query *query, List *conditions, Relation relation)
{
	Match	   *best = NULL;
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(relation))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		Match	   *match = match_index(query, conditions, index);

		if (match != NULL && is_better(match, best))
			best = match;
		index_close(index, AccessShareLock);
	}
	return best;
}
