/*-------------------------------------------------------------------------
 *
 * callback_store.c
 *		The rows of callbacks, of those that wait, and of conflicts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "callback_decision.h"
#include "crypto.h"
#include "guc.h"
#include "relation.h"
#include "timer.h"
#include "wake.h"

#define FACT_COLUMNS \
	"gateway, txn_id, event, reference, payment_txn, refund_no, amount," \
	" amount_is_total, currency, occurred_at, source"
#define CALLBACK_COLUMNS \
	FACT_COLUMNS ", order_no, first_verdict, verdict, detail, single_amount"
#define WAITING_COLUMNS \
	"w.gateway, w.txn_id, w.event, w.verdict, w.reason, w.reference," \
	" w.order_no, w.payment_txn, w.refund_no, w.drain_rank, w.occurred_at," \
	" w.arrival, w.arrived_at, w.next_at, w.tries"

static Statement find_callback = {
	.sql = "SELECT " CALLBACK_COLUMNS " FROM payorder.callbacks"
	" WHERE gateway = $1 AND txn_id = $2 AND event = $3",
	.arguments = "ttt"
};
static Statement lock_callback = {
	.sql = "SELECT " CALLBACK_COLUMNS " FROM payorder.callbacks"
	" WHERE gateway = $1 AND txn_id = $2 AND event = $3 FOR UPDATE",
	.arguments = "ttt"
};
static Statement skip_callback = {
	.sql = "SELECT 1 FROM payorder.callbacks"
	" WHERE gateway = $1 AND txn_id = $2 AND event = $3"
	" FOR UPDATE SKIP LOCKED",
	.arguments = "ttt"
};
static Statement insert_callback = {
	.sql = "INSERT INTO payorder.callbacks (" FACT_COLUMNS ", body, body_sha256,"
	" received_at, order_no, headers) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9,"
	" $10, $11, $12, $13, $14, $15, $16)"
	" ON CONFLICT (gateway, txn_id, event) DO NOTHING",
	.arguments = "ttttttLbtztjyztj",
	.conflict_is_rare = true
};
static Statement refill_callback = {
	.sql = "UPDATE payorder.callbacks SET"
	" reference = coalesce($4, reference),"
	" payment_txn = coalesce($5, payment_txn),"
	" refund_no = coalesce($6, refund_no),"
	" amount_is_total = CASE WHEN amount IS NULL THEN $8 ELSE amount_is_total END,"
	" amount = coalesce(amount, $7), currency = coalesce(currency, $9),"
	" occurred_at = coalesce(occurred_at, $10)"
	" WHERE gateway = $1 AND txn_id = $2 AND event = $3",
	.arguments = "ttttttLbtz"
};
static Statement restate_callback = {
	.sql = "UPDATE payorder.callbacks SET reference = $4, payment_txn = $5,"
	" refund_no = $6, amount = $7, amount_is_total = $8, currency = $9,"
	" occurred_at = $10 WHERE gateway = $1 AND txn_id = $2 AND event = $3",
	.arguments = "ttttttLbtz"
};
static Statement record_verdict = {
	.sql = "UPDATE payorder.callbacks SET order_no ="
	" CASE WHEN verdict IS NULL THEN $4 ELSE coalesce($4, order_no) END,"
	" first_verdict = coalesce(first_verdict, $5), verdict = $5, detail = $6,"
	" error = $7, decided_at = $8,"
	" single_amount = coalesce($9, single_amount)"
	" WHERE gateway = $1 AND txn_id = $2 AND event = $3",
	.arguments = "tttttttzL"
};
static Statement insert_conflict = {
	.sql = "INSERT INTO payorder.callback_conflicts (" FACT_COLUMNS ","
	" facts_sha256, detail, body, body_sha256, received_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,"
	" $15, $16) ON CONFLICT DO NOTHING",
	.arguments = "ttttttLbtztytjyz"
};
static Statement write_waiting = {
	.sql = "INSERT INTO payorder.callbacks_waiting AS w (gateway, txn_id, event,"
	" verdict, reason, reference, order_no, payment_txn, refund_no,"
	" drain_rank, occurred_at, arrived_at, next_at, tries)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
	" ON CONFLICT (gateway, txn_id, event) DO UPDATE SET"
	" verdict = excluded.verdict, reason = excluded.reason,"
	" reference = excluded.reference,"
	" order_no = coalesce(excluded.order_no, w.order_no),"
	" payment_txn = excluded.payment_txn, refund_no = excluded.refund_no,"
	" occurred_at = excluded.occurred_at, next_at = excluded.next_at,"
	" tries = excluded.tries",
	.arguments = "tttttttttizzzi"
};
static Statement refill_waiting = {
	.sql = "UPDATE payorder.callbacks_waiting SET"
	" reference = coalesce($4, reference),"
	" payment_txn = coalesce($5, payment_txn),"
	" refund_no = coalesce($6, refund_no)"
	" WHERE gateway = $1 AND txn_id = $2 AND event = $3",
	.arguments = "tttttt"
};
static Statement behind_waiting = {
	.sql = "UPDATE payorder.callbacks_waiting SET reason = 'behind', next_at = $4"
	" WHERE gateway = $1 AND txn_id = $2 AND event = $3",
	.arguments = "tttz"
};
static Statement behind_callback = {
	.sql = "UPDATE payorder.callbacks SET detail = 'behind'"
	" WHERE gateway = $1 AND txn_id = $2 AND event = $3",
	.arguments = "ttt"
};
static Statement delete_waiting = {
	.sql = "DELETE FROM payorder.callbacks_waiting"
	" WHERE gateway = $1 AND txn_id = $2 AND event = $3",
	.arguments = "ttt"
};
static Statement delete_callback = {
	.sql = "DELETE FROM payorder.callbacks"
	" WHERE gateway = $1 AND txn_id = $2 AND event = $3",
	.arguments = "ttt"
};
static Statement later_waiting = {
	.sql = "UPDATE payorder.callbacks_waiting SET next_at = $4, tries = $5"
	" WHERE gateway = $1 AND txn_id = $2 AND event = $3",
	.arguments = "tttzi"
};
static Statement deferred_of_order = {
	.sql = "SELECT " WAITING_COLUMNS " FROM payorder.callbacks_waiting AS w"
	" WHERE w.order_no = $1 AND w.verdict = 'deferred'"
	" AND NOT (w.reason = 'error' AND w.next_at = 'infinity')"
	" AND NOT EXISTS (SELECT FROM payorder.gateways AS g"
	" WHERE g.gateway = w.gateway AND g.paused)"
	" ORDER BY w.drain_rank, w.occurred_at, w.arrival LIMIT $2",
	.arguments = "ti"
};
static Statement waiting_of_order = {
	.sql = "SELECT " WAITING_COLUMNS " FROM (SELECT w.*"
	" FROM payorder.callbacks_waiting AS w"
	" WHERE w.order_no = $1 OR w.reference = $1"
	" UNION SELECT w.* FROM payorder.attempts AS a"
	" JOIN payorder.callbacks_waiting AS w ON w.reference = a.payment_no"
	" WHERE a.order_no = $1"
	" UNION SELECT w.* FROM payorder.payments AS p"
	" JOIN payorder.callbacks_waiting AS w ON w.gateway = p.gateway"
	" AND w.payment_txn = p.txn_id WHERE p.order_no = $1"
	" UNION SELECT w.* FROM payorder.refunds AS r"
	" JOIN payorder.callbacks_waiting AS w ON w.refund_no = r.refund_no"
	" AND w.gateway = r.gateway WHERE r.order_no = $1) AS w"
	" ORDER BY w.drain_rank, w.occurred_at, w.arrival LIMIT $2",
	.arguments = "ti"
};
static Statement waiting_for_payment = {
	.sql = "SELECT " WAITING_COLUMNS " FROM payorder.callbacks_waiting AS w"
	" WHERE w.verdict = 'parked' AND ((w.gateway = $1 AND w.payment_txn = $2)"
	" OR (w.order_no = $3"
	" AND w.reason IN ('payment', 'refund', 'total', 'dispute'))"
	" OR (w.gateway = $1 AND w.txn_id = $2 AND w.reason = 'payment')"
	" OR (w.gateway = $1 AND w.txn_id = $5"
	" AND w.reason IN ('dispute', 'payment', 'refund'))"
	" OR w.refund_no = $4)"
	" ORDER BY w.drain_rank, w.occurred_at, w.arrival LIMIT 100",
	.arguments = "ttttt"
};
/* Whether there can be any: most often there is none, and that is quick. */
#define ANY_WAITING "SELECT 1 FROM payorder.callbacks_waiting WHERE "
static Statement any_of_order = {
	.sql = ANY_WAITING "order_no = $1 LIMIT 1",
	.arguments = "t"
};
static Statement any_for_payment = {
	.sql = ANY_WAITING "gateway = $1 AND payment_txn = $2 LIMIT 1",
	.arguments = "tt"
};
static Statement any_of_transaction = {
	.sql = ANY_WAITING "gateway = $1 AND txn_id = $2 LIMIT 1",
	.arguments = "tt"
};
static Statement any_for_refund = {
	.sql = ANY_WAITING "refund_no = $1 LIMIT 1",
	.arguments = "t"
};
static Statement waiting_due = {
	.sql = "SELECT " WAITING_COLUMNS " FROM payorder.callbacks_waiting AS w"
	" WHERE w.next_at <= $1 ORDER BY w.arrival LIMIT $2",
	.arguments = "zi"
};
static Statement waiting_tries = {
	.sql = "SELECT tries FROM payorder.callbacks_waiting"
	" WHERE gateway = $1 AND txn_id = $2 AND event = $3 AND reason = 'error'",
	.arguments = "ttt"
};
static Statement waiting_next = {
	.sql = "SELECT least((SELECT pg_catalog.min(next_at)"
	" FROM payorder.callbacks_waiting WHERE next_at < 'infinity'),"
	" (SELECT pg_catalog.now() FROM payorder.gateways"
	" WHERE draining AND NOT paused"
	" AND NOT " PAYORDER_IS_COPY("$1", "$2") " LIMIT 1))",
	.arguments = "ll"
};
static Statement pay_waits = {
	.sql = "SELECT 1 FROM payorder.callbacks_waiting WHERE order_no = $1"
	" AND event IN ('pay', 'pay_part')"
	" AND (verdict = 'deferred' OR NOT $2) LIMIT 1",
	.arguments = "tb"
};
static Statement retry_one = {
	.sql = "UPDATE payorder.callbacks_waiting SET next_at = pg_catalog.now(),"
	" tries = 0 WHERE gateway = $1 AND txn_id = $2 AND event = $3"
	" AND reason = 'error'",
	.arguments = "ttt"
};
static Statement retry_waiting = {
	.sql = "UPDATE payorder.callbacks_waiting SET next_at = pg_catalog.now(),"
	" tries = 0 WHERE order_no = $1 AND reason = 'error'",
	.arguments = "t"
};

/* The events, in the order of draining. */
static const struct
{
	MessageEvent event;
	const char *name;
	int			drain_rank;
}			events[] = {
	{EVENT_PAY, "pay", 1},
	{EVENT_PAY_PART, "pay_part", 1},
	{EVENT_PAY_FAILED, "pay_failed", 2},
	{EVENT_PAY_CLOSED, "pay_closed", 2},
	{EVENT_AUTHORISED, "authorised", 2},
	{EVENT_REFUND, "refund", 3},
	{EVENT_REFUND_FAILED, "refund_failed", 4},
	{EVENT_REFUND_STUCK, "refund_stuck", 4},
	{EVENT_PAY_REVERSED, "pay_reversed", 5},
	{EVENT_CHARGEBACK, "chargeback", 6},
	{EVENT_CHARGEBACK_REVERSED, "chargeback_reversed", 6},
	{EVENT_CHARGEBACK_LOST, "chargeback_lost", 6}
};

/* The names of all events, separated by commas. */
char *
payorder_message_events(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (size_t i = 0; i < lengthof(events); i++)
		appendStringInfo(&list, "%s%s", i == 0 ? "" : ", ", events[i].name);
	return list.data;
}

/* The event of a name; false if there is no such event. */
bool
payorder_message_event(const char *name, MessageEvent *event)
{
	for (size_t i = 0; i < lengthof(events); i++)
	{
		if (strcmp(events[i].name, name) == 0)
		{
			*event = events[i].event;
			return true;
		}
	}
	return false;
}

const char *
payorder_event_name(MessageEvent event)
{
	for (size_t i = 0; i < lengthof(events); i++)
	{
		if (events[i].event == event)
			return events[i].name;
	}
	return NULL;
}

static int
drain_rank(MessageEvent event)
{
	for (size_t i = 0; i < lengthof(events); i++)
	{
		if (events[i].event == event)
			return events[i].drain_rank;
	}
	return 0;
}

static Callback *
read_callback(Rows *rows)
{
	Callback   *callback;
	Message    *message;
	Reader		reader;

	if (rows->count == 0)
		return NULL;
	callback = palloc0(sizeof(Callback));
	message = &callback->message;
	reader = payorder_row(rows, 0);
	message->gateway = payorder_read_text(&reader);
	message->txn_id = payorder_read_text(&reader);
	if (!payorder_message_event(payorder_read_text(&reader), &message->event))
		elog(ERROR, "unknown event in payorder.callbacks");
	message->reference = payorder_read_text(&reader);
	message->payment_txn = payorder_read_text(&reader);
	message->refund_no = payorder_read_text(&reader);
	message->has_amount = !reader.next->isnull;
	message->amount = payorder_read_number(&reader);
	message->amount_is_total = payorder_read_truth(&reader);
	message->currency = payorder_read_text(&reader);
	message->occurred_at = payorder_read_time(&reader);
	message->source = payorder_read_text(&reader);
	callback->order_no = payorder_read_text(&reader);
	callback->first_verdict = payorder_read_text(&reader);
	callback->verdict = payorder_read_text(&reader);
	callback->detail = payorder_read_text(&reader);
	if (!reader.next->isnull)
		callback->single_amount = &reader.next->number;
	return callback;
}

/* The stored callback of a message's key, NULL if there is none. */
Callback *
payorder_callback_find(const Message *message)
{
	return read_callback(payorder_query(&find_callback, message->gateway,
										message->txn_id,
										payorder_event_name(message->event)));
}

/* The stored callback of the same transaction and another event. */
Callback *
payorder_callback_other(const Message *message, MessageEvent event)
{
	return read_callback(payorder_query(&find_callback, message->gateway,
										message->txn_id,
										payorder_event_name(event)));
}

/* Takes back the key row that this decision has just written. */
void
payorder_callback_forget(const Message *message)
{
	payorder_execute(&delete_callback, message->gateway, message->txn_id,
					 payorder_event_name(message->event));
}

/* Locks the callback of a waiting row and reads it. */
Callback *
payorder_callback_lock(const Waiting *waiting)
{
	return read_callback(payorder_query(&lock_callback, waiting->gateway,
										waiting->txn_id, waiting->event));
}

/* Locks the callback of a waiting row; false if somebody else has it. */
bool
payorder_callback_skip_locked(const Waiting *waiting)
{
	return payorder_query(&skip_callback, waiting->gateway, waiting->txn_id,
						  waiting->event)->count > 0;
}

/* SHA-256 of the body as it came, NULL if there was none. */
static bytea *
body_digest(const Message *message)
{
	if (message->body_digest != NULL)
		return message->body_digest;
	if (message->payload == NULL)
		return NULL;
	return payorder_sha256_of(message->payload, strlen(message->payload));
}

static const int64 *
amount_of(const Message *message)
{
	return message->has_amount ? &message->amount : NULL;
}

/*
 * Writes the key row of a message, without a verdict; false if the key is
 * there already.  Waits for another transaction that is writing it.  With the
 * order that it will most likely be about, its verdict changes no index.
 */
bool
payorder_callback_insert(const Message *message, const char *order_no)
{
	return payorder_execute(&insert_callback, message->gateway,
							message->txn_id,
							payorder_event_name(message->event),
							message->reference, message->payment_txn,
							message->refund_no, amount_of(message),
							(int) message->amount_is_total,
							message->currency, message->occurred_at,
							message->source,
							payorder_store_body ? message->payload : NULL,
							body_digest(message),
							payorder_now(), order_no,
							message->headers) == 1;
}

static void
write_facts(Statement *statement, const Message *message)
{
	payorder_execute(statement, message->gateway, message->txn_id,
					 payorder_event_name(message->event), message->reference,
					 message->payment_txn, message->refund_no,
					 amount_of(message), (int) message->amount_is_total,
					 message->currency, message->occurred_at);
}

/* Fills in facts that were not known when the key row was written. */
void
payorder_callback_refill(const Message *message)
{
	write_facts(&refill_callback, message);
	payorder_execute(&refill_waiting, message->gateway, message->txn_id,
					 payorder_event_name(message->event), message->reference,
					 message->payment_txn, message->refund_no);
}

/* Replaces the facts of a key row by those of a better message. */
void
payorder_callback_restate(const Message *message)
{
	write_facts(&restate_callback, message);
}

/* Writes the verdict into the key row. */
void
payorder_callback_record(Decision *decision)
{
	const Message *message = &decision->message;

	payorder_execute(&record_verdict, message->gateway, message->txn_id,
					 payorder_event_name(message->event), decision->order_no,
					 decision->verdict, decision->detail, decision->error,
					 payorder_now(),
					 decision->is_single ? &decision->amount : NULL);
}

static bytea *
facts_digest(const Message *message)
{
	StringInfoData facts;
	const char *parts[6];

	parts[0] = message->reference;
	parts[1] = message->payment_txn;
	parts[2] = message->refund_no;
	parts[3] = message->has_amount ? psprintf(INT64_FORMAT, message->amount) :
		NULL;
	parts[4] = message->currency;
	parts[5] = message->amount_is_total ? "total" : NULL;
	initStringInfo(&facts);
	for (size_t i = 0; i < lengthof(parts); i++)
		appendStringInfo(&facts, "%d:%s,",
						 parts[i] ? (int) strlen(parts[i]) : -1,
						 parts[i] ? parts[i] : "");
	return payorder_sha256_of(facts.data, facts.len);
}

/* Keeps a message whose key was seen with other facts; false if kept before. */
bool
payorder_callback_conflict(const Message *message, const char *detail)
{
	return payorder_execute(&insert_conflict, message->gateway,
							message->txn_id,
							payorder_event_name(message->event),
							message->reference, message->payment_txn,
							message->refund_no, amount_of(message),
							(int) message->amount_is_total,
							message->currency, message->occurred_at,
							message->source, facts_digest(message), detail,
							payorder_store_body ? message->payload : NULL,
							body_digest(message), payorder_now()) == 1;
}

/* Puts a decision that is parked or deferred into the waiting list. */
void
payorder_waiting_write(const Decision *decision)
{
	const Message *message = &decision->message;

	payorder_execute(&write_waiting, message->gateway, message->txn_id,
					 payorder_event_name(message->event), decision->verdict,
					 decision->reason ? decision->reason : decision->detail,
					 message->reference, decision->order_no,
					 message->payment_txn, message->refund_no,
					 drain_rank(message->event), message->occurred_at,
					 payorder_now(), decision->next_at, decision->tries);
	payorder_wake_at(decision->next_at);
}

/* Has a deferred callback wait until the one before it is tried again. */
void
payorder_waiting_behind(const Waiting *waiting, TimestampTz next_at)
{
	payorder_execute(&behind_waiting, waiting->gateway, waiting->txn_id,
					 waiting->event, next_at);
	payorder_execute(&behind_callback, waiting->gateway, waiting->txn_id,
					 waiting->event);
}

void
payorder_waiting_delete(const Message *message)
{
	payorder_execute(&delete_waiting, message->gateway, message->txn_id,
					 payorder_event_name(message->event));
}

/* Says when to look at a waiting callback again. */
void
payorder_waiting_later(const Waiting *waiting, TimestampTz next_at, int tries)
{
	payorder_execute(&later_waiting, waiting->gateway, waiting->txn_id,
					 waiting->event, next_at, tries);
}

static Waiting *
read_waiting(Rows *rows, int *count)
{
	Waiting    *list = palloc0(sizeof(Waiting) * Max(rows->count, 1));

	*count = rows->count;
	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);

		list[i].gateway = payorder_read_text(&reader);
		list[i].txn_id = payorder_read_text(&reader);
		list[i].event = payorder_read_text(&reader);
		list[i].verdict = payorder_read_text(&reader);
		list[i].reason = payorder_read_text(&reader);
		list[i].reference = payorder_read_text(&reader);
		list[i].order_no = payorder_read_text(&reader);
		list[i].payment_txn = payorder_read_text(&reader);
		list[i].refund_no = payorder_read_text(&reader);
		list[i].drain_rank = payorder_read_number(&reader);
		list[i].occurred_at = payorder_read_time(&reader);
		list[i].arrival = payorder_read_number(&reader);
		list[i].arrived_at = payorder_read_time(&reader);
		list[i].next_at = payorder_read_time(&reader);
		list[i].tries = payorder_read_number(&reader);
	}
	return list;
}

static bool
is_any(Statement *statement, const char *first, const char *second)
{
	return payorder_query(statement, first, second)->count > 0;
}

/*
 * What waits for an order, in the order of draining: all of it, or only what
 * is deferred, may be applied now and was not set aside.
 */
Waiting *
payorder_waiting_of_order(const char *order_no, bool deferred_only, int most,
						  int *count)
{
	*count = 0;
	if (deferred_only && !is_any(&any_of_order, order_no, NULL))
		return NULL;
	return read_waiting(payorder_query(deferred_only ? &deferred_of_order :
									   &waiting_of_order, order_no, most),
						count);
}

/*
 * What is parked until a payment, refund (either may be NULL) or dispute is
 * known, or until its refunds have ended.
 */
Waiting *
payorder_waiting_for(const Message *message, const Payment *payment,
					 const Refund *refund, int *count)
{
	const char *gateway = payment ? payment->gateway : NULL;
	const char *payment_txn = payment ? payment->txn_id : NULL;
	const char *order_no = payment ? payment->order_no : NULL;
	const char *refund_no = refund ? refund->refund_no : NULL;
	const char *txn_id = message ? message->txn_id : NULL;

	*count = 0;
	if (!is_any(&any_of_order, order_no, NULL) &&
		!is_any(&any_for_payment, gateway, payment_txn) &&
		!is_any(&any_of_transaction, gateway, payment_txn) &&
		!is_any(&any_of_transaction, gateway, txn_id) &&
		!is_any(&any_for_refund, refund_no, NULL))
		return NULL;
	return read_waiting(payorder_query(&waiting_for_payment, gateway,
									   payment_txn, order_no, refund_no,
									   txn_id),
						count);
}

/* How often the worker tried one that raises; 0 for any other. */
int
payorder_waiting_tries(const Message *message)
{
	Rows	   *rows = payorder_query(&waiting_tries, message->gateway,
									  message->txn_id,
									  payorder_event_name(message->event));

	return rows->count == 0 ? 0 : rows->cells[0].number;
}

/* What sweep() should look at now, oldest arrival first. */
Waiting *
payorder_waiting_due(TimestampTz at, int most, int *count)
{
	return read_waiting(payorder_query(&waiting_due, at, most), count);
}

/* When the next waiting callback is to be looked at, NO_TIME: never. */
TimestampTz
payorder_callbacks_next(void)
{
	Rows	   *rows = payorder_query(&waiting_next, payorder_cluster(),
									  payorder_database());

	return rows->cells[0].isnull ? NO_TIME : rows->cells[0].time;
}

/* Whether a pay callback of this order waits, or is deferred. */
bool
payorder_callback_pay_waits(const char *order_no, bool deferred_only)
{
	return payorder_query(&pay_waits, order_no,
						  (int) deferred_only)->count > 0;
}

/* Makes an order's callbacks that were set aside after errors due; how many. */
int
payorder_callback_retry(const char *order_no)
{
	return payorder_execute(&retry_waiting, order_no);
}

/* Makes one callback that was set aside after errors due; false if none was. */
bool
payorder_callback_retry_one(const char *gateway, const char *txn_id,
							const char *event)
{
	return payorder_execute(&retry_one, gateway, txn_id, event) == 1;
}
