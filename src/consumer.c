/*-------------------------------------------------------------------------
 *
 * consumer.c
 *		Consumers of the log: each is given every event, at least once.
 *
 * A consumer has a cursor: the mark up to which all is acknowledged ("seen"),
 * and while a batch is open, the mark that ends it ("upto"), which of its
 * transactions are late, and how far by id it was given out and acknowledged.
 * A batch is fixed when it is opened, so what is given again is the same, in
 * the same order.  It may be as large as the log, and is given out in portions
 * of max_events; that nothing is left of it is found by the call after its
 * last event was acknowledged, which opens the next one.
 *
 * A position names the consumer by number, the batch and the event's id.
 * Batches are counted, also by seek_events(), so what is acknowledged is in
 * the open batch and was given out, or it is old, which does nothing, or it
 * is refused.
 *
 * next_events() takes the cursor's row lock and passes over a cursor that is
 * locked; all others wait for it, no longer than payorder.lock_wait.  All is in
 * the caller's transaction: rolled back, or lost in a crash, what was given is
 * given again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <inttypes.h>

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "errors.h"
#include "event_mark.h"
#include "relation.h"

#define MOST_EVENTS		10000
#define MOST_COUNTED	1000
#define LONGEST_NAME	63

#define CURSOR_COLUMNS \
	"SELECT number, batch, seen, upto, late, acked_id, given_id, consumer" \
	" FROM payorder.consumer_cursors"

static Statement read_cursor = {
	.sql = CURSOR_COLUMNS " WHERE consumer = $1",
	.arguments = "t"
};
static Statement lock_cursor = {
	.sql = CURSOR_COLUMNS " WHERE consumer = $1 FOR UPDATE",
	.arguments = "t"
};
static Statement try_lock_cursor = {
	.sql = CURSOR_COLUMNS " WHERE consumer = $1 FOR UPDATE SKIP LOCKED",
	.arguments = "t"
};
static Statement all_cursors = {
	.sql = CURSOR_COLUMNS " ORDER BY consumer",
	.arguments = ""
};
static Statement insert_cursor = {
	.sql = "INSERT INTO payorder.consumer_cursors (consumer, seen, upto, late,"
	" acked_id, given_id) VALUES ($1, $2, $3, $4, $5, $5)"
	" ON CONFLICT (consumer) DO NOTHING",
	.arguments = "tttXl"
};
static Statement store_cursor = {
	.sql = "UPDATE payorder.consumer_cursors SET batch = $2, seen = $3,"
	" upto = $4, late = $5, acked_id = $6, given_id = $7 WHERE consumer = $1",
	.arguments = "tlttXll"
};
static Statement note_given = {
	.sql = "UPDATE payorder.consumer_cursors SET given_id = $2"
	" WHERE consumer = $1",
	.arguments = "tl"
};
static Statement note_acked = {
	.sql = "UPDATE payorder.consumer_cursors SET acked_id = $2,"
	" acked_at = pg_catalog.now() WHERE consumer = $1",
	.arguments = "tl"
};
static Statement delete_cursor = {
	.sql = "DELETE FROM payorder.consumer_cursors WHERE consumer = $1",
	.arguments = "t"
};
/* OFFSET 0: not by walking the index on id until a time fits */
static Statement first_since = {
	.sql = "SELECT pg_catalog.min(e.id) FROM (SELECT id FROM payorder.events"
	" WHERE at >= $1 OFFSET 0) AS e",
	.arguments = "z"
};

static Statement purged_until = {
	.sql = "SELECT pg_catalog.max(before), pg_catalog.max(upto_id)"
	" FROM payorder.events_freed",
	.arguments = ""
};

PG_FUNCTION_INFO_V1(payorder_create_consumer);
PG_FUNCTION_INFO_V1(payorder_drop_consumer);
PG_FUNCTION_INFO_V1(payorder_next_events);
PG_FUNCTION_INFO_V1(payorder_ack_events);
PG_FUNCTION_INFO_V1(payorder_seek_events);
PG_FUNCTION_INFO_V1(payorder_consumer_lag);
PG_FUNCTION_INFO_V1(payorder_consumers_behind);

typedef struct Cursor
{
	const char *consumer;
	int64		number;
	int64		batch;
	bool		open;			/* a batch is */
	Pair		pair;			/* lower: seen, upper: upto, after: acked_id */
	int64		given_id;
} Cursor;

static void
no_consumer(const char *consumer)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("no consumer \"%s\"", payorder_shown(consumer)),
			 errhint("Make it with create_consumer(), or see the view payorder.consumers.")));
}

static void
parse_stored(char *text, Mark *mark)
{
	if (!payorder_mark_parse(text, mark))
		elog(ERROR, "invalid mark of a consumer");
}

/* Reads a row of CURSOR_COLUMNS. */
static void
read_row(Rows *rows, int row, Cursor *cursor)
{
	Reader		reader = payorder_row(rows, row);
	char	   *upto;

	cursor->number = payorder_read_number(&reader);
	cursor->batch = payorder_read_number(&reader);
	parse_stored(payorder_read_text(&reader), &cursor->pair.lower);
	upto = payorder_read_text(&reader);
	cursor->open = upto != NULL;
	if (cursor->open)
		parse_stored(upto, &cursor->pair.upper);
	cursor->pair.late = DatumGetArrayTypeP((reader.next++)->datum);
	cursor->pair.after = payorder_read_number(&reader);
	cursor->given_id = payorder_read_number(&reader);
	cursor->consumer = payorder_read_text(&reader);
}

/* A consumer's cursor, read by one of the statements above. */
static void
get_cursor(Statement *statement, const char *consumer, Cursor *cursor)
{
	Rows	   *rows = payorder_query(statement, consumer);

	if (rows->count == 0)
		no_consumer(consumer);
	read_row(rows, 0, cursor);
}

static void
store(const Cursor *cursor)
{
	payorder_execute(&store_cursor, cursor->consumer, cursor->batch,
					 payorder_mark_text(&cursor->pair.lower),
					 cursor->open ? payorder_mark_text(&cursor->pair.upper) :
					 NULL, cursor->pair.late, cursor->pair.after,
					 cursor->given_id);
}

static char *
position_of(const Cursor *cursor, int64 id)
{
	return psprintf("%06" PRIx64 "-%012" PRIx64 "-%016" PRIx64,
					(uint64) cursor->number, (uint64) cursor->batch,
					(uint64) id);
}

static int64
last_of(Rows *rows)
{
	return rows->cells[(rows->count - 1) * rows->columns].number;
}

/* Ends the open batch: all of it is acknowledged. */
static void
end_batch(Cursor *cursor)
{
	cursor->open = false;
	cursor->pair.lower = cursor->pair.upper;
	cursor->pair.late = construct_empty_array(XID8OID);
}

/* Opens a batch with what has become visible; how it begins. */
static Rows *
begin_batch(Cursor *cursor, int most)
{
	Pair	   *pair = &cursor->pair;

	payorder_mark_now(&pair->upper, &pair->lower);
	pair->late = payorder_late(&pair->lower, &pair->upper);
	pair->after = cursor->given_id = 0;
	cursor->open = true;
	cursor->batch++;
	return payorder_between(pair, most);
}

/*
 * The next portion.  A call that finds nothing writes the cursor only if ids
 * were drawn meanwhile: those that are not committed need not be passed over
 * by each call after it.
 */
static Rows *
next_portion(Cursor *cursor, int most)
{
	bool		moved = false;
	Rows	   *rows;
	int64		last;

	if (cursor->open)
	{
		rows = payorder_between(&cursor->pair, most);
		if (rows->count > 0)
		{
			last = last_of(rows);
			if (last > cursor->given_id)
				payorder_execute(&note_given, cursor->consumer, last);
			return rows;
		}
		end_batch(cursor);
		moved = true;
	}
	rows = begin_batch(cursor, most);
	moved |= cursor->pair.upper.floor > cursor->pair.lower.floor;
	if (rows->count > 0)
		cursor->given_id = last_of(rows);
	else if (moved)
		end_batch(cursor);
	if (rows->count > 0 || moved)
		store(cursor);
	return rows;
}

/* One row of event_info. */
static void
put_event(ReturnSetInfo *result, const Cursor *cursor, Reader *reader)
{
	static const char types[] = "lti" "ttttttjtttt" "zy";
	Datum		values[lengthof(types)];
	bool		nulls[lengthof(types)];

	values[0] = CStringGetTextDatum(position_of(cursor, reader->next->number));
	nulls[0] = false;
	for (size_t i = 1; i < lengthof(values); i++)
	{
		Cell	   *cell = reader->next++;
		char		type = types[i - 1];

		nulls[i] = cell->isnull;
		if (cell->isnull)
			values[i] = (Datum) 0;
		else if (type == 't' || type == 'j')
			values[i] = CStringGetTextDatum(cell->text);
		else if (type == 'i')
			values[i] = Int32GetDatum((int32) cell->number);
		else if (type == 'y')
			values[i] = PointerGetDatum(cell->bytes);
		else
			values[i] = Int64GetDatum(cell->number);
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
payorder_next_events(PG_FUNCTION_ARGS)
{
	char	   *consumer = payorder_required_text(fcinfo, 0, "consumer");
	int			most = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	Rows	   *rows;
	Cursor		cursor;

	payorder_prevent_read_only("next_events()");
	if (most < 1 || most > MOST_EVENTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_events is out of range"),
				 errhint("Give 1 to %d.", MOST_EVENTS)));
	InitMaterializedSRF(fcinfo, 0);
	rows = payorder_query(&try_lock_cursor, consumer);
	if (rows->count == 0)
	{
		/* somebody else has it, or there is none */
		get_cursor(&read_cursor, consumer, &cursor);
		return (Datum) 0;
	}
	read_row(rows, 0, &cursor);
	if (!payorder_mark_fits(&cursor.pair.lower))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cursor of consumer \"%s\" is of another copy of this database",
						consumer),
				 errhint("Set it to a place in this log with seek_events().")));
	rows = next_portion(&cursor, most);
	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);

		put_event((ReturnSetInfo *) fcinfo->resultinfo, &cursor, &reader);
	}
	return (Datum) 0;
}

/* Takes a position apart, which must be one of this consumer's. */
static void
parse_position(const char *position, const Cursor *cursor, uint64 *batch,
			   uint64 *id)
{
	uint64		number;
	Cursor		named = {0};

	if (sscanf(position, "%" SCNx64 "-%" SCNx64 "-%" SCNx64, &number, batch,
			   id) == 3)
	{
		named.number = (int64) number;
		named.batch = (int64) *batch;
		if (strcmp(position_of(&named, (int64) *id), position) == 0)
		{
			if (named.number == cursor->number)
				return;
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("position was not given to consumer \"%s\"",
							cursor->consumer),
					 errhint("Acknowledge with the name that next_events() was called with; a consumer that was dropped and made again is another one.")));
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid position"),
			 errhint("Give the position of an event as next_events() returned it.")));
}

Datum
payorder_ack_events(PG_FUNCTION_ARGS)
{
	char	   *consumer = payorder_required_text(fcinfo, 0, "consumer");
	char	   *position = payorder_required_text(fcinfo, 1, "position");
	Cursor		cursor;
	uint64		batch,
				id;

	payorder_prevent_read_only("ack_events()");
	get_cursor(&lock_cursor, consumer, &cursor);
	parse_position(position, &cursor, &batch, &id);
	if (batch > (uint64) cursor.batch ||
		(batch == (uint64) cursor.batch && id > (uint64) cursor.given_id))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("position was not given to consumer \"%s\"", consumer),
				 errhint("Give the position of an event as next_events() returned it; if that was rolled back, call it again.")));
	if (batch < (uint64) cursor.batch || !cursor.open ||
		id <= (uint64) cursor.pair.after)
		PG_RETURN_BOOL(false);
	payorder_execute(&note_acked, consumer, (int64) id);
	PG_RETURN_BOOL(true);
}

/* Who is sent to a place whose events are purged would miss some. */
static void
refuse_purged(TimestampTz at, int64 first_id)
{
	Rows	   *rows = payorder_query(&purged_until);

	if (rows->cells[0].isnull ||
		(at >= rows->cells[0].time && first_id > rows->cells[1].number))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("events of that time are purged"),
			 errdetail("Events up to %s, with ids up to " INT64_FORMAT ", are purged, but for those of unfinished orders.",
					   timestamptz_to_str(rows->cells[0].time),
					   rows->cells[1].number),
			 errhint("Give a later place; at => '-infinity' begins with the first event that is there.")));
}

/*
 * A batch of all that is committed now, from an id on; the whole log is what
 * comes after its begin.
 */
static void
place_from(Cursor *cursor, int64 first_id)
{
	cursor->pair.lower = payorder_log_begin;
	cursor->open = first_id > 1;
	cursor->pair.after = cursor->given_id = 0;
	if (!cursor->open)
		return;
	payorder_mark_now(&cursor->pair.upper, &cursor->pair.lower);
	cursor->pair.after = cursor->given_id =
		Min(first_id, cursor->pair.upper.ceiling + 1) - 1;
}

/* The same, from what was written at an instant on. */
static void
place_at(Cursor *cursor, TimestampTz at)
{
	Rows	   *rows;

	if (TIMESTAMP_IS_NOBEGIN(at))
	{
		place_from(cursor, 1);
		return;
	}
	refuse_purged(at, PG_INT64_MAX);
	rows = payorder_query(&first_since, at);
	place_from(cursor, rows->cells[0].isnull ? PG_INT64_MAX :
			   rows->cells[0].number);
}

static void
check_name(const char *consumer)
{
	size_t		length = strlen(consumer);

	if (length == 0 || length > LONGEST_NAME ||
		strspn(consumer, "abcdefghijklmnopqrstuvwxyz0123456789_-") != length)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of a consumer"),
				 errhint("A name is 1 to %d lower-case letters, digits, \"_\" or \"-\".",
						 LONGEST_NAME)));
}

Datum
payorder_create_consumer(PG_FUNCTION_ARGS)
{
	char	   *consumer = payorder_required_text(fcinfo, 0, "consumer");
	Cursor		cursor = {.pair.late = construct_empty_array(XID8OID)};

	payorder_prevent_read_only("create_consumer()");
	check_name(consumer);
	if (PG_ARGISNULL(1))
		payorder_mark_now(&cursor.pair.lower, &payorder_log_begin);
	else
		place_at(&cursor, PG_GETARG_TIMESTAMPTZ(1));
	PG_RETURN_BOOL(payorder_execute(&insert_cursor, consumer,
									payorder_mark_text(&cursor.pair.lower),
									cursor.open ?
									payorder_mark_text(&cursor.pair.upper) :
									NULL, cursor.pair.late, cursor.pair.after) == 1);
}

Datum
payorder_drop_consumer(PG_FUNCTION_ARGS)
{
	char	   *consumer = payorder_required_text(fcinfo, 0, "consumer");

	payorder_prevent_read_only("drop_consumer()");
	PG_RETURN_BOOL(payorder_execute(&delete_cursor, consumer) == 1);
}

Datum
payorder_seek_events(PG_FUNCTION_ARGS)
{
	char	   *consumer = payorder_required_text(fcinfo, 0, "consumer");
	Cursor		cursor;

	payorder_prevent_read_only("seek_events()");
	if (PG_ARGISNULL(1) == PG_ARGISNULL(2) ||
		(!PG_ARGISNULL(2) && PG_GETARG_INT64(2) < 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("one of at and first_id must be given"),
				 errhint("Give the time or the id, 1 or more, of the first event to get.")));
	get_cursor(&lock_cursor, consumer, &cursor);
	if (PG_ARGISNULL(1))
	{
		refuse_purged(DT_NOEND, PG_GETARG_INT64(2));
		place_from(&cursor, PG_GETARG_INT64(2));
	}
	else
		place_at(&cursor, PG_GETARG_TIMESTAMPTZ(1));
	cursor.batch++;
	cursor.pair.late = construct_empty_array(XID8OID);
	store(&cursor);
	PG_RETURN_INT64(cursor.pair.after + 1);
}

/* All that comes after a cursor's open batch, or after what it has seen. */
static Pair
rest_of(const Cursor *cursor)
{
	Pair		rest = {.lower = cursor->open ? cursor->pair.upper :
		cursor->pair.lower
	};

	payorder_mark_everything(&rest.upper);
	rest.late = payorder_late(&rest.lower, &rest.upper);
	return rest;
}

/* Counts events, and keeps the time of the oldest. */
static int
count_oldest(Rows *rows, TimestampTz *oldest)
{
	for (int i = 0; i < rows->count; i++)
		*oldest = Min(*oldest, rows->cells[i * rows->columns + 1].time);
	return rows->count;
}

Datum
payorder_consumer_lag(PG_FUNCTION_ARGS)
{
	char	   *consumer = payorder_required_text(fcinfo, 0, "consumer");
	TimestampTz oldest = DT_NOEND;
	int			behind = 0;
	Cursor		cursor;
	Datum		values[3];
	bool		nulls[3] = {0};

	get_cursor(&read_cursor, consumer, &cursor);
	if (cursor.open)
		behind = count_oldest(payorder_between_ids(&cursor.pair, MOST_COUNTED),
							  &oldest);
	if (behind < MOST_COUNTED)
	{
		Pair		rest = rest_of(&cursor);

		behind += count_oldest(payorder_between_ids(&rest,
													MOST_COUNTED - behind),
							   &oldest);
	}
	values[0] = CStringGetTextDatum(position_of(&cursor, cursor.pair.after));
	values[1] = Int32GetDatum(behind);
	values[2] = TimestampTzGetDatum(oldest);
	nulls[2] = behind == 0;
	PG_RETURN_DATUM(payorder_composite(fcinfo, values, nulls));
}

Datum
payorder_consumers_behind(PG_FUNCTION_ARGS)
{
	int			slot = PG_GETARG_INT32(0);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Rows	   *rows;

	if (slot < 0 || slot >= RING_SLOTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("slot is out of range"),
				 errhint("Give 0 to %d.", RING_SLOTS - 1)));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	rows = payorder_query(&all_cursors);
	for (int i = 0; i < rows->count; i++)
	{
		Cursor		cursor;
		Pair		rest;
		Datum		name;
		bool		null = false;

		read_row(rows, i, &cursor);
		rest = rest_of(&cursor);
		if (!(cursor.open && payorder_between_any(&cursor.pair, slot)) &&
			!payorder_between_any(&rest, slot))
			continue;
		name = CStringGetTextDatum(cursor.consumer);
		tuplestore_putvalues(result->setResult, result->setDesc, &name, &null);
	}
	return (Datum) 0;
}
