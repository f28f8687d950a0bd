/*-------------------------------------------------------------------------
 *
 * refund_ask.c
 *		A refund is asked for: its number, its reservation, its task.
 *
 * A refund reserves its amount of one payment under the locks of order and
 * payment, and writes its row and its task in the same step.  Its number is
 * its idempotency key towards the gateway for ever.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "access/xlog.h"

#include "crypto.h"
#include "errors.h"
#include "json.h"
#include "refund.h"
#include "relation.h"
#include "task.h"
#include "timer.h"

#define KERNEL_NUMBER_DIGITS	31

static Statement drain_parked = {
	.sql = "INSERT INTO payorder.timers (due_at, order_no, kind)"
	" SELECT $3, $2, 'drain' FROM payorder.callbacks_waiting"
	" WHERE refund_no = $1 LIMIT 1",
	.arguments = "ttz"
};
static Statement insert_salt = {
	.sql = "INSERT INTO payorder.installation"
	" (salt, system_identifier, database_oid)"
	" VALUES ($1, $2, (SELECT d.oid FROM pg_catalog.pg_database AS d"
	" WHERE d.datname = pg_catalog.current_database()))"
	" ON CONFLICT (only_row) DO NOTHING",
	.arguments = "yl"
};
static Statement get_salt = {
	.sql = "SELECT salt FROM payorder.installation",
	.arguments = ""
};
static bytea *
salt(void)
{
	Rows	   *rows = payorder_query(&get_salt);
	bytea	   *fresh;

	if (rows->count > 0)
		return rows->cells[0].bytes;
	fresh = palloc(VARHDRSZ + SHA256_BYTES);
	SET_VARSIZE(fresh, VARHDRSZ + SHA256_BYTES);
	if (!pg_strong_random(VARDATA(fresh), SHA256_BYTES))
		elog(ERROR, "could not generate random values");
	payorder_execute(&insert_salt, fresh, (int64) GetSystemIdentifier());
	rows = payorder_query(&get_salt);
	if (rows->count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access to payorder.installation"),
				 errhint("Retry the transaction.")));
	return rows->cells[0].bytes;
}

/*
 * The number of a refund that the kernel makes: the same again if the same
 * refund is made again after a rollback or a crash.
 */
char *
payorder_refund_kernel_number(const Payment *payment, const char *cause)
{
	StringInfoData text;
	uint8		digest[SHA256_BYTES];
	bytea	   *secret = salt();
	int			count;
	int			before = 0;
	Refund	   *refunds = payorder_refunds_lock(payment, &count);

	for (int i = 0; i < count; i++)
	{
		if (strcmp(refunds[i].cause, cause) == 0)
			before++;
	}
	initStringInfo(&text);
	appendBinaryStringInfo(&text, VARDATA(secret), SHA256_BYTES);
	appendStringInfo(&text, "%zu:%s,%zu:%s,%s,%d",
					 strlen(payment->gateway), payment->gateway,
					 strlen(payment->txn_id), payment->txn_id, cause, before);
	payorder_sha256(text.data, text.len, digest);
	return psprintf("R%.*s", KERNEL_NUMBER_DIGITS,
					payorder_hex(digest, SHA256_BYTES));
}

/* A refund to be, of all or part of a payment. */
Refund *
payorder_refund_new(const Payment *payment, const char *refund_no, int64 amount,
		   const char *cause, RefundState state)
{
	Refund	   *refund = palloc0(sizeof(Refund));

	refund->refund_no = refund_no;
	refund->gateway = payment->gateway;
	refund->txn_id = payment->txn_id;
	refund->order_no = payment->order_no;
	refund->amount = amount;
	refund->currency = payment->currency;
	refund->cause = cause;
	refund->state = state;
	refund->actor = "payorder";
	refund->requested_at = payorder_now();
	refund->asked_at = refund->first_tried_at = NO_TIME;
	refund->succeeded_at = refund->ended_at = NO_TIME;
	return refund;
}

/* Has a worker ask the gateway for a refund, by its number. */
int64
payorder_refund_send(const Payment *payment, const Refund *refund)
{
	TaskRequest task = {.not_after = NO_TIME};

	task.kind = "refund";
	task.order_no = refund->order_no;
	task.gateway = refund->gateway;
	task.idempotency_key = refund->refund_no;
	task.run_at = payorder_now();
	task.payload = payorder_json_object("tttltlt",
										"refund_no", refund->refund_no,
										"txn_id", refund->txn_id,
										"payment_no", payment->payment_no,
										"amount", refund->amount,
										"currency", refund->currency,
										"payment_amount", payment->amount,
										"reason", refund->reason);
	return payorder_task_enqueue(&task);
}

/* Notes what became of a refund that is asked for. */
void
payorder_refund_note(Order *order, Payment *payment, const Refund *refund,
					 const char *event, const char *moved)
{
	Cause		cause = {.source = "kernel"};

	cause.actor = refund->actor;
	cause.reason = refund->reason;
	cause.payload = payorder_json_object("tltj",
										 "refund_no", refund->refund_no,
										 "amount", refund->amount,
										 "cause", refund->cause,
										 "moved", moved);
	payorder_payment_event(payment, order, event, &cause);
}

static void
insert(const Refund *refund)
{
	if (!payorder_refund_insert(refund))
		ereport(ERROR,
				(errcode(ERRCODE_PO_KEY_REUSED),
				 errmsg("refund_no \"%s\" was used for another refund",
						refund->refund_no),
				 errhint("Give each refund a number of its own.")));
}

static void
send(const Payment *payment, Refund *refund)
{
	refund->state = REFUND_ASKED;
	refund->asked_at = payorder_now();
	refund->task_id = payorder_refund_send(payment, refund);
}

static void
sent(Order *order, Payment *payment, const Refund *refund, const char *moved)
{
	payorder_refund_note(order, payment, refund, "refund_asked", moved);
	if (refund->order_no != NULL)
		payorder_execute(&drain_parked, refund->refund_no, refund->order_no,
						 payorder_now());
	/* Without money that was owed no review of the payment is over. */
	if (refund->from_kept < refund->amount)
		payorder_payment_watch(order, payment);
}

/*
 * Reserves a new refund's amount and has a worker ask the gateway for it.
 */
void
payorder_refund_ask(Order *order, Payment *payment, Refund *refund,
					int64 from_owed, int64 from_kept)
{
	char	   *moved;

	payment->pots.owed -= from_owed;
	payment->pots.kept -= from_kept;
	payment->pots.returning += refund->amount;
	refund->from_owed = from_owed;
	refund->from_kept = from_kept;
	send(payment, refund);
	moved = payorder_payment_save(payment, order);
	insert(refund);
	sent(order, payment, refund, moved);
}

/*
 * Holds a new refund for a person's decision, for a cause: its amount is owed
 * to the buyer, and is not asked for yet.
 */
void
payorder_refund_hold(Order *order, Payment *payment, Refund *refund,
					 int64 from_owed, int64 from_kept, const char *why)
{
	char	   *moved;

	payment->pots.kept -= from_kept;
	payment->pots.owed += from_kept;
	refund->from_owed = from_owed;
	refund->from_kept = from_kept;
	refund->state = REFUND_HELD;
	moved = payorder_payment_save(payment, order);
	insert(refund);
	payorder_refund_note(order, payment, refund, "refund_held", moved);
	payorder_refund_doubt(order, refund, why);
	payorder_payment_watch(order, payment);
}

/* A held refund may go: the gateway has confirmed its payment, or a person. */
void
payorder_refund_release(Order *order, Payment *payment, Refund *refund)
{
	char	   *moved;

	if (refund->task_id != 0)
		payorder_task_cancel_needless(refund->task_id);
	payment->pots.owed -= refund->amount;
	payment->pots.returning += refund->amount;
	send(payment, refund);
	moved = payorder_payment_save(payment, order);
	payorder_refund_save(refund);
	payorder_refund_end_reviews(refund);
	sent(order, payment, refund, moved);
}
