/*-------------------------------------------------------------------------
 *
 * callback_decision.h
 *		A message on its way down the list of lines; inside of the room.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_CALLBACK_DECISION_H
#define PAYORDER_CALLBACK_DECISION_H

#include "nodes/pg_list.h"

#include "attempt.h"
#include "callback.h"
#include "refund.h"

/* A row of payorder.callbacks. */
typedef struct Callback
{
	Message		message;		/* without payload */
	const char *order_no;		/* as resolved */
	const char *first_verdict;
	const char *verdict;
	const char *detail;
	const int64 *single_amount; /* of a running total; NULL: not known */
} Callback;

/* A row of payorder.callbacks_waiting. */
typedef struct Waiting
{
	const char *gateway;
	const char *txn_id;
	const char *event;
	const char *verdict;
	const char *reason;
	const char *reference;
	const char *order_no;
	const char *payment_txn;
	const char *refund_no;
	int			drain_rank;
	TimestampTz occurred_at;
	int64		arrival;
	TimestampTz arrived_at;
	TimestampTz next_at;
	int			tries;
} Waiting;

/* Rows of callbacks_waiting that are to be decided, in the order of draining. */
typedef struct Queue
{
	List	   *rows;			/* of Waiting */
} Queue;

typedef struct Decision
{
	Message		message;
	Gateway    *gateway;
	bool		stored;			/* its key row was there: parked or deferred */
	bool		own_key;		/* this transaction has just written it */
	const Callback *before;		/* that row, as it was */
	bool		restate;		/* a better message than the stored one */
	bool		draining;		/* in its turn, so older ones don't matter */
	bool		in_sweep;		/* the worker tries it, which counts */
	bool		in_batch;		/* errors undo the batch, and are raised */
	bool		unseen;			/* its key was looked for and is not there */
	bool		at_key;			/* still waiting for the key */
	bool		gave_up;		/* its order may be just being created */
	bool		gone;			/* another transaction decided it meanwhile */
	bool		other_name;		/* the payment is there as pay, or as pay_part */
	Queue	   *queue;			/* that it came from; NULL: it goes by itself */
	Queue		rest;			/* then, what is decided after it */
	const char *attached;		/* the order that a person gives it to */
	const char *defer;			/* write it down as deferred, with this reason */
	int			tries;			/* how often it raised before */

	/* address: what the message names */
	bool		resolved;		/* just now, without a lock */
	bool		names_differ;
	const char *order_no;
	Order	   *order;			/* locked, once it is */
	Attempt    *attempt;
	Payment    *payment;
	Refund	   *refund;
	const Callback *chargeback; /* that began the dispute of this message */

	int64		amount;			/* the message's; of a total, the single one */
	bool		is_single;		/* it was worked out of a total */

	/* the result */
	const char *verdict;
	const char *first_verdict;	/* of the callback that came before */
	const char *detail;
	const char *reason;			/* why it waits, if the detail doesn't say */
	const char *moved;			/* json of the pots' moves */
	const Edge *edge;			/* to be taken with the verdict's event */
	bool		keep_payment;	/* its money waits in review */
	const char *return_cause;	/* return what is owed, with this cause */
	const char *alarm_cause;	/* a person must look at the payment */
	const char *error;
	TimestampTz next_at;		/* parked or deferred: when to look again */
} Decision;

/*
 * A line of VERDICTS.md: for which events it is there, when it holds, and
 * what it decides.
 */
typedef struct Line
{
	const char *number;
	int			events;
	bool		(*holds) (Decision *decision);
	void		(*decide) (Decision *decision);
} Line;

/* callback.c */
extern bool payorder_lock_key(Decision *decision);
extern void payorder_decide_and_finish(Decision *decision);
extern void payorder_keep_payment(Decision *decision);
extern Answer *payorder_undecided(void);
extern Answer *payorder_answer(const Decision *decision);
extern const char *payorder_callback_prepare(Decision *decision,
											 Gateway *before);
extern Answer *payorder_callback_ingest_prepared(const Decision *prepared);

/* callback_facts.c */
extern bool payorder_same_facts(const Message *message,
								const Callback *stored);
extern bool payorder_callback_is_invalid(const Callback *callback);
extern bool payorder_says_more(const Message *message, const Message *stored);

/* callback_queue.c */
extern void payorder_queue_add(Queue *queue, Waiting *rows, int count);
extern Waiting *payorder_queue_next(Queue *queue, const Waiting *until);

/* callback_drain.c */
extern Answer *payorder_redecide(const Callback *callback);
extern void payorder_callback_review(const Message *message,
									 const char *order_no, const char *cause);
extern bool payorder_drain_older(Decision *decision);
extern void payorder_end_reviews(Decision *decision);
extern void payorder_drain_related(Decision *decision);
extern void payorder_meet_order(Decision *decision);

/* callback_lines.c */
extern bool payorder_message_is_valid(const Message *message,
									  const Gateway *gateway);
extern bool payorder_decide_address(Decision *decision);
extern void payorder_decide_locked(Decision *decision);
extern void payorder_decide(Decision *decision, const char *verdict,
							const char *detail);
extern void payorder_resolve(Decision *decision);
extern void payorder_restate(Decision *decision, Payment *payment);
extern void payorder_wait_for(Decision *decision, const char *verdict,
							  const char *reason, TimestampTz next_at);
extern bool payorder_under_other_name(const Message *message,
									  const Payment *payment);
extern bool payorder_parked_alarms(MessageEvent event);
extern bool payorder_always(Decision *decision);
extern bool payorder_no_refund(Decision *decision);
extern void payorder_stale(Decision *decision);
extern void payorder_park_payment(Decision *decision);
extern void payorder_park_refund(Decision *decision);

/* callback_attempt_lines.c */
extern const Line payorder_attempt_lines[];

/* callback_refund_lines.c */
extern const Line payorder_refund_lines[];

/* callback_taken_lines.c */
extern const Line payorder_taken_lines[];

/* callback_store.c */
extern Callback *payorder_callback_find(const Message *message);
extern Callback *payorder_callback_other(const Message *message,
										 MessageEvent event);
extern void payorder_callback_forget(const Message *message);
extern Callback *payorder_callback_lock(const Waiting *waiting);
extern bool payorder_callback_skip_locked(const Waiting *waiting);
extern bool payorder_callback_insert(const Message *message,
									 const char *order_no);
extern void payorder_callback_refill(const Message *message);
extern void payorder_callback_restate(const Message *message);
extern void payorder_callback_record(Decision *decision);
extern bool payorder_callback_conflict(const Message *message,
									   const char *detail);
extern void payorder_waiting_write(const Decision *decision);
extern void payorder_waiting_delete(const Message *message);
extern void payorder_waiting_behind(const Waiting *waiting,
									TimestampTz next_at);
extern void payorder_waiting_later(const Waiting *waiting, TimestampTz next_at,
								   int tries);
extern Waiting *payorder_waiting_of_order(const char *order_no,
										  bool deferred_only, int most,
										  int *count);
extern Waiting *payorder_waiting_for(const Message *message,
									 const Payment *payment,
									 const Refund *refund, int *count);
extern int	payorder_waiting_tries(const Message *message);
extern Waiting *payorder_waiting_due(TimestampTz at, int most, int *count);

#endif							/* PAYORDER_CALLBACK_DECISION_H */
