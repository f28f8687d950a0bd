/*-------------------------------------------------------------------------
 *
 * relation.c
 *		Rows by key: kept statements, their results, and probes for rows
 *		that another transaction is just inserting.
 *
 * Every statement is constant text with all names qualified, runs under the
 * pinned search_path of the SQL function that was called, and takes its
 * values as parameters only, and waits for no lock longer than
 * payorder.lock_wait.  Its plan is kept for the session; the server
 * plans it anew when what it names has changed, also after DROP and CREATE
 * EXTENSION.  Each statement sees what the transaction did before it, and at
 * READ COMMITTED all that was committed.
 *
 * Results are copied to the caller's memory context: nothing stays open between
 * two calls but what keyed_open.c keeps, which a subtransaction does not touch,
 * so that one may begin or end anywhere.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "guc.h"
#include "keyed.h"
#include "relation.h"
#include "relation_run.h"
#include "removal.h"

PG_FUNCTION_INFO_V1(payorder_refuse_change);
PG_FUNCTION_INFO_V1(payorder_refuse_row_change);

/*
 * How deep in triggers the kernel's statement that is just running was begun,
 * -1: there is none.
 */
static int	statement_depth = -1;

/* By which all statements are done just now; NULL: each has its own. */
static Snapshot shared_snapshot = NULL;

/* Whether one of the kernel's statements runs. */
bool
payorder_in_statement(void)
{
	return statement_depth >= 0;
}

static int
trigger_depth(void)
{
	return DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0));
}

static Oid
type_of_letter(char letter)
{
	switch (letter)
	{
		case 't':
			return TEXTOID;
		case 'i':
			return INT4OID;
		case 'l':
		case 'L':
			return INT8OID;
		case 'b':
			return BOOLOID;
		case 'z':
			return TIMESTAMPTZOID;
		case 'v':
			return INTERVALOID;
		case 'j':
			return JSONOID;
		case 'J':
			return JSONBOID;
		case 'y':
			return BYTEAOID;
		case 'A':
			return TEXTARRAYOID;
		case 'Q':
			return INT8ARRAYOID;
		case 'V':
			return INTERVALARRAYOID;
		case 'x':
			return XID8OID;
		case 'X':
			return XID8ARRAYOID;
		case 's':
			return PG_SNAPSHOTOID;
	}
	elog(ERROR, "unknown argument type \"%c\"", letter);
	return InvalidOid;
}

static Datum
pointer_argument(void *pointer, char *null)
{
	*null = pointer == NULL ? 'n' : ' ';
	return PointerGetDatum(pointer);
}

/* Reads the next argument of a statement. */
static Datum
next_argument(char letter, va_list *arguments, char *null)
{
	*null = ' ';
	switch (letter)
	{
		case 't':
		case 'j':
			{
				const char *text = va_arg(*arguments, const char *);

				return pointer_argument(text ? cstring_to_text(text) : NULL,
										null);
			}
		case 'i':
			return Int32GetDatum(va_arg(*arguments, int));
		case 'l':
			return Int64GetDatum(va_arg(*arguments, int64));
		case 'L':
			{
				const int64 *number = va_arg(*arguments, const int64 *);

				if (number != NULL)
					return Int64GetDatum(*number);
				*null = 'n';
				return (Datum) 0;
			}
		case 'x':
			return UInt64GetDatum(va_arg(*arguments, uint64));
		case 's':
			return DirectFunctionCall1(pg_snapshot_in,
									   CStringGetDatum(va_arg(*arguments, const char *)));
		case 'b':
			return BoolGetDatum(va_arg(*arguments, int) != 0);
		case 'z':
			{
				TimestampTz time = va_arg(*arguments, TimestampTz);

				if (time == NO_TIME)
					*null = 'n';
				return TimestampTzGetDatum(time);
			}
		default:
			return pointer_argument(va_arg(*arguments, void *), null);
	}
}

static void
prepare(Statement *statement)
{
	Oid			types[MOST_ARGUMENTS];
	int			count = strlen(statement->arguments);
	SPIPlanPtr	plan;

	Assert(count <= MOST_ARGUMENTS);
	for (int i = 0; i < count; i++)
		types[i] = type_of_letter(statement->arguments[i]);
	plan = SPI_prepare(statement->sql, count, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare statement: %s",
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	statement->plan = plan;
}

/*
 * Bounds the waits of a statement for locks by payorder.lock_wait.  The
 * variable is set directly, since this is on the path of every message and
 * only this backend reads it.
 */
void
payorder_limit_lock_wait(void)
{
	if (LockTimeout == 0 || LockTimeout > payorder_lock_wait)
		LockTimeout = payorder_lock_wait;
}

void
payorder_read_arguments(const Statement *statement, va_list *arguments,
						Datum *values, char *nulls)
{
	for (int i = 0; statement->arguments[i] != '\0'; i++)
		values[i] = next_argument(statement->arguments[i], arguments,
								  &nulls[i]);
}

/*
 * Does some work whose statements all see the same, as if they were one; what
 * they write themselves, the later ones see.  Triggers' own statements are not
 * of them.
 */
void
payorder_at_one_snapshot(GuardedWork work, void *argument)
{
	Snapshot	before = shared_snapshot;
	Snapshot	snapshot = RegisterSnapshot(GetTransactionSnapshot());

	shared_snapshot = snapshot;
	PG_TRY();
	{
		work(argument);
	}
	PG_FINALLY();
	{
		shared_snapshot = before;
	}
	PG_END_TRY();
	UnregisterSnapshot(snapshot);
}

/* Makes the snapshot of a statement that now begins the active one. */
void
payorder_push_snapshot(void)
{
	CommandCounterIncrement();
	if (shared_snapshot == NULL)
		PushActiveSnapshot(GetTransactionSnapshot());
	else
	{
		PushCopiedSnapshot(shared_snapshot);
		UpdateActiveSnapshotCommandId();
	}
}

/* Has the executor do a statement, within SPI. */
void
payorder_run(Statement *statement, Datum *values, const char *nulls)
{
	Snapshot	snapshot = shared_snapshot;
	int			before = statement_depth;
	int			saved = LockTimeout;
	int			result = 0;

	if (statement->plan == NULL)
		prepare(statement);
	statement_depth = trigger_depth();
	payorder_limit_lock_wait();
	shared_snapshot = NULL;
	PG_TRY();
	{
		result = SPI_execute_snapshot(statement->plan, values, nulls, snapshot,
									  InvalidSnapshot, false, true, 0);
	}
	PG_FINALLY();
	{
		shared_snapshot = snapshot;
		statement_depth = before;
		LockTimeout = saved;
	}
	PG_END_TRY();
	if (result < 0)
		elog(ERROR, "could not execute statement: %s",
			 SPI_result_code_string(result));
	if (statement->stage == NOT_EXECUTED)
		statement->stage = EXECUTED;
}

static void
run(Statement *statement, va_list *arguments)
{
	Datum		values[MOST_ARGUMENTS];
	char		nulls[MOST_ARGUMENTS];

	payorder_read_arguments(statement, arguments, values, nulls);
	payorder_run(statement, values, nulls);
}

/*
 * Does a statement by its key, if it is one of that kind and the case is plain;
 * else it is the executor's.
 */
static bool
run_keyed(Statement *statement, va_list *arguments, KeyedRun *keyed)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[MOST_ARGUMENTS];
	char		nulls[MOST_ARGUMENTS];
	int			saved = LockTimeout;
	volatile bool begun = false;
	volatile bool done = false;

	payorder_limit_lock_wait();
	PG_TRY();
	{
		begun = payorder_keyed_begin(statement, keyed);
		if (begun)
		{
			payorder_read_arguments(statement, arguments, values, nulls);
			done = payorder_keyed_perform(keyed, values, nulls, 1,
										  caller) == 1;
		}
	}
	PG_FINALLY();
	{
		LockTimeout = saved;
	}
	PG_END_TRY();
	if (!begun)
		return false;
	MemoryContextSwitchTo(caller);
	payorder_keyed_end(keyed);
	return done;
}

/* Copies a value to the current memory context. */
void
payorder_copy_cell(Cell *cell, Form_pg_attribute attribute, Datum value)
{
	switch (attribute->atttypid)
	{
		case INT2OID:
			cell->number = DatumGetInt16(value);
			break;
		case INT4OID:
			cell->number = DatumGetInt32(value);
			break;
		case OIDOID:
			cell->number = DatumGetObjectId(value);
			break;
		case INT8OID:
		case XID8OID:
		case TIMESTAMPTZOID:
			cell->number = DatumGetInt64(value);
			break;
		case BOOLOID:
			cell->truth = DatumGetBool(value);
			break;
		case TEXTOID:
		case BPCHAROID:
		case VARCHAROID:
		case JSONOID:
			cell->text = TextDatumGetCString(value);
			break;
		case BYTEAOID:
			cell->bytes = DatumGetByteaPCopy(value);
			break;
		default:
			if (attribute->attlen == -1)
				value = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
			else
				value = datumCopy(value, attribute->attbyval,
								  attribute->attlen);
			cell->datum = value;
			break;
	}
}

/* Copies what SPI has read to the current memory context. */
Rows *
payorder_copy_rows(SPITupleTable *table)
{
	Rows	   *rows = palloc0(sizeof(Rows));

	if (table == NULL)
		return rows;
	rows->count = table->numvals;
	rows->columns = table->tupdesc->natts;
	rows->cells = palloc0(sizeof(Cell) * rows->count * rows->columns);
	for (int i = 0; i < rows->count; i++)
	{
		for (int j = 0; j < rows->columns; j++)
		{
			Cell	   *cell = &rows->cells[i * rows->columns + j];
			Datum		value = SPI_getbinval(table->vals[i], table->tupdesc,
											  j + 1, &cell->isnull);

			if (!cell->isnull)
				payorder_copy_cell(cell, TupleDescAttr(table->tupdesc, j),
								   value);
		}
	}
	return rows;
}

/* Runs a statement and returns its rows, copied to the caller's context. */
Rows *
payorder_query(Statement *statement,...)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext inner;
	Rows	   *rows;
	va_list		arguments;
	KeyedRun	keyed;
	bool		done;

	va_start(arguments, statement);
	done = run_keyed(statement, &arguments, &keyed);
	va_end(arguments);
	if (done)
		return payorder_keyed_rows(&keyed);
	SPI_connect();
	va_start(arguments, statement);
	run(statement, &arguments);
	va_end(arguments);
	inner = MemoryContextSwitchTo(caller);
	rows = payorder_copy_rows(SPI_tuptable);
	MemoryContextSwitchTo(inner);
	SPI_finish();
	return rows;
}

/* Runs a statement and returns how many rows it touched. */
int64
payorder_execute(Statement *statement,...)
{
	int64		processed;
	va_list		arguments;
	KeyedRun	keyed;
	bool		done;

	va_start(arguments, statement);
	done = run_keyed(statement, &arguments, &keyed);
	va_end(arguments);
	if (done)
		return keyed.processed;
	SPI_connect();
	va_start(arguments, statement);
	run(statement, &arguments);
	va_end(arguments);
	processed = (int64) SPI_processed;
	SPI_finish();
	return processed;
}

char *
payorder_read_text(Reader *reader)
{
	Cell	   *cell = reader->next++;

	return cell->isnull ? NULL : cell->text;
}

int64
payorder_read_number(Reader *reader)
{
	Cell	   *cell = reader->next++;

	return cell->isnull ? 0 : cell->number;
}

bool
payorder_read_truth(Reader *reader)
{
	Cell	   *cell = reader->next++;

	return !cell->isnull && cell->truth;
}

TimestampTz
payorder_read_time(Reader *reader)
{
	Cell	   *cell = reader->next++;

	return cell->isnull ? NO_TIME : cell->time;
}

Interval *
payorder_read_interval(Reader *reader)
{
	Cell	   *cell = reader->next++;

	return cell->isnull ? NULL : (Interval *) DatumGetPointer(cell->datum);
}

bytea *
payorder_read_bytes(Reader *reader)
{
	Cell	   *cell = reader->next++;

	return cell->isnull ? NULL : cell->bytes;
}

/*
 * Statement trigger of tables that nobody but the kernel changes.  Its own
 * statements are those that fire this one level of triggers below where they
 * were begun; what a user's trigger does inside of them is a level deeper.
 * Of a table whose trigger has an argument, rows are removed by purge() only.
 */
Datum
payorder_refuse_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	const char *command = "UPDATE";

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager",
						"refuse_change"),
				 errhint("It is the extension's own trigger function.")));
	if (statement_depth >= 0 && trigger_depth() == statement_depth + 1 &&
		(trigger->tg_trigger->tgnargs == 0 || payorder_in_removal()))
		return PointerGetDatum(NULL);
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		command = "DELETE";
	else if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		command = "TRUNCATE";
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("%s of table \"%s\" is not allowed", command,
					RelationGetRelationName(trigger->tg_relation)),
			 errhint("Its rows are kept by payorder; use the extension's functions.")));
}

/* Row trigger whose WHEN says that a column has changed that never does. */
Datum
payorder_refuse_row_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager",
						"refuse_row_change"),
				 errhint("It is the extension's own trigger function.")));
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("what identifies a row of table \"%s\" never changes",
					RelationGetRelationName(trigger->tg_relation)),
			 errhint("Add a new one instead.")));
}
