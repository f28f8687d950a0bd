/*-------------------------------------------------------------------------
 *
 * refund_store.c
 *		The rows of refunds.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "refund.h"
#include "relation.h"

#define REFUND_COLUMNS \
	"refund_no, gateway, txn_id, order_no, amount, currency, cause, state," \
	" from_kept, from_owed, from_review, kept_again, gateway_refund_id," \
	" task_id, reason," \
	" actor, requested_at, asked_at, first_tried_at, succeeded_at, ended_at"

static Statement find_refund = {
	.sql = "SELECT " REFUND_COLUMNS " FROM payorder.refunds WHERE refund_no = $1",
	.arguments = "t"
};
static Statement find_by_gateway_id = {
	.sql = "SELECT " REFUND_COLUMNS " FROM payorder.refunds"
	" WHERE gateway = $1 AND gateway_refund_id = $2"
	" ORDER BY requested_at LIMIT 1",
	.arguments = "tt"
};
static Statement lock_refund = {
	.sql = "SELECT " REFUND_COLUMNS " FROM payorder.refunds WHERE refund_no = $1"
	" FOR UPDATE",
	.arguments = "t"
};
static Statement lock_refunds = {
	.sql = "SELECT " REFUND_COLUMNS " FROM payorder.refunds"
	" WHERE gateway = $1 AND txn_id = $2"
	" ORDER BY requested_at DESC, refund_no DESC FOR UPDATE",
	.arguments = "tt"
};
static Statement insert_refund = {
	.sql = "INSERT INTO payorder.refunds (" REFUND_COLUMNS ")"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,"
	" $15, $16, $17, $18, $19, $20, $21) ON CONFLICT (refund_no) DO NOTHING",
	.arguments = "ttttltttlllltLttzzzzz"
};
static Statement update_refund = {
	.sql = "UPDATE payorder.refunds SET amount = $2, state = $3, from_kept = $4,"
	" from_owed = $5, from_review = $6, gateway_refund_id = $7, task_id = $8,"
	" asked_at = $9, first_tried_at = $10, succeeded_at = $11, ended_at = $12,"
	" kept_again = $13 WHERE refund_no = $1",
	.arguments = "tltllltLzzzzl"
};
static Statement held_amount = {
	.sql = "SELECT coalesce(pg_catalog.sum(amount), 0)::bigint FROM payorder.refunds"
	" WHERE gateway = $1 AND txn_id = $2 AND state = 'held'",
	.arguments = "tt"
};
static Statement open_refunds = {
	.sql = "SELECT " REFUND_COLUMNS " FROM payorder.refunds WHERE order_no = $1"
	" AND state IN ('asked', 'in_doubt', 'stuck') ORDER BY refund_no",
	.arguments = "t"
};

static Statement touched_refunds = {
	.sql = "SELECT " REFUND_COLUMNS " FROM payorder.refunds"
	" WHERE ($2 IS NULL OR gateway = $2) AND cause <> 'external'"
	" AND (state IN ('asked', 'in_doubt', 'stuck')"
	" OR asked_at >= $1 OR ended_at >= $1) AND asked_at IS NOT NULL"
	" ORDER BY requested_at, refund_no",
	.arguments = "zt"
};

static const char *const states[] = {
	"held", "asked", "in_doubt", "stuck",
	"succeeded", "failed", "reversed", "cancelled"
};

static Refund *
read_refunds(Rows *rows, int *count)
{
	Refund	   *refunds = palloc0(sizeof(Refund) * Max(rows->count, 1));

	*count = rows->count;
	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);
		Refund	   *refund = &refunds[i];
		const char *state;

		refund->refund_no = payorder_read_text(&reader);
		refund->gateway = payorder_read_text(&reader);
		refund->txn_id = payorder_read_text(&reader);
		refund->order_no = payorder_read_text(&reader);
		refund->amount = payorder_read_number(&reader);
		refund->currency = payorder_read_text(&reader);
		refund->cause = payorder_read_text(&reader);
		state = payorder_read_text(&reader);
		for (size_t j = 0; j < lengthof(states); j++)
		{
			if (strcmp(state, states[j]) == 0)
				refund->state = j;
		}
		refund->from_kept = payorder_read_number(&reader);
		refund->from_owed = payorder_read_number(&reader);
		refund->from_review = payorder_read_number(&reader);
		refund->kept_again = payorder_read_number(&reader);
		refund->gateway_refund_id = payorder_read_text(&reader);
		refund->task_id = payorder_read_number(&reader);
		refund->reason = payorder_read_text(&reader);
		refund->actor = payorder_read_text(&reader);
		refund->requested_at = payorder_read_time(&reader);
		refund->asked_at = payorder_read_time(&reader);
		refund->first_tried_at = payorder_read_time(&reader);
		refund->succeeded_at = payorder_read_time(&reader);
		refund->ended_at = payorder_read_time(&reader);
	}
	return refunds;
}

static Refund *
one_refund(Rows *rows)
{
	int			count;
	Refund	   *refund = read_refunds(rows, &count);

	return count == 0 ? NULL : refund;
}

/* The refund with this number, without a lock; NULL if there is none. */
Refund *
payorder_refund_find(const char *refund_no)
{
	return one_refund(payorder_query(&find_refund, refund_no));
}

/* The refund to which a gateway gave this id, NULL if there is none. */
Refund *
payorder_refund_by_gateway_id(const char *gateway,
							  const char *gateway_refund_id)
{
	return one_refund(payorder_query(&find_by_gateway_id, gateway,
									 gateway_refund_id));
}

/* Locks a refund and reads it; NULL if there is none. */
Refund *
payorder_refund_lock(const char *refund_no)
{
	return one_refund(payorder_query(&lock_refund, refund_no));
}

/* Locks and reads all refunds of a payment, newest first. */
Refund *
payorder_refunds_lock(const Payment *payment, int *count)
{
	return read_refunds(payorder_query(&lock_refunds, payment->gateway,
									   payment->txn_id), count);
}

/* Writes a new refund; false if its number is taken. */
bool
payorder_refund_insert(const Refund *refund)
{
	return payorder_execute(&insert_refund, refund->refund_no,
							refund->gateway, refund->txn_id, refund->order_no,
							refund->amount, refund->currency, refund->cause,
							states[refund->state], refund->from_kept,
							refund->from_owed, refund->from_review,
							refund->kept_again, refund->gateway_refund_id,
							refund->task_id ? &refund->task_id : NULL,
							refund->reason, refund->actor,
							refund->requested_at, refund->asked_at,
							refund->first_tried_at, refund->succeeded_at,
							refund->ended_at) == 1;
}

void
payorder_refund_save(const Refund *refund)
{
	if (payorder_execute(&update_refund, refund->refund_no, refund->amount,
						 states[refund->state], refund->from_kept,
						 refund->from_owed, refund->from_review,
						 refund->gateway_refund_id,
						 refund->task_id ? &refund->task_id : NULL,
						 refund->asked_at, refund->first_tried_at,
						 refund->succeeded_at, refund->ended_at,
						 refund->kept_again) != 1)
		elog(ERROR, "could not update refund \"%s\"", refund->refund_no);
}

bool
payorder_refund_is_open(const Refund *refund)
{
	return refund->state == REFUND_ASKED ||
		refund->state == REFUND_IN_DOUBT ||
		refund->state == REFUND_STUCK;
}

const char *
payorder_refund_state_name(RefundState state)
{
	return states[state];
}

/* Whether a number is one that a gateway knows: external ones have a colon. */
bool
payorder_refund_is_ours(const char *refund_no)
{
	return strchr(refund_no, ':') == NULL;
}

/* What a payment owes beyond what held returns will take. */
int64
payorder_refund_free_owed(const Payment *payment)
{
	Rows	   *rows = payorder_query(&held_amount, payment->gateway,
									  payment->txn_id);

	return Max(payment->pots.owed - rows->cells[0].number, 0);
}


/* The open refunds of an order, without a lock. */
Refund *
payorder_refunds_open(const char *order_no, int *count)
{
	return read_refunds(payorder_query(&open_refunds, order_no), count);
}

/* Refunds of ours that are open, or were asked for or ended since. */
Refund *
payorder_refunds_touched(TimestampTz since, const char *gateway, int *count)
{
	return read_refunds(payorder_query(&touched_refunds, since, gateway),
						count);
}
