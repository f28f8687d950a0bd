/*-------------------------------------------------------------------------
 *
 * order.h
 *		Orders: their rows, transitions and what these cause.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_ORDER_H
#define PAYORDER_ORDER_H

#include "fmgr.h"

#include "event.h"
#include "machine.h"

/*
 * An order as it was read, and as it shall be: who holds its lock changes the
 * amounts here and has them written by payorder_order_save or
 * payorder_order_take.
 */
typedef struct Order
{
	const char *order_no;
	const Machine *machine;
	const State *state;
	int64		amount;
	const char *currency;
	int64		paid;
	int64		refunding;
	int64		refunded;
	int64		disputed;
	int64		overdrawn;
	bool		frozen;
	int64		version;
	TimestampTz pay_by;
	Interval   *cooling_off;
	TimestampTz created_at;
	TimestampTz updated_at;
	TimestampTz closed_at;
	bool		changed;		/* amounts differ from the row's */
} Order;

/* A payment that an event is about. */
typedef struct About
{
	const char *gateway;
	const char *txn_id;
} About;

extern Order *payorder_order_find(const char *order_no);
extern bool payorder_order_bring_back(const char *order_no);
extern Order *payorder_order_lock(const char *order_no);
extern Order *payorder_order_required(Order *order, const char *order_no);
extern Order *payorder_order_skip_locked(const char *order_no);

extern bool payorder_order_is_paid(const Order *order);
extern bool payorder_order_is_open(const Order *order);
extern bool payorder_order_is_closing(const Order *order);
extern bool payorder_order_refunds_on_entry(const Order *order);
extern bool payorder_order_is_refunded(const Order *order);
extern void payorder_order_freeze(Order *order);

extern const Edge *payorder_order_edge(Order *order, const char *event);
extern bool payorder_order_by_hand(Order *order, const char *event);
extern char *payorder_order_allowed(Order *order);
extern int	payorder_order_event(Order *order, const char *event,
								 const About *about, const Cause *cause);
extern void payorder_order_save(Order *order);
extern void payorder_order_take(Order *order, const Edge *edge,
								const About *about, const Cause *cause);
extern void payorder_order_arm(Order *order, TimestampTz entered_at,
							   int entered_seq);
extern void payorder_order_enter(Order *order, int entered_seq);
extern void payorder_order_alarm(Order *order, const char *alarm,
								 const char *detail);
extern void payorder_order_enqueue(Order *order, const char *task_kind);
extern void payorder_order_moved_by_hand(const char *order_no,
										 const char *from_state,
										 const char *to_state);
extern void payorder_order_register(void);
extern Datum payorder_order_info(FunctionCallInfo fcinfo,
								 const Order *order);

#endif							/* PAYORDER_ORDER_H */
