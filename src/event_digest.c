/*-------------------------------------------------------------------------
 *
 * event_digest.c
 *		A digest of a stretch of the log, to be kept outside.
 *
 * The chain of an order shows a change to who knows its last hash; a digest
 * lets whoever keeps it know the last hashes of all orders at once.  The
 * stretch lies between two marks, so a transaction that commits late changes
 * nothing in it, and nobody waits for one that is open.
 *
 * The digest (version 1) is made event by event, in the order of their ids:
 * SHA-256 over the digest before, which at first is 32 zero bytes, the id in
 * 8 bytes, and the hash of all that the event says (as in event.c) in which
 * the event's own stored hash stands for the hash before.  Where an event has
 * no order and no hash, seq is 0 and that hash is 32 zero bytes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "crypto.h"
#include "event_mark.h"
#include "relation.h"

#define PORTION			1000

PG_FUNCTION_INFO_V1(payorder_event_digest);

/* What was digested so far. */
typedef struct Digest
{
	int64		events;
	int64		first_id;
	int64		last_id;
	uint8		bytes[SHA256_BYTES];
} Digest;

static void
add_event(Digest *digest, Reader *reader)
{
	struct
	{
		uint8		before[SHA256_BYTES];
		uint64		id;
		uint8		hash[SHA256_BYTES];
	}			link;
	uint8		own[SHA256_BYTES] = {0};
	Event		event = {0};
	char	   *order_no;
	char	   *trace;
	int			seq;
	bytea	   *hash;
	int64		id = payorder_read_logged(reader, &order_no, &seq, &event,
										  &trace, &hash);

	if (hash != NULL)
		memcpy(own, VARDATA(hash), Min(VARSIZE(hash) - VARHDRSZ, SHA256_BYTES));
	hash = payorder_event_hash(own, order_no, seq, &event, trace);
	memcpy(link.before, digest->bytes, SHA256_BYTES);
	link.id = pg_hton64((uint64) id);
	memcpy(link.hash, VARDATA(hash), SHA256_BYTES);
	payorder_sha256(&link, sizeof(link), digest->bytes);
	if (digest->events++ == 0)
		digest->first_id = id;
	digest->last_id = id;
}

static void
add_all(Digest *digest, Pair *pair)
{
	MemoryContext portion = AllocSetContextCreate(CurrentMemoryContext,
												  "payorder digest",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(portion);
	Rows	   *rows;

	do
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(portion);
		rows = payorder_between(pair, PORTION);
		for (int i = 0; i < rows->count; i++)
		{
			Reader		reader = payorder_row(rows, i);

			add_event(digest, &reader);
		}
		pair->after = digest->last_id;
	} while (rows->count == PORTION);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(portion);
}

static void
mark_argument(FunctionCallInfo fcinfo, int number, const char *name,
			  Mark *mark)
{
	char	   *text = payorder_text_argument(fcinfo, number);

	if (!payorder_mark_parse(text, mark) || !payorder_mark_fits(mark))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is not a mark of this log", name),
				 errhint("Give a mark as event_digest() returned it, from this database or one that it was restored from.")));
}

Datum
payorder_event_digest(PG_FUNCTION_ARGS)
{
	Pair		pair = {.lower = payorder_log_begin};
	Digest		digest = {0};
	bytea	   *bytes = palloc(VARHDRSZ + SHA256_BYTES);
	Datum		values[6];
	bool		nulls[6] = {0};

	if (!PG_ARGISNULL(0))
		mark_argument(fcinfo, 0, "from_mark", &pair.lower);
	if (!PG_ARGISNULL(1))
		mark_argument(fcinfo, 1, "to_mark", &pair.upper);
	else
	{
		PreventCommandDuringRecovery("event_digest() without to_mark");
		payorder_mark_now(&pair.upper, &pair.lower);
	}
	if (pair.lower.epoch <= pair.upper.epoch)
	{
		pair.late = payorder_late(&pair.lower, &pair.upper);
		add_all(&digest, &pair);
	}
	SET_VARSIZE(bytes, VARHDRSZ + SHA256_BYTES);
	memcpy(VARDATA(bytes), digest.bytes, SHA256_BYTES);
	values[0] = CStringGetTextDatum(payorder_mark_text(&pair.lower));
	values[1] = CStringGetTextDatum(payorder_mark_text(&pair.upper));
	values[2] = Int64GetDatum(digest.events);
	values[3] = Int64GetDatum(digest.first_id);
	values[4] = Int64GetDatum(digest.last_id);
	nulls[3] = nulls[4] = digest.events == 0;
	values[5] = PointerGetDatum(bytes);
	PG_RETURN_DATUM(payorder_composite(fcinfo, values, nulls));
}
