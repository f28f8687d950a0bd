/*-------------------------------------------------------------------------
 *
 * guard_kept.c
 *		What a session keeps of the triggers that guard() makes.
 *
 * A trigger's definition names a machine and its version as arguments; its
 * columns, the state's and the key's, are those that its WHEN names, since a
 * name as argument would be old after a rename and a number wrong after a
 * restore.  That part of WHEN which names the key is always true.
 *
 * Two things are kept by the trigger's OID.  What its definition says is read
 * when a statement that changes its table begins, until the table is changed.
 * The machine is compiled when the trigger first fires: the states in the
 * order of their names, or by the OIDs of an enum's labels, and one bit for
 * each pair of them; until the table of machines or an enum is changed.
 *
 * The server keeps WHEN as text, and parses it in each statement.  So the
 * executor is handed a WHEN that is this file's: false if the state is as it
 * was, also false if the change is legal and needs no log, and true otherwise,
 * so that the trigger fires and judges by itself.  It is never more than a
 * shorter way to the same answer: where the executor compiles the text, as in
 * a session that has not loaded the library, the trigger fires for legal
 * changes too.
 *
 * Entries stay for the session.  What was compiled is freed only when another
 * trigger is first met: nothing that runs in between holds on to it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "errors.h"
#include "guard.h"
#include "machine.h"
#include "relation.h"

static HTAB *kept = NULL;
static Oid	machines_relation = InvalidOid;
static Oid	check_function = InvalidOid;
static bool check_function_known = false;
static uint64 invalidations = 0;
static ExecutorStart_hook_type next_start = NULL;

/* The column c of "(c IS NULL) IS NOT NULL", which is always true, else 0. */
static AttrNumber
named_column(const Node *node)
{
	const NullTest *outer = (const NullTest *) node;
	const NullTest *inner;

	if (!IsA(node, NullTest) || outer->nulltesttype != IS_NOT_NULL ||
		!IsA(outer->arg, NullTest))
		return InvalidAttrNumber;
	inner = (const NullTest *) outer->arg;
	if (inner->nulltesttype != IS_NULL || !IsA(inner->arg, Var))
		return InvalidAttrNumber;
	return ((const Var *) inner->arg)->varattno;
}

/* The column c of "OLD.c IS DISTINCT FROM NEW.c", with or without casts. */
static AttrNumber
changed_column(const Node *node)
{
	const DistinctExpr *distinct = (const DistinctExpr *) node;
	const Var  *old;
	const Var  *new;

	if (!IsA(node, DistinctExpr))
		return InvalidAttrNumber;
	old = linitial(distinct->args);
	new = lsecond(distinct->args);
	while (IsA(old, RelabelType))
		old = (const Var *) ((const RelabelType *) old)->arg;
	while (IsA(new, RelabelType))
		new = (const Var *) ((const RelabelType *) new)->arg;
	if (!IsA(old, Var) || old->varno != PRS2_OLD_VARNO ||
		!IsA(new, Var) || new->varno != PRS2_NEW_VARNO ||
		old->varattno != new->varattno)
		return InvalidAttrNumber;
	return old->varattno;
}

/* Reads a trigger's definition; false if guard() has not made it so. */
bool
payorder_guard_definition(const Trigger *trigger, GuardDefinition *definition)
{
	const BoolExpr *condition;

	if (trigger->tgnargs < 2 || trigger->tgqual == NULL ||
		!TRIGGER_FOR_AFTER(trigger->tgtype) ||
		!TRIGGER_FOR_ROW(trigger->tgtype))
		return false;
	condition = stringToNode(trigger->tgqual);
	if (!IsA(condition, BoolExpr) || condition->boolop != AND_EXPR ||
		list_length(condition->args) != 2)
		return false;
	definition->machine = trigger->tgargs[0];
	definition->version = atoi(trigger->tgargs[1]);
	definition->log = trigger->tgnargs > 2 &&
		strcmp(trigger->tgargs[2], GUARD_LOGS) == 0;
	definition->state = TRIGGER_FOR_UPDATE(trigger->tgtype) ?
		changed_column(linitial(condition->args)) :
		named_column(linitial(condition->args));
	definition->key = named_column(lsecond(condition->args));
	return definition->state > 0 && definition->key > 0;
}

static void
forget_relation(Datum argument, Oid relation)
{
	HASH_SEQ_STATUS all;
	KeptGuard  *guard;

	invalidations++;
	hash_seq_init(&all, kept);
	while ((guard = hash_seq_search(&all)) != NULL)
	{
		if (!OidIsValid(relation) || relation == guard->relation)
			guard->defined = false;
		if (!OidIsValid(relation) || relation == machines_relation)
			guard->compiled = false;
	}
}

static void
forget_enum(Datum argument, int cache, uint32 value)
{
	HASH_SEQ_STATUS all;
	KeptGuard  *guard;

	invalidations++;
	hash_seq_init(&all, kept);
	while ((guard = hash_seq_search(&all)) != NULL)
	{
		if (guard->labels != NULL)
			guard->compiled = false;
	}
}

static void
forget_function(Datum argument, int cache, uint32 value)
{
	check_function_known = false;
}

static void
forget_compiled(KeptGuard *guard)
{
	if (guard->memory != NULL)
		MemoryContextDelete(guard->memory);
	guard->memory = NULL;
	guard->compiled = false;
	guard->labels = NULL;
	guard->label_count = guard->way_count = 0;
}

/* Frees what was compiled for triggers that have gone, or may have. */
static void
free_outdated(void)
{
	HASH_SEQ_STATUS all;
	KeptGuard  *guard;

	hash_seq_init(&all, kept);
	while ((guard = hash_seq_search(&all)) != NULL)
	{
		if (!guard->defined || !guard->compiled)
			forget_compiled(guard);
	}
}

/* The entry of a trigger, which may have to be compiled. */
KeptGuard *
payorder_kept_guard(Oid trigger)
{
	static KeptGuard *last = NULL;	/* entries stay where they are */
	KeptGuard  *guard = last;
	bool		found;

	if (guard != NULL && guard->trigger == trigger)
		return guard;
	guard = last = hash_search(kept, &trigger, HASH_ENTER, &found);
	if (!found)
	{
		memset((char *) guard + sizeof(Oid), 0,
			   sizeof(KeptGuard) - sizeof(Oid));
		free_outdated();
	}
	return guard;
}

static int
compare_labels(const void *left, const void *right)
{
	Oid			a = ((const Label *) left)->oid;
	Oid			b = ((const Label *) right)->oid;

	return a < b ? -1 : a > b;
}

/* The labels that are states; those that are none are not there. */
static void
keep_labels(KeptGuard *guard, Oid type)
{
	guard->labels = palloc(sizeof(Label) * (guard->state_count + 1));
	for (int i = 0; i < guard->state_count; i++)
	{
		Oid			oid = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
										  ObjectIdGetDatum(type),
										  CStringGetDatum(guard->states[i]));

		if (!OidIsValid(oid))
			continue;
		guard->labels[guard->label_count].oid = oid;
		guard->labels[guard->label_count++].state = i;
	}
	qsort(guard->labels, guard->label_count, sizeof(Label), compare_labels);
}

static int
number_of(const Machine *machine, const char *state)
{
	return payorder_machine_state(machine, state) - machine->states;
}

static void
keep_ways(KeptGuard *guard, const Machine *machine)
{
	int			count = machine->state_count;

	guard->state_count = count;
	guard->states = palloc(sizeof(char *) * count);
	guard->initial = number_of(machine, machine->initial);
	guard->allowed = palloc0((size_t) count * count / BITS_PER_BYTE + 1);
	for (int i = 0; i < count; i++)
	{
		guard->states[i] = pstrdup(machine->states[i].name);
		guard->way_count += machine->states[i].edge_count;
	}
	guard->ways = palloc(sizeof(Way) * (guard->way_count + 1));
	guard->way_count = 0;
	for (int i = 0; i < count; i++)
	{
		for (int j = 0; j < machine->states[i].edge_count; j++)
		{
			const Edge *edge = &machine->states[i].edges[j];
			Way		   *way = &guard->ways[guard->way_count++];
			size_t		bit;

			way->from = i;
			way->to = number_of(machine, edge->to);
			way->event = pstrdup(edge->event);
			bit = (size_t) i * count + way->to;
			guard->allowed[bit / BITS_PER_BYTE] |= 1 << bit % BITS_PER_BYTE;
		}
	}
}

/* Compiles the machine that a definition names, as the owner. */
static void
compile(void *argument)
{
	KeptGuard  *guard = argument;
	int			id = payorder_machine_version(guard->machine, guard->version);
	MemoryContext caller;
	const Machine *machine;

	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_PO_MACHINE_INVALID),
				 errmsg("no machine \"%s\" version %d", guard->machine,
						guard->version),
				 errdetail("Table \"%s\" is guarded by it.",
						   get_rel_name(guard->relation)),
				 errhint("Define it with define_machine(), then call guard() again.")));
	machine = payorder_machine(id);
	machines_relation = get_relname_relid("machines",
										  get_namespace_oid("payorder",
															false));
	caller = MemoryContextSwitchTo(guard->memory);
	keep_ways(guard, machine);
	if (type_is_enum(guard->type))
		keep_labels(guard, guard->type);
	guard->compiled_type = guard->type;
	MemoryContextSwitchTo(caller);
}

static Oid
root_of(Relation relation)
{
	Oid			root = RelationGetRelid(relation);

	if (relation->rd_rel->relispartition)
	{
		List	   *ancestors = get_partition_ancestors(root);

		root = llast_oid(ancestors);
		list_free(ancestors);
	}
	return root;
}

static int
find_name(const KeptGuard *guard, const char *name, int length)
{
	int			low = 0;
	int			high = guard->state_count;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		const char *state = guard->states[middle];
		int			order = strncmp(name, state, length);

		if (order == 0 && state[length] == '\0')
			return middle;
		if (order > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NO_STATE;
}

static int
find_label(const KeptGuard *guard, Oid oid)
{
	Label		sought = {oid, NO_STATE};
	Label	   *found = bsearch(&sought, guard->labels, guard->label_count,
								sizeof(Label), compare_labels);

	return found == NULL ? NO_STATE : found->state;
}

/* The number of a state. */
int
payorder_guard_state(const KeptGuard *guard, Datum value, bool isnull)
{
	text	   *name;

	if (isnull)
		return NO_STATE;
	if (guard->labels != NULL)
		return find_label(guard, DatumGetObjectId(value));
	name = DatumGetTextPP(value);
	return find_name(guard, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

bool
payorder_guard_allows(const KeptGuard *guard, int from, int to)
{
	size_t		bit = (size_t) from * guard->state_count + to;

	return from != NO_STATE && to != NO_STATE &&
		(guard->allowed[bit / BITS_PER_BYTE] & 1 << bit % BITS_PER_BYTE) != 0;
}

/* Whether two values of a state's column are equal; text is deterministic. */
static bool
same_state(int16 length, Datum left, Datum right)
{
	text	   *a;
	text	   *b;

	if (length != -1)
		return DatumGetObjectId(left) == DatumGetObjectId(right);
	a = DatumGetTextPP(left);
	b = DatumGetTextPP(right);
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/*
 * Whether the trigger on UPDATE fires.  The column is the right one also when
 * the table's definition was forgotten meanwhile: the statement holds a lock.
 */
static Datum
when_updated(ExprState *when, ExprContext *context, bool *isnull)
{
	const KeptGuard *guard = when->evalfunc_private;
	TupleTableSlot *old_row = context->ecxt_innertuple;
	TupleTableSlot *new_row = context->ecxt_outertuple;
	bool		old_isnull;
	bool		new_isnull;
	Datum		old;
	Datum		new;
	int			from;
	int			to;

	*isnull = false;
	old = slot_getattr(old_row, guard->state, &old_isnull);
	new = slot_getattr(new_row, guard->state, &new_isnull);
	if (old_isnull || new_isnull)
		return BoolGetDatum(old_isnull != new_isnull);
	if (same_state(TupleDescAttr(new_row->tts_tupleDescriptor,
								 guard->state - 1)->attlen, old, new))
		return BoolGetDatum(false);
	if (!guard->defined || !guard->compiled || guard->log)
		return BoolGetDatum(true);
	from = payorder_guard_state(guard, old, false);
	to = payorder_guard_state(guard, new, false);
	return BoolGetDatum(!payorder_guard_allows(guard, from, to));
}

/* On INSERT.  A row may have been moved to a partition: the trigger knows. */
static Datum
when_inserted(ExprState *when, ExprContext *context, bool *isnull)
{
	const KeptGuard *guard = when->evalfunc_private;
	bool		new_isnull;
	Datum		new;

	*isnull = false;
	if (!guard->defined || !guard->compiled || guard->log ||
		guard->is_partition)
		return BoolGetDatum(true);
	new = slot_getattr(context->ecxt_outertuple, guard->state, &new_isnull);
	return BoolGetDatum(payorder_guard_state(guard, new, new_isnull) !=
						guard->initial);
}

/* Whether an UPDATE has taken a row, as it is stored, to another partition. */
bool
payorder_is_moved(HeapTuple row)
{
	return HeapTupleHeaderIndicatesMovedPartitions(row->t_data);
}

static Datum
when_deleted(ExprState *when, ExprContext *context, bool *isnull)
{
	TupleTableSlot *slot = context->ecxt_innertuple;
	HeapTupleTableSlot *old_row = (HeapTupleTableSlot *) slot;

	*isnull = false;
	return BoolGetDatum(!TTS_IS_BUFFERTUPLE(slot) ||
						payorder_is_moved(old_row->tuple));
}

/*
 * Reads a trigger's definition, false if it isn't as guard() makes it.  What
 * is compiled stays if it is of the same machine and type.
 */
static bool
define(KeptGuard *guard, Relation relation, const Trigger *trigger)
{
	uint64		before = invalidations;
	GuardDefinition definition;
	Form_pg_attribute column;

	if (!payorder_guard_definition(trigger, &definition))
		return false;
	column = TupleDescAttr(RelationGetDescr(relation), definition.state - 1);
	guard->state = definition.state;
	guard->key = definition.key;
	guard->log = definition.log;
	guard->column = column->attname;
	guard->type = getBaseType(column->atttypid);
	guard->is_partition = relation->rd_rel->relispartition;
	guard->relation = RelationGetRelid(relation);
	guard->root = root_of(relation);
	guard->when.type = T_ExprState;
	guard->when.flags = EEO_FLAG_IS_QUAL;
	guard->when.evalfunc = TRIGGER_FOR_UPDATE(trigger->tgtype) ?
		when_updated : TRIGGER_FOR_INSERT(trigger->tgtype) ? when_inserted :
		when_deleted;
	guard->when.evalfunc_private = guard;
	if (guard->memory == NULL || guard->compiled_type != guard->type ||
		guard->version != definition.version ||
		strcmp(guard->machine, definition.machine) != 0)
		guard->compiled = false;
	guard->defined = before == invalidations;
	return true;
}

/* Defines and compiles what a trigger needs that fires. */
void
payorder_guard_prepare(KeptGuard *guard, Relation relation,
					   const Trigger *trigger, Oid function)
{
	uint64		before = invalidations;

	if (!define(guard, relation, trigger))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("trigger \"%s\" of table \"%s\" is not as guard() makes it",
						trigger->tgname, RelationGetRelationName(relation)),
				 errhint("Drop it, and call payorder.guard().")));
	if (guard->compiled)
		return;
	forget_compiled(guard);
	guard->memory = AllocSetContextCreate(TopMemoryContext, "payorder guard",
										  ALLOCSET_SMALL_SIZES);
	guard->machine = MemoryContextStrdup(guard->memory, trigger->tgargs[0]);
	guard->version = atoi(trigger->tgargs[1]);
	payorder_as_owner(function, compile, guard);
	guard->compiled = before == invalidations;
}

/* The trigger function, InvalidOid if the extension is not here. */
static Oid
find_check_function(void)
{
	if (!check_function_known)
	{
		Oid			schema = get_namespace_oid("payorder", true);
		oidvector  *none = buildoidvector(NULL, 0);

		check_function_known = true;
		check_function = !OidIsValid(schema) ? InvalidOid :
			GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
							CStringGetDatum("check_transition"),
							PointerGetDatum(none), ObjectIdGetDatum(schema));
	}
	return check_function;
}

/* Hands the executor the WHENs of a table's triggers on some events. */
static void
hand_over(ResultRelInfo *info, int16 events)
{
	TriggerDesc *all = info->ri_TrigDesc;

	for (int i = 0; all != NULL && i < all->numtriggers; i++)
	{
		const Trigger *trigger = &all->triggers[i];
		KeptGuard  *guard;

		if (trigger->tgqual == NULL || (trigger->tgtype & events) == 0 ||
			trigger->tgfoid != find_check_function() ||
			info->ri_TrigWhenExprs[i] != NULL)
			continue;
		guard = payorder_kept_guard(trigger->tgoid);
		if (guard->defined || define(guard, info->ri_RelationDesc, trigger))
			info->ri_TrigWhenExprs[i] = &guard->when;
	}
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
		bool		is_update = query->operation == CMD_UPDATE &&
			!query->plannedstmt->hasModifyingCTE &&
			!info->ri_RelationDesc->rd_rel->relispartition;

		/* an UPDATE alone comes to no other trigger, unless it moves rows */
		hand_over(info, is_update ? TRIGGER_TYPE_UPDATE :
				  TRIGGER_TYPE_EVENT_MASK);
	}
}

void
payorder_guard_register(void)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(KeptGuard);
	control.hcxt = TopMemoryContext;
	kept = hash_create("payorder guards", 16, &control,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(forget_relation, (Datum) 0);
	CacheRegisterSyscacheCallback(ENUMOID, forget_enum, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, forget_function, (Datum) 0);
	next_start = ExecutorStart_hook;
	ExecutorStart_hook = start;
}
