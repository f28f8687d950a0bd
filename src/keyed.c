/*-------------------------------------------------------------------------
 *
 * keyed.c
 *		Statements that read or write rows of one table by a key, carried out
 *		without starting the executor.
 *
 * Starting and ending the executor is most of what such a statement costs: a
 * message of a gateway is some twenty of them.  Here the same is done with the
 * server's own table and index access: an index scan under a snapshot as SPI
 * takes it, row locks and updates that wait as the executor's do, CHECKs and
 * index entries by its functions, expressions compiled once and kept as long
 * as the server thinks its plan of the statement valid.
 *
 * Only the plain case is done.  Whenever there is anything to it (a plan that
 * is not valid any more, a row that others have changed since the snapshot, a
 * key that this transaction's snapshot can't see, a read-only transaction, a
 * hook that wants to see the rights checked), nothing has been written yet for
 * the row of arguments at hand, or was taken back, and the statement goes to
 * the executor with it, which sees, waits and raises as it always does.
 * payorder.row_access = sql sends everything there: what is done here must not
 * differ from it, and the tests run both ways.
 *
 * Locks: the table's and the index's, as the executor's, until the end of the
 * transaction; rows as the statement says.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "guc.h"
#include "keyed.h"
#include "relation_run.h"

#define FIRST_CELLS		32

/*
 * The executor's state of the statement that runs: one for all, since nothing
 * here is entered twice.  What a statement allocates is in a context below it.
 */
static EState *state = NULL;

static void
forget(Statement *statement)
{
	if (statement->keyed != NULL)
		MemoryContextDelete(statement->keyed->memory);
	statement->keyed = NULL;
	statement->stage = NOT_EXECUTED;
}

/*
 * Looks at a statement when the executor has done it once: then the server has
 * analysed it, and it is one that runs.
 */
static bool
recognise(Statement *statement)
{
	CachedPlanSource *source;

	if (statement->plan == NULL)
		return false;
	source = linitial(SPI_plan_get_plan_sources(statement->plan));
	if (!source->is_valid)
		forget(statement);
	else if (statement->stage == EXECUTED)
	{
		statement->stage = LOOKED_AT;
		statement->keyed =
			payorder_keyed_recognise(source, strlen(statement->arguments));
	}
	return statement->keyed != NULL;
}

/* Whether the executor has no reason to refuse; an owner is remembered. */
static bool
may_run(Keyed *keyed)
{
	if ((keyed->command != CMD_SELECT || keyed->locks) &&
		(XactReadOnly || IsInParallelMode()))
		return false;
	if (ExecutorCheckPerms_hook != NULL)
		return false;
	if (keyed->user == GetUserId())
		return true;
	if (pg_class_aclmask(keyed->table->relation, GetUserId(), keyed->rights,
						 ACLMASK_ALL) != keyed->rights)
		return false;
	if (payorder_owns_relation(keyed->table->relation, GetUserId()))
		keyed->user = GetUserId();
	return true;
}

static EState *
new_state(void)
{
	MemoryContext caller = MemoryContextSwitchTo(CacheMemoryContext);
	EState	   *new = CreateExecutorState();
	ExprContext *context = GetPerTupleExprContext(new);

	new->es_query_cxt = AllocSetContextCreate(new->es_query_cxt,
											  "payorder keyed run",
											  ALLOCSET_DEFAULT_SIZES);
	context->ecxt_per_query_memory = new->es_query_cxt;
	MemoryContextSwitchTo(caller);
	return new;
}

/* Frees what a statement has left, also one that raised. */
static void
clear(EState *used)
{
	ResetExprContext(GetPerTupleExprContext(used));
	MemoryContextReset(used->es_query_cxt);
}

/*
 * Whether a statement can be done here now; then its table is open, and the
 * current memory context is the run's.
 */
bool
payorder_keyed_begin(Statement *statement, KeyedRun *run)
{
	Keyed	   *keyed;

	if (payorder_row_access == ROW_ACCESS_SQL || !recognise(statement))
		return false;
	keyed = statement->keyed;
	if (!may_run(keyed))
		return false;
	run->keyed = keyed;
	run->relation = payorder_keyed_open_table(keyed->table, keyed->relation_lock);
	if (run->relation == NULL)
		return false;
	if (!keyed->source->is_valid)
	{
		payorder_keyed_close(run->relation);
		forget(statement);
		return false;
	}
	if (state == NULL)
		state = new_state();
	clear(state);
	run->estate = state;
	run->mark = 0;
	run->removes = false;
	run->conflict_is_rare = statement->conflict_is_rare && !keyed->other_keys;
	run->processed = 0;
	run->cells = NULL;
	run->cells_allocated = 0;
	MemoryContextSwitchTo(run->estate->es_query_cxt);
	return true;
}

/*
 * The same for two statements of one table: what `find` would lock, `remove`
 * would remove.
 */
bool
payorder_keyed_begin_taking(Statement *find, Statement *remove, KeyedRun *run)
{
	MemoryContext caller = CurrentMemoryContext;

	if (!payorder_keyed_begin(find, run))
		return false;
	LockRelationOid(run->keyed->table->relation, RowExclusiveLock);
	if (run->keyed->source->is_valid && recognise(remove) &&
		remove->keyed->table == run->keyed->table &&
		may_run(remove->keyed))
	{
		CheckCmdReplicaIdentity(run->relation, CMD_DELETE);
		run->removes = true;
		return true;
	}
	MemoryContextSwitchTo(caller);
	payorder_keyed_end(run);
	return false;
}

/* What was read, in the memory of who called for it. */
Rows *
payorder_keyed_rows(const KeyedRun *run)
{
	Rows	   *rows = palloc0(sizeof(Rows));

	rows->count = run->processed;
	rows->columns = run->keyed->result == NULL ? 0 :
		run->keyed->result->natts;
	rows->cells = run->cells;
	return rows;
}

void
payorder_keyed_end(KeyedRun *run)
{
	clear(run->estate);
	payorder_keyed_close(run->relation);
}

/* ---- reading ---- */

static void
add_cells(KeyedRun *run, int columns)
{
	int			wanted = (run->processed + 1) * columns;

	if (wanted <= run->cells_allocated)
		return;
	if (run->cells == NULL)
	{
		run->cells_allocated = Max(FIRST_CELLS, wanted);
		run->cells = MemoryContextAlloc(run->caller, sizeof(Cell) *
										run->cells_allocated);
		return;
	}
	run->cells_allocated *= 2;
	run->cells = repalloc_huge(run->cells, sizeof(Cell) * run->cells_allocated);
}

/* Copies what a statement reads of a row to the caller's memory. */
void
payorder_keyed_read_row(KeyedRun *run, TupleTableSlot *slot)
{
	Keyed	   *keyed = run->keyed;
	int			columns = keyed->result->natts;
	Cell	   *cells;
	MemoryContext inner;

	add_cells(run, columns);
	cells = run->cells + run->processed * columns;
	run->context->ecxt_scantuple = slot;
	inner = MemoryContextSwitchTo(run->caller);
	for (int i = 0; i < columns; i++)
	{
		Datum		value;

		if (keyed->columns[i] != 0)
			value = slot_getattr(slot, keyed->columns[i], &cells[i].isnull);
		else
		{
			MemoryContextSwitchTo(inner);
			value = ExecEvalExpr(keyed->column_values[i], run->context,
								 &cells[i].isnull);
			MemoryContextSwitchTo(run->caller);
		}
		if (!cells[i].isnull)
			payorder_copy_cell(&cells[i], TupleDescAttr(keyed->result, i),
							   value);
	}
	MemoryContextSwitchTo(inner);
	run->processed++;
}

/* What came of the try to lock a row. */
typedef enum Lock
{
	LOCK_HAD,
	LOCK_PASSED_OVER,
	LOCK_CHANGED				/* the row is another than the one found */
} Lock;

static Lock
lock_row(KeyedRun *run, TupleTableSlot *found, TupleTableSlot *locked)
{
	ItemPointerData tid = found->tts_tid;
	int			flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;
	TM_FailureData failure;
	TM_Result	result;

	if (!IsolationUsesXactSnapshot())
		flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
	result = table_tuple_lock(run->relation, &tid, run->estate->es_snapshot,
							  locked, run->estate->es_output_cid,
							  run->keyed->lock_mode, run->keyed->wait_policy,
							  flags, &failure);
	if (result == TM_WouldBlock)
		return LOCK_PASSED_OVER;
	return result == TM_Ok && !failure.traversed ? LOCK_HAD : LOCK_CHANGED;
}

/*
 * Removes a row, if nobody is just changing it; who locks it might be this
 * transaction itself.
 */
static Lock
remove_row(KeyedRun *run, TupleTableSlot *found, TupleTableSlot *locked)
{
	TM_FailureData failure;
	TM_Result	result;

	result = table_tuple_delete(run->relation, &found->tts_tid,
								run->estate->es_output_cid,
								run->estate->es_snapshot, InvalidSnapshot,
								false, &failure, false);
	if (result == TM_BeingModified)
	{
		Lock		lock = lock_row(run, found, locked);

		if (lock != LOCK_HAD)
			return lock;
		result = table_tuple_delete(run->relation, &found->tts_tid,
									run->estate->es_output_cid,
									run->estate->es_snapshot, InvalidSnapshot,
									true, &failure, false);
	}
	if (result == TM_Deleted && !IsolationUsesXactSnapshot())
		return LOCK_PASSED_OVER;
	return result == TM_Ok ? LOCK_HAD : LOCK_CHANGED;
}

static int64
limit_of(KeyedRun *run)
{
	bool		isnull;
	Datum		limit;

	if (run->keyed->limit == NULL)
		return PG_INT64_MAX;
	limit = ExecEvalExpr(run->keyed->limit, run->context, &isnull);
	return isnull ? PG_INT64_MAX : DatumGetInt64(limit);
}

/* Reads the rows of a scan that has its keys; false: it is not plain. */
static bool
read_rows(KeyedRun *run, KeyedScan *scan, TupleTableSlot *locked)
{
	TupleTableSlot *found = scan->slot;
	int64		limit = limit_of(run);
	int64		left = limit;

	while (left > 0 && payorder_keyed_next(scan))
	{
		Lock		lock = LOCK_HAD;

		if (run->removes)
			lock = remove_row(run, found, locked);
		else if (run->keyed->locks)
			lock = lock_row(run, found, locked);
		if (lock == LOCK_CHANGED)
			return false;
		if (lock == LOCK_HAD)
		{
			payorder_keyed_read_row(run, run->keyed->locks && !run->removes ?
									locked : found);
			left--;
		}
		ResetExprContext(run->context);
	}
	return limit >= 0;
}

/* Reads for each row of arguments; how many were plain. */
static int
read_by_key(KeyedRun *run, const Datum *values, const char *nulls, int count)
{
	KeyedScan	scan;
	TupleTableSlot *locked = run->keyed->locks ? payorder_keyed_slot(run) :
		NULL;
	int			done;

	payorder_keyed_begin_scan(&scan, run, count);
	for (done = 0; done < count; done++)
	{
		payorder_keyed_arguments(run, values, nulls, done);
		if (payorder_keyed_find(&scan) && !read_rows(run, &scan, locked))
			break;
	}
	if (locked != NULL)
		ExecDropSingleTupleTableSlot(locked);
	payorder_keyed_end_scan(&scan);
	return done;
}

/* ---- the statement ---- */

static ParamListInfo
new_parameters(const Keyed *keyed)
{
	ParamListInfo parameters = makeParamList(keyed->parameter_count);

	for (int i = 0; i < keyed->parameter_count; i++)
	{
		parameters->params[i].pflags = 0;
		parameters->params[i].ptype = keyed->source->param_types[i];
	}
	return parameters;
}

/* Gives a statement a row of its arguments. */
void
payorder_keyed_arguments(KeyedRun *run, const Datum *values, const char *nulls,
						 int row)
{
	ParamListInfo parameters = run->estate->es_param_list_info;
	int			first = row * run->keyed->parameter_count;

	ResetExprContext(run->context);
	for (int i = 0; i < run->keyed->parameter_count; i++)
	{
		parameters->params[i].value = values[first + i];
		parameters->params[i].isnull = nulls[first + i] == 'n';
	}
}

static int
perform(KeyedRun *run, const Datum *values, const char *nulls, int count)
{
	switch (run->keyed->command)
	{
		case CMD_SELECT:
			return read_by_key(run, values, nulls, count);
		case CMD_INSERT:
			return payorder_keyed_insert(run, values, nulls, count);
		default:
			return payorder_keyed_change(run, values, nulls, count);
	}
}

/*
 * Does a statement for each row of its arguments, all by one snapshot, and
 * returns for how many it did: the next one is the executor's business after
 * all.  What is read is copied to the caller's memory.
 */
int
payorder_keyed_perform(KeyedRun *run, const Datum *values, const char *nulls,
					   int count, MemoryContext caller)
{
	EState	   *estate = run->estate;
	bool		writes = run->keyed->command != CMD_SELECT || run->removes;
	int			done;

	payorder_push_snapshot();
	estate->es_snapshot = GetActiveSnapshot();
	estate->es_output_cid = GetCurrentCommandId(writes);
	estate->es_param_list_info = new_parameters(run->keyed);
	run->context = GetPerTupleExprContext(estate);
	run->context->ecxt_param_list_info = estate->es_param_list_info;
	run->caller = caller;
	done = perform(run, values, nulls, count);
	PopActiveSnapshot();
	if (writes)
		CommandCounterIncrement();
	return done;
}
