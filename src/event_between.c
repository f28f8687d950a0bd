/*-------------------------------------------------------------------------
 *
 * event_between.c
 *		What became visible in the log between two marks.
 *
 * What is new is found without reading what is not.  A transaction that the
 * first snapshot does not see was running then: its number is found by the
 * index on (txid, id).  Or it began later: with the mark goes a number "next"
 * and an id "floor" so that whoever has a number from "next" on drew its ids
 * above "floor", and those are found by the index on id.  A transaction that
 * stays idle is one number in the snapshot, and nobody waits for it.
 *
 * Nothing here locks or writes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "storage/bufmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "event_mark.h"

#define EVENT_COLUMNS \
	"e.id, e.order_no, e.seq, e.event, e.from_state, e.to_state, e.actor," \
	" e.source, e.reason, e.payload, e.request_id, e.trace, e.gateway," \
	" e.txn_id, e.at, e.hash"

/*
 * Those of the transactions from "next" on, and those of the late ones.  What
 * concerns late ones must not use the index on id, which holds the whole log:
 * hence the comparison of rows, and "+ 0".
 *
 *	$1 greater ids			$2 the upper mark's last id
 *	$3 first id after the lower mark's epoch	$4 its "next"
 *	$5 first id of the upper mark's epoch	$6 its snapshot
 *	$7 late transactions, of which	$8 greater ids
 *	$9 first id of the lower mark's epoch	$10 how many
 */
#define BETWEEN(columns) \
	"SELECT " columns " FROM ((SELECT " columns " FROM %s AS e" \
	" WHERE e.id > $1 AND e.id <= $2 AND (e.id >= $3 OR e.txid >= $4)" \
	" AND (e.id < $5 OR pg_catalog.pg_visible_in_snapshot(e.txid, $6))" \
	" ORDER BY e.id LIMIT $10)" \
	" UNION ALL (SELECT " columns " FROM pg_catalog.unnest($7) AS l (txid)," \
	" LATERAL (SELECT * FROM %s AS e" \
	" WHERE (e.txid, e.id) > (l.txid, $8) AND e.txid <= l.txid" \
	" AND e.id + 0 >= $9 AND e.id + 0 < $3" \
	" ORDER BY e.txid, e.id LIMIT $10) AS e ORDER BY e.id LIMIT $10)) AS e" \
	" ORDER BY e.id LIMIT $10"
#define BETWEEN_ARGUMENTS	"lllxlsXlli"

/*
 * A statement about some of the log's partitions, made anew when they are
 * others.  Most of the ring is empty most of the time, and a plan for all of
 * it would lock all of it at each run, with predicate locks where a
 * transaction is serializable.
 */
typedef struct LogStatement
{
	const char *template;		/* %s: the log */
	uint64		partitions;
	Statement	statement;
} LogStatement;

static LogStatement between = {
	.template = BETWEEN(EVENT_COLUMNS),
	.statement.arguments = BETWEEN_ARGUMENTS
};
static LogStatement between_ids = {
	.template = BETWEEN("e.id, e.at"),
	.statement.arguments = BETWEEN_ARGUMENTS
};
static LogStatement find_late = {
	.template = "SELECT pg_catalog.array_agg(r.txid)"
	" FROM pg_catalog.unnest($1) AS r (txid),"
	" LATERAL (SELECT FROM %s AS e WHERE e.txid = r.txid"
	" AND e.id + 0 >= $2 AND e.id + 0 < $3 LIMIT 1) AS e"
	" WHERE pg_catalog.pg_visible_in_snapshot(r.txid, $4)",
	.statement.arguments = "Xlls"
};
static Statement epoch_bounds = {
	.sql = "SELECT"
	" (SELECT pg_catalog.min(first_id) FROM payorder.log_epochs WHERE epoch = $1),"
	" (SELECT pg_catalog.min(first_id) FROM payorder.log_epochs WHERE epoch > $1),"
	" (SELECT pg_catalog.min(first_id) FROM payorder.log_epochs WHERE epoch = $2),"
	" (SELECT pg_catalog.min(first_id) FROM payorder.log_epochs WHERE epoch > $2)",
	.arguments = "ii"
};

/* Every partition. */
#define WHOLE_RING		PG_UINT64_MAX

/* First ids: of a pair's epochs, and of those that follow them. */
typedef struct Bounds
{
	int64		lower;
	int64		after_lower;
	int64		upper;
	int64		after_upper;
} Bounds;

/*
 * Those of some partitions in which anything was ever written.  What a mark
 * sees was written before it, so they are looked for after it was made.
 */
static uint64
written(uint64 partitions)
{
	Oid			schema = get_namespace_oid("payorder", false);
	uint64		found = 0;

	for (int slot = 0; slot < RING_SLOTS; slot++)
	{
		char		name[NAMEDATALEN];
		Relation	partition;

		if ((partitions & (UINT64CONST(1) << slot)) == 0)
			continue;
		snprintf(name, sizeof(name), "events_%02d", slot);
		partition = table_open(get_relname_relid(name, schema),
							   AccessShareLock);
		if (RelationGetNumberOfBlocks(partition) > 0)
			found |= UINT64CONST(1) << slot;
		table_close(partition, AccessShareLock);
	}
	return found;
}

/* A statement about those partitions; one of them, where there is none. */
static Statement *
about(LogStatement *log, uint64 partitions)
{
	StringInfoData source;
	const char *separator = "(";
	char	   *sql;

	if (partitions == 0)
		partitions = 1;
	if (log->partitions == partitions)
		return &log->statement;
	initStringInfo(&source);
	for (int slot = 0; slot < RING_SLOTS; slot++)
	{
		if ((partitions & (UINT64CONST(1) << slot)) == 0)
			continue;
		appendStringInfo(&source, "%sSELECT * FROM payorder.events_%02d",
						 separator, slot);
		separator = " UNION ALL ";
	}
	appendStringInfoChar(&source, ')');
	sql = MemoryContextStrdup(TopMemoryContext,
							  psprintf(log->template, source.data,
									   source.data));
	log->partitions = 0;
	if (log->statement.plan != NULL)
		SPI_freeplan(log->statement.plan);
	log->statement.plan = NULL;
	if (log->statement.sql != NULL)
		pfree(unconstify(char *, log->statement.sql));
	log->statement.sql = sql;
	log->partitions = partitions;
	return &log->statement;
}

static int64
first_id_or(const Cell *cell, int64 otherwise)
{
	return cell->isnull ? otherwise : cell->number;
}

static Bounds
bounds_of(const Mark *lower, const Mark *upper)
{
	Cell	   *cells = payorder_query(&epoch_bounds, lower->epoch,
									   upper->epoch)->cells;
	Bounds		bounds;

	bounds.lower = first_id_or(&cells[0], 0);
	bounds.after_lower = first_id_or(&cells[1], PG_INT64_MAX);
	bounds.upper = first_id_or(&cells[2], 0);
	bounds.after_upper = first_id_or(&cells[3], PG_INT64_MAX);
	return bounds;
}

/*
 * The transactions with events that ran when the lower mark was made and are
 * seen by the upper one.
 */
ArrayType *
payorder_late(const Mark *lower, const Mark *upper)
{
	Bounds		bounds = bounds_of(lower, upper);
	Rows	   *rows = payorder_query(about(&find_late, written(WHOLE_RING)),
									  payorder_mark_running(lower), bounds.lower,
									  bounds.after_lower,
									  lower->epoch < upper->epoch ?
									  payorder_log_begin.snapshot : upper->snapshot);

	return rows->cells[0].isnull ? construct_empty_array(XID8OID) :
		DatumGetArrayTypeP(rows->cells[0].datum);
}

static Rows *
query_between(LogStatement *log, uint64 partitions, const Pair *pair, int most)
{
	const Mark *lower = &pair->lower;
	const Mark *upper = &pair->upper;
	Bounds		bounds = bounds_of(lower, upper);

	return payorder_query(about(log, written(partitions)),
						  Max(lower->floor, pair->after),
						  Min(upper->ceiling, bounds.after_upper - 1),
						  bounds.after_lower, lower->next, bounds.upper,
						  upper->snapshot, pair->late, pair->after,
						  bounds.lower, most);
}

/* Up to so many events, in the order of their ids. */
Rows *
payorder_between(const Pair *pair, int most)
{
	return query_between(&between, WHOLE_RING, pair, most);
}

/* The same, id and time only. */
Rows *
payorder_between_ids(const Pair *pair, int most)
{
	return query_between(&between_ids, WHOLE_RING, pair, most);
}

/* Whether any is in a partition of the log. */
bool
payorder_between_any(const Pair *pair, int slot)
{
	return query_between(&between_ids, UINT64CONST(1) << slot, pair,
						 1)->count > 0;
}

/* Reads a row of payorder_between(); the event's id. */
int64
payorder_read_logged(Reader *reader, char **order_no, int *seq, Event *event,
					 char **trace, bytea **hash)
{
	int64		id = payorder_read_number(reader);

	*order_no = payorder_read_text(reader);
	*seq = payorder_read_number(reader);
	event->event = payorder_read_text(reader);
	event->from_state = payorder_read_text(reader);
	event->to_state = payorder_read_text(reader);
	event->cause.actor = payorder_read_text(reader);
	event->cause.source = payorder_read_text(reader);
	event->cause.reason = payorder_read_text(reader);
	event->cause.payload = payorder_read_text(reader);
	event->cause.request_id = payorder_read_text(reader);
	*trace = payorder_read_text(reader);
	event->gateway = payorder_read_text(reader);
	event->txn_id = payorder_read_text(reader);
	event->at = payorder_read_time(reader);
	*hash = payorder_read_bytes(reader);
	return id;
}
