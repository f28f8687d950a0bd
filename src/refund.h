/*-------------------------------------------------------------------------
 *
 * refund.h
 *		Money going back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_REFUND_H
#define PAYORDER_REFUND_H

#include "gateway_settings.h"
#include "payment.h"

typedef enum RefundState
{
	REFUND_HELD,
	REFUND_ASKED,
	REFUND_IN_DOUBT,
	REFUND_STUCK,
	REFUND_SUCCEEDED,
	REFUND_FAILED,
	REFUND_REVERSED,
	REFUND_CANCELLED
} RefundState;

typedef struct Refund
{
	const char *refund_no;
	const char *gateway;
	const char *txn_id;
	const char *order_no;
	int64		amount;
	const char *currency;
	const char *cause;			/* order, late, excess, review or external */
	RefundState state;
	int64		from_kept;
	int64		from_owed;
	int64		from_review;
	int64		kept_again;		/* of what came back, by a person's decision */
	const char *gateway_refund_id;
	int64		task_id;		/* 0: none */
	const char *reason;
	const char *actor;
	TimestampTz requested_at;
	TimestampTz asked_at;
	TimestampTz first_tried_at;
	TimestampTz succeeded_at;
	TimestampTz ended_at;
} Refund;

/* A gateway's word about a refund. */
typedef struct RefundWord
{
	const char *refund_no;		/* NULL: it names none */
	const char *gateway_refund_id;
	int64		amount;
	TimestampTz occurred_at;	/* NO_TIME: it doesn't say */
	const char *actor;
	const char *source;
} RefundWord;

/* refund_store.c: rows */
extern Refund *payorder_refund_find(const char *refund_no);
extern Refund *payorder_refund_by_gateway_id(const char *gateway,
											 const char *gateway_refund_id);
extern Refund *payorder_refund_lock(const char *refund_no);
extern Refund *payorder_refunds_lock(const Payment *payment, int *count);
extern bool payorder_refund_insert(const Refund *refund);
extern void payorder_refund_save(const Refund *refund);
extern bool payorder_refund_is_open(const Refund *refund);
extern bool payorder_refund_is_ours(const char *refund_no);
extern const char *payorder_refund_state_name(RefundState state);
extern int64 payorder_refund_free_owed(const Payment *payment);
extern Refund *payorder_refunds_open(const char *order_no, int *count);
extern Refund *payorder_refunds_touched(TimestampTz since,
										const char *gateway, int *count);

/* refund.c: what a gateway's word does to refunds */
extern char *payorder_payment_subject(const Payment *payment);
extern char *payorder_refund_succeed(Order *order, Payment *payment,
									 Refund *refund, const RefundWord *word);
extern char *payorder_refund_external(Order *order, Payment *payment,
									  const RefundWord *word);
extern char *payorder_refund_resurrect(Order *order, Payment *payment,
									   Refund *refund, const RefundWord *word);
extern char *payorder_refund_fail(Order *order, Payment *payment,
								  Refund *refund);
extern char *payorder_refund_reverse(Order *order, Payment *payment,
									 Refund *refund);
extern void payorder_payment_give_back(Payment *payment, int64 kept,
									   int64 owed, int64 review);
extern bool payorder_refund_cancel(Order *order, Payment *payment,
								   Refund *refund);
extern void payorder_refund_never_sent(Order *order, Payment *payment,
									   Refund *refund);
extern void payorder_refunds_cancel(Order *order, Payment *payment,
									bool query);
extern void payorder_refund_end_reviews(const Refund *refund);
extern void payorder_refund_stick(Order *order, Payment *payment,
								  Refund *refund);
extern void payorder_refund_doubt(Order *order, const Refund *refund,
								  const char *review);
extern void payorder_refund_unanswered(Order *order, const char *refund_no,
									   TimestampTz first_tried_at, bool dead);
extern void payorder_refund_query_dead(Order *order, const char *refund_no);
extern void payorder_refund_query(const Refund *refund, TimestampTz run_at);
extern int	payorder_refunds_requery(TimestampTz since, const char *gateway);
extern void payorder_payment_alarm(Order *order, const Payment *payment,
								   const char *cause, int64 amount);
extern void payorder_payment_watch(Order *order, const Payment *payment);
extern void payorder_refund_settle(Order *order);
extern void payorder_refund_register(void);

/* refund_taken.c: what a gateway takes back by itself */
extern char *payorder_payment_reverse(Order *order, Payment *payment);
extern char *payorder_payment_dispute(Order *order, Payment *payment,
									  int64 amount);
extern char *payorder_payment_dispute_won(Order *order, Payment *payment,
										  int64 amount);

/* refund_ask.c: a refund is asked for, or held */
extern char *payorder_refund_kernel_number(const Payment *payment,
										   const char *cause);
extern Refund *payorder_refund_new(const Payment *payment,
								   const char *refund_no, int64 amount,
								   const char *cause, RefundState state);
extern int64 payorder_refund_send(const Payment *payment,
								  const Refund *refund);
extern void payorder_refund_note(Order *order, Payment *payment,
								 const Refund *refund, const char *event,
								 const char *moved);
extern void payorder_refund_ask(Order *order, Payment *payment,
								Refund *refund, int64 from_owed,
								int64 from_kept);
extern void payorder_refund_hold(Order *order, Payment *payment,
								 Refund *refund, int64 from_owed,
								 int64 from_kept, const char *why);
extern void payorder_refund_release(Order *order, Payment *payment,
									Refund *refund);

/* refund_return.c: late and excess money */
extern bool payorder_refund_return(Order *order, Payment *payment,
								   const Gateway *gateway, const char *cause);
extern bool payorder_refund_count_return(const Payment *payment,
										 const Gateway *gateway,
										 const Refund *refund);

/* refund_request.c: what the shop asks for */
typedef void (*RefundMade) (void *argument, const Refund *refund);
extern void payorder_refund_everything(Order *order);
extern void payorder_refund_over(Order *order, const char *refund_no,
								 bool has_amount, int64 amount,
								 const char *actor, const char *reason,
								 RefundMade made, void *argument);
extern Datum payorder_refund_info(FunctionCallInfo fcinfo,
								  const Refund *refund);

#endif							/* PAYORDER_REFUND_H */
