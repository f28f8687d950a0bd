/*-------------------------------------------------------------------------
 *
 * task_handler.h
 *		The function that does the tasks of a kind.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_TASK_HANDLER_H
#define PAYORDER_TASK_HANDLER_H

/* As task_kinds keeps it. */
typedef struct Handler
{
	const char *name;			/* with its schema; NULL: none */
	const char *owner;			/* the role's name */
} Handler;

/* As it is called. */
typedef struct HandlerFunction
{
	Oid			function;
	Oid			owner;
	bool		returns_json;	/* else void */
} HandlerFunction;

extern Handler payorder_handler_define(const char *name);
extern HandlerFunction payorder_handler_find(const Handler *handler);

#endif							/* PAYORDER_TASK_HANDLER_H */
