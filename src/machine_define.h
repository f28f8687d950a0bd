/*-------------------------------------------------------------------------
 *
 * machine_define.h
 *		What the steps of define_machine() share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_MACHINE_DEFINE_H
#define PAYORDER_MACHINE_DEFINE_H

#include "errors.h"
#include "machine.h"

/* Where a problem lies that has no smaller place. */
#define WHOLE_DEFINITION	"machine definition"

/* Refuses a definition: where, what is wrong there, what to do about it. */
#define REFUSE_MACHINE(place, problem, hint) \
	ereport(ERROR, \
			(errcode(ERRCODE_PO_MACHINE_INVALID), \
			 errmsg("%s: %s", (place), (problem)), \
			 errhint("%s", (hint))))

extern const char *const payorder_timer_actions[];

extern void payorder_check_name(const char *text, const char *place,
								const char *what);
extern Machine *payorder_read_machine(const char *name, const char *text);
extern void payorder_check_machine(const Machine *machine);

#endif							/* PAYORDER_MACHINE_DEFINE_H */
