/*-------------------------------------------------------------------------
 *
 * callback_batch.c
 *		ingest_batch: many messages in one call, each with its own verdict.
 *
 * All orders that the messages name are locked first, in the order of their
 * numbers, then the messages are taken order by order, those of one order as
 * they came; last, by their keys, those whose order is not known, since another
 * message of the batch may tell it.  Two batches that share orders or keys meet
 * at the first of them, whatever the order of their messages.  The whole is
 * one subtransaction; when a message raises, what was done before it is done
 * again, the message by itself as ingest() does, and then the rest.
 *
 * What is found for the order of locks is not looked for again: a gateway's
 * settings, that a key is not there (its insertion shows if it has come since),
 * and what a message names, which is found anew under the lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "callback_decision.h"
#include "errors.h"
#include "guc.h"
#include "json.h"
#include "order.h"
#include "relation.h"

#define MOST_MESSAGES	10000
#define BATCH_COLUMNS	(ANSWER_COLUMNS + 3)

PG_FUNCTION_INFO_V1(payorder_ingest_batch);

/* One message of a batch. */
typedef struct Entry
{
	int			number;			/* its place in the batch, from 1 */
	const JsonNode *node;
	Message		message;
	Decision	prepared;		/* what was found without a lock */
	const char *order_no;		/* to be locked, NULL: none */
	Answer		answer;
	ErrorData  *error;			/* it has none, for this reason */
} Entry;

typedef struct Batch
{
	Entry	  **entries;			/* sorted */
	int			count;
	int			from;			/* these are to be taken */
	int			to;
	int			at;				/* this one is being read, or taken */
	Gateway    *gateway;		/* of the message before */
	MemoryContext outer;
} Batch;

static void
refuse(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("message has a wrong form"),
			 errdetail("%s", detail),
			 errhint("Its members are named as the arguments of ingest().")));
}

/* ---- reading ---- */

static void
check_members(const JsonNode *object)
{
	static const char *const members[] = {
		"gateway", "txn_id", "event", "order_no", "amount", "currency",
		"occurred_at", "payload", "source", "payment_txn", "refund_no",
		"amount_is_total"
	};

	if (object->kind != JSON_OBJECT)
		refuse("A message must be an object.");
	for (const JsonNode *node = object->first; node != NULL; node = node->next)
	{
		bool		known = false;

		for (size_t i = 0; i < lengthof(members); i++)
			known |= strcmp(node->name, members[i]) == 0;
		if (!known)
			refuse(psprintf("It has no member \"%s\".",
							payorder_shown(node->name)));
	}
}

/* Unlike a gateway's, a caller's amount that is no bigint is a mistake. */
static void
check_amount(const JsonNode *object, const Message *m)
{
	JsonNode   *amount = payorder_json_member(object, "amount");

	if (amount != NULL && amount->kind != JSON_NULL && !m->has_amount)
		refuse("Its amount must be a whole number of minor units.");
}

static void
prepare(Batch *batch, Entry *entry)
{
	Decision   *d = &entry->prepared;

	memset(d, 0, sizeof(Decision));
	d->message = entry->message;
	entry->order_no = payorder_callback_prepare(d, batch->gateway);
	batch->gateway = d->gateway;
}

static void
read_entry(void *argument)
{
	Batch	   *batch = argument;
	Entry	   *entry = batch->entries[batch->at];
	const char *gateway;
	const char *source;

	check_members(entry->node);
	gateway = payorder_message_text(entry->node, "gateway", refuse);
	source = payorder_message_text(entry->node, "source", refuse);
	if (gateway == NULL)
		refuse("Each message must have a gateway.");
	entry->message = payorder_message_read(entry->node, refuse);
	check_amount(entry->node, &entry->message);
	entry->message.gateway = gateway;
	entry->message.source = source != NULL ? source : "callback";
	payorder_check_source(entry->message.source, gateway);
	prepare(batch, entry);
}

static void
read_entries(void *argument)
{
	Batch	   *batch = argument;

	for (batch->at = 0; batch->at < batch->count; batch->at++)
		read_entry(batch);
}

/* ---- the order of locks ---- */

static int
compare_texts(const char *left, const char *right)
{
	if (left == NULL || right == NULL)
		return (left == NULL) - (right == NULL);
	return strcmp(left, right);
}

static int
compare_entries(const void *left, const void *right)
{
	const Entry *a = *(Entry *const *) left;
	const Entry *b = *(Entry *const *) right;
	int			result = compare_texts(a->order_no, b->order_no);

	if (a->error != NULL || b->error != NULL)
		return (a->error == NULL) - (b->error == NULL);
	if (result == 0 && a->order_no == NULL)
	{
		result = strcmp(a->message.gateway, b->message.gateway);
		if (result == 0)
			result = strcmp(a->message.txn_id, b->message.txn_id);
	}
	return result != 0 ? result : a->number - b->number;
}

/*
 * Locks the orders.  One that is busy for longer than payorder.lock_wait ends
 * this; the messages of what is not locked then wait for it one by one.
 */
static void
lock_orders(void *argument)
{
	Batch	   *batch = argument;
	const char *last = NULL;

	for (int i = 0; i < batch->count; i++)
	{
		const char *order_no = batch->entries[i]->order_no;

		if (order_no != NULL && (last == NULL || strcmp(order_no, last) != 0))
			payorder_order_lock(order_no);
		last = order_no;
	}
}

/* Some messages, and room for the orders that they name. */
typedef struct Named
{
	Message	   *const *messages;
	int			count;
	const char **order_nos;
} Named;

static int
compare_orders(const void *left, const void *right)
{
	return compare_texts(*(const char *const *) left,
						 *(const char *const *) right);
}

static void
lock_named(void *argument)
{
	Named	   *named = argument;
	Gateway    *gateway = NULL;

	for (int i = 0; i < named->count; i++)
	{
		Decision	d = {.message = *named->messages[i]};

		named->order_nos[i] = payorder_callback_prepare(&d, gateway);
		gateway = d.gateway;
	}
	qsort(named->order_nos, named->count, sizeof(char *), compare_orders);
	for (int i = 0; i < named->count && named->order_nos[i] != NULL; i++)
	{
		if (i == 0 || compare_orders(&named->order_nos[i - 1],
									 &named->order_nos[i]) != 0)
			payorder_order_lock(named->order_nos[i]);
	}
}

/*
 * Locks the orders of messages that are about to be taken in their own order,
 * so that others who do so meet at the first of them.  Where one is busy for
 * longer than payorder.lock_wait none is locked, and each message waits for
 * itself.
 */
void
payorder_callback_lock_orders(Message *const *messages, int count)
{
	Named		named = {messages, count, palloc(sizeof(char *) * Max(count, 1))};

	(void) payorder_isolated(lock_named, &named);
}

/* ---- taking ---- */

static char *
kept(const char *text)
{
	return text == NULL ? NULL : pstrdup(text);
}

static void
keep_answer(Batch *batch, Entry *entry, const Answer *answer)
{
	MemoryContext row = MemoryContextSwitchTo(batch->outer);

	entry->answer = *answer;
	entry->answer.verdict = kept(answer->verdict);
	entry->answer.first_verdict = kept(answer->first_verdict);
	entry->answer.order_no = kept(answer->order_no);
	entry->answer.state = kept(answer->state);
	entry->answer.detail = kept(answer->detail);
	MemoryContextSwitchTo(row);
}

static void
take_entries(void *argument)
{
	Batch	   *batch = argument;
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext,
											  "payorder message",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(row);

	for (batch->at = batch->from; batch->at < batch->to; batch->at++)
	{
		Entry	   *entry = batch->entries[batch->at];

		if (entry->error != NULL)
			continue;
		keep_answer(batch, entry,
					payorder_callback_ingest_prepared(&entry->prepared));
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(row);
}

static void
take_alone(void *argument)
{
	Batch	   *batch = argument;
	Entry	   *entry = batch->entries[batch->at];

	keep_answer(batch, entry, payorder_callback_ingest(&entry->message));
}

/* Takes all, around those that raise. */
static void
take_all(Batch *batch)
{
	int			raised;

	for (batch->from = 0; batch->from < batch->count; batch->from = raised + 1)
	{
		batch->to = batch->count;
		if (payorder_isolated(take_entries, batch) == NULL)
			return;
		raised = batch->at;
		batch->to = raised;
		/* What went well goes well again, unless others have come between. */
		while (batch->from < batch->to &&
			   payorder_isolated(take_entries, batch) != NULL)
		{
			raised = batch->at;
			batch->to = raised;
		}
		batch->at = raised;
		batch->entries[raised]->error = payorder_isolated(take_alone, batch);
	}
}

/* ---- the call ---- */

static void
put_entry(ReturnSetInfo *output, const Entry *entry)
{
	Datum		values[BATCH_COLUMNS] = {0};
	bool		nulls[BATCH_COLUMNS];

	memset(nulls, true, sizeof(nulls));
	values[0] = Int32GetDatum(entry->number);
	nulls[0] = false;
	if (entry->error == NULL)
		payorder_answer_values(&entry->answer, values + 1, nulls + 1);
	else
	{
		values[BATCH_COLUMNS - 2] =
			CStringGetTextDatum(unpack_sql_state(entry->error->sqlerrcode));
		values[BATCH_COLUMNS - 1] =
			CStringGetTextDatum(entry->error->detail == NULL ? entry->error->message :
								psprintf("%s: %s", entry->error->message,
										 entry->error->detail));
		nulls[BATCH_COLUMNS - 2] = nulls[BATCH_COLUMNS - 1] = false;
	}
	tuplestore_putvalues(output->setResult, output->setDesc, values, nulls);
}

static Entry *
entries_of(const JsonNode *list, int *count)
{
	Entry	   *entries;
	int			i = 0;

	if (list->kind != JSON_ARRAY)
		refuse("The messages must be an array.");
	*count = 0;
	for (const JsonNode *node = list->first; node != NULL; node = node->next)
		(*count)++;
	if (*count > MOST_MESSAGES)
		refuse(psprintf("A batch has at most %d messages.", MOST_MESSAGES));
	entries = palloc0(sizeof(Entry) * Max(*count, 1));
	for (const JsonNode *node = list->first; node != NULL; node = node->next)
	{
		entries[i].node = node;
		entries[i].number = i + 1;
		i++;
	}
	return entries;
}

static void
take_batch(void *argument)
{
	Batch	   *batch = argument;

	if (payorder_isolated(read_entries, batch) != NULL)
	{
		for (batch->at = 0; batch->at < batch->count; batch->at++)
			batch->entries[batch->at]->error = payorder_isolated(read_entry,
																 batch);
	}
	qsort(batch->entries, batch->count, sizeof(Entry *), compare_entries);
	payorder_isolated(lock_orders, batch);
	take_all(batch);
}

Datum
payorder_ingest_batch(PG_FUNCTION_ARGS)
{
	Batch		batch = {0};
	Entry	   *entries;

	payorder_prevent_read_only("ingest_batch()");
	payorder_require_sync();
	InitMaterializedSRF(fcinfo, 0);
	entries = entries_of(payorder_json_parse(payorder_required_text(fcinfo, 0, "messages"),
										 ERRCODE_INVALID_PARAMETER_VALUE,
										 "list of messages"),
					 &batch.count);
	batch.outer = CurrentMemoryContext;
	batch.entries = palloc(sizeof(Entry *) * Max(batch.count, 1));
	for (int i = 0; i < batch.count; i++)
		batch.entries[i] = &entries[i];
	payorder_keep_open(take_batch, &batch);
	for (int i = 0; i < batch.count; i++)
		put_entry((ReturnSetInfo *) fcinfo->resultinfo, &entries[i]);
	return (Datum) 0;
}
