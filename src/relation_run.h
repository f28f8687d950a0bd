/*-------------------------------------------------------------------------
 *
 * relation_run.h
 *		How a statement is run; inside of the room.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_RELATION_RUN_H
#define PAYORDER_RELATION_RUN_H

#include "relation.h"

#define MOST_ARGUMENTS	32

extern void payorder_read_arguments(const Statement *statement,
									va_list *arguments, Datum *values,
									char *nulls);
extern void payorder_limit_lock_wait(void);
extern void payorder_push_snapshot(void);
extern void payorder_run(Statement *statement, Datum *values,
						 const char *nulls);
extern Rows *payorder_copy_rows(SPITupleTable *table);

#endif							/* PAYORDER_RELATION_RUN_H */
