/*-------------------------------------------------------------------------
 *
 * callback.h
 *		What gateways say, and what is decided about it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_CALLBACK_H
#define PAYORDER_CALLBACK_H

#include "json.h"
#include "refund.h"

/* The canonical events; as bits, since a line may stand for several. */
typedef enum MessageEvent
{
	EVENT_PAY = 1 << 0,
	EVENT_PAY_PART = 1 << 1,
	EVENT_PAY_FAILED = 1 << 2,
	EVENT_PAY_CLOSED = 1 << 3,
	EVENT_AUTHORISED = 1 << 4,
	EVENT_REFUND = 1 << 5,
	EVENT_REFUND_FAILED = 1 << 6,
	EVENT_REFUND_STUCK = 1 << 7,
	EVENT_PAY_REVERSED = 1 << 8,
	EVENT_CHARGEBACK = 1 << 9,
	EVENT_CHARGEBACK_REVERSED = 1 << 10,
	EVENT_CHARGEBACK_LOST = 1 << 11
} MessageEvent;

#define PAY_EVENTS		(EVENT_PAY | EVENT_PAY_PART)
#define ATTEMPT_EVENTS	(EVENT_PAY_FAILED | EVENT_PAY_CLOSED | EVENT_AUTHORISED)
#define REFUND_EVENTS	(EVENT_REFUND | EVENT_REFUND_FAILED | EVENT_REFUND_STUCK)
#define DISPUTE_EVENTS	(EVENT_CHARGEBACK | EVENT_CHARGEBACK_REVERSED | EVENT_CHARGEBACK_LOST)
/* about a payment that is there: it decides which order is meant */
#define LATER_EVENTS	(REFUND_EVENTS | EVENT_PAY_REVERSED | DISPUTE_EVENTS)
/* with an amount of money */
#define MONEY_EVENTS	(PAY_EVENTS | EVENT_REFUND | EVENT_CHARGEBACK | EVENT_CHARGEBACK_REVERSED)
#define ALL_EVENTS		(PAY_EVENTS | ATTEMPT_EVENTS | LATER_EVENTS)

/* One fact that a gateway says; all but the first three may be missing. */
typedef struct Message
{
	const char *gateway;
	const char *txn_id;
	MessageEvent event;
	const char *reference;		/* an order_no or payment_no */
	bool		has_amount;
	int64		amount;
	bool		amount_is_total;	/* of all refunds of the payment so far */
	const char *currency;
	TimestampTz occurred_at;
	const char *payload;
	bytea	   *body_digest;	/* SHA-256 of the raw body, NULL: payload's */
	const char *headers;		/* those that are kept, as JSON */
	const char *source;
	const char *payment_txn;
	const char *refund_no;
} Message;

/* Raises an error that says what is wrong with a message. */
typedef void (*Refusal) (const char *detail);

/* What became of it. */
typedef struct Answer
{
	const char *verdict;
	const char *first_verdict;
	const char *order_no;
	const char *state;
	bool		paid;
	const char *detail;
	bool		acknowledged;
} Answer;

#define ANSWER_COLUMNS	9

extern void payorder_answer_values(const Answer *answer, Datum *values,
								   bool *nulls);
extern bool payorder_message_event(const char *name, MessageEvent *event);
extern char *payorder_message_events(void);
extern const char *payorder_event_name(MessageEvent event);
extern Message payorder_message_read(const JsonNode *node, Refusal refuse);
extern const char *payorder_message_text(const JsonNode *node,
										 const char *name, Refusal refuse);
extern Answer *payorder_callback_ingest(const Message *message);
extern void payorder_callback_lock_orders(Message *const *messages,
										  int count);
extern void payorder_check_source(const char *source, const char *gateway);
extern void payorder_callback_drain_for(const Payment *payment,
										const Refund *refund);
extern bool payorder_callback_drain_timer(const char *order_no);
extern int	payorder_callback_drain_due(TimestampTz at, int most, bool *more);
extern void payorder_callback_meet(const char *order_no);
extern int	payorder_callback_retry(const char *order_no);
extern bool payorder_callback_retry_one(const char *gateway,
										const char *txn_id,
										const char *event);
extern TimestampTz payorder_callbacks_next(void);
extern bool payorder_callback_pay_waits(const char *order_no,
										bool deferred_only);
extern void payorder_callback_register(void);

#endif							/* PAYORDER_CALLBACK_H */
