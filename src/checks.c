/*-------------------------------------------------------------------------
 *
 * checks.c
 *		CHECK constraints and trigger conditions, compiled once per session.
 *
 * The server keeps CHECK constraints, the WHEN of triggers and a partition's
 * bounds as text, and its executor parses and compiles them for every
 * statement that it starts: a third of the instructions of a call that writes
 * a few rows of well guarded tables.  For the kernel's own statements, and for
 * everybody's on orders, they are compiled once, kept until the table's
 * definition changes, and handed to the executor before it runs, which then
 * evaluates them as ever.  Nothing is skipped.
 *
 * Kept are only expressions that call built-in functions: what a user's
 * function is may change without a sign to the table.  A table with any other
 * is left to the executor.
 *
 * A statement that is running may still use what an invalidation has made
 * old: that is freed when the transaction ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_constraint.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"

#include "checks.h"
#include "compat.h"
#include "relation.h"

/* What was compiled for a table. */
typedef struct KeptChecks
{
	Oid			relation;		/* hash key */
	bool		valid;			/* as the table is defined now */
	bool		usable;			/* calls built-in functions only */
	MemoryContext memory;
	ExprState **checks;			/* NULL: the table has none */
	int			trigger_count;
	ExprState **conditions;		/* of each trigger, NULL: it has none */
	ExprState  *partition;		/* NULL: it is none */
} KeptChecks;

static HTAB *kept = NULL;
static List *outdated = NIL;	/* memory contexts to delete */
static uint64 invalidations = 0;
static ExecutorStart_hook_type next_start = NULL;

static bool
is_users(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}

static bool
calls_users(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, CoerceToDomain) ||
		check_functions_in_node(node, is_users, context))
		return true;
	return expression_tree_walker(node, calls_users, context);
}

/* Whether an expression depends on anything that is not the server's own. */
bool
payorder_calls_users(Node *node)
{
	return calls_users(node, NULL);
}

static void
keep_constraints(KeptChecks *entry, Relation relation)
{
	TupleConstr *constraints = RelationGetDescr(relation)->constr;
	int			count = constraints == NULL ? 0 : constraints->num_check;

	if (count == 0)
		return;
	if (payorder_has_virtual_columns(constraints))
	{
		entry->usable = false;
		return;
	}
	entry->checks = palloc0(sizeof(ExprState *) * count);
	for (int i = 0; i < count; i++)
	{
		Expr	   *check = stringToNode(constraints->check[i].ccbin);

		if (!payorder_check_enforced(&constraints->check[i]))
			continue;
		entry->usable &= !payorder_calls_users((Node *) check);
		entry->checks[i] = ExecInitExpr(expression_planner(check), NULL);
	}
}

static void
keep_conditions(KeptChecks *entry, Relation relation)
{
	TriggerDesc *triggers = relation->trigdesc;

	if (triggers == NULL)
		return;
	entry->trigger_count = triggers->numtriggers;
	entry->conditions = palloc0(sizeof(ExprState *) * entry->trigger_count);
	for (int i = 0; i < entry->trigger_count; i++)
	{
		Node	   *condition;

		if (triggers->triggers[i].tgqual == NULL)
			continue;
		condition = stringToNode(triggers->triggers[i].tgqual);
		if (payorder_calls_users(condition))
			continue;
		/* as the executor does: OLD is the inner, NEW the outer row */
		ChangeVarNodes(condition, PRS2_OLD_VARNO, INNER_VAR, 0);
		ChangeVarNodes(condition, PRS2_NEW_VARNO, OUTER_VAR, 0);
		condition = (Node *) expression_planner((Expr *) make_ands_implicit((Expr *) condition));
		entry->conditions[i] = ExecInitQual((List *) condition, NULL);
	}
}

static void
keep_partition(KeptChecks *entry, Relation relation)
{
	List	   *bounds;

	if (!relation->rd_rel->relispartition)
		return;
	bounds = RelationGetPartitionQual(relation);
	if (bounds == NIL || payorder_calls_users((Node *) bounds))
		return;
	entry->partition = ExecInitCheck((List *) expression_planner((Expr *) bounds),
									 NULL);
}

static void
compile(KeptChecks *entry, Relation relation)
{
	MemoryContext caller;

	entry->usable = true;
	entry->checks = NULL;
	entry->trigger_count = 0;
	entry->conditions = NULL;
	entry->partition = NULL;
	entry->memory = AllocSetContextCreate(CacheMemoryContext,
										  "payorder checks",
										  ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(entry->memory);
	keep_constraints(entry, relation);
	keep_conditions(entry, relation);
	keep_partition(entry, relation);
	MemoryContextSwitchTo(caller);
}

static void
free_outdated(void)
{
	ListCell   *cell;

	foreach(cell, outdated)
		MemoryContextDelete(lfirst(cell));
	list_free(outdated);
	outdated = NIL;
}

static void
retire(KeptChecks *entry)
{
	MemoryContext caller = MemoryContextSwitchTo(CacheMemoryContext);

	outdated = lappend(outdated, entry->memory);
	MemoryContextSwitchTo(caller);
	entry->memory = NULL;
}

/* What is kept for a table, compiled now if it is not or is old. */
static KeptChecks *
checks_of(Relation relation)
{
	Oid			key = RelationGetRelid(relation);
	bool		found;
	uint64		before;
	KeptChecks *entry = hash_search(kept, &key, HASH_ENTER, &found);

	if (!found)
	{
		entry->valid = false;
		entry->memory = NULL;
	}
	if (entry->valid)
		return entry;
	if (entry->memory != NULL)
		retire(entry);
	before = invalidations;
	compile(entry, relation);
	entry->valid = before == invalidations;
	return entry;
}

/* Gives a table that is to be written what was compiled for it. */
void
payorder_checks_hand_over(ResultRelInfo *info)
{
	Relation	relation = info->ri_RelationDesc;
	KeptChecks *entry;

	if (relation->rd_rel->relkind != RELKIND_RELATION)
		return;
	entry = checks_of(relation);
	if (entry->usable && payorder_check_exprs(info) == NULL)
		payorder_check_exprs(info) = entry->checks;
	if (info->ri_PartitionCheckExpr == NULL)
		info->ri_PartitionCheckExpr = entry->partition;
	if (info->ri_TrigDesc == NULL ||
		info->ri_TrigDesc->numtriggers != entry->trigger_count)
		return;
	for (int i = 0; i < entry->trigger_count; i++)
		info->ri_TrigWhenExprs[i] = entry->conditions[i];
}

static bool
is_orders(Relation relation)
{
	return strcmp(RelationGetRelationName(relation), "orders") == 0 &&
		RelationGetNamespace(relation) == get_namespace_oid("payorder", true);
}

static void
start(QueryDesc *query, int eflags)
{
	ListCell   *cell;

	if (next_start != NULL)
		next_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
	foreach(cell, query->estate->es_opened_result_relations)
	{
		ResultRelInfo *info = lfirst(cell);

		if (payorder_in_statement() || is_orders(info->ri_RelationDesc))
			payorder_checks_hand_over(info);
	}
}

static void
forget(Datum argument, Oid relation)
{
	KeptChecks *entry;
	HASH_SEQ_STATUS all;

	invalidations++;
	if (OidIsValid(relation))
	{
		entry = hash_search(kept, &relation, HASH_FIND, NULL);
		if (entry != NULL)
			entry->valid = false;
		return;
	}
	hash_seq_init(&all, kept);
	while ((entry = hash_seq_search(&all)) != NULL)
		entry->valid = false;
}

/* No statement outlives its transaction. */
static void
end_transaction(XactEvent event, void *argument)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PREPARE:
			free_outdated();
			break;
		default:
			break;
	}
}

void
payorder_checks_register(void)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(KeptChecks);
	control.hcxt = TopMemoryContext;
	kept = hash_create("payorder checks", 64, &control,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(forget, (Datum) 0);
	RegisterXactCallback(end_transaction, NULL);
	next_start = ExecutorStart_hook;
	ExecutorStart_hook = start;
}
