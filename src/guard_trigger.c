/*-------------------------------------------------------------------------
 *
 * guard_trigger.c
 *		check_transition(): the trigger of tables under a machine.
 *
 * It fires AFTER ROW, so that it sees what is stored, whatever BEFORE triggers
 * did to it.  What it needs is kept (guard_kept.c); a legal transition runs no
 * statement unless it is logged.
 *
 * An UPDATE that moves a row to another partition comes as a DELETE of the old
 * row and an INSERT of the new one, one right after the other.  The server has
 * marked the old row as moved; so its state is noted, and the INSERT is judged
 * as the transition that it is.
 *
 * The writer needs no right to payorder: what is read and written there is
 * read and written as the owner of the function.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"

#include "errors.h"
#include "guard.h"
#include "guc.h"
#include "relation.h"
#include "timer.h"

/* A row that left its partition and has not yet come into another. */
typedef struct MovedRow
{
	struct MovedRow *next;
	SubTransactionId subtransaction;
	CommandId	command;
	Oid			root;
	NameData	column;
	int			from;
	char	   *from_text;		/* NULL: null */
} MovedRow;

/* A row whose state was set: from nothing, if it was inserted. */
typedef struct Change
{
	KeptGuard  *guard;
	TriggerData *trigger;
	HeapTuple	row;
	bool		is_new;
	int			from;
	char	   *from_text;		/* NULL: null, or not there */
	int			to;
	char	   *key;			/* NULL: null */
} Change;

static MovedRow *moved_rows = NULL;
static bool moved_registered = false;

static Statement insert_event = {
	.sql = "INSERT INTO payorder.guard_events (schema_name, table_name,"
	" state_column, key, machine, version, event, from_state, to_state, actor,"
	" trace, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
	.arguments = "tttttitttttz"
};

PG_FUNCTION_INFO_V1(payorder_check_transition);

/* What is kept for the trigger that is fired, compiled now if it is not. */
static KeptGuard *
kept_guard(FunctionCallInfo fcinfo, TriggerData *trigger)
{
	KeptGuard  *guard = fcinfo->flinfo->fn_extra;

	if (guard == NULL)
	{
		guard = payorder_kept_guard(trigger->tg_trigger->tgoid);
		fcinfo->flinfo->fn_extra = guard;
	}
	if (!guard->defined || !guard->compiled)
		payorder_guard_prepare(guard, trigger->tg_relation,
							   trigger->tg_trigger, fcinfo->flinfo->fn_oid);
	return guard;
}

static TriggerData *
trigger_data(FunctionCallInfo fcinfo)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be called by a trigger AFTER ROW",
						"check_transition"),
				 errhint("Use payorder.guard(), which makes its triggers.")));
	return trigger;
}

/* The number of a row's state. */
static int
row_state(const KeptGuard *guard, Relation relation, HeapTuple row)
{
	bool		isnull;
	Datum		value = heap_getattr(row, guard->state,
									 RelationGetDescr(relation), &isnull);

	return payorder_guard_state(guard, value, isnull);
}

/* A column of a row as text, NULL for null. */
static char *
text_of(Relation relation, HeapTuple row, AttrNumber column)
{
	TupleDesc	description = RelationGetDescr(relation);
	bool		isnull;
	Datum		value = heap_getattr(row, column, description, &isnull);
	Oid			output;
	bool		is_varlena;

	if (isnull)
		return NULL;
	getTypeOutputInfo(TupleDescAttr(description, column - 1)->atttypid,
					  &output, &is_varlena);
	return OidOutputFunctionCall(output, value);
}

/* A value as messages show it: in quotes, and not at any length. */
static char *
shown(const char *text)
{
	int			length;

	if (text == NULL)
		return "NULL";
	length = pg_mbcliplen(text, strlen(text), LONGEST_ID);
	return psprintf("\"%.*s\"%s", length, text,
					text[length] == '\0' ? "" : "...");
}

static char *
ways_from(const KeptGuard *guard, int from)
{
	StringInfoData list;
	int			last = NO_STATE;

	initStringInfo(&list);
	for (int to = 0; to < guard->state_count; to++)
	{
		if (!payorder_guard_allows(guard, from, to))
			continue;
		appendStringInfo(&list, "%s\"%s\"", last == NO_STATE ? "" : ", ",
						 guard->states[to]);
		last = to;
	}
	return list.data;
}

static bool
may_read(Oid relation, AttrNumber column)
{
	return pg_attribute_aclcheck(relation, column, GetUserId(),
								 ACL_SELECT) == ACLCHECK_OK;
}

/* Whether the writer may read key and state of any row of a table. */
static bool
may_read_rows(Oid relation, const char *state, const char *key)
{
	if (check_enable_rls(relation, InvalidOid, true) == RLS_ENABLED)
		return false;
	return pg_class_aclcheck(relation, GetUserId(),
							 ACL_SELECT) == ACLCHECK_OK ||
		(may_read(relation, get_attnum(relation, state)) &&
		 may_read(relation, get_attnum(relation, key)));
}

/* What is wrong with a change, in one sentence; NULL if it may not be told. */
static char *
what_is_allowed(const Change *change)
{
	const KeptGuard *guard = change->guard;
	char	   *machine = psprintf("Machine \"%s\" version %d",
								   guard->machine,
								   guard->version);
	char	   *ways;

	if (change->is_new)
		return psprintf("%s begins in \"%s\".", machine,
						guard->states[guard->initial]);
	if (change->from == NO_STATE)
		return psprintf("%s has no state %s.", machine,
						shown(change->from_text));
	ways = ways_from(guard, change->from);
	if (ways[0] == '\0')
		return psprintf("%s: \"%s\" is final.", machine,
						guard->states[change->from]);
	return psprintf("%s allows from \"%s\": %s.", machine,
					guard->states[change->from], ways);
}

static char *
what_happened(const Change *change, const char *table, bool may_be_told)
{
	const KeptGuard *guard = change->guard;
	Relation	relation = change->trigger->tg_relation;
	char	   *key = may_be_told ?
		psprintf("row %s", shown(change->key)) : "a row";
	char	   *to = shown(text_of(relation, change->row,
								   guard->state));

	if (change->is_new)
		return psprintf("%s of table \"%s\" cannot begin in state %s", key,
						table, to);
	if (!may_be_told)
		return psprintf("%s of table \"%s\" cannot go to state %s", key,
						table, to);
	return psprintf("%s of table \"%s\" cannot go from state %s to %s", key,
					table, shown(change->from_text), to);
}

/*
 * Refuses a change.  As with the server's own constraints, who may not read
 * the row is not told what is in it.
 */
static void
refuse(const Change *change)
{
	const KeptGuard *guard = change->guard;
	Oid			root = guard->root;
	const char *table = get_rel_name(root);
	const char *key = get_attname(guard->relation, guard->key,
								  false);
	const char *state = NameStr(guard->column);
	bool		may_be_told = may_read_rows(guard->relation, state, key) ||
		(root != guard->relation && may_read_rows(root, state, key));

	ereport(ERROR,
			(errcode(ERRCODE_PO_TRANSITION_REFUSED),
			 errmsg_internal("%s", what_happened(change, table, may_be_told)),
			 may_be_told || change->is_new ?
			 errdetail_internal("%s", what_is_allowed(change)) : 0,
			 errhint("Set column \"%s\" to a state that its machine allows; see payorder.machine_diagram().",
					 NameStr(guard->column)),
			 err_generic_string(PG_DIAG_SCHEMA_NAME,
								get_namespace_name(get_rel_namespace(root))),
			 err_generic_string(PG_DIAG_TABLE_NAME, table),
			 err_generic_string(PG_DIAG_COLUMN_NAME, NameStr(guard->column)),
			 err_generic_string(PG_DIAG_CONSTRAINT_NAME,
								change->trigger->tg_trigger->tgname)));
}

/* The first event, by name, that leads from one state to another. */
static const char *
event_of(const KeptGuard *guard, int from, int to)
{
	for (int i = 0; i < guard->way_count; i++)
	{
		if (guard->ways[i].from == from && guard->ways[i].to == to)
			return guard->ways[i].event;
	}
	return NULL;
}

/* Writes to the log, as the owner. */
static void
write_event(void *argument)
{
	const Change *change = argument;
	const KeptGuard *guard = change->guard;
	Oid			root = guard->root;
	const char *event = change->is_new ? "insert" :
		event_of(guard, change->from, change->to);
	const char *actor = GetUserNameFromId(GetSessionUserId(), false);

	if (payorder_execute(&insert_event,
						 get_namespace_name(get_rel_namespace(root)),
						 get_rel_name(root), NameStr(guard->column),
						 change->key, guard->machine, guard->version, event,
						 change->from_text, guard->states[change->to], actor,
						 payorder_current_trace(), payorder_now()) != 1)
		elog(ERROR, "could not append event");
}

/* Refuses a change that is not allowed, and logs one that is. */
static void
judge(FunctionCallInfo fcinfo, Change *change)
{
	const KeptGuard *guard = change->guard;

	change->key = text_of(change->trigger->tg_relation, change->row,
						  guard->key);
	if (change->is_new ? change->to != guard->initial :
		!payorder_guard_allows(guard, change->from, change->to))
		refuse(change);
	if (guard->log)
		payorder_as_owner(fcinfo->flinfo->fn_oid, write_event, change);
}

static bool
is_changed(const Change *change)
{
	return !payorder_same_text(change->from_text,
							   text_of(change->trigger->tg_relation,
									   change->row, change->guard->state));
}

static void
check_update(FunctionCallInfo fcinfo, KeptGuard *guard, TriggerData *trigger)
{
	Relation	relation = trigger->tg_relation;
	int			from = row_state(guard, relation, trigger->tg_trigtuple);
	int			to = row_state(guard, relation, trigger->tg_newtuple);
	Change		change;

	if (from != NO_STATE && from == to)
		return;
	if (payorder_guard_allows(guard, from, to) && !guard->log)
		return;
	change.guard = guard;
	change.trigger = trigger;
	change.row = trigger->tg_newtuple;
	change.is_new = false;
	change.from = from;
	change.from_text = text_of(relation, trigger->tg_trigtuple, guard->state);
	change.to = to;
	if (is_changed(&change))
		judge(fcinfo, &change);
}

static void
forget_moved(void *argument)
{
	moved_rows = NULL;
	moved_registered = false;
}

static void
end_with_transaction(void)
{
	MemoryContextCallback *callback;

	if (moved_registered)
		return;
	callback = MemoryContextAllocZero(TopTransactionContext,
									  sizeof(MemoryContextCallback));
	callback->func = forget_moved;
	MemoryContextRegisterResetCallback(TopTransactionContext, callback);
	moved_registered = true;
}

static bool
is_same_move(const MovedRow *moved, const KeptGuard *guard, CommandId command)
{
	return moved->subtransaction == GetCurrentSubTransactionId() &&
		moved->command == command && moved->root == guard->root &&
		strcmp(NameStr(moved->column), NameStr(guard->column)) == 0;
}

static void
free_moved(MovedRow *moved)
{
	if (moved->from_text != NULL)
		pfree(moved->from_text);
	pfree(moved);
}

/*
 * Takes what was noted of a row that a command has moved, NULL: there is none.
 */
static MovedRow *
take_moved(const KeptGuard *guard, CommandId command)
{
	for (MovedRow **link = &moved_rows; *link != NULL; link = &(*link)->next)
	{
		MovedRow   *moved = *link;

		if (is_same_move(moved, guard, command))
		{
			*link = moved->next;
			return moved;
		}
	}
	return NULL;
}

/*
 * A row was deleted: if by its move to another partition, notes its state.
 * One that is still there came to no INSERT, since a trigger swallowed it.
 */
static void
note_moved(KeptGuard *guard, TriggerData *trigger)
{
	HeapTuple	row = trigger->tg_trigtuple;
	CommandId	command;
	char	   *from_text;
	MovedRow   *moved;

	if (!payorder_is_moved(row))
		return;
	command = HeapTupleHeaderGetCmax(row->t_data);
	moved = take_moved(guard, command);
	if (moved != NULL)
		free_moved(moved);
	end_with_transaction();
	from_text = text_of(trigger->tg_relation, row, guard->state);
	moved = MemoryContextAlloc(TopTransactionContext, sizeof(MovedRow));
	moved->subtransaction = GetCurrentSubTransactionId();
	moved->command = command;
	moved->root = guard->root;
	moved->column = guard->column;
	moved->from = row_state(guard, trigger->tg_relation, row);
	moved->from_text = from_text == NULL ? NULL :
		MemoryContextStrdup(TopTransactionContext, from_text);
	moved->next = moved_rows;
	moved_rows = moved;
}

static void
check_insert(FunctionCallInfo fcinfo, KeptGuard *guard, TriggerData *trigger)
{
	HeapTuple	row = trigger->tg_trigtuple;
	MovedRow   *moved = NULL;
	Change		change = {0};

	if (moved_rows != NULL && guard->is_partition)
		moved = take_moved(guard, HeapTupleHeaderGetCmin(row->t_data));
	change.to = row_state(guard, trigger->tg_relation, row);
	if (moved == NULL && change.to == guard->initial && !guard->log)
		return;
	change.guard = guard;
	change.trigger = trigger;
	change.row = row;
	change.is_new = moved == NULL;
	change.from = NO_STATE;
	if (moved != NULL)
	{
		change.from = moved->from;
		change.from_text = moved->from_text == NULL ? NULL :
			pstrdup(moved->from_text);
		free_moved(moved);
	}
	if (change.is_new || is_changed(&change))
		judge(fcinfo, &change);
}

/* The trigger that guard() puts on a table. */
Datum
payorder_check_transition(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);
	KeptGuard  *guard = kept_guard(fcinfo, trigger);

	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		check_update(fcinfo, guard, trigger);
	else if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		check_insert(fcinfo, guard, trigger);
	else
		note_moved(guard, trigger);
	return PointerGetDatum(NULL);
}
