/*-------------------------------------------------------------------------
 *
 * gateway_aside.h
 *		Messages that did not become callbacks: counted, some kept aside.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_GATEWAY_ASIDE_H
#define PAYORDER_GATEWAY_ASIDE_H

#include "utils/jsonb.h"

#include "gateway_adapter.h"

/* How a message came, for those that are kept. */
typedef struct Envelope
{
	const char *gateway;
	Jsonb	   *headers;
	bytea	   *body;			/* NULL: too large to be looked at */
	bytea	   *digest;			/* SHA-256 of the body, NULL with it */
	int64		length;
	const char *query;
	const char *kept_headers;	/* those that callbacks keep, as JSON */
	TimestampTz at;				/* when it came */
} Envelope;

/* One that waits for its key. */
typedef struct Waiter
{
	int64		number;
	Jsonb	   *headers;
	bytea	   *body;
	const char *query;
	TimestampTz received_at;
} Waiter;

extern void payorder_aside_rejected(const Envelope *envelope,
									const char *reason);
extern void payorder_aside_ignored(const Envelope *envelope, const char *type,
								   const char *body);
extern Waiter *payorder_aside_waiters(const char *gateway, int *count);
extern void payorder_aside_drop(const char *gateway, int64 number);
extern void payorder_aside_expire(TimestampTz at);

#endif							/* PAYORDER_GATEWAY_ASIDE_H */
