/*-------------------------------------------------------------------------
 *
 * event.h
 *		The append-only log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_EVENT_H
#define PAYORDER_EVENT_H

#include "utils/timestamp.h"

/* The log is a ring of so many partitions. */
#define RING_SLOTS		64

/* Who does something, why, and as the consequence of what kind of call. */
typedef struct Cause
{
	const char *actor;
	const char *source;
	const char *reason;			/* NULL: none */
	const char *payload;		/* json, NULL: none */
	const char *request_id;		/* NULL: none */
} Cause;

typedef struct Event
{
	const char *event;
	const char *from_state;
	const char *to_state;
	const char *gateway;		/* the payment that it is about, NULL: none */
	const char *txn_id;
	Cause		cause;
	TimestampTz at;
} Event;

struct Statement;

extern struct Statement *payorder_for_slot(struct Statement *statements,
										   const char *template,
										   const char *arguments, int slot);
extern int	payorder_month_of(TimestampTz created_at);
extern bytea *payorder_event_hash(const uint8 *before, const char *order_no,
								  int seq, const Event *event,
								  const char *trace);
extern int	payorder_event_append(const char *order_no,
								  TimestampTz order_created_at,
								  const Event *event);
extern void payorder_event_append_payment(TimestampTz received_at,
										  const Event *event);
extern Event *payorder_event_by_request(const char *order_no,
										TimestampTz order_created_at,
										const char *request_id);
extern bool payorder_event_first_amount(const char *order_no, int64 *amount);
extern char *payorder_event_first_payload(const char *order_no,
										  TimestampTz order_created_at);
extern int	payorder_last_state_change(const char *order_no,
									   TimestampTz order_created_at);
extern TimestampTz payorder_last_entry(const char *order_no,
									   TimestampTz created_at);

#endif							/* PAYORDER_EVENT_H */
