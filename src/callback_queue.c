/*-------------------------------------------------------------------------
 *
 * callback_queue.c
 *		Waiting callbacks on their way to be decided, in the order of draining.
 *
 * What is applied may make known what others wait for; they join the queue
 * that it came from, at their place, so that a refund which was deferred is
 * decided before a reversal which was parked, whichever is found first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "callback_decision.h"
#include "relation.h"

/* VERDICTS.md, "Order of draining". */
static bool
comes_before(const Waiting *left, const Waiting *right)
{
	if (left->drain_rank != right->drain_rank)
		return left->drain_rank < right->drain_rank;
	if (left->occurred_at == right->occurred_at)
		return left->arrival < right->arrival;
	if (left->occurred_at == NO_TIME || right->occurred_at == NO_TIME)
		return right->occurred_at == NO_TIME;
	return left->occurred_at < right->occurred_at;
}

/* Adds rows, but none that is in the queue. */
void
payorder_queue_add(Queue *queue, Waiting *rows, int count)
{
	for (int i = 0; i < count; i++)
	{
		int			at = 0;

		while (at < list_length(queue->rows) &&
			   comes_before(list_nth(queue->rows, at), &rows[i]))
			at++;
		if (at == list_length(queue->rows) ||
			((Waiting *) list_nth(queue->rows, at))->arrival != rows[i].arrival)
			queue->rows = list_insert_nth(queue->rows, at, &rows[i]);
	}
}

/* Takes the first row, if there is one that comes before `until` (NULL: any). */
Waiting *
payorder_queue_next(Queue *queue, const Waiting *until)
{
	Waiting    *first;

	if (queue->rows == NIL)
		return NULL;
	first = linitial(queue->rows);
	if (until != NULL && !comes_before(first, until))
		return NULL;
	queue->rows = list_delete_first(queue->rows);
	return first;
}
