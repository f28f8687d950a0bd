/*-------------------------------------------------------------------------
 *
 * payment.h
 *		The ledger of pots.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_PAYMENT_H
#define PAYORDER_PAYMENT_H

#include "order.h"

/* Whose the money of a payment is. */
typedef struct Pots
{
	int64		kept;
	int64		review;
	int64		owed;
	int64		returning;
	int64		returned;
	int64		disputed;
	int64		undone;
	int64		overdrawn;
} Pots;

typedef enum Disposition
{
	DISPOSITION_ORDER,
	DISPOSITION_SURPLUS,
	DISPOSITION_REVIEW
} Disposition;

/*
 * A payment as it was read and as it shall be: who holds its lock changes it
 * here and has it written by payorder_payment_save.
 */
typedef struct Payment
{
	const char *gateway;
	const char *txn_id;
	const char *event;			/* pay or pay_part, as it came */
	const char *order_no;		/* NULL while parked */
	const char *payment_no;		/* NULL: without attempt */
	Disposition disposition;
	int64		amount;
	const char *currency;
	Pots		pots;
	TimestampTz occurred_at;
	TimestampTz received_at;
	TimestampTz reversed_at;
	bool		is_new;
	Pots		stored;			/* pots and disposition of the row */
	Disposition stored_disposition;
} Payment;

/* Sums over all payments of an order. */
typedef struct OrderPots
{
	int			payments;
	Pots		sum;
} OrderPots;

extern Payment *payorder_payment_new(const char *gateway, const char *txn_id,
									 const char *event, int64 amount,
									 const char *currency);
extern Payment *payorder_payment_find(const char *gateway,
									  const char *txn_id);
extern Payment *payorder_payment_lock(const char *gateway,
									  const char *txn_id);
extern void payorder_order_changed_meanwhile(void) pg_attribute_noreturn();
extern Payment *payorder_payments_lock(const char *order_no, int *count);
extern char *payorder_payment_save(Payment *payment, Order *order);
extern void payorder_payment_event(const Payment *payment, Order *order,
								   const char *event, const Cause *cause);
extern OrderPots payorder_payments_sum(const char *order_no);
extern void payorder_payment_register(void);

#endif							/* PAYORDER_PAYMENT_H */
