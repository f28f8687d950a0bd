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

static bool
has_class(int sqlstate, const char *class)
{
	return ERRCODE_TO_CATEGORY(sqlstate) ==
		MAKE_SQLSTATE(class[0], class[1], '0', '0', '0');
}

/*
 * Whether an error says that the server failed, rather than the work: SQLSTATE
 * classes 40, 53, 57 and 58.
 */
bool
payorder_is_server_failure(int sqlstate)
{
	return has_class(sqlstate, "40") || has_class(sqlstate, "53") ||
		has_class(sqlstate, "57") || has_class(sqlstate, "58");
}

/*
 * Whether an error tells nothing against the work: the server failed, or has a
 * bug.  Tried again later, the work may well be done.
 */
bool
payorder_may_pass(const ErrorData *error)
{
	return payorder_is_server_failure(error->sqlerrcode) ||
		has_class(error->sqlerrcode, "XX");
}

/* What nobody is asked to decide is seen in the log at least. */
void
payorder_warn_put_off(const char *what, const ErrorData *error)
{
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("could not do what is due for %s", what),
			 errdetail("An error with SQLSTATE %s was raised.",
					   unpack_sql_state(error->sqlerrcode)),
			 errhint("It is tried again in a minute.")));
}

/*
 * Whether the transaction is to end: this process was told to cancel, which
 * only the server's own function says (a user's trigger may raise whatever it
 * likes), or its snapshot is too old for what it does.
 */
static bool
ends_transaction(const ErrorData *error)
{
	if (has_class(error->sqlerrcode, "40"))
		return IsolationUsesXactSnapshot();
	return has_class(error->sqlerrcode, "57") && error->funcname != NULL &&
		strcmp(error->funcname, "ProcessInterrupts") == 0;
}

/*
 * Runs some work in a subtransaction.  Returns NULL, or the error after which
 * all of the work is undone, whatever it is.
 */
ErrorData *
payorder_caught(GuardedWork work, void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		work(argument);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

/*
 * Runs some work in a subtransaction and returns its error, NULL for none;
 * failures of the server are raised on.  For one unit of many, whose failure
 * must not stop the others.
 */
ErrorData *
payorder_isolated(GuardedWork work, void *argument)
{
	ErrorData  *error = payorder_caught(work, argument);

	if (error != NULL && payorder_is_server_failure(error->sqlerrcode))
		ReThrowError(error);
	return error;
}

/*
 * The same for a sweep, which whatever one unit raises must not end: only what
 * ends the transaction is raised on.  The caller asks payorder_may_pass()
 * before it gives a unit up.
 */
ErrorData *
payorder_contained(GuardedWork work, void *argument)
{
	ErrorData  *error = payorder_caught(work, argument);

	if (error != NULL && ends_transaction(error))
		ReThrowError(error);
	return error;
}

/*
 * The same, but internal errors (class XX) are raised on, too: for a caller
 * who would take the error's absence for an acknowledgement.
 */
ErrorData *
payorder_guarded(GuardedWork work, void *argument)
{
	ErrorData  *error = payorder_isolated(work, argument);

	if (error != NULL && has_class(error->sqlerrcode, "XX"))
		ReThrowError(error);
	return error;
}

/*
 * Does something as the owner of a function and under a pinned path, as a
 * SECURITY DEFINER function would.  An error's rollback undoes both.
 */
void
payorder_as_owner(Oid function, OwnersWork work, void *argument)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	int			nest_level = NewGUCNestLevel();
	Oid			owner;
	Oid			user;
	int			context;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	work(argument);
	AtEOXact_GUC(true, nest_level);
	SetUserIdAndSecContext(user, context);
}

/* Entry check of all that writes: SQLSTATE 25006, standbys included. */
void
payorder_prevent_read_only(const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	PreventCommandDuringRecovery(function);
}

/*
 * Entry check of what looks for rows that others may just have committed, and
 * would not see them by an older snapshot: SQLSTATE 25000.
 */
void
payorder_require_read_committed(const char *function)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("%s works at READ COMMITTED only", function),
				 errhint("Begin the transaction with ISOLATION LEVEL READ COMMITTED.")));
}

char *
payorder_text_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

char *
payorder_required_text(FunctionCallInfo fcinfo, int number, const char *name)
{
	char	   *text = payorder_text_argument(fcinfo, number);

	if (text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name),
				 errhint("Give a value for \"%s\".", name)));
	return text;
}

/* Whether two texts are equal; NULL is equal to NULL only. */
bool
payorder_same_text(const char *left, const char *right)
{
	return left == right ||
		(left != NULL && right != NULL && strcmp(left, right) == 0);
}

/*
 * Whether a text has the form of a number or id: 1 to 128 characters, none of
 * them a control character.
 */
bool
payorder_is_id(const char *text)
{
	int			length = pg_mbstrlen(text);

	if (length < 1 || length > LONGEST_ID)
		return false;
	for (const unsigned char *c = (const unsigned char *) text; *c; c++)
	{
		if (*c < 0x20 || *c == 0x7f)
			return false;
		if (GetDatabaseEncoding() == PG_UTF8 && *c == 0xc2 && c[1] < 0xa0)
			return false;
	}
	return true;
}

/* Forms the composite value that the called function returns. */
Datum
payorder_composite(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc	description;

	if (get_call_result_type(fcinfo, NULL, &description) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description),
											 values, nulls));
}

/*
 * The length of an interval in microseconds, false if it is not positive,
 * longer than 366 days, or counts months, which have no fixed length.
 */
bool
payorder_duration(const Interval *interval, int64 *microseconds)
{
	if (interval->month != 0 ||
		interval->day > 366 || interval->day < -366 ||
		interval->time > LONGEST_DURATION || interval->time < -LONGEST_DURATION)
		return false;
	*microseconds = interval->day * USECS_PER_DAY + interval->time;
	return *microseconds > 0 && *microseconds <= LONGEST_DURATION;
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
