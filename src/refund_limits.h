/*-------------------------------------------------------------------------
 *
 * refund_limits.h
 *		How much may go back at machine speed, and by whom.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_REFUND_LIMITS_H
#define PAYORDER_REFUND_LIMITS_H

#include "refund.h"

/* The strictest of all limits that are there for a gateway and a machine. */
typedef struct RefundLimits
{
	bool		any;
	int64		max_age;		/* microseconds, 0: no limit */
	int64		max_count;		/* refunds of one payment, 0: no limit */
	int64		smallest_amount;
	const char *share_per_hour; /* as text, NULL: no limit */
	int64		second_person_above;	/* -1: no limit */
} RefundLimits;

extern RefundLimits payorder_refund_limits(const char *gateway,
										   const Order *order);
extern const char *payorder_refund_beyond(const RefundLimits *limits,
										  const Payment *payment,
										  const Refund *refunds, int count,
										  int64 amount, int64 available);
extern bool payorder_refund_within_share(const RefundLimits *limits,
										 const Payment *payment,
										 int64 amount);
extern bool payorder_second_person_agrees(const RefundLimits *limits,
										  const char *subject,
										  const char *decision,
										  const Cause *cause, int64 amount);

extern void payorder_first_decision_over(const char *subject);

#endif							/* PAYORDER_REFUND_LIMITS_H */
