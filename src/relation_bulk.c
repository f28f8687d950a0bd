/*-------------------------------------------------------------------------
 *
 * relation_bulk.c
 *		One statement for many rows of arguments, and rows that are taken.
 *
 * Where a statement needs no executor (keyed.c), its tables are opened and its
 * snapshot is taken once for all rows of arguments, and rows are inserted many
 * to a page and WAL record.  A row that is not plain goes to the executor by
 * itself, and those after it go on without.
 *
 * Taking is what SQL has no word for: DELETE that passes over what others have
 * locked.  As statements it is a SELECT FOR UPDATE SKIP LOCKED and a DELETE;
 * without the executor the row is removed where it would have been locked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/proc.h"
#include "utils/memutils.h"

#include "keyed.h"
#include "relation.h"
#include "relation_run.h"

/* A statement, of up to `most` rows of arguments. */
Bulk *
payorder_bulk(Statement *statement, int most)
{
	Bulk	   *bulk = palloc0(sizeof(Bulk));

	bulk->statement = statement;
	bulk->arguments = strlen(statement->arguments);
	bulk->most = most;
	bulk->values = palloc(sizeof(Datum) * most * bulk->arguments);
	bulk->nulls = palloc(most * bulk->arguments);
	bulk->rows = palloc0(sizeof(Rows));
	return bulk;
}

/* Adds a row of arguments, as payorder_execute() has them. */
void
payorder_bulk_add(Bulk *bulk,...)
{
	int			first = bulk->count++ * bulk->arguments;
	va_list		arguments;

	Assert(bulk->count <= bulk->most);
	va_start(arguments, bulk);
	payorder_read_arguments(bulk->statement, &arguments,
							bulk->values + first, bulk->nulls + first);
	va_end(arguments);
}

/* Adds rows that were read to those of before. */
static void
append_rows(Rows *rows, const Rows *more)
{
	Size		before = sizeof(Cell) * rows->count * rows->columns;
	Size		added = sizeof(Cell) * more->count * more->columns;

	if (rows->count == 0)
		*rows = *more;
	else if (more->count > 0)
	{
		rows->cells = repalloc_huge(rows->cells, before + added);
		memcpy((char *) rows->cells + before, more->cells, added);
		rows->count += more->count;
	}
}

/* Has the executor do a statement with a row of arguments. */
static int64
execute_row(Statement *statement, Datum *values, const char *nulls, Rows *rows)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext inner;
	int64		processed;

	SPI_connect();
	payorder_run(statement, values, nulls);
	processed = (int64) SPI_processed;
	inner = MemoryContextSwitchTo(caller);
	append_rows(rows, payorder_copy_rows(SPI_tuptable));
	MemoryContextSwitchTo(inner);
	SPI_finish();
	return processed;
}

/*
 * Does a statement without the executor, and what `remove` would to what it
 * finds, unless that is NULL.  For how many rows of arguments: none, if it is
 * not one of that kind.
 */
static int
perform(Statement *statement, Statement *remove, const Datum *values,
		const char *nulls, int count, Rows *rows, int64 *processed)
{
	MemoryContext caller = CurrentMemoryContext;
	KeyedRun	run;
	int			saved = LockTimeout;
	volatile bool begun = false;
	volatile int done = 0;

	payorder_limit_lock_wait();
	PG_TRY();
	{
		begun = remove == NULL ? payorder_keyed_begin(statement, &run) :
			payorder_keyed_begin_taking(statement, remove, &run);
		if (begun)
			done = payorder_keyed_perform(&run, values, nulls, count, caller);
	}
	PG_FINALLY();
	{
		LockTimeout = saved;
	}
	PG_END_TRY();
	if (!begun)
		return 0;
	MemoryContextSwitchTo(caller);
	append_rows(rows, payorder_keyed_rows(&run));
	*processed += run.processed;
	payorder_keyed_end(&run);
	return done;
}

static void
run_bulk(Bulk *bulk)
{
	int			at = 0;

	while (at < bulk->count)
	{
		int			first = at * bulk->arguments;

		at += perform(bulk->statement, NULL, bulk->values + first,
					  bulk->nulls + first, bulk->count - at, bulk->rows,
					  &bulk->processed);
		first = at * bulk->arguments;
		if (at < bulk->count)
		{
			bulk->processed += execute_row(bulk->statement,
											bulk->values + first,
											bulk->nulls + first, bulk->rows);
			at++;
		}
	}
}

/* Runs a statement for all its rows of arguments; how many rows it touched. */
int64
payorder_bulk_execute(Bulk *bulk)
{
	run_bulk(bulk);
	return bulk->processed;
}

/*
 * Runs a statement for all its rows of arguments; what it reads for each, in
 * their order: which rows belong to which must be told by what is read.
 */
Rows *
payorder_bulk_query(Bulk *bulk)
{
	run_bulk(bulk);
	return bulk->rows;
}

/*
 * Takes rows: removes those that others don't hold of what `find`, a SELECT
 * FOR UPDATE SKIP LOCKED, finds, and returns them.  Its arguments are given;
 * the first is LIMIT's, and its first column the one argument of `remove`.
 */
Rows *
payorder_take(Statement *find, Statement *remove,...)
{
	Rows	   *rows = palloc0(sizeof(Rows));
	Datum		values[MOST_ARGUMENTS];
	char		nulls[MOST_ARGUMENTS];
	va_list		arguments;
	Bulk	   *removed;
	int64		taken = 0;
	int			before;

	va_start(arguments, remove);
	payorder_read_arguments(find, &arguments, values, nulls);
	va_end(arguments);
	if (perform(find, remove, values, nulls, 1, rows, &taken) == 1)
		return rows;
	before = rows->count;
	values[0] = Int32GetDatum(DatumGetInt32(values[0]) - before);
	(void) execute_row(find, values, nulls, rows);
	removed = payorder_bulk(remove, rows->count - before);
	for (int i = before; i < rows->count; i++)
		payorder_bulk_add(removed, payorder_row(rows, i).next->number);
	if (payorder_bulk_execute(removed) != rows->count - before)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not remove rows that were to be taken"),
				 errhint("A trigger that was put on the table keeps them; drop it.")));
	return rows;
}
