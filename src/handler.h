/*-------------------------------------------------------------------------
 *
 * handler.h
 *		Tasks that a function does.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_HANDLER_H
#define PAYORDER_HANDLER_H

#include "utils/timestamp.h"

extern TimestampTz payorder_handlers_next(void);
extern TimestampTz payorder_handlers_found(void);
extern void payorder_handlers_leave(void);

/* handler_worker.c */
extern TimestampTz payorder_handler_worker_keep(TimestampTz then);

#endif							/* PAYORDER_HANDLER_H */
