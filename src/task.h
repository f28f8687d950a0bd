/*-------------------------------------------------------------------------
 *
 * task.h
 *		The task queue: bodies, ready ones, leases and ends.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_TASK_H
#define PAYORDER_TASK_H

#include "utils/timestamp.h"

#include "relation.h"

/* A task to be. */
typedef struct TaskRequest
{
	const char *kind;
	const char *order_no;		/* these may be NULL */
	const char *gateway;
	const char *idempotency_key;
	const char *dedup_key;
	const char *payload;		/* json, NULL: {} */
	TimestampTz not_after;		/* NO_TIME: none */
	TimestampTz run_at;
} TaskRequest;

/* A person must decide; one such task per subject and cause. */
typedef struct ReviewRequest
{
	const char *subject;
	const char *cause;
	const char *order_no;
	const char *gateway;
	const char *txn_id;			/* of the payment or callback that it is about */
	const char *event;			/* of the callback that it is about */
	const char *refund_no;		/* of the refund that it is about */
	const int64 *amount;		/* NULL: no money in it */
	const char *currency;
	const char *detail;
} ReviewRequest;

/* A task in somebody's hands, or ready, or dead. */
typedef struct Task
{
	int64		id;
	int64		token;
	const char *kind;
	const char *order_no;
	const char *gateway;
	const char *idempotency_key;
	const char *payload;
	int			attempts;
	TimestampTz first_tried_at;
} Task;

/* A kind's rules, with the pause after one failure. */
typedef struct TaskKind
{
	bool		is_kernels;
	int			max_attempts;
	int64		pause;			/* microseconds, before jitter */
	bool		fixed_pause;	/* from a list: no jitter */
} TaskKind;

extern bool payorder_task_kind(const char *name, int failures,
							   TaskKind *kind);
extern void payorder_task_check_request(const char *name,
										TimestampTz run_at);
extern void payorder_task_check_order(const char *order_no);
extern int64 payorder_task_enqueue(const TaskRequest *request);
extern int64 *payorder_tasks_enqueue(const TaskRequest *requests, int count);
extern bool payorder_task_is_asked(const char *dedup_key);
extern bool payorder_task_review(const ReviewRequest *request);
extern bool payorder_task_has_review(const char *subject, const char *cause);
extern void payorder_task_close_review(const char *subject,
									   const char *cause);
extern void payorder_task_close_reviews(const char *subject,
										const char *const *causes, int count);
extern Task *payorder_task_leased(int64 id, int64 token);
extern Task *payorder_tasks_expired(TimestampTz at, int most, int *count);
extern Task *payorder_tasks_of_kernel(TimestampTz at, int most, int *count);
extern bool payorder_task_take(const Task *task);
extern bool payorder_task_expire(const Task *task);
extern void payorder_task_leave(const Task *task);
extern bool payorder_task_take_ready(int64 id);
extern void payorder_task_done(const Task *task, const char *result);
extern void payorder_tasks_done(const Task *tasks,
								const char *const *results, int count);
extern void payorder_task_cancelled(const Task *task);
extern void payorder_task_again(const Task *task, TimestampTz run_at,
								const char *error);
extern bool payorder_task_give_back(const Task *task, const char *error,
									bool retryable);
extern bool payorder_task_revive(int64 id);
extern Task *payorder_task_waiting(int64 id);
extern bool payorder_task_cancel(const Task *task, const char *result);
extern void payorder_task_cancel_needless(int64 id);
extern void payorder_task_cancel_dead(const char *order_no,
									  const char *dedup_key);
extern bool payorder_task_cancel_unclaimed(int64 id);
extern bool payorder_task_is_unclaimed(int64 id);
extern bool payorder_task_is_open(int64 id);
extern Task *payorder_tasks_forgotten(TimestampTz at, int most, int *count);
extern void payorder_lease_lost(int64 id) pg_attribute_noreturn();
extern TimestampTz payorder_tasks_next(void);
extern TimestampTz payorder_tasks_next_handled(void);

extern int64 *payorder_next_numbers(const char *sequence, int count);

/* task_queue.c */
extern Interval *payorder_interval_argument(FunctionCallInfo fcinfo,
											int number, const char *name);

/* task_claim.c */
extern Rows *payorder_claim_handled(const char *worker);

#endif							/* PAYORDER_TASK_H */
