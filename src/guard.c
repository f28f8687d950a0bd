/*-------------------------------------------------------------------------
 *
 * guard.c
 *		guard() and unguard(): a machine on tables of the user's.
 *
 * A guard is its triggers and nothing else, so that it is dumped, restored,
 * renamed and dropped with its table and can't be out of step with it: one on
 * UPDATE, one on INSERT and, on a partitioned table, one on DELETE, which sees
 * the rows that leave for another partition (guard_trigger.c).
 *
 * All is done with the caller's rights, who must own the table; only the
 * machine is read as the owner of the function.  The table is locked as CREATE
 * TRIGGER does it, SHARE ROW EXCLUSIVE, before its rows are looked at; a guard
 * that is there already has its triggers replaced, under the same lock.
 *
 * Tables that inherit, other than partitions, have triggers of their own: they
 * are guarded and unguarded with the table that is named.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "errors.h"
#include "guard.h"
#include "machine.h"
#include "relation.h"

typedef struct GuardCall
{
	Oid			relation;
	const char *state_column;
	const char *machine_name;
	const char *key_column;		/* NULL: of the primary key */
	bool		log;
	const Machine *machine;
	Oid			check;			/* the trigger function */
} GuardCall;

/* The triggers of one guard. */
static const struct
{
	const char *name;
	int16		type;			/* bit of tgtype */
	const char *command;
	const char *condition;		/* WHEN, of state, key and the state's cast */
	bool		partitioned;	/* only on partitioned tables */
}			triggers[] = {
	{"update", TRIGGER_TYPE_UPDATE, "UPDATE",
	"OLD.%1$s%3$s IS DISTINCT FROM NEW.%1$s%3$s AND (NEW.%2$s IS NULL) IS NOT NULL", false},
	{"insert", TRIGGER_TYPE_INSERT, "INSERT",
	"(NEW.%1$s IS NULL) IS NOT NULL AND (NEW.%2$s IS NULL) IS NOT NULL", false},
	{"delete", TRIGGER_TYPE_DELETE, "DELETE",
	"(OLD.%1$s IS NULL) IS NOT NULL AND (OLD.%2$s IS NULL) IS NOT NULL", true}
};

PG_FUNCTION_INFO_V1(payorder_guard);
PG_FUNCTION_INFO_V1(payorder_unguard);

static Oid
check_function(void)
{
	return LookupFuncName(list_make2(makeString("payorder"),
									 makeString("check_transition")),
						  0, NULL, false);
}

/* Finds the machine's newest version, as the owner of the function. */
static void
find_machine(void *argument)
{
	GuardCall  *call = argument;
	int			id = payorder_machine_newest(call->machine_name);

	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_PO_MACHINE_INVALID),
				 errmsg("no machine \"%s\"",
						payorder_shown(call->machine_name)),
				 errhint("Define it with define_machine().")));
	call->machine = payorder_machine(id);
	if (!payorder_machine_is_plain(call->machine))
		ereport(ERROR,
				(errcode(ERRCODE_PO_MACHINE_INVALID),
				 errmsg("machine \"%s\" is one for orders",
						call->machine->name),
				 errdetail("It has money edges, timers, guards or effects, which a table's rows cannot have."),
				 errhint("Define one that has states and events only.")));
}

static void
refuse_relation(Relation relation, const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" %s", RelationGetRelationName(relation), problem),
			 errhint("%s", hint)));
}

static void
check_owner(Oid relation)
{
	char	   *name = get_rel_name(relation);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relation),
				 errhint("Name a table.")));
	if (!payorder_owns_relation(relation, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, name);
}

/* A table of the user's, that one can be sure nobody else writes to. */
static void
check_kind(Relation relation)
{
	char		kind = relation->rd_rel->relkind;

	if (kind == RELKIND_FOREIGN_TABLE)
		refuse_relation(relation, "is a foreign table",
						"Its rows can be changed elsewhere; guard the table on its own server.");
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		refuse_relation(relation, "is not a table",
						"Guard the tables that its rows come from.");
	if (IsSystemRelation(relation) ||
		RelationGetNamespace(relation) == get_namespace_oid("payorder", false))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("table \"%s\" cannot be guarded",
						RelationGetRelationName(relation)),
				 errhint("guard() is for tables of your own; payorder's keep themselves.")));
}

static Form_pg_attribute
find_column(Relation relation, const char *name)
{
	AttrNumber	number = get_attnum(RelationGetRelid(relation), name);
	Form_pg_attribute column;

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist",
						payorder_shown(name), RelationGetRelationName(relation)),
				 errhint("Name one of its columns as it is written in the catalog.")));
	column = TupleDescAttr(RelationGetDescr(relation), number - 1);
	if (column->attgenerated != '\0' &&
		column->attgenerated != ATTRIBUTE_GENERATED_STORED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" of table \"%s\" is not stored",
						name, RelationGetRelationName(relation)),
				 errhint("Make it a stored generated column.")));
	return column;
}

static void
refuse_state_column(const Form_pg_attribute column, int sqlstate,
					const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("column \"%s\" %s", NameStr(column->attname), problem),
			 errhint("%s", hint)));
}

static void
check_label(const Form_pg_attribute column, Oid type, const char *state)
{
	if (!SearchSysCacheExists2(ENUMTYPOIDNAME, ObjectIdGetDatum(type),
							   CStringGetDatum(state)))
		refuse_state_column(column, ERRCODE_INVALID_PARAMETER_VALUE,
							psprintf("cannot have the state \"%s\"", state),
							psprintf("Add the label to type %s, or define the machine without it.",
									 format_type_be(type)));
}

/* The column can have each state, and equal means the same. */
static void
check_state_column(const GuardCall *call, const Form_pg_attribute column)
{
	int32		modifier = column->atttypmod;
	Oid			type = getBaseTypeAndTypmod(column->atttypid, &modifier);
	const Machine *machine = call->machine;

	if (type != TEXTOID && type != VARCHAROID && !type_is_enum(type))
		refuse_state_column(column, ERRCODE_DATATYPE_MISMATCH,
							psprintf("is of type %s",
									 format_type_be(column->atttypid)),
							"A state is text, varchar or of an enum type.");
	if (OidIsValid(column->attcollation) &&
		!get_collation_isdeterministic(column->attcollation))
		refuse_state_column(column, ERRCODE_COLLATION_MISMATCH,
							"has a nondeterministic collation",
							"States that differ must not be equal; give the column another collation.");
	for (int i = 0; i < machine->state_count; i++)
	{
		const char *state = machine->states[i].name;

		if (type_is_enum(type))
			check_label(column, type, state);
		else if (type == VARCHAROID && modifier >= (int32) VARHDRSZ &&
				 (int32) strlen(state) > modifier - (int32) VARHDRSZ)
			refuse_state_column(column, ERRCODE_INVALID_PARAMETER_VALUE,
								psprintf("cannot have the state \"%s\"",
										 state),
								"It is too short; make it wider.");
	}
}

/* The column of the primary key, if it is one column. */
static const char *
primary_key(Relation relation)
{
	Bitmapset  *columns = RelationGetIndexAttrBitmap(relation,
													 INDEX_ATTR_BITMAP_PRIMARY_KEY);
	int			column;

	if (!bms_get_singleton_member(columns, &column))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("table \"%s\" has no primary key of one column",
						RelationGetRelationName(relation)),
				 errhint("Say in key_column which column names a row.")));
	return get_attname(RelationGetRelid(relation),
					   column + FirstLowInvalidHeapAttributeNumber, false);
}

static ArrayType *
state_names(const Machine *machine)
{
	Datum	   *names = palloc(sizeof(Datum) * machine->state_count);

	for (int i = 0; i < machine->state_count; i++)
		names[i] = CStringGetTextDatum(machine->states[i].name);
	return construct_array(names, machine->state_count, TEXTOID, -1, false,
						   TYPALIGN_INT);
}

static char *
qualified_name(Relation relation)
{
	return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
									  RelationGetRelationName(relation));
}

/*
 * Refuses a table with a row in a state that the machine does not have; all
 * rows that are committed, whatever the transaction's snapshot, and whatever
 * its policies hide from its owner.
 */
static void
check_rows(const GuardCall *call, Relation relation)
{
	const char *column = quote_identifier(call->state_column);
	Oid			types[1] = {TEXTARRAYOID};
	Datum		values[1] = {PointerGetDatum(state_names(call->machine))};
	SPIPlanPtr	plan;
	Oid			user;
	int			context;
	int			result;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(user, context | SECURITY_NOFORCE_RLS);
	plan = SPI_prepare(psprintf("SELECT %s::pg_catalog.text FROM %s%s"
								" WHERE %s IS NULL"
								" OR %s::pg_catalog.text <> ALL ($1) LIMIT 1",
								column, relation->rd_rel->relkind ==
								RELKIND_RELATION ? "ONLY " : "",
								qualified_name(relation), column, column),
					   1, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare statement: %s",
			 SPI_result_code_string(SPI_result));
	result = SPI_execute_snapshot(plan, values, NULL, GetLatestSnapshot(),
								  InvalidSnapshot, true, false, 1);
	SetUserIdAndSecContext(user, context);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "could not execute statement: %s",
			 SPI_result_code_string(result));
	if (SPI_processed > 0)
	{
		char	   *state = SPI_getvalue(SPI_tuptable->vals[0],
										 SPI_tuptable->tupdesc, 1);

		if (state != NULL)
			state[pg_mbcliplen(state, strlen(state), LONGEST_ID)] = '\0';
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has a row in a state that machine \"%s\" version %d does not have",
						RelationGetRelationName(relation),
						call->machine->name, call->machine->version),
				 errdetail("Column \"%s\" is %s there.", call->state_column,
						   state == NULL ? "NULL" : psprintf("\"%s\"", state)),
				 errhint("Correct such rows, or define the machine with their states.")));
	}
}

/* The trigger of a guard that a table has already, NULL: it has none. */
static const Trigger *
find_trigger(Relation relation, Oid check, AttrNumber state, int16 type)
{
	TriggerDesc *all = relation->trigdesc;

	for (int i = 0; all != NULL && i < all->numtriggers; i++)
	{
		const Trigger *trigger = &all->triggers[i];
		GuardDefinition definition;

		if (trigger->tgfoid == check && (trigger->tgtype & type) != 0 &&
			payorder_guard_definition(trigger, &definition) &&
			definition.state == state)
			return trigger;
	}
	return NULL;
}

static bool
name_is_taken(Relation relation, const char *name)
{
	TriggerDesc *all = relation->trigdesc;

	for (int i = 0; all != NULL && i < all->numtriggers; i++)
	{
		if (strcmp(all->triggers[i].tgname, name) == 0)
			return true;
	}
	return false;
}

static const char *
trigger_name(const GuardCall *call, Relation relation, AttrNumber state,
			 int kind)
{
	const Trigger *trigger = find_trigger(relation, call->check, state,
										  triggers[kind].type);
	char	   *label = pstrdup(triggers[kind].name);
	char	   *name;

	if (trigger != NULL)
		return trigger->tgname;
	name = makeObjectName("payorder_guard", call->state_column, label);
	for (int i = 1; name_is_taken(relation, name); i++)
		name = makeObjectName("payorder_guard", call->state_column,
							  psprintf("%s%d", label, i));
	return name;
}

static void
run_utility(const char *sql)
{
	int			result = SPI_execute(sql, false, 0);

	if (result != SPI_OK_UTILITY)
		elog(ERROR, "could not execute statement: %s",
			 SPI_result_code_string(result));
}

/* A domain over an enum has no operators of its own. */
static const char *
cast_of(Oid type)
{
	Oid			base = getBaseType(type);

	if (base == type)
		return "";
	return psprintf("::%s", format_type_extended(base, -1,
												 FORMAT_TYPE_FORCE_QUALIFY));
}

static void
make_trigger(const GuardCall *call, Relation relation, AttrNumber state,
			 const char *key_column, int kind)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE OR REPLACE TRIGGER %s AFTER %s ON %s"
					 " FOR EACH ROW WHEN (",
					 quote_identifier(trigger_name(call, relation,
												   state, kind)),
					 triggers[kind].command, qualified_name(relation));
	appendStringInfo(&sql, triggers[kind].condition,
					 quote_identifier(call->state_column),
					 quote_identifier(key_column),
					 cast_of(TupleDescAttr(RelationGetDescr(relation),
										   state - 1)->atttypid));
	appendStringInfo(&sql, ") EXECUTE FUNCTION payorder.check_transition(%s, '%d'%s)",
					 quote_literal_cstr(call->machine->name),
					 call->machine->version,
					 call->log ? ", '" GUARD_LOGS "'" : "");
	run_utility(sql.data);
}

static void
guard_table(const GuardCall *call, Oid table)
{
	Relation	relation = table_open(table, NoLock);
	const char *key_column = call->key_column;
	Form_pg_attribute column;
	AttrNumber	state;

	check_owner(table);
	column = find_column(relation, call->state_column);
	check_state_column(call, column);
	state = column->attnum;
	if (key_column == NULL)
		key_column = primary_key(relation);
	(void) find_column(relation, key_column);
	check_rows(call, relation);
	for (size_t kind = 0; kind < lengthof(triggers); kind++)
	{
		if (!triggers[kind].partitioned ||
			relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
			make_trigger(call, relation, state, key_column, kind);
	}
	table_close(relation, NoLock);
}

/* Locks a table of the caller's with all that inherits from it. */
static List *
lock_tables(Oid table, LOCKMODE mode)
{
	Relation	relation;

	check_owner(table);
	relation = relation_open(table, mode);
	check_kind(relation);
	relation_close(relation, NoLock);
	return find_all_inheritors(table, mode, NULL);
}

/* Refuses tables that are not for guards; a parent can have others below. */
static void
check_tables(const GuardCall *call, List *tables)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		Relation	relation = relation_open(lfirst_oid(cell), NoLock);

		check_kind(relation);
		if (lfirst_oid(cell) == call->relation &&
			relation->rd_rel->relispartition)
			refuse_relation(relation, "is a partition",
							"Guard the partitioned table; all its partitions go with it.");
		relation_close(relation, NoLock);
	}
}

static Oid
required_relation(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", "relation"),
				 errhint("Give a value for \"%s\".", "relation")));
	return PG_GETARG_OID(0);
}

/* guard(relation, state_column, machine, key_column, log) returns integer */
Datum
payorder_guard(PG_FUNCTION_ARGS)
{
	GuardCall	call = {0};
	List	   *tables;
	ListCell   *cell;

	payorder_prevent_read_only("guard()");
	call.relation = required_relation(fcinfo);
	call.state_column = payorder_required_text(fcinfo, 1, "state_column");
	call.machine_name = payorder_required_text(fcinfo, 2, "machine");
	call.key_column = payorder_text_argument(fcinfo, 3);
	call.log = !PG_ARGISNULL(4) && PG_GETARG_BOOL(4);
	call.check = check_function();
	tables = lock_tables(call.relation, ShareRowExclusiveLock);
	check_tables(&call, tables);
	payorder_as_owner(call.check, find_machine, &call);
	SPI_connect();
	foreach(cell, tables)
	{
		/* partitions get the triggers of their table by themselves */
		if (!get_rel_relispartition(lfirst_oid(cell)))
			guard_table(&call, lfirst_oid(cell));
	}
	SPI_finish();
	PG_RETURN_INT32(call.machine->version);
}

/* Drops a guard's triggers from a table; how many there were. */
static int
unguard_table(Oid table, const char *state_column, Oid check)
{
	Relation	relation = table_open(table, NoLock);
	AttrNumber	state = find_column(relation, state_column)->attnum;
	int			count = 0;

	check_owner(table);
	for (size_t kind = 0; kind < lengthof(triggers); kind++)
	{
		const Trigger *trigger = find_trigger(relation, check, state,
											  triggers[kind].type);

		if (trigger == NULL)
			continue;
		if (trigger->tgisclone)
			refuse_relation(relation, "is a partition",
							"Name the partitioned table; all its partitions go with it.");
		run_utility(psprintf("DROP TRIGGER %s ON %s",
							 quote_identifier(trigger->tgname),
							 qualified_name(relation)));
		count++;
	}
	table_close(relation, NoLock);
	return count;
}

/* unguard(relation, state_column) returns void */
Datum
payorder_unguard(PG_FUNCTION_ARGS)
{
	Oid			table = required_relation(fcinfo);
	char	   *state_column = payorder_required_text(fcinfo, 1,
													  "state_column");
	Oid			check = check_function();
	int			count = 0;
	List	   *tables;
	ListCell   *cell;

	payorder_prevent_read_only("unguard()");
	tables = lock_tables(table, AccessExclusiveLock);
	SPI_connect();
	foreach(cell, tables)
	{
		if (lfirst_oid(cell) == table ||
			!get_rel_relispartition(lfirst_oid(cell)))
			count += unguard_table(lfirst_oid(cell), state_column, check);
	}
	SPI_finish();
	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("column \"%s\" of table \"%s\" is not guarded",
						payorder_shown(state_column), get_rel_name(table)),
				 errhint("See payorder.guarded for what is.")));
	PG_RETURN_VOID();
}
