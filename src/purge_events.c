/*-------------------------------------------------------------------------
 *
 * purge_events.c
 *		A month of the log is freed.
 *
 * Events are never deleted row by row: the partition of a month is truncated
 * once all consumers have passed it, and what is still needed of it is carried
 * over: taken aside, and put back as it was, with ids, transactions, numbers
 * and hashes, in the same transaction.  Needed are the events of orders that
 * are there, be they of that month or of the one 64 months later, and those
 * without an order whose payment was not purged with one.
 *
 * Locks: first SHARE ROW EXCLUSIVE on the partition, under which nobody
 * appends to it, while it is looked through, then ACCESS EXCLUSIVE to truncate
 * it.  Both waits are bounded by payorder.lock_wait; who can't have them
 * leaves the month for the next time.  All is one subtransaction: an error, or a
 * crash, leaves the month as it was.
 *
 * TRUNCATE is not MVCC-safe: a transaction whose snapshot is older finds the
 * partition empty.  One that then appends to a chain takes a number that is
 * there, and gets 40001 (event.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/builtins.h"

#include "purge.h"
#include "removal.h"

/* More unfinished orders than this are not carried over in one go. */
#define MOST_CARRIED	20000

static Statement lock_partition[RING_SLOTS];
static Statement unfinished[RING_SLOTS];
static Statement without_order[RING_SLOTS];
static Statement last_of_month[RING_SLOTS];
static Statement carried[RING_SLOTS];
static Statement empty[RING_SLOTS];
static Statement put_back[RING_SLOTS];

static const char lock_sql[] =
	"LOCK TABLE ONLY payorder.events_%02d IN SHARE ROW EXCLUSIVE MODE";

/* Each order once, by the index: $1 how many of those that are there */
static const char unfinished_sql[] =
	"WITH RECURSIVE n AS ((SELECT e.order_no FROM payorder.events_%1$02d AS e"
	" WHERE e.slot = %1$d AND e.order_no IS NOT NULL"
	" ORDER BY e.order_no LIMIT 1)"
	" UNION ALL SELECT (SELECT e.order_no FROM payorder.events_%1$02d AS e"
	" WHERE e.slot = %1$d AND e.order_no > n.order_no"
	" ORDER BY e.order_no LIMIT 1) FROM n WHERE n.order_no IS NOT NULL)"
	" SELECT (SELECT pg_catalog.array_agg(k.order_no) FROM"
	" (SELECT n.order_no FROM n JOIN payorder.orders AS o"
	" ON o.order_no = n.order_no LIMIT $1) AS k),"
	" EXISTS (SELECT FROM n WHERE n.order_no IS NOT NULL"
	" AND NOT EXISTS (SELECT FROM payorder.orders AS o"
	" WHERE o.order_no = n.order_no))";

/* Those without an order: what is needed of them, and whether any is not. */
static const char without_order_sql[] =
	"SELECT pg_catalog.array_agg(k.event) FILTER (WHERE k.needed),"
	" pg_catalog.bool_or(NOT k.needed)"
	" FROM (SELECT e::text AS event, e.at >= $1"
	" OR EXISTS (SELECT FROM payorder.callbacks_waiting AS w"
	" WHERE w.gateway = e.gateway AND w.txn_id = e.txn_id)"
	" OR EXISTS (SELECT FROM payorder.payments AS p"
	" LEFT JOIN payorder.purged_orders AS u"
	" ON u.order_no = p.order_no AND u.away"
	" WHERE p.gateway = e.gateway AND p.txn_id = e.txn_id"
	" AND u.order_no IS NULL) AS needed"
	" FROM payorder.events_%02d AS e"
	" WHERE e.slot = %d AND e.order_no IS NULL OFFSET 0) AS k";
static const char carried_sql[] =
	"SELECT pg_catalog.array_agg(e::text ORDER BY e.id)"
	" FROM pg_catalog.unnest($1) AS k (order_no)"
	" JOIN payorder.events_%02d AS e"
	" ON e.slot = %d AND e.order_no = k.order_no";
static const char last_of_month_sql[] =
	"SELECT e.id FROM payorder.events_%02d AS e WHERE e.at < $1"
	" ORDER BY e.id DESC LIMIT 1";
static const char empty_sql[] = "TRUNCATE ONLY payorder.events_%02d";
static const char put_back_sql[] =
	"INSERT INTO payorder.events_%1$02d SELECT (k.event).*"
	" FROM (SELECT t::payorder.events_%1$02d AS event"
	" FROM pg_catalog.unnest($1) AS t OFFSET 0) AS k";
static Statement behind = {
	.sql = "SELECT pg_catalog.string_agg(c, ', ' ORDER BY c)"
	" FROM payorder.consumers_behind($1) AS c",
	.arguments = "i"
};
static Statement note_freed = {
	.sql = "INSERT INTO payorder.events_freed AS f"
	" (slot, before, upto_id, carried, freed_at)"
	" VALUES ($1, $2, $3, $4, pg_catalog.now())"
	" ON CONFLICT (slot, before) DO UPDATE SET carried = excluded.carried,"
	" upto_id = greatest(f.upto_id, excluded.upto_id),"
	" freed_at = excluded.freed_at",
	.arguments = "izli"
};

/* The first instant after a month. */
static TimestampTz
end_of_month(int month)
{
	struct pg_tm tm = {0};
	TimestampTz end;
	int			zone = 0;

	tm.tm_year = month / 12;
	tm.tm_mon = month % 12 + 1;
	tm.tm_mday = 1;
	if (tm2timestamp(&tm, 0, &zone, &end) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range"),
				 errhint("Give an instant that the server can show.")));
	return end;
}

static ArrayType *
array_of(const Cell *cell)
{
	return cell->isnull ? NULL : DatumGetArrayTypeP(cell->datum);
}

static int
length_of(const ArrayType *array)
{
	return array == NULL ? 0 :
		ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

static Rows *
in_slot(Statement *statements, const char *template, int slot,
		const char *arguments, TimestampTz at)
{
	return payorder_query(payorder_for_slot(statements, template, arguments,
											slot), at);
}

static void
put(Freed *freed, ArrayType *events)
{
	if (events == NULL)
		return;
	if (payorder_execute(payorder_for_slot(put_back, put_back_sql, "A",
										   freed->slot), events) !=
		length_of(events))
		elog(ERROR, "could not carry events over");
	freed->carried += length_of(events);
}

static void
empty_partition(void *argument)
{
	Freed	   *freed = argument;

	payorder_execute(payorder_for_slot(empty, empty_sql, "", freed->slot));
}

/* Takes aside what is needed, truncates, and puts it back. */
static void
replace(Freed *freed, ArrayType *orders, ArrayType *loose)
{
	ArrayType  *events = orders == NULL ? NULL :
		array_of(&payorder_query(payorder_for_slot(carried, carried_sql, "A",
												   freed->slot),
								 orders)->cells[0]);
	TimestampTz end = end_of_month(freed->month);
	Rows	   *last = in_slot(last_of_month, last_of_month_sql, freed->slot,
							   "z", end);

	payorder_remove(empty_partition, freed);
	put(freed, events);
	put(freed, loose);
	payorder_execute(&note_freed, freed->slot, end,
					 last->count == 0 ? (int64) 0 : last->cells[0].number,
					 freed->carried);
	freed->done = true;
}

static void
free_partition(void *argument)
{
	Freed	   *freed = argument;
	Rows	   *found;
	Rows	   *loose;
	Rows	   *late;
	ArrayType  *orders;

	payorder_execute(payorder_for_slot(lock_partition, lock_sql, "",
									   freed->slot));
	found = payorder_query(payorder_for_slot(unfinished, unfinished_sql, "i",
											 freed->slot), MOST_CARRIED + 1);
	loose = in_slot(without_order, without_order_sql, freed->slot, "z",
					freed->cutoff);
	if (!found->cells[1].truth && !(!loose->cells[1].isnull &&
									loose->cells[1].truth))
		return;					/* nothing to free */
	late = payorder_query(&behind, freed->slot);
	orders = array_of(&found->cells[0]);
	if (!late->cells[0].isnull)
		freed->held_by = psprintf("consumers %s", late->cells[0].text);
	else if (length_of(orders) > MOST_CARRIED)
		freed->held_by = psprintf("more than %d unfinished orders",
								  MOST_CARRIED);
	else
		replace(freed, orders, array_of(&loose->cells[0]));
}

/* Frees the partition of a month, unless something still holds it. */
void
payorder_purge_events(Freed *freed)
{
	ErrorData  *error = payorder_isolated(free_partition, freed);

	if (error == NULL)
		return;
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	freed->done = false;
	freed->carried = 0;
	freed->held_by = "a transaction that uses it";
}
