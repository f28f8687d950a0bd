/*-------------------------------------------------------------------------
 *
 * relation.h
 *		Rows by key: kept statements, their results, and probes for rows
 *		that another transaction is just inserting.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_RELATION_H
#define PAYORDER_RELATION_H

#include "executor/spi.h"
#include "fmgr.h"
#include "utils/timestamp.h"

/* SQL NULL for a time in a C variable. */
#define NO_TIME		PG_INT64_MIN

/*
 * A constant statement with its kept plan.  The arguments' types are letters:
 *
 *	t text (char *, NULL is NULL)		i integer (int)
 *	l bigint (int64)					L bigint (int64 *, NULL is NULL)
 *	b boolean (int)						z timestamptz (NO_TIME is NULL)
 *	v interval (Interval *)				j json (char *)
 *	J jsonb (Jsonb *)					y bytea (bytea *)
 *	A text[] (ArrayType *)				V interval[] (ArrayType *)
 *	Q bigint[] (ArrayType *)
 *	x xid8 (uint64)						X xid8[] (ArrayType *)
 *	s pg_snapshot (char *, its text)
 */
typedef struct Statement
{
	const char *sql;
	const char *arguments;
	bool		conflict_is_rare;	/* ON CONFLICT, and it was just looked for */
	SPIPlanPtr	plan;
	struct Keyed *keyed;		/* how it is done without the executor */
	enum
	{
		NOT_EXECUTED,			/* by the executor, as the plan now is */
		EXECUTED,
		LOOKED_AT				/* for how it can be done without */
	}			stage;
} Statement;

/* One column of a result row; which member counts follows from its type. */
typedef struct Cell
{
	bool		isnull;
	union
	{
		int64		number;		/* smallint, integer, bigint, xid8, oid */
		TimestampTz time;
		bool		truth;
		char	   *text;		/* text, char(n), json */
		Interval   *interval;
		bytea	   *bytes;
		Datum		datum;		/* anything else by reference, copied */
	};
} Cell;

typedef struct Rows
{
	int			count;
	int			columns;
	Cell	   *cells;
} Rows;

/* Walks the cells of one row from left to right. */
typedef struct Reader
{
	Cell	   *next;
} Reader;

extern Rows *payorder_query(Statement *statement,...);
extern int64 payorder_execute(Statement *statement,...);

/* A statement that is to be done with many rows of arguments, one by one. */
typedef struct Bulk
{
	Statement  *statement;
	int			arguments;		/* of a row */
	int			count;
	int			most;
	Datum	   *values;
	char	   *nulls;
	Rows	   *rows;			/* what was read so far */
	int64		processed;
} Bulk;

extern Bulk *payorder_bulk(Statement *statement, int most);
extern void payorder_bulk_add(Bulk *bulk,...);
extern int64 payorder_bulk_execute(Bulk *bulk);
extern Rows *payorder_bulk_query(Bulk *bulk);
extern Rows *payorder_take(Statement *find, Statement *remove,...);

/* keyed_open.c */
extern void payorder_keep_open(void (*work) (void *argument), void *argument);

extern void payorder_copy_cell(Cell *cell, Form_pg_attribute attribute,
							   Datum value);
extern bool payorder_in_statement(void);

static inline Reader
payorder_row(Rows *rows, int number)
{
	Reader		reader = {rows->cells + (size_t) number * rows->columns};

	return reader;
}

extern char *payorder_read_text(Reader *reader);
extern int64 payorder_read_number(Reader *reader);
extern bool payorder_read_truth(Reader *reader);
extern TimestampTz payorder_read_time(Reader *reader);
extern Interval *payorder_read_interval(Reader *reader);
extern bytea *payorder_read_bytes(Reader *reader);

/* What a look past all snapshots found under a key. */
typedef struct Meeting
{
	bool		there;			/* a row that is committed, or our own */
	bool		gave_up;		/* one that is still being inserted */
} Meeting;

extern Meeting payorder_meet(const char *index, const char *key,
							 TimestampTz until);
typedef void (*GuardedWork) (void *argument);
extern void payorder_at_one_snapshot(GuardedWork work, void *argument);
extern ErrorData *payorder_guarded(GuardedWork work, void *argument);
extern ErrorData *payorder_isolated(GuardedWork work, void *argument);
extern ErrorData *payorder_contained(GuardedWork work, void *argument);
extern bool payorder_may_pass(const ErrorData *error);
extern void payorder_warn_put_off(const char *what, const ErrorData *error);
extern ErrorData *payorder_caught(GuardedWork work, void *argument);
extern bool payorder_is_server_failure(int sqlstate);
typedef void (*OwnersWork) (void *argument);
extern void payorder_as_owner(Oid function, OwnersWork work, void *argument);
extern void payorder_prevent_read_only(const char *function);
extern void payorder_require_read_committed(const char *function);

/* Arguments of SQL functions. */
extern char *payorder_text_argument(FunctionCallInfo fcinfo, int number);
extern char *payorder_required_text(FunctionCallInfo fcinfo, int number,
									const char *name);
extern Datum payorder_composite(FunctionCallInfo fcinfo, Datum *values,
								bool *nulls);

extern bool payorder_same_text(const char *left, const char *right);

#define LONGEST_ID	128			/* characters */
extern bool payorder_is_id(const char *text);

/* Durations as a fixed number of microseconds: a day has 24 hours. */
extern bool payorder_duration(const Interval *interval, int64 *microseconds);
#define LONGEST_DURATION	(INT64CONST(366) * USECS_PER_DAY)

#endif							/* PAYORDER_RELATION_H */
