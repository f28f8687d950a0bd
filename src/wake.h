/*-------------------------------------------------------------------------
 *
 * wake.h
 *		Wakes the database's worker when a commit made something due.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_WAKE_H
#define PAYORDER_WAKE_H

#include "storage/latch.h"
#include "utils/timestamp.h"

extern void payorder_wake_request_memory(void);
extern void payorder_wake_at(TimestampTz due);
extern void payorder_wake_attach(void);
extern void payorder_wake_sleeping_until(TimestampTz until);
extern TimestampTz payorder_wake_armed(void);
extern bool payorder_wake_told_to_go(void);
extern void payorder_wake_let_go(const char *name, Oid database);
extern void payorder_wake_take_up(void);
extern bool payorder_wake_is_let_go(const char *name);

#endif							/* PAYORDER_WAKE_H */
