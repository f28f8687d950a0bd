/*-------------------------------------------------------------------------
 *
 * payment.c
 *		The ledger of pots: what was paid, and whose it is now.
 *
 * A CHECK keeps amount + overdrawn equal to the sum of the pots, so money can
 * only move.  Rows are locked after their order's row.  What a payment that
 * is the order's adds to the order's amounts follows from its pots: saving a
 * payment changes the order in memory by the difference, and order.c writes
 * it; no other place does that arithmetic.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"

#include "errors.h"
#include "json.h"
#include "payment.h"
#include "relation.h"
#include "timer.h"

#define PAYMENT_COLUMNS \
	"gateway, txn_id, event, order_no, payment_no, disposition, amount, currency," \
	" kept, review, owed, \"returning\", returned, disputed, undone, overdrawn," \
	" occurred_at, received_at, reversed_at"

static Statement find_payment = {
	.sql = "SELECT " PAYMENT_COLUMNS " FROM payorder.payments"
	" WHERE gateway = $1 AND txn_id = $2",
	.arguments = "tt"
};
static Statement lock_payment = {
	.sql = "SELECT " PAYMENT_COLUMNS " FROM payorder.payments"
	" WHERE gateway = $1 AND txn_id = $2 FOR UPDATE",
	.arguments = "tt"
};
static Statement lock_payments = {
	.sql = "SELECT " PAYMENT_COLUMNS " FROM payorder.payments"
	" WHERE order_no = $1 ORDER BY gateway, txn_id FOR UPDATE",
	.arguments = "t"
};
static Statement insert_payment = {
	.sql = "INSERT INTO payorder.payments (" PAYMENT_COLUMNS ")"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,"
	" $15, $16, $17, $18, $19) ON CONFLICT (gateway, txn_id) DO NOTHING",
	.arguments = "ttttttltllllllllzzz",
	.conflict_is_rare = true
};
static Statement update_payment = {
	.sql = "UPDATE payorder.payments SET order_no = $3, payment_no = $4,"
	" disposition = $5, kept = $6, review = $7, owed = $8, \"returning\" = $9,"
	" returned = $10, disputed = $11, undone = $12, overdrawn = $13,"
	" reversed_at = $14, amount = $15, currency = $16"
	" WHERE gateway = $1 AND txn_id = $2",
	.arguments = "tttttllllllllzlt"
};
static Statement pots_of_order = {
	.sql = "SELECT kept, review, owed, \"returning\", returned, disputed, undone,"
	" overdrawn FROM payorder.payments WHERE order_no = $1",
	.arguments = "t"
};

static const char *const dispositions[] = {"order", "surplus", "review"};

static Pots
read_pots(Reader *reader)
{
	Pots		pots;

	pots.kept = payorder_read_number(reader);
	pots.review = payorder_read_number(reader);
	pots.owed = payorder_read_number(reader);
	pots.returning = payorder_read_number(reader);
	pots.returned = payorder_read_number(reader);
	pots.disputed = payorder_read_number(reader);
	pots.undone = payorder_read_number(reader);
	pots.overdrawn = payorder_read_number(reader);
	return pots;
}

static void
read_payment(Reader *reader, Payment *payment)
{
	const char *disposition;

	payment->gateway = payorder_read_text(reader);
	payment->txn_id = payorder_read_text(reader);
	payment->event = payorder_read_text(reader);
	payment->order_no = payorder_read_text(reader);
	payment->payment_no = payorder_read_text(reader);
	disposition = payorder_read_text(reader);
	for (size_t i = 0; i < lengthof(dispositions); i++)
	{
		if (strcmp(disposition, dispositions[i]) == 0)
			payment->disposition = i;
	}
	payment->amount = payorder_read_number(reader);
	payment->currency = payorder_read_text(reader);
	payment->pots = read_pots(reader);
	payment->occurred_at = payorder_read_time(reader);
	payment->received_at = payorder_read_time(reader);
	payment->reversed_at = payorder_read_time(reader);
	payment->stored = payment->pots;
	payment->stored_disposition = payment->disposition;
}

static Payment *
read_payments(Rows *rows, int *count)
{
	Payment    *payments;

	*count = rows->count;
	payments = palloc0(sizeof(Payment) * Max(rows->count, 1));
	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);

		read_payment(&reader, &payments[i]);
	}
	return payments;
}

/* A payment to be, all of it in review until the caller says otherwise. */
Payment *
payorder_payment_new(const char *gateway, const char *txn_id,
					 const char *event, int64 amount, const char *currency)
{
	Payment    *payment = palloc0(sizeof(Payment));

	payment->gateway = gateway;
	payment->txn_id = txn_id;
	payment->event = event;
	payment->disposition = DISPOSITION_REVIEW;
	payment->amount = amount;
	payment->currency = currency;
	payment->pots.review = amount;
	payment->occurred_at = NO_TIME;
	payment->received_at = payorder_now();
	payment->reversed_at = NO_TIME;
	payment->is_new = true;
	payment->stored_disposition = DISPOSITION_REVIEW;
	return payment;
}

/* A payment as it is, without a lock; NULL if there is none. */
Payment *
payorder_payment_find(const char *gateway, const char *txn_id)
{
	int			count;
	Payment    *payment = read_payments(payorder_query(&find_payment, gateway,
													   txn_id), &count);

	return count == 0 ? NULL : payment;
}

/* Locks a payment and reads it; NULL if there is none. */
Payment *
payorder_payment_lock(const char *gateway, const char *txn_id)
{
	int			count;
	Payment    *payment = read_payments(payorder_query(&lock_payment, gateway,
													   txn_id), &count);

	return count == 0 ? NULL : payment;
}

/* A payment was locked without its order, which it had not got before. */
void
payorder_order_changed_meanwhile(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("payment has got an order meanwhile"),
			 errhint("Try again.")));
}

/* Locks and reads all payments of an order. */
Payment *
payorder_payments_lock(const char *order_no, int *count)
{
	return read_payments(payorder_query(&lock_payments, order_no), count);
}

/* Adds what a payment's pots mean for its order, or takes it away again. */
static void
contribute(Order *order, const Payment *payment, const Pots *pots, int sign)
{
	order->paid += sign * (payment->amount - pots->undone);
	order->refunding += sign * pots->returning;
	order->refunded += sign * pots->returned;
	order->disputed += sign * pots->disputed;
	order->overdrawn += sign * pots->overdrawn;
	order->changed = true;
}

/* The differences between two states of the pots, as JSON; NULL: none. */
static char *
moves(const Pots *from, const Pots *to)
{
	int64		kept = to->kept - from->kept;
	int64		review = to->review - from->review;
	int64		owed = to->owed - from->owed;
	int64		returning = to->returning - from->returning;
	int64		returned = to->returned - from->returned;
	int64		disputed = to->disputed - from->disputed;
	int64		undone = to->undone - from->undone;
	int64		overdrawn = to->overdrawn - from->overdrawn;

	if (memcmp(from, to, sizeof(Pots)) == 0)
		return NULL;
	return payorder_json_object("LLLLLLLL",
								"kept", kept ? &kept : NULL,
								"review", review ? &review : NULL,
								"owed", owed ? &owed : NULL,
								"returning", returning ? &returning : NULL,
								"returned", returned ? &returned : NULL,
								"disputed", disputed ? &disputed : NULL,
								"undone", undone ? &undone : NULL,
								"overdrawn", overdrawn ? &overdrawn : NULL);
}

/* Somebody else may just have written it, under its other name. */
static void
write_new(const Payment *payment)
{
	const Pots *pots = &payment->pots;

	if (payorder_execute(&insert_payment, payment->gateway, payment->txn_id,
						 payment->event, payment->order_no,
						 payment->payment_no,
						 dispositions[payment->disposition], payment->amount,
						 payment->currency, pots->kept, pots->review,
						 pots->owed, pots->returning, pots->returned,
						 pots->disputed, pots->undone, pots->overdrawn,
						 payment->occurred_at, payment->received_at,
						 payment->reversed_at) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("payment came at the same time under another name"),
				 errhint("Try again.")));
}

static void
write_changed(const Payment *payment)
{
	const Pots *pots = &payment->pots;

	if (payorder_execute(&update_payment, payment->gateway, payment->txn_id,
						 payment->order_no, payment->payment_no,
						 dispositions[payment->disposition], pots->kept,
						 pots->review, pots->owed, pots->returning,
						 pots->returned, pots->disputed, pots->undone,
						 pots->overdrawn, payment->reversed_at,
						 payment->amount, payment->currency) != 1)
		elog(ERROR, "could not update payment");
}

/*
 * Writes a payment and adds what it changes to its order (NULL: it has none);
 * returns how money moved between the pots as JSON, NULL if none did.
 */
char *
payorder_payment_save(Payment *payment, Order *order)
{
	static const Pots nothing = {0};
	char	   *moved = moves(payment->is_new ? &nothing : &payment->stored,
							  &payment->pots);

	if (order != NULL)
	{
		if (payment->disposition == DISPOSITION_ORDER &&
			payment->pots.undone > payment->stored.undone)
			payorder_order_freeze(order);
		if (!payment->is_new &&
			payment->stored_disposition == DISPOSITION_ORDER)
			contribute(order, payment, &payment->stored, -1);
		if (payment->disposition == DISPOSITION_ORDER)
			contribute(order, payment, &payment->pots, +1);
	}
	if (payment->is_new)
		write_new(payment);
	else
		write_changed(payment);
	payment->is_new = false;
	payment->stored = payment->pots;
	payment->stored_disposition = payment->disposition;
	return moved;
}

/* Notes an event about a payment, in its order's chain if it has an order. */
void
payorder_payment_event(const Payment *payment, Order *order,
					   const char *event, const Cause *cause)
{
	About		about = {payment->gateway, payment->txn_id};
	Event		record = {0};

	if (order != NULL)
	{
		payorder_order_event(order, event, &about, cause);
		return;
	}
	record.event = event;
	record.gateway = payment->gateway;
	record.txn_id = payment->txn_id;
	record.cause = *cause;
	record.at = payorder_now();
	payorder_event_append_payment(payment->received_at, &record);
}

/* Adds as far as a bigint goes. */
static void
add(int64 *sum, int64 amount)
{
	if (pg_add_s64_overflow(*sum, amount, sum))
		*sum = PG_INT64_MAX;
}

/* Sums over all payments of an order, whatever their disposition. */
OrderPots
payorder_payments_sum(const char *order_no)
{
	OrderPots	result = {0};
	Rows	   *rows = payorder_query(&pots_of_order, order_no);

	result.payments = rows->count;
	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);
		Pots		pots = read_pots(&reader);

		add(&result.sum.kept, pots.kept);
		add(&result.sum.review, pots.review);
		add(&result.sum.owed, pots.owed);
		add(&result.sum.returning, pots.returning);
		add(&result.sum.returned, pots.returned);
		add(&result.sum.disputed, pots.disputed);
		add(&result.sum.undone, pots.undone);
		add(&result.sum.overdrawn, pots.overdrawn);
	}
	return result;
}

/* Nothing of what was paid is left, and some of the order's went back. */
static bool
nothing_left(Order *order)
{
	OrderPots	pots = payorder_payments_sum(order->order_no);

	return pots.sum.kept == 0 && pots.sum.review == 0 && pots.sum.owed == 0 &&
		pots.sum.returning == 0 && pots.sum.disputed == 0 &&
		order->refunded > 0;
}

void
payorder_payment_register(void)
{
	payorder_register_guard("nothing_left", nothing_left);
}
