/*-------------------------------------------------------------------------
 *
 * work_answer.h
 *		A task and its answer; inside of the room.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_WORK_ANSWER_H
#define PAYORDER_WORK_ANSWER_H

#include "callback.h"
#include "json.h"
#include "order.h"
#include "task.h"

/* A task with its answer, on the way to its end. */
typedef struct Work
{
	Task	   *task;
	JsonNode   *payload;
	JsonNode   *result;
	const char *result_text;
	Order	   *order;			/* locked; NULL: the task has none */
} Work;

/* work_message.c */
extern const char *payorder_work_text(const Work *work, const char *name);
extern void payorder_bad_result(const char *what);
extern Message payorder_work_message(const Work *work, const JsonNode *node,
									 int allowed);

#endif							/* PAYORDER_WORK_ANSWER_H */
