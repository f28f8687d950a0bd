/*-------------------------------------------------------------------------
 *
 * event_mark.c
 *		Places in the log: marks, and the epochs that they are of.
 *
 * An order's ids grow in the order of its events, since they are drawn under
 * the order's lock; but a transaction that commits late, or is prepared, lets
 * ids appear behind others.  So a place in the log is a snapshot, not an id,
 * and what is new between two places is what the second snapshot sees and the
 * first does not.  Sorted by id it has each order's events in their order:
 * who drew a greater id of an order waited for the one before to end.
 *
 * A snapshot means something in one cluster only.  A dump that is restored
 * into another cluster or database takes the log's rows there, whose numbers
 * say nothing there, and may be those of transactions to come.  So the log has
 * epochs, each the ids from its first one on that were drawn in one database.
 * Whoever appends first in another database begins an epoch, in the same
 * transaction: its first id is the greatest one restored plus one.  Several
 * can be the first at once; they don't see each other, hence note the same,
 * and nobody waits.  Of an epoch that has ended everything is committed.
 * While nobody has appended, the mark is the end of the epoch before, and
 * nothing need be written.
 *
 * Nothing here locks.  A crash leaves nothing: a mark is stored by a
 * transaction whose number is in it or after it, so that numbers that are
 * drawn a second time after a crash count as running then.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "event_mark.h"

/* Later than all transactions, and greater than all ids. */
#define NO_END			((uint64) PG_INT64_MAX)
#define EVERYTHING		"9223372036854775807:9223372036854775807:"

/* So many numbers at most lie between a mark's snapshot and its "next". */
#define MOST_RUNNING	1000

static Statement newest_epoch = {
	.sql = "SELECT epoch, system_identifier, database_oid"
	" FROM payorder.log_epochs ORDER BY epoch DESC LIMIT 1",
	.arguments = ""
};
static Statement whole_log = {
	.sql = "SELECT l.epoch, l.system_identifier, l.database_oid,"
	" (SELECT pg_catalog.max(e.id) FROM payorder.events AS e)"
	" FROM (VALUES (1)) AS v LEFT JOIN (SELECT * FROM payorder.log_epochs"
	" ORDER BY epoch DESC LIMIT 1) AS l ON true",
	.arguments = ""
};
static Statement begin_epoch = {
	.sql = "INSERT INTO payorder.log_epochs"
	" (epoch, first_id, system_identifier, database_oid)"
	" SELECT coalesce(pg_catalog.max(l.epoch), 0) + 1,"
	" coalesce((SELECT pg_catalog.max(e.id) FROM payorder.events AS e), 0) + 1,"
	" $1, $2::oid FROM payorder.log_epochs AS l"
	" HAVING NOT EXISTS (SELECT FROM (SELECT * FROM payorder.log_epochs"
	" ORDER BY epoch DESC LIMIT 1) AS n"
	" WHERE n.system_identifier = $1 AND n.database_oid::bigint = $2)",
	.arguments = "ll"
};
static Statement last_id = {
	.sql = "SELECT last_value - (NOT is_called)::integer"
	" FROM payorder.event_ids",
	.arguments = ""
};
static Statement current_snapshot = {
	.sql = "SELECT pg_catalog.pg_current_snapshot()::text",
	.arguments = ""
};

/* Before all of the log. */
const Mark	payorder_log_begin = {
	.snapshot = EVERYTHING,
	.next = NO_END
};

/* A snapshot taken apart; the transactions that ran are sorted. */
typedef struct Seen
{
	uint64		xmin;
	uint64		xmax;
	int			count;
	uint64	   *running;
} Seen;

static bool
is_here(const Reader *reader)
{
	return !reader->next[1].isnull &&
		reader->next[1].number == (int64) GetSystemIdentifier() &&
		reader->next[2].number == (int64) MyDatabaseId;
}

/*
 * Begins an epoch if the log has come here from elsewhere.  Called with each
 * event, so that it looks once only, and again after CREATE EXTENSION.  What
 * this transaction has noted may yet be undone.
 */
void
payorder_epoch_note(void)
{
	static Oid	known = InvalidOid;
	static FullTransactionId noted = {0};
	Oid			table = get_relname_relid("log_epochs",
										  get_namespace_oid("payorder", true));
	Rows	   *rows;
	Reader		reader;

	if (table == known)
		return;
	rows = payorder_query(&newest_epoch);
	reader = payorder_row(rows, 0);
	if (rows->count == 0 || !is_here(&reader))
	{
		payorder_execute(&begin_epoch, (int64) GetSystemIdentifier(),
						 (int64) MyDatabaseId);
		noted = GetTopFullTransactionId();
	}
	else if (!FullTransactionIdIsValid(noted) ||
			 !FullTransactionIdEquals(noted, GetTopFullTransactionIdIfAny()))
		known = table;
}

static Seen
take_apart(const char *snapshot)
{
	Seen		seen = {0};
	char	   *at;

	seen.xmin = strtou64(snapshot, &at, 10);
	seen.xmax = strtou64(at + 1, &at, 10);
	seen.running = palloc(sizeof(uint64) * (strlen(snapshot) / 2 + 1));
	for (at++; *at != '\0'; at += *at == ',')
		seen.running[seen.count++] = strtou64(at, &at, 10);
	return seen;
}

/*
 * The text of a snapshot to which a transaction was still running.  Its own
 * is not in what a backend takes, which would then count as seen, with the
 * events that it has yet to write.
 */
static char *
with_running(const Seen *seen, uint64 own)
{
	StringInfoData text;
	const char *comma = "";
	bool		placed = own == 0 || own >= seen->xmax;

	initStringInfo(&text);
	appendStringInfo(&text, UINT64_FORMAT ":" UINT64_FORMAT ":",
					 placed ? seen->xmin : Min(seen->xmin, own), seen->xmax);
	for (int i = 0; i <= seen->count; i++)
	{
		if (!placed && (i == seen->count || seen->running[i] >= own))
		{
			placed = true;
			appendStringInfo(&text, "%s" UINT64_FORMAT, comma, own);
			comma = ",";
			if (i < seen->count && seen->running[i] == own)
				continue;
		}
		if (i == seen->count)
			break;
		appendStringInfo(&text, "%s" UINT64_FORMAT, comma, seen->running[i]);
		comma = ",";
	}
	return text.data;
}

static int64
number_of(Statement *statement)
{
	return payorder_query(statement)->cells[0].number;
}

/*
 * The mark of now, in an epoch that this database has begun.  "floor" is read
 * before "next": who gets a later number draws a later id.  Where very many
 * numbers lie between the snapshot's end and "next", as at REPEATABLE READ
 * long after its snapshot, the floor of the mark before serves.
 */
static void
mark_running(Mark *mark, int epoch, const Mark *before)
{
	Seen		seen;

	mark->epoch = epoch;
	mark->floor = number_of(&last_id);
	mark->next = U64FromFullTransactionId(ReadNextFullTransactionId());
	seen = take_apart(payorder_query(&current_snapshot)->cells[0].text);
	mark->ceiling = number_of(&last_id);
	mark->snapshot = with_running(&seen,
								  U64FromFullTransactionId(GetTopFullTransactionIdIfAny()));
	mark->next = Max(mark->next, seen.xmax);
	if (mark->next - seen.xmax <= MOST_RUNNING)
		return;
	mark->next = before->epoch < epoch ? seen.xmax :
		Max(before->next, seen.xmax);
	mark->floor = before->floor;
}

/*
 * What is committed now, as this transaction sees it.  Not on a standby,
 * whose snapshots don't list what runs on the primary.
 */
void
payorder_mark_now(Mark *mark, const Mark *before)
{
	Rows	   *rows;
	Reader		reader;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		rows = payorder_query(&newest_epoch);
		reader = payorder_row(rows, 0);
		if (rows->count > 0 && is_here(&reader))
		{
			mark_running(mark, (int) reader.next[0].number, before);
			return;
		}
		/* nobody has appended here, as seen by one snapshot */
		rows = payorder_query(&whole_log);
		reader = payorder_row(rows, 0);
		if (!is_here(&reader))
			break;
	}
	*mark = payorder_log_begin;
	mark->epoch = (int) payorder_read_number(&reader);
	mark->floor = mark->ceiling = rows->cells[3].isnull ? 0 :
		rows->cells[3].number;
}

/* A mark that sees whatever is committed. */
void
payorder_mark_everything(Mark *mark)
{
	Rows	   *rows = payorder_query(&newest_epoch);

	*mark = payorder_log_begin;
	mark->epoch = rows->count == 0 ? 0 : (int) rows->cells[0].number;
	mark->ceiling = PG_INT64_MAX;
}

char *
payorder_mark_text(const Mark *mark)
{
	return psprintf("%d/%s/" UINT64_FORMAT "/" INT64_FORMAT "/" INT64_FORMAT,
					mark->epoch, mark->snapshot, mark->next, mark->floor,
					mark->ceiling);
}

/* Reads a number of up to 18 digits or the greatest one, and what follows. */
static bool
read_number(char **at, char follows, uint64 *number)
{
	size_t		digits = strspn(*at, "0123456789");
	char	   *end;

	if (digits == 0 || digits > 19 || (*at)[digits] != follows)
		return false;
	*number = strtou64(*at, &end, 10);
	*at = end + (follows != '\0');
	return *number <= NO_END;
}

/* Whether a text, up to a slash, is that of a snapshot. */
static bool
read_snapshot(char **at)
{
	uint64		xmin,
				xmax,
				running,
				before = 0;

	if (!read_number(at, ':', &xmin) || !read_number(at, ':', &xmax) ||
		xmin == 0 || xmax < xmin)
		return false;
	while (**at != '/')
	{
		char		follows = (*at)[strspn(*at, "0123456789")];

		if (!read_number(at, follows == ',' ? ',' : '/', &running) ||
			running < xmin || running >= xmax || running <= before)
			return false;
		if (follows == '/')
			return true;
		before = running;
	}
	(*at)++;
	return before == 0;
}

/* Takes a mark's text apart, in place; false: it is none. */
bool
payorder_mark_parse(char *text, Mark *mark)
{
	char	   *at = text;
	char	   *snapshot;
	uint64		epoch,
				xmax,
				next,
				floor,
				ceiling;

	if (!read_number(&at, '/', &epoch) || epoch > PG_INT32_MAX)
		return false;
	snapshot = at;
	if (!read_snapshot(&at))
		return false;
	at[-1] = '\0';
	xmax = take_apart(snapshot).xmax;
	if (!read_number(&at, '/', &next) || !read_number(&at, '/', &floor) ||
		!read_number(&at, '\0', &ceiling) ||
		next < xmax || next - xmax > MOST_RUNNING)
		return false;
	mark->epoch = (int) epoch;
	mark->snapshot = snapshot;
	mark->next = next;
	mark->floor = (int64) floor;
	mark->ceiling = (int64) ceiling;
	return true;
}

/*
 * Whether a mark can be one of this log: it is of an epoch that there is, and
 * if that goes on in this database, of transactions that there were.
 */
bool
payorder_mark_fits(const Mark *mark)
{
	Rows	   *rows = payorder_query(&newest_epoch);
	Reader		reader = payorder_row(rows, 0);

	if (rows->count == 0 || mark->epoch != reader.next[0].number)
		return mark->epoch == 0 ||
			(rows->count > 0 && mark->epoch < reader.next[0].number);
	return !is_here(&reader) ||
		take_apart(mark->snapshot).xmax <=
		U64FromFullTransactionId(ReadNextFullTransactionId());
}

/* All that may have been running when a mark was made. */
ArrayType *
payorder_mark_running(const Mark *mark)
{
	Seen		seen = take_apart(mark->snapshot);
	int			count = seen.count;
	Datum	   *running = palloc(sizeof(Datum) *
								 (count + (mark->next - seen.xmax) + 1));

	for (int i = 0; i < count; i++)
		running[i] = UInt64GetDatum(seen.running[i]);
	for (uint64 number = seen.xmax; number < mark->next; number++)
		running[count++] = UInt64GetDatum(number);
	return construct_array(running, count, XID8OID, sizeof(uint64),
						   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}
