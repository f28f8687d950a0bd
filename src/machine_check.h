/*-------------------------------------------------------------------------
 *
 * machine_check.h
 *		What define_machine() proves about a definition as a whole.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_MACHINE_CHECK_H
#define PAYORDER_MACHINE_CHECK_H

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

extern void payorder_check_machine(const Machine *machine);

#endif							/* PAYORDER_MACHINE_CHECK_H */
