/*-------------------------------------------------------------------------
 *
 * refund_limits.c
 *		How much may go back at machine speed, and by whom.
 *
 * One mistake in a mapping or a script must not refund everybody.  Limits are
 * rows for a gateway, a machine, both or all; the strictest of those that fit
 * holds.  What may go back per hour is counted in one row per gateway and
 * currency, under its lock; what came in during the day before is summed once
 * when an hour begins.
 *
 * Locks: the hour's row last, after order, payment and refunds.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "errors.h"
#include "refund_limits.h"
#include "relation.h"
#include "timer.h"

static Statement get_limits = {
	.sql = "SELECT pg_catalog.count(*), pg_catalog.min(max_age),"
	" pg_catalog.min(max_count)::bigint, pg_catalog.max(smallest_amount),"
	" pg_catalog.min(share_per_hour)::text,"
	" pg_catalog.min(second_person_above)"
	" FROM payorder.refund_limits"
	" WHERE gateway IN ('', $1) AND machine IN ('', $2)",
	.arguments = "tt"
};
static Statement begin_hour = {
	.sql = "INSERT INTO payorder.refund_hours"
	" (gateway, currency, hour_began_at, received, asked)"
	" VALUES ($1, $2, '-infinity', 0, 0)"
	" ON CONFLICT (gateway, currency) DO NOTHING",
	.arguments = "tt"
};
static Statement count_refund = {
	.sql = "UPDATE payorder.refund_hours AS h SET hour_began_at = n.began,"
	" received = n.received, asked = n.asked + $4"
	" FROM (SELECT CASE WHEN fresh THEN $3 ELSE hour_began_at END AS began,"
	" CASE WHEN fresh THEN 0 ELSE asked END AS asked,"
	" CASE WHEN fresh THEN coalesce((SELECT pg_catalog.sum(p.amount)"
	" FROM payorder.payments AS p WHERE p.gateway = $1 AND p.currency = $2"
	" AND (p.received_at AT TIME ZONE 'UTC')::date"
	" BETWEEN ($3 AT TIME ZONE 'UTC')::date - 1"
	" AND ($3 AT TIME ZONE 'UTC')::date"
	" AND p.received_at > $3 - '24 hours'::interval"
	" AND p.received_at <= $3), 0) ELSE received END AS received"
	" FROM (SELECT *, hour_began_at <= $3 - '1 hour'::interval AS fresh"
	" FROM payorder.refund_hours WHERE gateway = $1 AND currency = $2"
	" FOR UPDATE) AS l) AS n"
	" WHERE h.gateway = $1 AND h.currency = $2"
	" AND n.asked + $4 <= $5::numeric * n.received",
	.arguments = "ttzlt"
};
static Statement lock_first = {
	.sql = "SELECT decision, actor FROM payorder.first_decisions"
	" WHERE subject = $1 FOR UPDATE",
	.arguments = "t"
};
static Statement write_first = {
	.sql = "INSERT INTO payorder.first_decisions"
	" (subject, decision, actor, reason, decided_at)"
	" VALUES ($1, $2, $3, $4, $5) ON CONFLICT (subject) DO UPDATE"
	" SET decision = excluded.decision, actor = excluded.actor,"
	" reason = excluded.reason, decided_at = excluded.decided_at",
	.arguments = "ttttz"
};
static Statement delete_first = {
	.sql = "DELETE FROM payorder.first_decisions WHERE subject = $1",
	.arguments = "t"
};

/* The limits for a gateway's payments of an order (NULL: it has none). */
RefundLimits
payorder_refund_limits(const char *gateway, const Order *order)
{
	RefundLimits limits = {0};
	Reader		reader;
	Interval   *age;

	reader = payorder_row(payorder_query(&get_limits, gateway,
										 order == NULL ? "" :
										 order->machine->name), 0);
	limits.any = payorder_read_number(&reader) > 0;
	age = payorder_read_interval(&reader);
	if (age != NULL && !payorder_duration(age, &limits.max_age))
		elog(ERROR, "max_age is out of range");
	limits.max_count = payorder_read_number(&reader);
	limits.smallest_amount = payorder_read_number(&reader);
	limits.share_per_hour = payorder_read_text(&reader);
	limits.second_person_above = reader.next->isnull ? -1 :
		reader.next->number;
	return limits;
}

static int
count_ours(const Refund *refunds, int count)
{
	int			ours = 0;

	for (int i = 0; i < count; i++)
	{
		if (refunds[i].state != REFUND_CANCELLED &&
			strcmp(refunds[i].cause, "external") != 0)
			ours++;
	}
	return ours;
}

/*
 * What keeps an amount of a payment from going back: says which limit, NULL
 * if none does.  The rest of a payment is never too small.
 */
const char *
payorder_refund_beyond(const RefundLimits *limits, const Payment *payment,
					   const Refund *refunds, int count, int64 amount,
					   int64 available)
{
	TimestampTz paid_at = payment->occurred_at != NO_TIME ?
		payment->occurred_at : payment->received_at;

	if (limits->max_age > 0 && payorder_now() - paid_at > limits->max_age)
		return "max_age";
	if (limits->max_count > 0 &&
		count_ours(refunds, count) >= limits->max_count)
		return "max_count";
	if (amount < limits->smallest_amount && amount < available)
		return "smallest_amount";
	return NULL;
}

/* Whether the hour's share allows an amount to go back; counts it. */
bool
payorder_refund_within_share(const RefundLimits *limits,
							 const Payment *payment, int64 amount)
{
	if (limits->share_per_hour == NULL)
		return true;
	payorder_execute(&begin_hour, payment->gateway, payment->currency);
	return payorder_execute(&count_refund, payment->gateway,
							payment->currency, payorder_now(), amount,
							limits->share_per_hour) == 1;
}

/* A decision was carried out: what one person said before is over. */
void
payorder_first_decision_over(const char *subject)
{
	payorder_execute(&delete_first, subject);
}

static void
same_person(const char *subject)
{
	ereport(ERROR,
			(errcode(ERRCODE_PO_SECOND_PERSON),
			 errmsg("decision about \"%s\" needs a second person", subject),
			 errdetail("The amount is above refund_limits.second_person_above, and the first decision was the same actor's."),
			 errhint("Another person must make the same call.")));
}

/*
 * Whether a person's decision can be carried out: the amount needs one person
 * only, or another one has decided the same before.  Else it is kept as the
 * first.  The subject is locked by what it is about.
 */
bool
payorder_second_person_agrees(const RefundLimits *limits,
							  const char *subject, const char *decision,
							  const Cause *cause, int64 amount)
{
	Rows	   *rows;

	if (limits->second_person_above < 0 ||
		amount <= limits->second_person_above)
		return true;
	rows = payorder_query(&lock_first, subject);
	if (rows->count > 0 && strcmp(rows->cells[0].text, decision) == 0)
	{
		if (strcmp(rows->cells[1].text, cause->actor) == 0)
			same_person(subject);
		return true;
	}
	payorder_execute(&write_first, subject, decision, cause->actor,
					 cause->reason, payorder_now());
	return false;
}
