/*-------------------------------------------------------------------------
 *
 * keyed_shape.c
 *		Which statements are about rows of one table by a key, and what is to
 *		be done for them.
 *
 * It is told from the statement as the server has analysed and rewritten it,
 * so that defaults, casts and collations are the server's:
 *
 *	SELECT of columns or expressions, WHERE with values for the first columns
 *		of an index, ORDER BY as that index, LIMIT, FOR UPDATE and the like
 *	INSERT of one row of values, ON CONFLICT DO NOTHING
 *	UPDATE, DELETE, WHERE with a value for each column of a unique index; DELETE
 *		RETURNING of columns or expressions
 *
 * All else is left to the executor: joins, subqueries, aggregates, volatile
 * conditions; tables with row security, rules, children, generated columns, or
 * triggers that are not the kernel's own; and whatever calls a user's
 * function, so that nothing here is ever entered twice.  The kernel's own
 * triggers say nothing about what the kernel does: statement triggers let it
 * pass, and those of orders find the row as it was written when no BEFORE
 * trigger is there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "checks.h"
#include "compat.h"
#include "keyed.h"
#include "keyed_match.h"

/* ---- what is out of question ---- */

static bool
is_simple(const Query *query)
{
	return !query->hasAggs && !query->hasWindowFuncs &&
		!query->hasTargetSRFs && !query->hasSubLinks &&
		!query->hasDistinctOn && !query->hasRecursive &&
		!query->hasModifyingCTE && query->cteList == NIL &&
		query->groupClause == NIL && query->groupingSets == NIL &&
		query->havingQual == NULL && query->distinctClause == NIL &&
		query->setOperations == NULL && query->limitOffset == NULL &&
		query->limitOption == LIMIT_OPTION_COUNT &&
		(query->returningList == NIL || query->commandType == CMD_DELETE) &&
		query->withCheckOptions == NIL &&
		list_length(query->rtable) == 1;
}

static bool
is_known_command(const Query *query)
{
	switch (query->commandType)
	{
		case CMD_SELECT:
		case CMD_UPDATE:
		case CMD_DELETE:
			return query->onConflict == NULL && query->jointree != NULL &&
				list_length(query->jointree->fromlist) == 1 &&
				IsA(linitial(query->jointree->fromlist), RangeTblRef) &&
				list_length(query->rowMarks) <= 1;
		case CMD_INSERT:
			return query->jointree->fromlist == NIL &&
				query->jointree->quals == NULL &&
				(query->onConflict == NULL ||
				 query->onConflict->action == ONCONFLICT_NOTHING);
		default:
			return false;
	}
}

/* Whether a trigger function is one that lets the kernel's statements pass. */
static bool
lets_kernel_pass(Oid function)
{
	static const char *const names[] = {
		"payorder_refuse_change", "payorder_order_state_changed",
		"payorder_order_columns_changed"
	};
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Datum		symbol;
	bool		isnull;
	bool		passes = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId)
	{
		char	   *name;

		symbol = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
		name = TextDatumGetCString(symbol);
		for (size_t i = 0; i < lengthof(names); i++)
			passes |= strcmp(name, names[i]) == 0;
	}
	ReleaseSysCache(tuple);
	return passes;
}

/*
 * Whether a trigger has nothing to do with a statement that changes no column
 * of a unique index: it is for others, the kernel's own, or the referenced
 * side of a foreign key.
 */
static bool
is_without_effect(const Trigger *trigger, CmdType command)
{
	if ((command == CMD_INSERT && !TRIGGER_FOR_INSERT(trigger->tgtype)) ||
		(command == CMD_UPDATE && !TRIGGER_FOR_UPDATE(trigger->tgtype)) ||
		(command == CMD_DELETE && !TRIGGER_FOR_DELETE(trigger->tgtype)))
		return true;
	if (command == CMD_UPDATE &&
		RI_FKey_trigger_type(trigger->tgfoid) == RI_TRIGGER_PK)
		return true;
	return trigger->tgnargs == 0 && lets_kernel_pass(trigger->tgfoid);
}

static bool
has_foreign_triggers(Relation relation, CmdType command)
{
	TriggerDesc *triggers = relation->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		if (!is_without_effect(&triggers->triggers[i], command))
			return true;
	}
	return false;
}

/* Whether the table's CHECKs call only what is the server's own. */
static bool
checks_server_only(const TupleConstr *constraints)
{
	for (int i = 0; constraints != NULL && i < constraints->num_check; i++)
	{
		if (payorder_calls_users(stringToNode(constraints->check[i].ccbin)))
			return false;
	}
	return true;
}

static bool
is_plain_table(Relation relation, CmdType command)
{
	TupleConstr *constraints = RelationGetDescr(relation)->constr;

	return relation->rd_rel->relkind == RELKIND_RELATION &&
		!relation->rd_rel->relhassubclass &&
		!relation->rd_rel->relrowsecurity && !relation->rd_rel->relhasrules &&
		(command == CMD_SELECT || !has_foreign_triggers(relation, command)) &&
		(command == CMD_SELECT || checks_server_only(constraints)) &&
		(constraints == NULL ||
		 (!constraints->has_generated_stored &&
		  !payorder_has_virtual_columns(constraints)));
}

/* ---- what is to be done ---- */

static ExprState *
compile(Expr *expression)
{
	return ExecInitExpr(expression_planner(copyObject(expression)), NULL);
}

static KeyType
key_type(Oid type)
{
	KeyType		kept;

	get_typlenbyval(type, &kept.length, &kept.by_value);
	return kept;
}

/* The column of a unique index on one number, if that is what is looked for. */
static AttrNumber
number_of(const Keyed *keyed, Relation index)
{
	if (keyed->key_count != 1 ||
		keyed->keys[0].sk_func.fn_oid != F_INT8EQ ||
		!index->rd_index->indisunique || index->rd_index->indnkeyatts != 1 ||
		index->rd_indoption[0] != 0)
		return 0;
	return Max(index->rd_index->indkey.values[0], 0);
}

static void
keep_keys(Keyed *keyed, const Match *match)
{
	Relation	index = index_open(match->index, AccessShareLock);
	List	   *used = NIL;
	ListCell   *cell;
	ListCell   *column_cell;

	forboth(cell, match->conditions, column_cell, match->columns)
	{
		Condition  *condition = lfirst(cell);
		int			column = lfirst_int(column_cell);
		int			at = keyed->key_count++;
		int			strategy;
		Oid			left;
		Oid			right;

		get_op_opfamily_properties(condition->operator,
								   index->rd_opfamily[column], false,
								   &strategy, &left, &right);
		ScanKeyEntryInitialize(&keyed->keys[at], 0, column + 1, strategy,
							   right, condition->collation,
							   get_opcode(condition->operator), (Datum) 0);
		fmgr_info_cxt(get_opcode(condition->operator),
					  &keyed->keys[at].sk_func, keyed->memory);
		keyed->key_values[at] = compile(condition->value);
		keyed->key_types[at] = key_type(exprType((Node *) condition->value));
		used = lappend(used, condition->expression);
		condition->used = true;
	}
	keyed->index = payorder_keyed_relation(match->index);
	keyed->direction = match->direction;
	keyed->number = number_of(keyed, index);
	keyed->one_row = match->unique && RelationGetIndexPredicate(index) == NIL;
	keyed->same_key = ExecInitQual(copyObject(used), NULL);
	index_close(index, AccessShareLock);
}

static void
keep_lock(Keyed *keyed, const Query *query)
{
	RowMarkClause *mark;

	if (query->rowMarks == NIL)
		return;
	mark = linitial_node(RowMarkClause, query->rowMarks);
	keyed->locks = true;
	keyed->wait_policy = mark->waitPolicy;
	switch (mark->strength)
	{
		case LCS_FORKEYSHARE:
			keyed->lock_mode = LockTupleKeyShare;
			break;
		case LCS_FORSHARE:
			keyed->lock_mode = LockTupleShare;
			break;
		case LCS_FORNOKEYUPDATE:
			keyed->lock_mode = LockTupleNoKeyExclusive;
			break;
		default:
			keyed->lock_mode = LockTupleExclusive;
			break;
	}
}

/* Finds the index by which the rows of WHERE are had; false if none serves. */
static bool
keep_where(Keyed *keyed, const Query *query, Relation relation)
{
	List	   *conditions = payorder_conditions(query->jointree->quals);
	List	   *rest;
	Match	   *match;

	if (contain_volatile_functions((Node *) payorder_condition_expressions(conditions, false)))
		return false;
	match = payorder_best_index(query, conditions, relation);
	if (match == NULL || (!match->unique && query->commandType != CMD_SELECT))
		return false;
	keep_keys(keyed, match);
	rest = payorder_condition_expressions(conditions, true);
	if (rest != NIL)
		keyed->filter = ExecInitQual(copyObject(rest), NULL);
	if (query->limitCount != NULL)
		keyed->limit = compile((Expr *) query->limitCount);
	keep_lock(keyed, query);
	return true;
}

static void
keep_columns(Keyed *keyed, List *targets)
{
	int			count = 0;
	ListCell   *cell;

	keyed->result = ExecCleanTypeFromTL(targets);
	keyed->columns = palloc0(sizeof(AttrNumber) * keyed->result->natts);
	keyed->column_values = palloc0(sizeof(ExprState *) * keyed->result->natts);
	foreach(cell, targets)
	{
		TargetEntry *target = lfirst_node(TargetEntry, cell);

		if (target->resjunk)
			continue;
		if (IsA(target->expr, Var) && ((Var *) target->expr)->varattno > 0)
			keyed->columns[count] = ((Var *) target->expr)->varattno;
		else
			keyed->column_values[count] = compile(target->expr);
		count++;
	}
}

static void
keep_assignments(Keyed *keyed, const Query *query)
{
	ListCell   *cell;

	keyed->assigned = palloc0(sizeof(AttrNumber) * list_length(query->targetList));
	keyed->assigned_values = palloc0(sizeof(ExprState *) *
									 list_length(query->targetList));
	foreach(cell, query->targetList)
	{
		TargetEntry *target = lfirst_node(TargetEntry, cell);

		keyed->assigned[keyed->assigned_count] = target->resno;
		keyed->assigned_values[keyed->assigned_count++] = compile(target->expr);
	}
}

/* Whether an UPDATE changes what others may refer to. */
static bool
assigns_keys(const Keyed *keyed, Relation relation)
{
	Bitmapset  *columns = RelationGetIndexAttrBitmap(relation,
													 INDEX_ATTR_BITMAP_KEY);

	for (int i = 0; i < keyed->assigned_count; i++)
	{
		if (bms_is_member(keyed->assigned[i] - FirstLowInvalidHeapAttributeNumber,
						  columns))
			return true;
	}
	return false;
}

/* Whether a unique index is on just the columns that ON CONFLICT names. */
static bool
is_arbiter(Relation index, List *elements)
{
	ListCell   *cell;

	if (!index->rd_index->indisunique || !index->rd_index->indimmediate ||
		!index->rd_index->indisvalid ||
		RelationGetIndexPredicate(index) != NIL ||
		index->rd_index->indnkeyatts != list_length(elements))
		return false;
	foreach(cell, elements)
	{
		InferenceElem *element = lfirst_node(InferenceElem, cell);
		bool		found = false;

		if (!IsA(element->expr, Var) || OidIsValid(element->infercollid) ||
			OidIsValid(element->inferopclass))
			return false;
		for (int i = 0; i < index->rd_index->indnkeyatts; i++)
			found |= index->rd_index->indkey.values[i] ==
				((Var *) element->expr)->varattno;
		if (!found)
			return false;
	}
	return true;
}

static KeyedIndex
keep_index(Relation index, bool speculative)
{
	KeyedIndex	kept;

	kept.index = payorder_keyed_relation(RelationGetRelid(index));
	kept.info = BuildIndexInfo(index);
	if (kept.info->ii_Expressions != NIL)
	{
		ListCell   *cell;

		foreach(cell, kept.info->ii_Expressions)
			kept.info->ii_ExpressionsState =
				lappend(kept.info->ii_ExpressionsState, compile(lfirst(cell)));
	}
	if (kept.info->ii_Predicate != NIL)
		kept.info->ii_PredicateState =
			ExecInitQual((List *) expression_planner((Expr *) copyObject(kept.info->ii_Predicate)),
						 NULL);
	if (speculative && kept.info->ii_Unique)
		BuildSpeculativeIndexInfo(index, kept.info);
	return kept;
}

/* By which columns a row that was inserted is had again. */
static void
keep_key_columns(Keyed *keyed, Relation index)
{
	keyed->index = payorder_keyed_relation(RelationGetRelid(index));
	keyed->key_count = index->rd_index->indnkeyatts;
	for (int i = 0; i < keyed->key_count; i++)
	{
		AttrNumber	column = index->rd_index->indkey.values[i];

		keyed->key_columns[i] = column;
		keyed->key_types[i] = key_type(TupleDescAttr(keyed->description,
													 column - 1)->atttypid);
	}
}

/* Keeps what is known of the table's indexes; false if one is of the user's. */
static bool
keep_indexes(Keyed *keyed, const Query *query, Relation relation)
{
	List	   *indexes = RelationGetIndexList(relation);
	List	   *elements = query->onConflict == NULL ? NIL :
		query->onConflict->arbiterElems;
	ListCell   *cell;
	bool		usable = true;

	keyed->or_nothing = query->onConflict != NULL;
	keyed->indexes = palloc0(sizeof(KeyedIndex) * list_length(indexes));
	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		usable &= !index->rd_index->indisexclusion &&
			!payorder_calls_users((Node *) RelationGetIndexExpressions(index)) &&
			!payorder_calls_users((Node *) RelationGetIndexPredicate(index));
		keyed->indexes[keyed->index_count++] = keep_index(index,
														  keyed->or_nothing);
		if (!keyed->or_nothing || !is_arbiter(index, elements))
			keyed->other_keys |= index->rd_index->indisunique;
		else
		{
			keyed->arbiters = lappend_oid(keyed->arbiters,
										  RelationGetRelid(index));
			keep_key_columns(keyed, index);
		}
		index_close(index, AccessShareLock);
	}
	return usable && (!keyed->or_nothing || keyed->arbiters != NIL);
}

/* Whether all that a statement calls is the server's own. */
static bool
calls_server_only(const Query *query)
{
	return !payorder_calls_users((Node *) query->targetList) &&
		!payorder_calls_users((Node *) query->returningList) &&
		!payorder_calls_users(query->jointree->quals);
}

static bool
fill(Keyed *keyed, const Query *query, Relation relation)
{
	CmdType		command = query->commandType;

	if (!is_plain_table(relation, command) || !calls_server_only(query))
		return false;
	keyed->description = CreateTupleDescCopyConstr(RelationGetDescr(relation));
	if (command == CMD_SELECT)
		keep_columns(keyed, query->targetList);
	else if (command != CMD_DELETE)
		keep_assignments(keyed, query);
	else if (query->returningList != NIL)
		keep_columns(keyed, query->returningList);
	if (command == CMD_UPDATE && assigns_keys(keyed, relation))
		return false;
	if (command != CMD_INSERT && !keep_where(keyed, query, relation))
		return false;
	return command == CMD_SELECT || keep_indexes(keyed, query, relation);
}

static Keyed *
new_keyed(void)
{
	MemoryContext memory = AllocSetContextCreate(CacheMemoryContext,
												 "payorder keyed statement",
												 ALLOCSET_SMALL_SIZES);
	Keyed	   *keyed = MemoryContextAllocZero(memory, sizeof(Keyed));

	keyed->memory = memory;
	return keyed;
}

/* Rights on the whole table; those on columns only are the executor's. */
static AclMode
rights_of(const Query *query)
{
	switch (query->commandType)
	{
		case CMD_INSERT:
			return ACL_INSERT | (query->onConflict != NULL ? ACL_SELECT : 0);
		case CMD_UPDATE:
			return ACL_SELECT | ACL_UPDATE;
		case CMD_DELETE:
			return ACL_SELECT | ACL_DELETE;
		default:
			return ACL_SELECT | (query->rowMarks != NIL ? ACL_UPDATE : 0);
	}
}

/*
 * What is to be done for a statement that was analysed; NULL if the executor
 * is to do it.
 */
Keyed *
payorder_keyed_recognise(CachedPlanSource *source, int parameter_count)
{
	MemoryContext caller = CurrentMemoryContext;
	Query	   *query = linitial_node(Query, source->query_list);
	RangeTblEntry *table;
	Relation	relation;
	Keyed	   *keyed;
	bool		usable;

	if (list_length(source->query_list) != 1 || !is_simple(query) ||
		!is_known_command(query))
		return NULL;
	table = linitial_node(RangeTblEntry, query->rtable);
	if (table->rtekind != RTE_RELATION || table->tablesample != NULL)
		return NULL;
	relation = table_open(table->relid, table->rellockmode);
	keyed = new_keyed();
	MemoryContextSwitchTo(keyed->memory);
	keyed->source = source;
	keyed->command = query->commandType;
	keyed->table = payorder_keyed_relation(table->relid);
	keyed->relation_lock = table->rellockmode;
	keyed->rights = rights_of(query);
	keyed->parameter_count = parameter_count;
	usable = fill(keyed, query, relation) && source->is_valid;
	MemoryContextSwitchTo(caller);
	table_close(relation, NoLock);
	if (usable)
		return keyed;
	MemoryContextDelete(keyed->memory);
	return NULL;
}
