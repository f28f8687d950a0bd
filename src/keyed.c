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
 * hook that wants to see the rights checked), nothing has been written yet,
 * or was taken back, and the statement goes to the executor, which sees, waits
 * and raises as it always does.  payorder.row_access = sql sends everything
 * there: what is done here must not differ from it, and the tests run both
 * ways.
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
	run->conflict_is_rare = statement->conflict_is_rare;
	run->processed = 0;
	run->cells = NULL;
	run->cells_allocated = 0;
	MemoryContextSwitchTo(run->estate->es_query_cxt);
	return true;
}

/* What was read, in the memory of who called for it. */
Rows *
payorder_keyed_rows(const KeyedRun *run)
{
	Rows	   *rows = palloc0(sizeof(Rows));

	rows->count = run->processed;
	rows->columns = run->keyed->command == CMD_SELECT ?
		run->keyed->result->natts : 0;
	rows->cells = run->cells;
	return rows;
}

void
payorder_keyed_end(KeyedRun *run)
{
	clear(run->estate);
	payorder_keyed_close(run->relation);
}

/* ---- rows by key ---- */

/* Begins with the rows of a key; false if there are none: a value is NULL. */
bool
payorder_keyed_scan(KeyedRun *run)
{
	Keyed	   *keyed = run->keyed;

	run->index = NULL;
	run->over = false;
	for (int i = 0; i < keyed->key_count; i++)
	{
		bool		isnull;

		run->keys[i] = keyed->keys[i];
		run->keys[i].sk_argument = ExecEvalExpr(keyed->key_values[i],
												run->context, &isnull);
		if (isnull)
			return false;
	}
	payorder_keyed_seek(run, run->keys);
	return true;
}

static void
begin_index_scan(KeyedRun *run)
{
	Keyed	   *keyed = run->keyed;

	run->index = payorder_keyed_open_index(keyed->index, keyed->relation_lock);
	run->scan = payorder_index_beginscan(run->relation, run->index,
										 run->estate->es_snapshot,
										 keyed->key_count);
	index_rescan(run->scan, run->keys, keyed->key_count, NULL, 0);
}

static bool
next_of_key(KeyedRun *run, TupleTableSlot *slot)
{
	if (run->index == NULL)
	{
		if (payorder_keyed_find_again(run, slot))
			return true;
		begin_index_scan(run);
	}
	if (!index_getnext_slot(run->scan, run->keyed->direction, slot))
		return false;
	payorder_keyed_remember(run, &slot->tts_tid);
	return true;
}

/* The next row that WHERE holds for; false if there is none. */
bool
payorder_keyed_next(KeyedRun *run, TupleTableSlot *slot)
{
	while (!run->over && next_of_key(run, slot))
	{
		CHECK_FOR_INTERRUPTS();
		run->over = run->keyed->one_row;
		run->context->ecxt_scantuple = slot;
		if (run->keyed->filter == NULL ||
			ExecQual(run->keyed->filter, run->context))
			return true;
	}
	return false;
}

void
payorder_keyed_end_scan(KeyedRun *run)
{
	if (run->index == NULL)
		return;
	index_endscan(run->scan);
	payorder_keyed_close(run->index);
}

/* ---- reading ---- */

static void
add_cells(KeyedRun *run, int columns, MemoryContext caller)
{
	int			wanted = (run->processed + 1) * columns;

	if (wanted <= run->cells_allocated)
		return;
	if (run->cells == NULL)
	{
		run->cells_allocated = Max(FIRST_CELLS, wanted);
		run->cells = MemoryContextAlloc(caller, sizeof(Cell) *
										run->cells_allocated);
		return;
	}
	run->cells_allocated *= 2;
	run->cells = repalloc_huge(run->cells, sizeof(Cell) * run->cells_allocated);
}

static void
read_row(KeyedRun *run, TupleTableSlot *slot, MemoryContext caller)
{
	Keyed	   *keyed = run->keyed;
	int			columns = keyed->result->natts;
	Cell	   *cells;
	MemoryContext inner;

	add_cells(run, columns, caller);
	cells = run->cells + run->processed * columns;
	run->context->ecxt_scantuple = slot;
	inner = MemoryContextSwitchTo(caller);
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
			MemoryContextSwitchTo(caller);
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

static bool
read_rows(KeyedRun *run, MemoryContext caller)
{
	int64		limit = limit_of(run);
	TupleTableSlot *found = MakeSingleTupleTableSlot(run->keyed->description,
													 table_slot_callbacks(run->relation));
	TupleTableSlot *locked = NULL;
	bool		plain = limit >= 0;

	if (run->keyed->locks)
		locked = MakeSingleTupleTableSlot(run->keyed->description,
										  table_slot_callbacks(run->relation));
	while (plain && run->processed < limit &&
		   payorder_keyed_next(run, found))
	{
		Lock		lock = LOCK_HAD;

		if (locked != NULL)
			lock = lock_row(run, found, locked);
		if (lock == LOCK_HAD)
			read_row(run, locked != NULL ? locked : found, caller);
		plain = lock != LOCK_CHANGED;
		ResetExprContext(run->context);
	}
	ExecDropSingleTupleTableSlot(found);
	if (locked != NULL)
		ExecDropSingleTupleTableSlot(locked);
	return plain;
}

static bool
read_by_key(KeyedRun *run, MemoryContext caller)
{
	bool		plain;

	if (!payorder_keyed_scan(run))
		return true;
	plain = read_rows(run, caller);
	payorder_keyed_end_scan(run);
	return plain;
}

/* ---- the statement ---- */

static ParamListInfo
parameters_of(const Keyed *keyed, const Datum *values, const char *nulls)
{
	ParamListInfo parameters = makeParamList(keyed->parameter_count);

	for (int i = 0; i < keyed->parameter_count; i++)
	{
		parameters->params[i].value = values[i];
		parameters->params[i].isnull = nulls[i] == 'n';
		parameters->params[i].pflags = 0;
		parameters->params[i].ptype = keyed->source->param_types[i];
	}
	return parameters;
}

static bool
perform(KeyedRun *run, MemoryContext caller)
{
	switch (run->keyed->command)
	{
		case CMD_SELECT:
			return read_by_key(run, caller);
		case CMD_INSERT:
			return payorder_keyed_insert(run);
		default:
			return payorder_keyed_change(run);
	}
}

/*
 * Does a statement; false if that is the executor's business after all.  What
 * is read is copied to the caller's memory.
 */
bool
payorder_keyed_perform(KeyedRun *run, const Datum *values, const char *nulls,
					   MemoryContext caller)
{
	EState	   *estate = run->estate;
	bool		plain;

	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	estate->es_snapshot = GetActiveSnapshot();
	estate->es_output_cid = GetCurrentCommandId(run->keyed->command != CMD_SELECT);
	estate->es_param_list_info = parameters_of(run->keyed, values, nulls);
	run->context = GetPerTupleExprContext(estate);
	run->context->ecxt_param_list_info = estate->es_param_list_info;
	plain = perform(run, caller);
	PopActiveSnapshot();
	if (run->keyed->command != CMD_SELECT)
		CommandCounterIncrement();
	return plain;
}
