/*-------------------------------------------------------------------------
 *
 * attempt.h
 *		Tries to pay an order, and their numbers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_ATTEMPT_H
#define PAYORDER_ATTEMPT_H

#include "order.h"

typedef struct Attempt
{
	const char *payment_no;
	const char *order_no;
	const char *gateway;
	int64		amount;
	const char *currency;
	const char *state;			/* open, paid, failed or closed */
	TimestampTz expires_at;
	TimestampTz created_at;
} Attempt;

extern Attempt *payorder_attempt_find(const char *payment_no);
extern bool payorder_attempt_is_open(const Attempt *attempt);
extern void payorder_attempt_end(Attempt *attempt, const char *state,
								 bool asked_for);
extern void payorder_attempt_heard(const Attempt *attempt, bool asked_for);
extern void payorder_attempt_query(const Attempt *attempt);
extern int	payorder_attempts_requery(TimestampTz since, const char *gateway);
extern void payorder_attempts_close_others(Order *order,
										   const Attempt *winner,
										   int64 left);
extern bool payorder_attempts_any_open(const Order *order);
extern bool payorder_attempts_any_at(const Order *order, const char *gateway);
extern void payorder_attempt_register(void);

#endif							/* PAYORDER_ATTEMPT_H */
