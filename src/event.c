/*-------------------------------------------------------------------------
 *
 * event.c
 *		The append-only log: appending, and the hash chain of an order.
 *
 * Each order's events are numbered without a gap and chained: a hash covers
 * the hash before it and all fields that say what happened.  The caller holds
 * the order's row lock, so nobody else appends to the same chain.  Events
 * about money that has no order name the payment and have no chain.
 *
 * Whatever is decided about an order appends to its chain.  So a transaction
 * whose snapshot is older than somebody else's decision takes a number that
 * is taken, and ON CONFLICT DO NOTHING makes that 40001: without it, at
 * REPEATABLE READ, one that left the order's row as it was would go unseen.
 * At READ COMMITTED the last number is always seen, and a plain INSERT will do.
 *
 * The log is a ring of 64 partitions by the month of the order's creation.
 * Statements name the partition itself: a plan for the parent would lock all
 * 64 of them at each run.
 *
 * An order that was purged has left its last number and hash, from which its
 * chain goes on if it is brought back (order_purged.c).
 *
 * What is hashed (version 1): the byte 1; the hash before (32 zero bytes for
 * the first); then order_no, seq, event, from_state, to_state, actor, source,
 * reason, SHA-256 of payload, request_id, trace, gateway, txn_id and at.  A
 * field that is NULL is the byte 0; else the byte 1, the length in 4 bytes,
 * and the bytes.  Texts are in UTF-8, integers in 8 bytes, times are
 * microseconds since 2000-01-01 UTC; all big-endian.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "crypto.h"
#include "errors.h"
#include "event.h"
#include "event_mark.h"
#include "guc.h"
#include "relation.h"

#define HASH_VERSION		1

static Statement last_event[RING_SLOTS];
static Statement insert_event[RING_SLOTS];
static Statement insert_next_event[RING_SLOTS];
static Statement last_change[RING_SLOTS];
static Statement last_entry[RING_SLOTS];
static Statement by_request[RING_SLOTS];
static Statement first_payload[RING_SLOTS];
static Statement chain[RING_SLOTS];

/* A purged order's chain goes on from what is kept of it. */
static Statement find_anchor = {
	.sql = "SELECT last_seq, last_hash, base_seq, base_hash, away, first_amount"
	" FROM payorder.purged_orders WHERE order_no = $1",
	.arguments = "t"
};

static const char last_event_sql[] =
	"SELECT seq, hash FROM payorder.events_%02d"
	" WHERE slot = %d AND order_no = $1 ORDER BY seq DESC LIMIT 1";
#define INSERT_EVENT \
	"INSERT INTO payorder.events_%02d (slot, order_no, seq, gateway, txn_id," \
	" event, from_state, to_state, actor, source, reason, payload," \
	" request_id, trace, at, hash)" \
	" VALUES (%d, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13," \
	" $14, $15)"
static const char insert_event_sql[] =
	INSERT_EVENT " ON CONFLICT (slot, order_no, seq) DO NOTHING";
static const char insert_next_event_sql[] = INSERT_EVENT;
static const char last_change_sql[] =
	"SELECT seq FROM payorder.events_%02d"
	" WHERE slot = %d AND order_no = $1"
	" AND (from_state IS DISTINCT FROM to_state OR event = 'migrate')"
	" ORDER BY seq DESC LIMIT 1";
static const char last_entry_sql[] =
	"SELECT at FROM payorder.events_%02d"
	" WHERE slot = %d AND order_no = $1"
	" AND from_state IS DISTINCT FROM to_state ORDER BY seq DESC LIMIT 1";
static const char by_request_sql[] =
	"SELECT event, from_state, to_state, reason, payload"
	" FROM payorder.events_%02d"
	" WHERE slot = %d AND order_no = $1 AND request_id = $2";
static const char chain_sql[] =
	"SELECT seq, event, from_state, to_state, actor, source, reason,"
	" payload, request_id, trace, gateway, txn_id, at, hash"
	" FROM payorder.events_%02d WHERE slot = %d AND order_no = $1 ORDER BY seq";

static const char first_payload_sql[] =
	"SELECT payload FROM payorder.events_%02d"
	" WHERE slot = %d AND order_no = $1 AND seq = 1";
static Statement order_created_at = {
	.sql = "SELECT created_at FROM payorder.orders WHERE order_no = $1"
	" UNION ALL SELECT created_at FROM payorder.purged_orders"
	" WHERE order_no = $1 AND away",
	.arguments = "t"
};

PG_FUNCTION_INFO_V1(payorder_verify_events);

/*
 * The statement of one partition, made from its template, which names the
 * slot in one or two places, or by %1$d, when first used.
 */
Statement *
payorder_for_slot(Statement *statements, const char *template,
				  const char *arguments, int slot)
{
	Statement  *statement = &statements[slot];

	if (statement->sql == NULL)
	{
		statement->sql = MemoryContextStrdup(TopMemoryContext,
											 psprintf(template, slot, slot));
		statement->arguments = arguments;
	}
	return statement;
}

/* 12 * year + month of an instant in UTC. */
int
payorder_month_of(TimestampTz created_at)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (timestamp2tm(created_at, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range"),
				 errhint("Give an instant that the server can show.")));
	return 12 * tm.tm_year + tm.tm_mon;
}

static int
slot_of(TimestampTz created_at)
{
	return payorder_month_of(created_at) & (RING_SLOTS - 1);
}

/* Asks an order's partition about the order. */
static Rows *
in_chain(Statement *statements, const char *template, TimestampTz created_at,
		 const char *order_no)
{
	return payorder_query(payorder_for_slot(statements, template, "t",
											slot_of(created_at)), order_no);
}

static void
add_bytes(StringInfo buffer, const void *bytes, int length)
{
	uint32		size = pg_hton32((uint32) length);

	appendStringInfoChar(buffer, 1);
	appendBinaryStringInfo(buffer, (char *) &size, sizeof(size));
	appendBinaryStringInfo(buffer, bytes, length);
}

static void
add_integer(StringInfo buffer, int64 number)
{
	uint64		bytes = pg_hton64((uint64) number);

	add_bytes(buffer, &bytes, sizeof(bytes));
}

static void
add_text(StringInfo buffer, const char *text)
{
	char	   *utf8;

	if (text == NULL)
	{
		appendStringInfoChar(buffer, 0);
		return;
	}
	utf8 = pg_server_to_any(text, strlen(text), PG_UTF8);
	add_bytes(buffer, utf8, strlen(utf8));
}

static void
add_digest(StringInfo buffer, const char *text)
{
	uint8		digest[SHA256_BYTES];
	char	   *utf8;

	if (text == NULL)
	{
		appendStringInfoChar(buffer, 0);
		return;
	}
	utf8 = pg_server_to_any(text, strlen(text), PG_UTF8);
	payorder_sha256(utf8, strlen(utf8), digest);
	add_bytes(buffer, digest, SHA256_BYTES);
}

/* The hash of an event that follows one with the hash "before". */
bytea *
payorder_event_hash(const uint8 *before, const char *order_no, int seq,
					const Event *event, const char *trace)
{
	bytea	   *hash = palloc(VARHDRSZ + SHA256_BYTES);
	StringInfoData buffer;

	initStringInfo(&buffer);
	appendStringInfoChar(&buffer, HASH_VERSION);
	appendBinaryStringInfo(&buffer, (const char *) before, SHA256_BYTES);
	add_text(&buffer, order_no);
	add_integer(&buffer, seq);
	add_text(&buffer, event->event);
	add_text(&buffer, event->from_state);
	add_text(&buffer, event->to_state);
	add_text(&buffer, event->cause.actor);
	add_text(&buffer, event->cause.source);
	add_text(&buffer, event->cause.reason);
	add_digest(&buffer, event->cause.payload);
	add_text(&buffer, event->cause.request_id);
	add_text(&buffer, trace);
	add_text(&buffer, event->gateway);
	add_text(&buffer, event->txn_id);
	add_integer(&buffer, event->at);
	payorder_sha256(buffer.data, buffer.len, (uint8 *) VARDATA(hash));
	SET_VARSIZE(hash, VARHDRSZ + SHA256_BYTES);
	pfree(buffer.data);
	return hash;
}

static Statement *
insertion_into(int slot)
{
	if (IsolationUsesXactSnapshot())
		return payorder_for_slot(insert_event, insert_event_sql,
								 "tLttttttttjttzy", slot);
	return payorder_for_slot(insert_next_event, insert_next_event_sql,
							 "tLttttttttjttzy", slot);
}

static void
insert(int slot, const char *order_no, const int64 *seq, const Event *event,
	   const char *trace, bytea *hash)
{
	payorder_epoch_note();
	/* Consumers rely on it that a transaction has its number before its ids. */
	(void) GetTopTransactionId();
	if (payorder_execute(insertion_into(slot), order_no, seq, event->gateway,
						 event->txn_id, event->event, event->from_state,
						 event->to_state, event->cause.actor,
						 event->cause.source, event->cause.reason,
						 event->cause.payload, event->cause.request_id,
						 trace, event->at, hash) != 1)
		elog(ERROR, "could not append event");
}

/* The last number and hash of an order that was purged, 0 if it never was. */
static int64
anchored(const char *order_no, uint8 before[SHA256_BYTES])
{
	Rows	   *rows = payorder_query(&find_anchor, order_no);

	if (rows->count == 0)
		return 0;
	memcpy(before, VARDATA(rows->cells[1].bytes), SHA256_BYTES);
	return rows->cells[0].number;
}

/*
 * Appends an event to an order's chain and returns its number.  The order's
 * row is locked by this transaction.
 */
int
payorder_event_append(const char *order_no, TimestampTz created_at,
					  const Event *event)
{
	int			slot = slot_of(created_at);
	Rows	   *rows = in_chain(last_event, last_event_sql, created_at,
								order_no);
	uint8		before[SHA256_BYTES] = {0};
	const char *trace = payorder_current_trace();
	int64		seq = 1;

	if (rows->count > 0)
	{
		Reader		reader = payorder_row(rows, 0);

		seq = payorder_read_number(&reader) + 1;
		memcpy(before, VARDATA(payorder_read_bytes(&reader)), SHA256_BYTES);
	}
	else if (event->from_state != NULL)
		seq = anchored(order_no, before) + 1;
	insert(slot, order_no, &seq, event, trace,
		   payorder_event_hash(before, order_no, seq, event, trace));
	return seq;
}

/* Appends an event about a payment that has no order. */
void
payorder_event_append_payment(TimestampTz received_at, const Event *event)
{
	insert(slot_of(received_at), NULL, NULL, event,
		   payorder_current_trace(), NULL);
}

/*
 * The number of the event by which an order came into its present state, or
 * under its present machine: timers that were armed before are void.
 */
int
payorder_last_state_change(const char *order_no, TimestampTz created_at)
{
	Rows	   *rows = in_chain(last_change, last_change_sql, created_at,
								order_no);

	return rows->count == 0 ? 0 : rows->cells[0].number;
}

/* When an order came into its present state. */
TimestampTz
payorder_last_entry(const char *order_no, TimestampTz created_at)
{
	Rows	   *rows = in_chain(last_entry, last_entry_sql, created_at,
								order_no);

	return rows->count == 0 ? created_at : rows->cells[0].time;
}

/* The amount with which an order was created that was purged since. */
bool
payorder_event_first_amount(const char *order_no, int64 *amount)
{
	Rows	   *rows = payorder_query(&find_anchor, order_no);

	if (rows->count == 0)
		return false;
	*amount = rows->cells[5].number;
	return true;
}

/* The payload of an order's first event, NULL if it has none. */
char *
payorder_event_first_payload(const char *order_no, TimestampTz created_at)
{
	Rows	   *rows = in_chain(first_payload, first_payload_sql, created_at,
								order_no);

	return rows->count == 0 ? NULL : rows->cells[0].text;
}

/* The event that an order got with this request_id, NULL if there is none. */
Event *
payorder_event_by_request(const char *order_no, TimestampTz created_at,
						  const char *request_id)
{
	Rows	   *rows = payorder_query(payorder_for_slot(by_request,
														by_request_sql, "tt",
														slot_of(created_at)),
									  order_no, request_id);
	Event	   *event = palloc0(sizeof(Event));
	Reader		reader;

	if (rows->count == 0)
		return NULL;
	reader = payorder_row(rows, 0);
	event->event = payorder_read_text(&reader);
	event->from_state = payorder_read_text(&reader);
	event->to_state = payorder_read_text(&reader);
	event->cause.reason = payorder_read_text(&reader);
	event->cause.payload = payorder_read_text(&reader);
	return event;
}

/*
 * Compares one stored event with the chain; what is wrong, or NULL.  "before"
 * becomes the stored hash.
 */
static const char *
check_link(Reader *reader, const char *order_no, int expected_seq,
		   uint8 before[SHA256_BYTES])
{
	Event		event = {0};
	int			seq = payorder_read_number(reader);
	const char *trace;
	bytea	   *stored;
	bytea	   *computed;

	event.event = payorder_read_text(reader);
	event.from_state = payorder_read_text(reader);
	event.to_state = payorder_read_text(reader);
	event.cause.actor = payorder_read_text(reader);
	event.cause.source = payorder_read_text(reader);
	event.cause.reason = payorder_read_text(reader);
	event.cause.payload = payorder_read_text(reader);
	event.cause.request_id = payorder_read_text(reader);
	trace = payorder_read_text(reader);
	event.gateway = payorder_read_text(reader);
	event.txn_id = payorder_read_text(reader);
	event.at = payorder_read_time(reader);
	stored = payorder_read_bytes(reader);
	if (seq != expected_seq)
		return "event is missing";
	if (stored == NULL || VARSIZE(stored) != VARHDRSZ + SHA256_BYTES)
		return "hash is missing";
	computed = payorder_event_hash(before, order_no, seq, &event, trace);
	if (memcmp(VARDATA(stored), VARDATA(computed), SHA256_BYTES) != 0)
		return "event does not match its hash";
	memcpy(before, VARDATA(stored), SHA256_BYTES);
	return NULL;
}

/*
 * Where a chain of which rows are there begins: the number before its first
 * one, and the hash of that.  Only of a purged order may some be missing.
 */
static int
begin_of_chain(const Rows *rows, Rows *anchor, uint8 before[SHA256_BYTES])
{
	if (rows->count == 0 || anchor->count == 0)
		return 0;
	for (int i = 0; i < 4; i += 2)
	{
		const Cell *seq = &anchor->cells[i];

		if (!seq->isnull && !seq[1].isnull &&
			VARSIZE(seq[1].bytes) == VARHDRSZ + SHA256_BYTES &&
			rows->cells[0].number == seq->number + 1)
		{
			memcpy(before, VARDATA(seq[1].bytes), SHA256_BYTES);
			return (int) seq->number;
		}
	}
	return 0;
}

/* Whether a chain is at the end that was noted when the order was purged. */
static bool
differs_from_anchor(const Rows *anchor, int seq,
					const uint8 before[SHA256_BYTES])
{
	return anchor->count > 0 && anchor->cells[0].number == seq &&
		memcmp(VARDATA(anchor->cells[1].bytes), before, SHA256_BYTES) != 0;
}

Datum
payorder_verify_events(PG_FUNCTION_ARGS)
{
	char	   *order_no = payorder_required_text(fcinfo, 0, "order_no");
	Rows	   *rows = payorder_query(&order_created_at, order_no);
	uint8		before[SHA256_BYTES] = {0};
	const char *problem = NULL;
	Datum		values[5];
	bool		nulls[5] = {0};
	int			checked = 0;
	int			begin;
	Rows	   *anchor;

	if (rows->count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_PO_NO_SUCH_ORDER),
				 errmsg("no order \"%s\"", payorder_shown(order_no)),
				 errhint("Check the order number.")));
	rows = in_chain(chain, chain_sql, rows->cells[0].time, order_no);
	anchor = payorder_query(&find_anchor, order_no);
	begin = begin_of_chain(rows, anchor, before);
	if (rows->count == 0 && (anchor->count == 0 || !anchor->cells[4].truth))
		problem = "event is missing";
	while (problem == NULL && checked < rows->count)
	{
		Reader		reader = payorder_row(rows, checked);

		checked++;
		problem = check_link(&reader, order_no, begin + checked, before);
		if (problem == NULL &&
			differs_from_anchor(anchor, begin + checked, before))
			problem = "event does not match its hash";
	}
	values[0] = CStringGetTextDatum(order_no);
	values[1] = Int32GetDatum(rows->count);
	values[2] = BoolGetDatum(problem == NULL);
	values[3] = Int32GetDatum(begin + Max(checked, 1));
	nulls[3] = problem == NULL;
	values[4] = problem == NULL ? (Datum) 0 : CStringGetTextDatum(problem);
	nulls[4] = problem == NULL;
	PG_RETURN_DATUM(payorder_composite(fcinfo, values, nulls));
}
