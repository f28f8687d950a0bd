/*-------------------------------------------------------------------------
 *
 * gateway_aside.c
 *		Messages that did not become callbacks: counted, some kept aside.
 *
 * Whoever can reach the receiver can make us write here, so all is bounded: of
 * each gateway the newest so many of each kind are kept, with no more of a
 * rejected one than its size, its digest and the reason.  Only a message whose
 * key is not known yet is kept as it came, for a day, to be run again when the
 * key is added.  Counters are several rows each, so that sessions seldom wait
 * for each other; who can't count within payorder.lock_wait doesn't.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "gateway_aside.h"
#include "guc.h"
#include "relation.h"
#include "task.h"

#define COUNTER_SHARDS	8
#define LONGEST_TYPE	64		/* characters */
#define EVICT_EVERY		16		/* so many more than the limit may be there */

/* What is kept, and how many of it. */
typedef struct Kind
{
	const char *name;
	int			most;			/* of a gateway */
} Kind;

static const Kind quarantine = {"rejected", 1000};
static const Kind ignored = {"ignored", 10000};
static const Kind key_unknown = {"key_unknown", 100};

static Statement count_message = {
	.sql = "INSERT INTO payorder.message_counts AS c"
	" (gateway, verdict, reason, day, shard, messages)"
	" VALUES ($1, $2, $3, ($4::timestamptz AT TIME ZONE 'UTC')::date, $5, 1)"
	" ON CONFLICT (gateway, verdict, reason, day, shard)"
	" DO UPDATE SET messages = c.messages + 1",
	.arguments = "tttzi"
};
static Statement keep_message = {
	.sql = "INSERT INTO payorder.messages_aside"
	" (kind, gateway, reason, body, body_sha256, body_size, headers,"
	" raw_headers, raw_body, raw_query, received_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
	" RETURNING number",
	.arguments = "tttjyljJytz"
};
static Statement evict = {
	.sql = "DELETE FROM payorder.messages_aside AS m USING ("
	" SELECT a.number FROM payorder.messages_aside AS a"
	" WHERE a.kind = $1 AND a.gateway = $2 AND a.number <= ("
	" SELECT b.number FROM payorder.messages_aside AS b"
	" WHERE b.kind = $1 AND b.gateway = $2"
	" ORDER BY b.number DESC OFFSET $3 LIMIT 1)"
	" ORDER BY a.number LIMIT 1000 FOR UPDATE SKIP LOCKED) AS old"
	" WHERE m.kind = $1 AND m.gateway = $2 AND m.number = old.number",
	.arguments = "tti"
};
static Statement get_waiters = {
	.sql = "SELECT number, raw_headers, raw_body, raw_query, received_at"
	" FROM payorder.messages_aside"
	" WHERE kind = 'key_unknown' AND gateway = $1 AND received_at > $2"
	" ORDER BY number FOR UPDATE SKIP LOCKED",
	.arguments = "tz"
};
static Statement drop_waiter = {
	.sql = "DELETE FROM payorder.messages_aside"
	" WHERE kind = 'key_unknown' AND gateway = $1 AND number = $2",
	.arguments = "tl"
};
static Statement expire = {
	.sql = "DELETE FROM payorder.messages_aside AS m USING ("
	" SELECT a.kind, a.gateway, a.number FROM payorder.messages_aside AS a"
	" WHERE a.kind = 'key_unknown' AND a.received_at <= $1"
	" FOR UPDATE SKIP LOCKED) AS old"
	" WHERE m.kind = old.kind AND m.gateway = old.gateway"
	" AND m.number = old.number",
	.arguments = "z"
};

typedef struct Note
{
	const Envelope *envelope;
	const Kind *kind;
	const char *reason;			/* or type */
	const char *body;			/* that is kept, as JSON */
	bool		keep;
	const char *alarm;			/* its cause, NULL: none */
} Note;

static void
keep(const Note *note)
{
	const Envelope *e = note->envelope;
	bool		raw = note->kind == &key_unknown;
	Rows	   *rows = payorder_query(&keep_message, note->kind->name, e->gateway,
									  note->reason, note->body, e->digest,
									  e->length, e->kept_headers,
									  raw ? e->headers : NULL,
									  raw ? e->body : NULL,
									  raw ? e->query : NULL, e->at);

	if (rows->cells[0].number % EVICT_EVERY == 0)
		payorder_execute(&evict, note->kind->name, e->gateway,
						 note->kind->most);
}

static void
raise_alarm(const Note *note)
{
	ReviewRequest review = {0};

	review.subject = psprintf("gateway %s", note->envelope->gateway);
	review.cause = note->alarm;
	review.gateway = note->envelope->gateway;
	payorder_task_review(&review);
}

static void
write_note(void *argument)
{
	const Note *note = argument;

	payorder_execute(&count_message, note->envelope->gateway,
					 note->kind == &ignored ? "ignored" : "rejected",
					 note->reason, note->envelope->at,
					 MyProcPid % COUNTER_SHARDS);
	if (note->keep)
		keep(note);
	if (note->alarm != NULL)
		raise_alarm(note);
}

/* What can't be noted, because others hold its rows, is not. */
static void
take_note(Note *note)
{
	ErrorData  *error = payorder_isolated(write_note, note);

	if (error != NULL && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
}

/* Probe traffic is counted and nothing else. */
void
payorder_aside_rejected(const Envelope *envelope, const char *reason)
{
	Note		note = {.envelope = envelope,.kind = &quarantine,.reason = reason};

	note.keep = strcmp(reason, REJECTED_PROBE) != 0;
	if (strcmp(reason, REJECTED_KEY) == 0)
	{
		note.kind = &key_unknown;
		note.alarm = "key_unknown";
	}
	else if (strcmp(reason, REJECTED_MERCHANT) == 0)
		note.alarm = "wrong_merchant";
	take_note(&note);
}

/* A genuine message that says nothing to us; "body" is kept unless NULL. */
void
payorder_aside_ignored(const Envelope *envelope, const char *type,
					   const char *body)
{
	Note		note = {.envelope = envelope,.kind = &ignored,.body = body};

	note.reason = pnstrdup(type, pg_mbcharcliplen(type, strlen(type),
												  LONGEST_TYPE));
	note.keep = body != NULL;
	take_note(&note);
}

/* ---- those that wait for a key ---- */

static TimestampTz
oldest(TimestampTz at)
{
	return at - USECS_PER_DAY;
}

/* Those of a gateway that nobody else has in hand, oldest first, locked. */
Waiter *
payorder_aside_waiters(const char *gateway, int *count)
{
	Rows	   *rows = payorder_query(&get_waiters, gateway,
									  oldest(GetCurrentTimestamp()));
	Waiter	   *waiters = palloc(sizeof(Waiter) * Max(rows->count, 1));

	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);

		waiters[i].number = payorder_read_number(&reader);
		waiters[i].headers = DatumGetJsonbP((reader.next++)->datum);
		waiters[i].body = payorder_read_bytes(&reader);
		waiters[i].query = payorder_read_text(&reader);
		waiters[i].received_at = payorder_read_time(&reader);
	}
	*count = rows->count;
	return waiters;
}

void
payorder_aside_drop(const char *gateway, int64 number)
{
	payorder_execute(&drop_waiter, gateway, number);
}

/* What waited for its key for a day is gone. */
void
payorder_aside_expire(TimestampTz at)
{
	payorder_execute(&expire, oldest(at));
}
